"""A chat about a manual with pictures: follow-up questions, streamed answers. Runs offline.

    pip install "diptych[langchain]"
    python examples/langchain_chat.py

For each turn a model first makes the question stand by itself ("and the blue one?" becomes "What does
the blue lamp mean?"), the retriever is asked with that, and the answer is streamed. Of earlier turns
the model is sent the words; the pictures are those of this turn.

The chat model is one of LangChain's fakes, which keeps what it was sent and streams word by word.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnablePassthrough

from diptych import Document, MultimodalIndex, ToyEncoder
from diptych.langchain import DiptychRetriever, condense_question, multimodal_prompt
from material import SECTIONS, draw
from recording import main, shown
from recording_langchain import RecordingModel

QUESTIONS = ("What does the red lamp mean?", "And the blue one?")
ANSWERS = (
    "The water tank is empty; fill it up [1].",
    "What does the blue lamp mean?",  # the second question, made to stand by itself
    "The machine rinses itself; wait until it goes out [1].",
)


def manual() -> Iterator[Document]:
    """Yield the paragraphs, each with its figure."""
    for colour, text in SECTIONS.items():
        yield Document(text, group=colour, order=0, metadata={"source": "coffee-machine.md"})
        yield Document(image=draw(colour), group=colour, order=1)


def chat(index: MultimodalIndex, model: Any) -> Runnable[dict[str, Any], str]:
    """Return a chain from ``{"question": …, "history": […]}`` to an answer."""
    chain: Runnable[dict[str, Any], str] = (
        RunnablePassthrough.assign(search=condense_question(model))
        | RunnablePassthrough.assign(
            context=itemgetter("search") | DiptychRetriever(index=index, k=1)
        )
        | multimodal_prompt()
        | model
        | StrOutputParser()
    )
    return chain


def run(_: Path) -> dict[str, Any]:
    """Ask both questions."""
    index = MultimodalIndex(ToyEncoder(), ToyEncoder())
    index.add(manual())
    model = RecordingModel.of(*ANSWERS)
    chain = chat(index, model)
    history: list[BaseMessage] = []
    for question in QUESTIONS:
        print(f"\nYou:   {question}\nModel: ", end="")
        answer = ""
        for part in chain.stream({"question": question, "history": history}):
            print(part, end="", flush=True)
            answer += part
        history += [HumanMessage(question), AIMessage(answer)]
    print()
    shown(model.calls)
    answers = [message.text for message in history if isinstance(message, AIMessage)]
    return {"calls": model.calls, "answers": answers}


if __name__ == "__main__":
    main(run)
