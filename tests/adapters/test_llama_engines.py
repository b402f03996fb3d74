"""Query and chat engines of the index: what notebooks read of a response, and what runs where."""

import asyncio
import base64
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from llama_index.core import MockEmbedding, PromptTemplate
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import ChatPromptTemplate, RichPromptTemplate
from llama_index.core.query_engine import SimpleMultiModalQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_stubs import RecordingLLM, pictures, words
from manual import BLUE, RED

from diptych import Document, Image, MultimodalIndex, ToyEncoder
from diptych.errors import InvalidArgument
from diptych.llama_index import (
    DiptychMultiModalIndex,
    DiptychQueryEngine,
    DiptychRetriever,
    DiptychRetrieverTool,
)
from diptych.llama_index.asking import query_engine
from stubs import png

TOY = ToyEncoder()
RED64, BLUE64 = (base64.b64encode(picture).decode() for picture in (RED, BLUE))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "valve.png").write_bytes(BLUE)
    (tmp_path / "question.png").write_bytes(png("navy"))
    return tmp_path


@pytest.fixture
def index(folder):
    """Words alone, a picture with words in a file, and a picture alone in memory."""
    nodes = [
        TextNode(text="Call the service for spare parts.", id_="service"),
        ImageNode(
            text="the blue valve",
            image_path=str(folder / "valve.png"),
            id_="valve",
            metadata={"file_path": str(folder / "valve.png")},
        ),
        ImageNode(image=RED64, id_="pump", metadata={"file_path": "manual.pdf"}),
    ]
    return DiptychMultiModalIndex(nodes, embed_model=TOY)


def memory():
    """Return a memory without a database; LlamaIndex's own leaves a connection open."""
    return ChatMemoryBuffer.from_defaults(token_limit=10_000)


def ids(nodes):
    return [found.node_id for found in nodes]


async def answers(engine, folder):
    """Yield the responses of every way to ask an engine."""
    bundle = QueryBundle("a blue valve", image_path=str(folder / "question.png"))
    yield engine.query("a blue valve")
    yield await engine.aquery(bundle)
    yield engine.image_query(str(folder / "valve.png"), "what is it?")
    yield await engine.aimage_query(str(folder / "valve.png"), "what is it?")
    yield engine.synthesize(bundle, engine.retrieve(bundle))
    yield await engine.asynthesize(bundle, await engine.aretrieve(bundle))


def test_every_method_works_as_the_first_call_in_a_process(tmp_path):
    script = Path(__file__).with_name("fresh_llama_engines.py")
    source, tests = script.parents[2] / "src", script.parents[1]
    paths = os.pathsep.join(map(str, (source, tests, script.parent)))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.endswith(" ok")] == []
    assert len(lines) == 38


