"""What the long tier consists of: rows of the report, each cut into slices of well below 45 seconds.

A slice is a process of its own. Its name says everything about it, so that it can be run again alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from strangers import EXPORTS, FOLDERS

KINDS_OF_INDEX = ("flat", "hnsw", "ivf")

THREADS, READERS = 24, 6
"""How many threads work on one index, and how many processes read it while one writes."""

LIMIT = 180.0
"""Seconds after which a slice is ended: four times what it may take on two idle cores."""


@dataclass(frozen=True)
class Slice:
    """One process's share of a row.

    Attributes:
        row: What is done, as the report calls it.
        index: The kind of index, or "" where there is none.
        part: Its number in the row and kind of index, from 0.
        parts: How many of them there are.
        count: How many units of work it does; 0 for faults, which count the calls of the session.
        every: For faults: every how manieth call is struck, see ``faults.chosen_calls``.
    """

    row: str
    index: str
    part: int
    parts: int
    count: int = 0
    every: int = 0

    @property
    def name(self) -> str:
        """Its name, which is also the name of its file."""
        words = [*self.row.split(), *([self.index] if self.index else []), f"{self.part:02d}"]
        return "-".join(words)

    @property
    def seed(self) -> int:
        """The seed of its random numbers, another one for each slice of a row."""
        return 3 * self.part + (KINDS_OF_INDEX.index(self.index) if self.index else 0)

    @property
    def offset(self) -> int:
        """Where the choice of calls begins: evenly apart for the kinds of index."""
        return KINDS_OF_INDEX.index(self.index) * max(self.every // 3, 1)


@dataclass(frozen=True)
class Row:
    """A kind of task: ``total`` units for all kinds of index together, ``each`` in a slice."""

    name: str
    unit: str
    total: int
    each: int

    def slices(self) -> list[Slice]:
        """Cut the row into slices, the kinds of index in turn; together they have ``total`` units."""
        counts = [min(self.each, self.total - at) for at in range(0, self.total, self.each)]
        kinds = len(KINDS_OF_INDEX)
        of_kind = [len(counts[which::kinds]) for which in range(kinds)]
        return [
            Slice(self.name, KINDS_OF_INDEX[n % kinds], n // kinds, of_kind[n % kinds], count)
            for n, count in enumerate(counts)
        ]


ROWS = (
    Row("kills", "kills", 600, 20),
    Row("sealed", "damaged files", 7_000, 140),
    Row("unsealed", "damaged files", 2_400, 100),
    Row("model", "sessions", 1_500, 30),
    Row("threads", "seconds", 120, 20),
    Row("processes", "seconds", 120, 20),
    Row("dead writers", "writers", 100, 10),
    Row("backups", "backups", 50, 5),
    Row("forks", "forks", 50, 5),
    Row("fills", "fill-ups", 50, 4),
    Row("hostile folders", "folders", 336, FOLDERS),
    Row("hostile exports", "exports", 6_000, EXPORTS),
)


@dataclass(frozen=True)
class FaultRow:
    """A fault at the calls of a session.

    Attributes:
        cut: By kind of index: every how manieth call, and in how many slices.
    """

    name: str
    cut: dict[str, tuple[int, int]]

    def slices(self) -> list[Slice]:
        """Return the slices, the kinds of index in turn."""
        by_kind = (
            [Slice(self.name, kind, part, parts, every=every) for part in range(parts)]
            for kind, (every, parts) in self.cut.items()
        )
        return in_turn(*by_kind)


# An index with a graph makes every call that an exact one makes, and those for its cache: it has all of
# them struck. ENOSPC and EACCES are the same to Python and SQLite as EIO but for the few places that ask
# which one it was: every 4th call, a third of those with each kind of index.
FAULT_ROWS = (
    FaultRow("EIO", {"hnsw": (1, 36), "flat": (8, 5), "ivf": (8, 5)}),
    FaultRow("exit before", {"hnsw": (1, 24), "flat": (8, 3), "ivf": (8, 3)}),
    FaultRow("exit after", {kind: (0, 1) for kind in KINDS_OF_INDEX}),
    FaultRow("ENOSPC", {kind: (12, 2) for kind in KINDS_OF_INDEX}),
    FaultRow("EACCES", {kind: (12, 2) for kind in KINDS_OF_INDEX}),
)

PICTURE = Slice("demo picture", "", 0, 1, count=1)
"""Makes ``docs/images/demo.png`` again, so that it cannot go stale."""


def in_turn(*lists: list[Slice]) -> list[Slice]:
    """Return the first of each list, then the second of each, and so on until all are empty."""
    return [slice for turn in zip_longest(*lists) for slice in turn if slice is not None]


def all_slices() -> list[Slice]:
    """Return every slice, the rows in turn, so that an early end has seen a bit of everything."""
    rows = [row.slices() for row in (*FAULT_ROWS, *ROWS)]
    return in_turn([PICTURE], *rows)
