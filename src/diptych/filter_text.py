"""Conditions of a filter on the text of documents: ``{"$text": {"$contains": "pump"}}``.

::

    {"$text": {"$contains": "pump"}}                    these characters, anywhere, with case
    {"$text": {"$icontains": "PUMP"}}                   without case
    {"$text": {"$regex": "pump(s|ing)"}}                a pattern of Python's ``re``, found anywhere
    {"$text": {"$or": [{"$contains": "pump"}, {"$not_contains": "valve"}]}}

Each has an opposite: ``$not_contains``, ``$not_icontains``, ``$not_regex``. A document without text satisfies
the opposites alone. Characters are compared by code point; ``%`` and ``_`` are characters like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from diptych.checks import shown, text_fault
from diptych.errors import FilterError

__all__ = ["MAX_PATTERN", "TEXT", "TEXT_OPERATORS", "compiled", "text_condition"]

MAX_PATTERN = 1_000
"""How many characters a pattern may have."""

TEXT = "documents.text"
"""What the conditions read: NULL for a document without text."""


def text_condition(operator: str, operand: Any) -> tuple[str, list[Any]]:
    """Return one condition on the text as SQL that is true or false, never NULL, and its parameters.

    Raises:
        FilterError: An unknown operator, an operand that is not a string, or a pattern that cannot be used.
    """
    if operator not in TEXT_OPERATORS:
        raise FilterError(
            f"Unknown operator {shown(operator)} on $text; known are {', '.join(TEXT_OPERATORS)}, $and, "
            "$or and $not."
        )
    if not isinstance(operand, str):
        raise FilterError(
            f"{operator} on $text was given {type(operand).__name__}; expected a string. For several write "
            f'{{"$text": {{"$or": [{{"{operator}": "..."}}, ...]}}}}.'
        )
    if fault := text_fault(operand):
        raise FilterError(
            f"{operator} on $text was given {shown(operand)}, with {fault}; expected a string that can be "
            "stored. Decode what it comes from with errors='replace'."
        )
    condition, prepared = TEXT_OPERATORS[operator]
    return condition, [prepared(operand)]


@lru_cache(maxsize=1_024)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of ``re``, ready to be searched.

    Raises:
        FilterError: It is too long, or not a pattern.
    """
    if len(pattern) > MAX_PATTERN:
        raise FilterError(
            f"A pattern on $text has {len(pattern):,} characters: {shown(pattern)}; expected at most "
            f"{MAX_PATTERN:,}. Join several conditions with $or."
        )
    try:
        return re.compile(pattern)
    except (re.error, ValueError, OverflowError, RecursionError, Warning) as error:
        raise FilterError(
            f"The pattern {shown(pattern)} on $text cannot be used: {error}. Expected the syntax of Python's "
            "re; put a backslash before a character that is meant as such."
        ) from error


def _pattern(operand: str) -> str:
    return compiled(operand).pattern


_CONTAINS = f"ifnull(instr({TEXT}, ?), 0) > 0"
_ICONTAINS = f"ifnull(instr(lowered({TEXT}), ?), 0) > 0"
_REGEX = f"matched(?, {TEXT})"

TEXT_OPERATORS: dict[str, tuple[str, Callable[[str], str]]] = {
    "$contains": (_CONTAINS, str),
    "$not_contains": (f"NOT ({_CONTAINS})", str),
    "$icontains": (_ICONTAINS, str.lower),
    "$not_icontains": (f"NOT ({_ICONTAINS})", str.lower),
    "$regex": (_REGEX, _pattern),
    "$not_regex": (f"NOT {_REGEX}", _pattern),
}
"""The operators. ``lowered`` and ``matched`` are functions that the database connection provides."""
