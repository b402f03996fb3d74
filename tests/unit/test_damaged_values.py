"""A sealed database in which a column holds what diptych never writes there."""

import itertools
import shutil
import sqlite3
from contextlib import suppress

import pytest

from diptych.errors import StorageError
from diptych.maintenance import backup, export_index, reembed, verify
from diptych.storage import repair
from diptych.storage.database import ROW
from diptych.storage.rows import Row
from diptych.storage.seal import seal
from hostile import DOCUMENTS, open_index
from stubs import StubJoint, StubText

DEEP = "replace(printf('%.*c', 100000, 'x'), 'x', '[')"
BYTES, LARGEST = "x'00ff'", "9223372036854775807"
VALUES = [
    ("state.commits", LARGEST),
    ("state.generation", "'x'"),
    ("space.list", BYTES),
    ("space.dim", "-5"),
    ("space.dim", "'x'"),
    ("space.probe", DEEP),
    ("documents.id", DEEP),
    ("documents.id", BYTES),
    ("documents.image", "'x'"),
    ("documents.image_path", BYTES),
    ("documents.metadata", DEEP),
    ("documents.metadata", BYTES),
    ('documents."group"', DEEP),
    ('documents."order"', "9e999"),
    ("documents.key", LARGEST),
    ("documents.origin", BYTES),
    ("segment.name", "'../../x'"),
    ("segment.size", "'x'"),
    ("segment.first", BYTES),
    ("segment.last", LARGEST),
    ("sqlite_sequence.seq", "9e999"),
]
INSERTED = [
    "INSERT INTO setting VALUES ('a', x'00')",
    "INSERT INTO garbage VALUES (x'00ff', 0)",
    "INSERT INTO garbage VALUES ('../../x', 0)",
    "INSERT INTO space SELECT generation + 1, list, 'x', name, fingerprint, probe FROM space",
    "INSERT INTO space SELECT 'x', list, dim, name, fingerprint, probe FROM space",
]
STATEMENTS = [
    *(
        f"UPDATE {c.partition('.')[0]} SET {c.partition('.')[2]} = {v} WHERE rowid = 1"
        for c, v in VALUES
    ),
    *INSERTED,
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with open_index(tmp_path_factory.mktemp("whole") / "kb") as index:
        index.add(DOCUMENTS)
    return index.path


def damage(whole, path, sql):
    """Return a copy of an index after a statement, its rows with the checksums of what they hold now."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    (path / "store.seal").unlink()
    connection = sqlite3.connect(path / "store.sqlite3")
    try:
        connection.execute(sql)
        for key, *rest in connection.execute(f"SELECT key, {ROW} FROM documents").fetchall():
            checksum = Row(*rest).checksum(key)
            connection.execute("UPDATE documents SET checksum = ? WHERE key = ?", [checksum, key])
        connection.commit()
    finally:
        connection.close()
    seal(path / "store.sqlite3")
    return path


def read(path):
    with open_index(path) as index:
        index.search("pump")
        index.get()


def write(path):
    with open_index(path) as index:
        index.upsert(DOCUMENTS)
        index.compact()


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_value_that_no_column_holds_ends_in_words(whole, tmp_path, sql):
    victim = tmp_path / "x"
    victim.write_bytes(b"precious")
    path = damage(whole, tmp_path / "kb", sql)
    copies = [shutil.copytree(path, tmp_path / name) for name in ("written", "reembedded")]
    for command in (
        lambda: read(path),
        lambda: verify(path, deep=True),
        lambda: backup(path, tmp_path / "copy"),
        lambda: export_index(path, tmp_path / "file.zip"),
        lambda: write(copies[0]),
        lambda: reembed(copies[1], StubText(), StubJoint()),
    ):
        with suppress(StorageError):
            command()
    report = None
    with suppress(StorageError):
        report = verify(path, repair=True)
    if report is not None:
        assert {problem.part for problem in report.problems} <= {"vectors", "stray"}
        read(path)
    assert victim.read_bytes() == b"precious"


BROKEN = {
    "bytes as the name of a segment": "UPDATE segment SET name = x'00ff'",
    "a billion dimensions": "UPDATE space SET dim = 1000000000",
    "a probe of another length": "UPDATE space SET probe = x'00ff'",
    "vectors of no model": "UPDATE state SET generation = 7",
    "no state": "DELETE FROM state",
    "bytes as a setting": "INSERT INTO setting VALUES ('a', x'00')",
    "segments before the first key": "UPDATE segment SET first = -5, last = -4",
    "a document before the first key": "UPDATE documents SET key = -1 WHERE key = 1",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_would_change_the_answers_is_refused(whole, tmp_path, name):
    path = damage(whole, tmp_path / "kb", BROKEN[name])
    with pytest.raises(StorageError, match=r"is damaged: .*--repair"):
        export_index(path, tmp_path / "file.zip")
    assert not verify(path, deep=True).is_whole


@pytest.mark.parametrize("metadata", ["null", "[1]", "7", "{", '{"a": "\\ud800"}', "[" * 900])
def test_metadata_that_are_none_are_said_and_moved_away(whole, tmp_path, metadata):
    path = damage(
        whole, tmp_path / "kb", f"UPDATE documents SET metadata = '{metadata}' WHERE key = 1"
    )
    with open_index(path) as index, pytest.raises(StorageError, match=r"'t1'.*cannot be read"):
        index.get()
    assert [p.where for p in verify(path, deep=True).problems if p.part == "document"] == ["t1"]
    assert verify(path, repair=True).is_whole
    with open_index(path) as index:
        assert [document.id for document in index.get()] == ["b1"]


def test_keys_without_end_are_not_gone_through_one_by_one():
    """The keys of a segment are those of whoever wrote it."""
    far = [repair.EACH + 7, 2**40, 2**61]

    class Damaged:
        def rows(self, sql, parameters):
            assert "key > ?" in sql
            return [(key,) for key in far if key > parameters[0]][:1]

    keys = repair._keys(Damaged(), 2**62)
    assert sum(1 for _ in itertools.islice(keys, repair.EACH)) == repair.EACH
    assert list(keys) == far
    assert list(repair._keys(Damaged(), 4)) == [1, 2, 3, 4]
