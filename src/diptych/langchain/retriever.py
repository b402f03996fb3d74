"""diptych's retriever, and its vector store, as LangChain retrievers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStoreRetriever
from pydantic import model_validator

from diptych.cards import Results
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.langchain.convert import to_fused_document, to_query
from diptych.langchain.search import MODES, restriction
from diptych.retriever import MultimodalRetriever
from diptych.types import Weights

__all__ = ["DiptychRetriever", "DiptychVectorStoreRetriever"]


class DiptychRetriever(BaseRetriever):
    """Retrieves fused documents: a paragraph with its figure, a picture with its text.

    It is invoked with a text, and finds pictures too where the encoders allow it. It also takes a
    picture, as a ``data:image/…`` URI, a ``Path``, bytes, a PIL picture, a ``Blob`` or an
    ``Image``; or both, as ``{"text": …, "image": …}``. Any other string is a text, also when a file
    has that name.

    What is in the documents that come back is described at
    :func:`~diptych.langchain.convert.to_fused_document`.

    Attributes:
        retriever: The retriever of diptych; made from ``index`` when it is left out.
        index: The index to search; that of ``retriever`` when it is left out.
        k: How many documents.
        modalities: What to search: "text", "image", "cross_modal".
        filter: A metadata filter of ``diptych.filters``, or a function of a LangChain document;
            applied before the search.
        weights: How much each ranked list counts: "text", "image", "cross_modal", "lexical"; 1 when
            it is not named. ``k``, ``modalities``, ``filter`` and ``weights`` can be given to
            ``invoke`` as well.
    """

    retriever: MultimodalRetriever | None = None
    index: MultimodalIndex | None = None
    k: int = 4
    modalities: Sequence[str] = ("text", "image")
    filter: dict[str, Any] | Callable[[Document], bool] | None = None
    weights: dict[str, float] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.retriever is None:
            if self.index is None:
                raise ValueError("DiptychRetriever needs retriever= or index=.")
            self.retriever = MultimodalRetriever.from_index(self.index)
        elif self.index not in (None, self.retriever.index):
            raise ValueError("DiptychRetriever was given a retriever, and an index of another one.")
        self.index = self.retriever.index
        return self

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the best documents for a text, a picture, or both.

        Args:
            input: A text, or what the class describes.
            config: Callbacks, tags and the like.
            kwargs: ``k``, ``modalities``, ``filter``, ``weights``.
        """
        return super().invoke(_traced(input), config, **kwargs)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return what :meth:`invoke` does, without blocking the event loop."""
        return await super().ainvoke(_traced(input), config, **kwargs)

    def _get_relevant_documents(
        self,
        query: Any,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        modalities: Sequence[str] | None = None,
        filter: dict[str, Any] | Callable[[Document], bool] | None = None,
        weights: Weights | None = None,
    ) -> list[Document]:
        return self._retrieve(query, k, modalities, filter, weights)

    async def _aget_relevant_documents(
        self,
        query: Any,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        modalities: Sequence[str] | None = None,
        filter: dict[str, Any] | Callable[[Document], bool] | None = None,
        weights: Weights | None = None,
    ) -> list[Document]:
        return await asyncio.to_thread(self._retrieve, query, k, modalities, filter, weights)

    def _retrieve(
        self,
        query: Any,
        k: int | None,
        modalities: Sequence[str] | None,
        documents: dict[str, Any] | Callable[[Document], bool] | None,
        weights: Weights | None,
    ) -> list[Document]:
        if self.retriever is None:  # only when it was taken away after construction
            raise InvalidArgument("DiptychRetriever has no retriever.")
        chosen = documents if documents is not None else self.filter
        asked = to_query(query)
        weights = weights if weights is not None else self.weights
        if weights:  # those of the query itself come first
            asked = dataclasses.replace(asked, weights={**weights, **asked.weights})
        fused = self.retriever.retrieve(
            asked,
            k if k is not None else self.k,
            modalities or self.modalities,
            where=restriction(self.retriever.index, chosen),
        )
        return Results([to_fused_document(one) for one in fused])

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        """Return what LangSmith shows of the retriever: names, no content."""
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "diptych"
        index = self.index
        encoder = None if index is None else index.text_encoder or index.image_encoder
        if encoder is not None:
            params["ls_embedding_provider"] = type(encoder).__name__
            params["ls_embedding_model"] = str(encoder.space)
        return params


class DiptychVectorStoreRetriever(VectorStoreRetriever):
    """Searches a ``DiptychVectorStore``; ``search_type`` may also be one of its modes.

    To "similarity", "similarity_score_threshold" and "mmr" come "text", "image", "cross_modal" and
    "fused", which are the ``mode`` of ``similarity_search``. It takes the same queries as
    ``DiptychRetriever`` and returns stored documents one by one.
    """

    allowed_search_types: ClassVar[Collection[str]] = (
        *VectorStoreRetriever.allowed_search_types,
        *MODES,
    )

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the best documents for a text, a picture, or both."""
        return super().invoke(_traced(input), config, **kwargs)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return what :meth:`invoke` does, without blocking the event loop."""
        return await super().ainvoke(_traced(input), config, **kwargs)

    def _get_relevant_documents(
        self, query: Any, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if self.search_type not in MODES:
            return super()._get_relevant_documents(query, run_manager=run_manager, **kwargs)
        options = {"mode": self.search_type, **self.search_kwargs, **kwargs}
        return self.vectorstore.similarity_search(query, **options)

    async def _aget_relevant_documents(
        self, query: Any, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if self.search_type not in MODES:
            return await super()._aget_relevant_documents(query, run_manager=run_manager, **kwargs)
        options = {"mode": self.search_type, **self.search_kwargs, **kwargs}
        return await self.vectorstore.asimilarity_search(query, **options)


def _traced(value: Any) -> Any:
    """Return a text as it is, and a picture as a reference, so that traces hold no base64."""
    query = value if isinstance(value, str) and value[:5].lower() != "data:" else to_query(value)
    return query
