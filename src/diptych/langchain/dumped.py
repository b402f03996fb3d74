"""Documents that have become dicts on their way: of a checkpoint, of a JSON file, of a tool's artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

from diptych.checks import shown
from diptych.errors import InvalidArgument

__all__ = ["from_dict"]


def from_dict(dumped: Mapping[Any, Any]) -> Document:
    """Return the document that a dict was made of, with text, metadata and id.

    What ``model_dump()`` and ``langchain_core.load.dumpd`` return is understood, also after JSON.
    Nothing of it is trusted: no class is looked up by the names in it, and a picture is opened only
    when the metadata has its path together with its SHA-256.

    Args:
        dumped: A mapping with ``page_content``, and perhaps ``metadata`` and ``id``; or LangChain's
            ``{"lc": 1, "type": "constructor", "id": [..., "Document"], "kwargs": {...}}``.

    Raises:
        InvalidArgument: It is nothing of the kind, or a value in it is of another type.
    """
    fields = _kwargs(dumped) if "lc" in dumped and "page_content" not in dumped else dumped
    content = fields.get("page_content")
    metadata = fields.get("metadata")
    identity = fields.get("id")
    if not isinstance(content, str):
        raise _unusable(dumped, f"its page_content is {shown(content)}")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise _unusable(dumped, f"its metadata is {shown(metadata)}")
    if identity is not None and not isinstance(identity, str):
        raise _unusable(dumped, f"its id is {shown(identity)}")
    return Document(content, metadata=dict(metadata or {}), id=identity)


def _kwargs(dumped: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return what a document was constructed with, from LangChain's own form."""
    names, kwargs = dumped.get("id"), dumped.get("kwargs")
    is_document = isinstance(names, list | tuple) and [*names][-1:] == ["Document"]
    if dumped.get("type") != "constructor" or not is_document or not isinstance(kwargs, Mapping):
        raise _unusable(dumped, f"it says that it is {shown(names)}")
    return kwargs


def _unusable(dumped: Mapping[Any, Any], why: str) -> InvalidArgument:
    return InvalidArgument(
        f"A dict with the keys {shown(sorted(map(str, dumped)))} was given as a document, and {why}. "
        "Expected what document.model_dump() or langchain_core.load.dumpd(document) returns: page_content, "
        "a text; metadata, a dict; id, a text or None. Pass that, or the document itself."
    )
