"""The store as one arm of LangChain's fusing retrievers. Runs offline.

    pip install "diptych[langchain]" langchain-classic
    python examples/langchain_fusion.py

``EnsembleRetriever`` fuses lists of several retrievers, ``MultiQueryRetriever`` asks one retriever in
several wordings, and RAG-fusion, as it is published, does the latter by hand, telling documents apart
by ``dumps(document)``. All of them take documents for the same when their content is the same: so each
picture without words has a content of its own, and what differs from question to question (score and
evidence) does not count.

The chat model is one of LangChain's fakes, which rewords the question as it is told to.
"""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

from langchain_classic.retrievers import EnsembleRetriever, MultiQueryRetriever
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from diptych import ToyEncoder
from diptych.langchain import DiptychVectorStore, multimodal_prompt
from material import SECTIONS, mix
from recording import main, shown
from recording_langchain import RecordingModel

QUESTION = "What does the red lamp mean?"
WORDINGS = ("Why is the red light on?", "red lamp meaning", "Which lamp is red?")
ANSWER = "The water tank is empty."
K = 60  # of reciprocal rank fusion, as published


def ensemble(store: DiptychVectorStore) -> list[Document]:
    """Fuse a search by meaning with one in the pictures alone."""
    retriever = EnsembleRetriever(
        retrievers=[
            store.as_retriever(search_kwargs={"k": 9}),
            store.as_retriever(search_type="image", search_kwargs={"k": 6}),
        ],
        weights=[0.5, 0.5],
    )
    return retriever.invoke(QUESTION)


def multi_query(store: DiptychVectorStore) -> list[Document]:
    """Ask in several wordings, and have each document once."""
    llm = RecordingModel.of("\n".join(WORDINGS))
    retriever = MultiQueryRetriever.from_llm(
        retriever=store.as_retriever(search_kwargs={"k": 9}), llm=llm, include_original=True
    )
    return retriever.invoke(QUESTION)


def reciprocal_rank_fusion(results: list[list[Document]]) -> list[tuple[Document, float]]:
    """Add up what each list gives a document, which is known by its dump."""
    scores: dict[str, float] = {}
    for found in results:
        for rank, document in enumerate(found):
            key = dumps(document)
            scores[key] = scores.get(key, 0.0) + 1 / (rank + K)
    best = sorted(scores.items(), key=lambda item: item[1], reverse=True)
    return [(loads(key, allowed_objects="core"), score) for key, score in best]


def best_three(fused: list[tuple[Document, float]]) -> list[Document]:
    """Return what is shown to the model."""
    return [document for document, _ in fused[:3]]


def rag_fusion(store: DiptychVectorStore, model: RecordingModel) -> list[tuple[Document, float]]:
    """Reword, search, fuse, answer."""
    generate_queries = (
        ChatPromptTemplate.from_messages(
            [("system", "Reword the question, one a line."), ("user", "{original_query}")]
        )
        | RecordingModel.of("\n".join(WORDINGS), "\n".join(WORDINGS))
        | StrOutputParser()
        | (lambda text: text.split("\n"))
    )
    retriever = store.as_retriever(search_kwargs={"k": 9})
    chain = generate_queries | retriever.map() | reciprocal_rank_fusion
    fused = chain.invoke({"original_query": QUESTION})
    answer = (
        {"context": chain | best_three, "question": itemgetter("original_query")}
        | multimodal_prompt(index=store.index)
        | model
        | StrOutputParser()
    )
    print(answer.invoke({"original_query": QUESTION}))
    return fused


def run(folder: Path) -> dict[str, Any]:
    """Fuse in all three ways."""
    path = mix(folder / "manual")
    store = DiptychVectorStore(ToyEncoder())
    store.add_texts(list(SECTIONS.values()))
    store.add_images(uris=sorted(path.glob("*.png")))
    model = RecordingModel.of(ANSWER)
    fused = rag_fusion(store, model)
    shown(model.calls)
    return {
        "calls": model.calls,
        "ensemble": [document.page_content for document in ensemble(store)],
        "multi query": [document.page_content for document in multi_query(store)],
        "rag fusion": [[document.page_content, score] for document, score in fused],
    }


if __name__ == "__main__":
    main(run)
