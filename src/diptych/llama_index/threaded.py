"""A LlamaIndex vector store whose asynchronous methods do what the others do, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from diptych.llama_index.node import read_pictures

__all__ = ["ThreadedVectorStore"]


class ThreadedVectorStore(BasePydanticVectorStore):
    """LlamaIndex's own asynchronous methods call the others on the event loop, which then waits."""

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Do what :meth:`add` does, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Do what :meth:`delete` does, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Do what :meth:`delete_nodes` does, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """Do what :meth:`clear` does, in a thread."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **options: Any,
    ) -> list[BaseNode]:
        """Do what :meth:`get_nodes` does, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters, **options)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Do what :meth:`query` does, in a thread, which also reads the first 8 pictures."""

        def run() -> VectorStoreQueryResult:
            found = self.query(query, **kwargs)
            read_pictures(found.nodes or [])
            return found

        return await asyncio.to_thread(run)
