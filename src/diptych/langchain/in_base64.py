"""Documents whose ``page_content`` is their picture in base64, for code that was written for Chroma."""

from __future__ import annotations

from langchain_core.documents import Document

from diptych.errors import DiptychError
from diptych.image import Image
from diptych.langchain.retrieved import RetrievedDocument, retrieved
from diptych.types import FusedDocument

__all__ = ["is_base64", "shown_picture", "with_base64"]


def with_base64(document: Document) -> Document:
    """Return a document whose ``page_content`` is its picture in base64, made to fit; see there.

    Its caption, "" without one, is in the metadata then. A picture that can no longer be read keeps
    its caption, or its placeholder, as ``page_content``. Added again, it is stored as it was.
    """
    if not isinstance(document, RetrievedDocument) or document.fused is None:
        return document
    content = _base64(document.fused)
    if content is None:
        return document
    metadata = {**document.metadata, "caption": document.fused.text}
    return retrieved(content, metadata, document.id or "", document.fused, is_unit=False)


def is_base64(document: Document) -> bool:
    """Whether the ``page_content`` of a document is its picture, as :func:`with_base64` puts it there."""
    fused = document.fused if isinstance(document, RetrievedDocument) else None
    if fused is None:
        return shown_picture(document) is not None
    return _has_caption(document) and document.page_content == _base64(fused)


def shown_picture(document: Document) -> Image | None:
    """Return the picture that is the ``page_content`` of a copy, which has text and metadata alone."""
    if not _has_caption(document):
        return None
    try:
        picture = Image(document.page_content)
    except DiptychError:
        return None
    return None if picture.data is None else picture


def _has_caption(document: Document) -> bool:
    return isinstance(document.metadata.get("caption"), str)


def _base64(fused: FusedDocument) -> str | None:
    images = fused.images
    try:
        return images[0].base64()[0] if images else None
    except (DiptychError, OSError):
        return None
