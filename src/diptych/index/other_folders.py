"""Documents of one folder never replace those of another one that have the same ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from diptych.ingest.origin import Origin
from diptych.report import Failure
from diptych.storage import Row
from diptych.types import Document

__all__ = ["Moves", "Rows", "is_same", "settle"]

Rows = Mapping[str, tuple[Document, Row]]
Moves = set[tuple[Origin, Origin]]
"""Folders that were found to have been moved: where they were, and where they are."""


def settle(rows: Rows, stored: Mapping[str, Row], moves: Moves) -> tuple[Rows, list[Failure]]:
    """Return which documents may be stored, from where, and which would replace another file's.

    A file that was read before, as a part of a wider folder, stays a part of it. A folder that does
    not exist any more was moved, when at least half of its documents are the same in the new one.

    Args:
        rows: What is to be stored, by id.
        stored: What is stored under these ids.
        moves: What was found out before in the same call; more is added.
    """
    kept = dict(rows)
    apart: dict[tuple[Origin, Origin], list[str]] = {}
    for document_id, (document, row) in rows.items():
        before = stored.get(document_id)
        if before is None or None in (before.origin, row.origin) or before.origin == row.origin:
            continue
        old, new = Origin.parse(before.origin or ""), Origin.parse(row.origin or "")
        if old.place == new.place:
            continue
        if old.is_same_file(new):
            kept[document_id] = document, replace(row, origin=str(_wider(old, new)))
        else:
            apart.setdefault((old.place, new.place), []).append(document_id)
    failed: list[Failure] = []
    for move, ids in apart.items():
        same = sum(is_same(stored[document_id], rows[document_id][1]) for document_id in ids)
        if move[0].is_gone and 2 * same >= len(ids):
            moves.add(move)
        if move in moves:
            continue
        for document_id in ids:
            document, row = kept.pop(document_id)
            failed.append(_refused(document, stored[document_id], row))
    return kept, failed


def is_same(stored: Row, row: Row) -> bool:
    """Whether nothing differs but how the picture is called and where it lies."""
    return (stored.content, stored.metadata, stored.group, stored.order) == (
        row.content,
        row.metadata,
        row.group,
        row.order,
    )


def _wider(old: Origin, new: Origin) -> Origin:
    is_within = len(old.folder) < len(new.folder) and new.seen_from(old.place) is not None
    return old if is_within else new


def _refused(document: Document, stored: Row, row: Row) -> Failure:
    old, new = Origin.parse(stored.origin or ""), Origin.parse(row.origin or "")
    name = new.folder.replace("\\", "/").rstrip("/").rpartition("/")[2] or "other"
    return Failure(
        document.id,
        document.source,
        f"The id {document.id!r} is stored already, from {old.path!r}; this document is from "
        f"{new.path!r}. Nothing was replaced. Expected ids that tell folders apart: read the folder "
        f"with another prefix, such as prefix={name!r} (--prefix).",
    )
