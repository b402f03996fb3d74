"""What a document belongs to, when it comes again from where nobody knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from diptych.index.multimodal import MultimodalIndex
from diptych.types import Document

__all__ = ["in_stored_groups"]


def in_stored_groups(index: MultimodalIndex, documents: Sequence[Document]) -> list[Document]:
    """Return documents; those of no group are in the one in which they are stored under their id.

    Documents and nodes of the frameworks have no field for it. One that is read from the index, changed
    and added again would otherwise lose its figure.
    """
    ids = [document.id for document in documents if document.group is None]
    if not ids:
        return list(documents)
    with index.snapshot() as snapshot:
        stubs = snapshot.stubs(snapshot.select(ids, None, None)).values()
    stored = {stub.id: stub for stub in stubs if stub.group is not None}
    return [
        dataclasses.replace(
            document, group=stored[document.id].group, order=stored[document.id].order
        )
        if document.group is None and document.id in stored
        else document
        for document in documents
    ]
