"""Searching an index on behalf of the vector store: one stored document at a time, with a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from inspect import iscoroutinefunction
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import ArrayLike

from diptych.checks import at_least_one, fraction, shown
from diptych.errors import InvalidArgument, VectorError
from diptych.filters import Filter
from diptych.index import MultimodalIndex, VectorView
from diptych.langchain.convert import to_document
from diptych.langchain.options import MODES, SPACES, Mode, Search, Space, Where
from diptych.langchain.where_document import with_text
from diptych.retriever import MultimodalRetriever
from diptych.types import Query
from diptych.vectors import Vectors, as_row, products, unit_rows

__all__ = [
    "MODES",
    "Found",
    "Mode",
    "Space",
    "Where",
    "at_least",
    "diverse",
    "find",
    "find_by_vector",
    "find_diverse",
    "given_vectors",
    "query_vector",
    "relevance",
    "restriction",
    "with_relevance",
    "with_vectors",
]

Found = list[tuple[Document, float]]


def find(
    retriever: MultimodalRetriever,
    query: Query,
    search: Search,
    vectors: Mapping[str, ArrayLike] | None = None,
) -> Found:
    """Return the hits of a search and their scores, best first.

    Raises:
        InvalidArgument: The query cannot reach what is searched.
    """
    index, mode = retriever.index, search.mode
    if mode == "text" and query.has_text and index.text_encoder is not None:
        given = (vectors or {}).get("text")
        vector = query_vector(index, query, "text") if given is None else given
        return find_by_vector(index, vector, search)
    where = restriction(index, search.where, search.where_document)
    if mode == "fused":
        scored = retriever.retrieve_documents(query, search.depth, where=where, vectors=vectors)
        return [(to_document(one.document), one.score) for one in scored[search.offset :]]
    hits = index.search(query, search.depth, modalities=(mode,), where=where, vectors=vectors)
    if mode not in hits and mode != "lexical" and len(_view(index, mode)):
        raise InvalidArgument(
            f"A query with {'a picture' if query.image else 'text'} cannot reach the {mode} "
            "vectors of this index: nothing makes its vector in their space. Give it an encoder "
            "of both, such as OpenClipEncoder, or an aligner; or search another mode."
        )
    found = [(hit.id, hit.score) for hit in hits.get(mode, [])]
    return _with_documents(index, found[search.offset :])


def find_by_vector(index: MultimodalIndex, vector: ArrayLike, search: Search) -> Found:
    """Return the documents that are nearest to a vector of one space, with their scores."""
    view = _view(index, search.mode)
    query = _query(view, vector, search.mode)
    where = restriction(index, search.where, search.where_document)
    (hits,) = view.search(query, search.depth, where=where)
    return _with_documents(index, [(hit.id, hit.score) for hit in hits[search.offset :]])


def find_diverse(
    index: MultimodalIndex, vector: ArrayLike, search: Search, *, fetch_k: int, lambda_mult: float
) -> Found:
    """Return some of the ``fetch_k`` nearest documents, chosen to differ from each other.

    Their scores are inner products with the query. A threshold is one of the relevance, and applies
    before anything is chosen.

    Raises:
        InvalidArgument: ``lambda_mult`` is not in [0, 1], or ``fetch_k`` is below 1.
    """
    lambda_mult, fetch_k = fraction("lambda_mult", lambda_mult), at_least_one("fetch_k", fetch_k)
    space = search.mode
    view = _view(index, space)
    query = _query(view, vector, space)
    where = restriction(index, search.where, search.where_document)
    with index.snapshot():  # what is found is still there when its vectors are read
        (hits,) = view.search(query, max(search.depth, fetch_k), where=where)
        score_of, least = relevance(space), search.threshold
        if least is not None:
            hits = [hit for hit in hits if score_of(hit.score) >= least]
        rows = view.vectors([hit.id for hit in hits])
        chosen = diverse(query[0], rows, search.depth, lambda_mult)[search.offset :]
        return _with_documents(index, [(hits[i].id, hits[i].score) for i in chosen])


def at_least(found: Found, threshold: float | None) -> Found:
    """Return the hits with at least a score; all of them without one."""
    if threshold is None:
        return found
    return [(document, score) for document, score in found if score >= threshold]


def with_vectors(
    index: MultimodalIndex, found: Found, space: Space
) -> list[tuple[Document, Vectors]]:
    """Return documents with their ``(dim,)`` vectors in one space; NaN where they have none there."""
    rows = _view(index, space).vectors([document.id or "" for document, _ in found])
    return [(document, row) for (document, _), row in zip(found, rows, strict=True)]


def query_vector(
    index: MultimodalIndex,
    query: Query,
    space: Space,
    vectors: Mapping[str, ArrayLike] | None = None,
) -> ArrayLike:
    """Return the ``(1, dim)`` vector of a text or a picture in one space; ``vectors`` are made already.

    Raises:
        InvalidArgument: No encoder of the index makes it.
    """
    _view(index, space)
    if vectors and space in vectors:
        return vectors[space]
    if space == "text" and query.text and index.text_encoder is not None:
        return index.text_encoder.encode_query([query.text])
    vector = index.query_vectors(query, vectors=vectors).get(space)
    if vector is None:
        raise InvalidArgument(f"The index has no encoder for this query in its {space} vectors.")
    return vector


def given_vectors(index: MultimodalIndex, query: Query, vector: ArrayLike) -> dict[str, ArrayLike]:
    """Return the vector of a query's text, made elsewhere, for each list that it is searched in."""
    if index.text_encoder is None or (isinstance(vector, Sized) and not len(vector)):
        return {}
    dim, origin = index.text_encoder.dim, "The embedding of the query"
    unit = unit_rows(as_row(vector, dim=dim, origin=origin), rows=1, dim=dim, origin=origin)
    # One model for texts and pictures: its vector reaches both. Among pictures, that of the query's
    # own picture comes first.
    image_encoder: object = index.image_encoder
    is_for_both = image_encoder is index.text_encoder and query.image is None
    return {"text": unit, "image": unit} if is_for_both else {"text": unit}


