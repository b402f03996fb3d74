"""Checks of arguments that several layers make, and how values are shown in messages."""

from __future__ import annotations

import math
import operator
import os
import re
import reprlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

from diptych.errors import InvalidArgument

__all__ = [
    "MOST",
    "WrongType",
    "at_least_one",
    "checked_path",
    "checked_settings",
    "cut",
    "fraction",
    "is_single",
    "list_of",
    "seconds",
    "shown",
    "text_fault",
    "whole",
]

T = TypeVar("T")


class WrongType(InvalidArgument, TypeError):
    """An argument is of a type with which the call cannot mean anything."""


MOST = 2**63 - 1
"""The largest integer that SQLite stores; nothing can be counted beyond it."""

PATH_BYTES = 3_900
"""How long a path may be. Systems take 4,096 bytes, with the names that an index puts under it."""

NAME_BYTES = 255
"""How long one name of a path may be, on nearly every file system."""

SETTINGS_CHARS = 1 << 20
"""How many characters the settings of an index may have together."""


def whole(name: str, value: SupportsIndex, *, least: int = 0, most: int = MOST) -> int:
    """Return an integer argument as an ``int``; integers of numpy are as good, true and false are none.

    Raises:
        InvalidArgument: It is no integer, or not from ``least`` to ``most``.
    """
    if type(value) is int and least <= value <= most:
        return value
    at_most = f"at most {most:,}" if most < MOST else "below 2^63"
    expected = f"expected an integer of at least {least:,} and {at_most}"
    try:
        if isinstance(value, bool) or type(value).__name__ == "bool_":
            raise TypeError("a truth value")
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(
            f"{name}={shown(value)} ({type(value).__name__}) was given; {expected}. Pass a number such as "
            f"{max(least, 10)}."
        ) from None
    if number < least:
        raise InvalidArgument(f"{name}={shown(number)} was given; expected at least {least}.")
    if number > most:
        raise InvalidArgument(f"{name}={shown(number)} was given; expected an integer {at_most}.")
    return number


def at_least_one(name: str, value: SupportsIndex) -> int:
    """Return an integer argument as an ``int``.

    Raises:
        InvalidArgument: It is below 1 or beyond 64 bits, or no integer.
    """
    return whole(name, value, least=1)


def fraction(name: str, value: Any) -> float:
    """Return a share of a whole as a ``float``.

    Raises:
        InvalidArgument: It is no number from 0 to 1; NaN is none, nor are true and false.
    """
    try:
        if isinstance(value, bool | str) or type(value).__name__ == "bool_" or not 0 <= value <= 1:
            raise ValueError
        return float(value)
    except Exception:
        raise InvalidArgument(
            f"{name}={shown(value)} ({type(value).__name__}) was given; expected a number from 0 to 1. Pass "
            "one such as 0.5."
        ) from None


