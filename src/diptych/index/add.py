"""Storing documents batch by batch: what is new, what changed, what cannot be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np

from diptych.checks import at_least_one, shown
from diptych.errors import (
    Conflict,
    DiptychError,
    DocumentError,
    InvalidArgument,
    MediaError,
    VectorError,
)
from diptych.index.embed import BadDocuments, Models, embed_documents, unreadable
from diptych.index.given import Given, news, with_stored
from diptych.index.other_folders import Moves, Rows, is_same, settle
from diptych.report import AddReport, Failure
from diptych.reserved import merged
from diptych.storage import LocalStorage, Row, Space
from diptych.types import Document

__all__ = [
    "Change",
    "Given",
    "Plan",
    "Readings",
    "batches",
    "plan_batch",
    "row_of",
    "settled",
    "spaces_now",
    "store_batch",
]

T = TypeVar("T")

ATTEMPTS = 5
"""How often a change is prepared while others may write, before they are kept out for it."""


@dataclass(frozen=True, slots=True)
class Readings:
    """From where documents are read.

    Attributes:
        origin_of: The origin of a document by its id; None for those that were made by hand.
        moves: What was found out about folders so far.
    """

    origin_of: Callable[[str], object] = lambda _: None
    moves: Moves = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Change:
    """A document to store, and the key of the one that it replaces, or 0.

    Where the text and the picture of that one are the same, ``keeps`` says that its vectors may be kept.
    """

    document: Document
    row: Row
    replaced: int
    keeps: bool = False


def batches(
    documents: Iterable[Document], size: int, *, show_progress: bool
) -> Iterator[list[Document]]:
    """Yield lists of at most ``size`` documents, reading lazily.

    Raises:
        InvalidArgument: ``size`` is below 1, or something in the iterable is no document.
    """
    at_least_one("batch_size", size)
    if isinstance(documents, Document):
        raise InvalidArgument(
            "add was given one Document; expected several. Put it into a list: [document]."
        )
    if not isinstance(documents, Iterable) or isinstance(documents, str | bytes | Mapping):
        raise InvalidArgument(
            f"add was given a {type(documents).__name__}: {shown(documents)}; expected several documents. "
            "Put them into a list."
        )
    iterator = iter(_with_progress(documents) if show_progress else documents)
    while batch := list(islice(iterator, size)):
        for document in batch:
            if not isinstance(document, Document):
                raise InvalidArgument(
                    f"add was given a {type(document).__name__}; expected diptych.Document. "
                    'Wrap a text as Document(text="...").'
                )
        yield batch


def _with_progress(documents: Iterable[Document]) -> Iterable[Document]:
    """Show a progress bar while the documents are read."""
    from tqdm.auto import tqdm

    bar: Iterable[Document] = tqdm(documents, desc="Indexing", unit="doc")
    return bar


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with the documents of one batch, as the store is now."""

    changes: list[Change]
    relabelled: dict[int, Row]
    """Of which only metadata, group or order changed, by key."""
    moved: dict[int, Row]
    """Of which only the folder changed that they are read from, by key."""
    skipped: set[int]
    refused: list[Failure]
    """What would replace a document of another folder."""


