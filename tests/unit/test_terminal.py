"""Nothing that a corpus, an argument or an index holds reaches a terminal or a page as a command to it."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import termios
import warnings

import pytest
from rich.color import ColorSystem
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from diptych import Document, FusedDocument, MultimodalIndex, Query, ToyEncoder
from diptych.cards import cards
from diptych.cli import app
from diptych.cli.console import SafeConsole, errors, out
from diptych.page import Section, render_page
from diptych.report import AddReport, Failure, NotRead
from diptych.visible import as_json, in_one_line, visible
from stubs import png

UNSAFE = [
    *map(chr, range(0x09)), "\x0b", "\x0c", *map(chr, range(0x0E, 0x20)), *map(chr, range(0x7F, 0xA0)),
    "\r", "\u061c", "\u200e", "\u200f", "\u2028", "\u2029",
    *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\ud800", "\udfff",
]  # fmt: skip
ATTACKS = [
    "\x1b[2J\x1b[5;7;9;53m", "\x1b]52;c;ZXZpbA==\x07", "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]0;title\x07", "\x9b31m", "\x90q\x9c", "a\rb", "a\bb", "\u202egnp.exe", "\u2066x\u2069", "\x7f",
    "\u2028line", "\x85next",
]  # fmt: skip
HOSTILE = "".join(ATTACKS)
NAME = "\x1b]0;t\x07\x1b[5;7;9;53m\r\u202e\x9b\b"
"""What a file may be called."""

RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
SGR = re.compile(r"\x1b\[[0-9;]*m")
BAR = re.compile(r"\r[A-Z][a-z]+ *[a-z]*: [^\r\n\x1b]*doc/s[^\r\n\x1b]*(\x1b\[A)?")
"""A bar of tqdm, which begins its line anew."""
runner = CliRunner()


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """Both consoles write as to a terminal with colours."""
    for console in (out, errors):
        monkeypatch.setattr(console, "_force_terminal", True)
        monkeypatch.setattr(console, "_color_system", ColorSystem.TRUECOLOR)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / f"corpus{NAME}"
    folder.mkdir()
    line = {"id": f"id{HOSTILE}", "text": f"pump {HOSTILE}", "source": HOSTILE, "section": HOSTILE}
    (folder / "r.jsonl").write_text(
        f'{json.dumps(line)}\n{{"id": "\\ud800", "text": "x"}}\n{{bro{NAME}ken'
    )
    (folder / f"page{NAME}.md").write_text(
        f"# Pump {HOSTILE}\n\nA red pump {HOSTILE}.\n\n![{HOSTILE}](gone{NAME}.png)\n\n"
        f"![](https://a.example/{HOSTILE})\n\n![{HOSTILE}](red.png)\n"
    )
    (folder / "red.png").write_bytes(png("red"))
    (folder / f"bad{NAME}.png").write_bytes(f"\x1b[5;7;9;53m{HOSTILE}".encode())
    (folder / f"x{NAME}.pdf").write_bytes(b"%PDF")
    (folder / f"link{NAME}").symlink_to("red.png")
    with open(os.fsencode(folder) + b"/\xff\x1b.md", "wb") as file:
        file.write(b"x")
    return folder


def run(*arguments, code):
    done = runner.invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    assert_safe(done.stdout)
    assert_safe(done.stderr)
    return done.stdout + done.stderr


def assert_safe(text):
    assert "\x1b[5;7;9;53m" not in text
    found = RAW.search(SGR.sub("", BAR.sub("", text)))
    assert found is None, repr(text[max(found.start() - 200, 0) : found.start() + 100])


@pytest.mark.parametrize("character", UNSAFE)
def test_every_character_that_a_terminal_obeys_becomes_a_sign(character):
    shown = visible(f"a{character}b")
    assert shown.isprintable()
    assert len(shown) > 2
    assert RAW.search(as_json([character, {character: "é漢"}])) is None
    assert json.loads(as_json([character])) == [character]


def test_letters_lines_and_emoji_stay():
    text = "é漢字 \u0e01 שלום 👩\u200d🔧\n\tx"
    assert visible(text) == text
    assert in_one_line("a\nb\tc") == "a␊b␉c"
    assert visible("\x1b[31m \u202e \x7f") == "␛[31m <U+202E> ␡"


WRITTEN = [
    "👩\u200d🔧", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "❤\ufe0f\u200d🔥",
    "1\ufe0f\u20e3 #\ufe0f\u20e3", "👩🏽\u200d🔬", "☎\ufe0e",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
    "می\u200cخواهم کتاب\u200cها", "क्\u200dष", "葛\U000e0100城", "ไทย\u200bภาษา",
    "Wasser\u00adpumpe", "مضخة", "泵",
]  # fmt: skip
UNSEEN = [
    "a\u200bb", "a\u200db", "\u200c", "x\ufe0f", "a\u2060b", "\ufeffx",
    "\u3164", "\u115f", "\u034f", "\u00ad.", "\u180e",
    "hi\U000e0041\U000e0042", "\U000e0001", "🏴\U000e0067", "❤\ufe0f\ufe0f\ufe01", "a\U000e0100\U000e0101",
    "\u200d\u200d", "\u2064", "\U0001d173",
]  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_what_writing_needs_stays(text):
    assert visible(text) == in_one_line(text) == text
    assert json.loads(as_json([text])) == [text]
    assert text in as_json([text])


@pytest.mark.parametrize("text", UNSEEN)
def test_what_nobody_can_see_becomes_a_sign(text):
    assert "<U+" in visible(text)
    assert f"U+{ord(text[-1]):04X}" in visible(text) or text[-1].isprintable()
    assert visible(visible(text)) == visible(text)
    assert "\\u" in as_json([text])
    assert json.loads(as_json([text])) == [text]


def test_every_command_shows_signs(folder, tmp_path):
    index = tmp_path / f"index{NAME}"
    shown = run("add", folder, "--index", index, "--models", "toy", code=2)
    assert "␛" in shown
    assert "<U+202E>" in shown
    run("add", folder, "--index", index, code=2)
    run("search", f"pump {HOSTILE}", "--index", index, code=0)
    run("info", "--index", index, code=0)
    run("verify", index, code=0)
    (folder / f"page{NAME}.md").unlink()
    assert "removed" in run("sync", folder, "--index", index, "--dry-run", code=2)
    run("backup", tmp_path / f"copy{NAME}", "--index", index, code=0)
    run("export", tmp_path / f"file{NAME}", "--index", index, code=0)
    run("import", tmp_path / f"file{NAME}", "--index", tmp_path / "other", code=0)
    run("reembed", index, code=0)
    run("compact", index, code=0)
    (segment,) = (index / "segments").iterdir()
    segment.write_bytes(b"rubbish")
    run("search", "pump", "--index", index, code=1)
    run("verify", index, code=1)
    run("verify", index, "--repair", code=1)


def test_json_has_escapes_and_comes_back(folder, tmp_path):
    index = tmp_path / "index"
    report = json.loads(run("add", folder, "--index", index, "--models", "toy", "--json", code=2))
    assert any(NAME in failure["source"] for failure in report["failed"])
    for command in (["search", "pump"], ["info"], ["verify"]):
        json.loads(run(*command, "--index", index, "--json", code=0))
    found = json.loads(run("search", "pump", "--index", index, "--json", code=0))
    assert any(HOSTILE in result["text"] for result in found)
    json.loads(run("sync", folder, "--index", index, "--json", code=2))


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", f"nowhere{HOSTILE}"],
        ["add", f"--{HOSTILE}"],
        [HOSTILE],
        ["search", "x", "-k", HOSTILE],
        ["search", "x", "--index", f"none{HOSTILE}"],
        ["search", "x", "--where", HOSTILE],
        ["search", "--image", f"none{HOSTILE}"],
        ["search", "x", "--modality", HOSTILE],
        ["search", "x", "--html", f"/proc/{HOSTILE}/x"],
        ["add", ".", "--models", HOSTILE],
        ["verify", f"none{HOSTILE}"],
        ["import", f"none{HOSTILE}"],
        ["export", f"none{HOSTILE}", "x"],
        ["backup", "a", "b", HOSTILE],
    ],
)
def test_mistakes_are_shown_with_signs_and_end_with_1(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = run(*arguments, code=1)
    assert "error" in shown
    assert "Traceback" not in shown


def test_settings_of_an_index_from_elsewhere(tmp_path):
    settings = {f"models{HOSTILE}": HOSTILE}
    with MultimodalIndex(ToyEncoder(), path=tmp_path / "index", settings=settings) as index:
        index.add([Document(text="x", id=HOSTILE, group=HOSTILE)])
    assert "␛" in run("info", "--index", tmp_path / "index", code=0)


def test_warnings_messages_and_faults_go_the_same_way(tmp_path, monkeypatch):
    def faulty(*_, **__):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"careful {HOSTILE}", UserWarning, stacklevel=1)
        logging.getLogger("diptych.x").warning("look %s", HOSTILE)
        raise RuntimeError(f"fault {HOSTILE}")

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys.modules["diptych.cli.app"], "read", faulty)
    shown = run("add", ".", "--models", "toy", code=1)
    assert "report it" in shown
    assert all(word in shown for word in ("careful", "look", "fault"))
    assert root.handlers == []


def test_any_renderable_is_safe():
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="truecolor", width=200)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE, Text(HOSTILE, style="red"))
    console.print(HOSTILE, Text(HOSTILE, style="bold"), table, f"[red]{HOSTILE}[/] :smile:")
    assert_safe(file.getvalue())
    assert "[red]" in file.getvalue()
    assert ":smile:" in file.getvalue()
    assert "\x1b[1m" in file.getvalue()


def test_pages_and_cards_hold_signs(tmp_path):
    document = Document(text=HOSTILE, id=HOSTILE, metadata={"source": HOSTILE, "section": HOSTILE})
    found = FusedDocument((document,), 0.5, (), HOSTILE)
    page = render_page(HOSTILE, [Section(Query(HOSTILE), [found])], note=HOSTILE)
    page.encode("utf-8")
    failed = (Failure(HOSTILE, HOSTILE, HOSTILE),)
    report = AddReport(failed=failed, not_read=(NotRead(HOSTILE, 1, (HOSTILE,)),))
    for text in (page, cards([found]), report._repr_html_(), str(report)):
        assert RAW.search(text) is None
        assert "␛" in text


def test_a_real_terminal_gets_colours_and_no_commands(folder, tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    command = [
        sys.executable,
        "-m",
        "diptych",
        "add",
        folder,
        "--models",
        "toy",
        "-i",
        tmp_path / "i",
    ]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color"}
    )
    os.close(theirs)
    read = bytearray()
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        read += data
    os.close(ours)
    assert process.wait(timeout=300) == 2
    text = read.decode().replace("\r\n", "\n")
    assert SGR.search(text), text
    assert BAR.search(text), text
    assert "␛" in text
    assert_safe(text)
