"""An index of documents over diptych's store: added, replaced and deleted as wholes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.schema import BaseNode, Document
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.utils import iter_batch

from diptych.checks import list_of
from diptych.index.closing import Closing
from diptych.llama_index.convert import recorded
from diptych.llama_index.ingest import KeepPictures
from diptych.llama_index.keeping import Kept, has_words, usable
from diptych.llama_index.options import check_known, check_update
from diptych.llama_index.updating import changed_documents, replaced, stored_nodes, writing
from diptych.llama_index.vector_store import DiptychVectorStore
from diptych.report import Failure

__all__ = ["DocumentIndex"]


class DocumentIndex(VectorStoreIndex, Closing):
    """Keeps documents and nodes in one store, where LlamaIndex would need a docstore beside it.

    Attributes:
        failed: What could not be stored by the last call, with reasons; blank nodes among it.
    """

    _kept: DiptychVectorStore
    failed: tuple[Failure, ...]

    @property
    def vector_store(self) -> DiptychVectorStore:
        """The store, whose ``index`` is diptych's."""
        return self._kept

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        self._kept.close()

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Add a document, or replace it when it is stored and has changed."""
        self.refresh_ref_docs([document], **insert_kwargs)

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """Do what :meth:`insert` does, in a thread."""
        await self.arefresh_ref_docs([document], **insert_kwargs)

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replace a document when it has changed; add it when it is not stored."""
        self.refresh_ref_docs([document], **update_kwargs)

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Do what :meth:`update_ref_doc` does, in a thread."""
        await self.arefresh_ref_docs([document], **update_kwargs)

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Add documents that are new, replace those that changed, and return which were either.

        What is compared is in the index itself, so it needs no docstore. The nodes of a document
        that changed are added before its old ones are deleted. Threads that give the same document
        take turns.

        Raises:
            TypeError: An option that is not known.
        """
        check_update("refresh_ref_docs", update_kwargs)
        given = list_of("documents", documents, Document, "LlamaIndex documents")
        kept = Kept()
        changed: list[bool] = []
        with self._callback_manager.as_trace("refresh_ref_docs"):
            for batch in iter_batch(given, self._insert_batch_size):
                with writing(self.vector_store):
                    changed += self._refresh(batch, kept)
        self.failed = kept.failures
        return changed

    async def arefresh_ref_docs(
        self, documents: Sequence[Document], **update_kwargs: Any
    ) -> list[bool]:
        """Do what :meth:`refresh_ref_docs` does, in a thread."""
        return await asyncio.to_thread(self.refresh_ref_docs, documents, **update_kwargs)

    def _refresh(self, documents: Sequence[Document], kept: Kept) -> list[bool]:
        stored = stored_nodes(self.vector_store.client, [one.id_ for one in documents])
        changed, made = changed_documents(documents, stored, self._nodes_of, kept)
        self._store([node for nodes in made.values() for node in nodes], kept)
        if stale := replaced(made, stored, kept):
            self.vector_store.delete_nodes(stale)
        self._storage_context.index_store.add_index_struct(self._index_struct)
        return changed

    def delete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Delete a document with its nodes and pictures.

        Raises:
            TypeError: An option that is not known.
        """
        check_known("delete_ref_doc", delete_kwargs, ())
        with writing(self.vector_store):
            super().delete_ref_doc(ref_doc_id)

    def delete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by their ids, those that ``filters`` admit.

        Raises:
            TypeError: An option that is not known.
        """
        check_known("delete_nodes", delete_kwargs, ("filters",))
        self.vector_store.delete_nodes(node_ids, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Do what :meth:`delete_nodes` does, in a thread."""
        check_known("adelete_nodes", delete_kwargs, ("filters",))
        await self.vector_store.adelete_nodes(node_ids, **delete_kwargs)

    async def adelete_ref_doc(
        self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any
    ) -> None:
        """Do what :meth:`delete_ref_doc` does, in a thread."""
        await asyncio.to_thread(self.delete_ref_doc, ref_doc_id, **delete_kwargs)

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Store nodes, or replace those with the same id. What fails is in :attr:`failed`.

        Raises:
            DocumentError: None of them could be stored, and not all were blank; ``MediaError`` where pictures
                are to blame, ``VectorError`` where embeddings are.
            TypeError: An option, or something that is not a node.
        """
        check_known("insert_nodes", insert_kwargs, ())
        given = list_of("nodes", nodes, BaseNode, "nodes")
        self._validate_serializable(given)
        with self._callback_manager.as_trace("insert_nodes"):
            kept = self._store(given, Kept())
            self._storage_context.index_store.add_index_struct(self._index_struct)
        self.failed = kept.failures
        kept.added.check()

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Do what :meth:`insert_nodes` does, and await the embedding of texts."""
        check_known("ainsert_nodes", insert_kwargs, ())
        given = list_of("nodes", nodes, BaseNode, "nodes")
        self._validate_serializable(given)
        with self._callback_manager.as_trace("insert_nodes"):
            kept = await self._astore(given)
            self._storage_context.index_store.add_index_struct(self._index_struct)
        self.failed = kept.failures
        kept.added.check()

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """The nodes and the metadata of every document that was added."""
        infos: dict[str, RefDocInfo] = {}
        index = self.vector_store.client
        for stored in [] if index is None else index.get():
            source = recorded(stored).ref_doc_id
            if source is not None:
                info = infos.setdefault(source, RefDocInfo(metadata=dict(stored.metadata)))
                info.node_ids.append(stored.id)
        return infos

    def build_index_from_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> IndexDict:
        """Store nodes; unlike LlamaIndex's own, also pictures without words."""
        return self._build_index_from_nodes(nodes, **insert_kwargs)

    def _nodes_of(self, document: Document) -> list[BaseNode]:
        keep = KeepPictures(*self._transformations)
        return keep([document], show_progress=self._show_progress)

    def _add_nodes_to_index(
        self,
        index_struct: IndexDict,
        nodes: Sequence[BaseNode],
        show_progress: bool = False,
        **insert_kwargs: Any,
    ) -> None:
        self.failed = self._store(nodes, Kept(), show_progress).failures

    async def _async_add_nodes_to_index(
        self,
        index_struct: IndexDict,
        nodes: Sequence[BaseNode],
        show_progress: bool = False,
        **insert_kwargs: Any,
    ) -> None:
        self.failed = (await self._astore(nodes, show_progress)).failures

    def _store(self, nodes: Sequence[BaseNode], kept: Kept, show_progress: bool = False) -> Kept:
        for batch in iter_batch(usable(nodes, kept), self._insert_batch_size):
            words = [node for node in batch if has_words(node)]
            embedded = self._get_node_with_embedding(words, show_progress) if words else []
            self._keep(batch, embedded, kept)
        return kept

    async def _astore(self, nodes: Sequence[BaseNode], show_progress: bool = False) -> Kept:
        kept = Kept()
        for batch in iter_batch(usable(nodes, kept), self._insert_batch_size):
            words = [node for node in batch if has_words(node)]
            embedded = await self._aget_node_with_embedding(words, show_progress) if words else []
            await asyncio.to_thread(self._keep, batch, embedded, kept)
        return kept

    def _keep(self, batch: Sequence[BaseNode], embedded: Sequence[BaseNode], kept: Kept) -> None:
        by_id = {node.node_id: node for node in embedded}
        ready = [by_id.get(node.node_id, node) for node in batch]
        kept.add(self.vector_store._add(ready))
