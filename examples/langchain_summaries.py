"""Summaries of pictures are searched, the pictures are answered from. Runs offline.

    pip install "diptych[langchain]" langchain-classic
    python examples/langchain_summaries.py

LangChain's cookbook for this keeps summaries in a vector store, pictures in a second store, and joins
the two by an id in a ``MultiVectorRetriever``. ``two_stores`` does so, with diptych's store where the
cookbook has Chroma. ``one_store`` needs no second one: picture and summary are one record, so they are
stored, updated, filtered and deleted together, and the picture itself is searched as well.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_classic.retrievers.multi_vector import MultiVectorRetriever
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import VectorStore

from diptych import Image, ToyEncoder
from diptych.langchain import DiptychRetriever, DiptychVectorStore, to_content_blocks
from material import SECTIONS, lay_out

QUESTION = "Which lamp tells that water is missing?"
SUMMARIES = {
    "red": "A drawing of a red lamp; the water tank is empty, water is missing.",
    "blue": "A drawing of a blue lamp; rinsing.",
    "green": "A drawing of a green lamp; ready.",
}


def two_stores(vectorstore: VectorStore, folder: Path) -> list[str]:
    """Return the pictures in base64 that belong to the summaries that were found."""
    pictures: InMemoryStore = InMemoryStore()
    retriever = MultiVectorRetriever(
        vectorstore=vectorstore, docstore=pictures, id_key="doc_id", search_kwargs={"k": 1}
    )
    summaries = [
        Document(summary, metadata={"doc_id": colour}) for colour, summary in SUMMARIES.items()
    ]
    retriever.vectorstore.add_documents(summaries)
    pictures.mset([(c, Image(folder / f"{c}-lamp.png").base64()[0]) for c in SUMMARIES])
    return retriever.invoke(QUESTION)


def one_store(store: DiptychVectorStore, folder: Path) -> list[Document]:
    """Return the pictures together with their summaries."""
    store.add_images(
        uris=[folder / f"{colour}-lamp.png" for colour in SUMMARIES],
        texts=list(SUMMARIES.values()),
        ids=list(SUMMARIES),
    )
    store.add_texts(list(SECTIONS.values()))
    return DiptychRetriever(index=store.index, k=1).invoke(QUESTION)


def run(folder: Path) -> tuple[list[str], list[Document]]:
    """Ask both ways and return what was found."""
    pictures = lay_out(folder / "manual")
    # Was: Chroma(collection_name="summaries", embedding_function=OpenAIEmbeddings())
    found = two_stores(DiptychVectorStore(ToyEncoder()), pictures)
    print(f"Two stores: {len(found)} picture of {len(found[0])} characters")
    documents = one_store(DiptychVectorStore(ToyEncoder()), pictures)
    print("One store:")
    for block in to_content_blocks(documents, question=QUESTION):
        print("  " + str(block.get("text") or f"({block.get('mime_type')})").replace("\n", "\n  "))
    return found, documents


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
