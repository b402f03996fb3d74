"""Vectors of questions that were awaited before a search, for embeddings of LlamaIndex.

A search runs in a thread, where the model could only be called without ``await``. So the adapter awaits it
first, and the encoder made of it finds the vector here, wherever the search needs it: for the texts, for
the pictures through a model of both, for an aligner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["awaited", "each_query"]

_MADE: ContextVar[Mapping[tuple[int, str], Any] | None] = ContextVar(
    "diptych_awaited", default=None
)


@contextmanager
def awaited(model: object, vectors: Mapping[str, Any]) -> Iterator[None]:
    """Let the encoder of a model use vectors that it need not make again.

    It holds for this task, and for threads that ``asyncio.to_thread`` starts within.

    Args:
        model: The model of the other framework.
        vectors: Its vectors of questions, by question.
    """
    made = {(id(model), text): vector for text, vector in vectors.items()}
    token = _MADE.set({**(_MADE.get() or {}), **made})
    try:
        yield
    finally:
        _MADE.reset(token)


def each_query(model: object, texts: Sequence[str], embed: Callable[[str], Any]) -> list[Any]:
    """Return the vector of each question: the one that was awaited, else what ``embed`` makes."""
    made = _MADE.get()
    if made is None:
        return [embed(text) for text in texts]
    return [made[key] if (key := (id(model), text)) in made else embed(text) for text in texts]
