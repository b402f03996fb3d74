"""The half of the LangChain vector store that stores: texts and pictures in, and out by id."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, Unpack

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import ArrayLike

from diptych.checks import at_least_one, list_of
from diptych.encoders import FunctionEncoder
from diptych.errors import InvalidArgument, MediaError, VectorError
from diptych.index import IndexOptions, MultimodalIndex, in_stored_groups
from diptych.langchain.convert import picture_metadata, to_document, to_image, to_stored
from diptych.langchain.embeddings import DiptychEmbeddings
from diptych.langchain.search import Where, restriction
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.report import AddReport
from diptych.reserved import place_of, without_reserved
from diptych.types import Document as Stored

__all__ = ["StoringVectorStore", "new_index"]

_BATCH = 64

T = TypeVar("T")


class StoringVectorStore(VectorStore):
    """Adds, deletes and gets the documents of an index; its subclass searches them.

    Args:
        index: Where they are.
        embedding: The LangChain model that embeds texts, when it is one.
    """

    def __init__(self, index: MultimodalIndex, embedding: Embeddings | None) -> None:
        self.index = index
        self._embedding = embedding

    @cached_property
    def embeddings(self) -> Embeddings | None:
        """What embeds texts and queries."""
        text, image = self.index.text_encoder, self.index.image_encoder
        if self._embedding is not None or (text is None and not isinstance(image, TextEncoder)):
            return self._embedding
        return DiptychEmbeddings(text, image)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add or update texts and return their ids; see :meth:`add_documents`."""
        return self.add_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add or update texts and return their ids; see :meth:`aadd_documents`."""
        return await self.aadd_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    def add_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add documents, or replace those with the same id, and return the ids in order.

        Args:
            documents: Not changed. Of several with one id the last counts.
            ids: Any strings, instead of the documents' own; None stands for a new UUID.
            batch_size: How many are embedded and stored together.
            kwargs: Ignored, because LangChain passes on arguments that are meant for other stores.

        Raises:
            DocumentError: A document without text, or metadata that is not JSON.
            InvalidArgument: Another number of ids than of documents.
        """
        stored, given = _to_store(documents, ids)
        self._upsert(stored, _size(batch_size))
        return given

    async def aadd_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do what :meth:`add_documents` does: awaits the embeddings, stores in a thread."""
        stored, given = _to_store(documents, ids)
        size = _size(batch_size)
        report = AddReport()
        for start in range(0, len(stored), size):
            batch = stored[start : start + size]
            vectors = await self._embedded(batch)
            report += await asyncio.to_thread(self._store, batch, size, vectors)
        _say_what_failed(report, len(stored))
        return given

    def add_images(
        self,
        uris: Sequence[Any],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Add pictures, or replace those with the same id, and return the ids in order.

        Args:
            uris: Paths, ``data:`` URIs, bytes, PIL pictures, ``Blob`` or ``Image`` objects. A URL
                is never fetched.
            metadatas: One for each picture; ``image_sha256`` and its like are added to it.
            ids: Any strings; None stands for a new UUID.
            texts: The caption of each picture, or what else belongs to it. It is searched as text
                and becomes ``page_content``.

        Raises:
            MediaError: Some pictures cannot be read; the others have been stored.
        """
        images = [to_image(uri) for uri in list_of("uris", uris, object, "pictures")]
        given = _identities(_one_each(images, ids, "ids", None))
        documents = {
            identity: Stored(
                text=caption,
                image=image,
                metadata={**picture_metadata(image), **without_reserved(_mapping(metadata))},
                id=identity,
                group=place_of(_mapping(metadata)).group,
                order=place_of(_mapping(metadata)).order,
            )
            for image, caption, metadata, identity in zip(
                images,
                _one_each(images, texts, "texts", None),
                _one_each(images, metadatas, "metadatas", {}),
                given,
                strict=True,
            )
        }
        self._upsert(list(documents.values()), _BATCH)
        return given

    async def aadd_images(
        self,
        uris: Sequence[Any],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Do what :meth:`add_images` does, in a thread."""
        return await asyncio.to_thread(self.add_images, uris, metadatas, ids, texts=texts)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> bool:
        """Delete documents by id, by filter, or those that satisfy both, and return True.

        Ids that are not stored are ignored. With neither, everything is deleted, as LangChain's
        interface has it.
        """
        if ids is None and filter is None:
            self.index.clear()
        else:
            self.index.delete(ids, where=restriction(self.index, filter))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in this order, without those that are not stored."""
        return [to_document(stored) for stored in self.index.get(ids)]

    def _upsert(self, documents: Sequence[Stored], batch_size: int) -> None:
        _say_what_failed(self._store(documents, batch_size), len(documents))

    def _store(
        self,
        documents: Sequence[Stored],
        batch_size: int,
        text_vectors: Mapping[str, ArrayLike] | None = None,
    ) -> AddReport:
        return self.index.upsert(
            in_stored_groups(self.index, documents),
            batch_size=batch_size,
            text_vectors=text_vectors,
        )

    async def _embedded(self, documents: Sequence[Stored]) -> dict[str, ArrayLike]:
        """Return vectors for the texts that are new, from the asynchronous method of the model."""
        if self._embedding is None:
            return {}
        before = await asyncio.to_thread(self.index.get, [document.id for document in documents])
        texts = {document.id: document.text for document in before}
        changed = {d.id: d.text for d in documents if d.text and texts.get(d.id) != d.text}
        if not changed:
            return {}
        rows = await self._embedding.aembed_documents(list(changed.values()))
        # A model that returned nothing at all leaves it to the synchronous method.
        if len(rows) not in (0, len(changed)):
            raise VectorError(
                f"{type(self._embedding).__name__} returned {len(rows)} vectors for {len(changed)} "
                "texts; expected one for each. Nothing of this batch was stored."
            )
        return dict(zip(changed, rows, strict=False))


def new_index(
    embedding: Embeddings | TextEncoder | None,
    image_encoder: Embeddings | ImageEncoder | None,
    path: str | os.PathLike[str] | None,
    **options: Unpack[IndexOptions],
) -> MultimodalIndex:
    """Return an index with these models; one that embeds texts and pictures serves for both.

    Without models it is one that exists, with those that it remembers.
    """
    if embedding is None and image_encoder is None and path is not None:
        return MultimodalIndex.open(path, **options)
    text = _encoder(embedding)
    image = _encoder(image_encoder) if image_encoder is not None else text
    if image is text and not isinstance(image, ImageEncoder):
        image = None
    return MultimodalIndex(text, image, path=path, **options)


def _encoder(model: Any) -> Any:
    is_encoder = hasattr(model, "encode_document") or hasattr(model, "encode_image")
    return model if model is None or is_encoder else FunctionEncoder.from_langchain(model)


def _size(batch_size: int | None) -> int:
    return _BATCH if batch_size is None else at_least_one("batch_size", batch_size)


def _say_what_failed(report: AddReport, count: int) -> None:
    """Raise an error when something was not stored.

    Raises:
        MediaError: It names what, and why.
    """
    if report.failed:
        reasons = "; ".join(str(failure) for failure in report.failed)
        raise MediaError(
            f"{len(report.failed)} of {count} documents were not stored, the others were: {reasons}"
        )


def _mapping(metadata: Any) -> Mapping[str, Any]:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidArgument(
            f"A metadata was given as {type(metadata).__name__}; expected a dict, or None."
        )
    return metadata or {}


def _documents(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    if isinstance(texts, str):  # as langchain-core's own stores do, its characters
        texts = list(texts)
    listed = list_of("texts", texts, str, "strings")
    return [
        Document(page_content=text, metadata=dict(_mapping(metadata)))
        for text, metadata in zip(
            listed, _one_each(listed, metadatas or None, "metadatas", {}), strict=True
        )
    ]


def _to_store(
    documents: Sequence[Document], ids: Sequence[str | None] | None
) -> tuple[list[Stored], list[str]]:
    documents = list_of("documents", documents, Document, "LangChain documents")
    own = [document.id for document in documents]
    given = _identities(_one_each(documents, ids, "ids", None) if ids else own)
    last = dict(zip(given, documents, strict=True))
    return [to_stored(document, identity) for identity, document in last.items()], given


def _identities(ids: Sequence[str | None]) -> list[str]:
    return [identity or str(uuid.uuid4()) for identity in ids]


def _one_each(items: Sequence[Any], values: Sequence[T] | None, name: str, default: T) -> list[T]:
    """Return one value for each item.

    Raises:
        InvalidArgument: There is another number of them.
    """
    if values is None:
        return [default] * len(items)
    if isinstance(values, str | Mapping):
        raise InvalidArgument(f"{name}={values!r} is one {type(values).__name__}; expected a list.")
    if len(values) != len(items):
        raise InvalidArgument(
            f"{len(values)} {name} were given for {len(items)} items; expected one for each."
        )
    return list(values)
