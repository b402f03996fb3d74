"""The table of docs/storage.md, row by row: what comes back of a value in metadata, or why it is refused."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import re
import types
import uuid
import zoneinfo
from pathlib import Path

import numpy as np
import pytest

from diptych import Document, MultimodalIndex
from diptych.encoders import ToyEncoder
from diptych.errors import DocumentError

ZONE = datetime.timezone(datetime.timedelta(hours=2))
Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()

    def __str__(self):
        return "something else"


class Kind(str, enum.Enum):  # noqa: UP042 - the older way, whose str() is "Kind.NOTE"
    NOTE = "note"


@dataclasses.dataclass
class Author:
    name: str = "Ada"


KEPT = {
    "string": ["", "水泵 \0 é", "x" * 9_000],
    "true, false, None": [True, False, None],
    "integer of up to 2,000 bits": [0, -3, 2**70, -(2**1_999)],
    "finite float": [1.0, 0.1, -0.0, 1e308, 5e-324],
    "list": [[], [1, "a", None, [2.5]]],
    "mapping with string keys": [{}, {"a": {"b": [1]}}, {"a.b": 1}],
}
CONVERTED = {
    "tuple, named tuple": [((1, (2,)), [1, [2]]), (Point(1, 2), [1, 2])],
    "other mappings": [
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        ({Kind.NOTE: 1}, {"note": 1}),
    ],
    "date, time": [
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 7, 5), "2024-02-29T07:05:00"),
        (datetime.datetime(2024, 2, 29, 7, 5, 1, 9, ZONE), "2024-02-29T07:05:01.000009+02:00"),
        (
            datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
            "2024-07-01T00:00:00+00:00",
        ),
        (datetime.time(7, 5), "07:05:00"),
        (np.datetime64("2024-02-29"), "2024-02-29"),
        (np.datetime64("2024-02-29T07:05:01.123456789"), "2024-02-29T07:05:01.123456789"),
    ],
    "path": [(pathlib.PurePosixPath("a/b.png"), "a/b.png"), (Path("/a"), "/a")],
    "UUID": [(uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007")],
    "member of an Enum": [
        (enum.Enum("E", {"A": "NaT"}).A, "NaT"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Kind.NOTE, "note"),
    ],
    "subclass of a string or a number": [(Word("a"), "a"), (Level(3), 3)],
    "scalar of numpy": [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int64(-7), -7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
    ],
}
REFUSED = {
    "set, frozenset": [({1}, r"sorted\(value\)"), (frozenset(), r"sorted\(value\)")],
    "array of numpy, tensor": [(np.zeros(2), r"value.tolist\(\)")],
    "bytes": [
        (b"a", "value.decode"),
        (bytearray(b"a"), "value.decode"),
        (np.bytes_(b"a"), "value.decode"),
    ],
    "Decimal, fraction, complex": [
        (decimal.Decimal("1.10"), r"float\(value\) or str\(value\)"),
        (fractions.Fraction(1, 3), r"float\(value\) or str\(value\)"),
        (1j, r"float\(value\) or str\(value\)"),
        (np.complex64(1j), r"float\(value\) or str\(value\)"),
    ],
    "duration": [
        (datetime.timedelta(1), r"value.total_seconds\(\)"),
        (np.timedelta64(5, "s"), r"value.total_seconds\(\)"),
    ],
    "dataclass": [(Author(), r"dataclasses.asdict\(value\)")],
    "other objects": [
        (object(), "of type object; expected JSON"),
        (range(3), "of type range"),
        (collections.deque([1]), "of type deque"),
        ({1: 2}.keys(), "of type dict_keys"),
        (Author, "of type type"),
    ],
    "NaN, infinity, NaT": [
        (float("nan"), "is nan, which JSON cannot hold. Use None"),
        (float("-inf"), "is -inf, which JSON cannot hold"),
        (np.float32("nan"), "is nan, which JSON cannot hold"),
        (np.datetime64("NaT"), "is NaT, which JSON cannot hold. Use None"),
    ],
    "key that is not a string": [
        ({1: 2}, "has the key 1; keys must be strings"),
        ({None: 2}, "has the key None"),
        ({(1, 2): 3}, r"has the key \(1, 2\)"),
    ],
    "half of a surrogate pair": [
        ("a\ud800", "half of a surrogate pair"),
        ({"\ud800": 1}, "surrogate"),
    ],
    "integer of more than 2,000 bits": [(2**2_000, "expected an integer of at most 2,000 bits")],
}


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


REFUSED["more than 32 levels, or 256 KiB"] = [
    (deep(40), "is nested deeper than 32 levels"),
    ("x" * 300_000, "300,0.. bytes of metadata, at most 262,144"),
]


def cases(rows):
    return [pytest.param(*(one if isinstance(one, tuple) else (one,)), id=f"{row} {at}")
            for row, values in rows.items() for at, one in enumerate(values)]  # fmt: skip


def back(value):
    """What a value is in the document, and after it has been stored."""
    document = Document("a", id="a", metadata={"value": value})
    with MultimodalIndex(ToyEncoder()) as index:
        index.add([document])
        (stored,) = index.get()
    assert json.dumps(stored.metadata) == json.dumps(document.metadata)
    return document.metadata["value"], stored.metadata["value"]


@pytest.mark.parametrize("value", cases({row: [(v,) for v in vs] for row, vs in KEPT.items()}))
def test_value_is_kept(value):
    for found in back(value):
        assert found == value
        assert type(found) is type(value)
        assert repr(found) == repr(value)  # -0.0 is equal to 0.0


@pytest.mark.parametrize(("value", "expected"), cases(CONVERTED))
def test_value_is_converted(value, expected):
    for found in back(value):
        assert found == expected
        assert type(found) is type(expected)


def test_converted_value_is_plain_before_it_is_stored():
    metadata = Document("a", metadata={Kind.NOTE: Word("a"), "n": Level.HIGH}).metadata
    assert [type(key) for key in metadata] == [str, str]
    assert [type(value) for value in metadata.values()] == [str, int]


@pytest.mark.parametrize(("value", "message"), cases(REFUSED))
def test_value_is_refused_in_words(value, message):
    for metadata in ({"value": value}, {"a": [{"b": value}]}):
        with pytest.raises(DocumentError, match=message) as caught:
            Document("a", id="x", metadata=metadata)
        assert len(str(caught.value)) < 400
        assert "Document 'x'" in str(caught.value)


def test_not_a_time_of_pandas_is_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DocumentError, match="is NaT, which JSON cannot hold"):
        Document("a", metadata={"when": pandas.NaT})
    stamp = pandas.Timestamp("2024-02-29T07:05:01.123456789")
    assert (
        Document("a", metadata={"when": stamp}).metadata["when"] == "2024-02-29T07:05:01.123456789"
    )


def test_model_of_pydantic_is_refused_with_what_to_write():
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", a=(int, 1))()
    with pytest.raises(DocumentError, match=r"value.model_dump\(mode='json'\)"):
        Document("a", metadata={"value": model})


def test_table_of_the_docs_has_these_rows():
    text = (Path(__file__).parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")
    table = text.partition("## Metadata\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.M))
    del rows["given"]
    pydantic = {"model of pydantic"}
    expected = dict.fromkeys(KEPT, "kept") | dict.fromkeys([*REFUSED, *pydantic], "refused")
    assert rows.keys() == expected.keys() | CONVERTED.keys()
    assert {row: rows[row].split(":")[0] for row in expected} == expected
    assert not {rows[row].split(":")[0] for row in CONVERTED} & {"kept", "refused"}