class TestResponse:
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_sources_are_told_apart_by_kind(self, index, folder, streaming):
        engine = index.as_query_engine(
            MockLLM(is_chat_model=True, max_tokens=2) if streaming else RecordingLLM(),
            similarity_top_k=3,
            streaming=streaming,
            multimodal=not streaming,  # a picture is longer than what MockLLM takes
        )
        async for response in answers(engine, folder):
            assert set(ids(response.source_nodes)) == {"service", "valve", "pump"}
            assert set(ids(response.metadata["text_nodes"])) == {"service", "valve"}
            assert set(ids(response.metadata["image_nodes"])) == {"valve", "pump"}
            assert response.metadata["valve"] == {"file_path": str(folder / "valve.png")}
            assert response.source_nodes[0].score == response.metadata["image_nodes"][0].score

    async def test_image_nodes_name_files_that_hold_their_pictures(self, index, folder):
        response = index.as_query_engine(RecordingLLM(), similarity_top_k=3).query("a blue valve")
        shown = {found.node_id: found.node for found in response.metadata["image_nodes"]}
        for identity, picture in (("valve", BLUE), ("pump", RED)):
            node = shown[identity]
            assert Path(node.image_path).read_bytes() == picture
            assert Path(node.metadata["file_path"]).read_bytes() == picture
        assert shown["valve"].image_path == str(folder / "valve.png")
        stored = index.vector_store.get_nodes(["pump"])[0]
        assert stored.metadata == {"file_path": "manual.pdf"}  # what is stored stays as it was

    def test_a_picture_of_a_fused_node_has_its_own_metadata(self, folder):
        core = MultimodalIndex(TOY, TOY)
        core.add([
            Document("The red pump.", id="t", group="g", metadata={"file_path": "a.txt"}),
            Document(image=RED, id="p", group="g", order=1, metadata={"page": 2}),
            Document(image=folder / "valve.png", id="q", group="g", order=2),
        ])  # fmt: skip
        engine = query_engine(DiptychRetriever(core, similarity_top_k=1), RecordingLLM(), {}, None)
        response = engine.query("The red pump.")
        assert ids(response.metadata["text_nodes"]) == ["t"]
        first, second = (found.node for found in response.metadata["image_nodes"])
        assert (first.node_id, second.node_id) == ("t", "t#1")
        assert first.metadata == {"page": 2, "file_path": first.image_path}
        assert [Path(n.metadata["file_path"]).read_bytes() for n in (first, second)] == [RED, BLUE]
        assert first.text == "The red pump."

    def test_nothing_found_is_no_nodes(self):
        engine = DiptychMultiModalIndex([], embed_model=TOY).as_query_engine(RecordingLLM())
        for response in (engine.query("red"), engine.query(" ")):
            assert response.metadata == {"text_nodes": [], "image_nodes": []}
            assert (str(response), response.source_nodes) == ("Empty Response", [])

    async def test_a_notebook_shows_the_answer_and_cards(self, index, folder):
        engine = index.as_query_engine(RecordingLLM(), similarity_top_k=2)
        async for response in answers(engine, folder):
            html = response._repr_html_()
            assert html.startswith("<p>It is red.</p>")
            assert html.count("<article>") == 2
            assert "the blue valve" in html
        streaming = index.as_query_engine(
            MockLLM(is_chat_model=True, max_tokens=2), streaming=True, multimodal=False
        )
        response = streaming.query("a blue valve")
        assert response._repr_html_().startswith("<p></p>")  # it is not read for that
        assert str(response) == "text text"
        assert response._repr_html_().startswith("<p>text text</p>")

    async def test_chat_engines_have_them_too(self, index):
        engine = index.as_chat_engine(
            "context", RecordingLLM(), similarity_top_k=3, memory=memory()
        )
        for response in (engine.chat("a blue valve"), await engine.achat("a blue valve")):
            found = response.sources[0].raw_output
            assert {n.node_id.removesuffix("#text") for n in found["text_nodes"]} == {
                "service", "valve",
            }  # fmt: skip
            shown = {n.node_id: n.node for n in found["image_nodes"]}
            assert Path(shown["valve"].image_path).read_bytes() == BLUE
            assert base64.b64decode(shown["pump"].image) == RED


class _Display:
    """Takes the place of what notebooks draw with."""

    def __init__(self):
        self.drawn, self.displayed = [], []

    def __getattr__(self, name):
        if name == "imshow":
            return lambda picture: self.drawn.append(picture.convert("RGB").getpixel((1, 1)))
        if name == "subplots":
            return lambda rows, columns: (self, [self] * columns if columns > 1 else self)
        return lambda *_, **__: None


@pytest.fixture
def notebook(monkeypatch):
    """The module of LlamaIndex for notebooks, with what it draws recorded."""
    display = _Display()
    modules = {name: ModuleType(name) for name in ("matplotlib", "matplotlib.pyplot", "IPython")}
    for name in ("figure", "subplot", "subplots", "imshow", "xticks", "yticks", "show"):
        setattr(modules["matplotlib.pyplot"], name, getattr(display, name))
    modules["matplotlib"].pyplot = modules["matplotlib.pyplot"]
    modules["IPython.display"] = ModuleType("IPython.display")
    modules["IPython.display"].Markdown = str
    modules["IPython.display"].display = display.displayed.append
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "llama_index.core.response.notebook_utils", raising=False)
    from llama_index.core.response import notebook_utils

    yield notebook_utils, display
    sys.modules.pop("llama_index.core.response.notebook_utils", None)


