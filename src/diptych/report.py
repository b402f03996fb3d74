"""What became of the documents: counts, and what failed with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from diptych.cards import report as report_html
from diptych.visible import in_one_line, visible

__all__ = ["AddReport", "Failure", "NotRead", "SyncReport"]

_SHOWN = 5
"""How many failures the one line of a report names."""

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be read or stored.

    Attributes:
        id: The id of the document, as far as it is known: the one it would have had.
        source: The file it comes from, relative to the folder that was read.
        reason: What is wrong with it, in words for a person.
    """

    id: str
    source: str
    reason: str

    def __str__(self) -> str:
        name = self.name
        if len(name) > _LONGEST_NAME:  # a path that is none, such as a whole picture in base64
            name = f"{name[:60]}…{name[-90:]}"
        return f"{in_one_line(name)} ({visible(self.reason)})"

    @property
    def name(self) -> str:
        """What failed: the file, or the part of it that has an id of its own."""
        is_part = self.source and self.id.startswith(f"{self.source}#")
        return self.id if is_part else self.source or self.id


@dataclass(frozen=True, slots=True)
class NotRead:
    """What was passed over on purpose, of one kind.

    Attributes:
        kind: The suffix of a file that no reader takes, such as ".pdf", or what it is: "link",
            "picture on the web", "hidden".
        count: How many there are.
        examples: The first of them: paths relative to the folder that was read, or links.
    """

    kind: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        names = in_one_line(", ".join(self.examples))
        return f"{self.count:,} {in_one_line(self.kind)} ({names}{more})"

    @staticmethod
    def total(parts: Iterable[NotRead]) -> tuple[NotRead, ...]:
        """Return one for each kind, in the order in which the kinds come first."""
        kinds: dict[str, NotRead] = {}
        for part in parts:
            known = kinds.get(part.kind, NotRead(part.kind, 0, ()))
            examples = tuple(dict.fromkeys((*known.examples, *part.examples)))[:_SHOWN]
            kinds[part.kind] = NotRead(part.kind, known.count + part.count, examples)
        return tuple(kinds.values())


@dataclass(frozen=True, slots=True)
class AddReport:
    """What an index did with documents. Reports of several batches add up with ``+``.

    Attributes:
        added: Documents that are new.
        updated: Documents that replaced one of the same id.
        skipped: Documents that were stored already, unchanged.
        failed: What was left out.
        not_read: What a folder holds beside them that no reader takes, by kind.
        removed: Documents that went because their file has fewer of them now.

    Example:
        >>> print(AddReport(added=412, skipped=3, failed=(Failure("a", "a.jpg", "truncated"),)))
        412 added · 3 skipped (unchanged) · 1 failed: a.jpg (truncated)
    """

    added: int = 0
    updated: int = 0
    skipped: int = 0
    failed: tuple[Failure, ...] = ()
    not_read: tuple[NotRead, ...] = ()
    removed: int = 0

    def __add__(self, other: AddReport) -> AddReport:
        if not isinstance(other, AddReport):
            return NotImplemented
        return AddReport(
            self.added + other.added,
            self.updated + other.updated,
            self.skipped + other.skipped,
            self.failed + other.failed,
            NotRead.total(self.not_read + other.not_read),
            self.removed + other.removed,
        )

    def _repr_html_(self) -> str:
        counts = self._counts + ([("removed", self.removed)] if self.removed else [])
        return report_html("Stored", counts, self.failed, self.not_read)

    @property
    def _counts(self) -> list[tuple[str, int]]:
        return [
            ("added", self.added),
            ("updated", self.updated),
            ("unchanged", self.skipped),
            ("failed", len(self.failed)),
        ]

    @property
    def counted(self) -> str:
        """The counts in one line, without the names of what failed or was not read."""
        return " · ".join([*self._stored, *self._left_out(named=False)])

    @property
    def _stored(self) -> list[str]:
        parts = [f"{self.added:,} added"]
        if self.updated:
            parts.append(f"{self.updated:,} updated")
        if self.removed:
            parts.append(f"{self.removed:,} removed")
        if self.skipped:
            parts.append(f"{self.skipped:,} skipped (unchanged)")
        return parts

    def _left_out(self, *, named: bool) -> list[str]:
        parts = []
        if self.failed:
            names = ", ".join(str(failure) for failure in self.failed[:_SHOWN])
            more = len(self.failed) - _SHOWN
            ending = f" and {more:,} more" if more > 0 else ""
            parts.append(f"{len(self.failed):,} failed" + (f": {names}{ending}" if named else ""))
        if self.not_read:
            names = ", ".join(map(str, self.not_read))
            count = sum(part.count for part in self.not_read)
            parts.append(f"{count:,} not read" + (f": {names}" if named else ""))
        return parts

    def __str__(self) -> str:
        return " · ".join([*self._stored, *self._left_out(named=True)])


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What became of the documents of a folder.

    Attributes:
        stored: What was added, replaced, left as it was, and could not be read.
        removed: The ids of documents that are not in the folder any more.
        dry_run: Whether nothing was changed, and this is what would be done.
    """

    stored: AddReport
    removed: tuple[str, ...]
    dry_run: bool

    def _repr_html_(self) -> str:
        title = "Would be done" if self.dry_run else "In step with the folder"
        counts = [*self.stored._counts, ("removed", len(self.removed))]
        return report_html(title, counts, self.stored.failed, self.stored.not_read)

    @property
    def counted(self) -> str:
        """The counts in one line, without the names of what failed or was not read."""
        return f"{self._head}{self.stored.counted}"

    @property
    def _head(self) -> str:
        head = "Nothing was changed; it would be: " if self.dry_run else ""
        return f"{head}{len(self.removed):,} removed · "

    def __str__(self) -> str:
        return f"{self._head}{self.stored}"
