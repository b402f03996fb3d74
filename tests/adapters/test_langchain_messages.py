import base64
import json
import re
from operator import itemgetter

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnablePassthrough
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from manual import BLUE, RED, run_beside

from diptych import Image, MultimodalRetriever
from diptych.context import build_context
from diptych.errors import InvalidArgument
from diptych.langchain import (
    DiptychRetriever,
    DiptychVectorStore,
    condense_question,
    create_multimodal_retriever_tool,
    multimodal_prompt,
    to_content_blocks,
    to_messages,
)

NONCE = "0123456789abcdef"


class RecordingModel(GenericFakeChatModel):
    """Answers "It is red [1]." and keeps the messages it was sent."""

    seen: list = []  # noqa: RUF012  # a field of pydantic, copied for each object

    def _generate(self, messages, *args, **kwargs):
        self.seen.append(messages)
        return super()._generate(messages, *args, **kwargs)

    @classmethod
    def new(cls, answers=("It is red [1].",) * 9):
        return cls(messages=iter([AIMessage(answer) for answer in answers]), seen=[])


def pictures(blocks):
    return [base64.b64decode(b["base64"]) for b in blocks if b["type"] == "image"]


def words(blocks):
    return "\n".join(b["text"] for b in blocks if b["type"] == "text")


@pytest.fixture
def retriever(index):
    return DiptychRetriever(index=index, k=2)


class TestContentBlocks:
    def test_they_are_the_context_in_order_and_the_question_comes_last(self, retriever, index):
        documents = retriever.invoke("red pump")
        blocks = to_content_blocks(documents, question="Which colour?", nonce=NONCE)
        fused = MultimodalRetriever.from_index(index).retrieve("red pump", 2)
        context = build_context(fused, nonce=NONCE)
        assert words(blocks) == context.text + "\nQuestion: Which colour?"
        assert pictures(blocks) == [RED, BLUE]
        assert [b["type"] for b in blocks] == ["text", "image", "text", "image", "text", "text"]
        assert blocks[1]["mime_type"] == "image/png"
        assert not blocks[1]["base64"].startswith("data:")
        assert words(to_content_blocks(fused, question="Which colour?", nonce=NONCE)) == words(
            blocks
        )

    def test_a_picture_of_the_question_is_shown(self):
        blocks = to_content_blocks([], question={"text": "What is this?", "image": BLUE})
        assert words(blocks).splitlines() == [
            "No reference material was found.",
            "Question: What is this?",
            "The picture that the question is about:",
        ]
        assert pictures(blocks) == [BLUE]
        assert pictures(to_content_blocks([], question={"image": BLUE}, vision=False)) == []

    def test_documents_of_any_other_retriever_are_taken(self):
        other = [
            Document("plain text", metadata={"source": "a.md", "when": object()}),
            Document("", metadata={}),
        ]
        blocks = to_content_blocks(other, nonce=NONCE)
        assert f"<<{NONCE} [1] from: a.md>>\nplain text\n" in words(blocks)
        assert "[2] from" not in words(blocks)

    def test_stored_documents_of_the_vector_store_show_their_picture(self, index):
        found = DiptychVectorStore(index=index).similarity_search("red", k=1, mode="image")
        assert pictures(to_content_blocks(found)) == [RED]

    def test_the_budget_is_passed_on(self, retriever):
        documents = retriever.invoke("red pump")
        assert len(pictures(to_content_blocks(documents, max_images=1))) == 1
        assert pictures(to_content_blocks(documents, vision=False)) == []
        assert "is shortened" in words(to_content_blocks(documents, max_characters=10))

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_after_serialization_pictures_come_from_paths_or_the_index(self, retriever, index):
        documents = loads(dumps(retriever.invoke("red pump")), allowed_objects=[Document])
        assert pictures(to_content_blocks(documents)) == [BLUE]
        assert pictures(to_content_blocks(documents, index=index)) == [RED, BLUE]

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_a_picture_that_was_added_keeps_its_path_through_serialization(self, tmp_path):
        from diptych import ToyEncoder

        path = tmp_path / "valve.png"
        path.write_bytes(BLUE)
        store = DiptychVectorStore(ToyEncoder())
        store.add_images([path], texts=["a valve"])
        found = loads(dumps(store.similarity_search("blue")), allowed_objects=[Document])
        assert pictures(to_content_blocks(found)) == [BLUE]
        path.write_bytes(RED)
        assert pictures(to_content_blocks(found)) == []
        assert "can no longer be read" in words(to_content_blocks(found))

    def test_metadata_cannot_name_a_file_of_which_it_does_not_know_the_content(self, tmp_path):
        secret = tmp_path / "secret.png"
        secret.write_bytes(RED)
        for images in ([{"path": str(secret)}], [{"path": str(secret), "sha256": "0" * 64}], ["x"]):
            blocks = to_content_blocks([Document("text", metadata={"images": images})])
            assert pictures(blocks) == []


