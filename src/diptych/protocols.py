"""The seams: what a model, a store, a fusion or a reranker has to offer to be used here.

Arrays that cross a seam are float32, 2-D, C-contiguous and finite. Encoders return unit rows.
Attributes are only read here, and may be properties; the names of arguments are the implementer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from diptych.types import FusedDocument, Image, Query, Weights
from diptych.vectors import Vectors

__all__ = ["Aligner", "FusionModel", "ImageEncoder", "Reranker", "TextEncoder"]


if TYPE_CHECKING:

    class _Fingerprinted(Protocol):
        @property
        def fingerprint(self) -> str: ...

    class _Dimensioned(_Fingerprinted, Protocol):
        @property
        def dim(self) -> int: ...

    class _Encoder(_Dimensioned, Protocol):
        @property
        def space(self) -> str: ...

    class _Between(_Fingerprinted, Protocol):
        @property
        def text_space(self) -> str: ...
        @property
        def image_space(self) -> str: ...

else:
    # A class that derives from a protocol may set them: at run time they are no properties.

    class _Fingerprinted(Protocol):
        fingerprint: str

    class _Dimensioned(_Fingerprinted, Protocol):
        dim: int

    class _Encoder(_Dimensioned, Protocol):
        space: str

    class _Between(_Fingerprinted, Protocol):
        text_space: str
        image_space: str


@runtime_checkable
class TextEncoder(_Encoder, Protocol):
    """Turns texts into unit vectors.

    ``space`` names the space the vectors live in; only vectors of one space are compared.
    ``fingerprint`` changes when the model, its weights or its preprocessing do.
    """

    def encode_query(self, texts: Sequence[str], /) -> Vectors:
        """Return ``(len(texts), dim)`` unit rows for questions."""
        ...

    def encode_document(self, texts: Sequence[str], /) -> Vectors:
        """Return ``(len(texts), dim)`` unit rows for passages."""
        ...


@runtime_checkable
class ImageEncoder(_Encoder, Protocol):
    """Turns pictures into unit vectors.

    An encoder of both (``encode_query`` of the same space, as CLIP has) lets a text query reach
    the pictures directly.
    """

    def encode_image(self, images: Sequence[Image], /) -> Vectors:
        """Return ``(len(images), dim)`` unit rows."""
        ...


@runtime_checkable
class FusionModel(_Dimensioned, Protocol):
    """Makes one vector of a text vector and an image vector, either of which may be missing.

    The rows of one call have the same modalities: ``None`` means that all of them lack it.
    The inner product of a query row with a document row is the cross-modal score.
    """

    def fuse_document(self, text: Vectors | None, image: Vectors | None, /) -> Vectors:
        """Return ``(n, dim)`` rows to store."""
        ...

    def fuse_query(
        self, text: Vectors | None, image: Vectors | None, /, *, weights: Weights | None = None
    ) -> Vectors:
        """Return ``(n, dim)`` rows to search with."""
        ...


@runtime_checkable
class Aligner(_Between, Protocol):
    """Maps between a text space and an image space; ``None`` where it knows no way.

    The names of the spaces are those of the encoders; an aligner for others is refused.
    """

    def text_to_image(self, vectors: Vectors, /) -> Vectors | None:
        """Return unit rows of the image space for rows of the text space."""
        ...

    def image_to_text(self, vectors: Vectors, /) -> Vectors | None:
        """Return unit rows of the text space for rows of the image space."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Puts fused documents into a better order."""

    def rerank(self, query: Query, documents: Sequence[FusedDocument], /) -> list[FusedDocument]:
        """Return the documents best first, with scores in [0, 1]; may drop none."""
        ...
