"""Multi-modal RAG as LangChain's cookbook does it with Chroma, with another store. Runs offline.

    pip install "diptych[langchain]"
    python examples/langchain_multi_modal_rag.py

``answer`` is written for a store like Chroma: ``add_images(uris=)``, ``add_texts(texts=)``, documents
whose ``page_content`` is a text or the base64 of a picture, a prompt put together by hand. It works
with ``Chroma(embedding_function=…)`` and, with only the import and the constructor changed, with
diptych's store. What Chroma does not do is in ``better``: a picture and its paragraph are one record
that is found by either, and the prompt is made, numbered and fenced by ``multimodal_prompt``.

The chat model here is one of LangChain's fakes, which keeps what it was sent.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import VectorStore

from diptych import ToyEncoder
from diptych.langchain import DiptychRetriever, DiptychVectorStore, multimodal_prompt
from material import SECTIONS, lay_out

QUESTION = "What does the red lamp mean?"


class RecordingModel(GenericFakeChatModel):
    """A fake chat model that keeps the messages it was sent."""

    seen: list[list[BaseMessage]]

    @classmethod
    def new(cls) -> RecordingModel:
        """Return a model with one answer."""
        return cls(messages=iter([AIMessage("The water tank is empty.")]), seen=[])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.seen.append(messages)
        return super()._generate(messages, *args, **kwargs)


def is_picture(text: str) -> bool:
    """Whether a text is base64, as code for such stores tests it."""
    try:
        return len(base64.b64decode(text, validate=True)) > 0
    except (binascii.Error, ValueError):
        return False


def apart(documents: list[Document]) -> dict[str, list[str]]:
    """Tell the pictures from the texts."""
    contents = [document.page_content for document in documents]
    return {
        "pictures": [content for content in contents if is_picture(content)],
        "texts": [content for content in contents if not is_picture(content)],
    }


def prompt(inputs: dict[str, Any]) -> list[BaseMessage]:
    """Put pictures, texts and the question into one message."""
    found = inputs["context"]
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
        for picture in found["pictures"]
    ]
    texts = "\n".join(found["texts"])
    words = f"Answer from the pictures and these notes.\n{texts}\nQuestion: {inputs['question']}"
    return [HumanMessage([*pictures, {"type": "text", "text": words}])]


def answer(vectorstore: VectorStore, folder: Path, model: Any) -> str:
    """Fill a store as the cookbook does, and ask."""
    vectorstore.add_images(uris=[str(path) for path in sorted(folder.glob("*.png"))])
    vectorstore.add_texts(texts=list(SECTIONS.values()))
    retriever = vectorstore.as_retriever()
    chain = (
        {"context": retriever | RunnableLambda(apart), "question": RunnablePassthrough()}
        | RunnableLambda(prompt)
        | model
        | StrOutputParser()
    )
    return chain.invoke(QUESTION)


def better(folder: Path, model: Any) -> str:
    """Store each picture with its paragraph, and let the prompt be made."""
    pictures = [folder / f"{colour}-lamp.png" for colour in SECTIONS]
    store = DiptychVectorStore.from_images(pictures, ToyEncoder(), texts=list(SECTIONS.values()))
    context = DiptychRetriever(index=store.index, k=2)
    chain = {"context": context, "question": RunnablePassthrough()} | multimodal_prompt() | model
    return str(chain.invoke(QUESTION).text)


def run(folder: Path) -> list[list[BaseMessage]]:
    """Ask both ways and return the messages that reached the models."""
    pictures = lay_out(folder / "manual")
    # Was: Chroma(collection_name="manual", embedding_function=OpenCLIPEmbeddings())
    store = DiptychVectorStore(ToyEncoder(), images_as="base64")
    models = RecordingModel.new(), RecordingModel.new()
    print(answer(store, pictures, models[0]))
    print(better(pictures, models[1]))
    sent = [model.seen[0] for model in models]
    for messages in sent:
        print("\nSent to the model:")
        for block in messages[-1].content_blocks:
            shown = block.get("text") or f"({block.get('mime_type')})"
            print("  " + str(shown).replace("\n", "\n  "))
    return sent


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
