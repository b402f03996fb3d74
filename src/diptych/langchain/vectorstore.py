"""A LangChain vector store of texts and pictures."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike

from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain import search
from diptych.langchain.convert import to_image, to_query
from diptych.langchain.retriever import DiptychVectorStoreRetriever
from diptych.langchain.search import Found, Mode, Space, Where
from diptych.langchain.storing import StoringVectorStore, new_index
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.retriever import MultimodalRetriever
from diptych.types import Query

__all__ = ["DiptychVectorStore"]


class DiptychVectorStore(StoringVectorStore):
    """Stores texts and pictures in a ``MultimodalIndex`` and finds them one by one.

    Documents are updated by id, metadata comes back as it was given, filters apply before the
    search. A picture's ``page_content`` is its caption, never its bytes; its metadata gains
    ``image_sha256``, ``image_path``, ``image_name``, ``image_mime_type``, ``image_width`` and
    ``image_height`` when it is added. To get a text together with its picture, use
    ``DiptychRetriever(index=store.index)``.

    A query is a text; it may also be a picture or both, as ``DiptychRetriever`` describes.

    Scores: higher is better. In the modes "text" and "image" they are cosines in [-1, 1], in
    "cross_modal" the inner products of the fusion model, in "fused" calibrated and in [0, 1].

    Args:
        embedding: Embeds texts, and pictures too if it can: LangChain ``Embeddings`` (pictures:
            those with ``embed_image``) or an encoder of diptych.
        index: An index that exists, instead of everything else.
        image_encoder: Embeds pictures: an encoder of diptych, or ``Embeddings`` with
            ``embed_image``.
        path: A folder that keeps the index; in memory when it is left out.
        mode: What is searched by default: "text", "image", "cross_modal" or "fused". When it is
            left out, "fused" if there is an image encoder and "text" if there is none.

    Raises:
        InvalidArgument: An index is given together with parts of one, or neither.

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
    ) -> None:
        parts = (embedding, image_encoder, path)
        if index is None and embedding is None and image_encoder is None:
            raise InvalidArgument(
                "DiptychVectorStore needs embedding=, image_encoder=, or the index= of both."
            )
        if index is not None and any(part is not None for part in parts):
            raise InvalidArgument(
                "DiptychVectorStore was given an index together with embedding=, image_encoder= or "
                "path=, which the index has of its own. Pass one or the other."
            )
        has_async: Any = embedding if hasattr(embedding, "aembed_documents") else None
        given = new_index(embedding, image_encoder, path) if index is None else index
        super().__init__(given, has_async)
        words_only = self.index.image_encoder is None and self.index.text_encoder is not None
        self.mode: Mode = mode or ("text" if words_only else "fused")
        self.retriever = MultimodalRetriever.from_index(self.index)

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

    def similarity_search(
        self,
        query: Any,
        k: int = 4,
        *,
        filter: Where = None,
        mode: Mode | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the best ``k`` documents, best first; all of them when there are fewer.

        Args:
            query: A text, a picture, or both.
            k: How many.
            filter: A metadata filter of ``diptych.filters``, or a function of a document.
            mode: What is searched, see the class.
            kwargs: None are known; they are refused.
        """
        found = self.similarity_search_with_score(query, k, filter=filter, mode=mode, **kwargs)
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
        **kwargs: Any,
    ) -> Found:
        """Return the best ``k`` documents with their scores; higher is better, see the class."""
        _refuse(kwargs)
        return search.find(self.retriever, to_query(query), k, mode or self.mode, filter)

    async def asimilarity_search_with_score(
        self,
        query: Any,
        k: int = 4,
        *,
        filter: Where = None,
        mode: Mode | None = None,
        **kwargs: Any,
    ) -> Found:
        """Do what :meth:`similarity_search_with_score` does, without blocking the event loop."""
        _refuse(kwargs)
        asked = to_query(query)
        vectors = await self._vectors(asked)
        return await asyncio.to_thread(
            search.find, self.retriever, asked, k, mode or self.mode, filter, vectors
        )

    def similarity_search_by_image(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> list[Document]:
        """Return the documents whose picture is most like one: a path, ``data:`` URI, bytes, …."""
        return self.similarity_search(Query(image=to_image(uri)), k, filter=filter, mode="image")

    async def asimilarity_search_by_image(
        self, uri: Any, k: int = 4, filter: Where = None
    ) -> list[Document]:
        """Do what :meth:`similarity_search_by_image` does, in a thread."""
        return await asyncio.to_thread(self.similarity_search_by_image, uri, k, filter)

    def max_marginal_relevance_search(
        self,
        query: Any,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Where = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return ``k`` of the ``fetch_k`` nearest documents that differ from each other.

        Args:
            query: A text, compared with texts; or a picture, compared with pictures.
            k: How many.
            fetch_k: Among how many they are chosen.
            lambda_mult: 1 for the nearest, 0 for the most diverse.
            filter: As for :meth:`similarity_search`.
            kwargs: None are known; they are refused.
        """
        asked = to_query(query)
        space: Space = "text" if asked.has_text else "image"
        return self.max_marginal_relevance_search_by_vector(
            search.query_vector(self.index, asked, space), k, fetch_k, lambda_mult,
            space=space, filter=filter, **kwargs,
        )  # fmt: skip

    async def amax_marginal_relevance_search(
        self, query: Any, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Do what :meth:`max_marginal_relevance_search` does, without blocking the event loop."""
        asked = to_query(query)
        vectors = await self._vectors(asked)
        find: Callable[..., list[Document]] = (
            self.max_marginal_relevance_search_by_vector
            if "text" in vectors
            else self.max_marginal_relevance_search
        )
        return await asyncio.to_thread(
            find, vectors.get("text", asked), k, fetch_k, lambda_mult, **kwargs
        )

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
        _refuse(kwargs)
        found = search.find_by_vector(self.index, embedding, k, space, filter)
        return [document for document, _ in found]

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
        return search.find_diverse(
            self.index, embedding, k,
            fetch_k=fetch_k, lambda_mult=lambda_mult, space=space, documents=filter,
        )  # fmt: skip

    def as_retriever(self, **kwargs: Any) -> DiptychVectorStoreRetriever:
        """Return a retriever; ``search_type`` may be a mode, besides what LangChain knows."""
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        return DiptychVectorStoreRetriever(vectorstore=self, tags=tags, **kwargs)

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


def _refuse(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise TypeError(
            f"DiptychVectorStore does not know the argument {next(iter(kwargs))!r}; expected k, "
            "filter and mode, and for MMR fetch_k and lambda_mult."
        )
