import base64
import copy
from dataclasses import replace

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_stubs import RecordingLLM, pictures, words
from manual import BLUE, RED, WaitingEncoder, manual, run_beside

from diptych import Document, Image, MultimodalIndex, MultimodalRetriever, ToyEncoder
from diptych.errors import InvalidArgument, MediaError
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychNode,
    DiptychRetriever,
    DiptychVectorStore,
)
from stubs import StubImage, StubText, png

MODES = ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate"]


@pytest.fixture
def retriever(index):
    return DiptychRetriever(index, similarity_top_k=2)


class TestRetrieving:
    def test_a_text_brings_its_figure_in_one_node(self, retriever, index):
        first, second = retriever.retrieve("red pump")
        (fused, _) = MultimodalRetriever.from_index(index).retrieve("red pump", 2)
        assert isinstance(first, NodeWithScore)
        assert (first.node_id, first.score) == (fused.id, fused.score)
        assert first.text == "The red pump moves water."
        assert first.metadata == {"source": "manual.md", "page": 3}
        assert [picture.read() for picture in first.node.pictures] == [RED]
        assert 0 <= second.score <= first.score <= 1

    def test_a_text_without_a_figure_is_a_text_node(self, retriever):
        found = retriever.retrieve("Call the service for spare parts.")[0]
        assert type(found.node) is TextNode

    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_k_means_k(self, index, k):
        assert len(DiptychRetriever(index, similarity_top_k=k).retrieve("red pump")) == k

    async def test_a_picture_and_a_text_with_a_picture(self, retriever, tmp_path):
        path = tmp_path / "question.png"
        path.write_bytes(png("darkred"))
        for bundle in (
            QueryBundle("", image_path=str(path)),
            QueryBundle("pump", image_path=str(path)),
        ):
            for found in (retriever.retrieve(bundle), await retriever.aretrieve(bundle)):
                assert [picture.read() for picture in found[0].node.pictures] == [RED]

    async def test_the_bundle_is_left_as_it_is(self, retriever, tmp_path):
        path = tmp_path / "question.png"
        path.write_bytes(png("darkred"))
        bundle = QueryBundle("red pump", image_path=str(path))
        before = copy.deepcopy(bundle)
        first = retriever.retrieve(bundle)
        assert bundle == before
        assert retriever.retrieve(bundle) == first
        await retriever.aretrieve(bundle)
        retriever.text_retrieve(bundle)
        retriever.image_to_image_retrieve(bundle)
        assert bundle == before

    def test_an_embedding_of_another_model_is_not_used(self, retriever):
        foreign = QueryBundle("red pump", embedding=[1.0, 2.0, 3.0])
        assert retriever.retrieve(foreign) == retriever.retrieve("red pump")

    def test_texts_to_embed_instead_of_the_question_are_averaged(self, index, monkeypatch):
        retriever = DiptychRetriever(index)
        given = {}
        retrieve = retriever.retriever.retrieve
        monkeypatch.setattr(
            retriever.retriever, "retrieve",
            lambda *args, vectors, **kwargs: given.update(vectors) or retrieve(*args, **kwargs),
        )  # fmt: skip
        retriever.retrieve(QueryBundle("water", custom_embedding_strs=["red", "blue"]))
        mean = ToyEncoder().encode_query(["red", "blue"]).mean(axis=0)
        assert given["text"] == pytest.approx(mean / np.linalg.norm(mean))

    def test_nodes_are_new_each_time(self, retriever):
        first = retriever.retrieve("red pump")
        first[0].score = -1.0
        first[0].node.metadata["x"] = 1
        second = retriever.retrieve("red pump")
        assert second[0].score != -1.0
        assert "x" not in second[0].metadata

    def test_filters_apply_before_the_search(self, index):
        only = MetadataFilters(filters=[MetadataFilter(key="source", value="faq.md")])
        found = DiptychRetriever(index, filters=only, similarity_top_k=9).retrieve("red pump")
        assert [n.node_id for n in found] == ["service"]

    def test_an_index_or_a_retriever_is_needed(self, index):
        with pytest.raises(InvalidArgument, match="either an index or"):
            DiptychRetriever()
        own = MultimodalRetriever.from_index(index)
        with pytest.raises(InvalidArgument, match="either an index or"):
            DiptychRetriever(index, retriever=own)
        assert DiptychRetriever(retriever=own).retriever is own

    def test_an_empty_index_is_used_and_not_replaced(self):
        empty = MultimodalIndex(ToyEncoder())
        retriever = DiptychRetriever(empty)
        assert retriever.retrieve("red") == []
        empty.add([Document("a red pump", id="x")])
        assert retriever.retrieve("red")[0].node_id == "x"

    @pytest.mark.parametrize("group", [None, "1"])
    def test_a_node_keeps_its_source_and_templates(self, group):
        index = MultimodalIndex(ToyEncoder(), ToyEncoder())
        store = DiptychVectorStore(index)
        node = TextNode(
            id_="n",
            text="a red pump",
            metadata={"page": 3},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")},
            excluded_llm_metadata_keys=["page"],
            text_template="{content} / {metadata_str}",
        )
        store.add([node])
        if group is not None:  # the picture that belongs to it joins it in one fused node
            index.upsert(replace(document, group=group) for document in index.get(["n"]))
            index.add([Document(image=RED, id="p", group=group, order=1)])
        (found,) = DiptychRetriever(index).retrieve("a red pump")
        assert found.node_id == "n"
        assert found.node.ref_doc_id == "doc"
        assert found.node.excluded_llm_metadata_keys == ["page"]
        assert found.node.text_template == "{content} / {metadata_str}"
        assert isinstance(found.node, DiptychNode) is (group is not None)


