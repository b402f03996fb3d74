"""What became of folders, for a person and as JSON: counts, what failed, what was not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from diptych.cli.console import out
from diptych.ingest import Reading
from diptych.report import AddReport, Failure
from diptych.visible import in_one_line, visible

__all__ = ["print_left_out", "report_json", "stored_by_source"]

SHOWN = 50
"""How many failures a terminal shows; --json has them all."""


def print_left_out(report: AddReport, counts: Mapping[str, int] | None = None) -> None:
    """Show what failed, file by file, and what was not read, kind by kind.

    Args:
        report: What became of the documents.
        counts: How many documents of each file are stored, to say it beside what failed of it.
    """
    if report.failed:
        out.print(_failures(report, counts or {}))
        if len(report.failed) > SHOWN:
            out.print(f"… and {len(report.failed) - SHOWN:,} more; --json shows them all")
    if report.not_read:
        table = _table("Not read", "kind", "count", "such as")
        for part in report.not_read:
            more = ", …" if part.count > len(part.examples) else ""
            such_as = in_one_line(", ".join(part.examples) + more)
            table.add_row(in_one_line(part.kind), f"{part.count:,}", such_as)
        out.print(table)


def _failures(report: AddReport, counts: Mapping[str, int]) -> Table:
    table = _table("Failed", "what", "reason")
    word = "stored" if report.updated or report.skipped else "added"
    for source, failures in _by_source(report.failed[:SHOWN]).items():
        name = in_one_line(source)
        stored = max(counts.get(source, 0), 0)
        if stored:
            table.add_row(f"{name}: {stored:,} {word}, {len(failures):,} not:", "")
        for failure in failures:
            part = in_one_line(failure.name) if stored else name
            table.add_row(f"  {part}" if stored else part, visible(failure.reason))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, style="" if number else "bold", overflow="fold")
    return table


def report_json(report: AddReport, counts: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return a report as JSON values.

    Args:
        report: What became of the documents.
        counts: How many documents of each file are stored, to say it beside what failed of it.
    """
    failed = [
        {"id": failure.id, "source": failure.source, "reason": failure.reason}
        | ({} if counts is None else {"stored_of_source": max(counts.get(source, 0), 0)})
        for source, failures in _by_source(report.failed).items()
        for failure in failures
    ]
    return {
        "added": report.added,
        "updated": report.updated,
        "skipped": report.skipped,
        "removed": report.removed,
        "failed": failed,
        "not_read": [asdict(part) for part in report.not_read],
    }


def _by_source(failures: Iterable[Failure]) -> dict[str, list[Failure]]:
    """Return failures by the file that they come from."""
    found: dict[str, list[Failure]] = {}
    for failure in failures:
        found.setdefault(failure.source or failure.id, []).append(failure)
    return found


def stored_by_source(reading: Reading, report: AddReport) -> Counter[str]:
    """Return how many documents of each file are stored after a reading went into an index."""
    counts = Counter(reading.counts)
    known = set(reading.failed)
    counts.subtract(failure.source for failure in report.failed if failure not in known)
    return counts
