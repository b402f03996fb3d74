"""What LlamaIndex's own multimodal parts get wrong, beside what diptych does: docs/comparison.md.

Each test shows the fault first, so that the table of the page is true for as long as the tests pass.
When one fails because LlamaIndex has become better, the table is what needs a change.
"""

import base64
import json

import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.query_engine import RetrieverQueryEngine, SimpleMultiModalQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    QueryBundle,
    TextNode,
)
from llama_index.core.tools import RetrieverTool, ToolMetadata
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_stubs import RecordingLLM, pictures, words
from manual import BLUE, RED

from diptych import ToyEncoder
from diptych.errors import InvalidArgument
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychNode,
    DiptychRetrieverTool,
    DiptychVectorStore,
    SeparatePictures,
)
from stubs import png

TOY = ToyEncoder()
MODEL = DiptychMultiModalEmbedding(TOY)
RED64, BLUE64 = (base64.b64encode(picture).decode() for picture in (RED, BLUE))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def nodes():
    return [
        TextNode(text="the red pump moves water", id_="text"),
        ImageNode(text="a red pump", image=RED64, id_="captioned"),
        ImageNode(text="a blue valve", image=BLUE64, id_="other"),
    ]


def theirs(given=None, **options):
    return MultiModalVectorStoreIndex(
        nodes() if given is None else given,
        embed_model=MODEL, image_embed_model=MODEL, transformations=[], **options,
    )  # fmt: skip


def ours(given=None, **options):
    return DiptychMultiModalIndex(
        nodes() if given is None else given, embed_model=TOY, transformations=[], **options
    )


def ids(found):
    return [node.node_id for node in found]


