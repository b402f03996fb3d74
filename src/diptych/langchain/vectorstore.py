"""A LangChain vector store of texts and pictures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from langchain_core.embeddings import Embeddings

from diptych.checks import cut
from diptych.errors import FormatError, InvalidArgument
from diptych.index import IndexOptions, MultimodalIndex
from diptych.index.closing import Closing
from diptych.index.opening import stored_models
from diptych.langchain.candidates import Pairs
from diptych.langchain.diversifying import DiversifyingVectorStore
from diptych.langchain.retriever import DiptychVectorStoreRetriever
from diptych.langchain.search import Mode
from diptych.langchain.searching import ImagesAs
from diptych.langchain.store_options import check_options
from diptych.langchain.storing import new_index
from diptych.maintenance import backup, copy_index
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.remote import RemotePictures

__all__ = ["DiptychVectorStore"]


class DiptychVectorStore(DiversifyingVectorStore, Closing):
    """Stores texts and pictures in a ``MultimodalIndex`` and finds them one by one.

    Documents are updated by id, metadata comes back as it was given, filters apply before the
    search. A picture's ``page_content`` is its caption, or a placeholder that names it, never its
    bytes; its metadata gains ``image_sha256``, ``image_path``, ``image_name``, ``image_mime_type``,
    ``image_width`` and ``image_height`` when it is added. To get a text together with its picture, use
    ``DiptychRetriever(index=store.index)``.

    A query is a text; it may also be a picture or both, as ``DiptychRetriever`` describes.

    Scores: higher is better. In the modes "text" and "image" they are cosines in [-1, 1], in
    "cross_modal" the inner products of the fusion model, in "lexical" BM25 (≥ 0), in "fused"
    calibrated and in [0, 1], those of ``MultimodalRetriever``.

    Args:
        embedding: Embeds texts, and pictures too if it can: LangChain ``Embeddings`` (pictures:
            those with ``embed_image``) or an encoder of diptych.
        index: An index that exists, instead of everything else.
        image_encoder: Embeds pictures: an encoder of diptych, or ``Embeddings`` with
            ``embed_image``.
        path: A folder that keeps the index; in memory when it is left out. Given alone, it opens the
            index that is there, with the encoders that it remembers.
        mode: What is searched by default: "fused" (all lists), "text", "image", "cross_modal" (the
            vectors of one list) or "lexical" (words alone, with which nothing is encoded).
        images_as: What a search gives as ``page_content`` of a picture: its "caption", or its file
            in "base64", for code that was written for a store which does so. The caption is then
            ``metadata["caption"]``.
        remote: Which pictures that are given by their URL are fetched, and from where; none when it is left
            out. It is not kept in the folder.
        options: ``kind``, ``namespace``, ``lock_timeout``, ``fusion_model`` and ``aligner`` of
            ``MultimodalIndex``.

    Raises:
        InvalidArgument: An index is given together with parts of one, or neither.
        TypeError: An argument that it does not know; one of another store is named as it is here.
        FormatError: A path is given alone, and there is no index.
        EncoderMismatch: The folder was filled with other models than these.

    Example:
        >>> from diptych import ToyEncoder
        >>> from diptych.langchain import DiptychVectorStore
        >>> store = DiptychVectorStore(ToyEncoder(), mode="text")
        >>> ids = store.add_texts(["a red apple", "the blue sea"])
        >>> store.similarity_search("apple", k=1)[0].page_content
        'a red apple'
    """

    def __init__(
        self,
        embedding: Embeddings | TextEncoder | None = None,
        *,
        index: MultimodalIndex | None = None,
        image_encoder: Embeddings | ImageEncoder | None = None,
        path: str | os.PathLike[str] | None = None,
        mode: Mode | None = None,
        images_as: ImagesAs = "caption",
        remote: RemotePictures | None = None,
        **options: Unpack[IndexOptions],
    ) -> None:
        check_options(options)
        parts = (embedding, image_encoder, path)
        if index is None and all(part is None for part in parts):
            raise InvalidArgument(
                "DiptychVectorStore needs embedding=, image_encoder=, the path= of an index that "
                "exists, or an index=."
            )
        if index is not None and (options or any(part is not None for part in parts)):
            raise InvalidArgument(
                "DiptychVectorStore was given an index together with embedding=, image_encoder=, "
                "path= or the like, which the index has of its own. Pass one or the other."
            )
        has_async: Any = embedding if hasattr(embedding, "aembed_documents") else None
        if index is None:
            index = new_index(embedding, image_encoder, path, **options)
        super().__init__(index, has_async, "fused" if mode is None else mode, images_as)
        self.remote = remote

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | TextEncoder | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a store that holds some texts; other arguments are those of the class."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | TextEncoder | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Do what :meth:`from_texts` does, without blocking the event loop."""
        store = await asyncio.to_thread(cls.from_texts, [], embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    def from_images(
        cls,
        uris: Sequence[Any],
        embedding: Embeddings | TextEncoder | None = None,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        texts: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a store that holds some pictures.

        Args:
            uris: As for :meth:`add_images`.
            embedding: As for the class.
            metadatas: As for :meth:`add_images`.
            ids: As for :meth:`add_images`.
            texts: As for :meth:`add_images`.
            kwargs: The other arguments of the class.
        """
        store = cls(embedding, **kwargs)
        store.add_images(uris, metadatas, ids, texts=texts)
        return store

    @classmethod
    async def afrom_images(cls, uris: Sequence[Any], *args: Any, **kwargs: Any) -> Self:
        """Do what :meth:`from_images` does, in a thread."""
        return await asyncio.to_thread(cls.from_images, uris, *args, **kwargs)

    @classmethod
    def from_embeddings(
        cls,
        text_embeddings: Pairs | None = None,
        embedding: Embeddings | TextEncoder | None = None,
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        ids: Sequence[str | None] | None = None,
        *,
        image_embeddings: Pairs | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a store that holds texts and pictures with vectors that were made elsewhere.

        Args:
            text_embeddings: As for :meth:`add_embeddings`.
            embedding: As for the class; the model that has made the vectors.
            metadatas: As for :meth:`add_embeddings`.
            ids: As for :meth:`add_embeddings`.
            image_embeddings: As for :meth:`add_embeddings`.
            kwargs: The other arguments of the class.
        """
        store = cls(embedding, **kwargs)
        store.add_embeddings(text_embeddings, metadatas, ids, image_embeddings=image_embeddings)
        return store

    @classmethod
    async def afrom_embeddings(cls, *args: Any, **kwargs: Any) -> Self:
        """Do what :meth:`from_embeddings` does, in a thread."""
        return await asyncio.to_thread(cls.from_embeddings, *args, **kwargs)

    def save_local(self, folder_path: str | os.PathLike[str]) -> None:
        """Write a copy into a folder where there is none yet.

        A store with a path needs it not: everything is in its folder when ``add_documents`` returns.

        Raises:
            FormatError: Something is in the folder.
        """
        if self.index.path is not None:
            backup(self.index.path, folder_path)
            return
        if os.path.isdir(folder_path) and os.listdir(folder_path):
            raise FormatError(
                f"Something is in {os.fspath(folder_path)!r} already; save_local never replaces it. "
                "Choose another folder."
            )
        copy_index(self.index, folder_path)

    @classmethod
    def load_local(
        cls,
        folder_path: str | os.PathLike[str],
        embeddings: Embeddings | TextEncoder | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return the store in a folder; nothing that is loaded is ever executed.

        Args:
            folder_path: The folder. Changes are kept in it.
            embeddings: What it was filled with; encoders of diptych are remembered.
            kwargs: The other arguments of the class.

        Raises:
            FormatError: There is no index.
            EncoderMismatch: The folder was filled with other models.
        """
        if not os.path.isdir(folder_path):
            raise FormatError(
                f"There is no index at {cut(os.fspath(folder_path))}. Save one first."
            )
        store = cls(embeddings, path=folder_path, **kwargs)
        try:  # an empty folder, or a namespace that is not there
            stored_models(Path(store.index.path or folder_path), check=False)
        except FormatError:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        self.index.close()

    def as_retriever(self, **kwargs: Any) -> DiptychVectorStoreRetriever:
        """Return a retriever; ``search_type`` may be a mode, besides what LangChain knows."""
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        return DiptychVectorStoreRetriever(vectorstore=self, tags=tags, **kwargs)
