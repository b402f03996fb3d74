"""Keeping a LlamaIndex vector store in a folder beside the file that LlamaIndex names for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diptych.errors import FormatError, InvalidArgument
from diptych.index import MultimodalIndex, VectorView

__all__ = ["check_local", "folder_of", "write"]

_BATCH = 256
_FIRST_LINE = "diptych vector store, version 1"
_NOTE = (
    f"{_FIRST_LINE}\nThe index is in the folder {{folder}} beside this file. "
    "Load it with DiptychVectorStore.from_persist_dir and pass it as vector_store= to "
    "StorageContext.from_defaults.\n"
)
"""Deliberately no JSON: LlamaIndex would load that as an empty store of its own, silently."""


def check_local(fs: Any) -> None:
    """Refuse a file system of fsspec that is not the local one.

    Raises:
        InvalidArgument: It is another one.
    """
    protocol = getattr(fs, "protocol", "file")
    names = {protocol} if isinstance(protocol, str) else set(protocol)
    if fs is not None and not names & {"file", "local"}:
        raise InvalidArgument(
            f"A DiptychVectorStore was to be kept on the file system {sorted(names)}; expected the "
            "local one. Persist it to a local folder, then copy the folder."
        )


def write(index: MultimodalIndex, persist_path: str | os.PathLike[str]) -> None:
    """Write an index into the folder that belongs to a file, and a note into the file.

    An index that lives in that folder already is stored already. Any other one is copied, with its
    vectors; what the folder held before and the index does not is removed.
    """
    file = Path(persist_path)
    folder = _folder(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if index.path is None or index.path.resolve() != folder.resolve():
        _copy(index, folder)
    file.write_text(_NOTE.format(folder=folder.name), encoding="utf-8")


def folder_of(persist_path: str | os.PathLike[str]) -> Path:
    """Return the folder with the index that belongs to a file.

    Raises:
        FormatError: The file is missing, or was written by another store.
    """
    file = Path(persist_path)
    try:
        with file.open(encoding="utf-8") as lines:
            first = lines.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(
            f"No DiptychVectorStore could be read from {str(file)!r}: {error}. Persist one there "
            "first."
        ) from error
    if first != _FIRST_LINE:
        raise FormatError(
            f"{str(file)!r} was not written by DiptychVectorStore (its first line is "
            f"{first[:40]!r}). Load it with the class of vector store that wrote it."
        )
    return _folder(file)


def _folder(file: Path) -> Path:
    return file.with_name(f"{file.stem}.diptych")


def _copy(index: MultimodalIndex, folder: Path) -> None:
    with MultimodalIndex(
        index.text_encoder,
        index.image_encoder,
        path=folder,
        fusion_model=index.fusion_model,
        aligner=index.aligner,
    ) as target:
        ids = index.ids()
        stale = sorted(set(target.ids()) - set(ids))
        if stale:
            target.delete(stale)
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            target.upsert(
                index.get(batch),
                text_vectors=_vectors(index.text_index, batch),
                image_vectors=_vectors(index.image_index, batch),
            )


def _vectors(view: VectorView, ids: Sequence[str]) -> dict[str, ArrayLike]:
    rows = view.vectors(ids)
    return {i: row for i, row in zip(ids, rows, strict=True) if not np.isnan(row).any()}
