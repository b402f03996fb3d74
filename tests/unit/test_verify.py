import json
import sqlite3

import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import CorruptionError, FormatError, LockedError, MediaError, StorageError
from diptych.image import Image
from diptych.storage.files import Files
from diptych.storage.maintenance import verify_folder
from stubs import StubJoint, StubText, png

DOCUMENTS = [
    Document("a red pump", id="t1", metadata={"n": 1, "tags": ["a", "b"]}),
    Document("a blue wall", Image(png("blue")), id="b1", metadata={"n": 2}),
    Document(None, Image(png("green")), id="i1"),
]


def open_index(path, **arguments):
    return MultimodalIndex(StubText(), StubJoint(), path=path, **arguments)


@pytest.fixture
def path(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add(DOCUMENTS)
    return tmp_path / "index"


def change(path, sql):
    """Change the database behind the back of the index, as a failing disk would."""
    connection = sqlite3.connect(path / "store.sqlite3")
    with connection:
        connection.execute(sql)
    connection.close()


def parts(report):
    return sorted({problem.part for problem in report.problems})


def test_whole_index_has_no_problems(path):
    report = verify_folder(path, deep=True)
    assert report.is_whole
    assert report.problems == ()
    assert (report.documents, report.segments, report.pictures) == (3, 1, 2)


def test_database_changed_after_closing_is_refused_with_the_command_that_repairs(path):
    change(path, "UPDATE documents SET text = 'another' WHERE id = 't1'")
    with pytest.raises(CorruptionError, match=f"diptych verify {path} --repair"):
        open_index(path)


def test_unsealed_database_is_checked_row_by_row(path):
    (path / "store.seal").unlink()
    change(path, "UPDATE documents SET text = 'another' WHERE id = 't1'")
    with pytest.raises(CorruptionError, match=r"t1: the row is not as it was stored.*--repair"):
        open_index(path)


def test_table_of_words_that_cannot_be_read_is_damage(path):
    (path / "store.seal").unlink()
    connection = sqlite3.connect(path / "store.sqlite3")
    connection.execute("PRAGMA writable_schema = ON")
    with connection:
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'porter', 'porver') WHERE name = 'lexical'"
        )
    connection.close()
    with pytest.raises(CorruptionError, match=r"list of words.*diptych verify .*--repair"):
        open_index(path)
    assert parts(verify_folder(path, deep=True)) == ["database"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE field SET value = 7 WHERE name = 'n'", "fields"),
        ("INSERT INTO field VALUES (99, 'n', 'scalar', 1)", "fields"),
        ("INSERT INTO lexical (rowid, text) VALUES (1, 'stray words')", "words"),
        ("UPDATE documents SET metadata = '{\"n\": 5}' WHERE id = 't1'", "document"),
    ],
)
def test_damage_in_the_database_is_found_and_mended(path, sql, expected):
    (path / "store.seal").unlink()
    change(path, sql)
    assert expected in parts(verify_folder(path, deep=True))
    report = verify_folder(path, repair=True)
    assert report.is_whole, report.problems
    with open_index(path) as index:
        index.upsert(DOCUMENTS)
        assert {d.id: d.metadata for d in index.get()} == {d.id: d.metadata for d in DOCUMENTS}
        assert index.ids({"n": 1}) == ["t1"]
        assert index.search("stray", modalities=["text"]).get("lexical", []) == []


def test_repair_seals_an_index_that_is_whole(path):
    (path / "store.seal").write_bytes(b"{}")
    assert verify_folder(path, repair=True).problems == ()
    assert verify_folder(path).problems == ()
    assert json.loads((path / "store.seal").read_bytes())["size"] > 0


def test_lost_segment_costs_vectors_that_adding_again_brings_back(path):
    (segment,) = (path / "segments").iterdir()
    segment.write_bytes(b"rubbish")
    assert parts(verify_folder(path)) == ["segment", "vectors"]
    report = verify_folder(path, repair=True)
    assert parts(report) == ["vectors"]
    assert report.without_vectors == 3
    assert (path / "quarantine" / segment.name).read_bytes() == b"rubbish"
    with open_index(path) as index:
        assert [d.id for d in index.get()] == ["t1", "b1", "i1"]
        assert index.search("pump", modalities=["text"])["lexical"][0].id == "t1"
        assert index.add(DOCUMENTS).updated == 3
        assert index.text_index.search(StubText().encode_query(["a red pump"]), 1)[0][0].id == "t1"
    assert verify_folder(path, deep=True).problems == ()


