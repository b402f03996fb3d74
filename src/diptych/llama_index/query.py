"""The query modes of a LlamaIndex vector store over an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from diptych.checks import MOST, at_least_one, fraction, list_of, shown
from diptych.errors import InvalidArgument
from diptych.filters import Filter
from diptych.index import MultimodalIndex, VectorView
from diptych.llama_index.convert import REF_DOC_ID
from diptych.llama_index.filters import to_filter
from diptych.vectors import Vectors, as_row, unit_rows

__all__ = ["Scored", "restricted_to", "restriction", "run"]

Scored = list[tuple[str, float]]
"""Ids of documents with their similarity, best first."""

_FIELDS = {
    None: "text_index",
    "text": "text_index",
    "image": "image_index",
    "cross_modal": "cross_modal_index",
}
_MMR_CANDIDATES = 100
"""MMR chooses among at least so many of the nearest nodes."""


def run(index: MultimodalIndex, query: VectorStoreQuery, options: Mapping[str, Any]) -> Scored:
    """Return what a query finds, best first; higher is better.

    Raises:
        InvalidArgument: A mode that is not served, or a query without what its mode needs.
    """
    mode = next((mode for mode in _MODES if mode == query.mode), None)
    if mode is None:
        served = ", ".join(served.value for served in _MODES)
        asked = getattr(query.mode, "value", query.mode)
        raise InvalidArgument(
            f"DiptychVectorStore does not serve the query mode {shown(asked)}; it serves {served}. Pass one "
            "of these."
        )
    if not len(index):
        return []
    return _MODES[mode](index, query, options)


def restriction(query: VectorStoreQuery) -> Filter | None:
    """Return what a query restricts itself to; see :func:`restricted_to`."""
    return restricted_to(query.filters, query.node_ids, query.doc_ids)


def restricted_to(
    filters: MetadataFilters | None,
    node_ids: Sequence[str] | None,
    doc_ids: Sequence[str] | None,
) -> Filter | None:
    """Return the filter of metadata, node ids and source documents, all three.

    An empty list of ids is no restriction: ``VectorStoreIndex`` always passes one.
    """
    nodes = list_of("node_ids", node_ids or [], str, "ids")
    sources = list_of("doc_ids", doc_ids or [], str, "ids")
    terms = [
        to_filter(filters),
        {"$id": nodes} if nodes else None,
        {REF_DOC_ID: {"$in": sources}} if sources else None,
    ]
    given = [term for term in terms if term]
    return {"$and": given} if given else None


def _nearest(index: MultimodalIndex, query: VectorStoreQuery, _: Mapping[str, Any]) -> Scored:
    view = _view(index, query)
    return _search(view, _vector(view, query), query.similarity_top_k, restriction(query))


def _words(index: MultimodalIndex, query: VectorStoreQuery, _: Mapping[str, Any]) -> Scored:
    return _match(index, query, query.similarity_top_k)


def _hybrid(index: MultimodalIndex, query: VectorStoreQuery, _: Mapping[str, Any]) -> Scored:
    """Blend vectors and words: ``alpha · dense + (1 − alpha) · sparse``, each scaled to [0, 1].

    This is LlamaIndex's relative score fusion. With alpha = 1 or 0 it is one of the two alone.
    """
    alpha = 0.5 if query.alpha is None else fraction("alpha", query.alpha)
    asked = at_least_one("similarity_top_k", query.similarity_top_k)
    depth = at_least_one("sparse_top_k", query.sparse_top_k) if query.sparse_top_k else asked
    most = at_least_one("hybrid_top_k", query.hybrid_top_k) if query.hybrid_top_k else asked
    found: dict[str, float] = {}
    if alpha > 0:
        for identity, score in _relative(_nearest(index, query, {})):
            found[identity] = alpha * score
    if alpha < 1:
        for identity, score in _relative(_match(index, query, depth)):
            found[identity] = found.get(identity, 0.0) + (1 - alpha) * score
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return ranked[:most]


def _diverse(index: MultimodalIndex, query: VectorStoreQuery, options: Mapping[str, Any]) -> Scored:
    """Choose by LlamaIndex's own maximal marginal relevance among the nearest nodes."""
    top_k = at_least_one("similarity_top_k", query.similarity_top_k)
    threshold = options.get("mmr_threshold", query.mmr_threshold)
    threshold = None if threshold is None else fraction("mmr_threshold", threshold)
    view = _view(index, query)
    vector = _vector(view, query)
    depth = min(max(_MMR_CANDIDATES, 4 * top_k), MOST)
    with index.snapshot():  # what is found is still there when its vectors are read
        ids = [identity for identity, _ in _search(view, vector, depth, restriction(query))]
        candidates = view.vectors(ids)
    if not ids:
        return []
    scores, chosen = get_top_k_mmr_embeddings(
        vector[0].tolist(),
        candidates.tolist(),
        similarity_top_k=top_k,
        embedding_ids=ids,
        mmr_threshold=threshold,
    )
    return [(str(i), float(score)) for i, score in zip(chosen, scores, strict=True)]


_MODES: dict[
    VectorStoreQueryMode,
    Callable[[MultimodalIndex, VectorStoreQuery, Mapping[str, Any]], Scored],
] = {
    VectorStoreQueryMode.DEFAULT: _nearest,
    VectorStoreQueryMode.TEXT_SEARCH: _words,
    VectorStoreQueryMode.HYBRID: _hybrid,
    VectorStoreQueryMode.MMR: _diverse,
}


def _view(index: MultimodalIndex, query: VectorStoreQuery) -> VectorView:
    if not isinstance(query.embedding_field, str | None) or query.embedding_field not in _FIELDS:
        raise InvalidArgument(
            f"embedding_field={shown(query.embedding_field)} is unknown; expected 'text' (the default), "
            "'image' or 'cross_modal'. Pass one of these."
        )
    view: VectorView = getattr(index, _FIELDS[query.embedding_field])
    return view


def _vector(view: VectorView, query: VectorStoreQuery) -> Vectors:
    if query.query_embedding is None:
        raise InvalidArgument(
            f"A query in mode {query.mode!s} needs query_embedding, and has none. Ask through an "
            "index or a retriever, which embed the question."
        )
    origin = "The embedding of the query"
    row = as_row(query.query_embedding, dim=view.dim, origin=origin)
    return unit_rows(row, rows=1, dim=view.dim, origin=origin)


def _search(view: VectorView, vector: Vectors, k: int, where: Filter | None) -> Scored:
    return [(hit.id, hit.score) for hit in view.search(vector, k, where=where)[0]]


def _match(index: MultimodalIndex, query: VectorStoreQuery, k: int) -> Scored:
    """Search by words. The text vector that this needs not is given, so that no model runs."""
    if not query.query_str:
        raise InvalidArgument(f"A query in mode {query.mode!s} needs query_str, and has none.")
    dim = index.text_encoder.dim if index.text_encoder else 0
    unused = {"text": np.zeros((1, dim), np.float32)} if dim else None
    lists = index.search(
        query.query_str,
        k,
        modalities=("text",),
        where=restriction(query),
        vectors=unused,
    )
    return [(hit.id, hit.score) for hit in lists.get("lexical", [])]


def _relative(found: Scored) -> Scored:
    """Return scores scaled to [0, 1]; all 1 when they are equal."""
    if not found:
        return []
    low, high = min(score for _, score in found), max(score for _, score in found)
    if high == low:
        return [(identity, 1.0) for identity, _ in found]
    return [(identity, (score - low) / (high - low)) for identity, score in found]
