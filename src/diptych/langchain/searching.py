"""The half of the LangChain vector store that searches, by text, picture, both, and vector."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike

from diptych.checks import shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain import search
from diptych.langchain.convert import to_image, to_query, with_base64
from diptych.langchain.search import Found, Mode, Space, Where
from diptych.langchain.storing import StoringVectorStore
from diptych.retriever import MultimodalRetriever
from diptych.types import Query, Weights

__all__ = ["ImagesAs", "SearchingVectorStore"]

ImagesAs = Literal["caption", "base64"]


class SearchingVectorStore(StoringVectorStore):
    """Searches the documents of an index; its subclass makes one.

    Args:
        index: Where they are.
        embedding: The LangChain model that embeds texts, when it is one.
        mode: What is searched by default.
        images_as: What is the ``page_content`` of a picture.

    Raises:
        InvalidArgument: ``images_as`` is neither "caption" nor "base64".
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
                f"images_as={images_as!r} is unknown; expected 'caption' or 'base64'."
            )
        self.mode: Mode = mode
        self.images_as: ImagesAs = images_as
        self.retriever = MultimodalRetriever.from_index(index)

    def similarity_search(
        self,
        query: Any,
        k: int = 4,
        *,
        filter: Where = None,
        mode: Mode | None = None,
        weights: Weights | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the best ``k`` documents, best first; all of them when there are fewer.

        Args:
            query: A text, a picture, or both.
            k: How many.
            filter: A metadata filter of ``diptych.filters``, or a function of a document.
            mode: What is searched, see the class.
            weights: In the mode "fused", how much each ranked list counts: "text", "image",
                "cross_modal", "lexical"; 1 when it is not named.
            kwargs: None are known; they are refused.
        """
        found = self.similarity_search_with_score(
            query, k, filter=filter, mode=mode, weights=weights, **kwargs
        )
        return [document for document, _ in found]

    async def asimilarity_search(self, query: Any, k: int = 4, **kwargs: Any) -> list[Document]:
        """Do what :meth:`similarity_search` does: awaits the embedding, searches in a thread."""
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self,
        query: Any,
        k: int = 4,
        *,
        filter: Where = None,
        mode: Mode | None = None,
        weights: Weights | None = None,
        **kwargs: Any,
    ) -> Found:
        """Return the best ``k`` documents with their scores; higher is better, see the class."""
        _refuse(kwargs)
        asked = _weighed(to_query(query), weights, mode or self.mode)
        return self._presented(search.find(self.retriever, asked, k, mode or self.mode, filter))

    async def asimilarity_search_with_score(
        self,
        query: Any,
        k: int = 4,
        *,
        filter: Where = None,
        mode: Mode | None = None,
        weights: Weights | None = None,
        **kwargs: Any,
    ) -> Found:
        """Do what :meth:`similarity_search_with_score` does, without blocking the event loop."""
        _refuse(kwargs)
        asked = _weighed(to_query(query), weights, mode or self.mode)
        vectors = await self._vectors(asked)
        found = await asyncio.to_thread(
            search.find, self.retriever, asked, k, mode or self.mode, filter, vectors
        )
        return await asyncio.to_thread(self._presented, found)

    def similarity_search_by_image(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> list[Document]:
        """Return the documents whose picture is most like one: a path, ``data:`` URI, bytes, …."""
        return [d for d, _ in self.similarity_search_by_image_with_score(uri, k, filter)]

    async def asimilarity_search_by_image(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> list[Document]:
        """Do what :meth:`similarity_search_by_image` does, in a thread."""
        return await asyncio.to_thread(self.similarity_search_by_image, uri, k, filter)

    def similarity_search_by_image_with_score(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> Found:
        """Return what :meth:`similarity_search_by_image` does, with cosines in [-1, 1]."""
        asked = Query(image=to_image(uri))
        return self.similarity_search_with_score(asked, k, filter=filter, mode="image")

    async def asimilarity_search_by_image_with_score(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> Found:
        """Do what :meth:`similarity_search_by_image_with_score` does, in a thread."""
        return await asyncio.to_thread(self.similarity_search_by_image_with_score, uri, k, filter)

    def similarity_search_by_image_with_relevance_score(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> Found:
        """Return what :meth:`similarity_search_by_image` does, with scores in [0, 1]."""
        found = self.similarity_search_by_image_with_score(uri, k, filter)
        return self._relevant(found, {"mode": "image"})

    async def asimilarity_search_by_image_with_relevance_score(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> Found:
        """Do what :meth:`similarity_search_by_image_with_relevance_score` does, in a thread."""
        return await asyncio.to_thread(
            self.similarity_search_by_image_with_relevance_score, uri, k, filter
        )

    def max_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        space: Space | None = None,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` nearest documents that differ from each other.

        Args:
            query: A text, a picture, or both.
            k: How many.
            fetch_k: Among how many they are chosen.
            lambda_mult: 1 for the nearest, 0 for the most diverse.
            space: Which vectors are compared: "text", "image" or "cross_modal". By default those
                of the store's mode, which are the cross-modal ones for "fused".
            filter: As for :meth:`similarity_search`.
            kwargs: None are known; they are refused.
        """
        asked = to_query(query)
        space = space or self._space
        return self.max_marginal_relevance_search_by_vector(
            search.query_vector(self.index, asked, space), k, fetch_k, lambda_mult,
            space=space, filter=filter, **kwargs,
        )  # fmt: skip

    async def amax_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        space: Space | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Do what :meth:`max_marginal_relevance_search` does, without blocking the event loop."""
        asked = to_query(query)
        space = space or self._space
        vectors = await self._vectors(asked) if asked.image is None else {}
        if space in vectors:
            return await asyncio.to_thread(
                self.max_marginal_relevance_search_by_vector,
                vectors[space], k, fetch_k, lambda_mult, space=space, **kwargs,
            )  # fmt: skip
        return await asyncio.to_thread(
            self.max_marginal_relevance_search,
            asked, k, fetch_k, lambda_mult, space=space, **kwargs,
        )  # fmt: skip

    def similarity_search_by_vector(
        self,
        embedding: ArrayLike,
        k: int = 4,
        *,
        space: Space = "text",
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a vector of the named space."""
        found = self.similarity_search_with_score_by_vector(
            embedding, k, space=space, filter=filter, **kwargs
        )
        return [document for document, _ in found]

    def similarity_search_with_score_by_vector(
        self,
        embedding: ArrayLike,
        k: int = 4,
        *,
        space: Space = "text",
        filter: Where = None,
        **kwargs: Any,
    ) -> Found:
        """Return what :meth:`similarity_search_by_vector` does, with inner products of unit rows."""
        _refuse(kwargs)
        return self._presented(search.find_by_vector(self.index, embedding, k, space, filter))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: ArrayLike, k: int = 4, **kwargs: Any
    ) -> Found:
        """Do what :meth:`similarity_search_with_score_by_vector` does, in a thread."""
        return await asyncio.to_thread(
            self.similarity_search_with_score_by_vector, embedding, k, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: ArrayLike,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        space: Space = "text",
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Do what :meth:`max_marginal_relevance_search` does, for a vector of the named space."""
        _refuse(kwargs)
        found = search.find_diverse(
            self.index, embedding, k,
            fetch_k=fetch_k, lambda_mult=lambda_mult, space=space, documents=filter,
        )  # fmt: skip
        return [document for document, _ in self._presented([(d, 0.0) for d in found])]

    def _presented(self, found: Found) -> Found:
        if self.images_as == "caption":
            return found
        return [(with_base64(document), score) for document, score in found]

    @property
    def _space(self) -> Space:
        return "cross_modal" if self.mode == "fused" else self.mode

    def similarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, **kwargs: Any
    ) -> Found:
        """Return the best ``k`` documents with scores in [0, 1], those of ``score_threshold`` and more."""
        _check_threshold(kwargs)
        return super().similarity_search_with_relevance_scores(query, k, **kwargs)

    async def asimilarity_search_with_relevance_scores(
        self, query: Any, k: int = 4, **kwargs: Any
    ) -> Found:
        """Do what :meth:`similarity_search_with_relevance_scores` does, without blocking the event loop."""
        _check_threshold(kwargs)
        return await super().asimilarity_search_with_relevance_scores(query, k, **kwargs)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return search.relevance(self.mode)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> Found:
        found = self.similarity_search_with_score(query, k, **kwargs)
        return self._relevant(found, kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> Found:
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return self._relevant(found, kwargs)

    def _relevant(self, found: Found, kwargs: Mapping[str, Any]) -> Found:
        score = search.relevance(kwargs.get("mode") or self.mode)
        return [(document, score(value)) for document, value in found]

    async def _vectors(self, query: Query) -> dict[str, ArrayLike]:
        """Return the vectors of a query that the LangChain model makes asynchronously."""
        if self._embedding is None or not query.text:
            return {}
        return search.given_vectors(self.index, await self._embedding.aembed_query(query.text))


def _weighed(query: Query, weights: Weights | None, mode: Mode) -> Query:
    if not weights:
        return query
    if mode != "fused":
        raise InvalidArgument(
            f"weights= was given in the mode {mode!r}, which searches one list. Pass mode='fused'."
        )
    return dataclasses.replace(query, weights=weights)


def _check_threshold(kwargs: Mapping[str, Any]) -> None:
    """Look at a threshold before LangChain compares scores with it."""
    value = kwargs.get("score_threshold")
    if isinstance(value, bool) or not isinstance(value, Real | None) or value != value:
        raise InvalidArgument(
            f"score_threshold={shown(value)} ({type(value).__name__}) was given; expected a number: "
            "scores are from 0 to 1. Pass one such as 0.5."
        )


def _refuse(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise TypeError(
            f"DiptychVectorStore does not know the argument {next(iter(kwargs))!r}; expected k, "
            "filter, mode and weights, by vector k, filter and space, and for MMR also fetch_k and "
            "lambda_mult."
        )
