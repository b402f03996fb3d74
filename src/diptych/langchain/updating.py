"""Changing documents that are stored, without losing what the change does not speak of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.documents import Document
from numpy.typing import ArrayLike

from diptych.checks import shown, text_fault
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain.addition import Addition, Candidate, store_batch
from diptych.langchain.candidates import as_mapping, is_blank, with_mapping, wrong
from diptych.langchain.convert import RetrievedDocument, to_stored
from diptych.langchain.in_base64 import is_base64, shown_picture
from diptych.langchain.placeholder import is_placeholder, stands_for
from diptych.langchain.reference import REFERENCE_KEYS, own_reference, referenced
from diptych.reserved import dropped_from, is_reserved, place_of, without_reserved
from diptych.types import Document as Stored
from diptych.types import Image

__all__ = ["Update", "metadata_updates", "new_texts", "text_updates", "update"]

_BATCH = 64
_OF_PICTURES = tuple(f"image_{key}" for key in REFERENCE_KEYS)


@dataclasses.dataclass(frozen=True, slots=True)
class Update:
    """A change of one stored document.

    Attributes:
        identity: Its id.
        change: Returns what it becomes.
        is_blank: Whether the change leaves nothing of a document without a picture.
    """

    identity: str
    change: Callable[[Stored, Addition], Stored]
    is_blank: bool = False


def update(
    index: MultimodalIndex,
    updates: Sequence[Update],
    vectors: Mapping[str, ArrayLike] | None = None,
) -> Addition:
    """Change stored documents, and return what could not be changed.

    Others cannot write meanwhile, so that no change of theirs is lost. An id that is not stored is among
    what could not be changed; so is a document of which nothing would be left.

    Args:
        index: Where they are.
        updates: The changes, made in this order also where several are of one document.
        vectors: Those of new texts, by text, that need not be made.
    """
    addition = Addition()
    ids = [
        u.identity for u in updates if isinstance(u.identity, str) and not text_fault(u.identity)
    ]
    with index.alone():
        stored = {document.id: document for document in index.get(ids)}
        for one in updates:
            before = stored.get(one.identity) if isinstance(one.identity, str) else None
            source = before.source if before is not None else ""
            made = partial(_changed, one, stored, addition, vectors or {})
            addition.take(one.identity, source, made, is_blank=one.is_blank and before is not None)
        for batch in addition.batches(_BATCH):
            store_batch(index, addition, batch)
    return addition


def text_updates(ids: Sequence[str], documents: Sequence[Document]) -> list[Update]:
    """Return changes of text and metadata to those of LangChain documents."""
    return [
        Update(identity, partial(_with_document, document), is_blank(document))
        for identity, document in zip(ids, documents, strict=True)
    ]


def metadata_updates(
    ids: Sequence[str], metadatas: Sequence[Mapping[str, Any]], *, replace: bool
) -> list[Update]:
    """Return changes of metadata alone."""
    return [
        Update(identity, partial(_with_metadata, metadata, replace))
        for identity, metadata in zip(ids, metadatas, strict=True)
    ]


def new_texts(
    index: MultimodalIndex, ids: Sequence[str], documents: Sequence[Document]
) -> list[Candidate]:
    """Return the texts that are not those of the stored documents, to be embedded beforehand."""
    known = [i for i in ids if isinstance(i, str) and not text_fault(i)]
    before = {stored.id: stored.text for stored in index.get(known)}
    texts = {
        document.page_content: None
        for identity, document in zip(ids, documents, strict=True)
        if isinstance(document, Document)
        and identity in before
        and isinstance(document.page_content, str)
        and document.page_content.strip()
        and not is_placeholder(document.page_content)
        and not is_base64(document)
        and document.page_content != before[identity]
    }
    return [Candidate(Stored(text=text, id=str(at))) for at, text in enumerate(texts)]


def _changed(
    one: Update,
    stored: dict[str, Stored],
    addition: Addition,
    vectors: Mapping[str, ArrayLike],
) -> Candidate:
    before = stored.get(one.identity) if isinstance(one.identity, str) else None
    if before is None:
        raise InvalidArgument(
            f"There is no document {shown(one.identity)} to update; expected the id of one that is stored. "
            "Add it with add_documents."
        )
    after = one.change(before, addition)
    stored[after.id] = after  # for the next change of the same document
    is_new = after.text is not None and after.text != before.text
    return Candidate(after, vectors.get(after.text or "") if is_new else None)


def _with_metadata(metadata: object, replace: bool, before: Stored, addition: Addition) -> Stored:
    said = as_mapping(metadata)
    addition.drop(str(key)[:80] for key in said if is_reserved(key))
    own = _of_picture(before) if replace else before.metadata
    return dataclasses.replace(before, metadata={**own, **without_reserved(said)})


def _with_document(document: object, before: Stored, addition: Addition) -> Stored:
    if not isinstance(document, Document):
        raise wrong("A document", document, "LangChain documents")
    document = with_mapping(document)
    addition.drop(dropped_from(document.metadata))
    if isinstance(document, RetrievedDocument) and document.fused is not None:
        told = to_stored(document, before.id)  # without what a retriever has put in
        content, metadata, brought = told.text or "", dict(told.metadata), told.image
    else:
        content, metadata = document.page_content, without_reserved(document.metadata)
        brought, picture = referenced(own_reference(metadata)), shown_picture(document)
        if picture is not None:
            content = metadata.pop("caption")
            metadata |= {key: value for key, value in before.metadata.items() if key == "caption"}
            brought = brought if before.image is not None else picture
    text, image = _content(content, brought, before.image)
    place = place_of(document.metadata)
    keeps = image is not None and image is before.image
    return dataclasses.replace(
        before,
        text=text,
        image=image,
        metadata={**_of_picture(before), **metadata} if keeps else metadata,
        group=before.group if place.group is None else place.group,
        order=before.order if place.group is None else place.order,
    )


def _content(
    text: str, brought: Image | None, image: Image | None
) -> tuple[str | None, Image | None]:
    """Return the words, and the picture: the one that is brought if any, else the stored one."""
    # The stored copy of the same picture is there also when the file that was named is not.
    if brought is not None and (image is None or brought.sha256 != image.sha256):
        image = brought
    if image is not None and (not text.strip() or stands_for(text, image.sha256)):
        return None, image
    return text, image


def _of_picture(stored: Stored) -> dict[str, Any]:
    """Return what metadata says of the picture of a document, which stays with the picture."""
    if stored.image is None:
        return {}
    return {key: stored.metadata[key] for key in _OF_PICTURES if key in stored.metadata}
