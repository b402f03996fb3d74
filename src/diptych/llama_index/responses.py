"""Responses of the query engine: their sources by kind, as notebooks read them, and as cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import NodeWithScore

from diptych.cards import cards
from diptych.llama_index.shown import image_nodes, text_nodes
from diptych.visible import as_html

__all__ = ["finished"]


def finished(
    response: RESPONSE_TYPE, shown: Sequence[NodeWithScore], found: Sequence[NodeWithScore]
) -> RESPONSE_TYPE:
    """Return a response whose sources are what was found.

    Its metadata has "text_nodes" and "image_nodes", as that of LlamaIndex's multimodal engine; a node
    with words and a picture is in both. Reads pictures, so that it is called in a thread.

    Args:
        response: What a synthesizer returned for ``shown``.
        shown: The nodes that the model was shown: those found, prepared, and the picture of a question.
        found: The nodes that were found.
    """
    added = list(response.source_nodes[len(shown) :])
    sources = [*found, *added]
    metadata: dict[str, Any] = {one.node.node_id: one.node.metadata for one in sources}
    metadata |= {"text_nodes": text_nodes(sources), "image_nodes": image_nodes(sources)}
    kind = next((ours for theirs, ours in _KINDS if type(response) is theirs), None)
    if kind is None:
        response.source_nodes, response.metadata = sources, metadata
        return response
    values = {field.name: getattr(response, field.name) for field in fields(response)}
    made: RESPONSE_TYPE = kind(**{**values, "source_nodes": sources, "metadata": metadata})
    return made


def _html(response: Any, answer: Any) -> str:
    """Return the answer and cards of its sources; a stream is not read for it."""
    text = "" if answer is None else str(answer)
    return f"<p>{as_html(text)}</p>\n{cards(response.source_nodes)}"


@dataclass
class _Response(Response):
    def _repr_html_(self) -> str:
        return _html(self, self.response)


@dataclass
class _PydanticResponse(PydanticResponse):
    def _repr_html_(self) -> str:
        return _html(self, self.response and self.response.model_dump_json())


@dataclass
class _StreamingResponse(StreamingResponse):
    def _repr_html_(self) -> str:
        return _html(self, self.response_txt)


@dataclass
class _AsyncStreamingResponse(AsyncStreamingResponse):
    def _repr_html_(self) -> str:
        return _html(self, self.response_txt)


_KINDS: tuple[tuple[type, Any], ...] = (
    (Response, _Response),
    (PydanticResponse, _PydanticResponse),
    (StreamingResponse, _StreamingResponse),
    (AsyncStreamingResponse, _AsyncStreamingResponse),
)