def test_llama_indexs_functions_for_notebooks_show_a_response(index, notebook, capsys):
    utils, display = notebook
    response = index.as_query_engine(RecordingLLM(), similarity_top_k=3).query("a blue valve")
    utils.display_query_and_multimodal_response("a blue valve", response)
    assert display.drawn == [(0, 0, 255), (255, 0, 0)]
    assert "Response: It is red." in capsys.readouterr().out
    paths = [found.node.metadata["file_path"] for found in response.metadata["image_nodes"]]
    utils.display_image_uris(paths)
    assert display.drawn[2:] == [(0, 0, 255), (255, 0, 0)]
    for found in response.metadata["text_nodes"]:
        utils.display_source_node(found, source_length=200)
    for found in response.metadata["image_nodes"]:
        utils.display_source_node(found)
    assert any("the blue valve" in str(shown) for shown in display.displayed)
    utils.display_response(response, show_source=True, show_metadata=True)


class TestTemplates:
    """An ``image_qa_template`` counts for ``image_query``, with and without a place for the context."""

    def asked(self, index, folder, template, **options):
        llm = RecordingLLM()
        engine = index.as_query_engine(
            llm, image_qa_template=template, similarity_top_k=1, **options
        )
        engine.image_query(str(folder / "valve.png"), "what is it?")
        engine.query("a blue valve")
        by_picture, by_text = llm.seen
        assert "Look:" not in words(by_text)
        return words(by_picture), pictures(by_picture)

    @pytest.mark.parametrize(
        "template",
        [
            PromptTemplate("Look: {query_str}"),
            PromptTemplate("{context_str} Look: {query_str}"),
            PromptTemplate("{tone} Look: {query_str}").partial_format(tone="Briefly."),
            PromptTemplate("{c} Look: {q}", template_var_mappings={"context_str": "c", "query_str": "q"}),
            ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "Look: {query_str}")]),
        ],
        ids=["question", "context", "partial", "mapped", "chat"],
    )  # fmt: skip
    def test_for_a_question_about_a_picture(self, index, folder, template):
        text, shown = self.asked(index, folder, template)
        assert "Look: what is it?" in text
        assert "the blue valve" in text
        assert shown == [BLUE, BLUE]  # of the question, and found
        text, shown = self.asked(index, folder, template, multimodal=False)
        assert "Look: what is it?" in text
        assert "the blue valve" in text
        assert shown == []

    def test_a_rich_one_is_taken_as_it_is(self, index, folder):
        template = RichPromptTemplate("{% chat role='user' %}Look: {{ query_str }}{% endchat %}")
        assert self.asked(index, folder, template) == ("Look: what is it?", [])

    def test_an_engine_over_another_retriever_keeps_them(self, index, folder):
        llm = RecordingLLM()
        template = PromptTemplate("Look: {query_str}")
        engine = index.as_query_engine(llm, image_qa_template=template)
        other = engine.with_retriever(index.as_retriever(similarity_top_k=1))
        assert isinstance(other, DiptychQueryEngine)
        assert len(other.image_query(str(folder / "valve.png"), "what?").source_nodes) == 1
        assert "Look: what?" in words(llm.seen[-1])

    def test_the_older_name_of_the_model(self, index):
        llm = RecordingLLM()
        assert str(index.as_query_engine(multi_modal_llm=llm).query("red")) == "It is red."
        chat = index.as_chat_engine("context", multi_modal_llm=llm, memory=memory())
        assert str(chat.chat("x")) == "It is red."
        with pytest.raises(InvalidArgument, match=r"multi_modal_llm= is the older name of llm="):
            index.as_query_engine(llm, multi_modal_llm=RecordingLLM())


