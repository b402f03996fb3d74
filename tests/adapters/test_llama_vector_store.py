import base64
import gc
import json
import shutil

import fsspec
import numpy as np
import pytest
from llama_index.core import Document as LlamaDocument
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    BaseComponent,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from manual import BLUE, RED
from PIL import Image as Pil

from diptych import Document, Image, MultimodalIndex, ToyEncoder
from diptych.errors import (
    DocumentError,
    EncoderMismatch,
    FormatError,
    InvalidArgument,
    MediaError,
    VectorError,
)
from diptych.langchain import DiptychVectorStore as LangChainStore
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychNode,
    DiptychRetriever,
    DiptychVectorStore,
)
from stubs import StubText, png

TOY = ToyEncoder()
B64 = base64.b64encode(RED).decode()


def embedded(*nodes):
    model = DiptychMultiModalEmbedding(TOY)
    for node in nodes:
        content = node.get_content(MetadataMode.EMBED)
        node.embedding = model.get_text_embedding(content) if content else None
    return list(nodes)


def source(identity):
    return {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=identity)}


def corpus():
    return embedded(
        TextNode(id_="red", text="a red pump", metadata={"n": 1, "tag": ["x"]},
                 relationships=source("manual")),
        TextNode(id_="blue", text="a blue valve", metadata={"n": 2, "tag": ["x", "y"]},
                 relationships=source("manual")),
        TextNode(id_="green", text="green grass", metadata={"n": 3}, relationships=source("garden")),
    )  # fmt: skip


@pytest.fixture
def store():
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    store.add(corpus())
    return store


def ask(text="red", **options):
    options = {"similarity_top_k": 3, **options}
    return VectorStoreQuery(
        query_embedding=TOY.encode_query([text])[0].tolist(), query_str=text, **options
    )


def filters(**equal):
    return MetadataFilters(filters=[MetadataFilter(key=k, value=v) for k, v in equal.items()])


