"""What reaches the LangChain classes besides what they are made for: by agents, checkpoints and loaders."""

import json

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from manual import BLUE, RED

from diptych import Document as Stored
from diptych import Image, MultimodalIndex, Query, ToyEncoder
from diptych.errors import InvalidArgument
from diptych.langchain import (
    DiptychRetriever,
    DiptychVectorStore,
    condense_question,
    create_multimodal_retriever_tool,
    multimodal_prompt,
    to_messages,
)

BLANK = ["", " \n", {"text": " "}, {"text": None, "image": None}]


@pytest.fixture
def store():
    store = DiptychVectorStore(ToyEncoder())
    store.add_texts(["a red pump", "a blue valve"], [{"n": 1}, {"n": 2}], ids=["1", "2"])
    store.add_images([RED], ids=["3"])
    return store


@pytest.mark.parametrize("question", BLANK)
async def test_a_blank_question_goes_through_a_whole_chain(question, store):
    retriever = DiptychRetriever(index=store.index)
    model = FakeListChatModel(responses=["I do not know."])
    chain = {"context": retriever, "question": lambda asked: asked} | multimodal_prompt() | model
    assert chain.invoke(question).content == "I do not know."
    assert (await chain.ainvoke(question)).content == "I do not know."
    history = [HumanMessage("before")]
    condensed = condense_question(FakeListChatModel(responses=["never asked"]))
    assert condensed.invoke({"question": question, "history": history}) == question
    (message,) = to_messages(question, retriever.invoke("red"), system=None)
    assert "Question" not in message.text
    assert any(block["type"] == "image" for block in message.content_blocks)


HISTORIES = (
    [("user", "before"), ("ai", "said")],
    [{"role": "user", "content": "before"}, {"role": "assistant", "content": "said"}],
    [HumanMessage("before"), AIMessage("said")],
)


@pytest.mark.parametrize("history", HISTORIES, ids=["pairs", "dicts", "messages"])
def test_a_history_is_whatever_langchain_takes_for_messages(history):
    messages = multimodal_prompt(system=None).invoke(
        {"question": "?", "context": [], "history": history}
    )
    assert [(m.type, m.text) for m in messages[:-1]] == [("human", "before"), ("ai", "said")]
    condensed = condense_question(FakeListChatModel(responses=["stands alone"]))
    assert condensed.invoke({"question": "?", "history": history}) == "stands alone"


UNUSABLE = ["\ud83c", "x" * 5_000_000, "data:image/png;base64,AAAA", "data:image/"]


@pytest.mark.parametrize("query", UNUSABLE, ids=["surrogate", "long", "zeros", "nothing"])
async def test_a_tool_says_to_the_model_what_is_wrong_with_its_query(query, store):
    tool = create_multimodal_retriever_tool(DiptychRetriever(index=store.index), "find", "Finds.")
    call = {"name": "find", "args": {"query": query}, "id": "1", "type": "tool_call"}
    for message in (tool.invoke(call), await tool.ainvoke(call)):
        assert isinstance(message, ToolMessage)
        assert message.status == "error"
        assert 20 < len(message.content) < 500
        message.content.encode()


async def test_a_tool_still_raises_what_is_not_the_fault_of_the_query(store):
    tool = create_multimodal_retriever_tool(
        DiptychRetriever(index=store.index, weights={"texts": 1.0}), "find", "Finds."
    )
    with pytest.raises(InvalidArgument, match="weights the list 'texts'"):
        tool.invoke({"query": "red"})
    with pytest.raises(InvalidArgument, match="weights the list 'texts'"):
        await tool.ainvoke({"query": "red"})