class TestModalities:
    async def test_texts_by_a_text(self, retriever):
        for found in (
            retriever.text_retrieve("red pump"),
            await retriever.atext_retrieve(QueryBundle("red pump", image_path="ignored.png")),
        ):
            assert found[0].text == "The red pump moves water."

    async def test_pictures_by_a_text(self, retriever):
        for found in (
            retriever.text_to_image_retrieve("blue"),
            await retriever.atext_to_image_retrieve(QueryBundle("blue")),
            retriever._text_to_image_retrieve(QueryBundle("blue")),
            await retriever._atext_to_image_retrieve(QueryBundle("blue")),
        ):
            assert BLUE in [picture.read() for picture in found[0].node.pictures]

    async def test_pictures_by_a_picture(self, retriever, tmp_path):
        path = str(tmp_path / "question.png")
        (tmp_path / "question.png").write_bytes(png("darkred"))
        for found in (
            retriever.image_to_image_retrieve(path),
            await retriever.aimage_to_image_retrieve(path),
            retriever.image_to_image_retrieve(QueryBundle("blue valve", image_path=path)),
            retriever._image_to_image_retrieve(QueryBundle("", image_path=path)),
            await retriever._aimage_to_image_retrieve(QueryBundle("", image_path=path)),
        ):
            assert [picture.read() for picture in found[0].node.pictures] == [RED]

    def test_a_picture_that_is_not_there_is_refused(self, retriever):
        with pytest.raises(MediaError, match="missing.png"):
            retriever.image_to_image_retrieve("missing.png")
        with pytest.raises(InvalidArgument, match="needs text, an image"):
            retriever.image_to_image_retrieve(QueryBundle("only text"))

    @pytest.mark.parametrize("method", ["aretrieve", "atext_retrieve", "atext_to_image_retrieve"])
    async def test_the_event_loop_is_not_blocked(self, tmp_path, method):
        encoder = WaitingEncoder()
        index = MultimodalIndex(encoder, encoder)
        index.add(manual(tmp_path))
        call = getattr(DiptychRetriever(index), method)
        assert await run_beside(encoder, call("red pump"))


class TestNode:
    def node(self, **options):
        node = DiptychNode(text="a caption", metadata={"page": 3}, **options)
        return node

    def test_metadata_text_and_picture_are_shown(self):
        node = self.node(image=base64.b64encode(RED).decode())
        metadata, text, picture = node.get_content_blocks(MetadataMode.LLM)
        assert (metadata.text, text.text) == ("page: 3", "a caption")
        assert base64.b64decode(picture.image) == RED
        assert picture.image_mimetype == "image/png"
        assert len(node.get_content_blocks()) == 2

    def test_it_goes_by_the_name_of_an_image_node(self):
        node = self.node(image=base64.b64encode(RED).decode())
        assert isinstance(node, ImageNode)
        assert node.class_name() == ImageNode.class_name() == "ImageNode"
        assert ImageNode.from_json(node.to_json()).image == node.image

    def test_all_pictures_are_shown_and_survive_copies(self):
        node = self.node()
        node._pictures = (Image(RED), Image(BLUE))
        for one in (node, node.model_copy(), copy.deepcopy(node)):
            blocks = one.get_content_blocks()
            assert [base64.b64decode(b.image) for b in blocks[1:]] == [RED, BLUE]
        assert node.resolve_image().read() == RED

    def test_a_picture_that_is_gone_is_said_in_words(self, tmp_path):
        node = self.node(image_path=str(tmp_path / "gone.png"))
        assert node.get_content_blocks()[-1].text == (
            "(A picture, gone.png, is omitted: it can no longer be read.)"
        )

    def test_a_picture_is_made_to_fit(self):
        node = self.node(image=base64.b64encode(png("red", (3000, 10))).decode())
        (_, picture) = node.get_content_blocks()
        assert Image(base64.b64decode(picture.image)).size == (1568, 5)

    def test_a_url_is_left_to_the_model(self):
        node = self.node(image_url="https://example.org/a.png")
        assert str(node.get_content_blocks()[-1].url) == "https://example.org/a.png"


