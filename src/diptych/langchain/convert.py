"""Between diptych's documents and LangChain's, and what LangChain users pass as a picture."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from pydantic import PrivateAttr

from diptych.cards import cards
from diptych.checks import list_of
from diptych.errors import DiptychError, InvalidArgument, MediaError
from diptych.index import MultimodalIndex
from diptych.metadata import source_label, storable
from diptych.reserved import RESERVED_KEY, place_of, without_reserved
from diptych.types import Document as Stored
from diptych.types import FusedDocument, Image, Query

__all__ = [
    "REFERENCE_KEYS",
    "RESERVED_KEY",
    "RetrievedDocument",
    "image_reference",
    "picture_metadata",
    "to_document",
    "to_fused",
    "to_fused_document",
    "to_image",
    "to_query",
    "to_stored",
    "with_base64",
]

REFERENCE_KEYS = ("path", "mime_type", "sha256", "name", "width", "height")
"""What is said of a picture in metadata, where the picture itself never is."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_PARTS = 100
"""So many parts and pictures are looked for, of a document that has been serialized."""


class RetrievedDocument(Document):
    """A LangChain document that still knows its pictures, for the step that builds the prompt.

    ``page_content`` and ``metadata`` hold text and references only, so nothing large reaches traces
    or stored chat histories. The pictures themselves do not survive serialization; what is left
    then are the references, which ``to_content_blocks`` resolves (with ``index=`` in all cases).
    """

    _fused: FusedDocument | None = PrivateAttr(default=None)

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the id of ``Document``, as which it is loaded again."""
        return Document.lc_id()

    def _repr_html_(self) -> str | None:
        return None if self._fused is None else cards([self._fused])

    @property
    def fused(self) -> FusedDocument | None:
        """What diptych retrieved; None after serialization."""
        return self._fused


def to_document(stored: Stored) -> Document:
    """Return one stored document, with its metadata as it was given."""
    metadata = dict(stored.metadata)
    if stored.image is None:
        return Document(stored.text or "", metadata=metadata, id=stored.id)
    document = RetrievedDocument(page_content=stored.text or "", metadata=metadata, id=stored.id)
    document._fused = FusedDocument((stored,), 0.0, (), stored.id)
    return document


def with_base64(document: Document) -> Document:
    """Return a document whose ``page_content`` is its picture in base64, made to fit; see there.

    A picture that can no longer be read keeps its caption.
    """
    if not isinstance(document, RetrievedDocument) or document.fused is None:
        return document
    images = document.fused.images
    try:
        content = images[0].base64()[0] if images else None
    except (DiptychError, OSError):
        content = None
    if content is None:
        return document
    metadata = {**document.metadata, "caption": document.page_content}
    return Document(content, metadata=metadata, id=document.id)


def to_fused_document(fused: FusedDocument) -> RetrievedDocument:
    """Return one retrieved unit of related documents.

    Its text is that of all parts in reading order, its metadata that of the part found first, and

    - ``images``: for each picture ``path`` (None when it has none), ``mime_type``, ``sha256``,
      ``name``, ``width`` and ``height`` (None when it can no longer be read);
    - ``score``: in [0, 1], higher is better;
    - ``evidence``: which list found which document, at which rank, with what raw score;
    - ``document_ids`` and ``sources``: of the parts, in reading order.
    """
    documents = fused.documents
    metadata = dict(fused.metadata)
    metadata["images"] = [image_reference(d.image) for d in documents if d.image is not None]
    metadata["score"] = fused.score
    metadata["evidence"] = [
        {
            "document_id": found.document_id,
            "list": found.list,
            "rank": found.rank,
            "score": found.score,
            "contribution": found.contribution,
        }
        for found in fused.evidence
    ]
    metadata["document_ids"] = [document.id for document in documents]
    metadata["sources"] = list(dict.fromkeys([document.source for document in documents]))
    document = RetrievedDocument(page_content=fused.text, metadata=metadata, id=fused.id)
    document._fused = fused
    return document


def to_stored(document: Document, document_id: str) -> Stored:
    """Return a LangChain document as one to store.

    A picture that was retrieved and is added again keeps its picture and what it belongs to. Of one
    that has been copied or serialized since, the picture is the file that its metadata names, when
    it still has the content that the metadata says.

    Under ``RESERVED_KEY`` its metadata may say ``group`` and ``order``; nothing else that stands
    there is taken, and nothing of it is stored as metadata.

    Raises:
        DocumentError: No text and no picture, or metadata that is not JSON.
        InvalidArgument: Several documents that were fused into one.
    """
    fused = document.fused if isinstance(document, RetrievedDocument) else None
    text = document.page_content
    place = place_of(document.metadata)
    metadata = without_reserved(document.metadata)
    if fused is None:
        image = _referenced(_own_reference(metadata))
        return Stored(
            text=text if text or image is None else None,
            image=image,
            metadata=metadata,
            id=document_id,
            group=place.group,
            order=place.order,
        )
    if len(fused.documents) > 1:
        raise InvalidArgument(
            f"Document {document.id!r} is {len(fused.documents)} stored documents, fused by a "
            "retriever; it cannot be stored as one. Get the parts by metadata['document_ids']."
        )
    (before,) = fused.documents
    return dataclasses.replace(
        before,
        text=text or None,
        metadata=metadata,
        id=document_id,
        group=before.group if place.group is None else place.group,
        order=before.order if place.group is None else place.order,
    )


def to_fused(
    documents: Iterable[Document | FusedDocument], index: MultimodalIndex | None = None
) -> list[FusedDocument]:
    """Return what a prompt is built from, for documents of diptych or of any other retriever.

    Args:
        documents: Retrieved, best first. Those without text and picture are left out.
        index: Finds the pictures of documents that have been serialized since. Without it a
            picture is found by its path, when the file is still the one that was indexed.
    """
    kinds: tuple[type[Document | FusedDocument], ...] = (Document, FusedDocument)
    given = list_of("documents", documents, kinds, "documents")
    found = [one if isinstance(one, FusedDocument) else _restored(one, index) for one in given]
    return [fused for fused in found if fused is not None]


def image_reference(image: Image) -> dict[str, Any]:
    """Return what metadata says of a picture: everything but the picture."""
    reference: dict[str, Any] = dict.fromkeys(REFERENCE_KEYS)
    reference |= {"path": str(image.path) if image.path else None, "name": image.name}
    try:
        reference["sha256"] = image.sha256
        reference["mime_type"] = image.mime
        reference["width"], reference["height"] = image.size
    except (DiptychError, OSError):
        pass
    return reference


def picture_metadata(image: Image) -> dict[str, Any]:
    """Return what the metadata of a picture's own document says of it: ``image_path`` and the like."""
    return {f"image_{name}": value for name, value in image_reference(image).items()}