class TestWhatIsLeftOfAResult:
    @pytest.fixture
    def index(self):
        index = MultimodalIndex(ToyEncoder(), ToyEncoder())
        index.add([
            Stored("Text about a yellow pump.", id="p", group="g", metadata={"a": [1, 2]}),
            Stored(image=RED, id="f", group="g", order=1, metadata={"score": 1}),
            Stored("Words.", id="w", metadata={"score": "mine"}),
        ])  # fmt: skip
        return index

    LEFT = (
        lambda document: Document(**document.model_dump()),
        lambda document: Document(**json.loads(json.dumps(document.model_dump()))),
        lambda document: Document.model_validate_json(document.model_dump_json()),
    )

    @pytest.mark.parametrize("left", LEFT)
    def test_is_equal_to_it_whatever_query_found_it(self, index, left):
        retriever = DiptychRetriever(index=index)
        by_text = retriever.invoke({"text": "a pump", "weights": {"image": 0.0}})
        by_picture = retriever.invoke(Query(image=Image(RED)))
        assert {d.id for d in by_text} != {d.id for d in by_picture}
        for found in (by_text, by_picture):
            for document in found:
                plain = left(document)
                assert plain.metadata["score"] == document.metadata["score"]
                same = [d for d in by_text if d == plain]
                assert same == [d for d in by_text if plain == d]
                assert len(same) == 1
                assert same[0].page_content == document.page_content

    @pytest.mark.parametrize("left", LEFT)
    def test_differs_where_more_than_the_query_differs(self, index, left):
        (document, *_) = DiptychRetriever(index=index).invoke("pump")
        for change in ({"a": 3}, {"new": 1}, {"document_ids": []}):
            plain = left(document)
            plain.metadata |= change
            assert plain != document
            assert document != plain
        plain = left(document)
        plain.id = "other"
        assert plain != document

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_is_dumped_and_loaded_as_before(self, index):
        for document in DiptychRetriever(index=index).invoke(Query(image=Image(RED))):
            assert loads(dumps(document), allowed_objects=[Document]) == document


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("metadata", [None, 5, ["a"], "a"])
async def test_metadata_that_is_no_mapping_does_not_stop_the_others(metadata, asynchronous, store):
    odd = Document("odd")
    odd.metadata = metadata
    documents, ids = [Document("one"), odd, Document("two")], ["a", "odd", "b"]
    if asynchronous:
        assert await store.aadd_documents(documents, ids=ids) == ids
        await store.aupdate_documents(["1", "2"], [Document("new"), odd])
    else:
        assert store.add_documents(documents, ids=ids) == ids
        store.update_documents(["1", "2"], [Document("new"), odd])
    got = dict(zip(*[store.get()[key] for key in ("ids", "documents")], strict=True))
    assert (got["a"], got["b"], got["1"]) == ("one", "two", "new")
    assert ("odd" in got) == (metadata is None)
    assert got["2"] == ("odd" if metadata is None else "a blue valve")
    assert [failure.id for failure in store.failed] == ([] if metadata is None else ["2"])


async def test_text_that_is_none_does_not_stop_an_update(store):
    none = Document.model_construct(page_content=None, metadata={}, id=None)
    await store.aupdate_documents(["1", "2"], [none, Document("new")])
    assert [failure.id for failure in store.failed] == ["1"]
    assert [d.page_content for d in store.get_by_ids(["1", "2"])] == ["a red pump", "new"]


