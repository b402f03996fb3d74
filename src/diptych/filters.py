"""The metadata filter: one small language, checked once, evaluated in SQL before every search.

::

    {"lang": "en"}                                      equality
    {"year": {"$gte": 2020, "$lt": 2025}}               several operators, all must hold
    {"$or": [{"lang": "en"}, {"tags": {"$contains": "pump"}}]}
    {"$not": {"author.name": {"$in": ["A", "B"]}}}      a nested key, with a dot
    {"$id": ["a", "b"]}                                 documents by id, or one id

A key that a document lacks (or holds as null) satisfies only ``$ne``, ``$nin``, ``{"$exists": False}``
and ``{"$empty": True}``. Numbers compare with numbers, strings with strings (by code point), true and
false are 1 and 0; a comparison across types is never true. Keys and values reach SQL as bound
parameters only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from diptych.errors import FilterError
from diptych.reserved import REF_DOC_ID, is_reserved

__all__ = ["FIELD_COLUMNS", "MAX_DEPTH", "OPERATORS", "Filter", "compile_filter", "fields"]

Filter = Mapping[str, Any]
"""A metadata filter in the language above; an empty one matches everything."""

MAX_DEPTH = 16
"""How deep ``$and``, ``$or`` and ``$not`` may nest."""

FIELD_COLUMNS = "document, name, kind, value"
"""The columns of the table ``field`` that filters read; ``kind`` is what :func:`fields` gives."""

_SCALAR, _LIST, _ELEMENT, _OBJECT = "scalar", "list", "element", "object"
_NUMBER = "typeof(value) IN ('integer', 'real')"
_STRING = "typeof(value) = 'text'"

_Sql = tuple[str, list[Any]]


def fields(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield ``(name, kind, value)`` for everything in metadata that a filter can ask about.

    ``kind`` is "scalar" (a number or a string), "list" or "object" (their canonical JSON), or
    "element" (one scalar of a list). Nulls yield nothing: they are as good as missing.
    """
    for key, value in metadata.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield name, _OBJECT, _canonical(value)
            yield from fields(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, _LIST, _canonical(value)
            for element in value:
                if isinstance(element, str | int | float):
                    yield name, _ELEMENT, _scalar(element)
        elif value is not None:
            yield name, _SCALAR, _scalar(value)


def compile_filter(where: Filter | None) -> tuple[str, list[Any]]:
    """Return an SQL expression over ``documents.key`` and its parameters.

    Raises:
        FilterError: An unknown operator, an operand of the wrong type, or too deep a nesting.
    """
    if where is None:
        return "TRUE", []
    return _group(where, 0)


def _group(where: object, depth: int) -> _Sql:
    if not isinstance(where, Mapping):
        raise FilterError(
            f"A filter is given as {type(where).__name__}; expected a mapping such as "
            '{"lang": "en"} or {"year": {"$gte": 2020}}.'
        )
    if depth > MAX_DEPTH:
        raise FilterError(f"A filter nests deeper than {MAX_DEPTH} levels. Flatten it.")
    terms = []
    for key, operand in where.items():
        if not isinstance(key, str):
            raise FilterError(f"A filter has the key {key!r}; keys are strings.")
        if key in ("$and", "$or", "$not"):
            terms.append(_combine(key, operand, depth))
        elif key == "$id":
            terms.append(_ids(operand))
        elif key.startswith("$"):
            raise FilterError(
                f"Unknown operator {key!r} at the top of a filter; expected a metadata key, $id, "
                "$and, $or or $not."
            )
        else:
            terms.append(_conditions(key, operand))
    return _join(terms, "AND", "TRUE")


def _combine(operator: str, operand: object, depth: int) -> _Sql:
    if operator == "$not" and isinstance(operand, Mapping):
        operand = [operand]
    if not isinstance(operand, Sequence) or isinstance(operand, str):
        raise FilterError(
            f"{operator} takes a list of filters, it was given {type(operand).__name__}."
        )
    terms = [_group(term, depth + 1) for term in operand]
    if operator == "$and":
        return _join(terms, "AND", "TRUE")
    either, parameters = _join(terms, "OR", "FALSE")
    return (either, parameters) if operator == "$or" else (f"NOT ({either})", parameters)


def _ids(operand: object) -> _Sql:
    ids = [operand] if isinstance(operand, str) else _array("$id", "$in", operand)
    for identity in ids:
        _string("$id", "$in", identity)
    # json_each ends a string at NUL, and no id holds one.
    asked = json.dumps([identity for identity in ids if "\0" not in identity])
    return "documents.id IN (SELECT value FROM json_each(?))", [asked]


def _conditions(name: str, operand: object) -> _Sql:
    if is_reserved(name) and name != REF_DOC_ID:
        raise FilterError(
            f"A filter asks for {name[:80]!r}, which is reserved for the adapters of diptych; expected a "
            "key of metadata. Leave it out."
        )
    if not isinstance(operand, Mapping):
        return _eq(name, operand)
    if not operand or not all(isinstance(key, str) and key[:1] == "$" for key in operand):
        raise FilterError(
            f"The filter on {name!r} holds a mapping without operators. To compare a nested value "
            f'write "{name}.key": value; to compare the whole object write {{"$eq": {{...}}}}.'
        )
    terms = []
    for operator, value in operand.items():
        if operator not in OPERATORS:
            raise FilterError(
                f"Unknown operator {operator!r} on {name!r}; known are {', '.join(OPERATORS)}."
            )
        terms.append(OPERATORS[operator](name, value))
    return _join(terms, "AND", "TRUE")


def _join(terms: list[_Sql], word: str, empty: str) -> _Sql:
    # A balanced tree, because SQLite limits the depth of an expression to 1,000.
    if not terms:
        return empty, []
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    left, right = _join(terms[:middle], word, empty), _join(terms[middle:], word, empty)
    return f"({left[0]} {word} {right[0]})", left[1] + right[1]


def _has(condition: str, name: str, *parameters: Any) -> _Sql:
    sql = f"documents.key IN (SELECT document FROM field WHERE name = ? AND {condition})"
    return sql, [name, *parameters]


def _not(term: _Sql) -> _Sql:
    return f"NOT {term[0]}", term[1]


def _eq(name: str, operand: Any) -> _Sql:
    if operand is None:
        return _exists(name, False)
    kind, value = _typed(name, "$eq", operand)
    return _has("kind = ? AND value = ?", name, kind, value)


def _in(name: str, operand: Any) -> _Sql:
    typed = [_typed(name, "$in", value) for value in _array(name, "$in", operand)]
    # json_each ends a string at NUL, so that such strings are compared one by one.
    with_nul = [value for _, value in typed if isinstance(value, str) and "\0" in value]
    typed = [(kind, value) for kind, value in typed if value not in with_nul]
    terms = [
        _has(
            "kind = ? AND value IN (SELECT value FROM json_each(?))", name, kind, json.dumps(values)
        )
        for kind in (_SCALAR, _LIST, _OBJECT)
        if (values := [value for k, value in typed if k == kind])
    ]
    terms += [_eq(name, value) for value in with_nul]
    return _join(terms, "OR", "FALSE")


def _compare(operator: str, symbol: str) -> Callable[[str, Any], _Sql]:
    def compile_comparison(name: str, operand: Any) -> _Sql:
        if not isinstance(operand, str | int | float):
            raise FilterError(
                f"{operator} on {name!r} was given {type(operand).__name__}; "
                "expected a number or a string."
            )
        kind, value = _typed(name, operator, operand)
        comparable = _STRING if isinstance(operand, str) else _NUMBER
        return _has(f"kind = ? AND {comparable} AND value {symbol} ?", name, kind, value)

    return compile_comparison


def _exists(name: str, operand: Any) -> _Sql:
    present = _has("TRUE", name)
    return present if _flag(name, "$exists", operand) else _not(present)


def _empty(name: str, operand: Any) -> _Sql:
    filled = _has(
        "NOT (kind = 'scalar' AND value = '') AND NOT (kind = 'list' AND value = '[]')", name
    )
    return _not(filled) if _flag(name, "$empty", operand) else filled


def _contains(name: str, operand: Any) -> _Sql:
    if not isinstance(operand, str | int | float):
        raise FilterError(
            f"$contains on {name!r} was given {type(operand).__name__}; expected one number or "
            "string. For several use $any or $all."
        )
    _, value = _typed(name, "$contains", operand)
    element = _has("kind = 'element' AND value = ?", name, value)
    if not isinstance(operand, str):
        return element
    return _join([element, _text(name, operand)], "OR", "FALSE")


def _any(name: str, operand: Any) -> _Sql:
    return _join([_contains(name, v) for v in _array(name, "$any", operand)], "OR", "FALSE")


def _all(name: str, operand: Any) -> _Sql:
    # The list must be there, so that "all of nothing" does not match a missing key.
    terms = [_contains(name, v) for v in _array(name, "$all", operand)]
    return _join([_exists(name, True), *terms], "AND", "TRUE")


def _text(name: str, operand: Any) -> _Sql:
    value = _string(name, "$text", operand)
    return _has(f"kind = 'scalar' AND {_STRING} AND instr(value, ?) > 0", name, value)


def _itext(name: str, operand: Any) -> _Sql:
    value = _string(name, "$itext", operand).lower()
    return _has(f"kind = 'scalar' AND {_STRING} AND instr(lowered(value), ?) > 0", name, value)


OPERATORS: dict[str, Callable[[str, Any], _Sql]] = {
    "$eq": _eq,
    "$ne": lambda name, operand: _not(_eq(name, operand)),
    "$gt": _compare("$gt", ">"),
    "$gte": _compare("$gte", ">="),
    "$lt": _compare("$lt", "<"),
    "$lte": _compare("$lte", "<="),
    "$in": _in,
    "$nin": lambda name, operand: _not(_in(name, operand)),
    "$exists": _exists,
    "$empty": _empty,
    "$contains": _contains,
    "$any": _any,
    "$all": _all,
    "$text": _text,
    "$itext": _itext,
}
"""The operators on a key. ``lowered`` is ``str.lower``, which the database connection provides."""


def _typed(name: str, operator: str, operand: Any) -> tuple[str, Any]:
    """Return the kind and the value under which :func:`fields` would have stored the operand."""
    if isinstance(operand, str | int | float):
        if isinstance(operand, float) and not math.isfinite(operand):
            raise FilterError(
                f"{operator} on {name!r} was given {operand}; expected a finite number."
            )
        return _SCALAR, _scalar(operand)
    try:
        if isinstance(operand, Mapping):
            return _OBJECT, _canonical(operand)
        if isinstance(operand, list | tuple):
            return _LIST, _canonical(operand)
    except (TypeError, ValueError, RecursionError) as error:
        raise FilterError(
            f"{operator} on {name!r} was given a value that is not JSON: {error}"
        ) from error
    raise FilterError(
        f"{operator} on {name!r} was given {type(operand).__name__}; expected a JSON value."
    )


def _array(name: str, operator: str, operand: Any) -> list[Any]:
    if not isinstance(operand, list | tuple | set | frozenset):
        raise FilterError(
            f"{operator} on {name!r} was given {type(operand).__name__}; expected a list."
        )
    return list(operand)


def _string(name: str, operator: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise FilterError(
            f"{operator} on {name!r} was given {type(operand).__name__}; expected a string."
        )
    return operand


def _flag(name: str, operator: str, operand: Any) -> bool:
    if operand not in (True, False):
        raise FilterError(f"{operator} on {name!r} was given {operand!r}; expected true or false.")
    return bool(operand)


def _scalar(value: str | float) -> str | int | float:
    """Return what SQLite stores: booleans as 0 and 1, integers beyond 64 bits as floats."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return int(value)
        return math.copysign(float(min(abs(value), 2**1023)), value)
    return value


def _canonical(value: Any) -> str:
    """Return JSON in which equal values have equal text (1, 1.0 and true are equal, as in Python)."""
    return json.dumps(_normal(value), sort_keys=True, allow_nan=False)


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _normal(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    if isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
