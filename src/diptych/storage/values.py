"""What the columns of a database may hold.

SQLite keeps any value in any column, whatever type the column is declared with. What is read from a
database of unknown origin is therefore compared with what diptych writes there before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.checks import shown
from diptych.filters import fields
from diptych.metadata import MAX_NAME
from diptych.types import LISTS

__all__ = [
    "COUNT",
    "KEY",
    "MAYBE_TEXT",
    "NAME",
    "NUMBER",
    "PROBE",
    "REAL",
    "ROW_KINDS",
    "SPACE_KINDS",
    "STUB_KINDS",
    "TEXT",
    "Kind",
    "fault",
    "space_fault",
    "stored_fields",
]

_MOST = 1 << 62
"""Above every count and key, so that the next ones fit into 64 bits too."""

_MOST_DIMENSIONS = 1 << 20

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column may hold: in words, and as a test."""

    words: str
    fits: Callable[[Any], bool]


TEXT = Kind("a text", lambda value: type(value) is str)
MAYBE_TEXT = Kind("a text or nothing", lambda value: value is None or type(value) is str)
NAME = Kind("a text that is not empty", lambda value: type(value) is str and value != "")
NUMBER = Kind("an integer", lambda value: type(value) is int)
COUNT = Kind("an integer from 0 to 2^62", lambda value: type(value) is int and 0 <= value < _MOST)
KEY = Kind("an integer from 1 to 2^62", lambda value: type(value) is int and 0 < value < _MOST)
REAL = Kind("a number", lambda value: type(value) in (int, float))
PROBE = Kind("bytes or nothing", lambda value: value is None or type(value) is bytes)
_ID = Kind(
    f"a text of 1 to {MAX_NAME:,} characters",
    lambda value: type(value) is str and 0 < len(value) <= MAX_NAME and "\0" not in value,
)
_GROUP = Kind(
    f"a text of at most {MAX_NAME:,} characters or nothing",
    lambda value: value is None or value == "" or _ID.fits(value),
)
_LIST = Kind("the name of a list", lambda value: value in LISTS and value != "lexical")
_DIMENSION = Kind(
    f"an integer from 1 to {_MOST_DIMENSIONS:,}",
    lambda value: type(value) is int and 0 < value <= _MOST_DIMENSIONS,
)
_PICTURE = Kind(
    "a SHA-256 in hexadecimal digits or nothing",
    lambda value: value is None or (type(value) is str and _HASH.fullmatch(value) is not None),
)

SPACE_KINDS = (_LIST, _DIMENSION, TEXT, TEXT, PROBE)
"""Of list, dim, name, fingerprint and probe."""

ROW_KINDS = (
    _ID, MAYBE_TEXT, _PICTURE, MAYBE_TEXT, MAYBE_TEXT, TEXT, _GROUP, NUMBER, TEXT, MAYBE_TEXT,
)  # fmt: skip
"""Of the columns of a document, as ``Row`` has them."""

STUB_KINDS = (KEY, NAME, MAYBE_TEXT, NUMBER, NUMBER, NUMBER)


def fault(row: Sequence[Any], kinds: Sequence[Kind]) -> str:
    """Return in words which value of a row is not what its column may hold; empty when all are."""
    for value, kind in zip(row, kinds, strict=True):
        if not kind.fits(value):
            return f"{shown(value)} is stored where {kind.words} belongs"
    return ""


def space_fault(row: Sequence[Any]) -> str:
    """Return in words what is wrong with a row of the table ``space``; empty when nothing is."""
    if found := fault(row, SPACE_KINDS):
        return found
    name, dim, *_, probe = row
    if probe is not None and (
        len(probe) != 4 * dim or not np.isfinite(np.frombuffer(probe, np.float32)).all()
    ):
        return f"the probe of the list {name!r} is not a vector of {dim:,} dimensions"
    return ""


def stored_fields(metadata: str) -> list[tuple[str, str, Any]]:
    """Return what filters know of a document, out of its metadata as they are stored.

    Raises:
        ValueError: They are not a JSON object, or not one that can be stored.
    """
    try:
        value = json.loads(metadata)
        if not isinstance(value, dict):
            raise ValueError("the metadata are not a JSON object")
        found = list(fields(value))
        for name, _, value in found:  # halves of surrogate pairs
            f"{name}{value}".encode()
        return found
    except RecursionError as error:
        raise ValueError("the metadata are nested too deep") from error
