"""From the structured query that a model writes to a filter, for LangChain's ``SelfQueryRetriever``."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from diptych.checks import shown
from diptych.errors import FilterError
from diptych.filters import Filter

__all__ = ["DiptychTranslator"]

ANYTHING = "*"
"""Asked in place of no words: what the filter admits is wanted, and a blank query finds nothing."""


class DiptychTranslator(Visitor):
    """Translates LangChain's structured queries into filters of ``diptych.filters``.

    ``SelfQueryRetriever`` knows only the stores that its own package names, so it is told::

        SelfQueryRetriever.from_llm(
            model, store, "Notes on pumps.", fields, structured_query_translator=DiptychTranslator()
        )

    ``contain`` asks for an element of a list or a part of a string. ``like`` asks for a part of a
    string, whatever its case; ``%`` stands between several parts. A date is the whole day, also where
    the metadata has a time of that day; dates and times are compared as ISO 8601 strings, so those of
    one key need one time zone. A key that a document lacks satisfies only ``ne``, ``nin`` and ``not``.

    Example:
        >>> from langchain_core.structured_query import Comparison, Comparator, StructuredQuery
        >>> recent = Comparison(comparator=Comparator.GTE, attribute="year", value=2020)
        >>> DiptychTranslator().visit_structured_query(StructuredQuery(query="pumps", filter=recent))
        ('pumps', {'filter': {'year': {'$gte': 2020}}})
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> Filter:
        """Return the filter of ``and``, ``or`` or ``not``; the last holds when no argument does."""
        self._validate_func(operation.operator)
        terms = [argument.accept(self) for argument in operation.arguments]
        return {f"${operation.operator.value}": terms}

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """Return the filter of one comparison.

        Raises:
            FilterError: A value that cannot be compared.
        """
        self._validate_func(comparison.comparator)
        return _COMPARISONS[comparison.comparator](comparison.attribute, comparison.value)

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Any]]:
        """Return the words to search for and the arguments of the search."""
        query, condition = structured_query.query, structured_query.filter
        if condition is None:
            return query, {}
        return query if query.strip() else ANYTHING, {"filter": condition.accept(self)}


def _day(value: Any) -> datetime.date | None:
    """Return the day that a value of LangChain's parser says, if it is one."""
    if not isinstance(value, Mapping) or value.get("type") != "date":
        return None
    try:
        return datetime.date.fromisoformat(value["date"])
    except (KeyError, TypeError, ValueError):
        raise FilterError(
            f"A filter compares with the date {shown(value)}; expected one such as "
            '{"type": "date", "date": "2026-01-31"}. Write it as year, month and day.'
        ) from None


def _spellings(value: Any) -> list[Any]:
    """Return the strings that a time may be stored as, or the value itself."""
    if not isinstance(value, Mapping) or value.get("type") != "datetime":
        return [value]
    text = value.get("datetime")
    try:
        datetime.datetime.fromisoformat(str(text).upper())
    except ValueError:
        raise FilterError(
            f"A filter compares with the time {shown(value)}; expected one such as "
            '{"type": "datetime", "datetime": "2026-01-31T12:00:00"}. Write it in ISO 8601.'
        ) from None
    given = str(text).upper()
    zulu, offset = given.removesuffix("Z"), given.removesuffix("+00:00")
    if zulu != given:
        return [given, f"{zulu}+00:00"]
    return [given, f"{offset}Z"] if offset != given else [given]


def _equal(attribute: str, value: Any) -> Filter:
    day = _day(value)
    if day is not None:
        return {attribute: {"$gte": day.isoformat(), "$lt": _next(day)}}
    spellings = _spellings(value)
    return {attribute: {"$in": spellings} if len(spellings) > 1 else {"$eq": spellings[0]}}


def _ordered(operator: str) -> Callable[[str, Any], Filter]:
    def compare(attribute: str, value: Any) -> Filter:
        day = _day(value)
        if day is None:
            return {attribute: {operator: _spellings(value)[0]}}
        if operator in ("$gt", "$lte"):  # after the day; not after the day
            return {attribute: {"$gte" if operator == "$gt" else "$lt": _next(day)}}
        return {attribute: {operator: day.isoformat()}}

    return compare


def _among(attribute: str, value: Any) -> Filter:
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    plain = [one for one in values if not isinstance(one, Mapping)]
    timed = [_equal(attribute, one) for one in values if isinstance(one, Mapping)]
    return {"$or": [{attribute: {"$in": plain}}, *timed]} if timed else {attribute: {"$in": plain}}


def _like(attribute: str, value: Any) -> Filter:
    parts = [part for part in str(value).split("%") if part]
    if not parts:
        return {attribute: {"$exists": True}}
    return {"$and": [{attribute: {"$itext": part}} for part in parts]}


def _contain(attribute: str, value: Any) -> Filter:
    return {attribute: {"$contains": value}}


def _opposite(of: Callable[[str, Any], Filter]) -> Callable[[str, Any], Filter]:
    return lambda attribute, value: {"$not": of(attribute, value)}


def _next(day: datetime.date) -> str:
    # The last day that there is has no next one; every time of it sorts before this.
    return "9999-12-32" if day == datetime.date.max else (day + datetime.timedelta(1)).isoformat()


_COMPARISONS: dict[Comparator, Callable[[str, Any], Filter]] = {
    Comparator.EQ: _equal,
    Comparator.NE: _opposite(_equal),
    Comparator.GT: _ordered("$gt"),
    Comparator.GTE: _ordered("$gte"),
    Comparator.LT: _ordered("$lt"),
    Comparator.LTE: _ordered("$lte"),
    Comparator.CONTAIN: _contain,
    Comparator.LIKE: _like,
    Comparator.IN: _among,
    Comparator.NIN: _opposite(_among),
}
