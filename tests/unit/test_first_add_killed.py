"""Whatever a kill during the very first ``add`` leaves is an empty index, and not a lost one."""

import os
import shutil
import sqlite3
import sys

import pytest
from typer.testing import CliRunner

from diptych import Document, MultimodalIndex, ToyEncoder
from diptych.cli import app
from diptych.errors import CorruptionError, FormatError
from diptych.image import Image
from diptych.maintenance import backup, export_index, verify
from diptych.storage.schema import SCHEMA
from stubs import png

DOCUMENTS = [
    Document("a red pump", id="t1"),
    Document("a blue wall", Image(png("blue")), id="b1"),
]
EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.truncate", "fcntl.flock", "fcntl.lockf"}


def open_index(path):
    return MultimodalIndex(ToyEncoder(), ToyEncoder(), path=path)


def add_and_copy_at_every_step(path, copies):
    """Add documents, and copy the folder before every call on a file and every statement, in a child."""
    is_copying = False

    def copy():
        nonlocal is_copying
        if not is_copying and path.exists():
            is_copying = True
            shutil.copytree(path, copies / f"{len(list(copies.iterdir())):03}")
            is_copying = False

    class Watched(sqlite3.Connection):
        def execute(self, *arguments):
            copy()
            return super().execute(*arguments)

        def executemany(self, *arguments):
            copy()
            return super().executemany(*arguments)

    child = os.fork()
    if not child:
        code = 1
        try:
            connect = sqlite3.connect
            sqlite3.connect = lambda *a, **o: connect(*a, factory=Watched, **o)
            index = open_index(path)
            sys.addaudithook(lambda event, _: copy() if event in EVENTS else None)
            index.add(DOCUMENTS)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def state(path, *names):
    """Make a folder as a kill may leave it."""
    path.mkdir()
    for name in names:
        if name.endswith("/"):
            (path / name).mkdir(parents=True, exist_ok=True)
        else:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(b"x" if files_have_content(name) else b"")
    return path


def files_have_content(name):
    return ".tmp-" in name or name.startswith(("segments/", "assets/"))


def with_hot_journal(path):
    """Kill SQLite while it writes the tables into the file."""
    path.mkdir()
    (path / "lock").touch()
    work = path.with_name("work")
    work.mkdir()
    raw = sqlite3.connect(work / "store.sqlite3", isolation_level=None)
    raw.execute("PRAGMA cache_size = 2")
    raw.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA.split(";\n"):
        raw.execute(statement)
    raw.execute("CREATE TABLE much (x)")
    raw.execute("INSERT INTO much VALUES (zeroblob(90000))")
    for name in ("store.sqlite3", "store.sqlite3-journal"):
        shutil.copy(work / name, path / name)
    raw.close()
    assert (path / "store.sqlite3").stat().st_size > 0
    return path


STATES = {
    "folder": [],
    "lock": ["lock"],
    "empty database": ["lock", "store.sqlite3"],
    "journal": ["lock", "store.sqlite3", "store.sqlite3-journal"],
    "log": ["lock", "store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm"],
    "folders": ["lock", "store.sqlite3", "segments/", "assets/", "assets/ab/"],
    "temporary files": ["lock", "store.sqlite3", "segments/.tmp-1", "assets/ab/.tmp-2", ".tmp-3"],
    "folders alone": ["segments/", "assets/"],
    "namespaces": ["lock", "namespaces/"],  # of an index that shares its folder
}


def check_that_it_is_empty(path, elsewhere):
    """Let everything that can be done with an index treat a folder as an empty one."""

    def fresh():
        shutil.rmtree(elsewhere, ignore_errors=True)
        shutil.copytree(path, elsewhere)
        return elsewhere

    for options in ({}, {"deep": True}, {"repair": True}):
        report = verify(fresh(), **options)
        assert report.is_whole, report.problems
        assert (report.documents, report.segments, report.pictures) == (0, 0, 0)
        assert verify(elsewhere).is_whole
        with open_index(elsewhere) as index:
            assert len(index) == 0
    for copy in (backup, export_index):
        target = elsewhere.with_name("target")
        try:
            assert copy(fresh(), target) is not None
        except FormatError as error:
            assert "Nothing has been stored" in str(error)  # noqa: PT017  # either is right
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    with open_index(fresh()) as index:
        assert not any(index.search("pump").values())
        assert index.info().documents == 0
        index.compact()
    assert verify(elsewhere).is_whole
    with open_index(fresh()) as index:
        assert index.add(DOCUMENTS).added == 2
    with open_index(elsewhere) as index:
        assert index.search("red pump", modalities=["text"])["text"][0].id == "t1"
        assert index.get(["b1"])[0].image.read() == png("blue")
    assert verify(elsewhere, deep=True).is_whole


