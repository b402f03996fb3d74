"""The part of the LangChain vector store that searches by text, by picture, and by both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal, Unpack

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike

from diptych.checks import shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain import search
from diptych.langchain.asking import aquestion, question, vectors_of, weighted
from diptych.langchain.convert import to_image
from diptych.langchain.in_base64 import with_base64
from diptych.langchain.options import (
    MODES,
    SPACES,
    Mode,
    Search,
    SearchOptions,
    Space,
    VectorOptions,
    Where,
    check_mode,
    threshold_of,
)
from diptych.langchain.search import Found
from diptych.langchain.storing import StoringVectorStore
from diptych.retriever import MultimodalRetriever
from diptych.types import Query
from diptych.vectors import Vectors

__all__ = ["ImagesAs", "SearchingVectorStore"]

ImagesAs = Literal["caption", "base64"]


class SearchingVectorStore(StoringVectorStore):
    """Searches the documents of an index; its subclass makes one.

    Every method takes a blank text too, and finds nothing. What they take besides, by name, is
    described at :class:`~diptych.langchain.options.SearchOptions`; another name is a ``TypeError``
    that says what it is here.

    Args:
        index: Where they are.
        embedding: The LangChain model that embeds texts, when it is one.
        mode: What is searched by default.
        images_as: What is the ``page_content`` of a picture.

    Raises:
        InvalidArgument: ``mode`` or ``images_as`` is unknown.
    """

    def __init__(
        self,
        index: MultimodalIndex,
        embedding: Embeddings | None,
        mode: Mode,
        images_as: ImagesAs = "caption",
    ) -> None:
        super().__init__(index, embedding)
        if images_as not in ("caption", "base64"):
            raise InvalidArgument(
                f"images_as={shown(images_as)} is unknown; expected 'caption' or 'base64'."
            )
        check_mode(mode)
        self.mode: Mode = mode
        self.images_as: ImagesAs = images_as
        self.retriever = MultimodalRetriever.from_index(index)

    def search(self, query: Any, search_type: str, **kwargs: Any) -> list[Document]:
        """Return the best documents by a search type of LangChain, or by a mode."""
        if search_type in MODES:
            return self.similarity_search(query, **{"mode": search_type, **kwargs})
        return super().search(query, search_type, **kwargs)

    async def asearch(self, query: Any, search_type: str, **kwargs: Any) -> list[Document]:
        """Do what :meth:`search` does, without blocking the event loop."""
        if search_type in MODES:
            return await self.asimilarity_search(query, **{"mode": search_type, **kwargs})
        return await super().asearch(query, search_type, **kwargs)

    def similarity_search(  # type: ignore[override]  # a name that is not known is an error
        self, query: Any, k: int = 4, filter: Where = None, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        """Return the best ``k`` documents, best first; all of them when there are fewer.

        Args:
            query: A text, a picture, or both.
            k: How many.
            filter: A metadata filter of ``diptych.filters``, or a function of a document.
            options: See the class. ``score_threshold`` is one of the relevance, in [0, 1].
        """
        found = self._find(query, Search.of(k, filter, options, mode=self.mode), relevant=True)
        return [document for document, _ in found]

    async def asimilarity_search(  # type: ignore[override]
        self, query: Any, k: int = 4, filter: Where = None, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        """Do what :meth:`similarity_search` does: awaits the embedding, searches in a thread."""
        asked = Search.of(k, filter, options, mode=self.mode)
        return [document for document, _ in await self._afind(query, asked, relevant=True)]

    def similarity_search_with_score(
        self, query: Any, k: int = 4, filter: Where = None, **options: Unpack[SearchOptions]
    ) -> Found:
        """Return the best ``k`` documents with their scores; higher is better, see the class.

        ``score_threshold`` is one of these scores.
        """
        return self._find(query, Search.of(k, filter, options, mode=self.mode), relevant=False)

    async def asimilarity_search_with_score(
        self, query: Any, k: int = 4, filter: Where = None, **options: Unpack[SearchOptions]
    ) -> Found:
        """Do what :meth:`similarity_search_with_score` does, without blocking the event loop."""
        asked = Search.of(k, filter, options, mode=self.mode)
        return await self._afind(query, asked, relevant=False)

    def similarity_search_with_vectors(
        self, query: Any, k: int = 4, filter: Where = None, **options: Unpack[SearchOptions]
    ) -> list[tuple[Document, Vectors]]:
        """Return the best ``k`` documents with their ``(dim,)`` vectors.

        They are the vectors of the list that is searched; in the modes "fused" and "lexical" those that
        MMR compares. A document that has none there has NaN.
        """
        asked = Search.of(k, filter, options, mode=self.mode)
        found = self._find(query, asked, relevant=True)
        return search.with_vectors(self.index, found, self._space_of(asked.mode))

    async def asimilarity_search_with_vectors(
        self, query: Any, k: int = 4, filter: Where = None, **options: Unpack[SearchOptions]
    ) -> list[tuple[Document, Vectors]]:
        """Do what :meth:`similarity_search_with_vectors` does, without blocking the event loop."""
        asked = Search.of(k, filter, options, mode=self.mode)
        found = await self._afind(query, asked, relevant=True)
        space = self._space_of(asked.mode)
        return await asyncio.to_thread(search.with_vectors, self.index, found, space)

    def similarity_search_by_image(
        self, uri: Any, k: int = 4, filter: Where = None, **options: Unpack[VectorOptions]
    ) -> list[Document]:
        """Return the documents whose picture is most like one: a path, ``data:`` URI, bytes, …."""
        asked = Search.by_vector(k, filter, options, space="image")
        found = self._find(Query(image=to_image(uri, self.remote)), asked, relevant=True)
        return [document for document, _ in found]

    async def asimilarity_search_by_image(
        self, uri: Any, k: int = 4, filter: Where = None, **options: Unpack[VectorOptions]
    ) -> list[Document]:
        """Do what :meth:`similarity_search_by_image` does, in a thread."""
        return await asyncio.to_thread(self.similarity_search_by_image, uri, k, filter, **options)

    def similarity_search_by_image_with_score(
        self, uri: Any, k: int = 4, filter: Where = None, **options: Unpack[VectorOptions]
    ) -> Found:
        """Return what :meth:`similarity_search_by_image` does, with cosines in [-1, 1]."""
        asked = Search.by_vector(k, filter, options, space="image")
        return self._find(Query(image=to_image(uri, self.remote)), asked, relevant=False)

    async def asimilarity_search_by_image_with_score(
        self, uri: Any, k: int = 4, filter: Where = None, **options: Unpack[VectorOptions]
    ) -> Found:
        """Do what :meth:`similarity_search_by_image_with_score` does, in a thread."""
        search_ = self.similarity_search_by_image_with_score
        return await asyncio.to_thread(search_, uri, k, filter, **options)

    def similarity_search_by_image_with_relevance_score(
        self, uri: Any, k: int = 4, filter: Where = None, **options: Unpack[VectorOptions]
    ) -> Found:
        """Return what :meth:`similarity_search_by_image` does, with scores in [0, 1]."""
        asked = Search.by_vector(k, filter, options, space="image")
        return self._find(Query(image=to_image(uri, self.remote)), asked, relevant=True)

    async def asimilarity_search_by_image_with_relevance_score(
        self, uri: Any, k: int = 4, filter: Where = None, **options: Unpack[VectorOptions]
    ) -> Found:
        """Do what :meth:`similarity_search_by_image_with_relevance_score` does, in a thread."""
        search_ = self.similarity_search_by_image_with_relevance_score
        return await asyncio.to_thread(search_, uri, k, filter, **options)

    def similarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, **kwargs: Any
    ) -> Found:
        """Return the best ``k`` documents with scores in [0, 1], those of ``score_threshold`` and more."""
        threshold_of(kwargs.get("score_threshold"))  # before LangChain compares scores with it
        return super().similarity_search_with_relevance_scores(query, k, **kwargs)

    async def asimilarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, **kwargs: Any
    ) -> Found:
        """Do what :meth:`similarity_search_with_relevance_scores` does, without blocking the event loop."""
        threshold_of(kwargs.get("score_threshold"))
        return await super().asimilarity_search_with_relevance_scores(query, k, **kwargs)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return search.relevance(self.mode)

    def _similarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, filter: Where = None, **kwargs: Any
    ) -> Found:
        return self._find(query, Search.of(k, filter, kwargs, mode=self.mode), relevant=True)

    async def _asimilarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, filter: Where = None, **kwargs: Any
    ) -> Found:
        asked = Search.of(k, filter, kwargs, mode=self.mode)
        return await self._afind(query, asked, relevant=True)

    def _find(self, value: Any, asked: Search, *, relevant: bool) -> Found:
        """Return the hits of a search, with their scores, in [0, 1] when they are to be relevant."""
        query = question(value)
        return [] if query is None else self._found(query, asked, {}, relevant=relevant)

    async def _afind(self, value: Any, asked: Search, *, relevant: bool) -> Found:
        query = await aquestion(value)
        if query is None:
            return []
        vectors = await vectors_of(self.index, query, asked.mode, self._embedding)
        return await asyncio.to_thread(self._found, query, asked, vectors, relevant=relevant)

    def _found(
        self, query: Query, asked: Search, vectors: Mapping[str, ArrayLike], *, relevant: bool
    ) -> Found:
        query = weighted(query, asked.weights)
        found = search.find(self.retriever, query, asked, vectors)
        if relevant:
            found = search.with_relevance(found, asked.mode)
        return self._presented(search.at_least(found, asked.threshold))

    @property
    def _space(self) -> Space:
        """Which vectors are compared where the mode does not say it."""
        if self.mode in SPACES:
            return self.mode
        if self.index.image_encoder is None:
            return "text"
        return "cross_modal" if self.index.text_encoder is not None else "image"

    def _space_of(self, mode: Mode) -> Space:
        return mode if mode in SPACES else self._space

    def _presented(self, found: Found) -> Found:
        if self.images_as == "caption":
            return found
        return [(with_base64(document), score) for document, score in found]
