"""Filters in SQL against the same language written as a loop in Python."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.errors import FilterError
from diptych.filters import compile_filter
from diptych.storage import LocalStorage, Row, Space

KEYS = ["a", "b", "c", "a.b", 'quo"te', "$x"]
SCALARS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**70, -(2**70), 0.5, 2.0, -1.5, "", "x", "xy", "X", "é", "3", "' OR 1=1 --"]),
    st.booleans(),
)
VALUES = st.one_of(
    st.none(),
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["b", "d"]), SCALARS, max_size=2),
)
METADATA = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)
CONDITIONS = st.one_of(
    st.tuples(
        st.sampled_from(["$eq", "$ne"]),
        st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=2)),
    ),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$contains"]), SCALARS),
    st.tuples(
        st.sampled_from(["$in", "$nin"]),
        st.lists(st.one_of(SCALARS, st.lists(SCALARS, max_size=2)), max_size=3),
    ),
    st.tuples(st.sampled_from(["$any", "$all"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.sampled_from(["$exists", "$empty"]), st.booleans()),
    st.tuples(st.sampled_from(["$text", "$itext"]), st.sampled_from(["", "x", "X", "É", "Y"])),
)
LEAVES = st.dictionaries(
    st.sampled_from([key for key in KEYS if key[0] != "$"]),
    st.one_of(SCALARS, st.lists(CONDITIONS, min_size=1, max_size=2).map(dict)),
    max_size=2,
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda fs: {"$and": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda fs: {"$or": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda f: {"$not": f}, inner),
        st.builds(lambda fs: {"$not": fs}, st.lists(inner, max_size=3)),
    ),
    max_leaves=6,
)


def matches(where, metadata):
    for key, operand in where.items():
        if key == "$and":
            holds = all(matches(f, metadata) for f in operand)
        elif key == "$or":
            holds = any(matches(f, metadata) for f in operand)
        elif key == "$not":
            holds = not any(
                matches(f, metadata) for f in ([operand] if isinstance(operand, dict) else operand)
            )
        else:
            conditions = operand if isinstance(operand, dict) else {"$eq": operand}
            found = [v for v in lookup(metadata, key) if v is not None]
            holds = all(condition(name, found, value) for name, value in conditions.items())
        if not holds:
            return False
    return True


def lookup(metadata, key):
    """A dotted key can be spelled out, or be a path into an object: both are asked."""
    yield metadata.get(key)
    head, _, tail = key.partition(".")
    if tail and isinstance(metadata.get(head), dict):
        yield metadata[head].get(tail)


def condition(name, found, operand):
    opposite = {"$ne": "$eq", "$nin": "$in"}
    if name in opposite:
        return not condition(opposite[name], found, operand)
    if name == "$eq" and operand is None:
        return not found
    if name == "$exists":
        return bool(found) == operand
    if name == "$empty":
        return any(v not in ("", []) for v in found) != operand
    if name == "$all":
        return bool(found) and all(any(contains(v, o) for v in found) for o in operand)
    return any(one(name, value, operand) for value in found)


def same_kind(value, operand):
    return isinstance(value, str) == isinstance(operand, str) and isinstance(
        value, str | int | float
    )


def contains(value, operand):
    if isinstance(value, list):
        return operand in value
    return isinstance(value, str) and isinstance(operand, str) and operand in value


def one(name, value, operand):
    compare = {
        "$gt": lambda: value > operand,
        "$gte": lambda: value >= operand,
        "$lt": lambda: value < operand,
        "$lte": lambda: value <= operand,
    }
    if name == "$eq":
        return value == operand
    if name in compare:
        return same_kind(value, operand) and compare[name]()
    if name == "$in":
        return value in operand
    if name == "$contains":
        return contains(value, operand)
    if name == "$any":
        return any(contains(value, o) for o in operand)
    text = value if isinstance(value, str) else None
    if name == "$text":
        return text is not None and operand in text
    return text is not None and operand.lower() in text.lower()


def stored(metadatas):
    storage = LocalStorage(None)
    storage.create({"text": Space(1, "s", "f")}, {})
    rows = [
        Row(str(i), "t", None, None, None, json.dumps(m), None, 0, "c")
        for i, m in enumerate(metadatas)
    ]
    storage.write(
        rows,
        [None] * len(rows),
        {"text": (np.arange(len(rows)), np.ones((len(rows), 1), np.float32))},
    )
    return storage


@given(st.lists(METADATA, min_size=1, max_size=6), FILTERS)
@settings(max_examples=400, deadline=None)
def test_sql_filter_equals_python_filter(metadatas, where):
    storage = stored(metadatas)
    with storage.reading() as state:
        found = (state.database.keys(where) - 1).tolist()
    assert found == [i for i, metadata in enumerate(metadatas) if matches(where, metadata)]


@given(FILTERS)
@settings(max_examples=200, deadline=None)
def test_no_value_reaches_the_statement(where):
    sql, parameters = compile_filter(where)
    assert sql.count("?") == len(parameters)
    assert "OR 1=1" not in sql
    assert 'quo"te' not in sql


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"a": {"$regex": "x"}}, r"Unknown operator '\$regex' on 'a'; known are \$eq"),
        ({"$nor": []}, r"Unknown operator '\$nor' at the top"),
        ({"a": {"b": 1}}, r'write "a.key"'),
        ({"a": {}}, "without operators"),
        ({"$and": {"a": 1}}, r"\$and takes a list of filters, it was given dict"),
        ({"$or": "ab"}, r"\$or takes a list of filters, it was given str"),
        ({"a": {"$in": "xyz"}}, r"\$in on 'a' was given str; expected a list"),
        ({"a": {"$gt": None}}, r"\$gt on 'a' was given NoneType"),
        ({"a": {"$gt": float("nan")}}, "expected a finite number"),
        ({"a": {"$exists": "yes"}}, r"\$exists on 'a' was given 'yes'; expected true or false"),
        ({"a": {"$text": 3}}, r"\$text on 'a' was given int; expected a string"),
        ({"a": {"$contains": [1]}}, r"use \$any or \$all"),
        ({"a": object()}, "expected a JSON value"),
        ({1: 2}, "keys are strings"),
        ([], "given as list; expected a mapping"),
        ("lang=en", "given as str; expected a mapping"),
    ],
)
def test_malformed_filter_is_refused_with_what_to_write(where, message):
    with pytest.raises(FilterError, match=message):
        compile_filter(where)


def test_too_deep_filter_is_refused():
    where = {"a": 1}
    for _ in range(50):
        where = {"$not": where}
    with pytest.raises(FilterError, match="deeper than 16"):
        compile_filter(where)


def test_thousands_of_values_and_of_alternatives():
    storage = stored([{"n": i} for i in range(10)])
    with storage.reading() as state:
        assert state.database.keys({"n": {"$in": list(range(5, 100_000))}}).tolist() == [
            6,
            7,
            8,
            9,
            10,
        ]
        assert state.database.keys({"$or": [{"n": i} for i in range(-3000, 2)]}).tolist() == [
            1,
            2,
        ]