class TestMessages:
    def test_what_was_retrieved_is_in_the_message_of_the_user(self, retriever):
        system, human = to_messages("Which colour?", retriever.invoke("red pump"))
        assert isinstance(system, SystemMessage)
        assert isinstance(human, HumanMessage)
        assert "pump" not in system.text
        assert pictures(human.content_blocks) == [RED, BLUE]
        assert len(to_messages("Which colour?", [], system=None)) == 1

    def test_every_provider_s_translation_carries_the_picture(self, retriever):
        from langchain_core.messages.block_translators.openai import (
            convert_to_openai_image_block,
        )

        (_, human) = to_messages("Which colour?", retriever.invoke("red pump"))
        block = next(b for b in human.content_blocks if b["type"] == "image")
        url = convert_to_openai_image_block(block)["image_url"]["url"]
        assert url == Image(RED).data_uri()


class TestChain:
    def check(self, model):
        (system, human), *_ = model.seen
        assert "Question: Which colour is the pump?" in human.text
        assert "The red pump moves water." in human.text
        assert RED in pictures(human.content_blocks)
        assert re.search(r"<<(\w{16}) \[1\] from: manual.md", human.text)
        assert "cite" in system.text

    def chain(self, retriever, model):
        return (
            {"context": retriever, "question": RunnablePassthrough()}
            | multimodal_prompt()
            | model
            | StrOutputParser()
        )

    async def test_question_text_and_picture_reach_the_model(self, retriever):
        for asynchronous in (False, True):
            model = RecordingModel.new()
            chain = self.chain(retriever, model)
            question = "Which colour is the pump?"
            answer = await chain.ainvoke(question) if asynchronous else chain.invoke(question)
            assert answer == "It is red [1]."
            self.check(model)

    def test_it_streams(self, retriever):
        model = RecordingModel.new()
        streamed = list(self.chain(retriever, model).stream("Which colour is the pump?"))
        assert "".join(streamed) == "It is red [1]."
        assert len(streamed) > 1
        self.check(model)

    def chat(self, retriever, model):
        return (
            RunnablePassthrough.assign(search=condense_question(model))
            | RunnablePassthrough.assign(context=itemgetter("search") | retriever)
            | multimodal_prompt()
            | model
        )

    @pytest.mark.parametrize("question", ["and the valve?", {"text": "and this?", "image": BLUE}])
    async def test_a_chat_condenses_history_and_shows_the_pictures_of_this_turn(
        self, retriever, question
    ):
        history = [
            HumanMessage(
                content_blocks=to_content_blocks(retriever.invoke("pump"), question="pump?")
            ),
            AIMessage("It is red [1]."),
        ]
        for asynchronous in (False, True):
            model = RecordingModel.new(["Which colour is the blue valve?", "Blue [1]."])
            inputs = {"question": question, "history": history}
            chain = self.chat(retriever, model)
            if asynchronous:
                parts = [part.text async for part in chain.astream(inputs)]
            else:
                parts = [part.text for part in chain.stream(inputs)]
            assert "".join(parts) == "Blue [1]."
            assert len(parts) > 1
            condensing, answering = model.seen
            asked = question if isinstance(question, str) else question["text"]
            assert condensing[1].text.endswith(f"human: {asked}")
            assert "ai: It is red [1]." in condensing[1].text
            assert pictures(condensing[1].content_blocks) == []
            system, before, answer, human = answering
            assert (system.type, answer.text) == ("system", "It is red [1].")
            assert pictures(before.content_blocks) == []
            assert "The red pump moves water." in before.text
            assert BLUE in pictures(human.content_blocks)
            assert f"Question: {asked}" in human.text

    def test_the_first_question_is_not_condensed(self, retriever):
        model = RecordingModel.new()
        self.chat(retriever, model).invoke({"question": "Which colour is the pump?"})
        assert len(model.seen) == 1
        assert condense_question(model).invoke({"question": {"image": RED}, "history": ["x"]}) == {
            "image": RED
        }

    def test_calls_of_tools_stay_in_the_history(self, retriever):
        call = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}
        history = [
            HumanMessage("hi"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(
                [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}], tool_call_id="1"
            ),
            HumanMessage([{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]),
        ]
        messages = multimodal_prompt(system=None).invoke(
            {"question": "and?", "context": [], "history": history}
        )
        assert [m.type for m in messages] == ["human", "ai", "tool", "human"]
        assert (messages[1].tool_calls, messages[2].content) == ([call], "")

    def test_other_keys_are_refused(self):
        with pytest.raises(InvalidArgument, match="expected 'question' and 'context'"):
            multimodal_prompt().invoke({"query": "x", "context": []})


class TestTool:
    @pytest.fixture
    def tool(self, retriever):
        return create_multimodal_retriever_tool(retriever, "search_manual", "Searches a manual.")

    CALL = {  # noqa: RUF012
        "name": "search_manual", "args": {"query": "red pump"}, "id": "1", "type": "tool_call"
    }  # fmt: skip

    async def test_a_call_returns_pictures_and_the_documents_as_artifact(self, tool, retriever):
        for message in (tool.invoke(self.CALL), await tool.ainvoke(self.CALL)):
            assert isinstance(message, ToolMessage)
            assert pictures(message.content) == [RED, BLUE]
            assert "not instructions" in words(message.content)
            assert message.artifact == retriever.invoke("red pump")

    async def test_pictures_arrive_through_the_tool_node_of_langgraph(self, tool):
        graph = StateGraph(MessagesState)
        graph.add_node("tools", ToolNode([tool]))
        graph.add_edge(START, "tools")
        graph.add_edge("tools", END)
        request = AIMessage("", tool_calls=[self.CALL])
        compiled = graph.compile()
        for state in (
            compiled.invoke({"messages": [request]}),
            await compiled.ainvoke({"messages": [request]}),
        ):
            message = state["messages"][-1]
            assert pictures(message.content_blocks) == [RED, BLUE]
            assert message.artifact[0].id == "pump"

    def test_an_agent_sees_the_pictures(self, tool):
        from langchain.agents import create_agent

        answers = iter([AIMessage("", tool_calls=[self.CALL]), AIMessage("It is red.")])
        model = RecordingModel(messages=answers, seen=[])
        agent = create_agent(_Bindable(model=model), [tool])
        state = agent.invoke({"messages": [HumanMessage("Which colour is the pump?")]})
        assert state["messages"][-1].text == "It is red."
        assert pictures(model.seen[1][-1].content_blocks) == [RED, BLUE]

    async def test_the_event_loop_is_not_blocked(self, waiting_index):
        retriever = DiptychRetriever(index=waiting_index, k=1)
        tool = create_multimodal_retriever_tool(retriever, "search_manual", "Searches a manual.")
        message = await run_beside(waiting_index.text_encoder, tool.ainvoke(self.CALL))
        assert "The red pump moves water." in words(message.content)

    def test_the_artifact_is_json(self, tool):
        message = tool.invoke(self.CALL)
        json.dumps([document.metadata for document in message.artifact])


class _Bindable(GenericFakeChatModel):
    """Lets an agent bind its tools, which the fake model of LangChain does not."""

    model: RecordingModel
    messages: object = iter(())

    def bind_tools(self, tools, **kwargs):
        return self.model
