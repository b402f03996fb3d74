"""The violations that a slice finds: each is kept with its seed and step, and the slice goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MOST = 5
"""After so many violations a slice ends: the next ones would say the same."""


class Findings(list[str]):
    """Violations in words."""

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Keep what goes wrong within, with the place where it did."""
        try:
            yield
        except (AssertionError, TimeoutError) as error:
            self.append(f"{where}: {error}")

    @property
    def enough(self) -> bool:
        """Whether there is no point in going on."""
        return len(self) >= MOST
