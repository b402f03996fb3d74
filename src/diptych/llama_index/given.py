"""An index whose text vectors come with the nodes, and that need not know their model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np

from diptych.checks import checked_path
from diptych.encoders.named import MODELS_SETTING
from diptych.errors import EncoderMismatch, InvalidArgument
from diptych.index import IndexOptions, MultimodalIndex
from diptych.index.opening import encoders_of
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.storage import PicturePolicy
from diptych.storage.namespaces import namespace_folder
from diptych.vectors import Vectors

__all__ = ["GivenVectors", "StoreOptions", "open_index"]


class StoreOptions(IndexOptions, total=False):
    """Keyword arguments of ``MultimodalIndex`` that a store takes."""

    images: PicturePolicy
    settings: Mapping[str, str] | None


class GivenVectors:
    """Stands where a text encoder would, and knows only the dimension of its vectors.

    Once a model was given to it (:meth:`take`), it encodes with that.

    Args:
        dim: Of the vectors.
        space: What the index calls their space; by default a name of the dimension.
        fingerprint: What the index knows of their model.

    Attributes:
        encoder: The model; None while there is none.
    """

    def __init__(self, dim: int, space: str = "", fingerprint: str = "") -> None:
        self.dim = dim
        self.space = space or f"given-{dim}"
        self.fingerprint = fingerprint or self.space
        self.encoder: TextEncoder | None = None

    @property
    def is_named(self) -> bool:
        """Whether the index knows more of the model than the dimension of its vectors."""
        return self.space != f"given-{self.dim}"

    def take(self, encoder: TextEncoder) -> None:
        """Encode with a model from now on.

        Raises:
            EncoderMismatch: Its vectors have another dimension, or another space than those of the index.
        """
        same = encoder.space == self.space or not self.is_named
        if encoder.dim != self.dim or not same:
            raise EncoderMismatch(
                f"The texts of this DiptychVectorStore have vectors of {self.space!r} ({self.dim} columns); "
                f"the model that was given for it is {encoder.space!r} ({encoder.dim} columns). Pass the "
                "model that the texts were embedded with."
            )
        self.encoder = encoder

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Return vectors for questions, ``(len(texts), dim)`` float32 unit rows.

        Raises:
            InvalidArgument: There is no model, and something to encode.
        """
        return self._model(texts).encode_query(texts) if texts else self._nothing()

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Return vectors for passages, ``(len(texts), dim)`` float32 unit rows.

        Raises:
            InvalidArgument: There is no model, and something to encode.
        """
        return self._model(texts).encode_document(texts) if texts else self._nothing()

    def _nothing(self) -> Vectors:
        return np.empty((0, self.dim), np.float32)

    def _model(self, texts: Sequence[str]) -> TextEncoder:
        if self.encoder is None:
            raise InvalidArgument(
                f"{len(texts)} texts without a vector were given to a DiptychVectorStore without an "
                "embedding model. Embed the nodes first, as VectorStoreIndex and IngestionPipeline do, "
                "or pass embed_model= to the store."
            )
        return self.encoder


def open_index(
    path: str | os.PathLike[str] | None,
    text_encoder: TextEncoder | None,
    image_encoder: ImageEncoder | None,
    *,
    dim: int = 0,
    **options: Unpack[StoreOptions],
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
        try:
            return MultimodalIndex(text_encoder, image_encoder, path=path, **options)
        except EncoderMismatch:
            given = _unnamed(path, options.get("namespace"), text_encoder)
            if given is None:
                raise
        return MultimodalIndex(given, image_encoder, path=path, **options)
    if path is not None:
        namespace = options.get("namespace")
        with MultimodalIndex(None, image_encoder, path=path, namespace=namespace) as stored:
            space = stored.info().spaces.get("text")
            remembers = stored.settings.get(MODELS_SETTING)
        if remembers and image_encoder is None:
            folder = checked_path("path", path)
            if namespace is not None:
                folder = namespace_folder(folder, namespace)
            return MultimodalIndex(*encoders_of(folder, None), path=path, **options)
        if space is not None:
            given = GivenVectors(space.dim, space.name, space.fingerprint)
            return MultimodalIndex(given, image_encoder, path=path, **options)
    if not dim:
        return None
    return MultimodalIndex(GivenVectors(dim), image_encoder, path=path, **options)


def _unnamed(
    path: str | os.PathLike[str] | None, namespace: str | None, encoder: TextEncoder
) -> GivenVectors | None:
    """Return what opens a folder whose text vectors came with the nodes, and that knows no model.

    None when it knows one, or when its vectors have another dimension.
    """
    with MultimodalIndex(None, path=path, namespace=namespace) as stored:
        space = stored.info().spaces.get("text")
    if space is None or space.name != f"given-{encoder.dim}":
        return None
    given = GivenVectors(space.dim, space.name, space.fingerprint)
    given.take(encoder)
    return given
