"""What is used in place of LlamaIndex's MultiModalVectorStoreIndex."""

import base64
import logging
from hashlib import sha256

import pytest
from llama_index.core import Document as LlamaDocument
from llama_index.core import (
    MockEmbedding,
    PromptTemplate,
    Settings,
    SimpleDirectoryReader,
    StorageContext,
)
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.prompts import ChatPromptTemplate, RichPromptTemplate
from llama_index.core.query_engine import SimpleMultiModalQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import ToolMetadata
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_stubs import RecordingLLM, pictures, words
from manual import BLUE, RED
from pydantic import PrivateAttr

from diptych import ToyEncoder
from diptych.errors import InvalidArgument
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychNode,
    DiptychReader,
    DiptychRetrieverTool,
    DiptychVectorStore,
    KeepPictures,
    RetrievedNode,
    SeparatePictures,
    to_content_blocks,
)
from stubs import png

TOY = ToyEncoder()
B64 = base64.b64encode(RED).decode()
LONG = " ".join(f"Sentence {i} tells of the red pump." for i in range(60))


def new_index(nodes=None, **options):
    options.setdefault("transformations", [SentenceSplitter(chunk_size=64, chunk_overlap=0)])
    return DiptychMultiModalIndex(nodes, embed_model=TOY, **options)


def documents(folder):
    """A text, a picture with a caption, a picture alone."""
    (folder / "valve.png").write_bytes(BLUE)
    (folder / "pump.png").write_bytes(RED)
    return [
        LlamaDocument(text="Call the service for spare parts.", id_="service"),
        ImageDocument(text="the blue valve", image_path=str(folder / "valve.png"), id_="valve"),
        ImageDocument(image_path=str(folder / "pump.png"), id_="pump"),
    ]


@pytest.fixture
def index(tmp_path):
    index = new_index()
    for document in documents(tmp_path):
        index.insert(document)
    return index


def ids(found):
    return [node.node.ref_doc_id for node in found]


class TestAdding:
    def test_texts_and_pictures_with_and_without_words_are_found(self, index):
        assert ids(index.as_retriever(similarity_top_k=3).retrieve("blue"))[0] == "valve"
        assert ids(index.as_retriever(similarity_top_k=1).retrieve("red")) == ["pump"]
        assert ids(index.as_retriever(similarity_top_k=1).retrieve("spare parts")) == ["service"]

    @pytest.mark.parametrize("use_async", [False, True])
    def test_nodes_of_every_class_are_kept(self, tmp_path, use_async):
        (tmp_path / "a.png").write_bytes(BLUE)
        nodes = [
            TextNode(text="words", id_="text"),
            ImageNode(image=B64, id_="image"),
            ImageNode(text="caption", image_path=str(tmp_path / "a.png"), id_="captioned"),
            Node(image_resource=MediaResource(data=png("lime")), id_="node"),
            DiptychNode(text="ours", image=B64, id_="ours"),
            IndexNode(text="an index", index_id="i", id_="index"),
        ]
        made = new_index(nodes, use_async=use_async)
        assert made.vector_store.index.ids() == [node.node_id for node in nodes]
        assert [d.image is not None for d in made.vector_store.index.get()] == [
            False, True, True, True, True, False,
        ]  # fmt: skip
        assert made.index_struct.nodes_dict == {}

    def test_an_empty_node_is_left_out_and_said(self, caplog):
        made = new_index([TextNode(text=""), TextNode(text="words", id_="text")])
        assert made.vector_store.index.ids() == ["text"]
        assert "1 nodes have neither text nor a picture" in caplog.text

    def test_a_bad_picture_is_logged_and_the_others_go_on(self, tmp_path, caplog):
        nodes = [ImageNode(image_path=str(tmp_path / f"{i}.png"), id_=str(i)) for i in range(5)]
        for i in (0, 2, 3, 4):
            (tmp_path / f"{i}.png").write_bytes(BLUE if i != 3 else b"not a picture")
        with caplog.at_level(logging.WARNING):
            made = new_index(nodes, insert_batch_size=2)
        assert made.vector_store.index.ids() == ["0", "2", "4"]
        assert [failure.id for failure in made.failed] == ["1", "3"]
        assert "1.png" in caplog.text

    def test_a_long_text_is_split_and_every_chunk_brings_the_one_picture(self, index):
        index.insert(ImageDocument(text=LONG, image=B64, id_="long"))
        stored = index.vector_store.index.get(where={"_diptych.ref_doc_id": "long"})
        with_picture = [d for d in stored if d.image is not None]
        assert [(d.id, d.text) for d in with_picture] == [("long#picture", None)]
        assert len(stored) > 3
        (found,) = index.as_retriever(similarity_top_k=1, doc_ids=["long"]).retrieve("Sentence 50")
        assert "Sentence 50" in found.node.text
        assert [p.read() for p in found.node.pictures] == [RED]
        assert "_diptych" not in found.node.metadata

    def test_object_maps_are_followed(self):
        target = TextNode(text="what it stands for", id_="target")
        made = new_index(objects=[IndexNode(text="red", index_id="i", obj=target)])
        assert [n.node_id for n in made.as_retriever().retrieve("red")] == ["target"]


