"""JSON of unknown origin, measured before it is parsed: its depth and how many values it makes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn

import numpy as np

__all__ = ["LINE_BYTES", "MAX_DEPTH", "Parsed", "parse"]

LINE_BYTES = 1 << 24
"""The longest line: about five thousand pages of text."""

MAX_DEPTH = 64
_MAX_STRUCTURE = 3 << 19
_MAX_STRINGS = 1 << 19
"""More than 256 KiB of metadata and 1 MiB of reserved data can hold."""


class Parsed(NamedTuple):
    """A value, and about how many bytes of memory it takes together with its text at most."""

    value: Any
    memory: int


def parse(line: bytes) -> Parsed:
    """Return the value of one JSON text in UTF-8.

    Python makes up to 30 bytes of objects from one byte outside of strings, and recurses for each
    level, so both are bounded first. NaN, infinities and keys that occur twice are refused.

    Raises:
        ValueError: It is not JSON, too deep, or made of too many values.
    """
    structure = _outside_strings(line)
    if len(structure) > _MAX_STRUCTURE:
        raise ValueError(f"it has {len(structure):,} bytes beside its strings; that is too many")
    marks = np.frombuffer(structure, np.uint8)
    steps = ((marks | 0x20) == ord("{")).astype(np.int32) - ((marks | 0x20) == ord("}"))
    depth = int(np.cumsum(steps, dtype=np.int32).max(initial=0))
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested {depth:,} deep; expected at most {MAX_DEPTH}")
    value = json.loads(
        line.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant
    )
    return Parsed(value, 4 * len(line) + 24 * len(structure))


def _outside_strings(line: bytes) -> bytes:
    """Return what is no string: brackets, numbers, and a quotation mark for each string.

    A backslash outside of a string is not JSON, so what is made of it here does not matter.
    """
    bare = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 2 * _MAX_STRINGS:
        raise ValueError(f"it has more than {_MAX_STRINGS:,} strings")
    return b'"'.join(bare.split(b'"')[::2])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
