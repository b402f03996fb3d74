"""Multi-modal retrieval as LlamaIndex's notebooks do it, with one index. Runs offline.

    pip install "diptych[llama-index]"
    python examples/llama_index_multi_modal.py

The notebooks put the texts of a folder into one vector store and its pictures into another, index them
with ``MultiModalVectorStoreIndex``, and get two lists. Here one ``DiptychVectorStore`` is both stores;
only the import and the constructors have changed. What comes back is one list by one score.

The model here is LlamaIndex's own mock, which keeps what it was sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core import PromptTemplate, StorageContext
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import ImageNode, NodeWithScore
from pydantic import PrivateAttr

from diptych import ToyEncoder
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychReader,
    DiptychVectorStore,
)
from material import draw, lay_out

QUESTION = "What does the red lamp mean?"
TEMPLATE = "Use this material:\n{context_str}\nAnswer the question: {query_str}\n"


class RecordingLLM(MockLLM):
    """A mock chat model that keeps the messages it was sent."""

    _seen: list[list[ChatMessage]] = PrivateAttr(default_factory=list)

    def __init__(self) -> None:
        super().__init__(is_chat_model=True)

    @property
    def seen(self) -> list[list[ChatMessage]]:
        """The messages of each call."""
        return self._seen

    @property
    def metadata(self) -> LLMMetadata:
        """Say that it is a chat model with room for pictures."""
        return LLMMetadata(context_window=128_000, is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Keep the messages and give the one answer."""
        self._seen.append(list(messages))
        return ChatResponse(message=ChatMessage("The water tank is empty.", role="assistant"))


def show(title: str, found: list[NodeWithScore]) -> None:
    """Print what was retrieved, pictures by their name."""
    print(f"\n{title}")
    for node in found:
        name = node.node.metadata.get("source", "")
        kind = "picture" if isinstance(node.node, ImageNode) else "text"
        print(f"  {node.score:.2f}  {kind:8} {name:16} {node.node.get_content()[:60]}")


def run(folder: Path) -> dict[str, Any]:
    """Do what the notebooks do, and return what was found and sent."""
    material = lay_out(folder / "mixed_wiki")
    # Were: two QdrantVectorStore(client=…, collection_name=…), one for texts and one for pictures
    store = DiptychVectorStore(embed_model=ToyEncoder(), image_encoder=ToyEncoder())
    storage_context = StorageContext.from_defaults(vector_store=store, image_store=store)
    # Was: SimpleDirectoryReader("mixed_wiki").load_data(), which works too where
    # llama-index-readers-file is installed
    documents = DiptychReader().load_data(material)
    # Was: MultiModalVectorStoreIndex.from_documents(documents, storage_context=storage_context)
    index = DiptychMultiModalIndex.from_documents(
        documents,
        storage_context=storage_context,
        embed_model=DiptychMultiModalEmbedding(ToyEncoder()),
    )

    retriever = index.as_retriever(similarity_top_k=3, image_similarity_top_k=2)
    found = {"both": retriever.retrieve(QUESTION)}
    found["pictures"] = retriever.text_to_image_retrieve("a red lamp")
    draw("red").save(folder / "question.png")
    found["like a picture"] = retriever.image_to_image_retrieve(str(folder / "question.png"))
    fusion = QueryFusionRetriever(
        [retriever, index.as_retriever(modalities=("image",))],
        num_queries=1, similarity_top_k=3, use_async=False, llm=MockLLM(),
    )  # fmt: skip
    found["an arm of a fusion"] = fusion.retrieve(QUESTION)
    for title, nodes in found.items():
        show(title, nodes)

    llm = RecordingLLM()
    engine = index.as_query_engine(
        llm=llm, text_qa_template=PromptTemplate(TEMPLATE), similarity_top_k=3
    )
    print(f"\n{QUESTION} {engine.query(QUESTION)}")
    print(engine.image_query(str(folder / "question.png"), "Which lamp is this like?"))
    print("\nSent to the model:")
    for block in llm.seen[0][-1].blocks:
        shown = block.text if isinstance(block, TextBlock) else f"({block.block_type})"
        print("  " + shown.replace("\n", "\n  "))
    return {"index": index, "found": found, "sent": llm.seen}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
