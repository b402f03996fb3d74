"""LlamaIndex's metadata filters in the language of diptych, so that they apply before a search.

The meaning is that of LlamaIndex's own ``build_metadata_filter_fn``, with these differences: where
that one raises because a stored value is of another type than the filter's, the two do not match;
groups may be nested; a dot in a key also reaches into nested metadata; and lists are not ordered by
"<" and ">".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from diptych.errors import FilterError
from diptych.filters import Filter

__all__ = ["to_filter"]

_NEVER: dict[str, Any] = {"$or": []}
_ALWAYS: dict[str, Any] = {}
_LONGEST_STRING = 200
"""Of a string given to "in", which LlamaIndex reads as: the stored string is a part of it."""


def to_filter(filters: MetadataFilters | None) -> Filter | None:
    """Return the filter of diptych that admits the same nodes; None when it admits all.

    Raises:
        FilterError: A value with which the operator cannot mean anything.
    """
    if filters is not None and not isinstance(filters, MetadataFilters):
        raise FilterError(
            f"filters was given as {type(filters).__name__}; expected MetadataFilters of LlamaIndex."
        )
    return _group(filters) if filters is not None and filters.filters else None


def _group(filters: MetadataFilters) -> dict[str, Any]:
    if not filters.filters:
        return _ALWAYS
    terms = [
        _group(term) if isinstance(term, MetadataFilters) else _condition(term)
        for term in filters.filters
    ]
    condition = filters.condition or FilterCondition.AND
    return {f"${FilterCondition(condition).value}": terms}


def _condition(term: MetadataFilter) -> dict[str, Any]:
    return _CONDITIONS[FilterOperator(term.operator)](term.key, term.value)


def _simple(operator: str) -> Callable[[str, Any], dict[str, Any]]:
    return lambda key, value: {key: {operator: value}}


def _elements(operator: str) -> Callable[[str, Any], dict[str, Any]]:
    # Python iterates over the characters of a string; so does LlamaIndex.
    return lambda key, value: {key: {operator: list(value) if isinstance(value, str) else value}}


def _equals(key: str, value: Any) -> dict[str, Any]:
    return _NEVER if value is None else {key: {"$eq": value}}


def _differs(key: str, value: Any) -> dict[str, Any]:
    return _ALWAYS if value is None else {key: {"$ne": value}}


def _among(operator: str) -> Callable[[str, Any], dict[str, Any]]:
    def compile_among(key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, str):
            return {key: {operator: value}}
        if len(value) > _LONGEST_STRING:
            raise FilterError(
                f"The filter {operator[1:]!r} on {key!r} was given a string of {len(value)} "
                "characters; expected a list. A string means: any part of it."
            )
        ends = range(len(value) + 1)
        return {key: {operator: sorted({value[i:j] for i in ends for j in ends if i <= j})}}

    return compile_among


_CONDITIONS: dict[FilterOperator, Callable[[str, Any], dict[str, Any]]] = {
    FilterOperator.EQ: _equals,
    FilterOperator.NE: _differs,
    FilterOperator.GT: _simple("$gt"),
    FilterOperator.GTE: _simple("$gte"),
    FilterOperator.LT: _simple("$lt"),
    FilterOperator.LTE: _simple("$lte"),
    FilterOperator.IN: _among("$in"),
    FilterOperator.NIN: _among("$nin"),
    FilterOperator.ANY: _elements("$any"),
    FilterOperator.ALL: _elements("$all"),
    FilterOperator.CONTAINS: _simple("$contains"),
    FilterOperator.TEXT_MATCH: _simple("$text"),
    FilterOperator.TEXT_MATCH_INSENSITIVE: _simple("$itext"),
    FilterOperator.IS_EMPTY: lambda key, _: {key: {"$empty": True}},
}