class TestWrongArguments:
    LONG = "iVBORw0KGgo" * 1000

    @pytest.mark.parametrize(
        "give",
        [
            lambda s, long: DiptychVectorStore(ToyEncoder(), images_as=long),
            lambda s, long: DiptychVectorStore(ToyEncoder(), mode=long),
            lambda s, long: DiptychVectorStore(ToyEncoder(), **{long: 1}),
            lambda s, long: DiptychVectorStore.load_local(long),
            lambda s, long: s.similarity_search("a", **{long: 1}),
            lambda s, long: s.similarity_search({long: 1}),
            lambda s, long: DiptychRetriever(index=s.index).invoke("a", **{long: 1}),
            lambda s, long: multimodal_prompt().invoke({long: 1}),
        ],
    )
    def test_what_is_long_is_shortened_in_the_message(self, give, store):
        with pytest.raises((ValueError, TypeError, OSError)) as caught:
            give(store, self.LONG)
        assert len(str(caught.value)) < 800

    @pytest.mark.parametrize("mode", ["hybrid", "Text", "similarity", "", 5, ["text"]])
    def test_a_mode_that_there_is_not_is_refused_when_the_store_is_made(self, mode):
        with pytest.raises(InvalidArgument, match="mode=.*unknown; expected one of text"):
            DiptychVectorStore(ToyEncoder(), mode=mode)

    async def test_a_filter_that_must_be_awaited_is_refused(self, store):
        async def no_text(document):
            return False

        class Asked:
            async def __call__(self, document):
                return False

        for function in (no_text, Asked()):
            with pytest.raises(InvalidArgument, match="filter.*async.*expected"):
                store.similarity_search("a", filter=function)
            with pytest.raises(InvalidArgument, match="filter.*async.*expected"):
                await store.asimilarity_search("a", filter=function)

    @pytest.mark.parametrize("weights", [[0.5], "text", 3])
    def test_weights_that_are_no_mapping(self, weights, store):
        with pytest.raises(InvalidArgument, match="weights of type .*expected a mapping"):
            store.similarity_search("a", weights=weights)

    def test_a_threshold_beyond_floats(self, store):
        with pytest.raises(InvalidArgument, match="score_threshold=1000.*expected a number"):
            store.similarity_search("a", score_threshold=10**400)

    def test_filters_take_the_numbers_of_numpy_as_metadata_does(self, store):
        store.add_texts(
            ["c"], [{"n": np.int64(7), "x": np.float32(0.5), "b": np.bool_(True)}], ids=["c"]
        )
        for where in ({"n": np.int64(7)}, {"x": {"$gte": np.float32(0.5)}}, {"b": np.bool_(True)},
                      {"n": {"$in": [np.int64(7), 9]}}):  # fmt: skip
            assert store.get(where=where)["ids"] == ["c"]


@pytest.mark.parametrize("asynchronous", [False, True])
class TestPicturesAsBase64:
    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / "red.png").write_bytes(RED)
        large = np.random.default_rng(1).integers(0, 256, (40, 2000, 3), dtype=np.uint8)
        store = DiptychVectorStore(ToyEncoder(), images_as="base64")
        store.add_texts(["a text"], [{"n": 0, "caption": "mine"}], ids=["t"])
        pictures = [tmp_path / "red.png", BLUE, large]
        store.add_images(pictures, [{"n": 1}, {"n": 2, "caption": "mine"}, {"n": 3}],
                         ids=["r", "b", "l"], texts=[None, "a caption", "made to fit"])  # fmt: skip
        return store

    @pytest.mark.parametrize("form", [lambda d: d, lambda d: Document(**d.model_dump())])
    async def test_what_was_found_is_stored_again_as_it_was(self, asynchronous, store, form):
        found = [form(document) for document in store.similarity_search("red", k=9)]
        before = {d.id: d for d in store.index.get()}
        other = DiptychVectorStore(ToyEncoder())
        if asynchronous:
            await other.aadd_documents(found)
            await store.aupdate_documents([d.id for d in found], found)
        else:
            other.add_documents(found)
            store.update_documents([d.id for d in found], found)
        for kept in (other, store):
            assert kept.failed == ()
            for document in kept.index.get():
                was = before[document.id]
                expected = dict(was.metadata)
                if type(found[0]) is Document and kept is other:  # it knows what was shown to it
                    if document.id == "b":
                        del expected["caption"]
                    if document.id == "l":
                        assert document.image.header.width == 1568
                        was = document
                assert (document.text, document.metadata) == (was.text, expected)
                assert document.image == was.image

    async def test_a_changed_caption_is_the_words(self, asynchronous, store):
        (found,) = store.similarity_search_by_image(BLUE, k=1)
        found.metadata |= {"caption": "another", "new": 1}
        if asynchronous:
            await store.aupdate_document("b", found)
        else:
            store.update_document("b", found)
        (document,) = store.index.get(["b"])
        assert document.text == "another"
        assert document.metadata["new"] == 1
        assert document.image.read() == BLUE

    async def test_the_prompt_has_pictures_and_captions_and_no_base64_as_text(
        self, asynchronous, store
    ):
        retriever = store.as_retriever(search_kwargs={"k": 9})
        found = await retriever.ainvoke("red") if asynchronous else retriever.invoke("red")
        for form in (lambda d: d, lambda d: Document(**d.model_dump())):
            (message,) = to_messages("?", map(form, found), system=None)
            kinds = [block["type"] for block in message.content_blocks]
            assert kinds.count("image") == 3
            assert "iVBOR" not in message.text
            assert "a caption" in message.text
