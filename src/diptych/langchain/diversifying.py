"""The part of the LangChain vector store that searches by a vector, and for what differs."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

from langchain_core.documents import Document
from numpy.typing import ArrayLike

from diptych.langchain import search
from diptych.langchain.asking import aquestion, question, vectors_of
from diptych.langchain.options import Search, Space, VectorOptions, Where
from diptych.langchain.search import Found
from diptych.langchain.searching import SearchingVectorStore

__all__ = ["DiversifyingVectorStore"]


class DiversifyingVectorStore(SearchingVectorStore):
    """Searches by a vector of a named space, and by maximal marginal relevance.

    What the methods take besides, by name, is described at
    :class:`~diptych.langchain.options.VectorOptions`.
    """

    def similarity_search_by_vector(  # type: ignore[override]  # a name that is not known is an error
        self,
        embedding: ArrayLike,
        k: int = 4,
        filter: Where = None,
        *,
        space: Space = "text",
        **options: Unpack[VectorOptions],
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a vector of the named space."""
        found = self.similarity_search_by_vector_with_relevance_scores(
            embedding, k, filter, space=space, **options
        )
        return [document for document, _ in found]

    def similarity_search_with_score_by_vector(
        self,
        embedding: ArrayLike,
        k: int = 4,
        filter: Where = None,
        *,
        space: Space = "text",
        **options: Unpack[VectorOptions],
    ) -> Found:
        """Return what :meth:`similarity_search_by_vector` does, with inner products of unit rows."""
        asked = Search.by_vector(k, filter, options, space=space)
        found = search.find_by_vector(self.index, embedding, asked)
        return self._presented(search.at_least(found, asked.threshold))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: ArrayLike, k: int = 4, filter: Where = None, **options: Any
    ) -> Found:
        """Do what :meth:`similarity_search_with_score_by_vector` does, in a thread."""
        return await asyncio.to_thread(
            self.similarity_search_with_score_by_vector, embedding, k, filter, **options
        )

    def similarity_search_by_vector_with_relevance_scores(
        self,
        embedding: ArrayLike,
        k: int = 4,
        filter: Where = None,
        *,
        space: Space = "text",
        **options: Unpack[VectorOptions],
    ) -> Found:
        """Return what :meth:`similarity_search_by_vector` does, with scores in [0, 1]."""
        asked = Search.by_vector(k, filter, options, space=space)
        found = search.find_by_vector(self.index, embedding, asked)
        found = search.at_least(search.with_relevance(found, space), asked.threshold)
        return self._presented(found)

    async def asimilarity_search_by_vector_with_relevance_scores(
        self, embedding: ArrayLike, k: int = 4, filter: Where = None, **options: Any
    ) -> Found:
        """Do what :meth:`similarity_search_by_vector_with_relevance_scores` does, in a thread."""
        return await asyncio.to_thread(
            self.similarity_search_by_vector_with_relevance_scores, embedding, k, filter, **options
        )

    def max_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        *,
        space: Space | None = None,
        **options: Any,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` nearest documents that differ from each other.

        Args:
            query: A text, a picture, or both.
            k: How many.
            fetch_k: Among how many they are chosen.
            lambda_mult: 1 for the nearest, 0 for the most diverse.
            filter: As for :meth:`similarity_search`.
            space: Which vectors are compared: "text", "image" or "cross_modal". By default those
                of the store's mode; for "fused" and "lexical" the cross-modal ones, or the only ones
                that there are.
            options: ``where_document``, ``score_threshold`` (of the relevance, in [0, 1]), ``offset``.
        """
        found = self.max_marginal_relevance_search_with_score(
            query, k, fetch_k, lambda_mult, filter, space=space, **options
        )
        return [document for document, _ in found]

    async def amax_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        *,
        space: Space | None = None,
        **options: Any,
    ) -> list[Document]:
        """Do what :meth:`max_marginal_relevance_search` does, without blocking the event loop."""
        found = await self.amax_marginal_relevance_search_with_score(
            query, k, fetch_k, lambda_mult, filter, space=space, **options
        )
        return [document for document, _ in found]

    def max_marginal_relevance_search_with_score(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        *,
        space: Space | None = None,
        **options: Any,
    ) -> Found:
        """Return what :meth:`max_marginal_relevance_search` does, with inner products of unit rows.

        They are in the order of choice, not in that of the scores.
        """
        chosen = space or self._space
        asked = Search.by_vector(k, filter, options, space=chosen)
        query = question(query)
        if query is None:
            return []
        vector = search.query_vector(self.index, query, chosen)
        return self._diverse(vector, asked, fetch_k, lambda_mult)

    async def amax_marginal_relevance_search_with_score(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        *,
        space: Space | None = None,
        **options: Any,
    ) -> Found:
        """Do what :meth:`max_marginal_relevance_search_with_score` does, without blocking the event loop."""
        chosen = space or self._space
        asked = Search.by_vector(k, filter, options, space=chosen)
        query = await aquestion(query)
        if query is None:
            return []
        vectors = await vectors_of(self.index, query, asked.mode, self._embedding)

        def find() -> Found:
            vector = search.query_vector(self.index, query, chosen, vectors)
            return self._diverse(vector, asked, fetch_k, lambda_mult)

        return await asyncio.to_thread(find)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: ArrayLike,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        *,
        space: Space = "text",
        **options: Any,
    ) -> list[Document]:
        """Do what :meth:`max_marginal_relevance_search` does, for a vector of the named space."""
        found = self.max_marginal_relevance_search_with_score_by_vector(
            embedding, k, fetch_k, lambda_mult, filter, space=space, **options
        )
        return [document for document, _ in found]

    def max_marginal_relevance_search_with_score_by_vector(
        self,
        embedding: ArrayLike,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Where = None,
        *,
        space: Space = "text",
        **options: Any,
    ) -> Found:
        """Do what :meth:`max_marginal_relevance_search_with_score` does, for a vector of the named space."""
        asked = Search.by_vector(k, filter, options, space=space)
        return self._diverse(embedding, asked, fetch_k, lambda_mult)

    async def amax_marginal_relevance_search_with_score_by_vector(
        self, embedding: ArrayLike, k: int = 4, **options: Any
    ) -> Found:
        """Do what :meth:`max_marginal_relevance_search_with_score_by_vector` does, in a thread."""
        return await asyncio.to_thread(
            self.max_marginal_relevance_search_with_score_by_vector, embedding, k, **options
        )

    def _diverse(self, vector: ArrayLike, asked: Search, fetch_k: int, lambda_mult: float) -> Found:
        found = search.find_diverse(
            self.index, vector, asked, fetch_k=fetch_k, lambda_mult=lambda_mult
        )
        return self._presented(found)
