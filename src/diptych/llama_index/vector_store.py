"""A LlamaIndex vector store of texts and pictures."""

from __future__ import annotations

import asyncio
import os
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from pydantic import PrivateAttr

from diptych.checks import list_of
from diptych.encoders import FunctionEncoder
from diptych.errors import InvalidArgument, MediaError
from diptych.filters import Filter
from diptych.index import IndexOptions, MultimodalIndex, in_stored_groups
from diptych.llama_index import persist
from diptych.llama_index import query as queries
from diptych.llama_index.convert import REF_DOC_ID, to_node, to_stored
from diptych.llama_index.filters import to_filter
from diptych.llama_index.given import open_index
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.report import AddReport, Failure
from diptych.types import Document

__all__ = ["DiptychVectorStore"]

_NAME = "{namespace}__vector_store.json"


class DiptychVectorStore(BasePydanticVectorStore):
    """Stores nodes with their pictures in a ``MultimodalIndex``.

    The embedding that comes with a node is the vector of its text. Its picture is read from the
    node (``image``, ``image_path``, ``image_resource``; a URL is not fetched) and embedded by the
    image encoder. A node has one id in all three vector indexes, and leaves them together.

    What a node comes back with is what it was stored with; an ``ImageNode`` comes back as a
    ``DiptychNode``, which shows the model its text too. Documents that were added by diptych itself
    or through LangChain come back as nodes as well.

    The query modes are default, text_search (words, BM25), hybrid (``alpha``) and mmr
    (``mmr_threshold``); others are refused. ``embedding_field`` names the vectors that are compared
    with the query's: "text", "image" or "cross_modal". Similarities: higher is better; a cosine in
    the default mode.

    Args:
        index: An index that exists, instead of everything else. Embed nodes and questions with its
            text encoder, as ``DiptychMultiModalEmbedding(index.text_encoder)`` does.
        embed_model: Embeds the nodes that come without an embedding: a LlamaIndex embedding or an
            encoder of diptych. It must be the one that embeds the questions.
        image_encoder: Embeds the pictures.
        path: A folder that keeps the index; in memory when it is left out. Given alone, it opens
            the index that is there, with the models that it remembers.
        options: ``kind``, ``namespace``, ``lock_timeout``, ``fusion_model`` and ``aligner`` of
            ``MultimodalIndex``.
    """

    stores_text: bool = True
    is_embedding_query: bool = True

    _index: MultimodalIndex | None = PrivateAttr(default=None)
    _parts: tuple[Any, ...] = PrivateAttr(default=())
    _options: IndexOptions = PrivateAttr(default_factory=lambda: IndexOptions())

    def __init__(
        self,
        index: MultimodalIndex | None = None,
        *,
        embed_model: BaseEmbedding | TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
        path: str | os.PathLike[str] | None = None,
        **options: Unpack[IndexOptions],
    ) -> None:
        super().__init__(stores_text=True)
        given = (*(p for p in (embed_model, image_encoder, path) if p is not None), *options)
        if index is not None and given:
            raise InvalidArgument(
                "DiptychVectorStore was given an index together with embed_model=, image_encoder=, "
                "path= or the like, which the index has of its own. Pass one or the other."
            )
        is_encoder = embed_model is None or isinstance(embed_model, TextEncoder)
        text: Any = embed_model if is_encoder else FunctionEncoder.from_llama_index(embed_model)
        self._parts = (path, text, image_encoder)
        self._options = options
        self._index = open_index(*self._parts, **options) if index is None else index

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex refers to the class."""
        return "DiptychVectorStore"

    @property
    def client(self) -> MultimodalIndex | None:
        """The index; see :attr:`index`."""
        return self._index

    @property
    def index(self) -> MultimodalIndex:
        """The index, for ``DiptychRetriever`` and for diptych's own retriever.

        Raises:
            InvalidArgument: The store was made without a model, and nothing has been added yet.
        """
        if self._index is None:
            raise InvalidArgument(
                "This DiptychVectorStore has no index yet: it takes the dimension of its vectors "
                "from the first nodes. Add nodes first, or pass embed_model=."
            )
        return self._index

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes, or replace those with the same id, and return the ids in order.

        Raises:
            DocumentError: A node without text and picture, or with metadata that is not JSON.
            MediaError: Some pictures cannot be read. The other nodes have been stored.
            VectorError: An embedding has another dimension than those stored.
        """
        report = self.store(nodes)
        if report.failed:
            reasons = "; ".join(str(failure) for failure in report.failed)
            raise MediaError(
                f"{len(report.failed)} of {len(nodes)} nodes were not stored, the others were: "
                f"{reasons}"
            )
        return [node.node_id for node in nodes]

    def store(self, nodes: Sequence[BaseNode]) -> AddReport:
        """Do what :meth:`add` does, and report pictures that cannot be read instead of raising.

        Raises:
            DocumentError: As for :meth:`add`.
            VectorError: As for :meth:`add`.
        """
        stored: dict[str, Document] = {}
        failed: list[Failure] = []
        for node in list_of("nodes", nodes, BaseNode, "nodes"):
            try:
                stored[node.node_id] = to_stored(node)
            except MediaError as error:
                failed.append(
                    Failure(node.node_id, str(node.metadata.get("source", "")), str(error))
                )
        if not stored:
            return AddReport(failed=tuple(failed))
        vectors = {
            node.node_id: node.embedding
            for node in nodes
            if node.embedding is not None
            and node.node_id in stored
            and stored[node.node_id].has_text
        }
        index = self._ready(vectors)
        documents = in_stored_groups(index, list(stored.values()))
        report = index.upsert(documents, text_vectors=vectors)
        return report + AddReport(failed=tuple(failed))

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a source document; none is fine too.

        Raises:
            InvalidArgument: The id is not a string.
        """
        list_of("ref_doc_id", [ref_doc_id], str, "ids")
        self._delete(None, {REF_DOC_ID: ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete the nodes that have one of these ids and that the filters admit.

        None is no restriction; with neither, everything is deleted, as by ``SimpleVectorStore``. An
        empty list of ids deletes nothing.
        """
        self._delete(node_ids, to_filter(filters))

    def clear(self) -> None:
        """Delete all nodes."""
        if self._index is not None:
            self._index.clear()

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes that have one of these ids, in their order, and that filters admit.

        None is no restriction; ids that are not stored are left out.
        """
        if self._index is None:
            return []
        return [to_node(stored) for stored in self._index.get(node_ids, where=to_filter(filters))]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return nodes, similarities and ids, best first.

        Args:
            query: Its filters, ``node_ids`` and ``doc_ids`` apply before the search; an empty list
                of ids is no restriction.
            kwargs: ``mmr_threshold``, which goes before that of the query. Others are ignored,
                because LlamaIndex passes on arguments that are meant for other stores.

        Raises:
            InvalidArgument: A mode that is not served, or a query without what its mode needs.
        """
        if self._index is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        found = queries.run(self._index, query, kwargs)
        stored = {document.id: document for document in self._index.get([i for i, _ in found])}
        # A node that was deleted since it was found is left out.
        there = [(identity, score) for identity, score in found if identity in stored]
        return VectorStoreQueryResult(
            nodes=[to_node(stored[identity]) for identity, _ in there],
            similarities=[score for _, score in there],
            ids=[identity for identity, _ in there],
        )

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
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Do what :meth:`get_nodes` does, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Do what :meth:`query` does, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Keep the store beside ``persist_path``, and write there how to load it.

        ``StorageContext.persist`` calls this. A store with a path of its own is on stable storage
        after every change; this copies it. One that was loaded from the same place is there already.

        Args:
            persist_path: A file; the index goes into a folder of nearly that name beside it.
            fs: A file system of fsspec; on another one than this machine's the index is one file.

        Raises:
            InvalidArgument: Nothing has been added yet.
            MediaError: A picture cannot be read, and the file system is another one.
        """
        if persist.is_local(fs):
            persist.write(self.index, persist_path)
        else:
            persist.upload(self.index, persist_path, fs)

    @classmethod
    def from_persist_path(
        cls,
        persist_path: str,
        fs: Any = None,
        *,
        embed_model: BaseEmbedding | TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
    ) -> Self:
        """Return the store that was persisted to a path.

        On this machine's file system changes to it are kept there. From another one it is copied
        into a temporary folder; persist it again after a change.

        Args:
            persist_path: What :meth:`persist` was given.
            fs: None, or a file system of fsspec.
            embed_model: As for the class; the one that the store was filled with. Without models,
                those that the index remembers are loaded.
            image_encoder: Likewise; without it no pictures can be added.

        Raises:
            FormatError: There is no such store.
            EncoderMismatch: The store was filled with other models.
        """
        if persist.is_local(fs):
            folder = persist.folder_of(persist_path)
            return cls(embed_model=embed_model, image_encoder=image_encoder, path=folder)
        folder = persist.download(persist_path, fs)
        try:
            store = cls(embed_model=embed_model, image_encoder=image_encoder, path=folder)
        except BaseException:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise
        weakref.finalize(store.index, shutil.rmtree, folder.parent, ignore_errors=True)
        return store

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str = "./storage",
        namespace: str = "default",
        fs: Any = None,
        **models: Any,
    ) -> Self:
        """Return the store that ``StorageContext.persist`` kept; see :meth:`from_persist_path`."""
        path = Path(persist_dir) / _NAME.format(namespace=namespace)
        return cls.from_persist_path(str(path), fs, **models)

    def _ready(self, vectors: Mapping[str, list[float]]) -> MultimodalIndex:
        """Return the index; the first vectors say which dimension a new one has."""
        if self._index is None and vectors:
            self._index = open_index(
                *self._parts, dim=len(next(iter(vectors.values()))), **self._options
            )
        if self._index is None:
            raise InvalidArgument(
                "The first nodes of a DiptychVectorStore without embed_model= have no text with an "
                "embedding. Embed them first, or pass embed_model=."
            )
        if vectors and self._index.text_encoder is None:
            raise InvalidArgument(
                "The index of this DiptychVectorStore has no text encoder, so it has no room for "
                "the embeddings of nodes. Create the index with one."
            )
        return self._index

    def _delete(self, node_ids: list[str] | None, where: Filter | None) -> None:
        if self._index is None:
            return
        if node_ids is None and where is None:
            self._index.clear()
        else:
            self._index.delete(node_ids, where=where)
