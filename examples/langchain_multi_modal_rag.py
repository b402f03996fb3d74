"""Multi-modal RAG as LangChain's cookbook does it with Chroma, with another store. Runs offline.

    pip install "diptych[langchain]"
    python examples/langchain_multi_modal_rag.py

What stands before ``better`` is written for Chroma (``cookbook/multi_modal_RAG_chroma``):
``add_images(uris=)``, ``add_texts(texts=)``, ``as_retriever()``, documents whose ``page_content`` is a
text or the base64 of a picture, pictures made smaller, a prompt put together by hand. It works with
``Chroma(embedding_function=…)`` and, with only the import and the constructor changed, with diptych's
store. What Chroma does not do is in ``better``: a picture and its paragraph are one record that is
found by either, and the prompt is made, numbered and fenced by ``multimodal_prompt``.

The chat model is one of LangChain's fakes, which keeps what it was sent.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from PIL import Image as Pil

from diptych import ToyEncoder
from diptych.langchain import DiptychRetriever, DiptychVectorStore, multimodal_prompt
from material import SECTIONS, lay_out
from recording import main, shown
from recording_langchain import RecordingModel

QUESTION = "What does the red lamp mean?"
ANSWER = "The water tank is empty."


def is_base64(text: str) -> bool:
    """Whether a text is the base64 of something, as code for such stores tests it."""
    try:
        return base64.b64encode(base64.b64decode(text)) == text.encode()
    except ValueError:
        return False


def smaller(picture: str, size: tuple[int, int] = (96, 96)) -> str:
    """Return the base64 of a picture of a size in pixels."""
    buffer = io.BytesIO()
    Pil.open(io.BytesIO(base64.b64decode(picture))).resize(size).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def split_image_text_types(documents: list[Document]) -> dict[str, list[str]]:
    """Tell the pictures from the texts."""
    contents = [document.page_content for document in documents]
    return {
        "images": [smaller(content) for content in contents if is_base64(content)],
        "texts": [content for content in contents if not is_base64(content)],
    }


def prompt_func(inputs: dict[str, Any]) -> list[BaseMessage]:
    """Put the pictures, the texts and the question into one message."""
    found = inputs["context"]
    blocks: list[Any] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
        for picture in found["images"]
    ]
    words = "\n".join(found["texts"])
    blocks.append({"type": "text", "text": f"Answer: {inputs['question']}\n\nNotes:\n{words}"})
    return [HumanMessage(content=blocks)]


def better(folder: Path, model: RecordingModel) -> str:
    """Store each picture with its paragraph, and let the prompt be made."""
    pictures = [folder / f"{colour}-lamp.png" for colour in SECTIONS]
    store = DiptychVectorStore.from_images(pictures, ToyEncoder(), texts=list(SECTIONS.values()))
    context = DiptychRetriever(index=store.index, k=2)
    chain = {"context": context, "question": RunnablePassthrough()} | multimodal_prompt() | model
    return str(chain.invoke(QUESTION).text)


def run(folder: Path) -> dict[str, Any]:
    """Ask both ways."""
    path = lay_out(folder / "photos")
    # Was: Chroma(collection_name="mm_rag_clip_photos", embedding_function=OpenCLIPEmbeddings())
    vectorstore = DiptychVectorStore(ToyEncoder(), images_as="base64")
    vectorstore.add_images(uris=sorted(str(file) for file in path.glob("*.png")))
    vectorstore.add_texts(texts=list(SECTIONS.values()))
    retriever = vectorstore.as_retriever()

    model = RecordingModel.of(ANSWER, ANSWER)
    chain = (
        {
            "context": retriever | RunnableLambda(split_image_text_types),
            "question": RunnablePassthrough(),
        }
        | RunnableLambda(prompt_func)
        | model
        | StrOutputParser()
    )
    docs = retriever.invoke(QUESTION, k=10)
    for document in docs:
        content = document.page_content
        print("(a picture)" if is_base64(content) else content)
    print(chain.invoke(QUESTION))
    print(better(path, model))
    shown(model.calls)
    return {"calls": model.calls, "retrieved": [document.page_content for document in docs]}


if __name__ == "__main__":
    main(run)
