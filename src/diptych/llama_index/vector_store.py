"""A LlamaIndex vector store of texts and pictures."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from pydantic import PrivateAttr

from diptych.checks import list_of, whole
from diptych.errors import EncoderMismatch, InvalidArgument
from diptych.filters import Filter
from diptych.index import MultimodalIndex
from diptych.index.closing import Closing
from diptych.llama_index import query as queries
from diptych.llama_index.adding import Added, add_nodes
from diptych.llama_index.convert import REF_DOC_ID, to_node
from diptych.llama_index.encoders import encoders_of_models
from diptych.llama_index.filters import all_of, on_text, to_filter
from diptych.llama_index.given import StoreOptions, open_index
from diptych.llama_index.persisted import PersistedVectorStore
from diptych.llama_index.store_options import check_index, check_options, check_remote
from diptych.llama_index.stored import update_metadata, vector_of
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.remote import RemotePictures
from diptych.report import AddReport, Failure

__all__ = ["DiptychVectorStore"]

_CREATING = threading.Lock()


class DiptychVectorStore(PersistedVectorStore, Closing):
    """Stores nodes with their pictures in a ``MultimodalIndex``.

    Whatever vector comes with a node finds it: ``embedding`` is the vector of its text, or stands in the
    text list for a picture without words; see ``node_vectors`` for the others. The picture is read from the
    node (``image``, ``image_path``, ``image_resource``; a URL by ``remote`` alone) and embedded by the image
    encoder. A node has one id in all lists, and leaves them together.

    What a node comes back with is what it was stored with; an ``ImageNode`` comes back as a
    ``DiptychNode``, which shows the model its text too. Documents that were added by diptych itself
    or through LangChain come back as nodes as well.

    Query modes, in which higher is better: default (everything, fused; a score in [0, 1]; by vector alone,
    a cosine, when the query has no words or names an ``embedding_field``: "text", "image" or
    "cross_modal"), text_search and sparse (words alone, BM25), hybrid (``alpha``; in [0, 1]) and mmr
    (``mmr_threshold``). Others are refused.

    Args:
        index: An index that exists, instead of everything else. Embed nodes and questions with its
            text encoder, as ``DiptychMultiModalEmbedding(index.text_encoder)`` does.
        embed_model: Embeds the nodes that come without an embedding: a LlamaIndex embedding or an
            encoder of diptych. It must be the one that embeds the questions.
        image_encoder: Embeds the pictures; ``embed_model`` when it does that too, unless the folder was
            filled without a model for pictures.
        path: A folder that keeps the index; in memory when it is left out. Given alone, it opens
            the index that is there, with the models that it remembers.
        remote: Fetches the pictures of nodes with a URL, from the hosts that it allows; none when it is left
            out. It is not kept in the folder.
        options: ``kind``, ``namespace``, ``lock_timeout``, ``fusion_model``, ``aligner``, ``images``
            and ``settings`` of ``MultimodalIndex``.
    """

    stores_text: bool = True
    is_embedding_query: bool = True

    _index: MultimodalIndex | None = PrivateAttr(default=None)
    _parts: tuple[Any, ...] = PrivateAttr(default=())
    _options: StoreOptions = PrivateAttr(default_factory=lambda: StoreOptions())
    _failed: tuple[Failure, ...] = PrivateAttr(default=())
    _remote: RemotePictures | None = PrivateAttr(default=None)

    def __init__(
        self,
        index: MultimodalIndex | None = None,
        *,
        embed_model: BaseEmbedding | TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
        path: str | os.PathLike[str] | None = None,
        remote: RemotePictures | None = None,
        **options: Unpack[StoreOptions],
    ) -> None:
        super().__init__(stores_text=True)
        check_index(index)
        check_remote(remote)
        self._remote = remote
        given = (*(p for p in (embed_model, image_encoder, path) if p is not None), *options)
        if index is not None and given:
            raise InvalidArgument(
                "DiptychVectorStore was given an index together with embed_model=, image_encoder=, "
                "path= or the like, which the index has of its own. Pass one or the other."
            )
        check_options(options, path)
        self._parts = (path, *encoders_of_models(embed_model, image_encoder))
        self._options = options
        if index is not None:
            self._index = index
            return
        try:
            self._index = open_index(*self._parts, **options)
        except EncoderMismatch:
            if image_encoder is not None or self._parts[2] is None:
                raise
            # Filled without a model for pictures, which nobody has asked for by name.
            self._parts = (*self._parts[:2], None)
            self._index = open_index(*self._parts, **options)

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

    @property
    def failed(self) -> tuple[Failure, ...]:
        """What could not be stored, or not whole, in the last call that added nodes."""
        return self._failed

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        if self._index is not None:
            self._index.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the store: with the index of its folder, opened again.

        Raises:
            InvalidArgument: The index is in memory.
        """
        path, *models = self._parts
        parts = (None if path is None else Path(path).absolute(), *models)
        return _made_again, (type(self), self._index, parts, self._options, self._remote)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes, or replace those with the same id, and return all ids in order.

        A node that cannot be stored is in :attr:`failed` and logged as a warning, and the others are
        stored. A blank node (white space, no picture) is left out in the same way.

        Raises:
            DocumentError: Nothing could be stored, because of metadata that is not JSON or the like; never
                within an ``IngestionPipeline``, nor because of nodes that are just blank.
            MediaError: Likewise, because of pictures that cannot be read.
            VectorError: Likewise, because of embeddings of another dimension, or not finite, or zero.
        """
        added = self._add(nodes)
        added.check()
        return [node.node_id for node in nodes]

    def store(self, nodes: Sequence[BaseNode]) -> AddReport:
        """Do what :meth:`add` does, and return what became of the nodes, also when nothing was stored."""
        return self._add(nodes).report

    def _add(self, nodes: Sequence[BaseNode]) -> Added:
        added = add_nodes(nodes, self._ready, self._remote)
        self._failed = added.report.failed
        return added

    def update_metadata(
        self,
        node_ids: Sequence[str],
        metadatas: Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> None:
        """Change the metadata of stored nodes; no model runs, and everything else stays.

        The new keys are merged into the old ones, each with its whole value; with ``replace`` the new ones
        alone remain. An id that is not stored, and metadata that is not JSON, is in :attr:`failed`.

        Raises:
            InvalidArgument: Not as many as there are ids, or none of them could be changed.
        """
        updated = update_metadata(self._index, node_ids, metadatas, replace=replace)
        self._failed = updated.report.failed
        updated.check()

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

    def get(self, text_id: str) -> list[float]:
        """Return the vector of a node, of length 1: that in the text list, else that of its picture.

        Raises:
            InvalidArgument: No such node is stored, or it has no vector.
        """
        return vector_of(self._index, text_id)

    def get_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        where_document: Mapping[str, Any] | None = None,
    ) -> list[BaseNode]:
        """Return the nodes that have one of these ids, in their order, and that filters admit.

        None is no restriction; ids that are not stored are left out.

        Args:
            node_ids: Which nodes; without them in the order of addition.
            filters: Conditions on the metadata.
            limit: How many at most.
            offset: How many of the first to leave out.
            where_document: A condition on the text, as in Chroma: ``{"$contains": "pump"}``.
        """
        if self._index is None:
            return []
        start = whole("offset", offset)
        most = None if limit is None else start + whole("limit", limit)
        where = all_of(to_filter(filters), on_text(where_document))
        return [
            to_node(stored) for stored in self._index.get(node_ids, where=where, limit=most)[start:]
        ]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return nodes, similarities and ids, best first.

        In the default mode a query with words searches everything, and similarities are the score in
        [0, 1] of ``MultimodalRetriever``; its embedding is the vector of the words. A query without words,
        or with ``embedding_field``, is compared by its vector alone, and similarities are cosines. Words
        of white space find nothing.

        Args:
            query: Its filters, ``node_ids`` and ``doc_ids`` apply before the search; an empty list
                of ids is no restriction.
            kwargs: ``mmr_threshold``, which goes before that of the query; ``score_threshold``, the least
                similarity; ``offset``, how many of the best to leave out; ``where_document``, a
                condition on the text. Others are ignored, because LlamaIndex passes on arguments that
                are meant for other stores.

        Raises:
            InvalidArgument: A mode that is not served, or a query without what its mode needs.
        """
        if self._index is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        found = queries.run(self._index, query, kwargs)
        return VectorStoreQueryResult(
            nodes=[to_node(one.document) for one in found],
            similarities=[one.score for one in found],
            ids=[one.document.id for one in found],
        )

    def _ready(self, dim: int) -> MultimodalIndex:
        """Return the index; a new one has the dimension of the first vectors."""
        with _CREATING:  # of two threads that add the first nodes, one makes it
            if self._index is None and dim:
                self._index = open_index(*self._parts, dim=dim, **self._options)
        if self._index is None:
            raise InvalidArgument(
                "The first nodes of a DiptychVectorStore without embed_model= have no text with an "
                "embedding. Embed them first, or pass embed_model=."
            )
        return self._index

    def _delete(self, node_ids: list[str] | None, where: Filter | None) -> None:
        if self._index is None:
            return
        if node_ids is None and where is None:
            self._index.clear()
        else:
            self._index.delete(node_ids, where=where)


def _made_again(
    cls: type[DiptychVectorStore],
    index: MultimodalIndex | None,
    parts: tuple[Any, ...],
    options: StoreOptions,
    remote: RemotePictures | None,
) -> DiptychVectorStore:
    # LlamaIndex's own way drops, with a warning, what it cannot pickle.
    store = cls(index) if index is not None else cls()
    store._parts, store._options, store._remote = parts, options, remote
    return store
