"""What goes in and what comes out: documents, pictures, queries, hits, fused documents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from diptych.cards import cards
from diptych.checks import shown, text_fault
from diptych.errors import DocumentError, InvalidArgument
from diptych.image import Image, ImageLike
from diptych.metadata import checked_metadata, checked_order, checked_string
from diptych.reserved import checked_reserved, refuse_reserved

__all__ = [
    "LISTS",
    "Document",
    "Evidence",
    "FusedDocument",
    "Hit",
    "Image",
    "ImageLike",
    "ListName",
    "Query",
    "ScoredDocument",
    "Weights",
]

ListName = Literal["text", "image", "cross_modal", "lexical"]
"""A ranked list: one for each vector index, and one by words."""

LISTS: tuple[ListName, ...] = ("text", "image", "cross_modal", "lexical")

MAX_QUERY = 1 << 22
"""How many characters the text of a query may have; all of them are looked through for its words."""

MAX_WEIGHT = 1e6
"""The largest weight of a list; beyond, the other lists would not count at all."""


Weights = Mapping[str, float]
"""How much each ranked list counts, 1 when it is not named, 0 to leave it out."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of a corpus: a text, a picture, or both.

    Attributes:
        text: The words: a paragraph, a caption, the text beside the picture.
        image: The picture. What ``Image.of`` takes is converted.
        id: Any string of at most 4,096 characters; by default a hash of text, picture and group, so
            that equal content has an equal id.
        metadata: JSON values, at most 32 deep and 256 KiB; comes back as it was given. The key
            ``_diptych`` is reserved, alone or before a dot.
        group: What the document belongs to (a section, a page, a figure). Documents of one group
            are related: a text hit brings the picture nearest in order, a picture hit its text.
        order: The position within the group, for reading order and for nearness; an integer of 64 bits.
        reserved: What an adapter keeps with the document, at most 1 MiB of JSON. It is not metadata:
            not searched, not shown, and not taken from a file.

    Raises:
        DocumentError: Neither text nor image, or metadata that is not JSON or has a reserved key, or
            something too long: ids and groups beyond 4,096 characters, a text beyond 32 Mi.
        MediaError: ``image`` is no picture reference, or (when ``id`` is left out) unreadable.
    """

    text: str | None = None
    image: Image | None = None
    id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    order: int = 0
    reserved: Mapping[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    if TYPE_CHECKING:
        # What is converted may be given; what is read is an Image.
        def __init__(
            self, text: str | None = None, image: ImageLike | None = None, id: str = "",
            metadata: Mapping[str, Any] = ..., group: str | None = None, order: int = 0, *,
            reserved: Mapping[str, Any] = ...,
        ) -> None: ...  # fmt: skip

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("text", self.text), ("group", self.group)):
            if value is not None or name == "id":
                checked_string(value, name, self.id, is_name=name != "text")
        if self.image is not None:
            object.__setattr__(self, "image", Image.of(self.image))
        object.__setattr__(self, "order", checked_order(self.order, self.id))
        if not self.has_text and self.image is None:
            raise DocumentError(
                f"Document {shown(self.id)} has neither text nor an image. Give it one of them, "
                "or leave it out."
            )
        object.__setattr__(self, "metadata", checked_metadata(self.metadata, self.id))
        refuse_reserved(self.metadata, self.id)
        object.__setattr__(self, "reserved", checked_reserved(self.reserved, self.id))
        if not self.id:
            object.__setattr__(self, "id", self._content_id())

    @property
    def has_text(self) -> bool:
        """Whether there is text beyond white space."""
        return bool(self.text and self.text.strip())

    @property
    def has_image(self) -> bool:
        """Whether there is a picture."""
        return self.image is not None

    @property
    def source(self) -> str:
        """Where it comes from: ``metadata["source"]``, else the picture's name, else the id."""
        source = self.metadata.get("source")
        if isinstance(source, str) and source:
            return source
        return (self.image.name if self.image else "") or self.id

    def _content_id(self) -> str:
        image = self.image.sha256 if self.image else ""
        parts = "\0".join((self.text or "", image, self.group or ""))
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: a text, a picture, or both.

    Attributes:
        text: The question.
        image: A picture to look for, or to read together with the text.
        weights: How much each ranked list counts for this query; needs no re-indexing.

    Raises:
        InvalidArgument: Neither text nor image, an unknown list, or a weight that is negative.
    """

    text: str | None = None
    image: Image | None = None
    weights: Weights = field(default_factory=dict)

    if TYPE_CHECKING:

        def __init__(
            self, text: str | None = None, image: ImageLike | None = None, weights: Weights = ...
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.text is not None and not isinstance(self.text, str):
            raise InvalidArgument(
                f"A query has a text of type {type(self.text).__name__}; expected a string."
            )
        if self.text is not None and (fault := _query_fault(self.text)):
            raise InvalidArgument(
                f"A query has a text with {fault}: {shown(self.text)}. Expected at most {MAX_QUERY:,} "
                "characters that can be written as UTF-8. Shorten it, or decode it with errors='replace'."
            )
        if self.image is not None:
            object.__setattr__(self, "image", Image.of(self.image))
        if not (self.text and self.text.strip()) and self.image is None:
            raise InvalidArgument("A query needs text, an image, or both; it has neither.")
        if not isinstance(self.weights, Mapping):
            raise InvalidArgument(
                f"A query has weights of type {type(self.weights).__name__}; expected a mapping of "
                f"{', '.join(LISTS)} to numbers."
            )
        for name, weight in self.weights.items():
            if name not in LISTS:
                raise InvalidArgument(
                    f"A query weights the list {shown(name)}; the lists are {', '.join(LISTS)}."
                )
            if not isinstance(weight, int | float) or not 0 <= weight <= MAX_WEIGHT:
                raise InvalidArgument(
                    f"A query gives the list {name!r} the weight {shown(weight)}; expected a number ≥ 0 and "
                    f"at most {MAX_WEIGHT:g}."
                )

    @property
    def has_text(self) -> bool:
        """Whether there is text beyond white space."""
        return bool(self.text and self.text.strip())

    @classmethod
    def of(cls, value: Any) -> Query:
        """Return a query from a string (always a text), what ``Image.of`` takes, or a ``Query``.

        Raises:
            InvalidArgument: The value is none of these, or empty.
            MediaError: The picture is none.
        """
        if isinstance(value, Query):
            return value
        if isinstance(value, str):
            return cls(text=value)
        if not Image.takes(value):
            raise InvalidArgument(
                f"A query was given as {type(value).__name__}; expected a text (str), a picture "
                "(path, bytes, open file, array, PIL picture, Image) or a Query."
            )
        return cls(image=Image.of(value))


def _query_fault(text: str) -> str:
    return f"{len(text):,} characters" if len(text) > MAX_QUERY else text_fault(text)


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found by one list. ``score``: higher is better, always."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """One stored document that was found. ``score``: higher is better, always."""

    document: Document
    score: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a document was found.

    Attributes:
        document_id: The document.
        list: The ranked list that holds it.
        rank: Its place in that list, from 1; 0 when it was scored without being among the first.
        score: The raw value: a cosine in [-1, 1] for text and image, an inner product for
            cross_modal, BM25 (≥ 0) for lexical.
        contribution: What this list added to the fused score, on the scale of the fusion; 0 for
            a document that was brought in by a link.
    """

    document_id: str
    list: ListName
    rank: int
    score: float
    contribution: float = 0.0


@dataclass(frozen=True, slots=True)
class FusedDocument:
    """Related documents found together, in reading order, under one score.

    Attributes:
        documents: One or more documents.
        score: In [0, 1], higher is better, on one scale for text and pictures.
        evidence: Which list found which document, where, and with what raw score.
        id: The id of the document that was found first.
    """

    documents: tuple[Document, ...]
    score: float
    evidence: tuple[Evidence, ...]
    id: str

    @property
    def text(self) -> str:
        """The texts in reading order, a blank line between them."""
        return "\n\n".join(d.text for d in self.documents if d.text and d.has_text)

    @property
    def images(self) -> tuple[Image, ...]:
        """The pictures in reading order."""
        return tuple(d.image for d in self.documents if d.image is not None)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of the document that was found first."""
        return self._first.metadata

    @property
    def source(self) -> str:
        """Where the document that was found first comes from."""
        return self._first.source

    @property
    def kind(self) -> Literal["text", "image", "text+image"]:
        """What the parts hold together."""
        if not self.images:
            return "text"
        return "text+image" if self.text else "image"

    def _repr_html_(self) -> str:
        return cards([self])

    @property
    def _first(self) -> Document:
        for document in self.documents:
            if document.id == self.id:
                return document
        return self.documents[0]
