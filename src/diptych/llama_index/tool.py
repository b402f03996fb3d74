"""A retriever as a tool of an agent, with the pictures where the model sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Unpack

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools import RetrieverTool, ToolMetadata, ToolOutput

from diptych.context import ContextOptions, check_options
from diptych.errors import InvalidArgument
from diptych.llama_index.content import to_content_blocks

__all__ = ["DiptychRetrieverTool"]


class DiptychRetrieverTool(RetrieverTool):
    """A tool whose output holds text and image blocks, and the nodes as its raw output.

    LlamaIndex's own ``RetrieverTool`` joins texts, so that a model never sees a picture, and asks
    the retriever for "input is …" instead of for what the model wrote. Where nothing is found, as for a
    blank query, the output says so in words.

    Args:
        retriever: Any retriever; ``DiptychRetriever`` brings text and picture together.
        metadata: The name by which the model calls it, and what can be found.
        node_postprocessors: Applied to what was retrieved.
        options: The budget, as for :func:`diptych.context.build_context`.

    Raises:
        InvalidArgument: It was called without an argument.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        metadata: ToolMetadata,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        **options: Unpack[ContextOptions],
    ) -> None:
        check_options(**options)
        super().__init__(retriever, metadata, node_postprocessors)
        self._options = options

    @classmethod
    def from_defaults(
        cls,
        retriever: BaseRetriever,
        node_postprocessors: list[BaseNodePostprocessor] | None = None,
        name: str | None = None,
        description: str | None = None,
        **options: Unpack[ContextOptions],
    ) -> DiptychRetrieverTool:
        """Return a tool; arguments are those of the class.

        Args:
            retriever: As for the class.
            node_postprocessors: As for the class.
            name: By which the model calls it; "retriever_tool" by default.
            description: What can be found.
            options: As for the class.
        """
        plain = RetrieverTool.from_defaults(retriever, node_postprocessors, name, description)
        return cls(retriever, plain.metadata, node_postprocessors, **options)

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Return what is found for a query: blocks for the model, nodes for the program."""
        query = _query(args, kwargs)
        nodes = self._apply_node_postprocessors(self._retriever.retrieve(query), QueryBundle(query))
        return self._output(query, nodes)

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Return what :meth:`call` does, without blocking the event loop."""
        query = _query(args, kwargs)
        found = await self._retriever.aretrieve(query)
        nodes = await self._async_apply_node_postprocessors(found, QueryBundle(query))
        return await asyncio.to_thread(self._output, query, nodes)

    def _output(self, query: str, nodes: Sequence[NodeWithScore]) -> ToolOutput:
        blocks: list[ContentBlock] = [*to_content_blocks(nodes, **self._options)]
        if not nodes:
            why = f" for {query!r}" if query.strip() else ": the query is blank"
            blocks = [TextBlock(text=f"Nothing was found{why}.")]
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            blocks=blocks,
            raw_input={"input": query},
            raw_output=list(nodes),
        )


def _query(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    if not args and not kwargs:
        raise InvalidArgument("The retriever tool was called without a query. Pass input=.")
    return ", ".join(str(value) for value in (*args, *kwargs.values())).strip()
