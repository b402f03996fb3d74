"""Summaries of texts, tables and pictures are searched, the originals answered from. Runs offline.

    pip install "diptych[langchain]" langchain-classic
    python examples/langchain_summaries.py

LangChain's cookbook for this (``cookbook/Multi_modal_RAG``) keeps summaries in a vector store, the
originals in a second store, pictures among them as base64, and joins the two by an id in a
``MultiVectorRetriever``. ``two_stores`` does so, with diptych's store where the cookbook has Chroma.
``one_store`` needs no second one: picture and summary are one record, so they are stored, updated,
filtered and deleted together, and the picture itself is searched as well.

The chat model is one of LangChain's fakes, which keeps what it was sent; the summaries are given.
"""

from __future__ import annotations

import base64
import uuid
from pathlib import Path
from typing import Any

from langchain_classic.retrievers.multi_vector import MultiVectorRetriever
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import VectorStore

from diptych import ToyEncoder
from diptych.langchain import DiptychRetriever, DiptychVectorStore, multimodal_prompt
from material import SECTIONS, lay_out
from recording import main, shown
from recording_langchain import RecordingModel

QUESTION = "Which lamp tells that water is missing?"
ANSWER = "The red one."
TABLE = "lamp | meaning\nred | no water\nblue | rinsing\ngreen | ready"
TABLE_SUMMARY = "A table of what each lamp means: water missing, rinsing, ready."
SUMMARIES = {
    "red": "A drawing of a red lamp; the water tank is empty, water is missing.",
    "blue": "A drawing of a blue lamp; rinsing.",
    "green": "A drawing of a green lamp; ready.",
}


def create_multi_vector_retriever(
    vectorstore: VectorStore, summaries: dict[str, list[str]], originals: dict[str, list[str]]
) -> MultiVectorRetriever:
    """Return a retriever that searches summaries and gives what they are of."""
    id_key = "doc_id"
    store = InMemoryStore()
    retriever = MultiVectorRetriever(vectorstore=vectorstore, docstore=store, id_key=id_key)
    for kind, contents in originals.items():
        doc_ids = [str(uuid.uuid4()) for _ in contents]
        summary_docs = [
            Document(page_content=summary, metadata={id_key: doc_id})
            for summary, doc_id in zip(summaries[kind], doc_ids, strict=True)
        ]
        retriever.vectorstore.add_documents(summary_docs)
        store.mset(list(zip(doc_ids, contents, strict=True)))
    return retriever


def looks_like_picture(content: str) -> bool:
    """Whether a text is the base64 of a PNG file."""
    try:
        return base64.b64decode(content, validate=True).startswith(b"\x89PNG")
    except ValueError:
        return False


def split_image_text_types(docs: list[Any]) -> dict[str, list[str]]:
    """Tell the pictures from the texts, documents or not."""
    contents = [doc.page_content if isinstance(doc, Document) else doc for doc in docs]
    return {
        "images": [content for content in contents if looks_like_picture(content)],
        "texts": [content for content in contents if not looks_like_picture(content)],
    }


def img_prompt_func(inputs: dict[str, Any]) -> list[BaseMessage]:
    """Put all pictures, the texts and the question into one message."""
    found = inputs["context"]
    blocks: list[Any] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
        for image in found["images"]
    ]
    words = "\n".join(found["texts"])
    blocks.append({"type": "text", "text": f"{inputs['question']}\n\nTexts and tables:\n{words}"})
    return [HumanMessage(content=blocks)]


def two_stores(vectorstore: VectorStore, folder: Path, model: Runnable[Any, Any]) -> list[Any]:
    """Ask as the cookbook does, and return what was retrieved."""
    pictures = [(folder / f"{colour}-lamp.png").read_bytes() for colour in SUMMARIES]
    retriever_multi_vector_img = create_multi_vector_retriever(
        vectorstore,
        {
            "text": [text.partition(".")[0] for text in SECTIONS.values()],
            "table": [TABLE_SUMMARY],
            "image": list(SUMMARIES.values()),
        },
        {
            "text": list(SECTIONS.values()),
            "table": [TABLE],
            "image": [base64.b64encode(picture).decode() for picture in pictures],
        },
    )
    chain_multimodal_rag = (
        {
            "context": retriever_multi_vector_img | RunnableLambda(split_image_text_types),
            "question": RunnablePassthrough(),
        }
        | RunnableLambda(img_prompt_func)
        | model
        | StrOutputParser()
    )
    print(chain_multimodal_rag.invoke(QUESTION))
    return retriever_multi_vector_img.invoke(QUESTION, limit=6)


def one_store(store: DiptychVectorStore, folder: Path, model: Runnable[Any, Any]) -> list[Document]:
    """Ask with pictures and summaries in one store, and return what was retrieved."""
    store.add_images(
        uris=[folder / f"{colour}-lamp.png" for colour in SUMMARIES],
        texts=list(SUMMARIES.values()),
        ids=list(SUMMARIES),
    )
    store.add_texts([*SECTIONS.values(), TABLE])
    retriever = DiptychRetriever(index=store.index, k=2)
    chain = {"context": retriever, "question": RunnablePassthrough()} | multimodal_prompt() | model
    print(chain.invoke(QUESTION).text)
    return retriever.invoke(QUESTION)


def run(folder: Path) -> dict[str, Any]:
    """Ask both ways."""
    path = lay_out(folder / "photos")
    model = RecordingModel.of(ANSWER, ANSWER)
    # Was: Chroma(collection_name="mm_rag_cj_blog", embedding_function=OpenAIEmbeddings())
    vectorstore = DiptychVectorStore(ToyEncoder())
    joined = two_stores(vectorstore, path, model)
    documents = one_store(DiptychVectorStore(ToyEncoder()), path, model)
    shown(model.calls)
    return {
        "calls": model.calls,
        "two stores": joined,
        "one store": [[d.id, d.page_content] for d in documents],
    }


if __name__ == "__main__":
    main(run)
