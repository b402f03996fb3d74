"""Engines over diptych's retriever that show a model words and pictures, also those of a question."""

from __future__ import annotations

import string
from typing import Any

from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.prompts import (
    BasePromptTemplate,
    ChatPromptTemplate,
    PromptTemplate,
    RichPromptTemplate,
)
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from diptych.errors import InvalidArgument
from diptych.llama_index.node import DiptychNode

__all__ = ["DiptychQueryEngine", "with_blocks"]

dispatcher = get_dispatcher(__name__)

_FORMATTER = string.Formatter()
_ASKED_WITH = "The picture that the question is about:"

_BLOCKS = """{% for message in context_messages %}
{% for block in message.blocks %}
{% if block.block_type == 'text' %}
{{ block.text }}
{% elif block.block_type == 'image' %}
{{ block.inline_url() | image }}
{% endif %}
{% endfor %}
{% endfor %}"""


class DiptychQueryEngine(RetrieverQueryEngine):
    """LlamaIndex's query engine, which also shows the model the picture of a question.

    Made by ``DiptychMultiModalIndex.as_query_engine``. Besides ``query`` with a text or a
    ``QueryBundle`` that has an ``image_path``, it has ``image_query``, as the engine of
    ``MultiModalVectorStoreIndex`` does.
    """

    def image_query(self, image_path: str, prompt_str: str = "") -> RESPONSE_TYPE:
        """Answer a question about a picture, from what is found with the picture.

        Args:
            image_path: The picture.
            prompt_str: The question, which is not searched with.
        """
        return self._answer(QueryBundle(prompt_str, image_path=image_path), by_picture=True)

    async def aimage_query(self, image_path: str, prompt_str: str = "") -> RESPONSE_TYPE:
        """Do what :meth:`image_query` does, without blocking the event loop."""
        return await self._aanswer(QueryBundle(prompt_str, image_path=image_path), by_picture=True)

    @dispatcher.span
    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._answer(query_bundle)

    @dispatcher.span
    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return await self._aanswer(query_bundle)

    def _answer(self, bundle: QueryBundle, *, by_picture: bool = False) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:
            nodes = self.retrieve(_searched(bundle, by_picture=by_picture))
            response = self._response_synthesizer.synthesize(
                query=bundle, nodes=[*self._asked_with(bundle), *nodes]
            )
            event.on_end(payload={EventPayload.RESPONSE: response})
        return self._without_question(response, bundle)

    async def _aanswer(self, bundle: QueryBundle, *, by_picture: bool = False) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:
            nodes = await self.aretrieve(_searched(bundle, by_picture=by_picture))
            response = await self._response_synthesizer.asynthesize(
                query=bundle, nodes=[*self._asked_with(bundle), *nodes]
            )
            event.on_end(payload={EventPayload.RESPONSE: response})
        return self._without_question(response, bundle)

    def _asked_with(self, bundle: QueryBundle) -> list[NodeWithScore]:
        if not self._shows(bundle):
            return []
        return [NodeWithScore(node=DiptychNode(text=_ASKED_WITH, image_path=bundle.image_path))]

    def _without_question(self, response: Any, bundle: QueryBundle) -> RESPONSE_TYPE:
        """Return a response whose sources are what was retrieved, without the question's picture."""
        if self._shows(bundle):
            response.source_nodes = response.source_nodes[1:]
        answered: RESPONSE_TYPE = response
        return answered

    def _shows(self, bundle: QueryBundle) -> bool:
        return bool(bundle.image_path) and self._response_synthesizer._multimodal


def with_blocks(template: BasePromptTemplate | None) -> BasePromptTemplate | None:
    """Return a template of ``{context_str}`` and ``{query_str}`` as one that takes pictures too.

    LlamaIndex's multimodal synthesizers ignore text templates; so what was written for texts would
    silently not count.

    Raises:
        InvalidArgument: A template of a class that cannot be rewritten.
    """
    if template is None or isinstance(template, RichPromptTemplate):
        return template
    if isinstance(template, PromptTemplate):
        return _rich([("user", template.template)])
    if isinstance(template, ChatPromptTemplate):
        return _rich([(m.role.value, m.content or "") for m in template.message_templates])
    raise InvalidArgument(
        f"A text_qa_template of class {type(template).__name__} cannot show pictures. Pass "
        "chat_content_qa_template=RichPromptTemplate(…), or multimodal=False."
    )


def _rich(messages: list[tuple[str, str]]) -> RichPromptTemplate:
    return RichPromptTemplate(
        "\n".join(
            f'{{% chat role="{role}" %}}\n{_rewritten(text)}\n{{% endchat %}}'
            for role, text in messages
        )
    )


def _rewritten(text: str) -> str:
    """Return a text of Python's format language in that of Jinja."""
    pieces = []
    for literal, name, _, _ in _FORMATTER.parse(text):
        # Literal braces must not be read as Jinja's.
        pieces.append(literal.replace("{", "{{ '{' }}"))
        if name == "context_str":
            pieces.append(_BLOCKS)
        elif name is not None:
            pieces.append(f"{{{{ {name} }}}}")
    return "".join(pieces)


def _searched(bundle: QueryBundle, *, by_picture: bool) -> QueryBundle:
    return QueryBundle("", image_path=bundle.image_path) if by_picture else bundle
