"""Runs graphs with a checkpointer and checks what is read back. Its argument is a folder.

Run in a process of its own, because langgraph reads LANGGRAPH_STRICT_MSGPACK when it is imported.
"""

import base64
import json
import logging
import sys
from pathlib import Path
from typing import TypedDict

from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from manual import RED, manual

from diptych import MultimodalIndex, ToyEncoder
from diptych.langchain import (
    DiptychRetriever,
    DiptychVectorStore,
    create_multimodal_retriever_tool,
    multimodal_prompt,
    to_content_blocks,
    to_messages,
)

NONCE = "0123456789abcdef"


class Warned(logging.Handler):
    """Keeps what the serializer says."""

    said: list = []  # noqa: RUF012

    def emit(self, record):
        self.said.append(record.getMessage())


class Found(TypedDict, total=False):
    question: str
    context: list
    one: Document
    scored: list


def pictures(blocks):
    return [base64.b64decode(b["base64"]) for b in blocks if b["type"] == "image"]


def without_ids(blocks):
    """LangChain gives each block another random id."""
    return [{key: value for key, value in block.items() if key != "id"} for block in blocks]


def words(blocks):
    """The words of some blocks, without the lines that say where they come from."""
    lines = "\n".join(b["text"] for b in blocks if b["type"] == "text").split("\n")
    return [line for line in lines if not line.startswith("<<")]


def is_plain(value):
    return json.loads(json.dumps(value)) == value


def check_document(before, after, index):
    """The document is a real one, with everything that is needed of it, and shows the same picture."""
    assert type(after) is Document, type(after)
    assert (after.page_content, after.id) == (before.page_content, before.id)
    assert after.metadata == before.metadata
    assert is_plain(after.metadata), after.metadata
    assert pictures(to_content_blocks([before])) == pictures(
        to_content_blocks([after], index=index)
    )


def check_graph(saver, index, store, retriever):
    def retrieve(state):
        found = retriever.invoke(state["question"])
        stored = store.similarity_search("a red square", k=3)
        scored = store.similarity_search_with_score("a red square", k=2)
        return {"context": [*found, *stored], "one": found[0], "scored": scored}

    graph = StateGraph(Found)
    graph.add_node("retrieve", retrieve)
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", END)
    run = graph.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "state"}}
    before = run.invoke({"question": "a red square"}, config)
    after = run.get_state(config).values
    assert len(after["context"]) == len(before["context"]) == 3 + 2
    for was, now in zip(before["context"], after["context"], strict=True):
        check_document(was, now, index)
    check_document(before["one"], after["one"], index)
    for was, now in zip(before["scored"], after["scored"], strict=True):
        check_document(was[0], now[0], index)
        assert was[1] == now[1]
    unit = after["context"][0]
    assert unit.metadata["score"] == before["context"][0].metadata["score"]
    # The pictures of a folder are found again by path and hash; without the index too.
    assert RED in pictures(to_content_blocks([unit]))
    messages = multimodal_prompt().invoke({"question": "?", "context": after["context"]})
    assert pictures(messages[-1].content_blocks)


def check_tool(saver, index, retriever):
    tool = create_multimodal_retriever_tool(retriever, "look", "Looks into the manual.")
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    run = graph.compile(checkpointer=saver)
    call = {"name": "look", "args": {"query": "a red square"}, "id": "1", "type": "tool_call"}
    config = {"configurable": {"thread_id": "tool"}}
    before = run.invoke({"messages": [AIMessage("", tool_calls=[call])]}, config)["messages"][-1]
    after = run.get_state(config).values["messages"][-1]
    assert isinstance(after, ToolMessage)
    assert after.content == before.content
    assert pictures(after.content_blocks) == pictures(before.content_blocks) != []
    # LangChain dumps an artifact of any documents to dicts, those of its own class too.
    plain = ToolMessage("", tool_call_id="1", artifact=[Document("x", id="1")]).model_dump()
    assert isinstance(plain["artifact"][0], dict)
    assert all(is_plain(one) for one in after.artifact)
    assert to_messages("?", after.artifact)[-1].type == "human"
    assert [one["id"] for one in after.artifact] == [one.id for one in before.artifact]
    expected = to_content_blocks(before.artifact, nonce=NONCE)
    for dicts in (after.artifact, [dumpd(one) for one in before.artifact]):
        assert pictures(to_content_blocks(dicts)) == pictures(expected)
        again = to_content_blocks(dicts, index=index, nonce=NONCE)
        assert words(again) == words(expected)


def main(folder):
    """Run everything, with the setting that langgraph has read."""
    Warned.said.clear()
    logging.getLogger("langgraph").addHandler(warned := Warned())
    try:
        with MultimodalIndex(ToyEncoder(), ToyEncoder(), path=folder / "kb") as index:
            index.add(manual(folder))
            store = DiptychVectorStore(ToyEncoder(), image_encoder=ToyEncoder())
            (folder / "red.png").write_bytes(RED)
            store.add_images([str(folder / "red.png")], [{"page": 3}])
            store.add_texts(["a red square", "nothing"])
            retriever = DiptychRetriever(index=index, k=2)
            check_graph(InMemorySaver(), store.index, store, retriever)
            check_tool(InMemorySaver(), index, retriever)
    finally:
        logging.getLogger("langgraph").removeHandler(warned)
    assert not warned.said, warned.said


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print("as before")
