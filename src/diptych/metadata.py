"""Metadata: JSON values only, copied on the way in, so that it comes back as it was given."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from diptych.errors import DocumentError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "checked_metadata", "checked_string"]

MAX_DEPTH = 32
"""How deep metadata may nest."""

MAX_BYTES = 256 * 1024
"""How large the metadata of a document may be, as JSON."""


def checked_metadata(metadata: object, document_id: str) -> dict[str, Any]:
    """Return a copy of JSON metadata, so that later changes by the caller do not reach the document."""
    if not isinstance(metadata, Mapping):
        raise DocumentError(
            f"Document {document_id!r} has metadata of type {type(metadata).__name__}; "
            "expected a mapping with string keys."
        )
    copied: dict[str, Any] = _json_copy(metadata, document_id, "metadata", 0)
    size = len(json.dumps(copied))
    if size > MAX_BYTES:
        raise DocumentError(
            f"Document {document_id!r} has {size:,} bytes of metadata, at most {MAX_BYTES:,} are "
            "kept. Put long texts into the text, and pictures into the image."
        )
    return copied


def checked_string(value: object, name: str, document_id: object) -> None:
    """Refuse what is no string, or one that cannot be stored as UTF-8.

    Raises:
        DocumentError: Not a string, or it holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise DocumentError(
            f"Document {document_id!r} has {name} of type {type(value).__name__}; expected a string."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"Document {document_id!r}: {name} holds half of a surrogate pair at position "
            f"{error.start}, which is no text. Decode the file with errors='replace'."
        ) from error


def _json_copy(value: Any, document_id: str, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise DocumentError(
            f"Document {document_id!r}: {where[:80]} is nested deeper than {MAX_DEPTH} levels "
            "(or contains itself). Flatten it."
        )
    if isinstance(value, str):
        checked_string(value, where, document_id)
        return value
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
        "(string, number, boolean, null, list, object). Convert it, or keep it outside the index."
    )
