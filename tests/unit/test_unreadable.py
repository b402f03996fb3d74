"""Unreadable is not damaged: nothing is mended, and nothing advises it, where a file cannot be read."""

import builtins
import errno
import io
import os
import shlex
import sqlite3

import pytest
from typer.testing import CliRunner

from diptych import Document, MultimodalIndex
from diptych.cli import app
from diptych.errors import CorruptionError, StorageError
from diptych.image import Image
from diptych.maintenance import backup, verify
from diptych.storage import connection
from diptych.storage.failures import is_damage, is_passing, is_unread_page
from diptych.storage.files import Files
from diptych.storage.segments import scan_segments
from stubs import StubJoint, StubText, png

DOCUMENTS = [
    Document("a red pump", id="t1", metadata={"n": 1}),
    Document("a blue wall", Image(png("blue")), id="b1"),
]
NUMBERS = [
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EIO", "EMFILE", "ENFILE", "ESTALE", "ENOMEM", "EBUSY")
    if hasattr(errno, name)
]


def open_index(path):
    return MultimodalIndex(StubText(), StubJoint(), path=path)


@pytest.fixture
def path(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add(DOCUMENTS)
    return tmp_path / "index"


@pytest.fixture
def fail(monkeypatch):
    """Let every way to open or list some files fail, also for root."""
    failing = {}
    originals = builtins.open, os.open, os.listdir, os.scandir

    def check(path, folder=None):
        if folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        elif isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if isinstance(path, str | os.PathLike):
            for place, number in failing.items():
                if os.fspath(path).endswith(place):
                    raise OSError(number, os.strerror(number), os.fspath(path))

    def failing_open(path, *arguments, **options):
        check(path)
        return originals[0](path, *arguments, **options)

    def failing_os_open(path, *arguments, **options):
        check(path, options.get("dir_fd"))
        return originals[1](path, *arguments, **options)

    def failing_list(path=".", *arguments):
        check(path)
        return originals[2](path, *arguments)

    def failing_scan(path=".", *arguments):
        check(path)
        return originals[3](path, *arguments)

    monkeypatch.setattr(builtins, "open", failing_open)
    monkeypatch.setattr(io, "open", failing_open)
    monkeypatch.setattr(os, "open", failing_os_open)
    monkeypatch.setattr(os, "listdir", failing_list)
    monkeypatch.setattr(os, "scandir", failing_scan)
    yield failing.__setitem__
    failing.clear()


def content(path):
    """Return the bytes of every file but the lock, which is no part of what is stored."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "lock"
    }


def place_of(path, what):
    patterns = {
        "segment": "segments/*",
        "picture": "assets/*/*",
        "database": "store.sqlite3",
        "seal": "store.seal",
    }
    (file,) = path.glob(patterns[what])
    return file


def sqlite_error(name, text="disk I/O error"):
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("what", ["segment", "picture", "database", "seal"])
def test_unreadable_file_is_named_and_no_repair_is_made(path, fail, what, number):
    file = place_of(path, what)
    fail(file.name, number)
    report = verify(path, deep=True)
    assert not report.is_whole
    assert not report.is_mendable
    assert {problem.part for problem in report.problems} == {"unreadable"}
    assert report.problems[0].where == str(file)
    assert os.strerror(number) in report.problems[0].what
    with pytest.raises(StorageError, match=r"was not repaired.*not damage.*repair again") as caught:
        verify(path, repair=True)
    assert not isinstance(caught.value, CorruptionError)
    assert str(file) in str(caught.value)
    assert os.strerror(number) in str(caught.value)


@pytest.mark.parametrize("what", ["segment", "picture", "database", "seal"])
def test_files_are_as_they_were_after_a_repair_was_refused(path, fail, monkeypatch, what):
    before = content(path)
    fail(place_of(path, what).name, errno.EACCES)
    with pytest.raises(StorageError, match="was not repaired"):
        verify(path, repair=True)
    monkeypatch.undo()
    assert content(path) == before
    assert verify(path, deep=True).problems == ()


@pytest.mark.parametrize("what", ["segment", "seal", "database"])
def test_opening_says_what_could_not_be_read_and_advises_no_repair(path, fail, what):
    file = place_of(path, what)
    fail(file.name, errno.EIO)
    with pytest.raises(StorageError, match=r"could not be read.*fix the permissions") as caught:
        open_index(path)
    assert not isinstance(caught.value, CorruptionError)
    assert file.name in str(caught.value)
    assert "--repair" not in str(caught.value)


def test_picture_that_cannot_be_read_advises_no_repair(path, fail):
    fail(place_of(path, "picture").name, errno.EACCES)
    with open_index(path) as index:
        (found,) = index.get(["b1"])
        with pytest.raises(Exception, match="Permission denied") as caught:
            found.image.read()
    assert "--repair" not in str(caught.value)


def test_documents_whose_vectors_could_not_be_read_are_not_said_to_lack_them(path, fail):
    fail(place_of(path, "segment").name, errno.EACCES)
    assert verify(path).without_vectors == 0


@pytest.mark.parametrize("name", ["segments", "assets"])
def test_salvage_never_takes_an_unreadable_folder_for_an_empty_one(path, fail, monkeypatch, name):
    spoil_page(path)
    before = content(path)
    fail(f"/{name}", errno.EACCES)
    with pytest.raises(StorageError, match=f"was not repaired.*{name}' could not be read"):
        verify(path, repair=True)
    monkeypatch.undo()
    assert content(path) == before


@pytest.mark.parametrize("what", ["segment", "picture"])
def test_salvage_refuses_when_files_of_the_index_cannot_be_read(path, fail, monkeypatch, what):
    spoil_page(path)
    before = content(path)
    fail(place_of(path, what).name, errno.EIO)
    with pytest.raises(StorageError, match=r"was not repaired.*Input/output error"):
        verify(path, repair=True)
    monkeypatch.undo()
    assert content(path) == before


def spoil_page(path):
    """Damage the table of documents."""
    raw = sqlite3.connect(path / "store.sqlite3")
    ((root,),) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'")
    raw.close()
    data = bytearray((path / "store.sqlite3").read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    (path / "store.sqlite3").write_bytes(data)


class Failing(sqlite3.Connection):
    """Fails at one statement, as SQLite does when the system lets it down."""

    statement, error = "", sqlite_error("SQLITE_IOERR_READ")

    def execute(self, sql, *arguments):
        if self.statement and self.statement in sql:
            raise self.error
        return super().execute(sql, *arguments)


CODES = [
    "SQLITE_IOERR_READ", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY",
    "SQLITE_READONLY_ROLLBACK", "SQLITE_BUSY", "SQLITE_BUSY_RECOVERY", "SQLITE_LOCKED", "SQLITE_FULL",
    "SQLITE_NOMEM", "SQLITE_AUTH",
]  # fmt: skip


@pytest.mark.parametrize(
    "statement", ["integrity_check", "FROM documents", "SELECT commits", "PRAGMA"]
)
@pytest.mark.parametrize("code", ["SQLITE_IOERR_READ", "SQLITE_CANTOPEN", "SQLITE_BUSY"])
def test_database_that_could_not_be_read_is_not_salvaged(path, monkeypatch, statement, code):
    before, connect = content(path), sqlite3.connect
    monkeypatch.setattr(Failing, "statement", statement)
    monkeypatch.setattr(Failing, "error", sqlite_error(code))
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, factory=Failing, **o))
    assert {problem.part for problem in verify(path, deep=True).problems} == {"unreadable"}
    with pytest.raises(StorageError, match="was not repaired.*disk I/O error") as caught:
        verify(path, repair=True)
    assert not isinstance(caught.value, CorruptionError)
    monkeypatch.undo()
    assert content(path) == before


def test_disk_that_fails_while_a_damaged_database_is_salvaged_leaves_it(path, monkeypatch):
    spoil_page(path)
    before, connect = content(path), sqlite3.connect
    monkeypatch.setattr(Failing, "statement", "FROM segment WHERE generation")
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, factory=Failing, **o))
    with pytest.raises(StorageError, match=r"was not mended.*Nothing was changed") as caught:
        verify(path, repair=True)
    assert not isinstance(caught.value, CorruptionError)
    monkeypatch.undo()
    before.pop("store.seal")
    after = content(path)
    after.pop("store.seal", None)
    assert after == before


def test_locked_database_is_not_salvaged(path, monkeypatch):
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.0)
    other = sqlite3.connect(path / "store.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert [p.part for p in verify(path).problems] == ["unreadable"]
        with pytest.raises(StorageError, match=r"was not repaired.*database is locked"):
            verify(path, repair=True)
    finally:
        other.close()
    assert verify(path, deep=True).problems == ()


@pytest.mark.parametrize("code", CODES)
def test_codes_that_say_nothing_about_the_file_are_no_damage(code):
    error = sqlite_error(code, "vtable constructor failed: lexical; corrupt; malformed")
    assert not is_damage(error)
    assert is_passing(error)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SQLITE_CORRUPT", "some words"),
        ("SQLITE_CORRUPT_VTAB", "some words"),
        ("SQLITE_NOTADB", "some words"),
        ("SQLITE_ERROR", "no such table: documents"),
        ("SQLITE_ERROR", "unsupported file format"),
    ],
)
def test_codes_of_damage_are_damage_whatever_the_words(code, text):
    assert is_damage(sqlite_error(code, text))
    assert not is_passing(sqlite_error(code, text))


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("On tree page 4 cell 0: unable to get the page. error code=10", True),
        ("Tree 4 page 9: unable to get the page. error code=266", True),
        ("Tree 4 page 9: unable to get the page. error code=7", True),
        ("Tree 4 page 9: btreeInitPage() returns error code 11", False),
        ("Tree 4 page 9: unable to get the page. error code=11", False),
        ("unable to validate the inverted index for FTS5 table main.lexical: disk I/O error", True),
        ("malformed inverted index for FTS5 table main.lexical", False),
        ("row 3 missing from index documents_group", False),
    ],
)
def test_page_that_the_check_of_sqlite_could_not_read_is_no_damage(verdict, expected):
    assert is_unread_page(verdict) == expected


def test_check_of_an_unsealed_database_tells_unread_pages_from_damage(path, monkeypatch):
    (path / "store.seal").unlink()
    check = connection.Connection.all
    verdict = "Tree 4 page 9: unable to get the page. error code=266"

    def unread(self, sql, parameters=()):
        return [(verdict,)] if "integrity_check" in sql else check(self, sql, parameters)

    monkeypatch.setattr(connection.Connection, "all", unread)
    with pytest.raises(StorageError, match="could not be read.*That is not damage") as caught:
        open_index(path)
    assert not isinstance(caught.value, CorruptionError)
    assert [p.part for p in verify(path, deep=True).problems] == ["unreadable"]


def test_a_picture_whose_origin_cannot_be_read_stays_where_it_is(tmp_path, fail):
    origin = tmp_path / "red.png"
    origin.write_bytes(png("red"))
    with open_index(tmp_path / "index") as index:
        index.add([Document(None, Image(origin), id="p")])
    (copy,) = (tmp_path / "index" / "assets").glob("*/*")
    copy.write_bytes(b"rubbish")
    fail("red.png", errno.EACCES)
    report = verify(tmp_path / "index", repair=True)
    assert any("left the picture of 'p' as it is" in line for line in report.repaired)
    assert copy.read_bytes() == b"rubbish"


def test_segments_are_not_scanned_past_one_that_cannot_be_read(path, fail):
    fail(place_of(path, "segment").name, errno.EIO)
    with pytest.raises(StorageError, match="could not be read: Input/output error"):
        scan_segments(Files(path), set())


def test_missing_is_damage_and_unreadable_is_not(tmp_path, fail):
    with pytest.raises(CorruptionError, match="is missing"):
        Files(tmp_path).read("segments/none", limit=100)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(CorruptionError, match="is missing"):
        Files(tmp_path).read("file/below", limit=100)


def test_backup_of_an_index_with_an_unreadable_file_names_it(path, tmp_path, fail):
    file = place_of(path, "picture")
    fail(f"{path.name}/{file.relative_to(path)}", errno.EIO)
    with pytest.raises(StorageError, match=f"{file.name}' could not be read") as caught:
        backup(path, tmp_path / "copy")
    assert not isinstance(caught.value, CorruptionError)
    assert not (tmp_path / "copy").exists()


def test_command_line_lists_what_is_unreadable_and_advises_no_repair(path, fail):
    fail(place_of(path, "segment").name, errno.EACCES)
    result = CliRunner().invoke(app, ["verify", str(path)])
    assert result.exit_code == 1
    assert "unreadable" in result.output
    assert "not damaged" in result.output
    assert "--repair" not in result.output
    refused = CliRunner().invoke(app, ["verify", str(path), "--repair"])
    assert refused.exit_code == 1
    assert "was not repaired" in refused.output


@pytest.mark.parametrize("name", ["a b", "it's", "-x", "$(touch y)"])
def test_command_that_a_message_names_can_be_pasted(tmp_path, name):
    words = shlex.split(connection.repair_command(tmp_path / name))
    assert words == ["diptych", "verify", str(tmp_path / name), "--repair"]
    assert shlex.split(connection.repair_command(name))[2] == (
        f"./{name}" if name == "-x" else name
    )


def test_segment_whose_keys_were_never_given_is_found_and_mended(path):
    (path / "store.seal").unlink()
    raw = sqlite3.connect(path / "store.sqlite3")
    with raw:
        raw.execute("UPDATE segment SET last = 99")
    raw.close()
    with pytest.raises(CorruptionError, match="never given.*--repair"):
        open_index(path)
    assert "segment" in {problem.part for problem in verify(path).problems}
    verify(path, repair=True)
    with open_index(path) as index:
        assert len(index) == 2


def test_document_whose_picture_lies_outside_of_the_index_is_moved_out(path):
    (path / "store.seal").unlink()
    raw = sqlite3.connect(path / "store.sqlite3")
    with raw:
        raw.execute("UPDATE documents SET image_path = 'assets/../../x.png' WHERE id = 'b1'")
    raw.close()
    verify(path, repair=True)
    with open_index(path) as index:
        assert [document.id for document in index.get()] == ["t1"]


def test_repair_that_the_disk_cuts_off_says_so_in_words(path, monkeypatch):
    file = place_of(path, "segment")
    file.write_bytes(b"rubbish")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "quarantine")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(StorageError, match=r"failed: No space left.*free space"):
        verify(path, repair=True)
    monkeypatch.undo()
    verify(path, repair=True)
    assert (path / "quarantine" / file.name).read_bytes() == b"rubbish"


def test_command_is_shown_on_one_line_however_long_the_path_is(tmp_path):
    path = tmp_path / ("long name " * 20).strip()
    with open_index(path) as index:
        index.add(DOCUMENTS)
    place_of(path, "segment").write_bytes(b"rubbish")
    result = CliRunner().invoke(app, ["verify", str(path)])
    assert f"diptych verify '{path}' --repair\n" in result.output
