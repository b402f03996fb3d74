"""The query engine of an index, made of the options of LlamaIndex's engines, old and new."""

from __future__ import annotations

from typing import Any

from llama_index.core import Settings
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.llms.utils import LLMType, resolve_llm
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine

from diptych.errors import InvalidArgument
from diptych.llama_index.engines import DiptychQueryEngine
from diptych.llama_index.options import named_arguments
from diptych.llama_index.retriever import DiptychRetriever
from diptych.llama_index.templates import with_blocks, with_context

__all__ = ["ENGINE_OPTIONS", "language_model", "query_engine"]

ENGINE_OPTIONS = (named_arguments(RetrieverQueryEngine.from_args) - {"retriever", "llm"}) | {
    "image_qa_template"
}
"""What the engine takes besides the retriever and the model."""

_TEMPLATES = {
    "text_qa_template": "chat_content_qa_template",
    "refine_template": "chat_content_refine_template",
}
"""Which template of the multimodal synthesizers stands for which of the others."""


def language_model(llm: LLMType | None, multi_modal_llm: Any, callback_manager: Any) -> Any:
    """Return the model that answers: ``llm``, by its older name too, else that of the settings.

    Raises:
        InvalidArgument: Two of them were given.
    """
    if llm is not None and multi_modal_llm is not None and llm is not multi_modal_llm:
        raise InvalidArgument(
            "llm= and multi_modal_llm= were given, and are two models. multi_modal_llm= is the older "
            "name of llm=; pass one of them."
        )
    given = multi_modal_llm if llm is None else llm
    model: BaseLLM = (
        resolve_llm(given, callback_manager=callback_manager) if given else Settings.llm
    )
    return model


def query_engine(
    retriever: DiptychRetriever, model: Any, options: dict[str, Any], multimodal: bool | None
) -> DiptychQueryEngine:
    """Return an engine that shows a model what a retriever finds.

    Args:
        retriever: What is asked.
        model: Answers.
        options: Those of :data:`ENGINE_OPTIONS`.
        multimodal: Whether pictures are sent; by default to every model that chats.
    """
    options = dict(options)
    image_qa_template = options.pop("image_qa_template", None)
    shows = model.metadata.is_chat_model if multimodal is None else multimodal
    if shows:
        for name, rich in _TEMPLATES.items():
            if options.get(name) is not None and options.get(rich) is None:
                options[rich] = with_blocks(options.pop(name))
    engine: Any = DiptychQueryEngine.from_args(retriever, llm=model, multimodal=shows, **options)
    if image_qa_template is not None:
        engine._image_synthesizer = _image_synthesizer(
            retriever, model, options, image_qa_template, shows
        )
    made: DiptychQueryEngine = engine
    return made


def _image_synthesizer(
    retriever: DiptychRetriever,
    model: Any,
    options: dict[str, Any],
    template: BasePromptTemplate,
    shows: bool,
) -> Any:
    """Return what answers questions about a picture by a template of their own."""
    name = "chat_content_qa_template" if shows else "text_qa_template"
    own = {k: v for k, v in options.items() if k not in ("response_synthesizer", name)}
    own[name] = with_context(template, pictures=shows)
    engine: Any = DiptychQueryEngine.from_args(retriever, llm=model, multimodal=shows, **own)
    return engine._response_synthesizer
