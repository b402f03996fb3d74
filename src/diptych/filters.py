"""The filter: one small language, checked once, evaluated in SQL before every search.

::

    {"lang": "en"}                                      equality
    {"year": {"$gte": 2020, "$lt": 2025}}               several operators, all must hold
    {"$or": [{"lang": "en"}, {"tags": {"$contains": "pump"}}]}
    {"$not": {"author.name": {"$in": ["A", "B"]}}}      a nested key, with a dot
    {"$id": ["a", "b"]}                                 documents by id, or one id
    {"$text": {"$contains": "pump"}}                    what the text says; see ``filter_text``

A key that a document lacks (or holds as null) satisfies only ``$ne``, ``$nin``, ``$not_contains``,
``{"$exists": False}`` and ``{"$empty": True}``. Numbers compare with numbers, strings with strings (by
code point), true and false are 1 and 0; a comparison across types is never true. Keys and values reach
SQL as bound parameters only.

A filter has at most 1,000 conditions and a million values: SQLite takes quadratic time for the first, and a
list of values is one lookup in a set. Equalities of one key that ``$or`` joins, and inequalities that
``$and`` joins, are such a list, however they are written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diptych.checks import shown, text_fault
from diptych.errors import FilterError
from diptych.filter_text import TEXT, text_condition
from diptych.reserved import REF_DOC_ID, is_reserved

__all__ = [
    "FIELD_COLUMNS",
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_VALUES",
    "OPERATORS",
    "Filter",
    "compile_filter",
    "fields",
]

Filter = Mapping[str, Any]
"""A filter in the language above; an empty one matches everything."""

MAX_DEPTH = 16
"""How deep ``$and``, ``$or`` and ``$not`` may nest."""

MAX_CONDITIONS = 1_000
"""How many conditions a filter may have once lists of values are put together."""

MAX_VALUES = 1_000_000
"""How many keys and values a filter may hold in all."""

FIELD_COLUMNS = "document, name, kind, value"
"""The columns of the table ``field`` that filters read; ``kind`` is what :func:`fields` gives."""

_SCALAR, _LIST, _ELEMENT, _OBJECT = "scalar", "list", "element", "object"
_NUMBER = "typeof(value) IN ('integer', 'real')"
_STRING = "typeof(value) = 'text'"

_FIELD = "documents.key IN (SELECT document FROM field"
_MAX_LEVELS = 100
"""How deep mappings and lists may nest in a filter, those of its operands included."""
_PLAIN = frozenset((str, int, float, bool, type(None)))
_COMPARED = (str, int, float)
_MAPPING = (
    dict,
    Mapping,
)  # the concrete one first: asking the abstract one takes ten times as long
_CONTAINERS = (dict, list, tuple, set, frozenset, Mapping)

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
    """Return an SQL expression over the table ``documents``, and its parameters.

    Raises:
        FilterError: An unknown operator, an operand of the wrong type, too deep a nesting, or too large.
    """
    if where is None:
        return "TRUE", []
    _check_size(where)
    sql, parameters = _group(where, 0)
    _check_conditions(sql.count(_FIELD) + sql.count(TEXT))
    return sql, parameters


def _check_size(where: object) -> None:
    """Refuse what is too large before anything is made of it, and a mapping that contains itself."""
    left, levels = MAX_VALUES, 0
    level: list[Any] = [where]
    while level and levels < _MAX_LEVELS:
        levels += 1
        inside: list[Any] = []
        for value in level:
            if not isinstance(value, _CONTAINERS):
                continue
            left -= len(value)
            if left < 0:
                break
            values = value.values() if isinstance(value, _MAPPING) else value
            inside += [v for v in values if type(v) not in _PLAIN]
        level = inside if left >= 0 else []
    if left < 0:
        raise FilterError(
            f"A filter holds more than {MAX_VALUES:,} keys and values; at most that many are compared. "
            "Filter in several calls, or by a value that they share."
        )
    if level:
        raise FilterError(
            f"A filter nests deeper than {_MAX_LEVELS} levels, or contains itself; expected at most "
            f"{MAX_DEPTH} of $and, $or and $not. Flatten it."
        )


def _check_conditions(count: int) -> None:
    if count > MAX_CONDITIONS:
        raise FilterError(
            f"A filter has {count:,} conditions; at most {MAX_CONDITIONS:,} are evaluated. Write several "
            'values of one key as {key: {"$in": [...]}}, or filter in several calls.'
        )


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise FilterError(f"A filter nests deeper than {MAX_DEPTH} levels. Flatten it.")


def _group(where: object, depth: int) -> _Sql:
    if not isinstance(where, Mapping):
        raise FilterError(
            f"A filter is given as {type(where).__name__}; expected a mapping such as "
            '{"lang": "en"} or {"year": {"$gte": 2020}}.'
        )
    _check_depth(depth)
    terms = []
    for key, operand in where.items():
        if not isinstance(key, str):
            raise FilterError(f"A filter has the key {shown(key)}; keys are strings.")
        if key in ("$and", "$or", "$not"):
            terms.append(_combine(key, operand, depth, _group))
        elif key == "$id":
            terms.append(_ids(operand))
        elif key == "$text":
            terms.append(_of_text(operand, depth))
        elif key.startswith("$"):
            raise FilterError(
                f"Unknown operator {shown(key)} at the top of a filter; expected a metadata key, $id, "
                "$text, $and, $or or $not."
            )
        else:
            terms.append(_conditions(_string("A filter", "as a key", key), operand))
        _check_conditions(len(terms))
    return _join(terms, "AND", "TRUE")


def _of_text(where: object, depth: int) -> _Sql:
    if not isinstance(where, Mapping) or not where:
        raise FilterError(
            f"$text was given {shown(where)}; expected conditions such as "
            '{"$text": {"$contains": "pump"}}.'
        )
    _check_depth(depth)
    terms = []
    for operator, operand in where.items():
        if operator in ("$and", "$or", "$not"):
            terms.append(_combine(operator, operand, depth, _of_text))
        else:
            terms.append(text_condition(operator, operand))
        _check_conditions(len(terms))
    return _join(terms, "AND", "TRUE")


def _combine(
    operator: str, operand: object, depth: int, of_each: Callable[[object, int], _Sql]
) -> _Sql:
    if operator == "$not" and isinstance(operand, Mapping):
        operand = [operand]
    if not isinstance(operand, Sequence) or isinstance(operand, str):
        raise FilterError(
            f"{operator} takes a list of filters, it was given {type(operand).__name__}."
        )
    listed = _as_lists(operand, "$and" if operator == "$and" else "$or")
    _check_conditions(len(listed))
    terms = [of_each(term, depth + 1) for term in listed]
    if operator == "$and":
        return _join(terms, "AND", "TRUE")
    either, parameters = _join(terms, "OR", "FALSE")
    return (either, parameters) if operator == "$or" else (f"NOT ({either})", parameters)


def _as_lists(terms: Sequence[Any], operator: str) -> list[Any]:
    """Return filters in which those that compare one key with one value each are one with a list.

    ``$or`` of ``{"a": 1}`` and ``{"a": {"$in": [2]}}`` is ``{"a": {"$in": [1, 2]}}``; ``$and`` of
    ``{"a": {"$ne": 1}}`` and ``{"a": {"$nin": [2]}}`` is ``{"a": {"$nin": [1, 2]}}``.
    """
    one, many = ("$eq", "$in") if operator == "$or" else ("$ne", "$nin")
    lists: dict[str, list[Any]] = {}
    others = []
    for term in terms:
        if operator == "$or" and isinstance(term, _MAPPING) and len(term) == 1 and "$id" in term:
            ids = term["$id"]
            lists.setdefault("$id", []).extend(
                [ids] if isinstance(ids, str) else _array("$id", "$in", ids)
            )
            continue
        name, values = _compared(term, one, many)
        if name is None:
            others.append(term)
        else:
            lists.setdefault(name, []).extend(values)
    merged = [{name: values if name == "$id" else {many: values}} for name, values in lists.items()]
    return [*merged, *others]


def _compared(term: Any, one: str, many: str) -> tuple[str | None, Sequence[Any]]:
    """Return the key and the values that a filter compares it with, if it does nothing else."""
    if not isinstance(term, _MAPPING) or len(term) != 1:
        return None, ()
    ((name, operand),) = term.items()
    if not isinstance(name, str) or name[:1] == "$":
        return None, ()
    if isinstance(operand, _COMPARED):
        return (name, [operand]) if one == "$eq" else (None, ())
    if isinstance(operand, _MAPPING) and len(operand) == 1:
        ((operator, value),) = operand.items()
        if operator == many and isinstance(value, list | tuple):
            return name, value
        if operator == one and isinstance(value, _COMPARED):
            return name, [value]
    return None, ()


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
        return _eq(name, _plain(operand))
    if not operand or not all(isinstance(key, str) and key[:1] == "$" for key in operand):
        raise FilterError(
            f"The filter on {shown(name)} holds a mapping without operators. To compare a nested value "
            f'write "{shown(name)[1:-1]}.key": value; to compare the whole object write {{"$eq": {{...}}}}.'
        )
    terms = []
    for operator, value in operand.items():
        if operator not in OPERATORS:
            raise FilterError(
                f"Unknown operator {shown(operator)} on {shown(name)}; known are {', '.join(OPERATORS)}."
            )
        terms.append(OPERATORS[operator](name, _plain(value)))
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
    return f"{_FIELD} WHERE name = ? AND {condition})", [name, *parameters]


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
    with_nul = {value for _, value in typed if isinstance(value, str) and "\0" in value}
    typed = [(kind, value) for kind, value in typed if value not in with_nul]
    terms = [
        _has(
            "kind = ? AND value IN (SELECT value FROM json_each(?))", name, kind, json.dumps(values)
        )
        for kind in (_SCALAR, _LIST, _OBJECT)
        if (values := [value for k, value in typed if k == kind])
    ]
    _check_conditions(len(with_nul))
    terms += [_eq(name, value) for value in sorted(with_nul)]
    return _join(terms, "OR", "FALSE")


def _compare(operator: str, symbol: str) -> Callable[[str, Any], _Sql]:
    def compile_comparison(name: str, operand: Any) -> _Sql:
        if not isinstance(operand, str | int | float):
            raise FilterError(
                f"{operator} on {shown(name)} was given {type(operand).__name__}; "
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
            f"$contains on {shown(name)} was given {type(operand).__name__}; expected one number or "
            "string. For several use $any or $all."
        )
    _, value = _typed(name, "$contains", operand)
    element = _has("kind = 'element' AND value = ?", name, value)
    if not isinstance(operand, str):
        return element
    return _join([element, _text(name, operand)], "OR", "FALSE")


def _not_contains(name: str, operand: Any) -> _Sql:
    return _not(_contains(name, operand))


def _any(name: str, operand: Any) -> _Sql:
    values = _array(name, "$any", operand)
    _check_conditions(len(values))
    return _join([_contains(name, v) for v in values], "OR", "FALSE")


def _all(name: str, operand: Any) -> _Sql:
    # The list must be there, so that "all of nothing" does not match a missing key.
    values = _array(name, "$all", operand)
    _check_conditions(len(values))
    terms = [_contains(name, v) for v in values]
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
    "$not_contains": _not_contains,
    "$any": _any,
    "$all": _all,
    "$text": _text,
    "$itext": _itext,
}
"""The operators on a key. ``lowered`` is ``str.lower``, which the database connection provides."""


def _typed(name: str, operator: str, operand: Any) -> tuple[str, Any]:
    """Return the kind and the value under which :func:`fields` would have stored the operand."""
    if isinstance(operand, str):
        return _SCALAR, _string(name, operator, operand)
    if isinstance(operand, int | float):
        if isinstance(operand, float) and not math.isfinite(operand):
            raise FilterError(
                f"{operator} on {shown(name)} was given {operand}; expected a finite number."
            )
        return _SCALAR, _scalar(operand)
    try:
        if isinstance(operand, Mapping):
            return _OBJECT, _canonical(operand)
        if isinstance(operand, list | tuple):
            return _LIST, _canonical(operand)
    except (TypeError, ValueError, RecursionError) as error:
        raise FilterError(
            f"{operator} on {shown(name)} was given a value that is not JSON: {error}"
        ) from error
    raise FilterError(
        f"{operator} on {shown(name)} was given {type(operand).__name__}; expected a JSON value."
    )


def _array(name: str, operator: str, operand: Any) -> list[Any]:
    if not isinstance(operand, list | tuple | set | frozenset):
        raise FilterError(
            f"{operator} on {shown(name)} was given {type(operand).__name__}; expected a list."
        )
    return [_plain(value) for value in operand]


def _plain(operand: Any) -> Any:
    """Return a scalar of numpy as metadata keeps it, a number of Python."""
    return operand.item() if isinstance(operand, np.generic) else operand


def _string(name: str, operator: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise FilterError(
            f"{operator} on {shown(name)} was given {type(operand).__name__}; expected a string."
        )
    if fault := text_fault(operand):
        raise FilterError(
            f"{operator} on {shown(name)} was given {shown(operand)}, with {fault}; expected a string that "
            "can be stored. Decode what it comes from with errors='replace'."
        )
    return operand


def _flag(name: str, operator: str, operand: Any) -> bool:
    if not isinstance(operand, int) or operand not in (0, 1):
        raise FilterError(
            f"{operator} on {shown(name)} was given {shown(operand)}; expected true or false."
        )
    return bool(operand)


def _scalar(value: str | float) -> str | int | float:
    """Return what SQLite stores: booleans as 0 and 1, integers beyond 64 bits as floats."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return int(value)
        beyond = float(min(abs(value), 2**1023))
        return beyond if value > 0 else -beyond
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