class TestRefreshing:
    def test_only_what_is_new_or_changed_is_embedded(self, tmp_path):
        given = documents(tmp_path)
        index = new_index(path=tmp_path / "kb")
        assert index.refresh_ref_docs(given) == [True, True, True]
        assert index.refresh_ref_docs(given) == [False, False, False]
        index.vector_store.index.close()

        again = DiptychMultiModalIndex(path=tmp_path / "kb")  # by its path alone, without docstore
        before = again.vector_store.index.ids()
        given = documents(tmp_path)
        assert again.refresh_ref_docs(given) == [False, False, False]
        assert again.vector_store.index.ids() == before
        given[0] = LlamaDocument(text="Call nobody.", id_="service")
        (tmp_path / "pump.png").write_bytes(png("lime"))  # behind an unchanged path
        assert again.refresh_ref_docs(given) == [True, False, True]
        assert len(again.vector_store.index) == 3
        assert ids(again.as_retriever(similarity_top_k=1).retrieve("green")) == ["pump"]
        again.vector_store.index.close()

    def test_many_documents_are_taken_in_batches(self):
        class Counting(ToyEncoder):
            sizes = []  # noqa: RUF012

            def encode_document(self, texts):
                self.sizes.append(len(texts))
                return super().encode_document(texts)

        given = [LlamaDocument(text=f"text {i}", id_=str(i)) for i in range(10)]
        index = DiptychMultiModalIndex.from_documents(
            given, embed_model=Counting(), insert_batch_size=4, transformations=[]
        )
        assert [size for size in Counting.sizes if size] == [4, 4, 2]
        given[7] = LlamaDocument(text="another", id_="7")
        assert index.refresh_ref_docs(given) == [i == 7 for i in range(10)]
        assert sorted(index.ref_doc_info) == [str(i) for i in range(10)]

    def test_from_documents_goes_on_where_it_was(self, tmp_path):
        given = [*documents(tmp_path), LlamaDocument(text=LONG, id_="long")]
        options = {
            "embed_model": TOY,
            "transformations": [SentenceSplitter(chunk_size=64, chunk_overlap=0)],
        }
        first = DiptychMultiModalIndex.from_documents(given, path=tmp_path / "kb", **options)
        whole = len(first.vector_store.index)
        # As if the process had been killed between two batches.
        chunks = first.vector_store.index.ids({"_diptych.ref_doc_id": "long"})
        first.vector_store.index.delete(chunks[-1:])
        first.vector_store.index.close()
        again = DiptychMultiModalIndex.from_documents(given, path=tmp_path / "kb", **options)
        assert len(again.vector_store.index) == whole
        again.vector_store.index.close()

    def test_what_cannot_be_read_does_not_take_the_old_one_away(self, index, tmp_path):
        broken = ImageDocument(text="the blue valve", image=B64, id_="valve")
        broken.image_resource = MediaResource(data=b"not a picture")
        assert index.refresh_ref_docs([broken]) == [True]
        assert [failure.id for failure in index.failed] != []
        (found,) = index.as_retriever(similarity_top_k=1, doc_ids=["valve"]).retrieve("blue")
        assert [p.read() for p in found.node.pictures] == [BLUE]

    async def test_the_methods_of_documents(self, index):
        assert sorted(index.ref_doc_info) == ["pump", "service", "valve"]
        await index.ainsert(LlamaDocument(text="a green hose", id_="hose"))
        await index.aupdate_ref_doc(LlamaDocument(text="a green tube", id_="hose"))
        assert [n.text for n in index.vector_store.get_nodes() if n.ref_doc_id == "hose"] == [
            "a green tube"
        ]
        index.update_ref_doc(LlamaDocument(text="a pipe", id_="hose"))
        assert await index.arefresh_ref_docs([LlamaDocument(text="a pipe", id_="hose")]) == [False]
        await index.adelete_ref_doc("hose")
        index.delete_ref_doc("pump")
        assert sorted(index.ref_doc_info) == ["service", "valve"]
        assert len(index.vector_store.index.image_index) == 1
        (node,) = index.vector_store.get_nodes(index.ref_doc_info["valve"].node_ids)
        await index.adelete_nodes([node.node_id])
        assert len(index.vector_store.index.image_index) == 0
        index.delete_nodes(index.ref_doc_info["service"].node_ids)
        assert len(index.vector_store.index) == 0


