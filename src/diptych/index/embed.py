"""Turning documents and queries into the vectors of the three indexes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.errors import DiptychError, MediaError, VectorError
from diptych.image import Image
from diptych.protocols import Aligner, FusionModel, ImageEncoder, TextEncoder
from diptych.storage import VectorRows
from diptych.types import Document, Query
from diptych.vectors import BadRows, Vectors, as_row, unit_rows

__all__ = [
    "BadDocuments",
    "Models",
    "QueryVectors",
    "embed_documents",
    "embed_queries",
    "unreadable",
]

QueryVectors = dict[str, Vectors]
"""For each list that a query can search, its ``(1, dim)`` vector."""

_NONE = np.empty(0, np.int64)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Models:
    """The models of an index; what is missing leaves its list empty."""

    text: TextEncoder | None
    image: ImageEncoder | None
    fusion: FusionModel
    aligner: Aligner | None

    @property
    def joint_text(self) -> TextEncoder | None:
        """The image encoder's own text tower, when it has one."""
        return self.image if isinstance(self.image, TextEncoder) else None

    @property
    def joint_image(self) -> ImageEncoder | None:
        """The text encoder's own image tower, when it has one."""
        return self.text if isinstance(self.text, ImageEncoder) else None


class BadDocuments(VectorError):
    """Some documents of a batch got vectors that cannot be compared.

    Attributes:
        name: Which vectors.
        reasons: What is wrong, by the position of the document in the batch.
        are_all: Whether no document got a vector of that kind that can be.
    """

    def __init__(self, name: Literal["text", "image"], reasons: Mapping[int, str], of: int) -> None:
        super().__init__(next(iter(reasons.values())))
        self.name = name
        self.reasons = dict(reasons)
        self.are_all = len(reasons) == of


def embed_documents(
    models: Models,
    documents: Sequence[Document],
    given: Mapping[str, Mapping[str, ArrayLike]],
) -> VectorRows:
    """Return the vectors of a batch, by list, with the positions that they belong to.

    A given vector counts also where the document has no text or no picture of its own: a picture
    without words can be found by the text vector that came with it.

    Args:
        models: The encoders.
        documents: The batch.
        given: For "text" and "image", vectors by document id that need not be made.

    Raises:
        BadDocuments: An encoder, or the caller, gave some vectors that cannot be stored.
        VectorError: What an encoder returned is no array of vectors.
    """
    rows: dict[str, tuple[NDArray[np.int64], Vectors]] = {}
    text, image = models.text, models.image
    if text is not None:
        known = given.get("text", {})
        at = _positions(documents, "has_text", known)
        texts = [documents[i].text or "" for i in at]
        made = _embed(text, text.encode_document, texts, [documents[i].id for i in at], known)
        rows["text"] = at, _good("text", made, at)
    if image is not None:
        known = given.get("image", {})
        at = _positions(documents, "has_image", known)
        images: list[Any] = [documents[i].image for i in at]  # None only where a vector is given
        made = _embed(image, image.encode_image, images, [documents[i].id for i in at], known)
        rows["image"] = at, _good("image", made, at)
    if rows:
        rows["cross_modal"] = _fuse_documents(models.fusion, rows)
    return rows


