"""One index into another, with its vectors, so that nothing is encoded."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from diptych.index.multimodal import MultimodalIndex
from diptych.index.views import VectorView

__all__ = ["copy_into_folder"]

_BATCH = 256


def copy_into_folder(index: MultimodalIndex, folder: str | os.PathLike[str]) -> None:
    """Make a folder hold what an index holds; see ``diptych.maintenance.copy_index``."""
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
            with index.snapshot():  # documents and vectors of one state
                documents = index.get(batch)
                text = _vectors(index.text_index, batch)
                image = _vectors(index.image_index, batch)
            target.upsert(documents, text_vectors=text, image_vectors=image)


def _vectors(view: VectorView, ids: Sequence[str]) -> dict[str, ArrayLike]:
    rows = view.vectors(ids)
    return {i: row for i, row in zip(ids, rows, strict=True) if not np.isnan(row).any()}