class TestConstructing:
    def test_one_embedding_for_both_or_one_each(self):
        both = DiptychMultiModalIndex([], embed_model=DiptychMultiModalEmbedding(TOY))
        assert both.vector_store.index.text_encoder is both.vector_store.index.image_encoder
        other = ToyEncoder(64)
        pair = DiptychMultiModalIndex([], embed_model=DiptychMultiModalEmbedding(TOY, other))
        assert pair.vector_store.index.image_encoder is other
        each = DiptychMultiModalIndex(
            [],
            embed_model=MockEmbedding(embed_dim=8),
            image_embed_model=DiptychMultiModalEmbedding(TOY, other),
        )
        assert each.vector_store.index.text_encoder.dim == 8
        assert each.vector_store.index.image_encoder is other
        foreign = DiptychMultiModalIndex([], embed_model=_Foreign(model_name="foreign"))
        assert foreign.vector_store.index.text_encoder is foreign.vector_store.index.image_encoder

    def test_the_settings_are_used_when_nothing_is_given(self, monkeypatch):
        monkeypatch.setattr(Settings, "_embed_model", MockEmbedding(embed_dim=5))
        made = DiptychMultiModalIndex([TextNode(text="words")])
        assert made.vector_store.index.text_encoder.dim == 5

    def test_a_folder_without_remembered_models_is_opened_with_the_settings(
        self, tmp_path, monkeypatch
    ):
        (tmp_path / "kb").mkdir()
        for model in (MockEmbedding(embed_dim=5), MockEmbedding(embed_dim=5)):
            monkeypatch.setattr(Settings, "_embed_model", model)
            made = DiptychMultiModalIndex(path=tmp_path / "kb")
            made.insert(LlamaDocument(text="words", id_="a"))
            assert ids(made.as_retriever().retrieve("words")) == ["a"]
            made.vector_store.index.close()

    def test_a_store_that_exists(self, index):
        again = DiptychMultiModalIndex.from_vector_store(index.vector_store)
        context = StorageContext.from_defaults(vector_store=index.vector_store)
        once_more = DiptychMultiModalIndex.from_documents([], storage_context=context)
        for one in (again, once_more):
            assert one.vector_store is index.vector_store
            assert ids(one.as_retriever(similarity_top_k=1).retrieve("red")) == ["pump"]

    def test_the_stores_of_the_cookbooks_may_be_one(self, index):
        context = StorageContext.from_defaults(
            vector_store=index.vector_store, image_store=index.vector_store
        )
        made = DiptychMultiModalIndex.from_documents([], storage_context=context)
        assert made.vector_store is index.vector_store

    def test_another_store_is_refused(self, index, tmp_path):
        full = SimpleVectorStore()
        full.add([TextNode(text="x", embedding=[1.0])])
        for context in (
            StorageContext.from_defaults(vector_store=full),
            StorageContext.from_defaults(vector_store=index.vector_store, image_store=full),
            StorageContext.from_defaults(
                vector_store=index.vector_store, image_store=DiptychVectorStore(embed_model=TOY)
            ),
        ):
            with pytest.raises(InvalidArgument, match="expected one DiptychVectorStore"):
                DiptychMultiModalIndex([], storage_context=context)
        context = StorageContext.from_defaults(vector_store=index.vector_store)
        with pytest.raises(InvalidArgument, match="together with a storage context"):
            DiptychMultiModalIndex([], storage_context=context, path=tmp_path)

    def test_it_is_persisted_with_its_storage_context(self, index, tmp_path):
        index.storage_context.persist(str(tmp_path / "storage"))
        store = DiptychVectorStore.from_persist_dir(str(tmp_path / "storage"))
        again = DiptychMultiModalIndex.from_vector_store(store)
        assert ids(again.as_retriever(similarity_top_k=1).retrieve("red")) == ["pump"]
        store.index.close()


