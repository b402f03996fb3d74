"""diptych's retriever as a LlamaIndex ``MultiModalRetriever``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.query.schema import QueryType
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters
from numpy.typing import ArrayLike

from diptych.checks import list_of, shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.index.closing import Closing
from diptych.index.snapshot import lists_of
from diptych.llama_index.convert import to_node_with_score
from diptych.llama_index.query import restricted_to
from diptych.retriever import MultimodalRetriever
from diptych.types import Image, Query, Weights

__all__ = ["DiptychRetriever"]


class DiptychRetriever(MultiModalRetriever, Closing):
    """Retrieves one list of fused nodes: a paragraph with its figure, under one score in [0, 1].

    ``retrieve`` takes a text, or a ``QueryBundle`` with ``query_str``, ``image_path`` or both. It
    returns at most ``similarity_top_k`` nodes, new ones each time, and leaves the bundle as it is:
    the encoders of the index make the vectors, ``bundle.embedding`` may be of another model. Texts
    in ``custom_embedding_strs`` are embedded instead of the question, and averaged.

    Give it to ``RetrieverQueryEngine.from_args(retriever, llm=llm, multimodal=True)`` to have text
    and pictures sent to the model.

    Args:
        index: What to search. ``DiptychVectorStore`` has one as ``store.index``.
        retriever: A retriever of diptych, instead of an index.
        similarity_top_k: How many nodes.
        image_similarity_top_k: How many the methods for pictures alone return;
            ``similarity_top_k`` by default. It adds nothing to what ``retrieve`` returns.
        modalities: What ``retrieve`` searches: "text", "image", "cross_modal".
        filters: Which nodes are considered; applied before the search.
        node_ids: Only these nodes; all of them when it is empty.
        doc_ids: Only nodes of these source documents, likewise.
        weights: How much each ranked list counts, 1 when it is not named: "text", "image",
            "cross_modal", "lexical".
        callback_manager: As for LlamaIndex's ``BaseRetriever``.
        object_map: Likewise.
        objects: Likewise.
        verbose: Likewise.

    Raises:
        InvalidArgument: Neither or both of index and retriever are given.
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
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(callback_manager, object_map, objects, verbose)
        if (index is None) == (retriever is None):
            raise InvalidArgument("DiptychRetriever needs either an index or retriever=.")
        if retriever is None:
            retriever = MultimodalRetriever(index=index)
        self.retriever: MultimodalRetriever = retriever
        self.similarity_top_k = similarity_top_k
        self.image_similarity_top_k = image_similarity_top_k
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

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        self.retriever.close()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, self.modalities)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._search, query_bundle, self.modalities)

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return what a text finds among the texts."""
        return self._search(_text_only(str_or_query_bundle), ("text",))

    async def atext_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Do what :meth:`text_retrieve` does, in a thread."""
        return await asyncio.to_thread(self.text_retrieve, str_or_query_bundle)

    def text_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return what a text finds among the pictures."""
        return self._text_to_image_retrieve(_text_only(str_or_query_bundle))

    async def atext_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Do what :meth:`text_to_image_retrieve` does, in a thread."""
        return await self._atext_to_image_retrieve(_text_only(str_or_query_bundle))

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return what a picture finds among the pictures; a string is the path of one."""
        return self._image_to_image_retrieve(_picture_only(str_or_query_bundle))

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Do what :meth:`image_to_image_retrieve` does, in a thread."""
        return await self._aimage_to_image_retrieve(_picture_only(str_or_query_bundle))

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(_text_only(query_bundle), ("image",))

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._text_to_image_retrieve, query_bundle)

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(_picture_only(query_bundle), ("image",))

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._image_to_image_retrieve, query_bundle)

    def _search(self, bundle: QueryBundle, modalities: Sequence[str]) -> list[NodeWithScore]:
        image = Image.of(bundle.image_path) if bundle.image_path else None
        of_pictures = tuple(modalities) == ("image",) != self.modalities
        top_k = self.image_similarity_top_k if of_pictures else None
        found = self.retriever.retrieve(
            Query(text=bundle.query_str or None, image=image, weights=self.weights),
            self.similarity_top_k if top_k is None else top_k,
            modalities,
            where=restricted_to(self.filters, self.node_ids, self.doc_ids),
            vectors=self._custom(bundle),
        )
        return [to_node_with_score(fused) for fused in found]

    def _custom(self, bundle: QueryBundle) -> Mapping[str, ArrayLike] | None:
        """Return the mean vector of the texts that are to be embedded instead of the question."""
        encoder = self.retriever.index.text_encoder
        if not bundle.custom_embedding_strs or encoder is None:
            return None
        texts = list_of("custom_embedding_strs", bundle.custom_embedding_strs, str, "texts")
        mean = encoder.encode_query(texts).mean(axis=0)
        return {"text": mean / max(float(np.linalg.norm(mean)), 1e-12)}


def _text_only(query: QueryType) -> QueryBundle:
    if isinstance(query, str):
        return QueryBundle(query_str=query)
    return QueryBundle(query.query_str, custom_embedding_strs=query.custom_embedding_strs)


def _picture_only(query: QueryType) -> QueryBundle:
    path = query if isinstance(query, str) else query.image_path
    return QueryBundle(query_str="", image_path=path)
