"""Which vector segments to write again, so that files stay few and deleted rows do not pile up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from diptych.storage.segments import SEGMENT_BYTES, Segment

__all__ = ["hollow_segments", "tail_to_merge"]

_SMALLEST = 1 << 16
_FAN = 16
"""How many segments of one tier become one of the next, which is up to 16 times larger: a vector is
then written about once for each tier."""


def tail_to_merge(segments: Sequence[Segment]) -> Sequence[Segment]:
    """Return the last segments when they have become many for their size, else none.

    Args:
        segments: In the order of their keys.
    """
    merged: Sequence[Segment] = ()
    bound = _SMALLEST
    while bound < SEGMENT_BYTES:
        tail = list(takewhile(lambda s: s.size < bound, reversed(segments)))  # noqa: B023  # used at once
        if len(tail) >= _FAN:
            merged = tail[::-1]
        bound *= _FAN
    return merged


def hollow_segments(
    segments: Sequence[Segment], live_rows: Callable[[Segment], int]
) -> list[Segment]:
    """Return the segments, but for the smallest, of which less than half the rows count.

    Args:
        segments: Any.
        live_rows: How many rows of a segment count, over all lists.
    """
    return [s for s in segments if s.size >= _SMALLEST and 2 * live_rows(s) < s.rows]
