"""Checks of arguments that several layers make."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from diptych.errors import InvalidArgument

__all__ = ["at_least_one"]


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
