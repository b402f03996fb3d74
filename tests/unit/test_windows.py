"""Cutting long texts into windows, with a tokenizer that is simple enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.encoders._windows import Window, clean, pool, windows_of
from diptych.errors import VectorError
from pace import cpu_within


def count(texts):
    """One token for each word of up to four letters, one more for each further four."""
    return [sum(-(-len(word) // 4) for word in text.split()) for text in texts]


def test_short_text_is_one_window_and_unchanged():
    assert windows_of(["a b  c", ""], limit=3, count=count) == [
        Window(0, "a b  c", 1),
        Window(1, "", 1),
    ]


def test_short_ascii_text_is_not_even_counted():
    def never(texts):
        raise AssertionError(texts)

    assert len(windows_of(["short", "also"], limit=10, count=never)) == 2


def test_short_text_of_many_tokens_is_cut():
    windows = windows_of(["猫猫猫"], limit=8, count=lambda texts: [4 * len(t) for t in texts])
    assert [window.text for window in windows] == ["猫猫", "猫"]


def test_long_text_becomes_overlapping_windows():
    text = " ".join(f"w{i:02}" for i in range(20))
    windows = windows_of([text], limit=8, count=count)
    assert [window.text.split() for window in windows] == [
        [f"w{i:02}" for i in range(start, min(start + 8, 20))] for start in (0, 6, 12)
    ]
    assert [window.weight for window in windows] == [8, 8, 8]
    assert {window.owner for window in windows} == {0}


def test_text_of_exactly_the_limit_is_not_cut():
    assert len(windows_of(["aaaa " * 8], limit=8, count=count)) == 1
    assert len(windows_of(["aaaa " * 9], limit=8, count=count)) == 2


def test_text_without_spaces_is_cut_too():
    windows = windows_of(["x" * 1000], limit=10, count=count)
    assert all(count([window.text])[0] <= 10 for window in windows)
    assert len(windows) > 20


def test_windows_stay_with_their_texts():
    windows = windows_of(["a", "bbbb " * 30, "c"], limit=10, count=count)
    assert [window.owner for window in windows] == sorted(window.owner for window in windows)
    assert windows[0].text == "a"
    assert windows[-1] == Window(2, "c", 1)


def merging(texts):
    """A tokenizer that makes more tokens of a whole than of its parts."""
    return [len(text.split()) + len(text.split()) // 3 for text in texts]


def test_windows_fit_when_a_whole_has_more_tokens_than_its_parts():
    windows = windows_of(["w " * 50], limit=8, count=merging)
    assert max(merging([window.text])[0] for window in windows) <= 8
    assert sum(len(window.text.split()) for window in windows) >= 50


@given(
    st.text(st.sampled_from("ab \n\u2003猫"), max_size=300),
    st.integers(1, 12),
)
def test_windows_hold_every_word_in_order_and_fit(text, limit):
    windows = windows_of([text], limit=limit, count=count)
    assert all(count([window.text])[0] <= limit for window in windows)
    at = 0
    for window in windows:  # each begins within or right after what came before
        found = text.rfind(window.text, 0, at + len(window.text))
        assert found >= 0
        at = max(at, found + len(window.text))
    assert at == len(text)


def test_long_white_space_takes_no_quadratic_time():
    with cpu_within(1):
        windows_of([" " * 300_000 + "a " * 100], limit=20, count=count)


def test_pooling_weighs_windows_by_length():
    vectors = np.array([[1, 0], [0, 2], [3, 0]], np.float32)
    windows = [Window(0, "", 3), Window(0, "", 1), Window(1, "", 1)]
    pooled = pool(vectors, windows, rows=2, origin="test")
    assert np.allclose(pooled, [np.array([3, 1]) / np.sqrt(10), [1, 0]])


def test_pooling_names_a_window_without_direction():
    with pytest.raises(VectorError, match="test returned the zero vector in row 1"):
        pool(
            np.array([[1, 0], [0, 0]], np.float32),
            [Window(0, "", 1), Window(1, "", 1)],
            rows=2,
            origin="test",
        )


def test_lone_surrogates_are_replaced():
    assert clean(["a\ud800b", "ü🙂"]) == ["a?b", "ü🙂"]
