"""LlamaIndex's metadata filters in the language of diptych, so that they apply before a search.

The meaning is that of LlamaIndex's own ``build_metadata_filter_fn``, with these differences: where
that one raises because a stored value is of another type than the filter's, the two do not match;
groups may be nested; a dot in a key also reaches into nested metadata; and lists are not ordered by
"<" and ">".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from diptych.checks import shown
from diptych.errors import FilterError
from diptych.filters import MAX_DEPTH, Filter

__all__ = ["all_of", "on_text", "to_filter"]

_E = TypeVar("_E", bound=Enum)

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


def on_text(where_document: Any) -> Filter | None:
    """Return the filter of a condition on the text, as Chroma writes it; None when there is none."""
    return {"$text": where_document} if where_document is not None else None


def all_of(*filters: Filter | None) -> Filter | None:
    """Return the filter that admits what all of some admit; None when that is everything."""
    given = [one for one in filters if one]
    return {"$and": given} if len(given) > 1 else next(iter(given), None)


def _group(filters: MetadataFilters, depth: int = 0) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise FilterError(
            f"MetadataFilters nest deeper than {MAX_DEPTH} levels, or contain themselves; expected at most "
            "that many. Flatten them."
        )
    if not filters.filters:
        return _ALWAYS
    terms = [
        _group(term, depth + 1) if isinstance(term, MetadataFilters) else _condition(term)
        for term in filters.filters
    ]
    condition = _member(FilterCondition, filters.condition or FilterCondition.AND, "the condition")
    return {f"${condition.value}": terms}


def _condition(term: MetadataFilter) -> dict[str, Any]:
    if not isinstance(term, MetadataFilter) or not isinstance(term.key, str):
        raise FilterError(
            f"A filter of LlamaIndex is or has the key {shown(getattr(term, 'key', term))}; expected "
            "MetadataFilter with a string as key. Pass one."
        )
    operator = _member(FilterOperator, term.operator, "the operator")
    return _CONDITIONS[operator](term.key, term.value)


def _member(kind: type[_E], value: Any, what: str) -> _E:
    """Return a member of an enumeration. pydantic checks it when it is given, and not when it is assigned."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value in [member.value for member in kind]:
        return kind(value)
    raise FilterError(
        f"A filter of LlamaIndex has {what} {shown(value)}; expected one of "
        f"{', '.join(str(member.value) for member in kind)}. Pass one of these."
    )


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
