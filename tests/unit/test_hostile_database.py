"""A database that diptych did not make, or to which something was added, is refused before it is used."""

import shutil
import sqlite3
import struct

import pytest

from diptych.errors import CorruptionError, FormatError
from diptych.maintenance import backup, export_index, verify
from hostile import DOCUMENTS, make_docs, open_index, tree

MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with open_index(tmp_path_factory.mktemp("whole") / "kb") as index:
        index.add(DOCUMENTS)
    return index.path


@pytest.fixture
def path(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "kb")
    (folder / "store.seal").unlink()
    return folder


def change(path, *statements, schema=False):
    connection = sqlite3.connect(path / "store.sqlite3")
    if schema:
        connection.execute("PRAGMA writable_schema = ON")
    for sql in statements:
        connection.execute(sql)
    connection.commit()
    connection.close()


def hot_journal(path, name):
    """Leave what a killed writer leaves, with the name of a super-journal behind it."""
    copy = path.with_name("hot")
    connection = sqlite3.connect(path / "store.sqlite3", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.execute("UPDATE documents SET text = text || randomblob(100000)")
    shutil.copytree(path, copy)
    connection.execute("ROLLBACK")
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    assert (copy / "store.sqlite3-journal").read_bytes()[:8] == MAGIC
    if name:
        trailer = struct.pack(">I", (1 << 30) // page + 1) + name
        trailer += struct.pack(">II", len(name), sum(name) & 0xFFFFFFFF) + MAGIC
        with open(copy / "store.sqlite3-journal", "ab") as journal:
            journal.write(trailer)
    return copy


def commands(path):
    def search():
        with open_index(path) as index:
            index.search("pump")

    def add():
        with open_index(path) as index:
            index.upsert(DOCUMENTS)

    return {
        "search": search,
        "add": add,
        "verify": lambda: verify(path, deep=True),
        "repair": lambda: verify(path, repair=True),
        "backup": lambda: backup(path, path.with_name("copy")),
        "export": lambda: export_index(path, path.with_name("export.zip")),
    }


def test_journal_of_a_killed_writer_is_taken_back(path):
    with open_index(hot_journal(path, b"")) as index:
        assert [d.text for d in index.get()] == [d.text for d in DOCUMENTS]


def test_sqlite_would_remove_the_file_that_a_journal_names(path, tmp_path):
    """Why such a journal is refused."""
    victim = make_docs(tmp_path) / "letter.txt"
    connection = sqlite3.connect(hot_journal(path, bytes(victim)) / "store.sqlite3")
    connection.execute("SELECT count(*) FROM documents").fetchone()
    connection.close()
    assert not victim.exists()


@pytest.mark.parametrize("command", ["search", "add", "verify", "repair", "backup", "export"])
def test_journal_that_names_a_file_elsewhere_is_refused(path, tmp_path, command):
    docs = make_docs(tmp_path)
    before = tree(docs)
    hot = hot_journal(path, bytes(docs / "letter.txt"))
    with pytest.raises(FormatError, match=r"journal.*names another file.*Remove"):
        commands(hot)[command]()
    assert tree(docs) == before
    assert verify(path, deep=True).is_whole


BODY = "BEGIN DELETE FROM documents; END"
OBJECTS = {
    "trigger": [f"CREATE TRIGGER evil AFTER INSERT ON documents {BODY}"],
    "trigger like one of SQLite": [f"CREATE TRIGGER sqlitexevil AFTER INSERT ON documents {BODY}"],
    "view": ["CREATE VIEW sqlitexview AS SELECT 1"],
    "table": ["CREATE TABLE sqlitextable (a)"],
    "index": ["CREATE INDEX sqlitexindex ON documents (lower(text))"],
    "index instead": [
        "DROP INDEX documents_group",
        'CREATE INDEX documents_group ON documents (abs("order"))',
    ],
    "statistics": ["ANALYZE"],
    "column": ["ALTER TABLE field ADD COLUMN evil"],
    "computed column": ["ALTER TABLE setting ADD COLUMN evil AS (printf('%1000000000s', 'x'))"],
    "view instead of a table": [
        "ALTER TABLE garbage RENAME TO sqlitexgarbage",
        "CREATE VIEW garbage AS SELECT 'x' AS place, 0 AS since",
    ],
    "without rowid": [
        "DROP TABLE setting",
        "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ],
    "other words": ["DROP TABLE lexical", "CREATE VIRTUAL TABLE lexical USING fts5 (text)"],
    "dropped": ["DROP TABLE garbage"],
    "collation": ["DROP TABLE setting", "CREATE TABLE setting (name TEXT, value TEXT NOT NULL)"],
    "format 0": ["PRAGMA user_version = 0"],
    "format -1": ["PRAGMA user_version = -1"],
    "application": ["PRAGMA application_id = 1"],
}
WRITTEN = {
    "default that is computed": "UPDATE sqlite_schema SET sql = replace(sql, 'value TEXT NOT NULL',"
    " 'value TEXT NOT NULL DEFAULT (randomblob(9))') WHERE name = 'setting'",
    "check": "UPDATE sqlite_schema SET sql = replace(sql, 'value TEXT NOT NULL',"
    " 'value TEXT NOT NULL CHECK (length(randomblob(999999999)))') WHERE name = 'setting'",
    "name in quotes": "UPDATE sqlite_schema SET sql = replace(sql, '\"group\" TEXT',"
    " '\"gro--' || char(10) || 'up\" TEXT') WHERE name = 'documents'",
}


@pytest.mark.parametrize("name", [*OBJECTS, *WRITTEN])
def test_what_diptych_did_not_create_is_refused_before_anything_is_written(path, name):
    if name in OBJECTS:
        change(path, *OBJECTS[name])
    else:
        change(path, WRITTEN[name], schema=True)
    before = tree(path)
    for command in commands(path).values():
        with pytest.raises(FormatError, match="untrusted|no diptych index|format"):
            command()
        (path / "lock").unlink(missing_ok=True)
    assert {name: data[:2] for name, data in tree(path).items()} == {
        name: data[:2] for name, data in before.items() if name != "lock"
    }


def test_other_words_are_damage_that_a_repair_mends(path):
    sql = "UPDATE sqlite_schema SET sql = replace(sql, 'porter', 'ascii') WHERE name = 'lexical'"
    change(path, sql, schema=True)
    with pytest.raises(CorruptionError, match=r"list of words.*--repair"):
        open_index(path)
    assert verify(path, repair=True).is_whole
    with open_index(path) as index:
        assert [h.id for h in index.search("pumps", modalities=["text"])["lexical"]] == ["t1"]


def test_comments_and_spaces_in_the_statements_do_not_count(path):
    change(
        path,
        "UPDATE sqlite_schema SET sql = replace(sql, '(name TEXT', '(  name /* a */ TEXT -- b' || char(10))"
        " WHERE name = 'setting'",
        schema=True,
    )
    with open_index(path) as index:
        assert len(index) == 2
