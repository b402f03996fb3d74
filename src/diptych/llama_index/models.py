"""The models of a LlamaIndex index, of whatever kind, and the store that they fill."""

from __future__ import annotations

import os
from typing import Any

from llama_index.core import Settings, StorageContext
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings.utils import EmbedType, resolve_embed_model
from llama_index.core.vector_stores import SimpleVectorStore

from diptych.encoders import FunctionEncoder
from diptych.errors import InvalidArgument
from diptych.llama_index.embedding import DiptychMultiModalEmbedding
from diptych.llama_index.given import GivenVectors
from diptych.llama_index.vector_store import DiptychVectorStore
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["Model", "embedding_of", "new_store", "store_in"]

Model = EmbedType | TextEncoder | ImageEncoder | None


def store_in(context: StorageContext | None) -> DiptychVectorStore | None:
    """Return the store of diptych that a storage context holds; None when it holds none.

    Raises:
        InvalidArgument: It holds the vectors of another store.
    """
    stores = list(context.vector_stores.values()) if context is not None else []
    ours = [store for store in stores if isinstance(store, DiptychVectorStore)]
    others = [
        store
        for store in stores
        if store not in ours and not (isinstance(store, SimpleVectorStore) and _is_empty(store))
    ]
    if others or len({id(store) for store in ours}) > 1:
        names = ", ".join(type(store).__name__ for store in [*ours, *others])
        raise InvalidArgument(
            f"The storage context holds {names}; expected one DiptychVectorStore, which keeps texts "
            "and pictures together. Pass StorageContext.from_defaults(vector_store=…), or path=."
        )
    return ours[0] if ours else None


def _is_empty(store: SimpleVectorStore) -> bool:
    return not store.data.embedding_dict


def new_store(
    embed_model: Model,
    image_embed_model: Model,
    path: str | os.PathLike[str] | None,
) -> DiptychVectorStore:
    """Return a store for some models; without them it has those that a folder remembers.

    Where there is none, and where a folder remembers none, LlamaIndex's settings say which.
    """
    if embed_model is None and image_embed_model is None:
        if path is not None and os.path.isdir(path):
            store = DiptychVectorStore(path=path)
            if store.client is not None and not isinstance(store.client.text_encoder, GivenVectors):
                return store
            if store.client is not None:
                store.client.close()
        embed_model = Settings.embed_model
    text = _encoder(embed_model)
    same = image_embed_model is None and not isinstance(embed_model, DiptychMultiModalEmbedding)
    image = text if same else _encoder(image_embed_model or embed_model, of_pictures=True)
    return DiptychVectorStore(
        embed_model=text if isinstance(text, TextEncoder) else None,
        image_encoder=image if isinstance(image, ImageEncoder) else None,
        path=path,
    )


def _encoder(model: Model, *, of_pictures: bool = False) -> Any:
    """Return a model of any kind as an encoder of diptych."""
    if model is None or isinstance(model, TextEncoder | ImageEncoder):
        return model
    if not isinstance(model, BaseEmbedding | str) and not hasattr(model, "embed_query"):
        raise InvalidArgument(
            f"A model was given as {type(model).__name__}; expected a LlamaIndex embedding, an encoder "
            "of diptych, or the name of a model."
        )
    resolved = resolve_embed_model(model)
    if isinstance(resolved, DiptychMultiModalEmbedding):
        return resolved.image_encoder if of_pictures else resolved.text_encoder
    return FunctionEncoder.from_llama_index(resolved)


def embedding_of(model: Model, store: DiptychVectorStore) -> BaseEmbedding:
    """Return what embeds texts and questions for LlamaIndex: the model, or the store's own."""
    if isinstance(model, BaseEmbedding | str):
        return resolve_embed_model(model)
    index = store.client
    text = None if index is None else index.text_encoder
    if text is None or isinstance(text, GivenVectors):
        return Settings.embed_model
    return DiptychMultiModalEmbedding(text, index.image_encoder if index else None)
