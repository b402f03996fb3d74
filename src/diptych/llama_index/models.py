"""The models of a LlamaIndex index, of whatever kind, and the store that they fill."""

from __future__ import annotations

import os
from typing import Any

from llama_index.core import Settings, StorageContext
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings.utils import resolve_embed_model
from llama_index.core.vector_stores import SimpleVectorStore

from diptych.errors import EncoderMismatch, InvalidArgument, MediaError
from diptych.index import MultimodalIndex
from diptych.index.probe import SAME
from diptych.llama_index.awaiting import model_of
from diptych.llama_index.embedding import DiptychMultiModalEmbedding
from diptych.llama_index.encoders import Model, encoders_of_models
from diptych.llama_index.given import GivenVectors, open_index
from diptych.llama_index.vector_store import DiptychVectorStore
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["Model", "check_same", "embedding_of", "fit", "new_store", "store_in"]

_PROBE = "A probe: 42 red apples lie beside ein blauer Würfel."


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
    **options: Any,
) -> DiptychVectorStore:
    """Return a store for some models; without them it has those that a folder remembers.

    Where there is none, and where a folder remembers none, LlamaIndex's settings say which.

    Args:
        embed_model: Embeds texts.
        image_embed_model: Embeds pictures.
        path: A folder, or None for memory.
        options: Those of ``MultimodalIndex``.
    """
    if embed_model is None and image_embed_model is None:
        if path is not None and os.path.isdir(path):
            store = DiptychVectorStore(path=path, **options)
            if store.client is not None and not isinstance(store.client.text_encoder, GivenVectors):
                return store
            if store.client is not None:
                store.client.close()
        embed_model = Settings.embed_model
    text, image = encoders_of_models(embed_model, image_embed_model)
    return DiptychVectorStore(embed_model=text, image_encoder=image, path=path, **options)


def fit(store: DiptychVectorStore, embed_model: Model, image_embed_model: Model) -> None:
    """Give a store that was made without models those of its index, and compare those that it has.

    Raises:
        EncoderMismatch: The vectors of the store are of another model.
        InvalidArgument: The store has no place for the model of pictures.
    """
    own = None if store.client is None else store.client.text_encoder
    given = own if isinstance(own, GivenVectors) else None
    if embed_model is None and image_embed_model is None:
        if store.client is not None and (given is None or given.encoder is not None):
            return
        embed_model = Settings.embed_model
    text, image = encoders_of_models(embed_model, image_embed_model)
    if store.client is None:
        _fill(store, text, image)
        return
    if text is not None:
        _fit_text(store.client, text)
    # A folder that was filled without a model for pictures takes one by reembed alone.
    joint = given is not None and store.client.image_encoder is None and store.client.path is None
    if image is not None and (image_embed_model is not None or joint):
        _fit_image(store, image)


def _fill(store: DiptychVectorStore, text: TextEncoder | None, image: ImageEncoder | None) -> None:
    """Open the index of a store in which nothing has been stored."""
    path, _, own_image = store._parts
    store._parts = (path, text, image if own_image is None else own_image)
    store._index = open_index(*store._parts, **store._options)


def _fit_text(index: MultimodalIndex, text: TextEncoder) -> None:
    own = index.text_encoder
    if isinstance(own, GivenVectors):
        own.take(text)
    elif own is None or not _is_same(own, text):
        has = "no model for texts" if own is None else f"{own.space!r} ({own.dim} columns)"
        raise EncoderMismatch(
            f"embed_model= is {text.space!r} ({text.dim} columns), and the store that was given has {has}. "
            "Pass the model that it was filled with, or leave embed_model= out."
        )


def _is_same(own: TextEncoder | ImageEncoder, given: TextEncoder | ImageEncoder) -> bool:
    """Whether two models make vectors of one space: by their names, else by what they make of a text."""
    if own is given or (own.space == given.space and own.dim == given.dim):
        return True
    if (
        own.dim != given.dim
        or not isinstance(own, TextEncoder)
        or not isinstance(given, TextEncoder)
    ):
        return False
    first, second = (one.encode_document([_PROBE])[0] for one in (own, given))
    return float(first @ second) >= SAME


def _fit_image(store: DiptychVectorStore, image: ImageEncoder) -> None:
    index = store.index
    if index.image_encoder is not None:
        if _is_same(index.image_encoder, image):
            return
        own = index.image_encoder
        raise EncoderMismatch(
            f"image_embed_model= is {image.space!r} ({image.dim} columns), and the store that was given has "
            f"{own.space!r} ({own.dim} columns). Pass the model that it was filled with, or leave it out."
        )
    path = store._parts[0] if store._parts else None
    if index.path is None:
        store._index = _in_memory(index, image, store._options)
    elif path is not None:
        opened = MultimodalIndex(index.text_encoder, image, path=path, **store._options)
        index.close()
        store._index = opened
    else:
        raise InvalidArgument(
            "image_embed_model= was given for a store over an index that has no model for pictures. Open "
            "the index with one: MultimodalIndex(text_encoder, image_encoder, path=…)."
        )


def _in_memory(index: MultimodalIndex, image: ImageEncoder, options: Any) -> MultimodalIndex:
    """Return an index in memory with what another one holds, and a model for its pictures.

    Raises:
        MediaError: A picture cannot be read any more.
    """
    documents = index.get()
    ids = [one.id for one in documents if one.has_text]
    vectors = dict(zip(ids, index.text_index.vectors(ids), strict=True)) if ids else {}
    made = MultimodalIndex(index.text_encoder, image, **options)
    report = made.add(documents, text_vectors=vectors)
    if report.failed:
        reasons = "; ".join(map(str, report.failed))
        raise MediaError(
            f"image_embed_model= could not embed all pictures of the store: {reasons}. Delete these "
            "nodes, or leave image_embed_model= out."
        )
    return made


def embedding_of(model: Model, store: DiptychVectorStore) -> BaseEmbedding:
    """Return what embeds texts and questions for LlamaIndex: the model, or the store's own."""
    if isinstance(model, BaseEmbedding | str):
        return resolve_embed_model(model)
    index = store.client
    text = None if index is None else index.text_encoder
    if index is None or text is None:
        return Settings.embed_model
    return model_of(text) or DiptychMultiModalEmbedding(text, index.image_encoder)


def check_same(model: Model, index: MultimodalIndex) -> None:
    """Refuse a model of questions that is not the one of the texts.

    Raises:
        EncoderMismatch: It is another one.
    """
    if model is None:
        return
    text, _ = encoders_of_models(model, None)
    if text is not None:
        _fit_text(index, text)
