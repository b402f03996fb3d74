"""Questions about a manual with pictures, answered through LangChain. Runs offline.

    pip install "diptych[langchain,offline]"
    python examples/langchain_rag.py

It draws a small manual into a temporary folder, indexes it, retrieves what belongs to a question
(a paragraph together with its figure), and sends both to a chat model. The model here is one of
LangChain's fakes, which keeps what it was sent. To ask a real one, replace ``RecordingModel.new()``
by any chat model that sees pictures, for instance::

    from langchain.chat_models import init_chat_model
    model = init_chat_model("anthropic:claude-sonnet-4-5")

Nothing else changes. The texts are embedded by all-MiniLM-L6-v2 when ``diptych[offline]`` is
installed. The pictures are embedded by ``ToyEncoder``, which knows colours only; for real pictures
use ``OpenClipEncoder``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnablePassthrough
from PIL import Image as Pil
from PIL import ImageDraw

from diptych import Document, Image, MultimodalIndex, OfflineTextEncoder, ToyEncoder
from diptych.errors import MissingExtra
from diptych.langchain import DiptychRetriever, multimodal_prompt
from diptych.protocols import TextEncoder

QUESTION = "What does the red lamp mean?"

SECTIONS = {
    "red": "A red lamp means that the water tank is empty. Fill it up to the line before you go on.",
    "blue": "A blue lamp means that the machine rinses itself. Wait until it goes out.",
    "green": "A green lamp means that the machine is ready and the cups are warm.",
}


class RecordingModel(GenericFakeChatModel):
    """A fake chat model that keeps the messages it was sent."""

    seen: list[list[BaseMessage]]

    @classmethod
    def new(cls) -> RecordingModel:
        """Return a model with one answer."""
        answer = AIMessage("The water tank is empty; fill it up to the line [1].")
        return cls(messages=iter([answer]), seen=[])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.seen.append(messages)
        return super()._generate(messages, *args, **kwargs)


def manual(folder: Path) -> Iterator[Document]:
    """Draw the figures and yield the paragraphs and figures of the manual."""
    for colour, text in SECTIONS.items():
        figure = Pil.new("RGB", (160, 120), "white")
        ImageDraw.Draw(figure).ellipse((50, 30, 110, 90), fill=colour, outline="black")
        figure.save(folder / f"{colour}-lamp.png")
        metadata = {"source": "coffee-machine.md", "section": f"The {colour} lamp"}
        # Documents of one group belong together: a text that is found brings its figure.
        yield Document(text, group=colour, order=0, metadata=metadata)
        picture = Image(folder / f"{colour}-lamp.png")
        yield Document(image=picture, group=colour, order=1, metadata=metadata)


def text_encoder() -> TextEncoder:
    """Return the offline model when it is installed, and the toy when it is not."""
    try:
        return OfflineTextEncoder()
    except MissingExtra:
        return ToyEncoder()


def run(folder: Path) -> list[BaseMessage]:
    """Ask the question and return the messages that reached the model."""
    with MultimodalIndex(text_encoder(), ToyEncoder(), path=folder / "index") as index:
        print(index.add(manual(folder)))
        retriever = DiptychRetriever(index=index, k=2)
        model = RecordingModel.new()
        chain = (
            {"context": retriever, "question": RunnablePassthrough()}
            | multimodal_prompt()
            | model
            | StrOutputParser()
        )
        print(f"\nQuestion: {QUESTION}\n\nRetrieved:")
        for document in retriever.invoke(QUESTION):
            names = [Path(image["name"]).name for image in document.metadata["images"]]
            score = document.metadata["score"]
            print(f"  {score:.2f}  {document.page_content}  {', '.join(names)}")
        answer = chain.invoke(QUESTION)
    print("\nSent to the model:")
    for message in model.seen[0]:
        for block in message.content_blocks:
            shown = block.get("text") or f"({block.get('mime_type')})"
            print(f"  {message.type}: " + str(shown).replace("\n", "\n    "))
    print(f"\nAnswer: {answer}")
    return model.seen[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