class TestEngines:
    QUESTION = "Which colour is the pump?"

    def check(self, llm):
        sent = [message for messages in llm.seen for message in messages]
        assert self.QUESTION in words(sent)
        assert "The red pump moves water." in words(sent)
        assert pictures(sent) == [RED, BLUE]

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_question_text_and_picture_reach_the_model(self, retriever, mode, asynchronous):
        llm = RecordingLLM()
        engine = RetrieverQueryEngine.from_args(
            retriever, llm=llm, multimodal=True, response_mode=mode
        )
        answer = await engine.aquery(self.QUESTION) if asynchronous else engine.query(self.QUESTION)
        assert "It is red." in str(answer)
        assert answer.source_nodes[0].node_id in ("pump", "pump.png")
        self.check(llm)

    def test_all_pictures_of_a_node_reach_the_model(self):
        index = MultimodalIndex(ToyEncoder(), ToyEncoder())
        index.add([
            Document("Two pumps.", id="t", group="g", order=0),
            Document(image=RED, id="p", group="g", order=1),
            Document(image=BLUE, id="q", group="g", order=2),
        ])  # fmt: skip
        llm = RecordingLLM()
        engine = RetrieverQueryEngine.from_args(
            DiptychRetriever(index, similarity_top_k=1), llm=llm, multimodal=True
        )
        engine.query("Two pumps.")
        assert pictures(llm.seen[0]) == [RED, BLUE]

    def test_text_alone_goes_to_a_model_without_vision(self, retriever):
        llm = RecordingLLM()
        RetrieverQueryEngine.from_args(retriever, llm=llm).query(self.QUESTION)
        assert "The red pump moves water." in words(llm.seen[0])
        assert pictures(llm.seen[0]) == []

    def test_a_citation_engine_takes_the_nodes(self, retriever):
        llm = RecordingLLM()
        engine = CitationQueryEngine(retriever=retriever, llm=llm)
        assert engine.query(self.QUESTION).source_nodes


class TestComposition:
    async def test_as_an_arm_of_a_fusion_retriever(self, retriever, index):
        arms = [retriever, DiptychRetriever(index, modalities=("image",))]
        for mode in ("reciprocal_rerank", "relative_score", "dist_based_score", "simple"):
            fusion = QueryFusionRetriever(
                arms, num_queries=1, mode=mode, similarity_top_k=3, use_async=False,
                llm=MockLLM(),
            )  # fmt: skip
            found = fusion.retrieve("red pump")
            assert [p.read() for p in found[0].node.pictures] == [RED]
            assert await fusion.aretrieve("red pump") == found
        assert retriever.retrieve("red pump")[0].score <= 1

    def test_events_and_object_maps_are_those_of_llama_index(self, index):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        retriever = DiptychRetriever(index, callback_manager=CallbackManager([debug]))
        assert isinstance(retriever, BaseRetriever)
        engine = RetrieverQueryEngine.from_args(retriever, llm=RecordingLLM(), multimodal=True)
        engine.callback_manager = retriever.callback_manager
        engine.query("red pump")
        assert debug.get_event_pairs(CBEventType.RETRIEVE)


class TestEmbedding:
    @pytest.fixture
    def model(self):
        return DiptychMultiModalEmbedding(ToyEncoder())

    async def test_texts_and_queries(self, model):
        expected = ToyEncoder().encode_document(["red", "blue"]).tolist()
        assert isinstance(model, MultiModalEmbedding)
        assert model.get_text_embedding("red") == expected[0]
        assert model.get_text_embedding_batch(["red", "blue"]) == expected
        assert model.get_query_embedding("blue") == expected[1]
        assert await model.aget_text_embedding("red") == expected[0]
        assert await model.aget_text_embedding_batch(["red", "blue"]) == expected
        assert await model.aget_query_embedding("blue") == expected[1]

    async def test_pictures_by_path_and_stream(self, model, tmp_path):
        from io import BytesIO

        (tmp_path / "a.png").write_bytes(RED)
        path = str(tmp_path / "a.png")
        expected = ToyEncoder().encode_image([Image(RED), Image(BLUE)]).tolist()
        assert model.get_image_embedding(path) == expected[0]
        assert model.get_image_embedding_batch([path, BytesIO(BLUE)]) == expected
        assert await model.aget_image_embedding(BytesIO(RED)) == expected[0]
        assert await model.aget_image_embedding_batch([path, BytesIO(BLUE)]) == expected

    def test_a_batch_is_one_call(self):
        text, image = StubText(), StubImage()
        model = DiptychMultiModalEmbedding(text, image, embed_batch_size=10)
        model.get_text_embedding_batch(["a", "b", "c"])
        model.get_image_embedding_batch([__import__("io").BytesIO(RED)] * 3)
        assert (len(text.calls), len(image.calls)) == (1, 1)

    def test_what_is_missing_is_said(self):
        with pytest.raises(InvalidArgument, match="nothing that encodes texts"):
            DiptychMultiModalEmbedding(image_encoder=StubImage())
        with pytest.raises(InvalidArgument, match="without an image encoder"):
            DiptychMultiModalEmbedding(StubText()).get_image_embedding("a.png")

    def test_its_name_is_the_space_of_the_vectors(self, model):
        assert model.model_name == "toy-128"
        assert model.to_dict()["class_name"] == "DiptychMultiModalEmbedding"

    async def test_the_event_loop_is_not_blocked(self):
        encoder = WaitingEncoder()
        assert await run_beside(
            encoder, DiptychMultiModalEmbedding(encoder).aget_query_embedding("red")
        )
