"""Texts longer than a model reads: cut into overlapping windows, whose vectors are averaged."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.vectors import Vectors, unit_rows

__all__ = ["CountTokens", "Window", "clean", "pool", "windows_of"]

CountTokens = Callable[[list[str]], list[int]]
"""Gives the number of tokens of each text, special tokens not counted."""

_OVERLAP = 0.25
"""The part of a window that the next one repeats, so that no sentence is only seen cut."""

_PIECE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that a model reads whole.

    Attributes:
        owner: The position of the text that it is a part of.
        text: The part.
        weight: Its length in tokens; 1 for the only window of a text.
    """

    owner: int
    text: str
    weight: int


def clean(texts: Sequence[str]) -> list[str]:
    """Return the texts with lone surrogates, which no tokenizer accepts, replaced by "?"."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def windows_of(texts: Sequence[str], *, limit: int, count: CountTokens) -> list[Window]:
    """Return one window for each text of at most ``limit`` tokens, several for a longer one.

    Windows end between words, and hold at most ``limit`` tokens. They are in the order of the
    texts, and together hold every word.
    """
    # An ASCII text has no more tokens than characters (and a mark for its beginning), so short
    # ones need not be counted. Other characters can become several tokens each.
    doubtful = [i for i, text in enumerate(texts) if len(text) >= limit or not text.isascii()]
    counted = count([texts[i] for i in doubtful]) if doubtful else []
    long = {i for i, tokens in zip(doubtful, counted, strict=True) if tokens > limit}
    windows: list[Window] = []
    for i, text in enumerate(texts):
        if i in long:
            windows += [Window(i, part, tokens) for part, tokens in _split(text, limit, count)]
        else:
            windows.append(Window(i, text, 1))
    return windows


def pool(vectors: Vectors, windows: Sequence[Window], *, rows: int, origin: str) -> Vectors:
    """Return ``(rows, dim)`` unit rows: of each text, the mean of its windows, weighted by length.

    Args:
        vectors: ``(len(windows), dim)``, any norm; scaled to unit length before the mean.
        windows: Whose vectors they are.
        rows: The number of texts.
        origin: Who made the vectors, for messages.

    Raises:
        VectorError: A vector is zero or not finite.
    """
    dim = vectors.shape[1]
    units = unit_rows(vectors, rows=len(windows), dim=dim, origin=origin)
    if len(windows) == rows:
        return units
    sums = np.zeros((rows, dim), np.float64)
    for window, unit in zip(windows, units, strict=True):
        sums[window.owner] += window.weight * unit.astype(np.float64)
    return unit_rows(sums, rows=rows, dim=dim, origin=origin)


def _split(text: str, limit: int, count: CountTokens) -> list[tuple[str, int]]:
    """Return overlapping parts of a text, with their numbers of tokens."""
    pieces, tokens = _divided(_PIECE.findall(text), max(1, limit // 8), count)
    parts: list[tuple[str, int]] = []
    start = 0
    while True:
        end, total = start, 0
        while end < len(pieces) and total + tokens[end] <= limit:
            total += tokens[end]
            end += 1
        # Tokens of a whole can be more than those of its pieces; then it is made shorter.
        end = max(end, start + 1)
        part = "".join(pieces[start:end])
        while end > start + 1 and count([part])[0] > limit:
            end -= 1
            part = "".join(pieces[start:end])
        parts.append((part, max(1, sum(tokens[start:end]))))
        if end == len(pieces):
            return parts
        start = _overlapping(start, end, tokens)


def _overlapping(start: int, end: int, tokens: Sequence[int]) -> int:
    """Return where the window after ``start:end`` begins: as far back as the overlap allows."""
    allowed = _OVERLAP * sum(tokens[start:end])
    begin = end
    while begin > start + 1 and tokens[begin - 1] <= allowed:
        begin -= 1
        allowed -= tokens[begin]
    return begin


def _divided(pieces: list[str], most: int, count: CountTokens) -> tuple[list[str], list[int]]:
    """Halve pieces of more than ``most`` tokens (text without spaces) until none is left."""
    tokens = count(pieces)
    while True:
        large = [i for i, n in enumerate(tokens) if n > most and len(pieces[i]) > 1]
        if not large:
            return pieces, tokens
        halves: dict[int, tuple[str, str]] = {}
        for i in large:
            middle = len(pieces[i]) // 2
            halves[i] = pieces[i][:middle], pieces[i][middle:]
        fresh = iter(count([half for i in large for half in halves[i]]))
        new_pieces: list[str] = []
        new_tokens: list[int] = []
        for i, piece in enumerate(pieces):
            for half in halves.get(i, (piece,)):
                new_pieces.append(half)
                new_tokens.append(next(fresh) if i in halves else tokens[i])
        pieces, tokens = new_pieces, new_tokens