def test_every_state_of_the_first_add_is_an_empty_or_a_whole_index(tmp_path):
    copies = tmp_path / "copies"
    copies.mkdir()
    add_and_copy_at_every_step(tmp_path / "index", copies)
    states = sorted(copies.iterdir())
    seen, empty = set(), 0
    for at in states:
        key = tuple(
            (str(f.relative_to(at)), f.is_file() and f.read_bytes()) for f in sorted(at.rglob("*"))
        )
        if key in seen:
            continue
        seen.add(key)
        found = verify(at)
        assert found.is_whole, (at, found.problems)
        if found.documents == 0:
            empty += 1
            if (at / "assets").exists():  # an index with tables, like any other
                with open_index(at) as index:
                    assert len(index) == 0
                    assert index.add(DOCUMENTS).added == 2
                assert verify(at, deep=True).problems == ()
            else:
                check_that_it_is_empty(at, tmp_path / "elsewhere")
    assert empty >= 5, "the states between the calls were not seen"


@pytest.mark.parametrize("name", STATES)
def test_state_that_a_kill_may_leave_is_an_empty_index(tmp_path, name):
    check_that_it_is_empty(state(tmp_path / "index", *STATES[name]), tmp_path / "elsewhere")


def test_tables_that_were_being_written_are_rolled_back(tmp_path):
    check_that_it_is_empty(with_hot_journal(tmp_path / "index"), tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["lock", "empty database", "journal"])
def test_command_line_treats_it_as_empty(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules["diptych.cli.app"].__dict__, "DEFAULT", "toy+toy")
    path = state(tmp_path / "index", *STATES[name])
    (tmp_path / "page.md").write_text("# Pump\n\nPress the red button.\n")

    def run(*words, code=0):
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    assert "0 documents" in run("verify", path)
    assert "0 documents" in run("verify", path, "--repair")
    assert "documents" in run("info", "--index", path)
    run("search", "pump", "--index", path)
    run("compact", path)
    assert "Nothing has been stored" in run("backup", path, tmp_path / "copy", code=1)
    assert "Nothing has been stored" in run("export", path, tmp_path / "file", code=1)
    run("add", tmp_path / "page.md", "--index", path, "--models", "toy+toy")
    assert "red button" in run("search", "pump", "--index", path)


@pytest.mark.parametrize("database", ["missing", "empty"])
@pytest.mark.parametrize("what", ["segments", "assets", "store.seal"])
def test_lost_database_is_still_told_from_one_that_never_was(tmp_path, what, database):
    path = tmp_path / "index"
    with open_index(path) as index:
        index.add(DOCUMENTS)
    for name in {"segments", "assets", "store.seal"} - {what}:
        shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()
    if database == "missing":
        (path / "store.sqlite3").unlink()
    else:
        (path / "store.sqlite3").write_bytes(b"")
    with pytest.raises(CorruptionError, match="missing or empty|not as it was when"):
        open_index(path)
    with pytest.raises(CorruptionError, match="missing or empty|not even which models"):
        verify(path, repair=True)


@pytest.mark.parametrize("name", ["assets/logo.png", "assets/css/main.css", "segments/a.txt", "x"])
def test_folder_of_something_else_is_not_taken_for_an_index(tmp_path, name):
    path = state(tmp_path / "project", name)
    with pytest.raises(FormatError, match="holds no diptych index"):
        open_index(path)
    with pytest.raises(FormatError, match="holds no diptych index"):
        verify(path)
