"""A LlamaIndex index of texts and pictures, in place of ``MultiModalVectorStoreIndex``."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Self, cast

from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import CondenseQuestionChatEngine, SimpleChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.llms.utils import LLMType, resolve_llm
from llama_index.core.schema import BaseNode, Document, MetadataMode, TransformComponent
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.utils import iter_batch
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from diptych.checks import list_of
from diptych.errors import DiptychError, InvalidArgument
from diptych.index.closing import Closing
from diptych.llama_index.chat import context_chat
from diptych.llama_index.convert import REF_DOC_ID, grouped, recorded
from diptych.llama_index.engines import DiptychQueryEngine, with_blocks
from diptych.llama_index.ingest import KeepPictures
from diptych.llama_index.models import Model, embedding_of, new_store, store_in
from diptych.llama_index.node import has_picture, picture_of
from diptych.llama_index.retriever import DiptychRetriever
from diptych.llama_index.vector_store import DiptychVectorStore
from diptych.report import Failure
from diptych.reserved import place_of

__all__ = ["DiptychMultiModalIndex"]

logger = logging.getLogger(__name__)


class DiptychMultiModalIndex(VectorStoreIndex, Closing):
    """Documents and nodes with text, a picture or both; one ranked list out of it, to every engine.

    It is used as ``MultiModalVectorStoreIndex`` is, with one store instead of two. Pictures without
    words are kept, a document's pictures leave with it, ``retrieve`` reads ``image_path``, and k
    means k. Adding a document that is stored already, unchanged, does nothing, also after the index
    was opened again; one that changed, in its text, its metadata or the content of its picture, is
    replaced. A picture that cannot be read is logged and is in :attr:`failed`; the others go on.

    Args:
        nodes: What to add at once.
        embed_model: Embeds texts: a LlamaIndex embedding, an encoder of diptych, or a name that
            LlamaIndex knows; what the store has by default, else ``Settings.embed_model``.
        image_embed_model: Embeds pictures, likewise; ``embed_model`` when that does.
        path: A folder that keeps the index; in memory when it is left out. Given alone, it opens
            the index that is there.
        storage_context: Holds a ``DiptychVectorStore``, instead of models and a path.
        insert_batch_size: How many nodes are embedded and stored together.
        options: As for ``VectorStoreIndex``: ``transformations``, ``show_progress``, ``use_async``,
            ``callback_manager``, ``objects``, ``index_struct``.

    Raises:
        InvalidArgument: The storage context holds another vector store, or nothing embeds texts.
    """

    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        *,
        embed_model: Model = None,
        image_embed_model: Model = None,
        path: str | os.PathLike[str] | None = None,
        storage_context: StorageContext | None = None,
        insert_batch_size: int = 256,
        **options: Any,
    ) -> None:
        self.failed: tuple[Failure, ...] = ()
        store = store_in(storage_context)
        if store is None:
            store = new_store(embed_model, image_embed_model, path)
        elif path is not None:
            raise InvalidArgument("path= was given together with a storage context. Pass one.")
        self._kept = store
        context = storage_context or StorageContext.from_defaults()
        context.vector_stores["default"] = store
        if not nodes and options.get("index_struct") is None:
            nodes = []
        super().__init__(
            nodes=nodes,
            embed_model=embedding_of(embed_model, store),
            storage_context=context,
            insert_batch_size=insert_batch_size,
            **options,
        )

    @property
    def vector_store(self) -> DiptychVectorStore:
        """The store, whose ``index`` is diptych's."""
        return self._kept

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        self._kept.close()

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        storage_context: StorageContext | None = None,
        show_progress: bool = False,
        callback_manager: CallbackManager | None = None,
        transformations: list[TransformComponent] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return an index with some documents; those that it holds already are left as they are.

        Args:
            documents: With text, a picture or both.
            storage_context: As for the class.
            show_progress: Show progress bars.
            callback_manager: As for ``VectorStoreIndex``.
            transformations: What makes nodes out of texts; ``Settings.transformations`` by default.
            kwargs: The other arguments of the class.
        """
        index = cls(
            storage_context=storage_context,
            show_progress=show_progress,
            callback_manager=callback_manager,
            transformations=transformations,
            **kwargs,
        )
        index.refresh_ref_docs(documents)
        return index

    @classmethod
    def from_vector_store(
        cls, vector_store: BasePydanticVectorStore, embed_model: Model = None, **kwargs: Any
    ) -> Self:
        """Return an index over a store that exists.

        Args:
            vector_store: A ``DiptychVectorStore``.
            embed_model: The model of its texts; the store's own by default.
            kwargs: The other arguments of the class.
        """
        context = StorageContext.from_defaults(vector_store=vector_store)
        return cls(embed_model=embed_model, storage_context=context, **kwargs)

    def as_retriever(self, **options: Any) -> DiptychRetriever:
        """Return a retriever; arguments are those of ``DiptychRetriever``.

        Raises:
            TypeError: One that it does not know.
        """
        known = DiptychRetriever.OPTIONS | {"object_map", "callback_manager", "objects", "verbose"}
        if unknown := sorted(options.keys() - known):
            raise TypeError(
                f"as_retriever does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}."
            )
        options = {
            "object_map": self._object_map,
            "callback_manager": self._callback_manager,
            **options,
        }
        return DiptychRetriever(self.vector_store.index, **options)

    def as_query_engine(
        self, llm: LLMType | None = None, *, multimodal: bool | None = None, **options: Any
    ) -> DiptychQueryEngine:
        """Return an engine that sends texts and pictures to a model.

        Args:
            llm: ``Settings.llm`` by default.
            multimodal: Whether pictures are sent; by default to every model that chats.
            options: Arguments of ``DiptychRetriever`` and of ``RetrieverQueryEngine.from_args``. A
                ``text_qa_template`` is rewritten so that it shows pictures.
        """
        retrieving = {k: options.pop(k) for k in list(options) if k in DiptychRetriever.OPTIONS}
        model = _language_model(llm, self._callback_manager)
        shows = model.metadata.is_chat_model if multimodal is None else multimodal
        if shows:
            for name, rich in _TEMPLATES.items():
                if options.get(name) is not None and options.get(rich) is None:
                    options[rich] = with_blocks(options.pop(name))
        retriever = self.as_retriever(**retrieving)
        engine = DiptychQueryEngine.from_args(retriever, llm=model, multimodal=shows, **options)
        return cast(DiptychQueryEngine, engine)

    def as_chat_engine(
        self,
        chat_mode: ChatMode = ChatMode.BEST,
        llm: LLMType | None = None,
        *,
        multimodal: bool = True,
        max_images: int = 4,
        **options: Any,
    ) -> BaseChatEngine:
        """Return an engine that answers turn by turn.

        Args:
            chat_mode: "context" retrieves for each message, "condense_plus_context" (also "best")
                makes a question of its own out of message and history first. They show what was
                retrieved for this turn, words and pictures, and none of earlier turns.
                "condense_question" asks the query engine. "simple" retrieves nothing.
            llm: ``Settings.llm`` by default.
            multimodal: Whether pictures are sent.
            max_images: How many pictures a turn of the first two shows at most.
            options: Arguments of ``DiptychRetriever`` and of the engine.
        """
        retrieving = {k: options.pop(k) for k in list(options) if k in DiptychRetriever.OPTIONS}
        model = _language_model(llm, self._callback_manager)
        mode = ChatMode(chat_mode)
        if mode in (ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT, ChatMode.BEST):
            return context_chat(
                mode,
                self.as_retriever(**retrieving),
                model,
                options,
                max_images if multimodal else None,
            )
        if mode == ChatMode.CONDENSE_QUESTION:
            engine = self.as_query_engine(model, multimodal=multimodal, **retrieving)
            return CondenseQuestionChatEngine.from_defaults(engine, llm=model, **options)
        if mode == ChatMode.SIMPLE:
            return SimpleChatEngine.from_defaults(llm=model, **options)
        return super().as_chat_engine(mode, model)

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Add a document, or replace it when it is stored and has changed."""
        self.refresh_ref_docs([document])

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """Do what :meth:`insert` does, in a thread."""
        await self.arefresh_ref_docs([document])

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replace a document when it has changed; add it when it is not stored."""
        self.refresh_ref_docs([document])

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Do what :meth:`update_ref_doc` does, in a thread."""
        await self.arefresh_ref_docs([document])

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Add documents that are new, replace those that changed, and return which were either.

        What is compared is in the index itself, so it needs no docstore. The nodes of a document
        that changed are added before its old ones are deleted.
        """
        given = list_of("documents", documents, Document, "LlamaIndex documents")
        with self._callback_manager.as_trace("refresh_ref_docs"):
            changed: list[bool] = []
            for batch in iter_batch(given, self._insert_batch_size):
                changed += self._refresh(batch)
            return changed

    async def arefresh_ref_docs(
        self, documents: Sequence[Document], **update_kwargs: Any
    ) -> list[bool]:
        """Do what :meth:`refresh_ref_docs` does, in a thread."""
        return await asyncio.to_thread(self.refresh_ref_docs, documents)

    def _refresh(self, documents: Sequence[Document]) -> list[bool]:
        before = self._stored([document.id_ for document in documents])
        changed: list[bool] = []
        made: dict[str, list[BaseNode]] = {}
        for document in documents:
            state = _state(document)
            stored = before.get(document.id_, {})
            changed.append(not stored or set(stored.values()) != {f"{state}/{len(stored)}"})
            if changed[-1]:
                made[document.id_] = self._nodes_of(document, state)
        failed_before = len(self.failed)
        self.insert_nodes([node for nodes in made.values() for node in nodes])
        failed = {failure.id for failure in self.failed[failed_before:]}
        stale: set[str] = set()
        for identity, nodes in made.items():
            new = {node.node_id for node in nodes}
            # What replaced it could not be stored whole: then the old one stays.
            if not new & failed:
                stale |= before.get(identity, {}).keys() - new
        if stale:
            self.vector_store.delete_nodes(sorted(stale))
        return changed

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

    def _nodes_of(self, document: Document, state: str) -> list[BaseNode]:
        """Return the nodes of a document, which say what it was when they were made."""
        keep = KeepPictures(*self._transformations)
        made = keep([document], show_progress=self._show_progress)
        marked = f"{state}/{len(made)}"
        return [grouped(node, **_group(node), source_hash=marked) for node in made]

    def _stored(self, ref_doc_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return, for documents that are stored, what their nodes say of them."""
        index = self.vector_store.client
        if index is None or not ref_doc_ids:
            return {}
        found: dict[str, dict[str, str]] = {}
        for stored in index.get(where={REF_DOC_ID: {"$in": list(ref_doc_ids)}}):
            record = recorded(stored)
            if record.ref_doc_id is not None:
                found.setdefault(record.ref_doc_id, {})[stored.id] = record.source_hash
        return found

    def _add_nodes_to_index(
        self,
        index_struct: IndexDict,
        nodes: Sequence[BaseNode],
        show_progress: bool = False,
        **insert_kwargs: Any,
    ) -> None:
        for batch in iter_batch(self._usable(nodes), self._insert_batch_size):
            words = [node for node in batch if _is_text(node)]
            embedded = self._get_node_with_embedding(words, show_progress) if words else []
            self._keep(batch, embedded)

    async def _async_add_nodes_to_index(
        self,
        index_struct: IndexDict,
        nodes: Sequence[BaseNode],
        show_progress: bool = False,
        **insert_kwargs: Any,
    ) -> None:
        for batch in iter_batch(self._usable(nodes), self._insert_batch_size):
            words = [node for node in batch if _is_text(node)]
            embedded = await self._aget_node_with_embedding(words, show_progress) if words else []
            await asyncio.to_thread(self._keep, batch, embedded)

    def _usable(self, nodes: Sequence[BaseNode]) -> list[BaseNode]:
        usable = [node for node in nodes if _is_text(node) or has_picture(node)]
        if len(usable) < len(nodes):
            logger.warning("%d nodes have neither text nor a picture", len(nodes) - len(usable))
        return usable

    def _keep(self, batch: Sequence[BaseNode], embedded: Sequence[BaseNode]) -> None:
        by_id = {node.node_id: node for node in embedded}
        report = self.vector_store.store([by_id.get(node.node_id, node) for node in batch])
        self.failed += report.failed
        for failure in report.failed:
            logger.warning("Not stored: %s", failure)


_TEMPLATES = {
    "text_qa_template": "chat_content_qa_template",
    "refine_template": "chat_content_refine_template",
}
"""Which template of the multimodal synthesizers stands for which of the others."""


def _language_model(llm: LLMType | None, callback_manager: Any) -> Any:
    model: BaseLLM = resolve_llm(llm, callback_manager=callback_manager) if llm else Settings.llm
    return model


def _is_text(node: BaseNode) -> bool:
    mode = MetadataMode.NONE if has_picture(node) else MetadataMode.EMBED
    return bool(node.get_content(mode).strip())


def _group(node: BaseNode) -> dict[str, Any]:
    place = place_of(node.metadata)
    return {"group": place.group, "order": place.order}


def _state(document: Document) -> str:
    """Return a hash of a document and of the content of its picture."""
    try:
        picture = picture_of(document)
        content = "" if picture is None else picture.sha256
    except (DiptychError, OSError):
        content = "unreadable"
    return sha256(f"{document.hash}\0{content}".encode()).hexdigest()[:32]
