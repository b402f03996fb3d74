"""LlamaIndex's chat engines over diptych's retriever, so that words and pictures reach the model."""

from __future__ import annotations

from typing import Any

from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.chat_engine.multi_modal_condense_plus_context import (
    MultiModalCondensePlusContextChatEngine,
)
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode

from diptych.llama_index.content import SeparatePictures
from diptych.llama_index.retriever import DiptychRetriever

__all__ = ["context_chat"]


def context_chat(
    mode: ChatMode,
    retriever: DiptychRetriever,
    model: Any,
    options: dict[str, Any],
    max_images: int | None,
) -> BaseChatEngine:
    """Return an engine that retrieves for each turn; without a number of pictures, for words."""
    condenses = mode != ChatMode.CONTEXT
    if max_images is None:
        plain: Any = CondensePlusContextChatEngine if condenses else ContextChatEngine
        words: BaseChatEngine = plain.from_defaults(retriever=retriever, llm=model, **options)
        return words
    shows: Any = (
        MultiModalCondensePlusContextChatEngine if condenses else MultiModalContextChatEngine
    )
    given = list(options.pop("node_postprocessors", None) or [])
    engine: BaseChatEngine = shows.from_defaults(
        retriever=retriever,
        multi_modal_llm=model,
        node_postprocessors=[*given, SeparatePictures(max_images=max_images)],
        **options,
    )
    return engine
