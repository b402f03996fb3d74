"""Texts, tables and pictures of a page, pictures answered from by their summaries. Runs offline.

    pip install "diptych[langchain]" langchain-classic
    python examples/langchain_semi_structured.py

LangChain's cookbook (``cookbook/Semi_structured_and_multi_modal_RAG``) takes a page apart, summarises
its texts, tables and pictures, indexes the summaries in Chroma and keeps the originals in a second
store; of a picture the summary is the original, because the model of the recipe reads words only.
Here the vector store is diptych's, and the recipe stays as it is. In ``with_pictures`` the pictures
are stored beside their summaries, and a model that sees gets both, out of the same chain.

The chat model is one of LangChain's fakes, which keeps what it was sent; the summaries are given.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from langchain_classic.retrievers.multi_vector import MultiVectorRetriever
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.stores import InMemoryStore

from diptych import ToyEncoder
from diptych.langchain import DiptychVectorStore, multimodal_prompt
from material import SECTIONS, lay_out
from recording import main, shown
from recording_langchain import RecordingModel

QUESTION = "What does the blue lamp in the picture mean?"
ANSWER = "The machine rinses itself."
TABLE = "lamp | meaning\nred | no water\nblue | rinsing\ngreen | ready"
PICTURES = {colour: f"A picture of a {colour} lamp on a white ground." for colour in SECTIONS}
TEMPLATE = """Answer from these texts and tables alone:
{context}
Question: {question}
"""


def add(retriever: MultiVectorRetriever, summaries: list[str], originals: list[Any]) -> None:
    """Index summaries, and keep the originals under the same ids."""
    ids = [str(uuid.uuid4()) for _ in originals]
    documents = [
        Document(page_content=summary, metadata={retriever.id_key: one})
        for summary, one in zip(summaries, ids, strict=True)
    ]
    retriever.vectorstore.add_documents(documents)
    retriever.docstore.mset(list(zip(ids, originals, strict=True)))


def summaries_only(model: RecordingModel) -> list[Any]:
    """Ask as the cookbook does, and return what was retrieved."""
    retriever = MultiVectorRetriever(
        # Was: Chroma(collection_name="summaries", embedding_function=OpenAIEmbeddings())
        vectorstore=DiptychVectorStore(ToyEncoder()),
        docstore=InMemoryStore(),
        id_key="doc_id",
    )
    add(retriever, [text.partition(".")[0] for text in SECTIONS.values()], [*SECTIONS.values()])
    add(retriever, ["A table of lamps and meanings."], [TABLE])
    add(retriever, list(PICTURES.values()), list(PICTURES.values()))
    chain = (
        {"context": retriever, "question": RunnablePassthrough()}
        | ChatPromptTemplate.from_template(TEMPLATE)
        | model
        | StrOutputParser()
    )
    print(chain.invoke(QUESTION))
    return retriever.invoke(QUESTION)


def with_pictures(folder: Path, model: RecordingModel) -> list[Document]:
    """Ask with the pictures themselves stored beside their summaries."""
    store = DiptychVectorStore(ToyEncoder())
    store.add_texts([*SECTIONS.values(), TABLE])
    store.add_images(
        uris=[folder / f"{colour}-lamp.png" for colour in PICTURES], texts=list(PICTURES.values())
    )
    retriever = store.as_retriever(search_kwargs={"k": 2})
    chain = {"context": retriever, "question": RunnablePassthrough()} | multimodal_prompt() | model
    print(chain.invoke(QUESTION).text)
    return retriever.invoke(QUESTION)


def run(folder: Path) -> dict[str, Any]:
    """Ask both ways."""
    model = RecordingModel.of(ANSWER, ANSWER)
    words = summaries_only(model)
    seen = with_pictures(lay_out(folder / "figures"), model)
    shown(model.calls)
    return {
        "calls": model.calls,
        "retrieved": words,
        "with pictures": [document.page_content for document in seen],
    }


if __name__ == "__main__":
    main(run)
