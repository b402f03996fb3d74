"""An index whose text vectors come with the nodes, and that need not know their model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Unpack

import numpy as np

from diptych.encoders.named import MODELS_SETTING
from diptych.errors import InvalidArgument
from diptych.index import IndexOptions, MultimodalIndex
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.vectors import Vectors

__all__ = ["GivenVectors", "open_index"]


class GivenVectors:
    """Stands where a text encoder would, and knows only the dimension of its vectors."""

    def __init__(self, dim: int, space: str = "", fingerprint: str = "") -> None:
        self.dim = dim
        self.space = space or f"given-{dim}"
        self.fingerprint = fingerprint or self.space

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Refuse: there is no model."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Refuse: there is no model.

        Raises:
            InvalidArgument: Always, unless there is nothing to encode.
        """
        if not texts:
            return np.empty((0, self.dim), np.float32)
        raise InvalidArgument(
            f"{len(texts)} texts without a vector were given to a DiptychVectorStore without an "
            "embedding model. Embed the nodes first, as VectorStoreIndex and IngestionPipeline do, "
            "or pass embed_model= to the store."
        )


def open_index(
    path: str | os.PathLike[str] | None,
    text_encoder: TextEncoder | None,
    image_encoder: ImageEncoder | None,
    *,
    dim: int = 0,
    **options: Unpack[IndexOptions],
) -> MultimodalIndex | None:
    """Return an index; None when nothing says yet which dimension its texts have.

    Without models, a folder is opened with those that it remembers.

    Args:
        path: A folder, or None for memory.
        text_encoder: The model of the texts, when the store has one.
        image_encoder: The model of the pictures, when the store has one.
        dim: The dimension of the vectors that come with the nodes, when it is known.
        options: Other arguments of ``MultimodalIndex``.
    """
    if text_encoder is not None:
        return MultimodalIndex(text_encoder, image_encoder, path=path, **options)
    if path is not None:
        namespace = options.get("namespace")
        with MultimodalIndex(None, image_encoder, path=path, namespace=namespace) as stored:
            space = stored.info().spaces.get("text")
            remembers = stored.settings.get(MODELS_SETTING)
        if remembers and image_encoder is None:
            return MultimodalIndex.open(path, **options)
        if space is not None:
            given = GivenVectors(space.dim, space.name, space.fingerprint)
            return MultimodalIndex(given, image_encoder, path=path, **options)
    if not dim:
        return None
    return MultimodalIndex(GivenVectors(dim), image_encoder, path=path, **options)