def store_batch(
    storage: LocalStorage,
    models: Models,
    documents: Sequence[Document],
    given: Given,
    *,
    replace: bool,
    readings: Readings | None = None,
    dry_run: bool = False,
    check: Callable[[Mapping[str, Space]], None] | None = None,
    some_are_good: bool = False,
) -> AddReport:
    """Store what is new or changed of one batch, in one commit.

    Documents are encoded before the store is locked. When one of them was changed meanwhile, or the
    models were exchanged, the batch is looked at again.

    Args:
        storage: Where to.
        models: The encoders.
        documents: The batch.
        given: Vectors that need not be made.
        replace: Whether a document may take the place of one with the same id.
        readings: From where the documents are read.
        dry_run: Only say what would be done.
        check: Compares the models with those that the vectors of the store come from.
        some_are_good: Whether the encoders have made vectors that can be stored before, so that a bad one
            is the fault of its document.

    Raises:
        DocumentError: Two documents share an id, or ``replace`` is not allowed and one changed.
        VectorError: An encoder gave vectors that cannot be stored.
        Conflict: Others changed the same documents again and again.
    """
    readings = readings or Readings()
    rows, failed = _rows(documents, readings)
    twice = len(documents) - len(rows) - len(failed)

    def attempt() -> AddReport:
        spaces = spaces_now(storage)
        if check is not None:
            check(spaces)
        plan = plan_batch(storage, rows, replace=replace, moves=readings.moves, given=given)
        written: list[Change] = plan.changes
        unread: list[Failure] = []
        if not dry_run:
            updated = {**plan.relabelled, **plan.moved}
            kept = {c.document.id: c.replaced for c in plan.changes if c.keeps}
            with storage.reading() as state:
                vectors = with_stored(state, kept, given)
            written, unread = _write(
                storage, models, plan.changes, updated, vectors, spaces,
                some_are_good=some_are_good or bool(plan.skipped),
            )  # fmt: skip
        added = sum(1 for change in written if not change.replaced)
        return AddReport(
            added=added,
            updated=len(written) - added + len(plan.relabelled),
            skipped=len(plan.skipped) + twice,
            failed=(*failed, *plan.refused, *unread),
        )

    return settled(storage, attempt)


def settled(storage: LocalStorage, attempt: Callable[[], T]) -> T:
    """Return what an attempt to look and then write comes to, looking again when others were quicker.

    What is slow, encoding, is done while others may write. Who comes second a few times keeps them out.

    Raises:
        Conflict: Not even that has helped.
    """
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            continue
    try:
        with storage.alone():
            return attempt()
    except Conflict as error:
        raise Conflict(
            f"Nothing of this batch was stored: {ATTEMPTS + 1} times others changed the same documents, or "
            "the models, while it was prepared. One writer for a document at a time was expected. Try "
            "again when they are done."
        ) from error


def spaces_now(storage: LocalStorage) -> Mapping[str, Space]:
    """Return which models the vectors of a store come from, including what others have committed."""
    with storage.reading() as state:
        return state.spaces


def plan_batch(
    storage: LocalStorage,
    rows: Rows,
    *,
    replace: bool,
    moves: Moves | None = None,
    given: Given | None = None,
) -> Plan:
    """Compare documents with what is stored.

    Args:
        storage: Where to look.
        rows: The documents and their rows, by id.
        replace: Whether a document may take the place of one with the same id.
        moves: Folders that are known to have been moved; more is added.
        given: Vectors that come with the documents; another one than is stored is a change.

    Raises:
        DocumentError: One changed, and ``replace`` is not allowed.
    """
    keys, stored, incomplete = _stored(storage, list(rows), given or {}, replace=replace)
    before_by_id = {i: stored[key] for i, key in keys.items() if key in stored}
    rows, refused = settle(rows, before_by_id, set() if moves is None else moves)
    plan = Plan([], {}, {}, set(), refused)
    for document, row in rows.values():
        key = keys.get(row.id, 0)
        before = stored.get(key)
        if before is None:
            plan.changes.append(Change(document, row, 0))
        elif is_same(before, row) and key not in incomplete:
            plan.skipped.add(key)
            if row.origin not in (None, before.origin):
                plan.moved[key] = row
        elif not replace and not is_same(before, row):
            raise DocumentError(
                f"Document {shown(row.id)} is stored already with other content. Use upsert to replace it, "
                "or give the new one another id. Nothing of this batch was stored."
            )
        elif before.content == row.content and key not in incomplete:
            plan.relabelled[key] = row
        else:
            plan.changes.append(Change(document, row, key, before.content == row.content))
    return plan


def _stored(
    storage: LocalStorage, ids: Sequence[str], given: Given, *, replace: bool
) -> tuple[dict[str, int], dict[int, Row], set[int]]:
    """Return the keys and the rows of those ids that are stored, and the keys that lack something.

    After a damage, documents can lack a vector or their picture; adding them again mends that. A vector
    that is given and is not the stored one is lacking, too.
    """
    with storage.reading() as state:
        if state.database is None:
            return {}, {}, set()
        keys = state.database.keys_of(ids)
        rows = state.database.rows(list(keys.values()))
        incomplete = {key for key, row in rows.items() if not state.pictures.holds(row)}
        for name, column in (("text", "text"), ("image", "image")):
            must = [key for key, row in rows.items() if getattr(row, column) is not None]
            if must and (index := state.indexes.get(name)) is not None:
                has = index.has(np.asarray(must, np.int64))
                incomplete.update(key for key, there in zip(must, has, strict=True) if not there)
        incomplete |= news(state, keys, given, replace=replace)
        return keys, rows, incomplete


