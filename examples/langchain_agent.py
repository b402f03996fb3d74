"""An agent that looks things up, and sees the pictures it finds. Runs offline.

    pip install "diptych[langchain]" langchain
    python examples/langchain_agent.py

``create_agent`` of LangChain 1 and LangGraph's checkpoints, as their tutorials use them: the tool of
``create_multimodal_retriever_tool`` stands where the tutorials have ``create_retriever_tool``. The
model gets texts and pictures; the program gets the documents, as the artifact of the tool's message,
also when the thread goes on from a checkpoint. A question of nothing but blanks finds nothing, and the
agent is told so.

The chat model is one of LangChain's fakes, which calls the tool as it is told to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from diptych import ToyEncoder
from diptych.langchain import (
    DiptychVectorStore,
    create_multimodal_retriever_tool,
    to_content_blocks,
)
from material import SECTIONS, lay_out
from recording import main, shown
from recording_langchain import RecordingModel

QUESTIONS = ("What does the red lamp mean?", "And nothing at all?")


def looking_up(query: str, number: str) -> AIMessage:
    """Return the message with which a model calls the tool."""
    call = {"name": "search_manual", "args": {"query": query}, "id": number, "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


def run(folder: Path) -> dict[str, Any]:
    """Ask twice in one thread."""
    path = lay_out(folder / "manual")
    store = DiptychVectorStore.from_images(
        [path / f"{colour}-lamp.png" for colour in SECTIONS],
        ToyEncoder(),
        texts=list(SECTIONS.values()),
    )
    tool = create_multimodal_retriever_tool(
        store.as_retriever(search_kwargs={"k": 1}), "search_manual", "Searches the manual."
    )
    model = RecordingModel.of(
        looking_up("red lamp", "1"), "The tank is empty.", looking_up("  ", "2"), "I found nothing."
    )
    agent = create_agent(model, [tool], checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    for question in QUESTIONS:
        state = agent.invoke({"messages": [{"role": "user", "content": question}]}, thread)
        print(f"You:   {question}\nAgent: {state['messages'][-1].text}")
    shown(model.calls)
    kept = agent.get_state(thread).values["messages"]
    found = [message.artifact for message in kept if isinstance(message, ToolMessage)]
    # A checkpoint keeps documents as dicts, out of which the words and the pictures are made again.
    blocks = [to_content_blocks(documents, index=store.index) for documents in found]
    return {
        "calls": model.calls,
        "found": [len(documents) for documents in found],
        "from the checkpoint": [[block["type"] for block in of_turn] for of_turn in blocks],
    }


if __name__ == "__main__":
    main(run)
