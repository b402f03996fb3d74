"""LlamaIndex's chat engines over diptych's retriever, so that words and pictures reach the model."""

from __future__ import annotations

from typing import Any

from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.multi_modal_condense_plus_context import (
    MultiModalCondensePlusContextChatEngine,
)
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode

from diptych.llama_index.asking import ENGINE_OPTIONS, query_engine
from diptych.llama_index.content import SeparatePictures
from diptych.llama_index.options import named_arguments, taken
from diptych.llama_index.retriever import DiptychRetriever

__all__ = ["CHAT_MODES", "chat_engine", "chat_options"]

CHAT_MODES: dict[ChatMode, tuple[type[Any], type[Any]]] = {
    ChatMode.BEST: (MultiModalCondensePlusContextChatEngine, CondensePlusContextChatEngine),
    ChatMode.CONDENSE_PLUS_CONTEXT: (
        MultiModalCondensePlusContextChatEngine,
        CondensePlusContextChatEngine,
    ),
    ChatMode.CONTEXT: (MultiModalContextChatEngine, ContextChatEngine),
    ChatMode.CONDENSE_QUESTION: (CondenseQuestionChatEngine, CondenseQuestionChatEngine),
    ChatMode.SIMPLE: (SimpleChatEngine, SimpleChatEngine),
}
"""The engine of each mode that shows pictures, and the one for words; others are refused by LlamaIndex."""

_OURS = {"retriever", "query_engine", "llm", "multi_modal_llm"}


def chat_options(mode: ChatMode, *, multimodal: bool) -> frozenset[str]:
    """Return which options the engine of a mode takes besides model and retriever."""
    if mode not in CHAT_MODES:
        return frozenset()
    known = named_arguments(_class(mode, multimodal).from_defaults) - _OURS
    return known | ENGINE_OPTIONS if mode == ChatMode.CONDENSE_QUESTION else known


def chat_engine(
    mode: ChatMode,
    retriever: DiptychRetriever,
    model: Any,
    options: dict[str, Any],
    max_images: int | None,
) -> BaseChatEngine:
    """Return an engine that answers turn by turn.

    Args:
        mode: One of :data:`CHAT_MODES`.
        retriever: Asked in each turn, except in the mode "simple".
        model: Answers.
        options: Those of :func:`chat_options`.
        max_images: How many pictures a turn shows; None for words alone.
    """
    made: Any
    engine = _class(mode, max_images is not None)
    if mode == ChatMode.SIMPLE:
        made = engine.from_defaults(llm=model, **options)
    elif mode == ChatMode.CONDENSE_QUESTION:
        own = taken(options, named_arguments(engine.from_defaults))
        asked = query_engine(retriever, model, options, max_images is not None)
        made = engine.from_defaults(asked, llm=model, **own)
    elif max_images is None:
        made = engine.from_defaults(retriever=retriever, llm=model, **options)
    else:
        given = list(options.pop("node_postprocessors", None) or [])
        options["node_postprocessors"] = [*given, SeparatePictures(max_images=max_images)]
        made = engine.from_defaults(retriever=retriever, multi_modal_llm=model, **options)
    chat: BaseChatEngine = made
    return chat


def _class(mode: ChatMode, multimodal: bool) -> Any:
    shows, words = CHAT_MODES[mode]
    return shows if multimodal else words
