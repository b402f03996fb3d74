"""The query modes of a LlamaIndex vector store over an index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from diptych.checks import MOST, at_least_one, fraction, list_of, shown, whole
from diptych.errors import InvalidArgument
from diptych.filters import Filter
from diptych.index import MultimodalIndex, VectorView
from diptych.llama_index.convert import REF_DOC_ID
from diptych.llama_index.filters import all_of, on_text, to_filter
from diptych.retriever import MultimodalRetriever
from diptych.types import ScoredDocument
from diptych.vectors import Vectors, as_row, unit_rows

__all__ = ["restricted_to", "run"]

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


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query, how many documents it asks for, and what it restricts itself to."""

    query: VectorStoreQuery
    top_k: int
    where: Filter | None
    mmr_threshold: Any


def run(
    index: MultimodalIndex, query: VectorStoreQuery, options: Mapping[str, Any]
) -> list[ScoredDocument]:
    """Return what a query finds, best first; higher is better.

    Args:
        index: Where to search.
        query: The query.
        options: ``score_threshold``, ``offset``, ``where_document`` and ``mmr_threshold``; others are
            ignored.

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
    offset = whole("offset", options.get("offset") or 0)
    least = _least(options.get("score_threshold"))
    if not len(index) or _is_blank(query):
        return []
    top_k = min(at_least_one("similarity_top_k", query.similarity_top_k) + offset, MOST)
    where = all_of(
        restricted_to(query.filters, query.node_ids, query.doc_ids),
        on_text(options.get("where_document")),
    )
    threshold = options.get("mmr_threshold", query.mmr_threshold)
    found = _MODES[mode](index, _Asked(query, top_k, where, threshold))[offset:]
    return [one for one in found if one.score >= least]


def _least(value: Any) -> float:
    """Return the least similarity that counts; without one, any does."""
    if value is None:
        return -math.inf
    if isinstance(value, bool) or not isinstance(value, SupportsFloat) or isinstance(value, str):
        raise InvalidArgument(
            f"score_threshold={shown(value)} is of type {type(value).__name__}; expected a number, the least "
            "similarity that counts. Pass one such as 0.5."
        )
    return float(value)


def _is_blank(query: VectorStoreQuery) -> bool:
    """Whether there is nothing to search for: words of white space, or none and no vector either."""
    words = query.query_str
    if not isinstance(words, str) or words.strip():
        return False
    return bool(words) or query.query_embedding is None


def restricted_to(
    filters: MetadataFilters | None,
    node_ids: Sequence[str] | None,
    doc_ids: Sequence[str] | None,
) -> Filter | None:
    """Return the filter of metadata, node ids and source documents, all three.

    An empty list of ids is no restriction: ``VectorStoreIndex`` always passes one.
    """
    if filters is None and not node_ids and not doc_ids:
        return None
    nodes = list_of("node_ids", node_ids or [], str, "ids")
    sources = list_of("doc_ids", doc_ids or [], str, "ids")
    terms = [
        to_filter(filters),
        {"$id": nodes} if nodes else None,
        {REF_DOC_ID: {"$in": sources}} if sources else None,
    ]
    return all_of(*terms)


def _default(index: MultimodalIndex, asked: _Asked) -> list[ScoredDocument]:
    """Search everything and fuse it; without words, or in a named field, by the vector alone.

    The embedding of the query is the vector of its words, so no text model runs.
    """
    query = asked.query
    view = index.text_index
    without_model = view.dim and index.text_encoder is None  # which could not be asked for the rest
    if not query.query_str or query.embedding_field is not None or without_model:
        return _documents(index, _nearest(index, asked))
    vectors = {"text": _vector(view, query)} if view.dim else {}
    if vectors and index.image_index.space == view.space:
        vectors["image"] = vectors["text"]  # one model for both: its text is not encoded again
    retriever = MultimodalRetriever(index=index)
    return retriever.retrieve_documents(
        query.query_str, asked.top_k, where=asked.where, vectors=vectors
    )


def _words(index: MultimodalIndex, asked: _Asked) -> list[ScoredDocument]:
    """Search by words alone; the score is BM25, above 0 and without an upper end."""
    return _documents(index, _match(index, asked, asked.top_k))


def _nearest(index: MultimodalIndex, asked: _Asked) -> Scored:
    view = _view(index, asked.query)
    return _search(view, _vector(view, asked.query), asked.top_k, asked.where)


def _hybrid(index: MultimodalIndex, asked: _Asked) -> list[ScoredDocument]:
    """Blend vectors and words: ``alpha · dense + (1 − alpha) · sparse``, each scaled to [0, 1].

    This is LlamaIndex's relative score fusion. With alpha = 1 or 0 it is one of the two alone.
    """
    query = asked.query
    alpha = 0.5 if query.alpha is None else fraction("alpha", query.alpha)
    top_k = asked.top_k
    depth = at_least_one("sparse_top_k", query.sparse_top_k) if query.sparse_top_k else top_k
    most = at_least_one("hybrid_top_k", query.hybrid_top_k) if query.hybrid_top_k else top_k
    found: dict[str, float] = {}
    if alpha > 0:
        for identity, score in _relative(_nearest(index, asked)):
            found[identity] = alpha * score
    if alpha < 1:
        for identity, score in _relative(_match(index, asked, depth)):
            found[identity] = found.get(identity, 0.0) + (1 - alpha) * score
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return _documents(index, ranked[:most])


def _diverse(index: MultimodalIndex, asked: _Asked) -> list[ScoredDocument]:
    """Choose by LlamaIndex's own maximal marginal relevance among the nearest nodes."""
    query, top_k, threshold = asked.query, asked.top_k, asked.mmr_threshold
    threshold = None if threshold is None else fraction("mmr_threshold", threshold)
    view = _view(index, query)
    vector = _vector(view, query)
    depth = min(max(_MMR_CANDIDATES, 4 * top_k), MOST)
    with index.snapshot():  # what is found is still there when its vectors are read
        ids = [identity for identity, _ in _search(view, vector, depth, asked.where)]
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
    best = [(str(i), float(score)) for i, score in zip(chosen, scores, strict=True)]
    return _documents(index, best)


_MODES: dict[
    VectorStoreQueryMode,
    Callable[[MultimodalIndex, _Asked], list[ScoredDocument]],
] = {
    VectorStoreQueryMode.DEFAULT: _default,
    VectorStoreQueryMode.TEXT_SEARCH: _words,
    VectorStoreQueryMode.SPARSE: _words,
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


def _match(index: MultimodalIndex, asked: _Asked, k: int) -> Scored:
    """Search by words; no model runs."""
    query = asked.query
    if query.query_str is None:
        raise InvalidArgument(f"A query in mode {query.mode!s} needs query_str, and has none.")
    if not query.query_str.strip():
        return []
    lists = index.search(query.query_str, k, modalities=("lexical",), where=asked.where)
    return [(hit.id, hit.score) for hit in lists.get("lexical", [])]


def _documents(index: MultimodalIndex, found: Scored) -> list[ScoredDocument]:
    """Return what was found with its score; a document that was deleted since is left out."""
    stored = {document.id: document for document in index.get([i for i, _ in found])}
    return [ScoredDocument(stored[i], score) for i, score in found if i in stored]


def _relative(found: Scored) -> Scored:
    """Return scores scaled to [0, 1]; all 1 when they are equal."""
    if not found:
        return []
    low, high = min(score for _, score in found), max(score for _, score in found)
    if high == low:
        return [(identity, 1.0) for identity, _ in found]
    return [(identity, (score - low) / (high - low)) for identity, score in found]