class _Foreign(DiptychMultiModalEmbedding.__mro__[1]):
    """A multimodal embedding that is not diptych's."""

    def _get_text_embedding(self, text):
        return TOY.encode_document([text])[0].tolist()

    def _get_query_embedding(self, query):
        return TOY.encode_query([query])[0].tolist()

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)

    def _get_image_embedding(self, img_file_path):
        from diptych import Image

        return TOY.encode_image([Image.of(getattr(img_file_path, "getvalue", str)() if hasattr(
            img_file_path, "getvalue") else img_file_path)])[0].tolist()  # fmt: skip

    async def _aget_image_embedding(self, img_file_path):
        return self._get_image_embedding(img_file_path)


class TestRetriever:
    def test_its_options(self, index):
        def find(**options):
            return ids(index.as_retriever(similarity_top_k=3, **options).retrieve("blue"))

        nodes = {n.ref_doc_id: n.node_id for n in index.vector_store.get_nodes()}
        assert find(doc_ids=["pump", "service"], node_ids=[nodes["pump"]]) == ["pump"]
        assert find(filters=MetadataFilters(filters=[MetadataFilter(key="n", value=1)])) == []
        assert set(find(node_ids=[], doc_ids=[])) == {"pump", "service", "valve"}
        only_words = {"text": 0.0, "image": 0.0, "lexical": 1.0}
        assert find(weights=only_words)[0] == "valve"
        retriever = index.as_retriever(similarity_top_k=1, image_similarity_top_k=2)
        assert len(retriever.retrieve("blue")) == 1
        assert len(retriever.text_to_image_retrieve("blue")) == 2

    def test_evidence_comes_with_the_nodes(self, index):
        (found,) = index.as_retriever(similarity_top_k=1).retrieve("a blue valve")
        assert {e.list for e in found.evidence} == {"text", "image", "cross_modal", "lexical"}
        assert found.fused.score == found.score
        assert found.model_copy().evidence == found.evidence
        bare = RetrievedNode(node=found.node, score=found.score)
        assert (bare.fused, bare.evidence) == (None, ())
        assert found.to_dict() == NodeWithScore(node=found.node, score=found.score).to_dict()


