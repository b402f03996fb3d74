"""What an adapter keeps with a document: apart from metadata, and written by the adapter alone.

In a store it lies beside the metadata, under one key, so that a filter can find the parts of a source
document. Everywhere else the two are apart: metadata that comes with a document never becomes
reserved data, and reserved data never comes back as metadata.

A document or node of a framework has no field for what it belongs to, so it may say that under the
same key of its metadata. Only :func:`place_of` reads it, and only three values of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diptych.errors import DocumentError
from diptych.metadata import checked_metadata, checked_string

__all__ = [
    "MAX_RESERVED_BYTES",
    "REF_DOC_ID",
    "RESERVED_KEY",
    "SOURCE_HASH",
    "Place",
    "checked_reserved",
    "dropped_from",
    "is_reserved",
    "merged",
    "place_of",
    "refuse_reserved",
    "separated",
    "without_reserved",
]

logger = logging.getLogger(__name__)

RESERVED_KEY = "_diptych"
"""The key of metadata that no document may bring."""

REF_DOC_ID = f"{RESERVED_KEY}.ref_doc_id"
"""How a filter addresses the source document of a node; the one reserved name that filters know."""

SOURCE_HASH = "source_hash"
"""What was in the source document of a node, so that a change is noticed."""

MAX_RESERVED_BYTES = 1024 * 1024
"""How large the reserved data of a document may be, as JSON."""

_MAX_GROUP = 8_192
_MAX_HASH = 200
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Place:
    """What a document or node of a framework says of itself, checked.

    Attributes:
        group: What it belongs to; None when it does not say.
        order: Its position in the group, an int64.
        source_hash: What its source document was made of; "" when it does not say.
    """

    group: str | None = None
    order: int = 0
    source_hash: str = ""


def is_reserved(key: object) -> bool:
    """Whether a key of metadata, or a name in a filter, is that of reserved data or of a part of it."""
    return isinstance(key, str) and (key == RESERVED_KEY or key.startswith(f"{RESERVED_KEY}."))


def refuse_reserved(metadata: Mapping[str, Any], document_id: str) -> None:
    """Refuse metadata with a reserved key.

    Raises:
        DocumentError: It has one.
    """
    key = next((key for key in metadata if is_reserved(key)), None)
    if key is not None:
        raise DocumentError(
            f"Document {document_id[:200]!r} has the metadata key {key[:200]!r}; "
            f"{RESERVED_KEY!r}, alone or before a dot, is reserved for the adapters of diptych. Give it "
            "another name, or leave it out."
        )


def checked_reserved(reserved: object, document_id: str) -> dict[str, Any]:
    """Return a copy of reserved data.

    Raises:
        DocumentError: It is not JSON, or larger than ``MAX_RESERVED_BYTES``.
    """
    return checked_metadata(
        reserved, document_id, what="reserved data", max_bytes=MAX_RESERVED_BYTES
    )


def merged(metadata: Mapping[str, Any], reserved: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata and reserved data as one JSON object, as which a store keeps them."""
    return {**metadata, RESERVED_KEY: dict(reserved)} if reserved else dict(metadata)


def separated(stored: Any) -> tuple[Any, dict[str, Any]]:
    """Return metadata and reserved data of what a store or an export holds, whoever wrote it.

    Reserved data that cannot be any is as good as none.
    """
    if not isinstance(stored, Mapping):
        return stored, {}
    try:
        reserved = checked_reserved(stored.get(RESERVED_KEY) or {}, "")
    except (DocumentError, ValueError):  # ValueError: a number with more digits than Python writes
        reserved = {}
    return _plain(stored), reserved


def without_reserved(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of metadata without reserved keys, and log the names of those but ``place_of``'s."""
    dropped = dropped_from(metadata)
    if dropped:
        logger.info("Dropped from metadata, being reserved: %s", ", ".join(dropped[:10]))
    return _plain(metadata)


def dropped_from(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of reserved keys in metadata of which ``place_of`` takes nothing."""
    said = metadata.get(RESERVED_KEY)
    dropped = [str(key)[:80] for key in metadata if is_reserved(key) and key != RESERVED_KEY]
    if isinstance(said, Mapping):
        place = place_of(metadata)
        taken = {"group": place.group, "order": place.order, SOURCE_HASH: place.source_hash}
        dropped += [
            f"{RESERVED_KEY}.{str(key)[:80]}"
            for key, value in said.items()
            if key not in taken or (value is not None and value != taken[key])
        ]
    elif said is not None:
        dropped.append(RESERVED_KEY)
    return dropped


def place_of(metadata: Mapping[str, Any]) -> Place:
    """Return what metadata says of the document's place; a value that cannot be one counts as unsaid."""
    said = metadata.get(RESERVED_KEY)
    if not isinstance(said, Mapping):
        return Place()
    order, source_hash = said.get("order"), said.get(SOURCE_HASH)
    is_order = isinstance(order, int) and not isinstance(order, bool) and -_INT64 <= order < _INT64
    return Place(
        group=_name(said.get("group"), _MAX_GROUP) or None,
        order=int(order) if is_order and order is not None else 0,
        source_hash=_name(source_hash, _MAX_HASH),
    )


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if not is_reserved(key)}


def _name(value: object, longest: int) -> str:
    """Return a string that can be a name, or ""."""
    if not isinstance(value, str) or len(value) > longest:
        return ""
    try:
        checked_string(value, "a name", "", is_name=True)
    except DocumentError:
        return ""
    return value
