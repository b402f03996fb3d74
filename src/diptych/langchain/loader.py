"""Files and pictures as LangChain documents that do not lose their picture on the way."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from diptych.ingest import read
from diptych.langchain.convert import picture_metadata, to_document, to_image
from diptych.remote import RemotePictures, is_url
from diptych.report import Failure
from diptych.reserved import RESERVED_KEY, Place, place_of, without_reserved
from diptych.types import Document as Stored
from diptych.types import Image

__all__ = ["DiptychLoader", "image_document"]

logger = logging.getLogger(__name__)


def image_document(
    image: Any,
    text: str = "",
    metadata: Mapping[str, Any] | None = None,
    *,
    id: str | None = None,
    remote: RemotePictures | None = None,
) -> Document:
    """Return a LangChain document of a picture and what belongs to it, for ``add_documents``.

    Its metadata names the file and the hash of its content. A copy that has nothing but metadata
    left, as LangChain's ``index()`` makes, finds the picture by them; and a picture that was
    replaced behind its path is another document to ``index()``.

    Args:
        image: A ``Blob``, or what ``Image.of`` takes: a path, a URI, bytes, an open file, an array, a PIL
            picture. ``index()`` needs one that has a path.
        text: A caption, or what else belongs to it; becomes ``page_content``.
        metadata: Goes before what is said of the picture. Under ``_diptych`` it may say ``group``
            and ``order``.
        id: Any string; made of the content when it is left out.
        remote: Fetches the picture when it is given by its URL, which becomes ``image_url``.

    Raises:
        MediaError: The picture cannot be read.
    """
    picture = to_image(image, remote)
    picture.read()
    given = metadata or {}
    url = {"image_url": image} if is_url(image) else {}
    shown = {**picture_metadata(picture), **url, **without_reserved(given)}
    document = to_document(Stored(text or None, picture, id=id or "", metadata=shown))
    return _placed(document, place_of(given))


class DiptychLoader(BaseLoader):
    """Loads what ``diptych.read`` does: pages, texts, records, pictures, a file or a folder.

    The documents are made for ``index()``: a figure stays with its paragraph, and a picture that
    changed behind its path is seen. ``source`` is their ``source_id_key``. What cannot be read is
    logged and is in :attr:`failed`::

        index(DiptychLoader("manuals"), records, store, cleanup="incremental",
              source_id_key="source", key_encoder="sha256")

    Args:
        path: The file or folder.
        prefix: What goes before ids and sources.
        pictures: Where pictures that stand inside a page (``data:`` URIs) are written, each once, so
            that they have a path that stays; ``diptych/pictures`` in the user's cache by default.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        prefix: str = "",
        pictures: str | os.PathLike[str] | None = None,
    ) -> None:
        self._path = path
        self._prefix = prefix
        self._pictures = _cache() if pictures is None else Path(pictures)
        self.failed: tuple[Failure, ...] = ()

    def lazy_load(self) -> Iterator[Document]:
        """Yield the documents, read one by one."""
        reading = read(self._path, prefix=self._prefix)
        for stored in reading:
            yield self._to_document(stored)
        self.failed = tuple(reading.failed)
        for failure in self.failed:
            logger.warning("Not read: %s", failure)

    def _to_document(self, stored: Stored) -> Document:
        """Return a document whose metadata says everything that a copy of it needs."""
        if stored.image is not None:
            image = self._with_path(stored.image)
            metadata = {**picture_metadata(image), **stored.metadata}
            stored = dataclasses.replace(stored, image=image, metadata=metadata)
        return _placed(to_document(stored), Place(stored.group, stored.order))

    def _with_path(self, image: Image) -> Image:
        if image.path is not None:
            return image
        self._pictures.mkdir(parents=True, exist_ok=True)
        path = self._pictures / f"{image.sha256}.{image.mime.rpartition('/')[2]}"
        if not path.exists():
            path.write_bytes(image.read())
        return Image(path, name=image.name)


def _placed(document: Document, place: Place) -> Document:
    """Return a document that says which group it belongs to, if it does."""
    if place.group is not None:
        document.metadata[RESERVED_KEY] = {"group": place.group, "order": place.order}
    return document


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych" / "pictures"
