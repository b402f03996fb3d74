"""What became of the documents: counts, and what failed with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.cards import report as report_html

__all__ = ["AddReport", "Failure", "SyncReport"]

_SHOWN = 5
"""How many failures the one line of a report names."""


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
        return f"{self.source or self.id} ({self.reason})"


@dataclass(frozen=True, slots=True)
class AddReport:
    """What an index did with documents. Reports of several batches add up with ``+``.

    Attributes:
        added: Documents that are new.
        updated: Documents that replaced one of the same id.
        skipped: Documents that were stored already, unchanged.
        failed: What was left out.

    Example:
        >>> print(AddReport(added=412, skipped=3, failed=(Failure("a", "a.jpg", "truncated"),)))
        412 added · 3 skipped (unchanged) · 1 failed: a.jpg (truncated)
    """

    added: int = 0
    updated: int = 0
    skipped: int = 0
    failed: tuple[Failure, ...] = ()

    def __add__(self, other: AddReport) -> AddReport:
        if not isinstance(other, AddReport):
            return NotImplemented
        return AddReport(
            self.added + other.added,
            self.updated + other.updated,
            self.skipped + other.skipped,
            self.failed + other.failed,
        )

    def _repr_html_(self) -> str:
        return report_html("Stored", self._counts, self.failed)

    @property
    def _counts(self) -> list[tuple[str, int]]:
        return [
            ("added", self.added),
            ("updated", self.updated),
            ("unchanged", self.skipped),
            ("failed", len(self.failed)),
        ]

    def __str__(self) -> str:
        parts = [f"{self.added:,} added"]
        if self.updated:
            parts.append(f"{self.updated:,} updated")
        if self.skipped:
            parts.append(f"{self.skipped:,} skipped (unchanged)")
        if self.failed:
            named = ", ".join(str(failure) for failure in self.failed[:_SHOWN])
            more = len(self.failed) - _SHOWN
            ending = f" and {more:,} more" if more > 0 else ""
            parts.append(f"{len(self.failed):,} failed: {named}{ending}")
        return " · ".join(parts)


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
        return report_html(title, counts, self.stored.failed)

    def __str__(self) -> str:
        head = "Nothing was changed; it would be: " if self.dry_run else ""
        return f"{head}{len(self.removed):,} removed · {self.stored}"
