"""Questions about a manual with pictures, answered through LlamaIndex. Runs offline.

    pip install "diptych[llama-index,offline]"
    python examples/llama_index_rag.py

It draws a small manual into a temporary folder, stores it as LlamaIndex nodes in diptych's vector
store, retrieves what fits a question, and has a query engine send text and pictures to a chat
model. The model here is LlamaIndex's own mock, which keeps what it was sent. To ask a real one,
replace ``RecordingLLM()`` by any model that sees pictures, for instance::

    from llama_index.llms.anthropic import Anthropic
    llm = Anthropic("claude-sonnet-4-5")

Nothing else changes. The texts are embedded by all-MiniLM-L6-v2 when ``diptych[offline]`` is
installed. The pictures are embedded by ``ToyEncoder``, which knows colours only; for real pictures
use ``OpenClipEncoder``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode
from PIL import Image as Pil
from PIL import ImageDraw
from pydantic import PrivateAttr

from diptych import OfflineTextEncoder, ToyEncoder
from diptych.errors import MissingExtra
from diptych.llama_index import DiptychRetriever, DiptychVectorStore
from diptych.protocols import TextEncoder

QUESTION = "What does the red lamp mean?"

CAPTIONS = {
    "red": "A red lamp means that the water tank is empty. Fill it up to the line before you go on.",
    "blue": "A blue lamp means that the machine rinses itself. Wait until it goes out.",
    "green": "A green lamp means that the machine is ready and the cups are warm.",
}


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
        """Say that it is a chat model with room for pictures, of which each counts as a page."""
        return LLMMetadata(context_window=128_000, is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Keep the messages and give the one answer."""
        self._seen.append(list(messages))
        answer = "The water tank is empty; fill it up to the line."
        return ChatResponse(message=ChatMessage(answer, role="assistant"))


def manual(folder: Path) -> Iterator[ImageNode]:
    """Draw the figures and yield them as nodes with their captions."""
    for colour, caption in CAPTIONS.items():
        figure = Pil.new("RGB", (160, 120), "white")
        ImageDraw.Draw(figure).ellipse((50, 30, 110, 90), fill=colour, outline="black")
        path = folder / f"{colour}-lamp.png"
        figure.save(path)
        yield ImageNode(
            text=caption, image_path=str(path), metadata={"source": "coffee-machine.md"}
        )


def text_encoder() -> TextEncoder:
    """Return the offline model when it is installed, and the toy when it is not."""
    try:
        return OfflineTextEncoder()
    except MissingExtra:
        return ToyEncoder()


def run(folder: Path) -> list[ChatMessage]:
    """Ask the question and return the messages that reached the model."""
    store = DiptychVectorStore(
        embed_model=text_encoder(), image_encoder=ToyEncoder(), path=folder / "index"
    )
    print(f"{len(store.add(list(manual(folder))))} nodes added")
    retriever = DiptychRetriever(store.index, similarity_top_k=2)
    llm = RecordingLLM()
    engine = RetrieverQueryEngine.from_args(retriever, llm=llm, multimodal=True)
    print(f"\nQuestion: {QUESTION}\n\nRetrieved:")
    for found in retriever.retrieve(QUESTION):
        print(f"  {found.score:.2f}  {found.text}")
    answer = engine.query(QUESTION)
    store.index.close()
    print("\nSent to the model:")
    for message in llm.seen[0]:
        for block in message.blocks:
            shown = block.text if isinstance(block, TextBlock) else f"({block.block_type})"
            print(f"  {message.role.value}: " + shown.replace("\n", "\n    "))
    print(f"\nAnswer: {answer}")
    return llm.seen[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
