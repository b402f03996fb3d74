"""The part of the LangChain vector store that adds: texts, documents, pictures, and their vectors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from diptych.checks import at_least_one
from diptych.errors import VectorError
from diptych.index import MultimodalIndex
from diptych.index.probe import TEXT
from diptych.langchain import candidates
from diptych.langchain.addition import Addition, Candidate, needs_trial, store_batch
from diptych.langchain.candidates import Pairs
from diptych.langchain.embeddings import DiptychEmbeddings
from diptych.protocols import TextEncoder
from diptych.remote import RemotePictures
from diptych.report import Failure

__all__ = ["AddingVectorStore"]

_BATCH = 64


class AddingVectorStore(VectorStore):
    """Adds documents to an index; its subclasses delete, get, change and search them.

    One bad document never stops the others: see :meth:`add_documents`.

    Args:
        index: Where they are.
        embedding: The LangChain model that embeds texts, when it is one.

    Attributes:
        remote: Which pictures that are given by their URL are fetched; None for none.
        failed: What the last call that adds or changes documents did not store, with the reason.
    """

    def __init__(self, index: MultimodalIndex, embedding: Embeddings | None) -> None:
        self.index = index
        self._embedding = embedding
        self.remote: RemotePictures | None = None
        self.failed: tuple[Failure, ...] = ()

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
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add or update texts and return their ids; see :meth:`add_documents`."""
        addition, given = candidates.from_texts(texts, metadatas, ids)
        self._add(addition, batch_size)
        return given

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add or update texts and return their ids; see :meth:`aadd_documents`."""
        addition, given = candidates.from_texts(texts, metadatas, ids)
        await self._aadd(addition, batch_size)
        return given

    def add_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add documents, or replace those with the same id, and return all ids in order.

        A document that cannot be stored does not stop the others: it is logged as a warning and is in
        :attr:`failed`, with the reason. So is a blank one, of white space and without a picture. What is
        stored under its id stays as it is.

        Args:
            documents: Not changed. Of several with one id the last counts.
            ids: Any strings, instead of the documents' own; None stands for a new UUID.
            batch_size: How many are embedded and stored together. LangChain's ``index()`` gives it, and
                must not be stopped: with it, documents that cannot be stored are only reported.
            kwargs: Ignored, because LangChain passes on arguments that are meant for other stores.

        Raises:
            InvalidArgument: Another number of ids than of documents. Or nothing of the call could be
                stored, and something was not just blank; then of the kind of the first failure, such as
                ``DocumentError`` (metadata that is not JSON, an id that cannot be stored), ``MediaError``
                or ``VectorError``.
        """
        addition, given = candidates.from_documents(documents, ids)
        self._add(addition, batch_size)
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
        addition, given = candidates.from_documents(documents, ids)
        await self._aadd(addition, batch_size)
        return given

    def add_images(
        self,
        uris: Sequence[Any],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
        remote: RemotePictures | None = None,
    ) -> list[str]:
        """Add pictures, or replace those with the same id, and return all ids in order.

        A picture that cannot be read does not stop the others; see :meth:`add_documents`.

        Args:
            uris: ``Blob`` objects, or what ``Image.of`` takes: paths, ``data:`` and ``file:`` URIs,
                bytes, open files, arrays, PIL pictures. A URL is fetched only where ``remote`` allows it.
            metadatas: One for each picture; ``image_sha256`` and its like are added to it.
            ids: Any strings; None stands for a new UUID.
            texts: The caption of each picture, or what else belongs to it. It is searched as text
                and becomes ``page_content``.
            remote: Which URLs are fetched; what the store was made with when it is left out. The bytes are
                stored, and the URL as ``image_url`` in the metadata.

        Raises:
            InvalidArgument: As for :meth:`add_documents`.
        """
        allowed = self.remote if remote is None else remote
        addition, given = candidates.from_images(uris, metadatas, ids, texts, allowed)
        self._add(addition, None)
        return given

    async def aadd_images(
        self,
        uris: Sequence[Any],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
        remote: RemotePictures | None = None,
    ) -> list[str]:
        """Do what :meth:`add_images` does, in a thread."""
        return await asyncio.to_thread(
            self.add_images, uris, metadatas, ids, texts=texts, remote=remote
        )

    def add_embeddings(
        self,
        text_embeddings: Pairs | None = None,
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        image_embeddings: Pairs | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts and pictures with vectors that were made elsewhere, and return all ids in order.

        Nothing that has a vector is encoded. A bad vector (of another dimension, NaN, zero) is a document
        that cannot be stored; see :meth:`add_documents`. A vector other than the stored one replaces it.

        Args:
            text_embeddings: Texts, each with its vector of the space of the index's text encoder; any
                length other than zero, and None where the encoder makes it.
            metadatas: One for each document.
            ids: Any strings; None stands for a new UUID.
            image_embeddings: Pictures, as :meth:`add_images` takes them, each with its vector of the image
                encoder's space. Together with ``text_embeddings`` it says which picture belongs to which
                text: the first text and the first picture are one document. None where there is none.
            kwargs: Ignored, as in :meth:`add_documents`.

        Raises:
            InvalidArgument: As for :meth:`add_documents`.

        Example:
            ``store.add_embeddings([("a red apple", vector)], [{"n": 1}], ["apple"])``
        """
        addition, given = candidates.from_embeddings(
            text_embeddings, image_embeddings, metadatas, ids, self.remote
        )
        self._add(addition, None)
        return given

    async def aadd_embeddings(
        self,
        text_embeddings: Pairs | None = None,
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        image_embeddings: Pairs | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Do what :meth:`add_embeddings` does, in a thread."""
        return await asyncio.to_thread(
            self.add_embeddings, text_embeddings, metadatas, ids, image_embeddings=image_embeddings
        )

    def _add(self, addition: Addition, batch_size: int | None) -> None:
        size = _size(batch_size)
        try:
            for batch in addition.batches(size):
                store_batch(self.index, addition, batch)
        finally:
            self._report(addition)
        if batch_size is None:
            addition.check()

    async def _aadd(self, addition: Addition, batch_size: int | None) -> None:
        size = _size(batch_size)
        try:
            for batch in addition.batches(size):
                embedded = await self._embedded(addition, batch)
                await asyncio.to_thread(store_batch, self.index, addition, embedded)
        finally:
            self._report(addition)
        if batch_size is None:
            addition.check()

    def _report(self, addition: Addition) -> None:
        self.failed = addition.failed
        addition.log()

    async def _embedded(self, addition: Addition, batch: list[Candidate]) -> list[Candidate]:
        """Return the batch with vectors for the texts that are new, from the model's asynchronous method."""
        if self._embedding is None:
            return batch
        ids = [candidate.stored.id for candidate in batch]
        before = {d.id: d.text for d in await asyncio.to_thread(self.index.get, ids)}
        new = [c for c in batch if c.stored.has_text and before.get(c.stored.id) != c.stored.text]
        vectors = await self._embed(addition, new) if new else {}
        asked = {candidate.stored.id for candidate in new}
        return [
            dataclasses.replace(c, text_vector=vectors.get(c.stored.id, c.text_vector))
            for c in batch
            if c.stored.id in vectors or c.stored.id not in asked
        ]

    async def _embed(
        self, addition: Addition, batch: Sequence[Candidate], *, is_one_by_one: bool = False
    ) -> dict[str, Any]:
        """Return vectors by id; of a batch that the model does not take, those of each text by itself.

        None stands for a vector that the index makes, where a model has no asynchronous method.
        """
        model: Any = self._embedding
        texts = [candidate.stored.text for candidate in batch]
        try:
            rows = list(await model.aembed_documents(texts))
            if not rows and not is_one_by_one:
                return {candidate.stored.id: None for candidate in batch}
            if len(rows) != len(batch):
                raise VectorError(
                    f"{type(model).__name__} returned {len(rows)} vectors for {len(batch)} texts; "
                    "expected one for each."
                )
        except Exception as error:
            if needs_trial(error):
                try:
                    await model.aembed_documents([TEXT])
                except Exception:
                    raise error from None
            if len(batch) == 1:
                addition.refuse(batch[0], error)
                return {}
            found: dict[str, Any] = {}
            for one in batch:
                found |= await self._embed(addition, [one], is_one_by_one=True)
            return found
        return {c.stored.id: row for c, row in zip(batch, rows, strict=True)}


def _size(batch_size: int | None) -> int:
    return _BATCH if batch_size is None else at_least_one("batch_size", batch_size)
