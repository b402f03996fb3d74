"""Reading stored documents page by page, in the form in which Chroma gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from diptych.checks import list_of, shown, whole
from diptych.errors import InvalidArgument
from diptych.filters import Filter
from diptych.index import MultimodalIndex
from diptych.langchain.convert import to_document
from diptych.types import Document as Stored

__all__ = ["INCLUDED", "stored_as_columns"]

INCLUDED = ("documents", "metadatas", "embeddings", "uris")
"""What can be asked for besides the ids."""


def stored_as_columns(
    index: MultimodalIndex,
    ids: Iterable[str] | str | None,
    where: Filter | None,
    limit: int | None,
    offset: int | None,
    include: Sequence[str] | None,
) -> dict[str, Any]:
    """Return stored documents as lists of equal length; see ``DiptychVectorStore.get``."""
    columns = _columns(include)
    skipped = 0 if offset is None else whole("offset", offset)
    most = None if limit is None else whole("limit", limit)
    wanted = [ids] if isinstance(ids, str) else ids
    with index.snapshot() as snapshot:  # one state, also for the vectors
        last = None if most is None else skipped + most
        found = snapshot.documents(snapshot.select(wanted, where, last)[skipped:])
        vectors = _vectors(index, found) if "embeddings" in columns else None
    return {
        "ids": [stored.id for stored in found],
        "embeddings": vectors,
        "documents": [to_document(stored).page_content for stored in found]
        if "documents" in columns
        else None,
        "metadatas": [dict(stored.metadata) for stored in found]
        if "metadatas" in columns
        else None,
        "uris": [_uri(stored) for stored in found] if "uris" in columns else None,
        "data": None,
        "included": list(columns),
    }


def _columns(include: Sequence[str] | None) -> list[str]:
    if include is None:
        return ["metadatas", "documents"]
    columns = list_of("include", include, str, f"some of {', '.join(INCLUDED)}")
    unknown = [name for name in columns if name not in INCLUDED]
    if unknown:
        raise InvalidArgument(
            f"include={shown(columns)} asks for {shown(unknown[0])}; expected some of "
            f"{', '.join(INCLUDED)}. The pictures themselves are those of get_by_ids."
        )
    return columns


def _vectors(index: MultimodalIndex, found: Sequence[Stored]) -> list[list[float] | None]:
    """Return the vector of each text, and of each picture that has none of a text; None for neither."""
    ids = [stored.id for stored in found]
    rows: list[list[float] | None] = [None] * len(ids)
    for view in (index.image_index, index.text_index):
        if not ids or not view.dim:
            continue
        vectors = view.vectors(ids)
        for at in np.flatnonzero(~np.isnan(vectors).any(axis=1)):
            rows[at] = vectors[at].tolist()
    return rows


def _uri(stored: Stored) -> str | None:
    return str(stored.image.path) if stored.image is not None and stored.image.path else None
