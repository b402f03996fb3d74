"""The vectors of a question by models of LlamaIndex, awaited before the search runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle

from diptych.encoders import FunctionEncoder
from diptych.encoders.awaited import awaited
from diptych.index import MultimodalIndex
from diptych.llama_index.given import GivenVectors

__all__ = ["model_of", "question_awaited"]


def model_of(encoder: Any) -> BaseEmbedding | None:
    """Return the LlamaIndex embedding that an encoder was made of; None when it was made of none."""
    if isinstance(encoder, GivenVectors):
        encoder = encoder.encoder
    model = encoder.llama_index_model if isinstance(encoder, FunctionEncoder) else None
    return model if isinstance(model, BaseEmbedding) else None


@asynccontextmanager
async def question_awaited(
    index: MultimodalIndex, bundle: QueryBundle, modalities: Iterable[str]
) -> AsyncIterator[None]:
    """Await what LlamaIndex's embeddings make of a question; within, the encoders need not call them.

    Encoders of diptych have nothing to await: they run in the thread of the search.
    """
    wanted: dict[int, tuple[BaseEmbedding, set[str]]] = {}
    if set(modalities) != {"lexical"}:
        asked = {bundle.query_str} if bundle.query_str and bundle.query_str.strip() else set()
        instead = {text for text in bundle.custom_embedding_strs or [] if isinstance(text, str)}
        for encoder, texts in (
            (index.text_encoder, instead or asked),
            (index.image_encoder, asked),
        ):
            model = model_of(encoder)
            if model is not None and hasattr(encoder, "encode_query"):
                wanted.setdefault(id(model), (model, set()))[1].update(texts)
    pairs = [(model, text) for model, texts in wanted.values() for text in sorted(texts)]
    made = await asyncio.gather(*(model.aget_query_embedding(text) for model, text in pairs))
    with ExitStack() as stack:
        for (model, text), vector in zip(pairs, made, strict=True):
            stack.enter_context(awaited(model, {text: vector}))
        yield
