"""What metadata says of a picture, where the picture itself never is, and the way back to the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from diptych.errors import DiptychError, DocumentError, MediaError
from diptych.image import Image
from diptych.langchain.placeholder import stands_for
from diptych.metadata import storable

__all__ = [
    "REFERENCE_KEYS",
    "at_hand",
    "image_reference",
    "own_reference",
    "picture_metadata",
    "referenced",
    "words_and_picture",
]

REFERENCE_KEYS = ("path", "mime_type", "sha256", "name", "width", "height")
"""What is said of a picture in metadata, where the picture itself never is."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def image_reference(image: Image) -> dict[str, Any]:
    """Return what metadata says of a picture: everything but the picture."""
    digest = header = None
    try:
        digest = image.sha256
        header = image.header
    except (DiptychError, OSError):
        pass
    return {
        "path": None if image.path is None else str(image.path),
        "mime_type": None if header is None else header.mime,
        "sha256": digest,
        "name": image.name,
        "width": None if header is None else header.width,
        "height": None if header is None else header.height,
    }


def picture_metadata(image: Image) -> dict[str, Any]:
    """Return what the metadata of a picture's own document says of it: ``image_path`` and the like."""
    return {f"image_{name}": value for name, value in image_reference(image).items()}


def words_and_picture(
    content: str, metadata: Mapping[str, Any], document_id: str
) -> tuple[str | None, Image | None]:
    """Return the words and the picture of a document that has nothing but text and metadata left.

    The picture is the file that the metadata names with its hash. When the text is the placeholder of
    the picture, there are no words.

    Raises:
        DocumentError: The text is the placeholder of a picture of which the metadata names no file.
    """
    own, said = own_reference(metadata), metadata.get("images")
    of_unit = said[0] if isinstance(said, list | tuple) and len(said) == 1 else None
    for reference in (own, of_unit):
        if not isinstance(reference, Mapping) or not stands_for(content, reference.get("sha256")):
            continue
        image = referenced(reference)
        if image is None:
            raise DocumentError(
                f"The picture of document {document_id[:200]!r} is not at hand: a copy of the document "
                f"has kept its placeholder {content[:200]!r}, and its metadata names no file. Expected "
                "the document that was loaded or retrieved, or the path of a file in its metadata. Save "
                "the picture to a file and pass its path, or add it with add_images."
            )
        return None, image
    image = referenced(own)
    return (content if content or image is None else None), image


def referenced(reference: Any) -> Image | None:
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


def at_hand(metadata: Mapping[str, Any], copy: Image) -> Image:
    """Return the picture that metadata names, of which a copy, perhaps a smaller one, is at hand."""
    own = own_reference(metadata)
    return copy if own["sha256"] == copy.sha256 else (referenced(own) or copy)


def own_reference(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference that ``add_images`` has put into the metadata of a picture."""
    return {key: metadata.get(f"image_{key}") for key in REFERENCE_KEYS}