class TestEngines:
    def test_words_and_pictures_reach_the_model(self, index):
        llm = RecordingLLM()
        engine = index.as_query_engine(llm=llm, similarity_top_k=2)
        response = engine.query("a blue valve")
        assert str(response) == "It is red."
        assert "the blue valve" in words(llm.seen[0])
        assert BLUE in pictures(llm.seen[0])
        assert response.source_nodes[0].node.ref_doc_id == "valve"

    async def test_the_picture_of_a_question_is_shown_and_is_no_source(self, index, tmp_path):
        question = tmp_path / "question.png"
        question.write_bytes(png("navy"))
        for asynchronous in (False, True):
            llm = RecordingLLM()
            engine = index.as_query_engine(llm=llm, similarity_top_k=1)
            bundle = QueryBundle("what is it?", image_path=str(question))
            answers = [
                await engine.aquery(bundle) if asynchronous else engine.query(bundle),
                await engine.aimage_query(str(question), "what is it?")
                if asynchronous
                else engine.image_query(str(question), "what is it?"),
            ]
            for answer, sent in zip(answers, llm.seen, strict=True):
                assert pictures(sent) == [png("navy"), BLUE]
                assert "what is it?" in words(sent)
                assert [n.node.ref_doc_id for n in answer.source_nodes] == ["valve"]

    def test_a_model_that_does_not_chat_gets_words(self, index):
        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1)
        assert "the blue valve" in str(engine.query("a blue valve"))

    @pytest.mark.parametrize("kind", ["plain", "chat", "rich"])
    def test_templates_for_texts_count_and_show_pictures(self, index, kind):
        plain = "Use {context_str} as {{given}} {{% x %}}, and answer {query_str}!"
        template = {
            "plain": PromptTemplate(plain),
            "chat": ChatPromptTemplate(
                [ChatMessage("Be brief.", role="system"), ChatMessage(plain, role="user")]
            ),
            "rich": RichPromptTemplate(
                "{% chat role='user' %}Use {% for m in context_messages %}{% for b in m.blocks %}"
                "{% if b.block_type == 'text' %}{{ b.text }}{% else %}{{ b.inline_url() | image }}"
                "{% endif %}{% endfor %}{% endfor %} as {{ '{given}' }} {{ '{% x %}' }}, "
                "and answer {{ query_str }}!{% endchat %}"
            ),
        }[kind]
        llm = RecordingLLM()
        engine = index.as_query_engine(llm=llm, similarity_top_k=1, text_qa_template=template)
        engine.query("a blue valve")
        text = words(llm.seen[0])
        assert "the blue valve" in text
        assert "as {given} {% x %}, and answer a blue valve!" in " ".join(text.split())
        assert pictures(llm.seen[0]) == [BLUE]
        assert ("Be brief." in text) == (kind == "chat")

    @pytest.mark.parametrize("mode", [ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT, "best"])
    async def test_chat_shows_words_and_pictures_of_this_turn(self, index, mode):
        llm = RecordingLLM()
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
        engine = index.as_chat_engine(mode, llm=llm, similarity_top_k=1, memory=memory)
        engine.chat("a blue valve")
        assert "the blue valve" in words(llm.seen[-1])
        assert pictures(llm.seen[-1]) == [BLUE]
        await engine.achat("and red?")
        assert pictures(llm.seen[-1]) == [RED]  # condensed to "It is red."
        assert len([m for m in llm.seen[-1] if "a blue valve" in str(m.content)]) == 1

    def test_chat_without_pictures(self, index):
        llm = RecordingLLM()
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
        engine = index.as_chat_engine(ChatMode.CONTEXT, llm=llm, multimodal=False, memory=memory)
        engine.chat("a blue valve")
        assert pictures(llm.seen[-1]) == []
        assert "the blue valve" in words(llm.seen[-1])

    def test_the_other_ways_to_chat(self, index):
        llm = RecordingLLM()
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
        engine = index.as_chat_engine(
            "condense_question", llm=llm, similarity_top_k=1, memory=memory
        )
        engine.chat("a blue valve")
        assert pictures(llm.seen[-1]) == [BLUE]
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
        index.as_chat_engine("simple", llm=llm, memory=memory).chat("hello")
        assert words(llm.seen[-1]) == "hello"
        with pytest.raises(ValueError, match="deprecated and removed"):
            index.as_chat_engine("react", llm=llm)

    @pytest.mark.filterwarnings("ignore:.*SimpleMultiModalQueryEngine.*:DeprecationWarning")
    def test_the_old_engine_shows_captions_and_all_pictures(self):
        llm = RecordingLLM()
        made = new_index([DiptychNode(text="the caption", image=B64)])
        engine = SimpleMultiModalQueryEngine(
            made.as_retriever(), multi_modal_llm=llm, node_postprocessors=[SeparatePictures()]
        )
        engine.query("red")
        assert "the caption" in words(llm.seen[0])
        assert pictures(llm.seen[0]) == [RED]


class TestSeparatePictures:
    def test_the_best_pictures_are_within_the_limit(self):
        node = DiptychNode(text="caption", id_="n")
        from diptych import Image

        node._pictures = tuple(Image(png((i, 0, 0))) for i in range(3))
        plain = TextNode(text="words", id_="t")
        found = [NodeWithScore(node=plain, score=0.9), NodeWithScore(node=node, score=0.5)]
        apart = SeparatePictures(max_images=2).postprocess_nodes(found)
        assert [n.node_id for n in apart] == ["t", "n", "n#1", "n#text"]
        assert [n.score for n in apart] == [0.9, 0.5, 0.5, 0.5]
        assert [n.node.image and base64.b64decode(n.node.image) for n in apart[1:3]] == [
            png((0, 0, 0)),
            png((1, 0, 0)),
        ]
        assert SeparatePictures(max_images=0).postprocess_nodes(found)[-1].node.text == "caption"


