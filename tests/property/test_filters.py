"""Filters in SQL against the same language written as a loop in Python."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.errors import FilterError
from diptych.filters import compile_filter
from diptych.storage import LocalStorage, Row, Space
from filter_reference import FILTERS, METADATA, TEXTS, matches


def stored(metadatas, texts=None):
    storage = LocalStorage(None)
    storage.create({"text": Space(1, "s", "f")}, {})
    rows = [
        Row(str(i), text, None, None, None, json.dumps(m), None, 0, "c")
        for i, (m, text) in enumerate(zip(metadatas, texts or ["t"] * len(metadatas), strict=True))
    ]
    storage.write(
        rows,
        [None] * len(rows),
        {"text": (np.arange(len(rows)), np.ones((len(rows), 1), np.float32))},
    )
    return storage


@given(st.lists(st.tuples(METADATA, TEXTS), min_size=1, max_size=6), FILTERS)
@settings(max_examples=250, deadline=None)
def test_sql_filter_equals_python_filter(documents, where):
    storage = stored(*zip(*documents, strict=True))
    with storage.reading() as state:
        found = (state.database.keys(where) - 1).tolist()
    assert found == [
        i for i, (metadata, text) in enumerate(documents) if matches(where, metadata, str(i), text)
    ]


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


@pytest.mark.parametrize("one", ["$eq", "$ne", "$in", "$nin"])
@pytest.mark.parametrize("other", ["$eq", "$ne", "$in", "$nin"])
@pytest.mark.parametrize("word", ["$and", "$or", "$not"])
def test_comparisons_of_one_key_that_are_put_together_keep_their_meaning(word, one, other):
    metadatas = [{"a": 1}, {"a": 2}, {"a": 3}, {"a": [1, 2]}, {}]

    def condition(operator, value):
        return {"a": {operator: [value] if operator in ("$in", "$nin") else value}}

    where = {word: [condition(one, 1), condition(other, 2)]}
    with stored(metadatas).reading() as state:
        found = (state.database.keys(where) - 1).tolist()
    assert found == [i for i, m in enumerate(metadatas) if matches(where, m, str(i))]
