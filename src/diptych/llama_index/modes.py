"""The query modes of LlamaIndex's vector retrievers, over the index of a retriever of diptych."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.indices.multi_modal.retriever import MultiModalVectorIndexRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from diptych.cards import Results
from diptych.checks import fraction, shown, whole
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.types import Query

__all__ = ["RetrieverInModes", "embedded", "mode_of", "query_options"]

_SERVED = (
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.TEXT_SEARCH,
    VectorStoreQueryMode.SPARSE,
    VectorStoreQueryMode.HYBRID,
    VectorStoreQueryMode.MMR,
)
_OF_WORDS = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)
_STORE_OPTIONS = frozenset({"mmr_threshold", "offset", "score_threshold", "where_document"})


def mode_of(given: Any) -> VectorStoreQueryMode:
    """Return a query mode by its name.

    Raises:
        InvalidArgument: It is not served.
    """
    mode = next((mode for mode in _SERVED if given in (mode, mode.value)), None)
    if mode is None:
        served = ", ".join(mode.value for mode in _SERVED)
        raise InvalidArgument(
            f"vector_store_query_mode={shown(getattr(given, 'value', given))} is not served; expected one of "
            f"{served}. In the default mode everything is searched and fused."
        )
    return mode


def query_options(given: Mapping[str, Any] | None, mmr_threshold: float | None) -> dict[str, Any]:
    """Return what the store is given with each query.

    Raises:
        InvalidArgument: A value that means nothing.
        TypeError: ``vector_store_kwargs`` holds something that the store does not know.
    """
    if unknown := sorted(set(given or {}) - _STORE_OPTIONS):
        raise TypeError(
            f"vector_store_kwargs holds {', '.join(map(str, unknown))}; DiptychVectorStore knows "
            f"{', '.join(sorted(_STORE_OPTIONS))}."
        )
    options = {name: value for name, value in (given or {}).items() if value is not None}
    if "offset" in options:
        options["offset"] = whole("offset", options["offset"])
    if "score_threshold" in options:
        options["score_threshold"] = fraction("score_threshold", options["score_threshold"])
    return options if mmr_threshold is None else {**options, "mmr_threshold": mmr_threshold}


def embedded(
    index: MultimodalIndex, bundle: QueryBundle, query: VectorStoreQuery, name: str
) -> VectorStoreQuery:
    """Return a query with the vector that its mode needs.

    Args:
        index: Its encoders make the vector.
        bundle: The question, in words.
        query: The query without a vector.
        name: Whose vectors it is compared with: "text" or "image".

    Raises:
        InvalidArgument: The question has a picture, which only the default mode takes, or nothing makes
            a vector for it.
    """
    if bundle.image_path:
        raise InvalidArgument(
            f"A question with a picture was asked in the mode {query.mode.value!r}, which is for words. "
            "Leave out vector_store_query_mode=: the default mode takes pictures."
        )
    if query.mode in _OF_WORDS:
        query.mode = VectorStoreQueryMode.TEXT_SEARCH
        return query
    vectors = index.query_vectors(Query(text=bundle.query_str))
    if name not in vectors:
        raise InvalidArgument(
            f"No encoder of the index makes a vector of words for its {name} vectors, which the mode "
            f"{query.mode.value!r} needs. Ask in the default mode."
        )
    query.query_embedding = vectors[name][0].tolist()
    if name != "text":
        query.embedding_field = name
    return query


class RetrieverInModes(MultiModalVectorIndexRetriever):
    """The part of a retriever that asks a vector store in a mode, and leaves the caller's bundle alone."""

    filters: MetadataFilters | None
    node_ids: Sequence[str] | None
    doc_ids: Sequence[str] | None
    _hybrid_top_k: int | None

    def _build_vector_store_query(
        self, query_bundle_with_embeddings: QueryBundle, similarity_top_k: int
    ) -> VectorStoreQuery:
        return VectorStoreQuery(
            query_embedding=query_bundle_with_embeddings.embedding,
            similarity_top_k=similarity_top_k,
            node_ids=list(self.node_ids or []),
            doc_ids=list(self.doc_ids or []),
            query_str=query_bundle_with_embeddings.query_str,
            mode=self._vector_store_query_mode,
            alpha=self._alpha,
            filters=self.filters,
            sparse_top_k=self._sparse_top_k,
            hybrid_top_k=self._hybrid_top_k,
        )

    def _get_nodes_with_embeddings(
        self,
        query_bundle_with_embeddings: QueryBundle,
        similarity_top_k: int,
        vector_store: BasePydanticVectorStore,
    ) -> list[NodeWithScore]:
        query = self._build_vector_store_query(query_bundle_with_embeddings, similarity_top_k)
        return self._build_node_list_from_query_result(vector_store.query(query, **self._kwargs))

    async def _aget_nodes_with_embeddings(
        self,
        query_bundle_with_embeddings: QueryBundle,
        similarity_top_k: int,
        vector_store: BasePydanticVectorStore,
    ) -> list[NodeWithScore]:
        query = self._build_vector_store_query(query_bundle_with_embeddings, similarity_top_k)
        found = await vector_store.aquery(query, **self._kwargs)
        return self._build_node_list_from_query_result(found)

    def _build_node_list_from_query_result(
        self, query_result: VectorStoreQueryResult
    ) -> list[NodeWithScore]:
        nodes = query_result.nodes or []
        scores: Sequence[float | None] = query_result.similarities or [None] * len(nodes)
        return Results(
            NodeWithScore(node=node, score=score) for node, score in zip(nodes, scores, strict=True)
        )
