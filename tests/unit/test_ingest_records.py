"""JSONL: one record a line; a bad line fails alone."""

import base64
import json

import pytest

from diptych import Document
from diptych.ingest import read
from stubs import png

RED = png("red")


def records(folder, *lines, name="r.jsonl"):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / name).write_text(text, encoding="utf-8")
    reading = read(folder / name)
    return list(reading), reading.failed


def test_records_become_exactly_these_documents(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a b%20.png").write_bytes(RED)
    found, failed = records(
        tmp_path,
        {"text": "only text"},
        "",
        {
            "id": "mine",
            "text": "both",
            "image": "p/a b%20.png",
            "metadata": {"lang": "en", "source": "book"},
            "group": "g",
            "order": 7,
            "year": 2020,
            "lang": "de",
        },
        {"id": 17, "image": "p/a b%20.png", "text": None},
    )
    assert failed == []
    assert found == [
        Document(
            "only text",
            None,
            "r.jsonl#1",
            {"source": "r.jsonl", "kind": "text", "line": 1},
            None,
            1,
        ),
        Document(
            "both",
            RED,
            "mine",
            {"source": "book", "kind": "picture", "line": 3, "lang": "en", "year": 2020},
            "g",
            7,
        ),
        Document(None, RED, "17", {"source": "r.jsonl", "kind": "picture", "line": 4}, None, 4),
    ]


BAD = {
    "broken": "It is no JSON",
    '{"text": "cut': "It is no JSON",
    "[1, 2]": "It is a JSON list; expected an object",
    '"text"': "It is a JSON str",
    "null": "It is a JSON NoneType",
    '{"text": 3}': "Its field 'text' is of type int; expected str",
    '{"text": ["a"]}': "Its field 'text' is of type list",
    '{"image": 3}': "Its field 'image' is of type int",
    '{"text": "x", "order": "1"}': "Its field 'order' is of type str; expected int",
    '{"text": "x", "order": true}': "Its field 'order' is of type bool",
    '{"text": "x", "group": 1}': "Its field 'group' is of type int",
    '{"text": "x", "metadata": [1]}': "Its field 'metadata' is of type list; expected dict",
    '{"text": "x", "y": NaN}': "JSON cannot hold",
    '{"text": "\\ud800"}': "half of a surrogate pair",
    '{"id": "\\ud800", "text": "x"}': "half of a surrogate pair",
    "{}": "has neither text nor an image",
    '{"text": "  "}': "has neither text nor an image",
    '{"text": "x", "image": "gone.png"}': "There is no file 'gone.png'",
    '{"text": "x", "image": "../x.png"}': "leaves the folder",
    '{"text": "x", "image": "/etc/passwd"}': "is absolute",
    '{"text": "x", "image": "file:///etc/passwd"}': "has a scheme",
    '{"text": "x", "image": "data:image/png;base64,QUJD"}': "of no known format",
    '{"image": "https://x.org/a.png"}': "is on a server, and it has no text",
    '{"text": "x", "y": ' + "[" * 100_000: "It is no JSON",
    '{"text": "x", "y": ' + "[" * 50 + "]" * 50 + "}": "nested deeper than 32",
    '{"text": "x", "y": ' + "9" * 5000 + "}": "It is no JSON",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_fails_alone_and_says_where(tmp_path, line):
    found, failed = records(tmp_path, {"text": "first"}, line, {"text": "last"})
    assert [document.text for document in found] == ["first", "last"]
    (failure,) = failed
    assert failure.source == "r.jsonl"
    assert failure.reason.startswith("line 2: ")
    assert BAD[line] in failure.reason
    str(failure).encode()


def test_a_failure_has_the_id_that_the_document_would_have_had(tmp_path):
    _, failed = records(tmp_path, {"id": "mine", "text": 3}, {"text": 3})
    assert [failure.id for failure in failed] == ["mine", "r.jsonl#2"]


@pytest.mark.parametrize("given", [None, "", True, 1.5, ["a"]])
def test_what_is_no_id_is_replaced_by_the_line(tmp_path, given):
    found, _ = records(tmp_path, {"id": given, "text": "x"})
    assert [document.id for document in found] == ["r.jsonl#1"]


def test_a_picture_may_be_within_the_record_or_on_a_server(tmp_path):
    uri = "data:image/png;base64," + base64.b64encode(RED).decode()
    found, failed = records(tmp_path, {"image": uri}, {"text": "x", "image": "https://x.org/a.png"})
    assert failed == []
    assert found[0].image.data == RED
    assert uri[30:] not in str(found[0].metadata)
    assert found[1].image is None
    assert found[1].metadata["image_url"] == "https://x.org/a.png"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_records_of_every_encoding(tmp_path, encoding):
    (tmp_path / "r.ndjson").write_bytes('{"text": "é"}\r\n{"text": "漢"}\r\n'.encode(encoding))
    assert [d.text for d in read(tmp_path)] == ["é", "漢"]


def test_a_line_in_another_encoding_does_not_spoil_the_others(tmp_path):
    (tmp_path / "r.jsonl").write_bytes(
        '{"text": "é"}\n'.encode() + '{"text": "é"}'.encode("cp1252")
    )
    assert [d.text for d in read(tmp_path)] == ["é", "é"]


def test_records_are_read_line_by_line(tmp_path):
    """A file over the limit for texts is read, and nothing of it before it is asked for."""
    with (tmp_path / "r.jsonl").open("wb") as file:
        file.write(b'{"text": "first"}\n')
        file.write((b" " * 999_999 + b"\n") * 51)
        file.write(b'{"text": "last"}\n')
    assert [(d.id, d.text) for d in read(tmp_path)] == [
        ("r.jsonl#1", "first"),
        ("r.jsonl#53", "last"),
    ]


def test_a_line_without_end_fails(tmp_path):
    with (tmp_path / "r.jsonl").open("wb") as file:
        file.write(b'{"text": "first"}\n' + b" " * 50_000_001)
    reading = read(tmp_path)
    assert [document.text for document in reading] == ["first"]
    assert "has a line of more than 50 MB" in reading.failed[0].reason


def test_an_id_given_twice_fails_the_second_time_and_the_rest_goes_on(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"id": "x", "text": "first"}\n{"id": "x", "text": "second"}\n{"text": "third"}'
    )
    (tmp_path / "b.jsonl").write_text('{"id": "x", "text": "fourth"}\n{"id": "y", "text": "fifth"}')
    reading = read(tmp_path)
    assert [document.text for document in reading] == ["first", "third", "fifth"]
    assert [(failure.id, failure.source) for failure in reading.failed] == [
        ("x", "a.jsonl"),
        ("x", "b.jsonl"),
    ]
    assert all("given before, in 'a.jsonl'" in failure.reason for failure in reading.failed)