def _rows(
    documents: Sequence[Document], readings: Readings
) -> tuple[dict[str, tuple[Document, Row]], list[Failure]]:
    """Return the rows of a batch by id, and the documents whose picture cannot be read.

    A document that is given twice counts once.
    """
    rows: dict[str, tuple[Document, Row]] = {}
    failed: list[Failure] = []
    for at, document in enumerate(documents):
        try:
            if document.image is not None:
                _ = document.image.header
            origin = readings.origin_of(document.id)
            row = row_of(document, None if origin is None else str(origin))
        except MediaError as error:
            failed.append(_failure(document, error))
            continue
        except (TypeError, ValueError, RecursionError) as error:
            reason = f"It was changed after it was made and is not JSON any more: {error}. Make a new one."
            failed.append(_failure(document, reason))
            continue
        known = rows.setdefault(document.id, (document, row))[1]
        if known != row:
            raise DocumentError(
                f"Two documents of one batch have the id {shown(document.id)} but not the same content (the "
                f"second is number {at + 1}). Give each its own id. Nothing of this batch was stored."
            )
    return rows, failed


def _write(
    storage: LocalStorage,
    models: Models,
    changes: list[Change],
    relabelled: Mapping[int, Row],
    given: Given,
    spaces: Mapping[str, Space],
    *,
    some_are_good: bool,
) -> tuple[list[Change], list[Failure]]:
    """Encode and store; report what has a picture or a vector that is none, and store the others."""
    if not changes and not relabelled:
        return [], []
    documents = [change.document for change in changes]
    try:
        vectors = embed_documents(models, documents, given) if documents else {}
    except (VectorError, MediaError) as error:
        reasons = _at_fault(error, documents, some_are_good=some_are_good)
        failed = [_failure(documents[at], reason) for at, reason in sorted(reasons.items())]
        rest = [change for at, change in enumerate(changes) if at not in reasons]
        written, more = _write(
            storage, models, rest, relabelled, given, spaces, some_are_good=some_are_good
        )
        return written, failed + more
    storage.write(
        [change.row for change in changes],
        [document.image for document in documents],
        vectors,
        replaced=[change.replaced for change in changes if change.replaced],
        updated=relabelled,
        spaces=spaces,
    )
    return changes, []


def _at_fault(
    error: DiptychError, documents: Sequence[Document], *, some_are_good: bool
) -> Mapping[int, object]:
    """Return which documents of a batch an error is about, by position, with the reason.

    Raises:
        VectorError: The encoder is at fault, or the caller who gave vectors: none of them is good, and none
            was before in this call.
        MediaError: No picture of the batch is at fault.
    """
    if isinstance(error, BadDocuments) and (some_are_good or not error.are_all):
        return error.reasons
    if isinstance(error, VectorError):
        raise VectorError(f"{error} Nothing of this batch was stored.") from error
    reasons = unreadable(documents)
    if not reasons:
        raise error
    return reasons


def row_of(document: Document, origin: str | None) -> Row:
    """Return a document as the table holds it, but for where its picture will lie."""
    image = document.image
    text = document.text if document.has_text else None
    sha256 = image.sha256 if image else None
    content = "\0".join((text or "", sha256 or ""))
    return Row(
        id=document.id,
        text=text,
        image=sha256,
        image_path=None,
        image_name=image.name if image else None,
        metadata=json.dumps(merged(document.metadata, document.reserved), allow_nan=False),
        group=document.group,
        order=document.order,
        content=hashlib.sha256(content.encode()).hexdigest(),
        origin=origin,
    )


def _failure(document: Document, reason: object) -> Failure:
    return Failure(document.id, document.source, str(reason))