class _Embedding(MockEmbedding):
    """Counts how it is asked for the vector of a question."""

    def __init__(self, **options):
        super().__init__(embed_dim=8, **options)
        self._awaited, self._called = [], []

    def _get_query_embedding(self, query):
        self._called.append(query)
        return super()._get_query_embedding(query)

    async def _aget_query_embedding(self, query):
        self._awaited.append((query, threading.get_ident()))
        await asyncio.sleep(0)
        return [1.0] * 8


class _Foreign(BaseNodePostprocessor):
    """Adds an image node that is not diptych's."""

    path: str

    def _postprocess_nodes(self, nodes, query_bundle=None):
        return [*nodes, NodeWithScore(node=ImageNode(image_path=self.path, id_="foreign"))]


class TestEventLoop:
    @pytest.fixture
    def threads(self, monkeypatch):
        """Where pictures are read, and blocks of nodes are made."""
        seen = []

        def recorded(owner, name):
            method = getattr(owner, name)

            def wrapper(self, *args, **kwargs):
                seen.append((name, threading.get_ident()))
                return method(self, *args, **kwargs)

            monkeypatch.setattr(owner, name, wrapper)

        for name in ("read", "encoded", "pil"):
            recorded(Image, name)
        from diptych.llama_index import DiptychNode

        recorded(DiptychNode, "get_content_blocks")
        recorded(Path, "read_bytes")
        return seen

    async def test_no_picture_is_read_on_it(self, index, folder, threads):
        bundle = QueryBundle("a blue valve", image_path=str(folder / "question.png"))
        options = {
            "similarity_top_k": 3,
            "node_postprocessors": [_Foreign(path=str(folder / "valve.png"))],
        }
        engine = index.as_query_engine(RecordingLLM(), **options)
        retriever = index.as_retriever(similarity_top_k=3)
        calls = [
            engine.aquery(bundle),
            engine.aimage_query(str(folder / "valve.png"), "what?"),
            engine.asynthesize(bundle, await engine.aretrieve(bundle)),
            engine.aretrieve(bundle),
            retriever.aretrieve(bundle),
            retriever.aimage_to_image_retrieve(bundle),
            index.as_chat_engine("context", RecordingLLM(), memory=memory()).achat("blue"),
        ]
        for call in calls:
            threads.clear()
            await call
            assert threads != []
            assert [name for name, thread in threads if thread == threading.get_ident()] == []

    async def test_sources_are_those_retrieved_and_not_those_prepared(self, index, folder):
        llm = RecordingLLM()
        engine = index.as_query_engine(
            llm, similarity_top_k=1, node_postprocessors=[_Foreign(path=str(folder / "valve.png"))]
        )
        response = await engine.aquery("a blue valve")
        assert ids(response.source_nodes) == ["valve", "foreign"]
        assert "the blue valve" in response.source_nodes[0].node.get_content(MetadataMode.NONE)
        assert response.source_nodes[0].evidence
        assert pictures(llm.seen[0]) == [BLUE, BLUE]
        assert ids(response.metadata["image_nodes"]) == ["valve", "foreign"]

    async def test_the_embedding_of_a_question_is_awaited(self, folder):
        model = _Embedding()
        index = DiptychMultiModalIndex(embed_model=model, image_embed_model=TOY)
        index.insert(ImageDocument(text="the blue valve", image=BLUE64, id_="valve"))
        model._called.clear()
        retriever = index.as_retriever()
        engine = index.as_query_engine(RecordingLLM())
        chat = index.as_chat_engine("context", RecordingLLM(), memory=memory())
        asked = {
            "a": retriever.aretrieve("a"), "b": retriever.atext_retrieve("b"),
            "c": engine.aquery("c"), "d": chat.achat("d"),
            "e": index.as_retriever(vector_store_query_mode="hybrid").aretrieve("e"),
        }  # fmt: skip
        for text, call in asked.items():
            await call
            assert model._awaited.pop() == (text, threading.get_ident())
        bundle = QueryBundle("water", custom_embedding_strs=["red", "blue"])
        await retriever.aretrieve(bundle)
        assert {text for text, _ in model._awaited} == {"red", "blue"}
        assert model._called == []
        model._awaited.clear()
        await index.as_retriever(modalities=("lexical",)).aretrieve("valve")
        await retriever.aretrieve(" ")
        await retriever.aimage_to_image_retrieve(str(folder / "valve.png"))
        assert (model._awaited, model._called) == ([], [])

    async def test_what_was_awaited_is_what_is_searched_with(self):
        class Told(_Embedding):
            async def _aget_query_embedding(self, query):
                return [1.0, *[0.0] * 7]

            def _get_query_embedding(self, query):
                return [0.0] * 7 + [1.0]

        index = DiptychMultiModalIndex(embed_model=Told(), image_embed_model=TOY)
        index.insert_nodes([
            TextNode(text="words", id_="first", embedding=[1.0, *[0.0] * 7]),
            TextNode(text="words", id_="last", embedding=[0.0] * 7 + [1.0]),
        ])  # fmt: skip
        retriever = index.as_retriever(similarity_top_k=1)
        assert ids(retriever.retrieve("x")) == ["last"]
        assert ids(await retriever.aretrieve("x")) == ["first"]
        assert ids(retriever.retrieve("x")) == ["last"]


