"""diptych's retriever, and its vector store, as LangChain retrievers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Self, Unpack

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStoreRetriever
from numpy.typing import ArrayLike
from pydantic import model_validator

from diptych.cards import Results
from diptych.checks import MOST, at_least_one, shown, whole
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.index.closing import Closing
from diptych.langchain.asking import aquestion, question, vectors_of, weighted
from diptych.langchain.convert import to_fused_document
from diptych.langchain.options import MODES, RetrieverOptions, threshold_of
from diptych.langchain.search import restriction
from diptych.retriever import MultimodalRetriever
from diptych.types import Query

__all__ = ["DiptychRetriever", "DiptychVectorStoreRetriever"]


class DiptychRetriever(BaseRetriever, Closing):
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
        modalities: What to search: "text", "image", "cross_modal", or "lexical" for words alone.
        filter: A metadata filter of ``diptych.filters``, or a function of a LangChain document;
            applied before the search.
        weights: How much each ranked list counts: "text", "image", "cross_modal", "lexical"; 1 when
            it is not named.
        where_document: What the text must say, in the language of Chroma.
        score_threshold: Only documents with at least this score, in [0, 1].
        offset: How many of the best documents are skipped. Pages of ``k`` follow each other.

    All but ``retriever`` and ``index`` can be given to ``invoke`` as well. A blank text finds nothing.
    """

    retriever: MultimodalRetriever | None = None
    index: MultimodalIndex | None = None
    k: int = 4
    modalities: Sequence[str] = ("text", "image")
    filter: dict[str, Any] | Callable[[Document], bool] | None = None
    weights: dict[str, float] | None = None
    where_document: dict[str, Any] | None = None
    score_threshold: float | None = None
    offset: int = 0

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
            kwargs: ``k``, ``modalities``, ``filter``, ``weights``, ``where_document``,
                ``score_threshold``, ``offset``.
        """
        return super().invoke(_traced(input), config, **kwargs)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return what :meth:`invoke` does, without blocking the event loop."""
        return await super().ainvoke(await _atraced(input), config, **kwargs)

    def _get_relevant_documents(
        self,
        query: Any,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        **options: Unpack[RetrieverOptions],
    ) -> list[Document]:
        asked = question(query)
        wanted = self._options(options)
        return [] if asked is None else self._retrieve(asked, wanted, {})

    async def _aget_relevant_documents(
        self,
        query: Any,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **options: Unpack[RetrieverOptions],
    ) -> list[Document]:
        asked = await aquestion(query)
        wanted = self._options(options)
        if asked is None:
            return []
        single: Any = wanted["modalities"][0] if len(wanted["modalities"]) == 1 else "fused"
        vectors = await vectors_of(self._searched.index, asked, single)
        return await asyncio.to_thread(self._retrieve, asked, wanted, vectors)

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        if self.index is not None:
            self.index.close()

    @property
    def _searched(self) -> MultimodalRetriever:
        if self.retriever is None:  # only when it was taken away after construction
            raise InvalidArgument("DiptychRetriever has no retriever.")
        return self.retriever

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the checked options of a search: those given, and the fields for the rest."""
        options: dict[str, Any] = {
            "k": self.k,
            "modalities": self.modalities,
            "filter": self.filter,
            "weights": self.weights,
            "where_document": self.where_document,
            "score_threshold": self.score_threshold,
            "offset": self.offset,
        }
        for name, value in given.items():
            if name not in options:
                raise TypeError(
                    f"DiptychRetriever does not know the argument {shown(name)}; expected "
                    f"{', '.join(sorted(options))}."
                )
            if value is not None:
                options[name] = value
        options["k"] = at_least_one("k", options["k"])
        options["offset"] = whole("offset", options["offset"])
        options["score_threshold"] = threshold_of(options["score_threshold"])
        options["modalities"] = options["modalities"] or self.modalities
        return options

    def _retrieve(
        self, asked: Query, wanted: Mapping[str, Any], vectors: Mapping[str, ArrayLike]
    ) -> list[Document]:
        retriever, skipped = self._searched, wanted["offset"]
        fused = retriever.retrieve(
            weighted(asked, wanted["weights"]),
            min(wanted["k"] + skipped, MOST),
            wanted["modalities"],
            where=restriction(retriever.index, wanted["filter"], wanted["where_document"]),
            vectors=vectors,
        )
        least = wanted["score_threshold"]
        kept = [one for one in fused[skipped:] if least is None or one.score >= least]
        return Results([to_fused_document(one) for one in kept])

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

    To "similarity", "similarity_score_threshold" and "mmr" come "text", "image", "cross_modal",
    "fused" and "lexical", which are the ``mode`` of ``similarity_search``. Its ``search_kwargs`` are the
    arguments of that method; ``score_threshold`` counts in every type. It takes the same queries as
    ``DiptychRetriever`` and returns stored documents one by one.
    """

    allowed_search_types: ClassVar[Collection[str]] = (
        *VectorStoreRetriever.allowed_search_types,
        *MODES,
    )

    @model_validator(mode="before")
    @classmethod
    def _with_float_threshold(cls, values: Any) -> Any:
        """Take any number as a threshold; LangChain's own check, which comes next, takes a float."""
        options = values.get("search_kwargs") if isinstance(values, dict) else None
        if not isinstance(options, dict) or options.get("score_threshold") is None:
            return values
        value = options["score_threshold"]
        return {**values, "search_kwargs": {**options, "score_threshold": threshold_of(value)}}

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the best documents for a text, a picture, or both."""
        return super().invoke(_traced(input), config, **kwargs)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return what :meth:`invoke` does, without blocking the event loop."""
        return await super().ainvoke(await _atraced(input), config, **kwargs)

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
    if isinstance(value, str) and value[:5].lower() != "data:":
        return value
    return question(value) or ""


async def _atraced(value: Any) -> Any:
    """Do what :func:`_traced` does, without reading or encoding a picture on the event loop."""
    if isinstance(value, str) and value[:5].lower() != "data:":
        return value
    return await aquestion(value) or ""
