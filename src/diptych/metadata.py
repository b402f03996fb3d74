"""Metadata: JSON values, copied on the way in, so that it comes back as it was given.

A few kinds of value have one plain JSON form and get it: dates and times (ISO 8601), paths and UUIDs (their
text), members of an ``Enum`` (their value), and scalars of numpy.
"""

from __future__ import annotations

import datetime
import enum
import json
import math
import os
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.errors import DocumentError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "checked_metadata",
    "checked_string",
    "source_label",
    "storable",
]

MAX_DEPTH = 32
"""How deep metadata may nest."""

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
            f"Document {document_id!r} has {what} of type {type(metadata).__name__}; "
            "expected a mapping with string keys."
        )
    copied: dict[str, Any] = _json_copy(metadata, document_id, what, 0)
    size = len(json.dumps(copied))
    if size > max_bytes:
        raise DocumentError(
            f"Document {document_id!r} has {size:,} bytes of {what}, at most {max_bytes:,} are "
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
            f"Document {document_id!r} has {name} of type {type(value).__name__}; expected a string."
        )
    if is_name and "\0" in value:
        raise DocumentError(
            f"Document {document_id!r}: {name} holds the character NUL, which ends a name. Leave it out."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"Document {document_id!r}: {name} holds half of a surrogate pair at position "
            f"{error.start}, which is no text. Decode the file with errors='replace'."
        ) from error


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
            f"Document {document_id!r}: {where[:80]} is nested deeper than {MAX_DEPTH} levels "
            "(or contains itself). Flatten it."
        )
    value = _plain(value)
    if isinstance(value, str):
        checked_string(value, where, document_id)
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise DocumentError(
            f"Document {document_id!r}: {where} is {value}, which JSON cannot hold. "
            "Use None for a missing number."
        )
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise DocumentError(
                    f"Document {document_id!r}: {where} has the key {key!r}; keys must be strings."
                )
            checked_string(key, f"a key of {where}", document_id)
        return {k: _json_copy(v, document_id, f"{where}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_copy(v, document_id, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    raise DocumentError(
        f"Document {document_id!r}: {where} is of type {type(value).__name__}; expected JSON "
        "(string, number, boolean, null, list, object), a date, a path or a UUID. Convert it, or keep it "
        "outside the index."
    )