@pytest.mark.filterwarnings("ignore:.*SimpleMultiModalQueryEngine.*:DeprecationWarning")
def test_engines_of_before_take_the_retriever(index, folder):
    llm = RecordingLLM()
    engine = SimpleMultiModalQueryEngine(
        index.as_retriever(similarity_top_k=2),
        multi_modal_llm=llm,
        image_qa_template=PromptTemplate("Look: {query_str}"),
    )
    response = engine.image_query(str(folder / "valve.png"), "what?")
    assert ids(response.metadata["image_nodes"])[0] == "valve"
    assert pictures(llm.seen[0])[0] == BLUE
    assert engine.query("a blue valve").metadata["image_nodes"] != []


class TestNothing:
    """A blank question finds nothing, and raises nowhere."""

    @pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0"])
    async def test_a_blank_question_finds_nothing(self, index, blank):
        for retriever in (
            index.as_retriever(),
            index.as_retriever(modalities=("lexical",)),
            *(
                index.as_retriever(vector_store_query_mode=mode)
                for mode in ("text_search", "sparse", "hybrid", "mmr")
            ),
        ):
            for question in (blank, QueryBundle(blank), QueryBundle("", None, [blank])):
                assert retriever.retrieve(question) == await retriever.aretrieve(question) == []
                for name in ("text_retrieve", "text_to_image_retrieve"):
                    assert getattr(retriever, name)(question) == []
                    assert await getattr(retriever, f"a{name}")(question) == []
        assert index.as_retriever().image_to_image_retrieve("") == []
        assert await index.as_retriever().aimage_to_image_retrieve(QueryBundle(blank)) == []

    async def test_engines_answer_a_blank_question(self, index):
        engine = index.as_query_engine(RecordingLLM())
        assert (
            str(engine.query(blank := " ")) == str(await engine.aquery(blank)) == "Empty Response"
        )
        for mode in ("context", "condense_plus_context"):
            for multimodal in (True, False):
                options = {"memory": memory(), "multimodal": multimodal}
                assert index.as_chat_engine(mode, RecordingLLM(), **options).chat(blank)
                options = {"memory": memory(), "multimodal": multimodal}
                chat = index.as_chat_engine(mode, RecordingLLM(), **options)
                assert (await chat.achat(blank)).source_nodes == []

    async def test_a_tool_says_that_nothing_was_found(self, index):
        tool = DiptychRetrieverTool.from_defaults(index.as_retriever())
        for output in (tool.call(" "), tool.call(input=""), await tool.acall("\n")):
            assert output.content == "Nothing was found: the query is blank."
            assert (output.raw_output, output.is_error) == ([], False)
        empty = DiptychMultiModalIndex([], embed_model=TOY)
        tool = DiptychRetrieverTool.from_defaults(empty.as_retriever())
        assert tool.call("pumps").content == "Nothing was found for 'pumps'."
