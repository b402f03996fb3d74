"""Engines over diptych's retriever that show a model words and pictures, also those of a question."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.query import QueryEndEvent, QueryStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from diptych.llama_index.node import DiptychNode
from diptych.llama_index.responses import finished
from diptych.llama_index.shown import prepared

__all__ = ["DiptychQueryEngine"]

dispatcher = get_dispatcher(__name__)

_ASKED_WITH = "The picture that the question is about:"


class DiptychQueryEngine(RetrieverQueryEngine):
    """LlamaIndex's query engine, which also shows the model the picture of a question.

    Made by ``DiptychMultiModalIndex.as_query_engine``. Besides ``query`` with a text or a
    ``QueryBundle`` that has an ``image_path``, it has ``image_query``, as the engine of
    ``MultiModalVectorStoreIndex`` does. The metadata of a response have "text_nodes" and
    "image_nodes". No asynchronous method reads a picture on the event loop.

    Args:
        retriever: As for ``RetrieverQueryEngine``.
        response_synthesizer: Likewise.
        node_postprocessors: Likewise.
        callback_manager: Likewise.
        image_synthesizer: Answers ``image_query``; ``response_synthesizer`` by default.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        response_synthesizer: BaseSynthesizer | None = None,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        callback_manager: CallbackManager | None = None,
        image_synthesizer: BaseSynthesizer | None = None,
    ) -> None:
        super().__init__(retriever, response_synthesizer, node_postprocessors, callback_manager)
        self._image_synthesizer = image_synthesizer or self._response_synthesizer

    def with_retriever(self, retriever: BaseRetriever) -> DiptychQueryEngine:
        """Return this engine over another retriever."""
        return type(self)(
            retriever,
            self._response_synthesizer,
            self._node_postprocessors,
            self.callback_manager,
            self._image_synthesizer,
        )

    @dispatcher.span
    def image_query(self, image_path: str, prompt_str: str = "") -> RESPONSE_TYPE:
        """Answer a question about a picture, from what is found with the picture.

        Args:
            image_path: The picture.
            prompt_str: The question, which is not searched with.
        """
        bundle = QueryBundle(prompt_str, image_path=image_path)
        dispatcher.event(QueryStartEvent(query=bundle))
        # Without a trace around it LlamaIndex's callbacks lose their stack of events.
        with self.callback_manager.as_trace("query"):
            response = self._answer(bundle, by_picture=True)
        dispatcher.event(QueryEndEvent(query=bundle, response=response))
        return response

    @dispatcher.span
    async def aimage_query(self, image_path: str, prompt_str: str = "") -> RESPONSE_TYPE:
        """Do what :meth:`image_query` does, without blocking the event loop."""
        bundle = QueryBundle(prompt_str, image_path=image_path)
        dispatcher.event(QueryStartEvent(query=bundle))
        with self.callback_manager.as_trace("query"):
            response = await self._aanswer(bundle, by_picture=True)
        dispatcher.event(QueryEndEvent(query=bundle, response=response))
        return response

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer a question from nodes that were retrieved before."""
        with self.callback_manager.as_trace("query"):
            return self._respond(
                self._response_synthesizer, query_bundle, nodes, additional_source_nodes
            )

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Do what :meth:`synthesize` does, without blocking the event loop."""
        with self.callback_manager.as_trace("query"):
            return await self._arespond(
                self._response_synthesizer, query_bundle, nodes, additional_source_nodes
            )

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
            response = self._respond(self._synthesizer(by_picture), bundle, nodes)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    async def _aanswer(self, bundle: QueryBundle, *, by_picture: bool = False) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:
            nodes = await self.aretrieve(_searched(bundle, by_picture=by_picture))
            response = await self._arespond(self._synthesizer(by_picture), bundle, nodes)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    def _respond(
        self,
        synthesizer: BaseSynthesizer,
        bundle: QueryBundle,
        nodes: Sequence[NodeWithScore],
        added: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        shown = [*_asked_with(bundle, synthesizer), *nodes]
        response = synthesizer.synthesize(query=bundle, nodes=shown, additional_source_nodes=added)
        return finished(response, shown, nodes)

    async def _arespond(
        self,
        synthesizer: BaseSynthesizer,
        bundle: QueryBundle,
        nodes: Sequence[NodeWithScore],
        added: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        shown = [*_asked_with(bundle, synthesizer), *nodes]
        if synthesizer._multimodal:
            shown = await asyncio.to_thread(prepared, shown)
        response = await synthesizer.asynthesize(
            query=bundle, nodes=shown, additional_source_nodes=added
        )
        return await asyncio.to_thread(finished, response, shown, nodes)

    def _synthesizer(self, by_picture: bool) -> BaseSynthesizer:
        return self._image_synthesizer if by_picture else self._response_synthesizer


def _asked_with(bundle: QueryBundle, synthesizer: BaseSynthesizer) -> list[NodeWithScore]:
    """Return a node of the picture of a question, where pictures are shown."""
    if not bundle.image_path or not synthesizer._multimodal:
        return []
    path = os.fspath(bundle.image_path)  # LlamaIndex leaves it to the caller what it is
    return [NodeWithScore(node=DiptychNode(text=_ASKED_WITH, image_path=path))]


def _searched(bundle: QueryBundle, *, by_picture: bool) -> QueryBundle:
    return QueryBundle("", image_path=bundle.image_path) if by_picture else bundle
