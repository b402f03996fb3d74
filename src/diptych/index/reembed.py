"""New vectors for documents that are stored: of other models, or where some were lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.checks import at_least_one
from diptych.encoders.named import MODELS_SETTING
from diptych.errors import FormatError, InvalidArgument, MediaError
from diptych.index.embed import Models, embed_documents, unreadable
from diptych.index.snapshot import Snapshot
from diptych.index.trust import trust
from diptych.report import Failure
from diptych.storage import LocalStorage, Space
from diptych.types import Document
from diptych.vectors import Vectors

__all__ = ["ReembedReport", "reembed_folder"]


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """What was done.

    Attributes:
        documents: How many documents have new vectors.
        resumed: How many of them had theirs from an earlier call that was interrupted.
        failed: Pictures that could not be read; their documents have no vector for them.
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
    try:
        if storage.is_new:
            raise FormatError(f"There is no index at {str(path)!r}. Give the folder of one.")
        with storage.reembedding() as writer:
            last = writer.begin_generation(spaces)
        keys = _keys(storage)
        resumed = at = int(np.searchsorted(keys, last, side="right"))
        with _progress(len(keys) - resumed, show=show_progress) as bar:
            while True:
                with storage.reembedding() as writer:
                    keys = _keys(storage)  # another thread may add some, which then come last
                    batch = keys[keys > last][:size]
                    if not len(batch):
                        writer.end_generation(settings)
                        trust(writer.database.identity(), settings.get(MODELS_SETTING, ""))
                        break
                    rows, unread = _vectors(storage, models, spaces, batch.tolist())
                    writer.add_to_generation(rows)
                failed += unread
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


def _vectors(
    storage: LocalStorage, models: Models, spaces: Mapping[str, Space], keys: Sequence[int]
) -> tuple[dict[str, tuple[NDArray[np.int64], Vectors]], list[Failure]]:
    """Return the vectors of some documents by list, and the pictures that could not be read."""
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
    order, failed = np.asarray(keys, np.int64), []
    try:
        made = embed_documents(models, documents, kept)
    except MediaError:
        reasons = unreadable(documents)
        if not reasons:
            raise
        failed = [Failure(documents[i].id, documents[i].source, str(e)) for i, e in reasons.items()]
        still = [i for i, document in enumerate(documents) if i not in reasons or document.has_text]
        order = order[still]
        rest = [documents[i] for i in still]
        texts = [
            Document(d.text, id=d.id) if i in reasons else d
            for i, d in zip(still, rest, strict=True)
        ]
        made = embed_documents(models, texts, kept)
    return {name: (order[at], rows) for name, (at, rows) in made.items() if len(at)}, failed