def test_1_two_lists_without_a_common_score_and_twice_k():
    given = [*nodes(), ImageNode(image=RED64, id_="bare", metadata={"n": 1})]
    options = {"similarity_top_k": 2, "image_similarity_top_k": 2}
    found = theirs(given).as_retriever(**options).retrieve("something red")
    scores = [node.score for node in found]
    assert scores != sorted(scores, reverse=True)
    assert len(found) > 2
    found = ours(given).as_retriever(**options).retrieve("something red")
    scores = [node.score for node in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == 2
    assert ids(found)[0] == "captioned"  # by its words and by its picture


def test_2_the_picture_of_a_question_is_ignored(tmp_path):
    (tmp_path / "question.png").write_bytes(png("navy"))
    with_picture = QueryBundle("red pump", image_path=str(tmp_path / "question.png"))
    alone = QueryBundle("", image_path=str(tmp_path / "question.png"))
    retriever = theirs().as_retriever(similarity_top_k=3, image_similarity_top_k=0)
    assert ids(retriever.retrieve(with_picture)) == ids(retriever.retrieve("red pump"))
    with pytest.raises(TypeError):
        retriever.retrieve(alone)
    retriever = ours().as_retriever(similarity_top_k=3)
    assert ids(retriever.retrieve(alone))[0] == "other"
    by_words, by_both = (retriever.retrieve(query) for query in ("red pump", with_picture))
    scores = [{n.node_id: n.score for n in found}["other"] for found in (by_words, by_both)]
    assert scores[1] > scores[0]


def test_3_the_bundle_of_the_caller_is_changed():
    bundle = QueryBundle("red pump")
    theirs().as_retriever().retrieve(bundle)
    assert bundle.embedding is not None
    bundle = QueryBundle("red pump")
    ours().as_retriever().retrieve(bundle)
    assert bundle == QueryBundle("red pump")


def test_4_nodes_with_resources_are_dropped():
    node = Node(
        text_resource=MediaResource(text="the caption"),
        image_resource=MediaResource(data=RED),
        id_="node",
    )
    assert theirs([node]).as_retriever().retrieve("caption") == []
    (found,) = ours([node]).as_retriever().retrieve("caption")
    assert found.node_id == "node"


def test_5_pictures_without_words_are_dropped():
    node = ImageNode(image=RED64, id_="bare")
    assert theirs([node]).as_retriever().retrieve("red") == []
    assert ids(ours([node]).as_retriever().retrieve("red")) == ["bare"]


async def test_6_deleting_leaves_pictures_behind():
    async def left_after(make, delete):
        index = make()
        await delete(index)
        found = index.as_retriever().text_to_image_retrieve("red")
        return "captioned" in ids(found)

    async def by_node(index):
        index.delete_nodes(["captioned"])

    async def by_node_async(index):
        await index.adelete_nodes(["captioned"])

    for delete in (by_node, by_node_async):
        assert await left_after(theirs, delete)
        assert not await left_after(ours, delete)
    document = ImageDocument(text="a red pump", image=RED64, id_="doc")
    peer = MultiModalVectorStoreIndex.from_documents(
        [document], embed_model=MODEL, image_embed_model=MODEL
    )
    await peer.adelete_ref_doc("doc")
    assert len(peer.image_vector_store.data.embedding_dict) == 1
    index = DiptychMultiModalIndex.from_documents([document], embed_model=TOY)
    await index.adelete_ref_doc("doc")
    assert len(index.vector_store.index) == len(index.vector_store.index.image_index) == 0


def test_7_a_store_of_texts_beside_the_default_one_of_pictures_finds_no_picture():
    store = DiptychVectorStore(embed_model=TOY)
    context = StorageContext.from_defaults(vector_store=store)
    given = [ImageNode(image=RED64, id_="bare", metadata={"n": 1}), *nodes()]
    peer = theirs(given, storage_context=context)
    assert peer.as_retriever().text_to_image_retrieve("red") == []
    context = StorageContext.from_defaults(
        vector_store=DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    )
    index = ours(given, storage_context=context)
    assert len(index.as_retriever(similarity_top_k=9).text_to_image_retrieve("red")) == 3


def test_8_texts_vanish_beside_image_nodes_in_a_store_that_keeps_text():
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    context = StorageContext.from_defaults(vector_store=store)
    peer = VectorStoreIndex(nodes(), storage_context=context, embed_model=MODEL)
    assert set(ids(peer.as_retriever(similarity_top_k=9).retrieve("red"))) == {
        "captioned", "other",
    }  # fmt: skip
    index = DiptychMultiModalIndex.from_vector_store(store)
    assert len(index.as_retriever(similarity_top_k=9).retrieve("red")) == 3


class TestNineCaptionOrPictureIsLost:
    def ask(self, make, node, **options):
        llm = RecordingLLM()
        made = make([node])
        engine = RetrieverQueryEngine.from_args(made.as_retriever(), llm=llm, **options)
        engine.query("red")
        return "the caption" in words(llm.seen[0]), pictures(llm.seen[0]) == [RED]

    def old(self, make, node, **options):
        llm = RecordingLLM()
        engine = SimpleMultiModalQueryEngine(
            make([node]).as_retriever(), multi_modal_llm=llm, **options
        )
        engine.query("red")
        return "the caption" in words(llm.seen[0]), RED in pictures(llm.seen[0])

    def test_in_the_engine_of_today(self):
        node = ImageNode(text="the caption", image=RED64)
        assert self.ask(theirs, node, multimodal=True) == (False, True)
        assert self.ask(ours, node, multimodal=True) == (True, True)

    def test_in_the_engine_of_before(self):
        node = ImageNode(text="the caption", image=RED64)
        assert self.old(theirs, node) == (False, True)
        assert self.old(ours, node, node_postprocessors=[SeparatePictures()]) == (True, True)


def test_10_bytes_are_lost_on_the_way_through_a_store():
    node = Node(image_resource=MediaResource(data=RED), text_resource=MediaResource(text="x"))
    again = Node.from_dict(json.loads(json.dumps(node.to_dict())))
    assert again.image_resource.data is None
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    store.add([node])
    (kept,) = store.get_nodes([node.node_id])
    assert base64.b64decode(kept.image_resource.data) == RED


def test_11_faiss_stores_overwrite_each_other_and_rank_by_distance():
    faiss_store = pytest.importorskip("llama_index.vector_stores.faiss")
    import faiss

    def flat():
        return faiss_store.FaissVectorStore(faiss_index=faiss.IndexFlatL2(TOY.dim))

    context = StorageContext.from_defaults(vector_store=flat(), image_store=flat())
    found = theirs(storage_context=context).as_retriever().text_retrieve("the red pump moves water")
    assert found[0].node_id != "text"
    plain = flat()
    plain.add([TextNode(text="x", embedding=TOY.encode_query(["red"])[0].tolist())])
    result = plain.query(VectorStoreQuery(TOY.encode_query(["red"])[0].tolist()))
    assert result.similarities[0] == pytest.approx(0.0, abs=1e-6)  # the best there is
    (best, *_) = ours().as_retriever().text_retrieve("the red pump moves water")
    assert best.node_id == "text"


def test_12_only_simple_stores_are_persisted_by_the_storage_context(tmp_path):
    index = ours()
    index.storage_context.persist(str(tmp_path))
    store = DiptychVectorStore.from_persist_dir(str(tmp_path))
    again = DiptychMultiModalIndex.from_vector_store(store)
    before, after = (
        [(n.node_id, n.score) for n in one.as_retriever(similarity_top_k=3).retrieve("red pump")]
        for one in (index, again)
    )
    assert before == after
    store.index.close()
    peer = theirs()
    peer.storage_context.persist(str(tmp_path / "peer"))
    written = json.loads((tmp_path / "peer" / "default__vector_store.json").read_text())
    assert isinstance(written["embedding_dict"]["text"], list)  # numbers as text


def test_the_tool_of_a_retriever_gives_text_alone():
    metadata = ToolMetadata("Searches the manual.", "manual")
    peer = RetrieverTool(ours().as_retriever(similarity_top_k=1), metadata)
    assert [b.block_type for b in peer.call("red pump").blocks] == ["text"]
    tool = DiptychRetrieverTool(ours().as_retriever(similarity_top_k=1), metadata)
    assert "image" in [b.block_type for b in tool.call("red pump").blocks]


def test_modes_that_a_store_does_not_serve_are_refused_and_not_taken_for_another():
    query = VectorStoreQuery([0.0], mode=VectorStoreQueryMode.SVM)
    store = DiptychVectorStore(embed_model=TOY)
    store.add([TextNode(text="x", embedding=TOY.encode_query(["x"])[0].tolist())])
    with pytest.raises(InvalidArgument, match="does not serve the query mode 'svm'"):
        store.query(query)


def test_an_empty_list_of_node_ids_is_no_restriction():
    peer = SimpleVectorStore()
    node = TextNode(text="x", embedding=TOY.encode_query(["x"])[0].tolist())
    peer.add([node])
    query = VectorStoreQuery(node.embedding, node_ids=[])
    assert peer.query(query).ids == []
    store = DiptychVectorStore(embed_model=TOY)
    store.add([node])
    assert store.query(query).ids == [node.node_id]


def test_a_node_that_is_rebuilt_shows_words_and_picture():
    store = DiptychVectorStore(embed_model=MockEmbedding(embed_dim=4), image_encoder=TOY)
    store.add([ImageNode(text="the caption", image=RED64, id_="a", embedding=[1.0, 0, 0, 0])])
    (node,) = store.get_nodes(["a"])
    assert type(node) is DiptychNode
    assert [b.block_type for b in node.get_content_blocks()] == ["text", "image"]
