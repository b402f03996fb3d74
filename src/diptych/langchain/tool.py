"""A retriever as a tool of an agent, with the pictures where the model sees them."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel, Field

from diptych.context import ContextOptions, check_options
from diptych.errors import DiptychError, InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain.asking import aquestion, question
from diptych.langchain.messages import to_content_blocks

__all__ = ["create_multimodal_retriever_tool"]


class _Input(BaseModel):
    query: str = Field(description="What to look for, in words.")


def create_multimodal_retriever_tool(
    retriever: BaseRetriever,
    name: str,
    description: str,
    *,
    index: MultimodalIndex | None = None,
    **options: Unpack[ContextOptions],
) -> StructuredTool:
    """Return a tool whose result holds text and image blocks, and the documents as its artifact.

    LangChain's own ``create_retriever_tool`` joins texts, so that a model never sees a picture.

    A query of a model that cannot be one (half of a surrogate pair, a broken ``data:image/…`` URI) is
    answered in words, with the status "error", so that an agent goes on.

    Args:
        retriever: Any retriever; ``DiptychRetriever`` brings text and picture together.
        name: The name by which the model calls it.
        description: Tells the model what can be found.
        index: As for :func:`~diptych.langchain.to_content_blocks`.
        options: The budget, likewise.
    """
    check_options(**options)
    if not isinstance(retriever, BaseRetriever):
        raise InvalidArgument(
            f"The tool {name!r} was given {type(retriever).__name__} as its retriever; expected a "
            "LangChain retriever, such as DiptychRetriever."
        )

    def search(query: str, callbacks: Callbacks = None) -> tuple[list[Any], list[Document]]:
        try:
            question(query)
        except DiptychError as error:
            raise ToolException(str(error)) from error
        documents = retriever.invoke(query, config={"callbacks": callbacks})
        return list(to_content_blocks(documents, index=index, **options)), documents

    async def asearch(query: str, callbacks: Callbacks = None) -> tuple[list[Any], list[Document]]:
        try:
            await aquestion(query)
        except DiptychError as error:
            raise ToolException(str(error)) from error
        documents = await retriever.ainvoke(query, config={"callbacks": callbacks})
        blocks = await asyncio.to_thread(to_content_blocks, documents, index=index, **options)
        return list(blocks), documents

    return StructuredTool(
        name=name,
        description=description,
        func=search,
        coroutine=asearch,
        args_schema=_Input,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )
