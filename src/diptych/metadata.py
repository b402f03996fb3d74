"""Metadata: JSON values, copied on the way in, so that it comes back as it was given.

A few kinds of value have one plain JSON form and get it: dates and times (ISO 8601), paths and UUIDs (their
text), members of an ``Enum`` (their value), and scalars of numpy. Whatever else is refused in words. The
table of docs/storage.md#metadata is the whole of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import numbers
import os
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.checks import shown, text_fault
from diptych.errors import DocumentError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NAME",
    "MAX_TEXT",
    "checked_metadata",
    "checked_order",
    "checked_string",
    "source_label",
    "storable",
]

MAX_DEPTH = 32
"""How deep metadata may nest."""

MAX_NAME = 4096
"""How many characters an id or a group may have. They are looked up, sent in lists and shown."""

MAX_TEXT = 32 << 20
"""How many characters a text may have: ten Bibles. What is longer is a corpus and not a passage of one."""

MAX_BITS = 2_000
"""How many bits an integer in metadata may have (600 digits); some Pythons read 640 digits and no more."""

MAX_BYTES = 256 * 1024
"""How large the metadata of a document may be, as JSON."""

_LONGEST_LABEL = 4_096


def checked_metadata(
    metadata: object, document_id: str, *, what: str = "metadata", max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """Return a copy of JSON metadata, so that later changes by the caller do not reach the document.

    Args:
        metadata: What was given.
        document_id: The document that it belongs to.
        what: What it is called in messages.
        max_bytes: How large it may be, as JSON.

    Raises:
        DocumentError: It is not JSON, nested deeper than ``MAX_DEPTH``, or too large.
    """
    if not isinstance(metadata, Mapping):
        raise DocumentError(
            f"Document {shown(document_id)} has {what} of type {type(metadata).__name__}; "
            "expected a mapping with string keys."
        )
    copied: dict[str, Any] = _json_copy(metadata, document_id, what, 0)
    size = len(json.dumps(copied))
    if size > max_bytes:
        raise DocumentError(
            f"Document {shown(document_id)} has {size:,} bytes of {what}, at most {max_bytes:,} are "
            "kept. Put long texts into the text, and pictures into the image."
        )
    return copied


def checked_string(value: object, name: str, document_id: object, *, is_name: bool = False) -> None:
    """Refuse what is no string, or one that cannot be stored as UTF-8.

    Args:
        value: What was given.
        name: What it is called in messages.
        document_id: The document that it belongs to.
        is_name: Whether things are looked up by it, so that it must not hold NUL.

    Raises:
        DocumentError: Not a string, or it holds half of a surrogate pair, or NUL.
    """
    if not isinstance(value, str):
        raise DocumentError(
            f"Document {shown(document_id)} has {name} of type {type(value).__name__}; expected a string."
        )
    if is_name and "\0" in value:
        raise DocumentError(
            f"Document {shown(document_id)}: {name} holds the character NUL, which ends a "
            "name. Expected a name without it. Leave it out."
        )
    most = MAX_NAME if is_name else MAX_TEXT
    if len(value) > most:
        raise DocumentError(
            f"Document {shown(document_id)}: {name} has {len(value):,} characters; at most {most:,} are "
            "kept. "
            + (
                "Shorten it, or use a hash of it."
                if is_name
                else "Split it into several documents."
            )
        )
    if fault := text_fault(value):
        raise DocumentError(
            f"Document {shown(document_id)}: {name} holds {fault}. Expected what can be written as "
            "UTF-8. Decode the file with errors='replace'."
        )


def checked_order(value: object, document_id: object) -> int:
    """Return a position within a group as an ``int``; integers of numpy are as good.

    Raises:
        DocumentError: It is no integer, or one that needs more than 64 bits.
    """
    number = value.item() if isinstance(value, np.integer) else value
    if isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63:
        return int(number)
    raise DocumentError(
        f"Document {shown(document_id)} has order={shown(value)} ({type(value).__name__}); expected an "
        "integer between -2^63 and 2^63. Number the parts of a group from 0."
    )


def storable(text: str) -> str:
    """Return a text without NUL and halves of surrogate pairs, each of which becomes "?"."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


def source_label(value: object) -> str | int | None:
    """Return a source or a page, out of metadata of unknown origin, that can be stored and shown, or None."""
    if isinstance(value, str):
        return storable(value[:_LONGEST_LABEL])
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if is_number and isinstance(value, int) else None


def _plain(value: Any) -> Any:
    """Return the JSON form of a value that has one; others as they are."""
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, np.datetime64):  # its item may be a number of nanoseconds, or None
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def _json_copy(value: Any, document_id: str, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise DocumentError(
            f"Document {shown(document_id)}: {where[:80]} is nested deeper than {MAX_DEPTH} levels "
            "(or contains itself). Flatten it."
        )
    given, value = value, _plain(value)
    if isinstance(value, str):
        if value == "NaT" and isinstance(given, datetime.date | np.datetime64):  # not a time
            raise _not_finite(value, document_id, where)
        checked_string(value, where[:80], document_id)
        return str.__str__(value)  # not what a subclass says of itself
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise DocumentError(
            f"Document {shown(document_id)}: {where[:80]} is {shown(value)}; expected an integer of at most "
            f"{MAX_BITS:,} bits. Write it as a string."
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise _not_finite(value, document_id, where)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise DocumentError(
                    f"Document {shown(document_id)}: {where[:80]} has the key {shown(key)}; keys must be "
                    "strings."
                )
            checked_string(key, f"a key of {where[:80]}", document_id)
        return {
            str.__str__(k): _json_copy(v, document_id, f"{where}.{str.__str__(k)}", depth + 1)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_json_copy(v, document_id, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    raise DocumentError(
        f"Document {shown(document_id)}: {where[:80]} is of type {type(given).__name__}; expected JSON "
        "(string, number, boolean, null, list, object), a date, a path or a UUID. " + _advice(given)
    )


def _not_finite(value: object, document_id: str, where: str) -> DocumentError:
    return DocumentError(
        f"Document {shown(document_id)}: {where[:80]} is {value}, which JSON cannot hold. "
        "Use None for a missing value."
    )


def _advice(value: object) -> str:
    """Return what to do about a value that metadata cannot hold."""
    for kinds, expression in _EXPRESSIONS:
        if isinstance(value, kinds):
            return f"Write {expression}."
    if hasattr(type(value), "model_dump"):
        return "Write value.model_dump(mode='json')."
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "Write dataclasses.asdict(value)."
    if hasattr(value, "tolist"):
        return "Write value.tolist(), or keep it outside the index."
    return "Convert it, or keep it outside the index."


_EXPRESSIONS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((set, frozenset), "sorted(value)"),
    ((bytes, bytearray, memoryview), "value.decode(), or its base64"),
    ((datetime.timedelta, np.timedelta64), "value.total_seconds()"),
    ((decimal.Decimal, numbers.Number), "float(value) or str(value)"),
)
