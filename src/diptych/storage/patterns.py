"""The patterns of a filter, matched by SQLite through Python, within a budget of processor time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diptych.errors import FilterError, StorageError
from diptych.filter_text import compiled

__all__ = ["PATTERN_SECONDS", "Patterns"]

PATTERN_SECONDS = 20.0
"""How long the patterns of one filter may take. A hundred thousand passages take less than a second."""


class Patterns:
    """``matched(pattern, text)`` of one connection, which one thread uses at a time.

    The clock is looked at before each text: the search in one text cannot be interrupted.
    """

    def __init__(self) -> None:
        self._end = float("inf")
        self._is_over = False

    def matched(self, pattern: str, text: Any) -> bool:
        """Whether a pattern is found in a text; never where there is no text."""
        if not isinstance(text, str):
            return False
        if time.thread_time() > self._end:
            self._is_over = True
            raise TimeoutError
        return compiled(pattern).search(text) is not None

    @contextmanager
    def budget(self) -> Iterator[None]:
        """Let the filter inside take so much time.

        Raises:
            FilterError: Its patterns took more.
        """
        self._end, self._is_over = time.thread_time() + PATTERN_SECONDS, False
        try:
            yield
        except StorageError as error:
            if not self._is_over:
                raise
            raise FilterError(
                f"The patterns of a filter took more than {PATTERN_SECONDS:g} seconds of processor time. "
                "Expected patterns that a text is searched for in a moment: avoid a repeat within a repeat, "
                "such as (a+)+, or use $contains."
            ) from error
