"""Chroma's ``where_document``, a filter on what documents say, beside a filter on their metadata."""

from __future__ import annotations

from typing import Any

from diptych.filters import Filter

__all__ = ["with_text"]


def with_text(where: Filter | None, where_document: Any) -> Filter | None:
    """Return one filter that asks for both; None when neither asks for anything.

    Chroma's conditions are those of ``$text``: ``$contains``, ``$not_contains``, ``$regex``,
    ``$not_regex``, ``$and`` and ``$or``.

    Args:
        where: A filter on metadata.
        where_document: Conditions on the text, such as ``{"$contains": "pump"}``.
    """
    if where_document is None or where_document == {}:
        return where
    of_text: Filter = {"$text": where_document}
    return of_text if where is None else {"$and": [where, of_text]}