class TestContent:
    def test_blocks_are_numbered_fenced_and_within_a_budget(self, index):
        found = index.as_retriever(similarity_top_k=2).retrieve("a blue valve")
        blocks = to_content_blocks(found, nonce="n0nce")
        text = "\n".join(b.text for b in blocks if not isinstance(b, ImageBlock))
        assert "<<n0nce [1] from: " in text
        assert pictures([ChatMessage(blocks=blocks)])[0] == BLUE
        few = to_content_blocks(found, max_images=0)
        assert not any(isinstance(b, ImageBlock) for b in few)

    def test_nodes_of_others_are_shown_too(self):
        nodes = [
            NodeWithScore(
                node=TextNode(text="words", metadata={"file_name": "a.txt", "d": {1: 2}})
            ),
            NodeWithScore(node=ImageNode(image=B64)),
            NodeWithScore(node=TextNode(text=" ")),
            NodeWithScore(node=ImageNode(image="no base64")),
        ]
        blocks = to_content_blocks(nodes)
        assert "[1] from: a.txt" in blocks[0].text
        assert [b.resolve_image().read() for b in blocks if isinstance(b, ImageBlock)] == [RED]


class _Caller(FunctionCallingLLM):
    """Calls the tool once, then answers; keeps what it was sent."""

    _seen: list = PrivateAttr(default_factory=list)

    @property
    def metadata(self):
        from llama_index.core.base.llms.types import LLMMetadata

        return LLMMetadata(is_function_calling_model=True, is_chat_model=True)

    def _respond(self, messages):
        from llama_index.core.base.llms.types import ChatResponse

        self._seen.append(list(messages))
        return ChatResponse(message=ChatMessage("done", role="assistant"))

    def get_tool_calls_from_response(self, response, **_):
        from llama_index.core.llms.llm import ToolSelection

        if len(self._seen) > 1:
            return []
        return [ToolSelection(tool_id="1", tool_name="manual", tool_kwargs={"input": "blue valve"})]

    def _prepare_chat_with_tools(self, tools, user_msg=None, chat_history=None, **_):
        return {"messages": [*(chat_history or []), *([user_msg] if user_msg else [])]}

    async def astream_chat_with_tools(self, tools, chat_history=None, **_):
        async def stream():
            yield self._respond(chat_history)

        return stream()

    async def achat_with_tools(self, tools, chat_history=None, **_):
        return self._respond(chat_history)

    def chat(self, messages, **_):
        return self._respond(messages)

    def complete(self, *_, **__): ...
    def stream_chat(self, *_, **__): ...
    def stream_complete(self, *_, **__): ...
    async def achat(self, messages, **_):
        return self._respond(messages)

    async def acomplete(self, *_, **__): ...
    async def astream_chat(self, *_, **__): ...
    async def astream_complete(self, *_, **__): ...


class TestTool:
    def tool(self, index):
        retriever = index.as_retriever(similarity_top_k=1)
        metadata = ToolMetadata("Searches the manual.", "manual")
        return DiptychRetrieverTool(retriever, metadata, max_images=2)

    async def test_its_output_carries_pictures_and_nodes(self, index):
        tool = self.tool(index)
        for output in (tool.call("blue valve"), await tool.acall(input="blue valve")):
            assert output.raw_input == {"input": "blue valve"}
            assert "the blue valve" in output.content
            images = [b for b in output.blocks if isinstance(b, ImageBlock)]
            assert [b.resolve_image().read() for b in images] == [BLUE]
            assert [n.node.ref_doc_id for n in output.raw_output] == ["valve"]
            assert not output.is_error

    def test_defaults_and_an_empty_query(self, index):
        tool = DiptychRetrieverTool.from_defaults(index.as_retriever(), name="x", max_images=0)
        assert tool.metadata.get_name() == "x"
        assert all(not isinstance(b, ImageBlock) for b in tool.call("blue").blocks)
        with pytest.raises(InvalidArgument, match="without a query"):
            tool.call()

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the agents' own making
    async def test_an_agent_sees_the_pictures(self, index):
        llm = _Caller()
        agent = FunctionAgent(tools=[self.tool(index)], llm=llm)
        await agent.run("What is blue?")
        (result,) = [m for m in llm._seen[-1] if m.role == "tool"]
        assert [b.resolve_image().read() for b in result.blocks if isinstance(b, ImageBlock)] == [
            BLUE
        ]


