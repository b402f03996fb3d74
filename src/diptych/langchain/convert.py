"""Between diptych's documents and LangChain's, and what LangChain users pass as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.documents.base import Blob

from diptych.checks import list_of, shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain.dumped import from_dict
from diptych.langchain.in_base64 import is_base64, shown_picture
from diptych.langchain.placeholder import is_placeholder, placeholder, stands_for
from diptych.langchain.reference import (
    REFERENCE_KEYS,
    at_hand,
    image_reference,
    own_reference,
    picture_metadata,
    referenced,
    words_and_picture,
)
from diptych.langchain.retrieved import UNIT_KEYS, RetrievedDocument, plain, retrieved
from diptych.metadata import source_label, storable
from diptych.remote import RemotePictures, is_url
from diptych.reserved import RESERVED_KEY, place_of, without_reserved
from diptych.types import Document as Stored
from diptych.types import FusedDocument, Image, Query

__all__ = [
    "REFERENCE_KEYS",
    "RESERVED_KEY",
    "RetrievedDocument",
    "image_reference",
    "is_placeholder",
    "picture_metadata",
    "placeholder",
    "to_document",
    "to_fused",
    "to_fused_document",
    "to_image",
    "to_query",
    "to_stored",
]

_MOST_PARTS = 100
"""So many parts and pictures are looked for, of a document that has been serialized."""


def to_document(stored: Stored) -> Document:
    """Return one stored document, with its metadata as it was given.

    A picture without words has its placeholder as ``page_content``.
    """
    metadata = dict(stored.metadata)
    if stored.image is None:
        return plain(stored.text or "", metadata, stored.id)
    content = stored.text if stored.text and stored.has_text else placeholder(stored.image)
    alone = FusedDocument((stored,), 0.0, (), stored.id)
    return retrieved(content, metadata, stored.id, alone, is_unit=False)


def to_fused_document(fused: FusedDocument) -> RetrievedDocument:
    """Return one retrieved unit of related documents.

    Its text is that of all parts in reading order; of pictures without words, their placeholders. Its
    metadata is that of the part found first, and

    - ``images``: for each picture ``path`` (None when it has none), ``mime_type``, ``sha256``,
      ``name``, ``width`` and ``height`` (None when it can no longer be read);
    - ``score``: in [0, 1], higher is better;
    - ``evidence``: which list found which document, at which rank, with what raw score;
    - ``document_ids`` and ``sources``: of the parts, in reading order.
    """
    images, texts, ids, sources = [], [], [], []
    first = fused.documents[0]
    for part in fused.documents:
        if part.id == fused.id:
            first = part
        ids.append(part.id)
        sources.append(part.source)
        if part.image is not None:
            images.append(part.image)
        if part.text and part.has_text:
            texts.append(part.text)
    metadata: dict[str, Any] = dict(first.metadata)
    metadata["images"] = [image_reference(image) for image in images]
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
    metadata["document_ids"] = ids
    metadata["sources"] = list(dict.fromkeys(sources)) if len(sources) > 1 else sources
    content = "\n\n".join(texts or map(placeholder, images))
    return retrieved(content, metadata, fused.id, fused, is_unit=True)


def to_stored(document: Document, document_id: str) -> Stored:
    """Return a LangChain document as one to store.

    A picture that was retrieved and is added again keeps its picture and what it belongs to. Of one
    that has been copied or serialized since, the picture is the file that its metadata names, when
    it still has the content that the metadata says.

    Under ``RESERVED_KEY`` its metadata may say ``group`` and ``order``; nothing else that stands
    there is taken, and nothing of it is stored as metadata.

    The placeholder of its picture is not stored as words.

    Raises:
        DocumentError: No text and no picture, a placeholder of a picture that is not at hand, or
            metadata that is not JSON.
        InvalidArgument: Several documents that were fused into one.
    """
    fused = document.fused if isinstance(document, RetrievedDocument) else None
    place = place_of(document.metadata)
    metadata = without_reserved(document.metadata)
    if fused is None:
        picture = shown_picture(document)
        if picture is None:
            text, image = words_and_picture(document.page_content, metadata, document_id)
        else:
            text, image = metadata.pop("caption") or None, at_hand(metadata, picture)
        return Stored(
            text=text,
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
    if (
        isinstance(document, RetrievedDocument) and document._is_unit
    ):  # what the retriever has put in is not the user's
        metadata = {key: value for key, value in metadata.items() if key not in UNIT_KEYS}
        metadata |= {key: before.metadata[key] for key in UNIT_KEYS if key in before.metadata}
    text = document.page_content
    if is_base64(document):
        text = metadata.pop("caption")
        metadata |= {key: value for key, value in before.metadata.items() if key == "caption"}
    has_words = before.image is None or not stands_for(text, before.image.sha256)
    return dataclasses.replace(
        before,
        text=(text or None) if has_words else None,
        metadata=metadata,
        id=document_id,
        group=before.group if place.group is None else place.group,
        order=before.order if place.group is None else place.order,
    )


def to_fused(
    documents: Iterable[Document | FusedDocument | Mapping[str, Any]],
    index: MultimodalIndex | None = None,
) -> list[FusedDocument]:
    """Return what a prompt is built from, for documents of diptych or of any other retriever.

    Args:
        documents: Retrieved, best first; also as the dicts that are left of them after a checkpoint
            or JSON (:func:`diptych.langchain.dumped.from_dict`). Those without text and picture are
            left out.
        index: Finds the pictures of documents that have been serialized since. Without it a
            picture is found by its path, when the file is still the one that was indexed.
    """
    kinds = (Document, FusedDocument, Mapping)
    given: list[Any] = list_of("documents", documents, kinds, "documents")
    whole = [from_dict(one) if isinstance(one, Mapping) else one for one in given]
    found = [one if isinstance(one, FusedDocument) else _restored(one, index) for one in whole]
    return [fused for fused in found if fused is not None]


def to_image(value: Any, remote: RemotePictures | None = None) -> Image:
    """Return a picture from a ``Blob``, or from what ``Image.of`` takes: a path, bytes, an array, and more.

    Args:
        value: What was given.
        remote: Fetches it when it is a URL; without it a URL is an error.

    Raises:
        MediaError: The value is none of these, or cannot be fetched.
    """
    if remote is not None and is_url(value):
        return remote.fetch(value)
    if isinstance(value, Blob):
        return Image(value.path) if value.data is None and value.path else Image(value.as_bytes())
    return Image.of(value)


def to_query(value: Any) -> Query:
    """Return a query from what a retriever may be invoked with.

    A string is a text, unless it is a ``data:image/…`` URI; ``{"text": …, "image": …}`` is both;
    a ``Blob``, and what ``Image.of`` takes but a string, is a picture.

    Raises:
        InvalidArgument: The value is none of these, or empty.
    """
    if isinstance(value, str):
        is_picture = value[:11].lower() == "data:image/"
        return Query(image=to_image(value)) if is_picture else Query(text=value)
    if isinstance(value, Mapping):
        unknown = sorted(map(str, set(value) - {"text", "image", "weights"}))
        if unknown:
            raise InvalidArgument(
                f"A query was given with the keys {shown(unknown)}; expected 'text', 'image', 'weights'."
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
    pictures = []
    said = document.metadata.get("images")
    references = said if isinstance(said, list | tuple) else []
    for at, reference in enumerate(
        (references or [own_reference(document.metadata)])[:_MOST_PARTS]
    ):
        image = referenced(reference)
        if image is not None:
            pictures.append(Stored(image=image, metadata=metadata, id=f"{identity}#{at}"))
    picture = shown_picture(document)
    if picture is not None and not pictures:
        pictures.append(Stored(image=picture, metadata=metadata, id=f"{identity}#0"))
    text = storable(document.page_content if picture is None else document.metadata["caption"])
    if not text.strip() or (pictures and is_placeholder(text)):
        return pictures
    return [Stored(text=text, metadata=metadata, id=identity), *pictures]
