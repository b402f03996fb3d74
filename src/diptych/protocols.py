"""The seams: what a model, a store, a fusion or a reranker has to offer to be used here.

Arrays that cross a seam are float32, 2-D, C-contiguous and finite. Encoders return unit rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from diptych.types import FusedDocument, Image, Query, Weights
from diptych.vectors import Vectors

__all__ = ["Aligner", "FusionModel", "ImageEncoder", "Reranker", "TextEncoder"]


@runtime_checkable
class TextEncoder(Protocol):
    """Turns texts into unit vectors.

    ``space`` names the space the vectors live in; only vectors of one space are compared.
    ``fingerprint`` changes when the model, its weights or its preprocessing do.
    """

    dim: int
    space: str
    fingerprint: str

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` unit rows for questions."""
        ...

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` unit rows for passages."""
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    """Turns pictures into unit vectors.

    An encoder of both (``encode_query`` of the same space, as CLIP has) lets a text query reach
    the pictures directly.
    """

    dim: int
    space: str
    fingerprint: str

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Return ``(len(images), dim)`` unit rows."""
        ...


@runtime_checkable
class FusionModel(Protocol):
    """Makes one vector of a text vector and an image vector, either of which may be missing.

    The rows of one call have the same modalities: ``None`` means that all of them lack it.
    The inner product of a query row with a document row is the cross-modal score.
    """

    dim: int
    fingerprint: str

    def fuse_document(self, text: Vectors | None, image: Vectors | None) -> Vectors:
        """Return ``(n, dim)`` rows to store."""
        ...

    def fuse_query(
        self, text: Vectors | None, image: Vectors | None, *, weights: Weights | None = None
    ) -> Vectors:
        """Return ``(n, dim)`` rows to search with."""
        ...


@runtime_checkable
class Aligner(Protocol):
    """Maps between a text space and an image space; ``None`` where it knows no way.

    The names of the spaces are those of the encoders; an aligner for others is refused.
    """

    text_space: str
    image_space: str
    fingerprint: str

    def text_to_image(self, vectors: Vectors) -> Vectors | None:
        """Return unit rows of the image space for rows of the text space."""
        ...

    def image_to_text(self, vectors: Vectors) -> Vectors | None:
        """Return unit rows of the text space for rows of the image space."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Puts fused documents into a better order."""

    def rerank(self, query: Query, documents: Sequence[FusedDocument]) -> list[FusedDocument]:
        """Return the documents best first, with scores in [0, 1]; may drop none."""
        ...
