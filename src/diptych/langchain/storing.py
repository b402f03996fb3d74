"""The half of the LangChain vector store that stores: what is added, out by id, and changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Unpack

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from diptych.encoders import FunctionEncoder
from diptych.index import IndexOptions, MultimodalIndex
from diptych.langchain.adding import AddingVectorStore
from diptych.langchain.convert import to_document
from diptych.langchain.search import Where, restriction
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["StoringVectorStore", "new_index"]


class StoringVectorStore(AddingVectorStore):
    """Deletes, gets and changes the documents of an index; its subclass searches them."""

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> bool:
        """Delete documents by id, by filter, or those that satisfy both, and return True.

        Ids that are not stored are ignored. With neither, everything is deleted, as LangChain's
        interface has it.
        """
        if ids is None and filter is None:
            self.index.clear()
        else:
            self.index.delete(ids, where=restriction(self.index, filter))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in this order, without those that are not stored."""
        return [to_document(stored) for stored in self.index.get(ids)]


def new_index(
    embedding: Embeddings | TextEncoder | None,
    image_encoder: Embeddings | ImageEncoder | None,
    path: str | os.PathLike[str] | None,
    **options: Unpack[IndexOptions],
) -> MultimodalIndex:
    """Return an index with these models; one that embeds texts and pictures serves for both.

    Without models it is one that exists, with those that it remembers.
    """
    if embedding is None and image_encoder is None and path is not None:
        return MultimodalIndex.open(path, **options)
    text = _encoder(embedding)
    image = _encoder(image_encoder) if image_encoder is not None else text
    if image is text and not isinstance(image, ImageEncoder):
        image = None
    return MultimodalIndex(text, image, path=path, **options)


def _encoder(model: Any) -> Any:
    is_encoder = hasattr(model, "encode_document") or hasattr(model, "encode_image")
    return model if model is None or is_encoder else FunctionEncoder.from_langchain(model)