def embed_queries(
    models: Models, queries: Sequence[Query], given: QueryVectors, wanted: Collection[str]
) -> list[QueryVectors]:
    """Return one vector for each query and each wanted list that it can search.

    A text reaches the pictures through the image encoder's own text tower, or the aligner; a picture
    reaches the texts the same way. Each encoder is called once for all queries.

    Args:
        models: The encoders.
        queries: What is asked.
        given: Vectors for every query, made elsewhere; those are not made again.
        wanted: The vector lists that are searched. What none of them needs is not encoded; the
            cross-modal one needs both others.
    """
    made_for = _sources(wanted) - given.keys()
    texts = [i for i, query in enumerate(queries) if query.has_text]
    pictures = [i for i, query in enumerate(queries) if query.image is not None]
    found: list[QueryVectors] = [{} for _ in queries]
    words = [queries[i].text or "" for i in texts]
    images = [image for i in pictures if (image := queries[i].image) is not None]
    # What crosses over comes first, so that a query's own text and picture replace it.
    if "image" in made_for:
        _give(found, "image", texts, _text_in_image_space(models, words, given.get("text")))
    if "text" in made_for:
        _give(found, "text", pictures, _image_in_text_space(models, images))
    if models.text is not None and "text" in made_for:
        made = unit_rows(
            models.text.encode_query(words),
            rows=len(words),
            dim=models.text.dim,
            origin=_origin(models.text),
        )
        _give(found, "text", texts, made)
    if models.image is not None and "image" in made_for:
        made = unit_rows(
            models.image.encode_image(images), rows=len(images), dim=models.image.dim,
            origin=_origin(models.image),
        )  # fmt: skip
        _give(found, "image", pictures, made)
    for vectors, query in zip(found, queries, strict=True):
        vectors.update(given)
        if vectors and "cross_modal" in wanted and "cross_modal" not in vectors:
            vectors["cross_modal"] = models.fusion.fuse_query(
                vectors.get("text"), vectors.get("image"), weights=query.weights
            )
    return found


def unreadable(documents: Sequence[Document]) -> dict[int, DiptychError]:
    """Return the positions of documents whose picture cannot be decoded, with the reason."""
    reasons: dict[int, DiptychError] = {}
    for i, document in enumerate(documents):
        try:
            if document.image is not None:
                document.image.pil()
        except MediaError as error:
            reasons[i] = error
    return reasons


def _sources(wanted: Collection[str]) -> set[str]:
    """Return the lists whose vectors are made for some wanted ones."""
    return {name for name in ("text", "image") if name in wanted or "cross_modal" in wanted}


def _text_in_image_space(
    models: Models, words: Sequence[str], given: Vectors | None
) -> Vectors | None:
    """Return the vectors of texts in the space of pictures; of one vector given for all, where it serves."""
    if models.joint_text is not None:
        tower = models.joint_text
        made = tower.encode_query(words)
        return unit_rows(made, rows=len(words), dim=tower.dim, origin=_origin(tower))
    if models.aligner is None or models.text is None or models.image is None or not words:
        return None
    own = models.text.encode_query(words) if given is None else np.repeat(given, len(words), axis=0)
    mapped = models.aligner.text_to_image(own)
    if mapped is None:  # it knows no way
        return None
    return unit_rows(mapped, rows=len(words), dim=models.image.dim, origin="the aligner")


def _image_in_text_space(models: Models, images: Sequence[Image]) -> Vectors | None:
    if models.joint_image is not None:
        tower = models.joint_image
        made = tower.encode_image(images)
        return unit_rows(made, rows=len(images), dim=tower.dim, origin=_origin(tower))
    if models.aligner is None or models.text is None or models.image is None or not images:
        return None
    mapped = models.aligner.image_to_text(models.image.encode_image(images))
    if mapped is None:
        return None
    return unit_rows(mapped, rows=len(images), dim=models.text.dim, origin="the aligner")


_Made = tuple[Vectors, dict[int, str]]
"""Unit rows, and by row what is wrong with those that cannot be compared."""


def _embed(
    encoder: TextEncoder | ImageEncoder,
    encode: Callable[[Sequence[T]], ArrayLike],
    inputs: Sequence[T],
    ids: Sequence[str],
    given: Mapping[str, ArrayLike],
) -> _Made:
    """Encode what was not given, in one call, and return all rows in order."""
    known = [i for i, document_id in enumerate(ids) if document_id in given]
    missing = [i for i, document_id in enumerate(ids) if document_id not in given]
    encoded = _each(encode([inputs[i] for i in missing]), len(missing), encoder)
    if not known:
        return encoded
    rows = np.zeros((len(ids), int(encoder.dim)), np.float32)
    reasons: dict[int, str] = {}
    parts = ((missing, encoded), (known, _given_rows([ids[i] for i in known], given, encoder)))
    for at, (made, wrong) in parts:
        rows[at] = made
        reasons.update({at[row]: reason for row, reason in wrong.items()})
    return rows, reasons


