import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.lexical import MAX_WORDS, match_expression


@pytest.fixture(scope="module")
def table():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5 (text, tokenize = 'porter unicode61')")
    texts = [
        "the pump lifts water",
        "to be or not to be",
        "Ä naïve café",
        "水泵 提升 水",
        "42 is x_y",
    ]
    connection.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", enumerate(texts))
    yield connection
    connection.close()


def found(table, text):
    expression = match_expression(text)
    if expression is None:
        return None
    rows = table.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rowid", [expression])
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("how do pumps lift the water", [0]),
        ("To be or not to be", [1]),
        ("CAFÉ", [2]),
        ("cafe", [2]),
        ("水泵", [3]),
        ("what is 42?", [4]),
        ("pump café", [0, 2]),
        ("zebra", []),
        ("", None),
        ("?!… --", None),
        ("___", None),
    ],
)
def test_any_telling_word_matches(table, text, rows):
    assert found(table, text) == rows


@pytest.mark.parametrize(
    "text",
    [
        '"',
        'pump" OR "',
        "NEAR(pump water, 2)",
        "text : pump",
        "pump*",
        "^pump",
        "- pump + water",
        "a\0b",
        "(",
        "AND",
    ],
)
def test_syntax_of_the_engine_is_only_words(table, text):
    found(table, text)


@given(st.text(max_size=60))
def test_no_text_is_a_syntax_error(text):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5 (text)")
    expression = match_expression(text)
    if expression is not None:
        connection.execute("SELECT rowid FROM t WHERE t MATCH ?", [expression]).fetchall()
    connection.close()


def test_long_queries_are_bounded():
    assert match_expression(" ".join(f"w{i}" for i in range(1000))).count(" OR ") == MAX_WORDS - 1


@pytest.mark.parametrize(
    "text", ["İstanbul", "cafe\u0301s", "x\u0302y", "ΣΟΦΟΣ", "straße", "猫在桌子上"]
)
def test_word_finds_itself_whole(text):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5 (text, tokenize = 'porter unicode61')")
    connection.execute("INSERT INTO t VALUES (?)", [text])
    assert found(connection, text) == [1]
    assert " OR " not in match_expression(text)
    connection.close()