def diverse(query: Vectors, candidates: Vectors, k: int, lambda_mult: float) -> list[int]:
    """Return the rows of ``candidates`` chosen by maximal marginal relevance, in order.

    Each next row maximises ``λ · sim(query, row) − (1 − λ) · max sim(chosen, row)`` (Carbonell and
    Goldstein 1998, https://doi.org/10.1145/290941.291025): λ = 1 ranks by similarity alone, λ = 0
    looks for what is least like the rows chosen before. Equal values keep the order given.

    Args:
        query: ``(dim,)``.
        candidates: ``(n, dim)``, unit rows.
        k: How many; all of them when there are fewer.
        lambda_mult: λ, in [0, 1].
    """
    relevance_of = products(candidates, query[:, None])[:, 0]  # (n,)
    open_rows = np.ones(len(candidates), bool)
    closest = np.full(len(candidates), -np.inf, np.float32)
    chosen: list[int] = []
    while len(chosen) < min(k, len(candidates)):
        # The first row has nothing to differ from: it is the nearest one.
        penalty = closest if chosen else np.zeros_like(relevance_of)
        weight = lambda_mult if chosen else 1.0
        value = weight * relevance_of - (1.0 - weight) * penalty
        best = int(np.argmax(np.where(open_rows, value, -np.inf)))
        chosen.append(best)
        open_rows[best] = False
        closest = np.maximum(closest, products(candidates, candidates[best, :, None])[:, 0])
    return chosen


def relevance(mode: Mode) -> Callable[[float], float]:
    """Return the function that maps the scores of a mode into [0, 1], keeping their order.

    A fused score is there already. BM25 ``s`` becomes ``s / (1 + s)``, a cosine ``s`` becomes
    ``(s + 1) / 2``. The inner product of the cross-modal index is cut off at ±1.
    """
    if mode == "fused":
        return lambda score: score
    if mode == "lexical":
        return lambda score: max(0.0, score) / (1.0 + max(0.0, score))
    return lambda score: min(1.0, max(0.0, (score + 1.0) / 2.0))


def with_relevance(found: Found, mode: Mode) -> Found:
    """Return hits with their scores in [0, 1]."""
    score_of = relevance(mode)
    return [(document, score_of(score)) for document, score in found]


def restriction(
    index: MultimodalIndex, documents: Where, where_document: Mapping[str, Any] | None = None
) -> Filter | None:
    """Return a filter for the index.

    Args:
        index: Where the documents are.
        documents: A filter, or a function, which is called here, on every stored document.
        where_document: What the text must say, in the language of Chroma.
    """
    if callable(documents):
        # What it returns is true, and would admit everything.
        if iscoroutinefunction(documents) or iscoroutinefunction(type(documents).__call__):
            raise InvalidArgument(
                f"The filter {shown(documents)} is async; expected a function that returns true or false. "
                "Write it with def."
            )
        documents = {"$id": [d.id for d in index.get() if documents(to_document(d))]}
    return with_text(documents, where_document)


def _with_documents(index: MultimodalIndex, scored: Sequence[tuple[str, float]]) -> Found:
    # A document that was deleted since it was found is left out.
    stored = {document.id: document for document in index.get([i for i, _ in scored])}
    return [(to_document(stored[i]), score) for i, score in scored if i in stored]


def _view(index: MultimodalIndex, space: str) -> VectorView:
    if space not in SPACES:
        raise InvalidArgument(
            f"space={shown(space)} is unknown; expected 'text', 'image' or 'cross_modal'. Pass one of these."
        )
    view: VectorView = getattr(index, f"{space}_index")
    return view


def _query(view: VectorView, vector: ArrayLike, space: str) -> Vectors:
    if not view.dim:
        raise InvalidArgument(
            f"The index has no {space} vectors to compare with. Give it an encoder for them."
        )
    origin = f"The query vector for {space!r}"
    try:
        row = as_row(vector, dim=view.dim, origin=origin)
    except VectorError as error:
        raise VectorError(f"{origin} is no array that can be compared: {error}") from error
    return unit_rows(row, rows=1, dim=view.dim, origin=origin)