def _given_rows(
    ids: Sequence[str], given: Mapping[str, ArrayLike], encoder: TextEncoder | ImageEncoder
) -> _Made:
    """Check the vectors that the caller gave, at once, and one by one when something is wrong."""
    dim = int(encoder.dim)
    try:
        values: Any = [given[i] for i in ids]
        return unit_rows(values, rows=len(ids), dim=dim, origin="The caller"), {}
    except VectorError:
        pass
    rows, reasons = np.zeros((len(ids), dim), np.float32), {}
    for at, document_id in enumerate(ids):
        origin = "The caller, for this document,"
        try:
            row = as_row(given[document_id], dim=dim, origin=origin)
            rows[at] = unit_rows(row, rows=1, dim=dim, origin=origin)[0]
        except VectorError as error:
            reasons[at] = str(error)
    return rows, reasons


def _each(made: ArrayLike, count: int, encoder: TextEncoder | ImageEncoder) -> _Made:
    """Return the unit rows of what an encoder returned; zeros for those that are bad."""
    origin, dim = _origin(encoder), int(encoder.dim)
    reasons: dict[int, str] = {}
    values: Any = made
    while True:
        try:
            rows = unit_rows(values, rows=count, dim=dim, origin=origin)
            break
        except BadRows as error:
            reasons.update({row: error.reason(row) for row in error.rows})
            values = error.array.copy()
            values[list(error.rows)] = 1.0  # of any direction: it is not stored
    return rows, reasons


def _good(name: Literal["text", "image"], made: _Made, at: NDArray[np.int64]) -> Vectors:
    """Return rows if all of them can be stored.

    Raises:
        BadDocuments: Some cannot.
    """
    rows, reasons = made
    if reasons:
        raise BadDocuments(name, {int(at[row]): reason for row, reason in reasons.items()}, len(at))
    return rows


def _fuse_documents(
    fusion: FusionModel, rows: Mapping[str, tuple[NDArray[np.int64], Vectors]]
) -> tuple[NDArray[np.int64], Vectors]:
    """Fuse documents with text, with an image, and with both, each kind in one call."""
    nothing = (_NONE, np.empty((0, 0), np.float32))
    text_at, text = rows.get("text", nothing)
    image_at, image = rows.get("image", nothing)
    both, in_text, in_image = np.intersect1d(text_at, image_at, return_indices=True)
    only_text, only_image = ~np.isin(text_at, both), ~np.isin(image_at, both)
    at = np.concatenate([both, text_at[only_text], image_at[only_image]])
    fused = [
        fusion.fuse_document(*kind)
        for count, kind in (
            (len(both), (text[in_text], image[in_image])),
            (int(only_text.sum()), (text[only_text], None)),
            (int(only_image.sum()), (None, image[only_image])),
        )
        if count
    ]
    order = np.argsort(at)
    stacked = np.concatenate(fused) if fused else np.empty((0, fusion.dim), np.float32)
    return at[order], np.ascontiguousarray(stacked[order], np.float32)


def _give(
    found: list[QueryVectors], name: str, positions: Sequence[int], vectors: Vectors | None
) -> None:
    if vectors is not None:
        for at, i in enumerate(positions):
            found[i][name] = vectors[at : at + 1]


def _positions(
    documents: Sequence[Document], which: str, given: Mapping[str, ArrayLike]
) -> NDArray[np.int64]:
    has = [i for i, d in enumerate(documents) if getattr(d, which) or d.id in given]
    return np.asarray(has, np.int64)


def _origin(encoder: TextEncoder | ImageEncoder) -> str:
    return f"The encoder {type(encoder).__name__} of space {encoder.space!r}"
