"""The half of the LangChain vector store that stores: what is added, out by id, and changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from diptych.encoders import FunctionEncoder
from diptych.errors import InvalidArgument
from diptych.index import IndexOptions, MultimodalIndex
from diptych.langchain.adding import AddingVectorStore
from diptych.langchain.addition import Addition
from diptych.langchain.candidates import listed, one_each
from diptych.langchain.convert import to_document
from diptych.langchain.getting import stored_as_columns
from diptych.langchain.search import Where, restriction
from diptych.langchain.updating import Update, metadata_updates, new_texts, text_updates, update
from diptych.langchain.where_document import with_text
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["StoringVectorStore", "new_index"]

Metadatas = Sequence[Mapping[str, Any]]


class StoringVectorStore(AddingVectorStore):
    """Deletes, gets and changes the documents of an index; its subclass searches them."""

    def delete(
        self,
        ids: Sequence[str] | str | None = None,
        *,
        filter: Where = None,
        where: Where = None,
        where_document: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> bool:
        """Delete documents by id, by filter, or those that satisfy all that is given, and return True.

        Ids that are not stored are ignored. With nothing at all, everything is deleted, as LangChain's
        interface has it.

        Args:
            ids: Their ids, or one.
            filter: A metadata filter of ``diptych.filters``, or a function of a document.
            where: The same, by the name that Chroma has for it.
            where_document: What the text must say, such as ``{"$contains": "pump"}``.
            kwargs: Of other stores; ignored beside ``ids``.

        Raises:
            InvalidArgument: An argument that is not known and nothing else; it may have meant a few.
        """
        admitted = self._where(filter, where, where_document)
        if ids is None and admitted is None:
            if kwargs or where_document is not None:
                given = ", ".join([*kwargs, *(["where_document"] if where_document == {} else [])])
                raise InvalidArgument(
                    f"delete was given {given} and neither ids nor a filter; expected ids, filter=, where= "
                    "or where_document=. To delete everything call delete() or delete_collection()."
                )
            self.index.clear()
        else:
            wanted = [ids] if isinstance(ids, str) else ids
            self.index.delete(wanted, where=admitted)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in this order, without those that are not stored."""
        return [to_document(stored) for stored in self.index.get(ids)]

    def get(
        self,
        ids: Iterable[str] | str | None = None,
        where: Where = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: Mapping[str, Any] | None = None,
        include: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Return stored documents as lists of equal length, in the form that Chroma gives them.

        The order is that of ``ids``, where they are given; else that of addition, in which a document
        whose text or picture was replaced comes last, and one of which only metadata changed stays.

        Args:
            ids: Their ids, or one; an id that is not stored is left out.
            where: A metadata filter of ``diptych.filters``, or a function of a document.
            limit: How many at most.
            offset: How many are left out at the beginning.
            where_document: What the text must say, such as ``{"$contains": "pump"}``.
            include: Some of "documents", "metadatas", "embeddings" and "uris"; the first two by default.

        Returns:
            "ids"; "documents", what is ``page_content`` elsewhere; "metadatas"; "embeddings", the vector of
            each text, or of a picture without words, or None; "uris", the path of each picture, or None;
            and "included", which of them were asked for. The others are None, and so is "data".

        Raises:
            InvalidArgument: A negative number, or an unknown name in ``include``.
            FilterError: A malformed filter.
        """
        admitted = self._where(None, where, where_document)
        return stored_as_columns(self.index, ids, admitted, limit, offset, include)

    async def aget(
        self, ids: Iterable[str] | str | None = None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Do what :meth:`get` does, in a thread."""
        return await asyncio.to_thread(self.get, ids, *args, **kwargs)

    def update_document(self, document_id: str, document: Document) -> None:
        """Replace text and metadata of a stored document; see :meth:`update_documents`."""
        self.update_documents([document_id], [document])

    async def aupdate_document(self, document_id: str, document: Document) -> None:
        """Do what :meth:`update_document` does, without blocking the event loop."""
        await self.aupdate_documents([document_id], [document])

    def update_documents(self, ids: Sequence[str], documents: Sequence[Document]) -> None:
        """Replace text and metadata of stored documents; what they do not speak of stays.

        A picture stays, with what the metadata says of it (``image_path`` and the like), unless the
        document brings another one; so do group and order. A text that is the same is not embedded again.
        A picture takes a blank text as the removal of its caption.

        An id that is not stored, a document of which nothing would be left, and one that cannot be stored
        do not stop the others: they are logged and in :attr:`failed`, and nothing is added for them.

        Args:
            ids: The ids of stored documents; those of ``documents`` do not count.
            documents: One for each id. Not changed.

        Raises:
            InvalidArgument: Another number of ids than of documents; or none of them could be updated, as
                for :meth:`add_documents`.
        """
        wanted = listed("documents", documents, "LangChain documents")
        self._update(text_updates(one_each(wanted, ids, "ids"), wanted))

    async def aupdate_documents(self, ids: Sequence[str], documents: Sequence[Document]) -> None:
        """Do what :meth:`update_documents` does: awaits the embeddings, stores in a thread."""
        wanted = listed("documents", documents, "LangChain documents")
        given = one_each(wanted, ids, "ids")
        vectors: dict[str, Any] = {}
        if self._embedding is not None:
            texts = await asyncio.to_thread(new_texts, self.index, given, wanted)
            asked = Addition()
            asked.put(texts)
            rows = await self._embed(asked, texts) if texts else {}
            vectors = {t.stored.text or "": rows[t.stored.id] for t in texts if t.stored.id in rows}
        await asyncio.to_thread(self._update, text_updates(given, wanted), vectors)

    def update_metadata(
        self, ids: Sequence[str], metadatas: Metadatas, *, replace: bool = False
    ) -> None:
        """Change the metadata of stored documents; no model runs, and everything else stays.

        The new keys are merged into the old ones, each with its whole value; None is a value like any
        other. With ``replace`` the new ones alone remain, beside what is said of a picture (``image_path``
        and the like). Failures are those of :meth:`update_documents`.

        Args:
            ids: The ids of stored documents.
            metadatas: One for each id.
            replace: Whether keys that are not named go.

        Raises:
            InvalidArgument: Another number of ids than of metadatas, or none of them could be updated.
        """
        wanted = listed("metadatas", metadatas, "dicts")
        self._update(metadata_updates(one_each(wanted, ids, "ids"), wanted, replace=replace))

    async def aupdate_metadata(
        self, ids: Sequence[str], metadatas: Metadatas, *, replace: bool = False
    ) -> None:
        """Do what :meth:`update_metadata` does, in a thread."""
        await asyncio.to_thread(self.update_metadata, ids, metadatas, replace=replace)

    def delete_collection(self) -> None:
        """Delete every document, and give its room back to the disk.

        What is left of a folder is an empty index that remembers its models and settings, so that the
        store can be filled again, and opened again by its path. Other namespaces of the folder stay.
        """
        self.index.clear()
        self.index.compact()

    async def adelete_collection(self) -> None:
        """Do what :meth:`delete_collection` does, in a thread."""
        await asyncio.to_thread(self.delete_collection)

    def reset_collection(self) -> None:
        """Do what :meth:`delete_collection` does: what is left is empty and ready to be filled."""
        self.delete_collection()

    async def areset_collection(self) -> None:
        """Do what :meth:`reset_collection` does, in a thread."""
        await asyncio.to_thread(self.reset_collection)

    def _where(self, filter: Where, where: Where, where_document: Any) -> Any:
        """Return one filter for what is given under three names; None for none."""
        parts = [restriction(self.index, part) for part in (filter, where) if part is not None]
        both = {"$and": parts} if len(parts) > 1 else (parts or [None])[0]
        return with_text(both, where_document)

    def _update(self, updates: Sequence[Update], vectors: Mapping[str, Any] | None = None) -> None:
        addition = update(self.index, updates, vectors)
        self._report(addition)
        addition.check()


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