class TestIngestion:
    def test_a_pipeline_keeps_pictures_and_sees_that_one_changed(self, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "pump.png").write_bytes(RED)
        (tmp_path / "in" / "page.md").write_text(
            "# Valve\n\nThe valve.\n\n![the valve](valve.jpg)\n"
        )
        (tmp_path / "in" / "valve.jpg").write_bytes(BLUE)
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        pipeline = IngestionPipeline(
            transformations=[KeepPictures(SentenceSplitter()), DiptychMultiModalEmbedding(TOY)],
            vector_store=store,
            docstore=SimpleDocumentStore(),
        )
        reader = DiptychReader()
        first = pipeline.run(documents=reader.load_data(tmp_path / "in"))
        assert len(first) == len(store.index) == 3
        assert reader.failed == ()
        assert pipeline.run(documents=DiptychReader().load_data(tmp_path / "in")) == []
        (tmp_path / "in" / "pump.png").write_bytes(png("lime"))
        (changed,) = pipeline.run(documents=DiptychReader().load_data(tmp_path / "in"))
        assert changed.ref_doc_id == "pump.png"
        assert len(store.index) == 3
        (stored,) = store.index.get(where={"_diptych.ref_doc_id": "pump.png"})
        assert stored.image.read() == png("lime")
        groups = {d.metadata["source"]: d.group for d in store.index.get()}
        assert groups["page.md"] is not None
        assert len({d.group for d in store.index.get(where={"source": "page.md"})}) == 1

    def test_the_cache_of_a_pipeline_does_not_take_one_picture_for_another(self, tmp_path):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        pipeline = IngestionPipeline(
            transformations=[KeepPictures(SentenceSplitter()), DiptychMultiModalEmbedding(TOY)],
            vector_store=store,
        )
        for name, colour in (("a", "red"), ("b", "blue")):
            picture = base64.b64encode(png(colour)).decode()
            pipeline.run(documents=[ImageDocument(image=picture, id_=name)])
        assert [d.image.read() for d in store.index.get()] == [png("red"), png("blue")]

    def test_the_reader_serves_llama_index_s_own_and_keeps_what_that_knows(self, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        (tmp_path / "b.txt").write_text("words")
        reader = SimpleDirectoryReader(tmp_path, file_extractor={".png": DiptychReader()})
        picture, words = reader.load_data()
        assert picture.metadata["file_path"] == str(tmp_path / "a.png")
        assert picture.metadata["image_sha256"] == sha256(RED).hexdigest()
        assert picture.metadata["source"] == "a.png"
        assert "file_size" in picture.excluded_embed_metadata_keys
        # A splitter of LlamaIndex drops the picture of a Document.
        split, _ = SentenceSplitter()([picture, words])
        assert split.image_path == str(tmp_path / "a.png")

    def test_what_the_reader_cannot_read_is_said(self, tmp_path, caplog):
        (tmp_path / "bad.png").write_bytes(b"no picture")
        (tmp_path / "good.png").write_bytes(RED)
        reader = DiptychReader(prefix="x/")
        assert [d.id_ for d in reader.load_data(tmp_path)] == ["x/good.png"]
        assert [failure.source for failure in reader.failed] == ["x/bad.png"]
        assert "bad.png" in caplog.text

    def test_a_picture_at_a_url_is_not_lost_silently(self):
        node = ImageNode(image_url="https://example.org/a.png", id_="a")
        (kept,) = KeepPictures(SentenceSplitter())([node])
        with pytest.raises(Exception, match="never fetches a URL"):
            DiptychVectorStore(embed_model=TOY, image_encoder=TOY).add([kept])
