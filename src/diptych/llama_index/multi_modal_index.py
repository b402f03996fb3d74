"""A LlamaIndex index of texts and pictures, in place of ``MultiModalVectorStoreIndex``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

from llama_index.core import StorageContext
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.llms.utils import LLMType
from llama_index.core.schema import BaseNode, Document, TransformComponent
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from diptych.checks import at_least_one
from diptych.llama_index import loading
from diptych.llama_index.asking import ENGINE_OPTIONS, language_model, query_engine
from diptych.llama_index.chat import CHAT_MODES, chat_engine, chat_options
from diptych.llama_index.document_index import DocumentIndex
from diptych.llama_index.engines import DiptychQueryEngine
from diptych.llama_index.ingest import KeepPictures
from diptych.llama_index.models import Model, check_same, embedding_of, fit, new_store, store_in
from diptych.llama_index.options import (
    INDEX_OPTIONS,
    INSTEAD_ASKED,
    check_known,
    check_only_one,
    taken,
)
from diptych.llama_index.retriever import DiptychRetriever
from diptych.llama_index.store_options import check_remote
from diptych.remote import RemotePictures
from diptych.report import Failure

__all__ = ["DiptychMultiModalIndex"]

_OPTIONS = INDEX_OPTIONS | {
    "callback_manager",
    "index_struct",
    "objects",
    "show_progress",
    "transformations",
    "use_async",
}
_RETRIEVER = DiptychRetriever.OPTIONS | {"callback_manager", "object_map", "objects", "verbose"}
_ASKED = DiptychRetriever.OPTIONS | {"embed_model"}


class DiptychMultiModalIndex(DocumentIndex):
    """Documents and nodes with text, a picture or both; one ranked list out of it, to every engine.

    It is used as ``MultiModalVectorStoreIndex`` is, with one store instead of two. Pictures without
    words are kept, a document's pictures leave with it, ``retrieve`` reads ``image_path``, and k
    means k. Adding a document that is stored already, unchanged, does nothing, also after the index
    was opened again; one that changed, in its text, its metadata or the content of its picture, is
    replaced, also when several threads or tasks give it at once. What cannot be stored is logged and
    is in :attr:`failed`; the others go on.

    Args:
        nodes: What to add at once.
        embed_model: Embeds texts: a LlamaIndex embedding, an encoder of diptych, or a name that
            LlamaIndex knows; what the store has by default, else ``Settings.embed_model``.
        image_embed_model: Embeds pictures, likewise; ``embed_model`` when that does.
        path: A folder that keeps the index; in memory when it is left out. Given alone, it opens
            the index that is there.
        storage_context: Holds a ``DiptychVectorStore``, instead of models and a path.
        insert_batch_size: How many nodes are embedded and stored together.
        remote: Fetches the pictures of documents and nodes with a URL, from the hosts that it allows; as the
            store does when it is left out.
        options: As for ``VectorStoreIndex``: ``transformations``, ``show_progress``, ``use_async``,
            ``callback_manager``, ``objects``, ``index_struct``; and for ``MultimodalIndex``: ``kind``,
            ``namespace``, ``lock_timeout``, ``fusion_model``, ``aligner``, ``images``, ``settings``.

    Attributes:
        failed: What could not be stored by the last call, with reasons; blank nodes among it.

    Raises:
        EncoderMismatch: The store is filled with vectors of another model.
        InvalidArgument: The storage context holds another vector store, or options that it has of its
            own were given with it, or nothing embeds texts.
        TypeError: An option that is not known.
    """

    index_struct_cls = loading.DiptychIndexDict

    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        *,
        embed_model: Model = None,
        image_embed_model: Model = None,
        path: str | os.PathLike[str] | None = None,
        storage_context: StorageContext | None = None,
        insert_batch_size: int = 256,
        remote: RemotePictures | None = None,
        **options: Any,
    ) -> None:
        check_known(type(self).__name__, options, _OPTIONS)
        check_remote(remote)
        at_least_one("insert_batch_size", insert_batch_size)
        KeepPictures(*(options.get("transformations") or ()))  # refuses what transforms nothing
        self.failed: tuple[Failure, ...] = ()
        of_store = taken(options, INDEX_OPTIONS)
        store = store_in(storage_context)
        if store is None:
            store = new_store(embed_model, image_embed_model, path, **of_store)
        else:
            check_only_one("a storage context", {"path": path, **of_store})
            fit(store, embed_model, image_embed_model)
        self._kept = store
        if remote is not None:
            store._remote = remote
        context = storage_context or StorageContext.from_defaults()
        context.vector_stores["default"] = store
        struct = options["index_struct"] = loading.as_own(options.get("index_struct"))
        if not nodes and struct is None:
            nodes = []
        super().__init__(
            nodes=nodes,
            embed_model=embedding_of(embed_model, store),
            storage_context=context,
            insert_batch_size=insert_batch_size,
            **options,
        )

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
            embed_model: The model of its texts; the store's own by default. A store that was made
                without one takes this one.
            kwargs: The other arguments of the class.

        Raises:
            EncoderMismatch: The store is filled with vectors of another model.
        """
        if "storage_context" in kwargs:
            raise TypeError(
                "from_vector_store does not know storage_context=, which holds a store of its own. Pass it "
                "to the class instead, or pass the store alone."
            )
        context = StorageContext.from_defaults(vector_store=vector_store)
        return cls(embed_model=embed_model, storage_context=context, **kwargs)

    def as_retriever(self, *, embed_model: Model = None, **options: Any) -> DiptychRetriever:
        """Return a retriever.

        Args:
            embed_model: The model of the questions, which has to be that of the texts.
            options: Arguments of ``DiptychRetriever``.

        Raises:
            EncoderMismatch: ``embed_model`` is another one than that of the texts.
            TypeError: An option that is not known.
        """
        known = _RETRIEVER | {"embed_model"}
        check_known("as_retriever", options, known, INSTEAD_ASKED)
        check_same(embed_model, self.vector_store.index)
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
            llm: ``Settings.llm`` by default. ``multi_modal_llm`` is its older name.
            multimodal: Whether pictures are sent; by default to every model that chats.
            options: Arguments of ``DiptychRetriever`` and of ``RetrieverQueryEngine.from_args``. A
                ``text_qa_template`` is rewritten so that it shows pictures; so is an
                ``image_qa_template``, which is for ``image_query``.

        Raises:
            TypeError: An option that is not known.
        """
        known = _ASKED | ENGINE_OPTIONS | {"multi_modal_llm"}
        check_known("as_query_engine", options, known, INSTEAD_ASKED)
        model = language_model(llm, options.pop("multi_modal_llm", None), self._callback_manager)
        retriever = self.as_retriever(**taken(options, _ASKED))
        return query_engine(retriever, model, options, multimodal)

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
            llm: ``Settings.llm`` by default. ``multi_modal_llm`` is its older name.
            multimodal: Whether pictures are sent.
            max_images: How many pictures a turn of the first two shows at most.
            options: Arguments of ``DiptychRetriever`` and of the engine.

        Raises:
            TypeError: An option that is not known.
        """
        mode = ChatMode(chat_mode)
        known = chat_options(mode, multimodal=multimodal)
        check_known(
            "as_chat_engine",
            options,
            _ASKED | known | {"multi_modal_llm"},
            INSTEAD_ASKED,
        )
        model = language_model(llm, options.pop("multi_modal_llm", None), self._callback_manager)
        asked = taken(options, _ASKED)
        if mode not in CHAT_MODES:
            refused: BaseChatEngine = super().as_chat_engine(mode, model)
            return refused
        return chat_engine(
            mode, self.as_retriever(**asked), model, options, max_images if multimodal else None
        )


loading.register(DiptychMultiModalIndex)
