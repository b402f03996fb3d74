"""Checks of arguments that several layers make."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex, TypeVar

from diptych.errors import InvalidArgument

__all__ = ["at_least_one", "list_of"]

T = TypeVar("T")


def at_least_one(name: str, value: SupportsIndex) -> int:
    """Return an integer argument as an ``int``; integers of numpy are as good.

    Raises:
        InvalidArgument: It is below 1, or no integer.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(
            f"{name}={value!r} ({type(value).__name__}) was given; expected an integer of at least 1."
        ) from None
    if number < 1:
        raise InvalidArgument(f"{name}={number} was given; expected at least 1.")
    return number


def list_of(name: str, values: Any, kind: type[T] | tuple[type[T], ...], what: str) -> list[T]:
    """Return the values of an argument as a list, after a look at each of them.

    Args:
        name: The name of the argument.
        values: Any iterable, but no string, which would be taken for its characters.
        kind: What each value must be an instance of.
        what: What is expected, in the plural: "documents".

    Raises:
        InvalidArgument: It is one value, no iterable, or holds something else.
    """
    is_one = isinstance(values, str | bytes) or (kind is not object and isinstance(values, kind))
    if is_one or not isinstance(values, Iterable):
        given = "string" if isinstance(values, str) else type(values).__name__
        raise InvalidArgument(f"{name}={_shown(values)} is one {given}; expected a list of {what}.")
    listed = list(values)
    for at, value in enumerate(listed):
        if not isinstance(value, kind):
            raise InvalidArgument(
                f"{name}[{at}] is {_shown(value)}, of type {type(value).__name__}; expected a list of "
                f"{what}."
            )
    return listed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
