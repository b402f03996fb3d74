"""The parts of a file that a decoder is to see, as one file, read within a budget of processor time."""

from __future__ import annotations

import io
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from diptych.errors import MediaError

__all__ = ["CPU_SECONDS", "Source"]

CPU_SECONDS = 20.0
"""How long one thread may decode one picture. The largest honest ones take about two seconds."""


class Source(io.RawIOBase):
    """Slices of a file in a row; nothing is copied before it is read.

    A decoder of JPEG, PNG, GIF or BMP comes back for more every few kilobytes, and is stopped there
    when its time is over. Those of TIFF and WEBP take the whole file at once; their work is bounded
    by what the file declares.

    Args:
        parts: The slices, none of them empty.
        name: What to call the picture in messages.
    """

    def __init__(self, parts: Sequence[bytes | memoryview], name: str) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))
        self._name = name
        self._at = 0
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count the time of this thread."""
        self._started = time.thread_time()

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read from any place: always."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, counted from the start, from here or from the end."""
        base = (0, self._at, self._ends[-1] if self._ends else 0)[whence]
        if base + offset < 0:
            raise ValueError("a place before the file")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return at most ``size`` bytes.

        Raises:
            MediaError: The time is over.
        """
        if self._started is not None and time.thread_time() - self._started > CPU_SECONDS:
            raise MediaError(
                f"The picture {self._name} takes longer than {CPU_SECONDS:.0f} seconds of processor time to "
                "decode; an honest one of the largest size takes a few. Save it again with another program."
            )
        left = (self._ends[-1] if self._ends else 0) - self._at
        left = max(left, 0) if size is None or size < 0 else min(max(left, 0), size)
        found = []
        while left:
            at = bisect_right(self._ends, self._at)
            part = self._parts[at]
            start = self._at - (self._ends[at] - len(part))
            piece = bytes(part[start : start + left])
            found.append(piece)
            self._at += len(piece)
            left -= len(piece)
        return found[0] if len(found) == 1 else b"".join(found)
