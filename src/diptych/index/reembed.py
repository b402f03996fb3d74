"""New vectors for documents that are stored: of other models, or where some were lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.checks import at_least_one
from diptych.encoders.named import MODELS_SETTING
from diptych.errors import FormatError, InvalidArgument, MediaError, VectorError
from diptych.index.embed import BadDocuments, Models, embed_documents, unreadable
from diptych.index.snapshot import Snapshot
from diptych.index.trust import trust
from diptych.report import Failure
from diptych.storage import LocalStorage, Space, State
from diptych.types import Document
from diptych.vectors import Vectors

__all__ = ["ReembedReport", "reembed_folder"]

Part = Literal["text", "image"]


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """What was done.

    Attributes:
        documents: How many documents have new vectors.
        resumed: How many of them had theirs from an earlier call that was interrupted.
        failed: Pictures that could not be read, and texts and pictures of which an encoder made nothing
            that can be compared, such as NaN; their documents have no vector for them, and keep the rest.
            Also documents that had a vector, and of which these models make none: nothing finds them.
    """

    documents: int
    resumed: int
    failed: tuple[Failure, ...]


def reembed_folder(
    path: Path,
    models: Models,
    spaces: Mapping[str, Space],
    *,
    batch_size: int,
    show_progress: bool,
    settings: Mapping[str, str],
    lock_timeout: float,
) -> ReembedReport:
    """Make the vectors of every document anew, beside the old ones, and let them count at the end.

    Each batch is on stable storage before the next one, and an interrupted call goes on where it was.
    Vectors of a model that stays the same are kept, where they are there.
    """
    size = at_least_one("batch_size", batch_size)
    if not spaces:
        raise InvalidArgument("reembed needs a text encoder, an image encoder, or both.")
    storage = LocalStorage(path, lock_timeout=lock_timeout)
    failed: list[Failure] = []
    made: set[str] = set()
    lacking: set[Part] = set()
    try:
        if storage.is_new:
            raise FormatError(f"There is no index at {str(path)!r}. Give the folder of one.")
        with storage.renewal():
            with storage.reembedding() as writer:
                last = writer.begin_generation(spaces)
            is_new = not last
            keys = _keys(storage)
            resumed = at = int(np.searchsorted(keys, last, side="right"))
            with _progress(len(keys) - resumed, show=show_progress) as bar:
                while True:
                    with storage.reembedding() as writer:
                        keys = _keys(storage)  # another thread may add some, which then come last
                        batch = keys[keys > last][:size]
                        if not len(batch):
                            if is_new and (hopeless := lacking - made):
                                writer.give_up_generation(spaces)
                                raise VectorError(_hopeless(hopeless, failed))
                            writer.end_generation(settings)
                            trust(writer.database.identity(), settings.get(MODELS_SETTING, ""))
                            break
                        rows, faults, bad = _vectors(storage, models, spaces, batch.tolist())
                        writer.add_to_generation(rows)
                    made.update(rows)
                    lacking |= bad
                    failed += faults
                    last = int(batch[-1])
                    at += len(batch)
                    bar.update(len(batch))
        return ReembedReport(at, resumed, tuple(failed))
    finally:
        storage.close()


def _progress(total: int, *, show: bool) -> Any:
    """Return a progress bar on standard error, or one that shows nothing."""
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="Embedding", unit="doc", disable=not show)


def _keys(storage: LocalStorage) -> NDArray[np.int64]:
    with storage.reading() as state:
        return np.empty(0, np.int64) if state.database is None else state.database.keys()


def _hopeless(parts: Iterable[Part], failed: Sequence[Failure]) -> str:
    return (
        f"No document got a vector of its {' and of its '.join(sorted(parts))}: {failed[0]} The vectors that "
        "were there still count. Expected finite numbers, not all of them zero, for some documents at least. "
        "Look at the encoder."
    )


def _vectors(
    storage: LocalStorage, models: Models, spaces: Mapping[str, Space], keys: Sequence[int]
) -> tuple[dict[str, tuple[NDArray[np.int64], Vectors]], list[Failure], set[Part]]:
    """Return the vectors of some documents by list, what has none, and which encoders made bad ones."""
    with storage.reading() as state:
        documents = Snapshot(state, models).documents(keys)
        kept: dict[str, dict[str, ArrayLike]] = {}
        for name in ("text", "image"):
            if name in spaces and state.spaces.get(name) == spaces[name]:
                there = state.indexes[name].vectors(np.asarray(keys, np.int64))
                kept[name] = {
                    document.id: row
                    for document, row in zip(documents, there, strict=True)
                    if not np.isnan(row).any()
                }
        had = _with_vector(state, keys)
    failed: list[Failure] = []
    bad: set[Part] = set()
    by_key = dict(zip(keys, documents, strict=True))
    while True:
        order, left = np.asarray(list(by_key), np.int64), list(by_key.values())
        try:
            made = embed_documents(models, left, kept)
            break
        except (MediaError, BadDocuments) as error:
            part, reasons = _at_fault(error, left)
            if isinstance(error, BadDocuments):
                bad.add(part)
        for at, reason in reasons.items():
            key, document = int(order[at]), left[at]
            failed.append(Failure(document.id, document.source, str(reason)))
            rest = _without(document, part)
            by_key.pop(key) if rest is None else by_key.update({key: rest})
    found = {name: (order[at], rows) for name, (at, rows) in made.items() if len(at)}
    has = {int(key) for at, _ in found.values() for key in at}
    said = {failure.id for failure in failed}
    lost = [d for k, d in zip(keys, documents, strict=True) if k in had - has and d.id not in said]
    return found, failed + [Failure(d.id, d.source, _LOST) for d in lost], bad


_LOST = (
    "It had a vector, which was given with it or made by a model that is not there any more, and these "
    "models make none of what it holds; so nothing finds it. Give reembed an encoder for it, or add the "
    "document again with a vector."
)


def _with_vector(state: State, keys: Sequence[int]) -> set[int]:
    """Return which documents have a vector in any list."""
    asked = np.asarray(keys, np.int64)
    return {int(key) for index in state.indexes.values() for key in asked[index.has(asked)]}


def _at_fault(
    error: MediaError | BadDocuments, documents: Sequence[Document]
) -> tuple[Part, Mapping[int, object]]:
    """Return which part of which documents an error is about, by position, with the reason.

    Raises:
        MediaError: No picture of the batch is at fault.
    """
    if isinstance(error, BadDocuments):
        return error.name, error.reasons
    reasons = unreadable(documents)
    if not reasons:
        raise error
    return "image", reasons


def _without(document: Document, part: Part) -> Document | None:
    """Return what is left to be embedded of a document; None when it is nothing."""
    if part == "image":
        return Document(document.text, id=document.id) if document.has_text else None
    return Document(image=document.image, id=document.id) if document.has_image else None