def seconds(name: str, value: Any) -> float:
    """Return how long to wait, in seconds, as a ``float``.

    Raises:
        InvalidArgument: It is no number, negative, NaN, or longer than a thread can wait.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= threading.TIMEOUT_MAX or math.isnan(value):
        raise InvalidArgument(
            f"{name}={shown(value)} ({type(value).__name__}) was given; expected a number of seconds, at "
            f"least 0 and at most {threading.TIMEOUT_MAX:.0f}. Pass 0 to not wait at all."
        )
    return float(value)


def text_fault(value: str) -> str:
    """Return in words why a string cannot be stored as UTF-8; empty when it can."""
    if value.isascii():
        return ""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"half of a surrogate pair at position {error.start:,}, which is no text"
    return ""


def checked_path(name: str, value: Any) -> Path:
    """Return a path that the system can be asked for.

    Raises:
        InvalidArgument: It is no path, holds NUL or half of a surrogate pair, or is too long.
    """
    try:
        path = Path(value)
        raw = os.fsencode(path)
        fault = "the character NUL" if b"\0" in raw else ""
        if len(raw) > PATH_BYTES or any(
            len(part) > NAME_BYTES for part in raw.split(os.sep.encode())
        ):
            fault = f"{len(raw):,} bytes"
    except UnicodeEncodeError as error:
        fault = f"half of a surrogate pair at position {error.start:,}"
    except TypeError as error:
        raise WrongType(
            f"{name}={shown(value)} is of type {type(value).__name__}; expected a path, as a str or an "
            "os.PathLike such as pathlib.Path. Pass one."
        ) from error
    if fault:
        raise InvalidArgument(
            f"{name}={shown(value)} has {fault}; expected a path without NUL, of at most "
            f"{PATH_BYTES:,} bytes and {NAME_BYTES} for each name in it. Pass another place."
        )
    return path


def checked_settings(settings: Any) -> dict[str, str]:
    """Return a copy of settings: words by name.

    Raises:
        InvalidArgument: Not a mapping of strings to strings, or strings that cannot be stored.
    """
    copied = {} if settings is None else settings
    fault = "" if isinstance(copied, Mapping) else f"of type {type(copied).__name__}"
    copied = dict(copied) if not fault else {}
    for key, value in copied.items():
        for what, text in (("a name", key), ("a value", value)):
            if not isinstance(text, str):
                fault = f"with {what} of type {type(text).__name__}, {shown(text)}"
            elif reason := ("the character NUL" if "\0" in text else text_fault(text)):
                fault = f"with {what} that has {reason}: {shown(text)}"
    if not fault and sum(len(key) + len(value) for key, value in copied.items()) > SETTINGS_CHARS:
        fault = f"of more than {SETTINGS_CHARS:,} characters"
    if fault:
        raise InvalidArgument(
            f"settings= was given {fault}; expected a mapping of strings to strings. Write other values as "
            "text, for instance with json.dumps."
        )
    return copied


def is_single(value: object) -> bool:
    """Whether a value is one text, one run of bytes or one open file, though it can be iterated over."""
    return isinstance(value, str | bytes | bytearray | memoryview) or hasattr(value, "read")


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
    is_one = is_single(values) or (kind is not object and isinstance(values, kind))
    if is_one or not isinstance(values, Iterable):
        given = "string" if isinstance(values, str) else type(values).__name__
        raise InvalidArgument(f"{name}={shown(values)} is one {given}; expected a list of {what}.")
    listed = list(values)
    for at, value in enumerate(listed):
        if not isinstance(value, kind):
            raise InvalidArgument(
                f"{name}[{at}] is {shown(value)}, of type {type(value).__name__}; expected a list of "
                f"{what}."
            )
        if isinstance(value, str) and (reason := text_fault(value)):
            raise InvalidArgument(
                f"{name}[{at}] is {shown(value)} and has {reason}; expected a list of {what}. Decode "
                "what it comes from with errors='replace'."
            )
    return listed


class _Shortened(reprlib.Repr):
    """``repr`` of about a line, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlevel, self.maxdict = 3, 4

    def repr_int(self, x: int, level: int) -> str:
        # Beyond 4,300 digits Python refuses to write an integer out.
        return (
            super().repr_int(x, level) if x.bit_length() < 2_000 else f"<{x.bit_length():,} bits>"
        )


_SHORTENED = _Shortened()
_SHOWN = 80


def shown(value: object, most: int = _SHOWN) -> str:
    """Return a value as a message shows it: one line of at most ``most`` characters. It never raises."""
    try:
        text = repr(value[:most]) if isinstance(value, str) else _SHORTENED.repr(value)
        text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    except Exception:
        text = f"<{type(value).__name__}>"
    is_cut = len(text) > most or (isinstance(value, str) and len(value) > most)
    return f"{text[: most - 1]}…" if is_cut else text


_CUT = 160
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\s-]{80,}")
_LONGEST_PART = 60


def cut(text: str) -> str:
    """Return a path, a URI or another string that stands for a file as a message shows it, in quotes.

    A long one is shown by both ends; a ``data:`` URI, or what looks like base64, by its beginning.
    """
    begin = text[:_CUT]
    # A path has a dot, or names that are shorter.
    is_base64 = _BASE64.fullmatch(begin) and (
        begin.startswith("/9j/") or max(map(len, begin.split("/"))) >= _LONGEST_PART
    )
    if len(text) > 40 and (begin[:5].lower() == "data:" or is_base64):
        return f"{shown(text, 40)} ({len(text):,} characters)"
    if len(text) <= _CUT:
        return shown(text, _CUT + 2)
    return f"{shown(text[:60], 62)[:-1]}…{shown(text[-90:], 92)[1:]}"
