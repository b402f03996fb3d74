"""What every searching method of the vector store takes besides the query, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypedDict

from langchain_core.documents import Document

from diptych.checks import MOST, at_least_one, shown, whole
from diptych.errors import InvalidArgument
from diptych.filters import Filter
from diptych.types import Weights

__all__ = [
    "MODES",
    "SPACES",
    "Mode",
    "RetrieverOptions",
    "Search",
    "SearchOptions",
    "Space",
    "VectorOptions",
    "Where",
    "check_mode",
    "threshold_of",
]

Space = Literal["text", "image", "cross_modal"]
"""One vector index."""

Mode = Literal["text", "image", "cross_modal", "fused", "lexical"]
"""What is searched: one vector index, all lists fused into one, or words alone."""

SPACES: tuple[Space, ...] = ("text", "image", "cross_modal")

MODES: tuple[Mode, ...] = ("text", "image", "cross_modal", "fused", "lexical")

Where = Filter | Callable[[Document], bool] | None
"""The metadata filter of ``diptych.filters``, or a function, which is called on every document."""


class VectorOptions(TypedDict, total=False):
    """The options of a search by a vector, or by a picture.

    Attributes:
        where_document: What the text must say, in the language of Chroma.
        score_threshold: Only hits with at least this score: that which the method returns, and the
            relevance in [0, 1] where it returns none.
        offset: How many of the best hits are skipped. Pages of ``k`` follow each other.
        fetch_k: For MMR; accepted and not used elsewhere, as other stores do.
        lambda_mult: The same.
    """

    where_document: Mapping[str, Any] | None
    score_threshold: float | None
    offset: int
    fetch_k: int
    lambda_mult: float


class SearchOptions(VectorOptions, total=False):
    """The options of a search by text, picture or both.

    Attributes:
        mode: What is searched; the store's own mode when it is left out.
        weights: In the mode "fused", how much each ranked list counts: "text", "image",
            "cross_modal", "lexical"; 1 when it is not named.
    """

    mode: Mode | None
    weights: Weights | None


class RetrieverOptions(TypedDict, total=False):
    """What ``invoke`` of ``DiptychRetriever`` takes besides the query; see its attributes."""

    k: int
    modalities: Sequence[str]
    filter: Where
    weights: Weights | None
    where_document: Mapping[str, Any] | None
    score_threshold: float | None
    offset: int


_ELSEWHERE = {
    "alpha": "weights={'text': …, 'lexical': …}",
    "conditions": "filter",
    "expr": "filter",
    "fetch_limit": "fetch_k",
    "lambda_value": "lambda_mult",
    "limit": "k",
    "min_score": "score_threshold",
    "n_results": "k",
    "namespace": "DiptychVectorStore(path=, namespace=)",
    "param": "DiptychVectorStore(kind=)",
    "partition_names": "filter",
    "pre_filter": "filter",
    "query_embeddings": "similarity_search_by_vector",
    "query_filter": "filter",
    "query_images": "similarity_search_by_image",
    "ranker_params": "weights",
    "ranker_type": "weights",
    "relevance_score_threshold": "score_threshold",
    "retrieval_mode": "mode",
    "search_filter": "filter",
    "search_params": "DiptychVectorStore(kind=)",
    "search_type": "mode",
    "similarity_threshold": "score_threshold",
    "skip": "offset",
    "threshold": "score_threshold",
    "top_k": "k",
    "vector_name": "space",
    "where": "filter",
}
"""What other stores call an argument, and its name here."""


@dataclass(frozen=True, slots=True)
class Search:
    """The checked options of one search.

    Attributes:
        k: How many hits.
        offset: How many come before them.
        where: A filter or a function.
        where_document: What the text must say, or None.
        mode: What is searched.
        weights: Of the ranked lists, or None.
        threshold: The least score, or None.
    """

    k: int
    offset: int
    where: Where
    where_document: Mapping[str, Any] | None
    mode: Mode
    weights: Weights | None
    threshold: float | None

    @classmethod
    def of(cls, k: Any, where: Where, options: Mapping[str, Any], *, mode: Mode) -> Search:
        """Return the options of a search by what is asked.

        Args:
            k: How many.
            where: A filter or a function.
            options: Those of ``SearchOptions``.
            mode: The mode where they name none.

        Raises:
            TypeError: An argument that is not known, with the one that stands for it here.
            InvalidArgument: A value that cannot be one.
        """
        _refuse_unknown(options, SearchOptions.__optional_keys__)
        mode = options.get("mode") or mode
        check_mode(mode)
        return cls._of(k, where, options, mode=mode)

    @classmethod
    def by_vector(cls, k: Any, where: Where, options: Mapping[str, Any], *, space: Space) -> Search:
        """Return the options of a search by a vector, or in one space; those of ``VectorOptions``."""
        _refuse_unknown(options, VectorOptions.__optional_keys__)
        return cls._of(k, where, options, mode=space)

    @classmethod
    def _of(cls, k: Any, where: Where, options: Mapping[str, Any], *, mode: Mode) -> Search:
        weights = options.get("weights")
        if weights and mode != "fused":
            raise InvalidArgument(
                f"weights= was given in the mode {mode!r}, which searches one list. Pass mode='fused'."
            )
        return cls(
            k=at_least_one("k", k),
            offset=whole("offset", options.get("offset") or 0, least=0),
            where=where,
            where_document=options.get("where_document"),
            mode=mode,
            weights=weights,
            threshold=threshold_of(options.get("score_threshold")),
        )

    @property
    def depth(self) -> int:
        """How many hits are looked for: those that are returned, and those before them."""
        return min(self.k + self.offset, MOST)


def check_mode(mode: Any) -> None:
    """Refuse a mode that there is not.

    Raises:
        InvalidArgument: It is none of ``MODES``.
    """
    if mode not in MODES:
        raise InvalidArgument(
            f"mode={shown(mode)} is unknown; expected one of {', '.join(MODES)}. Pass one of these."
        )


def threshold_of(value: Any) -> float | None:
    """Return the least score that counts, as a ``float``, or None.

    Raises:
        InvalidArgument: It is no number.
    """
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, Real) or value != value:
            raise ValueError
        return float(value)  # an integer may be too large
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"score_threshold={shown(value)} ({type(value).__name__}) was given; expected a number: "
            "scores are from 0 to 1. Pass one such as 0.5."
        ) from None


def _refuse_unknown(options: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in options:
        if name in known:
            continue
        here = "space" if name == "mode" else _ELSEWHERE.get(name)
        advice = f"Here it is {here}." if here else "Leave it out."
        raise TypeError(
            f"DiptychVectorStore does not know the argument {shown(name)} of a search; expected k, filter, "
            f"{', '.join(sorted(known))}, and for vectors space. {advice}"
        )