class TestRoundTrip:
    def same(self, node, store=None):
        store = store or DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        before = node.model_dump()
        store.add([node])
        assert node.model_dump() == before
        (back,) = store.get_nodes([node.node_id])
        ours, theirs = back.to_dict(), node.to_dict()
        for dump in (ours, theirs):
            dump["embedding"] = None
        assert ours == theirs
        return back

    def test_a_text_node_with_everything_it_may_have(self):
        node = TextNode(
            id_="n", text="a text", start_char_idx=3, end_char_idx=9, mimetype="text/markdown",
            metadata={"a": 1, "nested": {"b": [1, None]}, "bool": True},
            excluded_embed_metadata_keys=["a"], excluded_llm_metadata_keys=["bool"],
            metadata_template="{key}={value}", metadata_separator="; ",
            text_template="{metadata_str} | {content}",
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", metadata={"m": 1}, hash="h"),
                NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
                NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
            },
        )  # fmt: skip
        back = self.same(*embedded(node))
        assert type(back) is TextNode
        assert back.ref_doc_id == "doc"
        assert back.hash == node.hash
        assert back.get_content(MetadataMode.LLM) == node.get_content(MetadataMode.LLM)

    @pytest.mark.parametrize("text", ["", " ", "a caption"])
    def test_an_image_node_by_bytes(self, text):
        node = ImageNode(id_="n", text=text, image=B64, image_mimetype="image/png",
                         metadata={"a": 1})  # fmt: skip
        back = self.same(node)
        assert type(back) is DiptychNode
        assert [picture.read() for picture in back.pictures] == [RED]

    def test_an_image_node_by_path(self, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        node = ImageNode(id_="n", image_path=str(tmp_path / "a.png"), relationships=source("doc"))
        back = self.same(node)
        assert back.image is None
        assert [picture.read() for picture in back.pictures] == [RED]

    def test_the_picture_of_a_path_that_is_gone_comes_from_the_index(self, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY, path=tmp_path / "index")
        store.add([ImageNode(id_="n", image_path=str(tmp_path / "a.png"))])
        (tmp_path / "a.png").unlink()
        (back,) = store.get_nodes(["n"])
        assert (tmp_path / "index") in (tmp_path / back.image_path).parents
        assert Image(back.image_path).read() == RED
        assert base64.b64decode(back.get_content_blocks()[-1].image) == RED
        store.index.close()

    @pytest.mark.parametrize("make", ["image node", "node", "document"])
    def test_a_relative_path_survives_a_move_of_the_folder(self, tmp_path, monkeypatch, make):
        (tmp_path / "work" / "figures").mkdir(parents=True)
        (tmp_path / "work" / "figures" / "a.png").write_bytes(RED)
        monkeypatch.chdir(tmp_path / "work")
        relative = "figures/a.png"
        node = {
            "image node": lambda: ImageNode(id_="a", image_path=relative),
            "node": lambda: Node(id_="a", image_resource=MediaResource(path=relative)),
            "document": lambda: ImageDocument(id_="a", image_path=relative),
        }[make]()
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY, path="kb")
        store.add([node])
        store.index.close()
        shutil.move(tmp_path / "work" / "kb", tmp_path / "moved")
        shutil.rmtree(tmp_path / "work" / "figures")
        monkeypatch.chdir(tmp_path)
        again = DiptychVectorStore(path="moved")
        (found,) = again.get_nodes(["a"])
        (block,) = [b for b in found.get_content_blocks() if b.block_type == "image"]
        assert block.resolve_image().read() == RED
        again.index.close()

    def test_a_multimodal_node_by_bytes_and_by_path(self, tmp_path):
        (tmp_path / "a.png").write_bytes(BLUE)
        by_bytes = Node(
            id_="b",
            text_resource=MediaResource(text="a caption"),
            image_resource=MediaResource(data=RED, mimetype="image/png"),
        )
        back = self.same(by_bytes)
        assert isinstance(back, Node)
        assert base64.b64decode(back.image_resource.data) == RED
        by_path = Node(id_="p", image_resource=MediaResource(path=tmp_path / "a.png"))
        back = self.same(by_path)
        assert back.image_resource.path == tmp_path / "a.png"
        assert back.text_resource is None

    def test_an_index_node(self):
        node = IndexNode(id_="n", text="a summary", index_id="other", obj=TextNode(text="inner"))
        (node,) = embedded(node)
        back = self.same(node)
        assert back.index_id == "other"

    def test_an_image_document_comes_back_as_a_node(self, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        document = ImageDocument(id_="d", text="a caption", image_path=str(tmp_path / "a.png"))
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        store.add([document])
        (back,) = store.get_nodes(["d"])
        assert type(back) is DiptychNode
        assert (back.text, back.image_path) == ("a caption", str(tmp_path / "a.png"))

    def test_a_node_of_metadata_alone_keeps_its_empty_text(self):
        (node,) = embedded(TextNode(id_="n", text="", metadata={"colour": "red"}))
        store = DiptychVectorStore(embed_model=TOY)
        self.same(node, store)
        assert store.query(ask("colour red")).ids == ["n"]

    def test_metadata_that_looks_like_a_secret_stays_data(self):
        secret = {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}
        self.same(*embedded(TextNode(id_="n", text="a", metadata={"x": secret})))

    def test_documents_of_others_come_back_as_nodes(self, index):
        store = DiptychVectorStore(index)
        pump, picture, captioned = store.get_nodes(["pump", "pump.png", "valve.png"])
        assert (pump.text, pump.metadata) == (
            "The red pump moves water.", {"source": "manual.md", "page": 3}
        )  # fmt: skip
        assert type(pump) is TextNode
        assert base64.b64decode(picture.image) == RED
        assert picture.image_mimetype == "image/png"
        assert Image(captioned.image_path).read() == BLUE
        assert captioned.text == "Fig. 2: a valve"

    def test_nodes_are_documents_for_langchain(self, store):
        found = LangChainStore(index=store.index).get_by_ids(["red"])
        assert (found[0].page_content, found[0].metadata) == ("a red pump", {"n": 1, "tag": ["x"]})


class TestChanging:
    def test_ids_come_back_in_order_and_an_id_is_replaced(self, store):
        nodes = embedded(TextNode(id_="z", text="new"), TextNode(id_="red", text="crimson"))
        assert store.add(nodes) == ["z", "red"]
        assert store.get_nodes(["red"])[0].text == "crimson"
        assert len(store.index) == 4
        assert store.add([]) == []

    def test_the_embedding_of_the_node_is_the_vector_of_its_text(self):
        store = DiptychVectorStore()
        store.add([TextNode(id_="n", text="a", embedding=[3.0, 4.0])])
        assert store.index.text_index.vectors(["n"])[0] == pytest.approx([0.6, 0.8])

    def test_a_picture_is_embedded_from_the_node(self, store):
        store.add([ImageNode(id_="p", image=B64)])
        vector = store.index.image_index.vectors(["p"])[0]
        assert vector == pytest.approx(TOY.encode_image([Image(RED)])[0])

    def test_a_node_that_is_changed_and_added_again_keeps_its_figure(self, index):
        store = DiptychVectorStore(index)
        (node,) = store.get_nodes(["pump"])
        node.text = "The red pump moves oil."
        store.add(embedded(node))
        (found,) = DiptychRetriever(index, similarity_top_k=1).retrieve("pump moves oil")
        assert [d.id for d in found.fused.documents] == ["pump", "pump.png"]

    def test_a_source_document_is_deleted_by_its_id(self, store):
        store.delete("unknown")
        store.delete("red")
        assert len(store.index) == 3
        store.delete("manual")
        assert store.index.ids() == ["green"]

    @pytest.mark.parametrize(
        ("arguments", "left"),
        [
            ((["red", "unknown"], None), ["blue", "green"]),
            ((None, filters(n=2)), ["red", "green"]),
            ((["red", "blue"], filters(n=2)), ["red", "green"]),
            (([], None), ["red", "blue", "green"]),
            ((None, None), []),
        ],
    )
    async def test_deletion_by_ids_and_filters(self, store, arguments, left):
        store.delete_nodes(*arguments)
        assert store.index.ids() == left
        store.clear()
        store.add(corpus())
        await store.adelete_nodes(*arguments)
        assert store.index.ids() == left

    def test_one_id_leaves_all_indexes(self, store):
        store.add(embedded(ImageNode(id_="p", text="a red thing", image=B64)))
        views = (store.index.text_index, store.index.image_index, store.index.cross_modal_index)
        assert [len(view) for view in views] == [4, 1, 4]
        store.delete_nodes(["p"])
        assert [len(view) for view in views] == [3, 0, 3]

    async def test_the_asynchronous_twins(self):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        assert await store.async_add(corpus()) == ["red", "blue", "green"]
        assert (await store.aquery(ask())).ids[0] == "red"
        assert [n.node_id for n in await store.aget_nodes(None, filters(n=3))] == ["green"]
        await store.adelete("garden")
        assert store.index.ids() == ["red", "blue"]
        await store.aclear()
        assert len(store.index) == 0

    def test_getting_nodes(self, store):
        assert [n.node_id for n in store.get_nodes(["green", "unknown", "red"])] == ["green", "red"]
        assert [n.node_id for n in store.get_nodes(["red", "blue"], filters(n=2))] == ["blue"]
        assert len(store.get_nodes()) == 3
        assert store.get_nodes([]) == []

    def test_an_empty_store_answers(self):
        store = DiptychVectorStore()
        store.delete("x")
        store.delete_nodes()
        store.clear()
        assert store.client is None
        assert store.get_nodes() == []
        assert store.query(ask()).ids == []

    def test_one_bad_picture_does_not_lose_the_other_nodes(self, store, tmp_path):
        bad = ImageNode(id_="bad", image_path=str(tmp_path / "missing.png"))
        assert store.add([bad, *embedded(TextNode(id_="good", text="good"))]) == ["bad", "good"]
        assert [failure.id for failure in store.failed] == ["bad"]
        assert "missing.png" in store.failed[0].reason
        assert "good" in store.index
        assert "bad" not in store.index

    def test_what_cannot_be_stored_is_refused(self, store):
        assert store.add([TextNode(id_="n", text="")]) == ["n"]  # just blank
        assert "neither text nor an image" in store.failed[0].reason
        with pytest.raises(DocumentError, match="keys must be strings"):
            store.add([TextNode(id_="n", text="a", metadata={"x": {1: 2}})])
        with pytest.raises(MediaError, match="not valid base64"):
            store.add([ImageNode(id_="n", image="data:image/png;base64,x")])
        with pytest.raises(VectorError, match="expected"):
            store.add([TextNode(id_="n", text="a", embedding=[1.0, 2.0])])

    def test_a_url_is_not_fetched(self, store):
        store.add(embedded(ImageNode(id_="u", text="x", image_url="https://example.org/a.png")))
        (back,) = store.get_nodes(["u"])
        assert type(back) is TextNode  # LlamaIndex would fetch the URL of an image node
        assert back.metadata == {"image_url": "https://example.org/a.png"}


class TestWithoutAModel:
    def test_the_first_nodes_say_the_dimension(self):
        store = DiptychVectorStore()
        with pytest.raises(InvalidArgument, match="no index yet"):
            _ = store.index
        with pytest.raises(InvalidArgument, match="no text with an embedding"):
            store.add([TextNode(text="a")])
        store.add([TextNode(id_="n", text="a", embedding=[1.0, 0.0])])
        with pytest.raises(InvalidArgument, match="without an embedding model"):
            store.add([TextNode(text="b")])
        assert store.query(VectorStoreQuery([1.0, 0.0])).ids == ["n"]

    def test_words_are_found_without_a_model(self):
        store = DiptychVectorStore()
        store.add([TextNode(id_="n", text="a red pump", embedding=[1.0, 0.0])])
        query = VectorStoreQuery(query_str="pump", mode=VectorStoreQueryMode.TEXT_SEARCH)
        assert store.query(query).ids == ["n"]

    def test_a_folder_is_opened_again(self, tmp_path):
        store = DiptychVectorStore(path=tmp_path / "i")
        store.add([TextNode(id_="a", text="a", embedding=[1.0, 0.0])])
        store.index.close()
        again = DiptychVectorStore(path=tmp_path / "i")
        again.add([TextNode(id_="b", text="b", embedding=[0.0, 1.0])])
        assert again.query(VectorStoreQuery([0.0, 1.0], similarity_top_k=2)).ids == ["b", "a"]
        again.index.close()

    def test_an_index_and_parts_of_one_are_refused(self, index):
        with pytest.raises(InvalidArgument, match="together with embed_model="):
            DiptychVectorStore(index, embed_model=TOY)

    def test_an_index_without_a_text_encoder_has_no_room_for_vectors(self):
        store = DiptychVectorStore(MultimodalIndex(image_encoder=TOY))
        with pytest.raises(InvalidArgument, match="no text encoder"):
            store.add(corpus())


class TestQuerying:
    def test_default_gives_nodes_similarities_and_ids_best_first(self, store):
        query = ask("a blue valve", similarity_top_k=2)
        query.query_str = None
        result = store.query(query)
        assert result.ids[0] == "blue"
        assert [node.node_id for node in result.nodes] == result.ids
        cosines = np.array([n.embedding for n in corpus()]) @ TOY.encode_query(["a blue valve"])[0]
        expected = sorted(cosines, reverse=True)[:2]
        assert result.similarities == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("mode", [VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR])
    @pytest.mark.parametrize("restricted", [None, filters(n=2), "ids"])
    def test_it_agrees_with_the_simple_vector_store(self, mode, restricted, rng):
        nodes = [
            TextNode(id_=str(i), text=f"t{i}", metadata={"n": i % 3},
                     embedding=rng.standard_normal(8).tolist())
            for i in range(90)
        ]  # fmt: skip
        ours, theirs = DiptychVectorStore(), SimpleVectorStore()
        ours.add(nodes)
        theirs.add(nodes)
        options = {"node_ids": ["3", "5", "17"]} if restricted == "ids" else {"filters": restricted}
        for threshold in (0.2, 0.5, 0.9):
            query = VectorStoreQuery(
                rng.standard_normal(8).tolist(), similarity_top_k=7, mode=mode, **options
            )
            found = ours.query(query, mmr_threshold=threshold)
            expected = theirs.query(query, mmr_threshold=threshold)
            assert found.ids == expected.ids
            assert found.similarities == pytest.approx(expected.similarities, abs=1e-5)

    def test_the_threshold_of_mmr_comes_from_the_query_too(self, store):
        store.add(embedded(TextNode(id_="red2", text="a red pump again")))
        near = ask("a red pump", mode=VectorStoreQueryMode.MMR, mmr_threshold=1.0)
        assert store.query(near).ids[:2] == ["red2", "red"]
        diverse = ask("a red pump", mode=VectorStoreQueryMode.MMR, mmr_threshold=0.0)
        assert store.query(diverse).ids[1] != "red"
        assert store.query(diverse, mmr_threshold=1.0).ids[:2] == ["red2", "red"]

    @pytest.mark.parametrize("mode", ["default", "mmr", "hybrid", "text_search"])
    def test_more_than_there_are_gives_all(self, store, mode):
        mode = VectorStoreQueryMode(mode)
        result = store.query(ask("red blue green", similarity_top_k=10**9, mode=mode))
        assert set(result.ids) == {"red", "blue", "green"}

    def test_a_filter_never_starves_a_search(self, store):
        result = store.query(ask("red", similarity_top_k=1, filters=filters(n=3)))
        assert result.ids == ["green"]

    @pytest.mark.parametrize(
        ("restriction", "expected"),
        [
            ({"node_ids": []}, {"red", "blue", "green"}),
            ({"doc_ids": []}, {"red", "blue", "green"}),
            ({"node_ids": ["blue", "green"]}, {"blue", "green"}),
            ({"doc_ids": ["manual"]}, {"red", "blue"}),
            ({"doc_ids": ["manual"], "node_ids": ["blue", "green"]}, {"blue"}),
            ({"node_ids": ["red", "blue"], "filters": filters(n=2)}, {"blue"}),
            ({"node_ids": ["unknown"]}, set()),
        ],
    )
    @pytest.mark.parametrize("mode", ["default", "mmr", "hybrid", "text_search"])
    def test_restrictions_apply_in_every_mode(self, store, mode, restriction, expected):
        query = ask("red blue green", mode=VectorStoreQueryMode(mode), **restriction)
        assert set(store.query(query).ids) == expected

    def test_every_operator_reaches_the_store(self, store):
        has_y = MetadataFilter(key="tag", value="y", operator=FilterOperator.CONTAINS)
        result = store.query(ask(filters=MetadataFilters(filters=[has_y])))
        assert result.ids == ["blue"]

    def test_words_are_searched_by_bm25(self, store):
        result = store.query(ask("valve pump", mode=VectorStoreQueryMode.TEXT_SEARCH))
        assert set(result.ids) == {"red", "blue"}
        assert all(score > 0 for score in result.similarities)

    def test_hybrid_blends_scaled_scores(self, store):
        def run(alpha, **options):
            query = ask("red valve", mode=VectorStoreQueryMode.HYBRID, alpha=alpha, **options)
            result = store.query(query)
            return dict(zip(result.ids, result.similarities, strict=True))

        def scaled(mode):
            query = ask("red valve", mode=mode)
            if mode == VectorStoreQueryMode.DEFAULT:
                query.query_str = None  # by the vector alone
            result = store.query(query)
            low, high = min(result.similarities), max(result.similarities)
            scores = [(s - low) / (high - low) if high > low else 1.0 for s in result.similarities]
            return dict(zip(result.ids, scores, strict=True))

        dense, sparse = (
            scaled(VectorStoreQueryMode.DEFAULT),
            scaled(VectorStoreQueryMode.TEXT_SEARCH),
        )
        assert run(1.0) == pytest.approx(dense)
        assert run(0.0) == pytest.approx(sparse)
        expected = {i: 0.3 * dense.get(i, 0) + 0.7 * sparse.get(i, 0) for i in {*dense, *sparse}}
        assert run(0.3) == pytest.approx(expected)
        assert list(run(0.3).values()) == sorted(expected.values(), reverse=True)
        assert run(None) == pytest.approx(run(0.5))
        assert len(run(0.5, hybrid_top_k=1)) == 1
        assert len(run(0.0, sparse_top_k=1)) == 1

    @pytest.mark.parametrize(
        "mode", ["semantic_hybrid", "svm", "logistic_regression", "linear_regression"]
    )
    def test_other_modes_are_refused(self, store, mode):
        with pytest.raises(ValueError, match=f"does not serve the query mode '{mode}'"):
            store.query(ask(mode=VectorStoreQueryMode(mode)))

    def test_the_vectors_of_pictures_are_named_by_the_embedding_field(self, store):
        store.add([ImageNode(id_="p", image=B64), ImageNode(id_="q", image_path=None, text="x",
                   image=base64.b64encode(BLUE).decode())])  # fmt: skip
        assert store.query(ask("blue", embedding_field="image")).ids == ["q", "p"]
        with pytest.raises(InvalidArgument, match="embedding_field='pixels'"):
            store.query(ask(embedding_field="pixels"))

    def test_a_query_without_what_its_mode_needs_is_refused(self, store):
        with pytest.raises(InvalidArgument, match="needs query_embedding"):
            store.query(VectorStoreQuery(query_str="x"))
        with pytest.raises(InvalidArgument, match="needs query_str"):
            store.query(VectorStoreQuery([1.0], mode=VectorStoreQueryMode.TEXT_SEARCH))
        with pytest.raises(VectorError, match=r"expected \(1, 128\)"):
            store.query(VectorStoreQuery([1.0, 2.0]))
        with pytest.raises(InvalidArgument, match=r"alpha=2\.0"):
            store.query(ask(mode=VectorStoreQueryMode.HYBRID, alpha=2.0))


class TestPersisting:
    def filled(self, **options):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY, **options)
        store.add([*corpus(), ImageNode(id_="p", image=B64)])
        return store

    @pytest.mark.parametrize("kept", ["memory", "folder"])
    def test_a_copy_answers_as_the_original(self, tmp_path, kept):
        store = self.filled(**({"path": tmp_path / "own"} if kept == "folder" else {}))
        path = tmp_path / "storage" / "default__vector_store.json"
        store.persist(str(path))
        shutil.move(tmp_path / "storage", tmp_path / "moved")
        loaded = DiptychVectorStore.from_persist_dir(
            str(tmp_path / "moved"), embed_model=TOY, image_encoder=TOY
        )
        assert loaded.query(ask("a blue valve")) == store.query(ask("a blue valve"))
        (picture,) = loaded.get_nodes(["p"])
        assert base64.b64decode(picture.image) == RED
        for name in ("text_index", "image_index", "cross_modal_index"):
            ids = store.index.ids()
            ours = getattr(loaded.index, name).vectors(ids)
            np.testing.assert_array_equal(ours, getattr(store.index, name).vectors(ids))

    def test_persisting_again_takes_over_what_changed(self, tmp_path):
        path = str(tmp_path / "store.json")
        store = self.filled()
        store.persist(path)
        store.delete_nodes(["red"])
        store.add(embedded(TextNode(id_="new", text="new")))
        store.persist(path)
        loaded = DiptychVectorStore.from_persist_path(path, embed_model=TOY, image_encoder=TOY)
        assert set(loaded.index.ids()) == {"blue", "green", "p", "new"}
        loaded.add(embedded(TextNode(id_="later", text="later")))
        loaded.persist(path)
        loaded.index.close()
        again = DiptychVectorStore.from_persist_path(path, embed_model=TOY, image_encoder=TOY)
        assert "later" in again.index

    def test_a_store_without_a_model_persists_too(self, tmp_path):
        store = DiptychVectorStore()
        store.add([TextNode(id_="n", text="a", embedding=[1.0, 0.0])])
        store.persist(str(tmp_path / "store.json"))
        loaded = DiptychVectorStore.from_persist_path(str(tmp_path / "store.json"))
        assert loaded.query(VectorStoreQuery([1.0, 0.0])).ids == ["n"]

    def test_through_a_storage_context(self, tmp_path):
        model = DiptychMultiModalEmbedding(TOY)
        context = StorageContext.from_defaults(vector_store=DiptychVectorStore(embed_model=TOY))
        VectorStoreIndex(corpus(), storage_context=context, embed_model=model)
        context.persist(str(tmp_path))
        loaded = DiptychVectorStore.from_persist_dir(str(tmp_path), embed_model=TOY)
        index = VectorStoreIndex.from_vector_store(loaded, embed_model=model)
        assert index.as_retriever(similarity_top_k=1).retrieve("red")[0].node_id == "red"

    def test_a_storage_context_that_is_not_told_of_the_store_fails_loudly(self, tmp_path):
        context = StorageContext.from_defaults(vector_store=self.filled())
        context.persist(str(tmp_path))
        with pytest.raises(json.JSONDecodeError):
            StorageContext.from_defaults(persist_dir=str(tmp_path))

    @pytest.mark.parametrize("kept", ["memory", "folder"])
    def test_on_another_file_system(self, tmp_path, kept):
        store = self.filled(**({"path": tmp_path / "own"} if kept == "folder" else {}))
        bucket = fsspec.filesystem("memory")
        context = StorageContext.from_defaults(vector_store=store)
        context.persist("/bucket/storage", fs=bucket)
        loaded = DiptychVectorStore.from_persist_dir("/bucket/storage", fs=bucket)
        assert loaded.query(ask("a blue valve")) == store.query(ask("a blue valve"))
        assert base64.b64decode(loaded.get_nodes(["p"])[0].image) == RED
        loaded.delete_nodes(["red"])
        loaded.persist("/bucket/storage/default__vector_store.json", fs=bucket)
        folder = loaded.index.path
        loaded.index.close()
        del loaded
        gc.collect()
        assert not folder.exists()
        again = DiptychVectorStore.from_persist_dir("/bucket/storage", fs=bucket)
        assert set(again.index.ids()) == set(store.index.ids()) - {"red"}
        with pytest.raises(FormatError, match="No DiptychVectorStore could be read"):
            DiptychVectorStore.from_persist_dir("/bucket/elsewhere", fs=bucket)
        with pytest.raises(EncoderMismatch, match="toy-64"):
            DiptychVectorStore.from_persist_dir(
                "/bucket/storage", fs=bucket, embed_model=ToyEncoder(64)
            )
        bucket.rm("/bucket", recursive=True)

    def test_the_local_file_system_may_be_named(self, tmp_path):
        path, local = str(tmp_path / "store.json"), fsspec.filesystem("file")
        self.filled().persist(path, fs=local)
        assert len(DiptychVectorStore.from_persist_path(path, local).index) == 4

    def test_a_picture_that_is_gone_is_said_before_anything_is_written(self, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        index = MultimodalIndex(TOY, TOY, path=tmp_path / "own", images="reference")
        store = DiptychVectorStore(index)
        store.add([ImageNode(id_="p", image_path=str(tmp_path / "a.png"))])
        (tmp_path / "a.png").unlink()
        bucket = fsspec.filesystem("memory")
        with pytest.raises(MediaError, match="nothing was persisted"):
            store.persist("/gone/store.json", fs=bucket)
        assert not bucket.exists("/gone")

    def test_the_options_of_an_index(self, tmp_path):
        for tenant in ("one", "two"):
            store = DiptychVectorStore(
                embed_model=TOY, path=tmp_path, namespace=tenant, kind="hnsw"
            )
            store.add(embedded(TextNode(id_=tenant, text="words")))
            store.index.close()
        again = DiptychVectorStore(path=tmp_path, namespace="two")
        assert again.index.ids() == ["two"]
        again.index.close()
        with pytest.raises(InvalidArgument, match="or the like"):
            DiptychVectorStore(again.index, namespace="two")

    def test_what_is_not_there_or_of_another_store_is_refused(self, tmp_path):
        with pytest.raises(FormatError, match="No DiptychVectorStore could be read"):
            DiptychVectorStore.from_persist_dir(str(tmp_path))
        SimpleVectorStore().persist(str(tmp_path / "default__vector_store.json"))
        with pytest.raises(FormatError, match="was not written by DiptychVectorStore"):
            DiptychVectorStore.from_persist_dir(str(tmp_path))

    def test_another_model_is_refused(self, tmp_path):
        self.filled().persist(str(tmp_path / "store.json"))
        with pytest.raises(EncoderMismatch, match="toy-64"):
            DiptychVectorStore.from_persist_path(
                str(tmp_path / "store.json"), embed_model=ToyEncoder(64)
            )

    def test_nothing_added_is_nothing_to_persist(self, tmp_path):
        with pytest.raises(InvalidArgument, match="no index yet"):
            DiptychVectorStore().persist(str(tmp_path / "store.json"))


class TestFrameworks:
    def test_a_vector_store_index_round_trip(self):
        store = DiptychVectorStore(embed_model=TOY)
        model = DiptychMultiModalEmbedding(TOY)
        context = StorageContext.from_defaults(vector_store=store)
        built = VectorStoreIndex.from_documents(
            [LlamaDocument(text="a red pump", id_="d1"), LlamaDocument(text="blue", id_="d2")],
            storage_context=context,
            embed_model=model,
        )
        index = VectorStoreIndex.from_vector_store(store, embed_model=model)
        (found,) = index.as_retriever(similarity_top_k=1).retrieve("red pump")
        assert found.node.ref_doc_id == "d1"
        index.delete_ref_doc("d1")
        built.insert(LlamaDocument(text="yellow", id_="d3"))
        assert {n.ref_doc_id for n in store.get_nodes()} == {"d2", "d3"}
        index.delete_nodes([store.get_nodes()[0].node_id])
        assert len(store.index) == 1

    async def test_filters_and_modes_through_the_index(self, store):
        index = VectorStoreIndex.from_vector_store(
            store, embed_model=DiptychMultiModalEmbedding(TOY)
        )
        retriever = index.as_retriever(similarity_top_k=3, filters=filters(n=2))
        assert [n.node_id for n in await retriever.aretrieve("red")] == ["blue"]
        hybrid = index.as_retriever(vector_store_query_mode="hybrid", alpha=0.0)
        assert hybrid.retrieve("valve")[0].node_id == "blue"
        mmr = index.as_retriever(
            vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 1.0}
        )
        assert mmr.retrieve("a red pump")[0].node_id == "red"

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_an_ingestion_pipeline_upserts(self, asynchronous):
        store = DiptychVectorStore()
        pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(chunk_size=50, chunk_overlap=0), MockEmbedding(8)],
            vector_store=store,
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        )

        async def run(*documents):
            if asynchronous:
                await pipeline.arun(documents=list(documents))
            else:
                pipeline.run(documents=list(documents))
            return {n.text: n.ref_doc_id for n in store.get_nodes()}

        one, two = LlamaDocument(text="one", id_="1"), LlamaDocument(text="two", id_="2")
        assert await run(one, two) == {"one": "1", "two": "2"}
        assert await run(LlamaDocument(text="changed", id_="1"), two) == {
            "changed": "1",
            "two": "2",
        }
        assert await run(two) == {"two": "2"}

    def test_a_model_of_llama_index_embeds_nodes_that_come_without(self):
        class Colours(BaseEmbedding):
            def _get_query_embedding(self, query):
                return TOY.encode_query([query])[0].tolist()

            _get_text_embedding = _get_query_embedding

            async def _aget_query_embedding(self, query):
                return self._get_query_embedding(query)

        store = DiptychVectorStore(embed_model=Colours())
        store.add([TextNode(id_="r", text="a red pump"), TextNode(id_="b", text="blue")])
        assert store.query(ask("red", similarity_top_k=1)).ids == ["r"]

    def test_class_and_client(self, store):
        assert DiptychVectorStore.class_name() == "DiptychVectorStore"
        assert store.client is store.index
        assert store.stores_text
        assert store.is_embedding_query
        assert png("red") != png("blue")

    async def test_every_method_of_the_interface_is_here_and_does_the_same_asynchronously(self):
        twins = {
            "add": "async_add", "delete": "adelete", "delete_nodes": "adelete_nodes",
            "clear": "aclear", "get_nodes": "aget_nodes", "query": "aquery",
        }  # fmt: skip
        inherited = {name for name in dir(BaseComponent) if not name.startswith("_")}
        public = {n for n in dir(BasePydanticVectorStore) if not n.startswith("_")} - inherited
        fields = set(BasePydanticVectorStore.model_fields)
        assert public - fields == {*twins, *twins.values(), "client", "persist"}
        stores = [DiptychVectorStore(embed_model=TOY) for _ in range(2)]
        arguments = [
            ("add", (corpus(),)), ("get_nodes", (["red"],)), ("query", (ask("a blue valve"),)),
            ("delete_nodes", (["red"],)), ("query", (ask("red"),)), ("delete", ("garden",)),
            ("get_nodes", ()), ("clear", ()), ("get_nodes", ()),
        ]  # fmt: skip
        for name, given in arguments:
            expected = getattr(stores[0], name)(*given)
            assert await getattr(stores[1], twins[name])(*given) == expected


class TestOneModelForBoth:
    """A model that embeds texts and pictures is given once."""

    @pytest.mark.parametrize(
        "model", [ToyEncoder(), DiptychMultiModalEmbedding(ToyEncoder(), ToyEncoder())]
    )
    def test_it_embeds_the_pictures_too(self, model, tmp_path):
        Pil.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
        store = DiptychVectorStore(embed_model=model)
        store.add([ImageNode(id_="red", image_path=str(tmp_path / "red.png"))])
        assert store.failed == ()
        assert [n.node_id for n in DiptychRetriever(store.index).retrieve("red")] == ["red"]

    def test_a_folder_of_texts_stays_one(self, tmp_path):
        with MultimodalIndex(ToyEncoder(), path=tmp_path / "kb") as index:
            index.add([Document("words", id="words")])
        with DiptychVectorStore(embed_model=ToyEncoder(), path=tmp_path / "kb") as store:
            assert [node.node_id for node in store.get_nodes()] == ["words"]
            assert store.index.image_encoder is None
        with pytest.raises(EncoderMismatch, match="StubText|stub-text"):
            DiptychVectorStore(embed_model=StubText(), path=tmp_path / "kb")