@pytest.mark.parametrize("fails", [1, 2])
def test_a_read_that_fails_once_is_no_damage(path, monkeypatch, fails):
    read, calls = Files.read, []

    def read_badly(self, place, **options):
        if place.startswith("segments/"):
            calls.append(place)
            if len(calls) <= fails:
                raise StorageError("Input/output error")
        return read(self, place, **options)

    monkeypatch.setattr(Files, "read", read_badly)
    if fails == 1:
        report = verify_folder(path, repair=True)
        assert report.is_whole
        assert report.repaired == ()
    else:
        with pytest.raises(StorageError, match=r"was not repaired.*Input/output error"):
            verify_folder(path, repair=True)
    with open_index(path) as index:
        assert len(index.text_index) == 2


def test_lost_picture_is_restored_from_where_it_came_or_by_adding_again(tmp_path):
    origin = tmp_path / "red.png"
    origin.write_bytes(png("red"))
    with open_index(tmp_path / "index") as index:
        index.add([Document(None, Image(origin), id="p"), DOCUMENTS[2]])
    for copy in (tmp_path / "index" / "assets").glob("*/*"):
        copy.write_bytes(b"rubbish")
    assert verify_folder(tmp_path / "index").problems == ()
    assert parts(verify_folder(tmp_path / "index", deep=True)) == ["picture"]
    with open_index(tmp_path / "index") as index:
        (found,) = index.get(["i1"])
        with pytest.raises(MediaError, match=r"has changed since it was indexed.*diptych verify"):
            found.image.read()
    report = verify_folder(tmp_path / "index", repair=True)
    assert any("restored the picture of 'p'" in line for line in report.repaired)
    assert [p.where for p in report.problems] == ["i1"]
    with open_index(tmp_path / "index") as index:
        assert index.get(["p"])[0].image.read() == png("red")
        with pytest.raises(MediaError, match=r"could not be opened.*diptych verify"):
            index.get(["i1"])[0].image.read()
        assert index.add([DOCUMENTS[2]]).updated == 1
        assert index.get(["i1"])[0].image.read() == png("green")
    assert verify_folder(tmp_path / "index", deep=True).problems == ()


def test_unreadable_database_is_read_document_by_document_into_a_new_one(tmp_path):
    path = tmp_path / "index"
    documents = [
        Document(f"text {i} " + "long " * 300, id=f"d{i}", metadata={"n": i}) for i in range(80)
    ]
    with open_index(path) as index:
        index.add(documents)
    data = bytearray((path / "store.sqlite3").read_bytes())
    middle = data.find(b"text 40 long") // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    (path / "store.sqlite3").write_bytes(data)
    report = verify_folder(path, repair=True)
    assert report.problems == ()
    assert "whole documents into a new database" in report.repaired[0]
    assert (path / "quarantine" / "store.sqlite3").exists()
    with open_index(path) as index:
        found = {d.id: d for d in index.get()}
        assert 60 < len(found) < 80
        assert all(d.text == documents[int(i[1:])].text for i, d in found.items())
        assert index.add(documents).added == 80 - len(found)
        assert len(index.text_index) == 80


def test_database_without_its_head_can_only_be_restored(path):
    data = bytearray((path / "store.sqlite3").read_bytes())
    data[:4096] = bytes(4096)
    (path / "store.sqlite3").write_bytes(data)
    assert parts(verify_folder(path)) == ["database"]
    with pytest.raises(CorruptionError, match="Restore the folder from a backup"):
        verify_folder(path, repair=True)


def test_missing_database_is_told_from_a_missing_index(path, tmp_path):
    with pytest.raises(FormatError, match="There is no index"):
        verify_folder(tmp_path / "nothing")
    (path / "store.sqlite3").unlink()
    with pytest.raises(CorruptionError, match=r"is missing or empty.*from a backup"):
        verify_folder(path)
    with pytest.raises(CorruptionError, match=r"is missing or empty.*from a backup"):
        open_index(path)


def test_strays_are_reported_and_removed(path):
    (path / "segments" / "left.safetensors").write_bytes(b"x")
    (path / "assets" / "ab").mkdir(exist_ok=True)
    (path / "assets" / "ab" / ".tmp-1").write_bytes(b"x")
    report = verify_folder(path)
    assert parts(report) == ["stray"]
    assert report.is_whole
    assert len(verify_folder(path, repair=True).repaired) == 2
    assert verify_folder(path).problems == ()


def test_checking_goes_on_beside_a_writer_and_repairing_does_not(path):
    with open_index(path) as index:
        index.add([Document("more", id="m")])
        assert verify_folder(path, deep=True).documents == 4
        with pytest.raises(LockedError, match="being written"):
            verify_folder(path, repair=True, lock_timeout=0)
