"""diptych's retriever as a LlamaIndex ``MultiModalRetriever``, in place of the one of its index."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.query.schema import QueryType
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQueryMode,
)
from numpy.typing import ArrayLike

from diptych.cards import Results
from diptych.checks import at_least_one, list_of, shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.index.closing import Closing
from diptych.index.snapshot import lists_of
from diptych.llama_index.awaiting import question_awaited
from diptych.llama_index.bundles import is_blank, of_picture, picture_only, text_only
from diptych.llama_index.convert import to_node_with_score
from diptych.llama_index.filters import all_of, on_text
from diptych.llama_index.modes import RetrieverInModes, embedded, mode_of, query_options
from diptych.llama_index.node import read_pictures
from diptych.llama_index.query import restricted_to
from diptych.llama_index.vector_store import DiptychVectorStore
from diptych.retriever import MultimodalRetriever
from diptych.types import Image, Query, Weights

__all__ = ["DiptychRetriever"]


class DiptychRetriever(RetrieverInModes, Closing):
    """Retrieves one list of fused nodes: a paragraph with its figure, under one score in [0, 1].

    ``retrieve`` takes a text, or a ``QueryBundle`` with ``query_str``, ``image_path`` or both. It
    returns at most ``similarity_top_k`` nodes, new ones each time, and leaves the bundle as it is:
    the encoders of the index make the vectors, ``bundle.embedding`` may be of another model. Texts
    in ``custom_embedding_strs`` are embedded instead of the question, and averaged. A blank question
    finds nothing. A notebook shows the list as cards.

    It is a ``MultiModalVectorIndexRetriever``, so that engines made for that take it, and inherits
    none of its methods. ``aretrieve`` awaits an embedding of LlamaIndex and does the rest in a thread.

    Give it to ``RetrieverQueryEngine.from_args(retriever, llm=llm, multimodal=True)`` to have text
    and pictures sent to the model. ``aretrieve`` reads the first 8 pictures in its thread, because that
    engine's ``aquery`` would read them on the event loop.

    Args:
        index: What to search. ``DiptychVectorStore`` has one as ``store.index``.
        retriever: A retriever of diptych, instead of an index.
        similarity_top_k: How many nodes.
        image_similarity_top_k: How many the methods for pictures alone return;
            ``similarity_top_k`` by default. It adds nothing to what ``retrieve`` returns.
        modalities: What ``retrieve`` searches: "text", "image", "cross_modal"; "lexical" alone is
            words alone, with which no model runs.
        filters: Which nodes are considered; applied before the search.
        node_ids: Only these nodes; all of them when it is empty.
        doc_ids: Only nodes of these source documents, likewise.
        weights: How much each ranked list counts, 1 when it is not named: "text", "image",
            "cross_modal", "lexical".
        vector_store_query_mode: "default" searches everything and fuses it. "text_search" (also
            "sparse", words by BM25), "hybrid" and "mmr" are those of ``DiptychVectorStore``, for
            questions in words; its nodes come one by one.
        alpha: How much vectors count in the mode hybrid, 0 to 1.
        sparse_top_k: How many nodes words find in the mode hybrid.
        hybrid_top_k: How many nodes the mode hybrid returns.
        mmr_threshold: For the mode mmr: 1 is nearness alone, 0 variety alone.
        vector_store_kwargs: As LlamaIndex's retrievers take them: ``mmr_threshold``,
            ``score_threshold`` (0 to 1), ``offset``, ``where_document`` (a condition on the text).
        callback_manager: As for LlamaIndex's ``BaseRetriever``.
        object_map: Likewise.
        objects: Likewise.
        verbose: Likewise.

    Raises:
        InvalidArgument: Neither or both of index and retriever are given, or a mode is not served.
        TypeError: ``vector_store_kwargs`` holds something else.
    """

    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            "similarity_top_k",
            "image_similarity_top_k",
            "modalities",
            "filters",
            "node_ids",
            "doc_ids",
            "weights",
            "vector_store_query_mode",
            "alpha",
            "sparse_top_k",
            "hybrid_top_k",
            "mmr_threshold",
            "vector_store_kwargs",
        }
    )
    """The arguments that say what is retrieved, for engines that take them with others."""

    def __init__(
        self,
        index: MultimodalIndex | None = None,
        *,
        retriever: MultimodalRetriever | None = None,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        image_similarity_top_k: int | None = None,
        modalities: Sequence[str] = ("text", "image"),
        filters: MetadataFilters | None = None,
        node_ids: Sequence[str] | None = None,
        doc_ids: Sequence[str] | None = None,
        weights: Weights | None = None,
        vector_store_query_mode: VectorStoreQueryMode | str = VectorStoreQueryMode.DEFAULT,
        alpha: float | None = None,
        sparse_top_k: int | None = None,
        hybrid_top_k: int | None = None,
        mmr_threshold: float | None = None,
        vector_store_kwargs: Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        # Not that of MultiModalVectorIndexRetriever, which wants two stores and an index.
        BaseRetriever.__init__(self, callback_manager, object_map, objects, verbose)
        if (index is None) == (retriever is None):
            raise InvalidArgument("DiptychRetriever needs either an index or retriever=.")
        if retriever is None:
            retriever = MultimodalRetriever(index=index)
        self.retriever: MultimodalRetriever = retriever
        self._similarity_top_k = similarity_top_k
        self._image_top_k = image_similarity_top_k
        lists_of(modalities)  # refuses what names none, here and not at the first question
        self.modalities = (modalities,) if isinstance(modalities, str) else tuple(modalities)
        self.filters = filters
        self.node_ids = node_ids
        self.doc_ids = doc_ids
        if weights is not None and not isinstance(weights, Mapping):
            raise InvalidArgument(
                f"weights={shown(weights)} is of type {type(weights).__name__}; expected a mapping of lists "
                "to numbers. Pass one such as {'lexical': 0.5}."
            )
        self.weights = dict(weights or {})
        self._vector_store_query_mode = mode_of(vector_store_query_mode)
        self._alpha = alpha
        self._sparse_top_k = sparse_top_k
        self._hybrid_top_k = hybrid_top_k
        self._kwargs = query_options(vector_store_kwargs, mmr_threshold)

    @property
    def similarity_top_k(self) -> int:
        """How many nodes ``retrieve`` returns."""
        return self._similarity_top_k

    @similarity_top_k.setter
    def similarity_top_k(self, similarity_top_k: int) -> None:
        self._similarity_top_k = similarity_top_k

    @property
    def image_similarity_top_k(self) -> int:
        """How many nodes the methods for pictures alone return."""
        return self._similarity_top_k if self._image_top_k is None else self._image_top_k

    @image_similarity_top_k.setter
    def image_similarity_top_k(self, image_similarity_top_k: int) -> None:
        self._image_top_k = image_similarity_top_k

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        self.retriever.close()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, self.modalities)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._asearch(query_bundle, self.modalities)

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return what a text finds among the texts."""
        return self._text_retrieve(text_only(str_or_query_bundle))

    async def atext_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Do what :meth:`text_retrieve` does, without blocking the event loop."""
        return await self._atext_retrieve(text_only(str_or_query_bundle))

    def text_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return what a text finds among the pictures."""
        return self._text_to_image_retrieve(text_only(str_or_query_bundle))

    async def atext_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Do what :meth:`text_to_image_retrieve` does, without blocking the event loop."""
        return await self._atext_to_image_retrieve(text_only(str_or_query_bundle))

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return what a picture finds among the pictures; a string is the path of one."""
        return self._image_to_image_retrieve(of_picture(str_or_query_bundle))

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Do what :meth:`image_to_image_retrieve` does, in a thread."""
        return await self._aimage_to_image_retrieve(of_picture(str_or_query_bundle))

    def _text_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(text_only(query_bundle), ("text",))

    async def _atext_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._asearch(text_only(query_bundle), ("text",))

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(text_only(query_bundle), ("image",))

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._asearch(text_only(query_bundle), ("image",))

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._fused(picture_only(query_bundle), ("image",))

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._image_to_image_retrieve, query_bundle)

    async def _asearch(self, bundle: QueryBundle, modalities: Sequence[str]) -> list[NodeWithScore]:
        async with question_awaited(self.retriever.index, bundle, modalities):
            return await asyncio.to_thread(self._search_and_read, bundle, modalities)

    def _search_and_read(
        self, bundle: QueryBundle, modalities: Sequence[str]
    ) -> list[NodeWithScore]:
        found = self._search(bundle, modalities)
        read_pictures(one.node for one in found)
        return found

    def _search(self, bundle: QueryBundle, modalities: Sequence[str]) -> list[NodeWithScore]:
        if is_blank(bundle):
            return []
        if self._vector_store_query_mode == VectorStoreQueryMode.DEFAULT:
            return self._fused(bundle, modalities)
        name = "image" if tuple(modalities) == ("image",) else "text"
        query = self._build_vector_store_query(bundle, self._top_k(modalities))
        store = DiptychVectorStore(self.retriever.index)
        found = store.query(embedded(store.index, bundle, query, name), **self._kwargs)
        return self._build_node_list_from_query_result(found)

    def _fused(self, bundle: QueryBundle, modalities: Sequence[str]) -> list[NodeWithScore]:
        if is_blank(bundle):
            return []
        image = Image.of(bundle.image_path) if bundle.image_path else None
        options, offset = self._kwargs, self._kwargs.get("offset", 0)
        text = bundle.query_str or "\n".join(bundle.custom_embedding_strs or []) or None
        found = self.retriever.retrieve(
            Query(text=text, image=image, weights=self.weights),
            self._top_k(modalities) + offset,
            modalities,
            where=all_of(
                restricted_to(self.filters, self.node_ids, self.doc_ids),
                on_text(options.get("where_document")),
            ),
            vectors=self._custom(bundle),
        )
        least = options.get("score_threshold", 0.0)
        return Results([to_node_with_score(one) for one in found[offset:] if one.score >= least])

    def _top_k(self, modalities: Sequence[str]) -> int:
        of_pictures = tuple(modalities) == ("image",) != self.modalities
        if of_pictures:
            return at_least_one("image_similarity_top_k", self.image_similarity_top_k)
        return at_least_one("similarity_top_k", self.similarity_top_k)

    def _custom(self, bundle: QueryBundle) -> Mapping[str, ArrayLike] | None:
        """Return the mean vector of the texts that are to be embedded instead of the question."""
        encoder = self.retriever.index.text_encoder
        if not bundle.custom_embedding_strs or encoder is None:
            return None
        texts = list_of("custom_embedding_strs", bundle.custom_embedding_strs, str, "texts")
        mean = encoder.encode_query(texts).mean(axis=0)
        return {"text": mean / max(float(np.linalg.norm(mean)), 1e-12)}

    def _handle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        return Results(super()._handle_recursive_retrieval(query_bundle, nodes))

    async def _ahandle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        return Results(await super()._ahandle_recursive_retrieval(query_bundle, nodes))
