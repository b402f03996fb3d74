"""Vectors that come with documents: which of them are news, and which are there to be used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from diptych.errors import VectorError
from diptych.storage import State
from diptych.vectors import as_row, unit_rows

__all__ = ["Given", "news", "with_stored"]

Given = Mapping[str, Mapping[str, ArrayLike]]
"""For "text" and "image", vectors by document id that were made elsewhere."""

SAME = 1e-4
"""Two vectors are the same when 1 − cosine is below this; the noise of half precision and of other
batch sizes is, and what a reader could notice in an order is not."""


def news(state: State, keys: Mapping[str, int], given: Given, *, replace: bool) -> set[int]:
    """Return the keys of stored documents for which a vector is given that is not the stored one.

    Args:
        state: What is stored.
        keys: Keys by document id.
        given: The vectors. One that cannot be compared is no news: nothing is replaced by it.
        replace: Whether a vector may take the place of another one; else only of none.
    """
    found: set[int] = set()
    for name, vectors in given.items():
        index = state.indexes.get(name)
        asked = [i for i in keys if i in vectors]
        if index is None or not asked:
            continue
        there = index.vectors(np.asarray([keys[i] for i in asked], np.int64))
        for document_id, stored in zip(asked, there, strict=True):
            try:
                row = as_row(vectors[document_id], dim=index.dim, origin="The caller")
                row = unit_rows(row, rows=1, dim=index.dim, origin="The caller")
            except VectorError:
                continue
            lacks = bool(np.isnan(stored).any())
            if lacks or (replace and float(row[0] @ stored) < 1 - SAME):
                found.add(keys[document_id])
    return found


def with_stored(state: State, keys: Mapping[str, int], given: Given) -> Given:
    """Return given vectors and, of documents whose content stays, those that are stored already.

    Args:
        state: What is stored.
        keys: The keys of these documents by id.
        given: Vectors that come first.
    """
    if not keys:
        return given
    merged: dict[str, dict[str, ArrayLike]] = {name: dict(own) for name, own in given.items()}
    ids: Sequence[str] = list(keys)
    at = np.asarray(list(keys.values()), np.int64)
    for name in ("text", "image"):
        index = state.indexes.get(name)
        if index is None:
            continue
        own = merged.setdefault(name, {})
        for document_id, row in zip(ids, index.vectors(at), strict=True):
            if not np.isnan(row).any():
                own.setdefault(document_id, row)
    return merged
