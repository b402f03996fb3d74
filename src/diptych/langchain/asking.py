"""From what a retriever is invoked with to a query and its vectors, off the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike

from diptych.index import MultimodalIndex
from diptych.langchain.convert import to_query
from diptych.langchain.search import Mode, given_vectors
from diptych.types import Query, Weights

__all__ = ["aquestion", "is_blank", "question", "vectors_of", "weighted"]


def is_blank(value: Any) -> bool:
    """Return whether nothing is asked: a text of white space, without a picture."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        text, known = value.get("text"), {"text", "image", "weights"}
        is_query = "text" in value and set(value) <= known and value.get("image") is None
        return is_query and (text is None or is_blank(text))
    return False


def question(value: Any) -> Query | None:
    """Return the query of what a retriever is invoked with; None when it is blank.

    An agent that calls a tool without words is answered with nothing, as other stores do.

    Raises:
        InvalidArgument: The value cannot be a query.
    """
    return None if is_blank(value) else to_query(value)


async def aquestion(value: Any) -> Query | None:
    """Do what :func:`question` does; in a thread where a picture may have to be read or encoded."""
    if isinstance(value, Query) or (isinstance(value, str) and value[:5].lower() != "data:"):
        return question(value)
    return await asyncio.to_thread(question, value)


def weighted(query: Query, weights: Weights | None) -> Query:
    """Return a query with these weights; those of the query itself come first."""
    if not weights:
        return query
    both = {**weights, **query.weights} if isinstance(weights, Mapping) else weights
    return dataclasses.replace(query, weights=both)


async def vectors_of(
    index: MultimodalIndex, query: Query, mode: Mode, embedding: Embeddings | None = None
) -> dict[str, ArrayLike]:
    """Return the vectors of a query that a LangChain model makes asynchronously.

    Args:
        index: Its text encoder may be made of a LangChain model.
        query: Its text is embedded, if it has one.
        mode: Where nothing is compared with the vector of a text, the model is not called.
        embedding: The model, when it is known.
    """
    model = embedding or getattr(index.text_encoder, "langchain_model", None)
    if model is None or not query.has_text or mode == "lexical":
        return {}
    encoder: object = index.text_encoder
    if mode == "image" and (index.image_encoder is not encoder or query.image is not None):
        return {}
    return given_vectors(index, query, await model.aembed_query(query.text or ""))
