"""What is stored of a node, looked at or changed without any encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from diptych.checks import list_of, shown
from diptych.errors import DiptychError, InvalidArgument, MediaError
from diptych.index import MultimodalIndex
from diptych.llama_index.adding import Added
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
    index: MultimodalIndex | None,
    node_ids: Sequence[str],
    metadatas: Sequence[Mapping[str, Any]],
    *,
    replace: bool,
) -> Added:
    """Change the metadata of stored documents, and return what could not be changed.

    Args:
        index: Where they are; None when nothing has been stored.
        node_ids: Their ids.
        metadatas: One for each id.
        replace: Whether keys that are not named go.

    Raises:
        InvalidArgument: Not as many as there are ids.
    """
    ids = list_of("node_ids", node_ids, str, "ids")
    given = list_of("metadatas", metadatas, Mapping, "metadata")
    if len(ids) != len(given):
        raise InvalidArgument(
            f"update_metadata was given {len(ids)} ids and {len(given)} metadatas; expected one for each id."
        )
    updated = Added()
    with nullcontext() if index is None else index.alone():  # no change of others is lost meanwhile
        _change(index, dict(zip(ids, given, strict=True)), updated, replace=replace)
    return updated


def _change(
    index: MultimodalIndex | None,
    metadatas: Mapping[str, Mapping[str, Any]],
    updated: Added,
    *,
    replace: bool,
) -> None:
    stored = (
        {} if index is None else {document.id: document for document in index.get(list(metadatas))}
    )
    for node_id, metadata in metadatas.items():
        before = stored.get(node_id)
        if before is None:
            reason = f"No node {shown(node_id)} is stored. Expected the id of one that is; add it with add()."
            updated.refuse(node_id, "", InvalidArgument(reason))
            continue
        own = {} if replace else before.metadata
        try:
            stored[node_id] = dataclasses.replace(
                before, metadata={**own, **without_reserved(metadata)}
            )
        except DiptychError as error:
            updated.refuse(node_id, before.source, error)
            stored.pop(node_id)
    if index is not None:
        report = index.upsert(list(stored.values()), batch_size=256)
        updated.report += report
        updated.errors += [MediaError(failure.reason) for failure in report.failed]
