"""Splitting loses nothing, keeps the bound, and cuts where a person would."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import InvalidArgument
from diptych.ingest import split

WORDS = st.text(alphabet="ab.!?。！? \n\t\u00a0\u3000é漢字\u0301👩\u200d", max_size=400)
ENDS = ".!?…。！？｡．"
CLOSERS = "'\")]»”’」』）】"


@given(st.one_of(st.text(max_size=300), WORDS), st.integers(1, 60))
def test_pieces_joined_are_the_text(text, limit):
    assert "".join(split(text, limit)) == text


@given(st.one_of(st.text(max_size=300), WORDS), st.integers(1, 60))
def test_no_piece_is_empty_or_over_the_limit(text, limit):
    assert all(1 <= len(piece) <= limit for piece in split(text, limit))


@given(WORDS, st.integers(1, 60))
def test_a_word_is_cut_only_when_it_is_longer_than_the_limit(text, limit):
    at = 0
    for piece in split(text, limit)[:-1]:
        at += len(piece)
        if text[at - 1].isspace() or text[at].isspace():
            continue
        word = next(m for m in re.finditer(r"\S+", text) if m.start() < at < m.end())
        ends_a_sentence = text[:at].rstrip(CLOSERS)[-1] in "。！？｡．"
        assert ends_a_sentence or len(word[0]) > limit


@given(st.lists(st.text(alphabet="ab c", min_size=1, max_size=20), max_size=8), st.integers(40, 90))
def test_a_text_within_the_limit_is_one_piece(paragraphs, limit):
    text = "\n\n".join(paragraphs)[:limit]
    assert split(text, limit) == ([text] if text else [])


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 5, []),
        # Paragraphs are packed, and not cut while they fit.
        ("aaa bbb.\n\nccc ddd.\n\neee", 20, ["aaa bbb.\n\nccc ddd.\n\n", "eee"]),
        # A paragraph is not cut, although a sentence of it would still fit.
        ("Aaa bbb ccc.\n\nDdd. Eee fff ggg", 20, ["Aaa bbb ccc.\n\n", "Ddd. Eee fff ggg"]),
        # Too little stands before the paragraph break, so a sentence is cut off instead.
        ("A.\n\nBbbbb bbb. Cccc ccc. Dddd.", 26, ["A.\n\nBbbbb bbb. Cccc ccc. ", "Dddd."]),
        # "e.g." does not end a sentence, its dot is followed by a small letter.
        ("See it. One, e.g. two or three", 20, ["See it. ", "One, e.g. two or ", "three"]),
        ('He said "No." Then he went.', 16, ['He said "No." ', "Then he went."]),
        # Without sentences lines are kept whole, without lines words.
        ("one two\nthree four\nfive six", 20, ["one two\nthree four\n", "five six"]),
        ("one two three four", 10, ["one two ", "three four"]),
        ("one two three", 7, ["one two", " three"]),  # the limit is at the end of a word
        ("onetwothreefour", 6, ["onetwo", "threef", "our"]),
        # Chinese and Japanese sentences end without a space.
        ("今日は晴れです。明日は雨です。", 10, ["今日は晴れです。", "明日は雨です。"]),
        ("「行こう。」と言った。帰る", 11, ["「行こう。」と言った。", "帰る"]),
    ],
)
def test_known_texts_are_cut_here(text, limit, pieces):
    assert split(text, limit) == pieces


def test_ten_million_characters_without_a_space_take_no_time():
    text = "x" * 10_000_000
    assert [len(piece) for piece in split(text)] == [1000] * 10_000


def test_a_limit_below_one_is_refused():
    with pytest.raises(InvalidArgument, match="max_chars=0 was given; expected at least 1"):
        split("text", 0)