def to_image(value: Any) -> Image:
    """Return a picture from a path, ``data:`` URI, bytes, PIL picture, ``Blob`` or ``Image``.

    Raises:
        MediaError: The value is none of these.
    """
    if isinstance(value, Blob):
        return Image(value.path) if value.data is None and value.path else Image(value.as_bytes())
    return Image.of(value)


def to_query(value: Any) -> Query:
    """Return a query from what a retriever may be invoked with.

    A string is a text, unless it is a ``data:image/…`` URI; ``{"text": …, "image": …}`` is both;
    a ``Path``, bytes, a PIL picture, a ``Blob`` or an ``Image`` is a picture.

    Raises:
        InvalidArgument: The value is none of these, or empty.
    """
    if isinstance(value, str):
        is_picture = value[:11].lower() == "data:image/"
        return Query(image=to_image(value)) if is_picture else Query(text=value)
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - {"text", "image", "weights"})
        if unknown:
            raise InvalidArgument(
                f"A query was given with the keys {unknown}; expected 'text', 'image', 'weights'."
            )
        image = value.get("image")
        return Query(
            text=value.get("text"),
            image=None if image is None else to_image(image),
            weights=value.get("weights", {}),
        )
    return Query.of(to_image(value) if isinstance(value, Blob) else value)


def _restored(document: Document, index: MultimodalIndex | None) -> FusedDocument | None:
    """Return a document with its pictures: at hand, from the index, or by checked paths."""
    if isinstance(document, RetrievedDocument) and document.fused is not None:
        return document.fused
    parts: Sequence[Stored] = ()
    if index is not None:
        parts = _parts(document, index)
    if not parts:
        parts = _rebuilt(document)
    first = document.id if any(part.id == document.id for part in parts) else None
    return FusedDocument(tuple(parts), 0.0, (), first or parts[0].id) if parts else None


def _parts(document: Document, index: MultimodalIndex) -> list[Stored]:
    """Return a document from the index, with the parts that its metadata names and that are of its group.

    Metadata of unknown origin could name any document of the index; what belongs together has one group.
    """
    own = storable(document.id or "")
    said = document.metadata.get("document_ids")
    ids = (
        [storable(i) for i in said if isinstance(i, str)] if isinstance(said, list | tuple) else []
    )
    found = index.get([*ids[:_MOST_PARTS], own])
    first = next((part for part in found if part.id == own), None)
    if first is None:
        return []
    return [p for p in found if p is first or (p.group is not None and p.group == first.group)]


def _rebuilt(document: Document) -> list[Stored]:
    """Return a text and its pictures as documents of their own; what is malformed is left out."""
    identity = storable(document.id or "") or "retrieved"
    kept = {k: source_label(document.metadata.get(k)) for k in ("source", "page")}
    metadata = {k: v for k, v in kept.items() if v is not None}
    parts = []
    if document.page_content.strip():
        parts.append(Stored(text=storable(document.page_content), metadata=metadata, id=identity))
    said = document.metadata.get("images")
    references = said if isinstance(said, list | tuple) else []
    for at, reference in enumerate(
        (references or [_own_reference(document.metadata)])[:_MOST_PARTS]
    ):
        image = _referenced(reference)
        if image is not None:
            parts.append(Stored(image=image, metadata=metadata, id=f"{identity}#{at}"))
    return parts


def _referenced(reference: Any) -> Image | None:
    """Return the picture that metadata names by its path and the hash of its content.

    Without the hash, metadata of unknown origin could name any picture on this machine. Nothing is
    opened here; whoever reads the picture compares the hash.
    """
    if not isinstance(reference, Mapping):
        return None
    path, digest, name = (reference.get(key) for key in ("path", "sha256", "name"))
    if not (isinstance(path, str) and isinstance(digest, str) and _SHA256.fullmatch(digest)):
        return None
    try:
        return Image(path, name=storable(name) if isinstance(name, str) else "", sha256=digest)
    except MediaError:  # a URL, or no path at all
        return None


def _own_reference(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference that ``add_images`` has put into the metadata of a picture."""
    return {key: metadata.get(f"image_{key}") for key in REFERENCE_KEYS}
