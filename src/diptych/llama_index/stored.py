"""What is stored of a node, looked at or changed without any encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diptych.checks import list_of, shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.reserved import without_reserved

__all__ = ["update_metadata", "vector_of"]


def vector_of(index: MultimodalIndex | None, node_id: str) -> list[float]:
    """Return the vector of a node, ``(dim,)`` of length 1: of the text list, else of the image list.

    Raises:
        InvalidArgument: No such node is stored, or it has no vector.
    """
    list_of("text_id", [node_id], str, "ids")
    for view in () if index is None else (index.text_index, index.image_index):
        row = view.vectors([node_id])[0]
        if len(row) and not np.isnan(row).any():
            vector: list[float] = row.tolist()
            return vector
    raise InvalidArgument(
        f"No vector is stored for the node {shown(node_id)}. Expected the id of a node that was added with "
        "an embedding or a picture; get_nodes() lists those that are stored."
    )


def update_metadata(
    index: MultimodalIndex, node_ids: Sequence[str], metadatas: Sequence[Mapping[str, Any]]
) -> None:
    """Give stored documents other metadata in one commit for each 256; ids not stored are left out.

    Raises:
        InvalidArgument: Not as many as there are ids.
        DocumentError: Metadata that is not JSON; nothing is changed.
    """
    ids = list_of("node_ids", node_ids, str, "ids")
    given = list_of("metadatas", metadatas, Mapping, "metadata")
    if len(ids) != len(given):
        raise InvalidArgument(
            f"update_metadata was given {len(ids)} ids and {len(given)} metadatas; expected one for each id."
        )
    wanted = dict(zip(ids, given, strict=True))
    changed = [
        dataclasses.replace(document, metadata=without_reserved(wanted[document.id]))
        for document in index.get(ids)
    ]
    index.upsert(changed, batch_size=256)
