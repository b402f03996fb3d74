"""Whatever vector comes with a node makes the node findable by that vector."""

import base64

import numpy as np
import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    QueryBundle,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from manual import BLUE, RED

from diptych import Image, MultimodalIndex, ToyEncoder
from diptych.errors import MediaError, VectorError
from diptych.llama_index import DiptychVectorStore
from diptych.llama_index.node_vectors import NodeVectors, Placed, place, vectors_of
from stubs import StubText, png

TOY = ToyEncoder()
DIM = TOY.dim
COLOURS = ("red", "blue", "green", "yellow", "black", "white")
URL = "https://example.org/a.png"


def b64(data):
    return base64.b64encode(data).decode()


def row(at, dim=DIM):
    return np.eye(dim)[at].tolist()


def by_vector(at, dim=DIM, **options):
    return VectorStoreQuery(row(at, dim), similarity_top_k=1, **options)


STORES = {
    "no model at all": lambda: DiptychVectorStore(),
    "no image encoder": lambda: DiptychVectorStore(embed_model=StubText(TOY.dim)),
    "both encoders": lambda: DiptychVectorStore(embed_model=TOY, image_encoder=TOY),
}
PICTURES = {
    "an image node": lambda i, data: ImageNode(id_=str(i), image=b64(data)),
    "an image node with metadata": lambda i, data: ImageNode(
        id_=str(i), image=b64(data), metadata={"n": i}
    ),
    "an image node with blanks": lambda i, data: ImageNode(id_=str(i), image=b64(data), text=" \n"),
    "a node": lambda i, data: Node(id_=str(i), image_resource=MediaResource(data=data)),
    "a document": lambda i, data: ImageDocument(id_=str(i), image=b64(data)),
    "a picture with words": lambda i, data: ImageNode(id_=str(i), image=b64(data), text=f"n {i}"),
    "a picture by url": lambda i, _: ImageNode(id_=str(i), image_url=f"{URL}?{i}"),
    "a node by url": lambda i, _: Node(
        id_=str(i), image_resource=MediaResource(url=f"{URL}?{i}"), metadata={"n": i}
    ),
    "a picture that is gone": lambda i, _: ImageNode(id_=str(i), image_path=f"/gone/{i}.png"),
    "a broken picture": lambda i, _: ImageNode(id_=str(i), image=b64(f"none {i}".encode())),
    "no base64": lambda i, _: ImageNode(id_=str(i), image="no!"),
    "metadata alone": lambda i, _: TextNode(id_=str(i), text="", metadata={"n": i}),
    "metadata of a node alone": lambda i, _: Node(id_=str(i), metadata={"n": i}),
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", PICTURES)
def test_the_embedding_of_a_node_finds_it(store, kind):
    has_image_vectors = store == "both encoders"
    store = STORES[store]()
    nodes = [PICTURES[kind](i, png(colour)) for i, colour in enumerate(COLOURS)]
    for i, node in enumerate(nodes):
        node.embedding = row(i)
    assert store.add(nodes) == [str(i) for i in range(6)]
    for i in range(6):
        found = store.query(by_vector(i))
        assert (found.ids, found.similarities) == ([str(i)], pytest.approx([1.0]))
        # the fused search gives them too, and says a score in [0, 1]
        fused = store.query(VectorStoreQuery(row(i), similarity_top_k=6, query_str="zzz"))
        assert str(i) in fused.ids
        assert has_image_vectors or fused.ids[0] == str(i)
        assert all(0 <= score <= 1 for score in fused.similarities)
        assert store.get(str(i)) == pytest.approx(row(i))
    assert store.query(VectorStoreQuery(row(0), similarity_top_k=9)).ids[0] == "0"
    store.delete_nodes(["0"])
    assert "0" not in store.query(VectorStoreQuery(row(0), similarity_top_k=9)).ids


@pytest.mark.parametrize("kind", ["an image node", "a picture by url", "a picture that is gone"])
def test_it_is_added_again_replaced_filtered_and_deleted(kind, tmp_path):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY, path=tmp_path / "kb")
    node = PICTURES[kind](0, RED)
    store.add([node]) if kind == "an image node" else None  # without a vector at first
    node.embedding, node.metadata = row(0), {"n": 1}
    other = TextNode(id_="other", text="words", embedding=row(9))
    for _ in range(2):
        store.add([node, other])
        assert store.query(by_vector(0)).ids == ["0"]
    node.embedding = row(5)
    store.add([node])
    assert store.query(by_vector(5)).ids == ["0"]
    only = MetadataFilters(filters=[MetadataFilter(key="n", value=1)])
    assert store.query(by_vector(9, filters=only)).ids == ["0"]
    node.metadata = {"n": 2}
    store.add([node])
    assert store.query(by_vector(5, filters=only)).ids == []
    store.persist(str(tmp_path / "copy.json"))
    store.index.close()
    for again in (
        DiptychVectorStore(path=tmp_path / "kb"),
        DiptychVectorStore.from_persist_path(str(tmp_path / "copy.json")),
    ):
        assert again.query(by_vector(5)).ids == ["0"]
        assert again.get_nodes(["0"])[0].metadata["n"] == 2
        again.delete_nodes(["0"])
        assert again.query(by_vector(5)).ids == ["other"]
        again.index.close()


def test_the_picture_keeps_the_vector_of_the_image_encoder():
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    store.add([ImageNode(id_="p", image=b64(RED), embedding=row(0))])
    own = TOY.encode_image([Image(RED)])[0]
    assert store.index.image_index.vectors(["p"])[0] == pytest.approx(own)
    found = store.query(VectorStoreQuery(own.tolist(), embedding_field="image"))
    assert found.ids == ["p"]


class TestOtherVectors:
    def test_the_text_embedding_of_an_image_node(self):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        store.add([ImageNode(id_="p", image=b64(RED), text_embedding=row(3))])
        assert store.query(by_vector(3)).ids == ["p"]

    def test_the_two_of_an_image_node(self):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        store.add([
            ImageNode(id_="p", image=b64(RED), embedding=row(1), text_embedding=row(3)),
            TextNode(id_="t", text="words", embedding=row(7)),
        ])  # fmt: skip
        assert store.query(by_vector(3)).ids == ["p"]
        assert store.query(by_vector(1, embedding_field="image")).similarities == pytest.approx(
            [1.0]
        )

    def test_those_of_media_resources(self):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        store.add([
            Node(
                id_="p",
                text_resource=MediaResource(text="a caption", embeddings={"dense": row(2)}),
                image_resource=MediaResource(data=RED, embeddings={"dense": row(4)}),
            ),
            ImageDocument(id_="d", image=b64(BLUE), text="x", text_embedding=row(6)),
        ])  # fmt: skip
        assert store.query(by_vector(2)).ids == ["p"]
        assert store.query(by_vector(4, embedding_field="image")).ids == ["p"]
        store.add(
            [Node(id_="alone", image_resource=MediaResource(url=URL, embeddings={"dense": row(8)}))]
        )
        assert store.query(by_vector(8, embedding_field="image")).ids == ["alone"]

    def test_where_there_is_no_image_list_the_vector_of_a_picture_goes_to_the_texts(self):
        store = DiptychVectorStore()
        resource = MediaResource(data=RED, embeddings={"dense": row(1, 3)})
        store.add([Node(id_="p", image_resource=resource)])
        assert store.query(by_vector(1, 3)).ids == ["p"]

    def test_a_vector_that_only_the_image_list_has_room_for_goes_there(self):
        store = DiptychVectorStore(embed_model=ToyEncoder(64), image_encoder=TOY)
        store.add([ImageNode(id_="p", image=b64(RED), embedding=row(1))])
        assert store.query(by_vector(1, embedding_field="image")).similarities == pytest.approx(
            [1.0]
        )
        store = DiptychVectorStore(MultimodalIndex(image_encoder=TOY))
        store.add([ImageNode(id_="p", image=b64(RED), embedding=row(1))])
        assert store.query(by_vector(1, embedding_field="image")).ids == ["p"]

    @pytest.mark.parametrize(
        ("vectors", "dims", "expected"),
        [
            (NodeVectors(own=row(0, 2)), (2, 2), Placed(row(0, 2), None)),
            (NodeVectors(own=row(0, 3)), (2, 3), Placed(None, row(0, 3))),
            (NodeVectors(own=row(0, 4)), (2, 3), Placed(row(0, 4), None)),  # and is refused then
            (NodeVectors(row(0, 2), row(1, 2)), (2, 2), Placed(row(1, 2), row(0, 2))),
            (NodeVectors(row(0, 2), row(1, 2)), (2, 0), Placed(row(0, 2), None, 1)),
            (NodeVectors(None, row(1, 2), row(0, 2)), (2, 2), Placed(row(1, 2), row(0, 2))),
            (NodeVectors(None, None, row(0, 2)), (2, 0), Placed(row(0, 2), None)),
            (NodeVectors(None, None, row(0, 2)), (0, 2), Placed(None, row(0, 2))),
            (NodeVectors(row(0, 2), None, row(1, 2)), (2, 0), Placed(row(0, 2), None, 1)),
            (NodeVectors(), (2, 2), Placed()),
        ],
    )
    def test_which_vector_goes_where(self, vectors, dims, expected):
        assert place(ImageNode(image=b64(RED)), vectors, *dims) == expected

    def test_the_vectors_of_a_node(self):
        assert not vectors_of(TextNode(text="a"))
        assert not vectors_of(TextNode(text="a", embedding=[]))
        node = Node(
            embedding=[1.0], image_resource=MediaResource(data=RED, embeddings={"dense": [2.0]})
        )
        assert vectors_of(node) == NodeVectors([1.0], None, [2.0])


class TestWithoutItsPicture:
    def test_a_picture_by_url_comes_back_with_its_url(self):
        store = DiptychVectorStore()
        store.add([ImageNode(id_="u", image_url=URL, embedding=row(0, 2))])
        assert store.failed == ()
        (node,) = store.query(by_vector(0, 2)).nodes
        assert not isinstance(node, ImageNode)  # LlamaIndex would fetch the URL
        assert (node.text, node.metadata) == ("", {"image_url": URL})

    def test_a_picture_that_cannot_be_read_is_said_and_does_not_replace_one_that_can(
        self, tmp_path, caplog
    ):
        path = tmp_path / "a.png"
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        node = ImageNode(id_="p", image_path=str(path), embedding=row(0))
        assert store.add([node]) == ["p"]
        assert [failure.id for failure in store.failed] == ["p"]
        assert "picture is missing" in store.failed[0].reason
        assert "Node 'p'" in caplog.text
        (back,) = store.get_nodes(["p"])
        assert (back.text, back.metadata) == ("", {"image_path": str(path)})
        path.write_bytes(RED)
        store.add([node])
        assert store.failed == ()
        assert store.get_nodes(["p"])[0].pictures[0].read() == RED
        path.unlink()
        other = TextNode(id_="t", text="a", embedding=row(1))
        store.add([node, other])
        assert [failure.id for failure in store.failed] == ["p"]
        assert store.get_nodes(["p"])[0].pictures[0].sha256 == Image(RED).sha256

    def test_without_a_vector_it_is_refused(self, tmp_path):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        with pytest.raises(MediaError, match=r"gone\.png"):
            store.add([ImageNode(image_path=str(tmp_path / "gone.png"))])
        with pytest.raises(ValueError, match="no text and no vector"):
            store.add([ImageNode(image_url=URL)])


class TestVectorsThatAreNone:
    @pytest.mark.parametrize(
        "vector", [[0.0] * DIM, [float("nan")] * DIM, [1.0], [float("inf")] * DIM]
    )
    def test_a_picture_with_an_encoder_is_stored_without(self, vector, caplog):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        store.add([ImageNode(id_="p", image=b64(RED), embedding=vector)])
        assert store.failed == ()
        assert len(store.index.image_index) == 1
        assert "1 vectors of nodes found no place" in caplog.text

    @pytest.mark.parametrize("vector", [[0.0] * DIM, [float("nan")] * DIM, [1.0]])
    def test_a_picture_without_an_encoder_is_refused(self, vector):
        store = DiptychVectorStore(embed_model=StubText(TOY.dim))
        with pytest.raises(VectorError, match="The embedding of node 'p'"):
            store.add([ImageNode(id_="p", image=b64(RED), embedding=vector)])

    def test_the_dimension_of_a_new_store_is_that_of_most_vectors(self):
        store = DiptychVectorStore()
        vectors = [[1.0], [1.0, 0.0, 0.0], [0.0, 0.0], [float("nan")] * 2, [1.0, 0.0], [0.0, 1.0]]
        nodes = [TextNode(id_=str(i), text="a", embedding=v) for i, v in enumerate(vectors)]
        assert store.add(nodes) == list("012345")
        assert store.index.ids() == ["4", "5"]
        assert [failure.id for failure in store.failed] == list("0123")


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("store", STORES)
async def test_through_a_vector_store_index(store, asynchronous):
    store = STORES[store]()
    index = VectorStoreIndex(
        [],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MockEmbedding(DIM),
    )
    nodes = [
        ImageNode(id_=str(i), image=b64(png(c)), embedding=row(i)) for i, c in enumerate(COLOURS)
    ]
    if asynchronous:
        await index.ainsert_nodes(nodes)
    else:
        index.insert_nodes(nodes)
    retriever = index.as_retriever(similarity_top_k=6)
    for i in range(6):
        bundle = QueryBundle("", embedding=row(i))
        found = await retriever.aretrieve(bundle) if asynchronous else retriever.retrieve(bundle)
        assert len(found) == 6
        assert found[0].node_id == str(i)


def test_every_mode_with_vectors_finds_it():
    store = DiptychVectorStore()
    store.add([ImageNode(id_="p", image=b64(RED), embedding=row(0, 2), text="")])
    store.add([TextNode(id_="t", text="words", embedding=row(1, 2))])
    for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        assert store.query(by_vector(0, 2, mode=mode)).ids == ["p"]
    hybrid = VectorStoreQuery(row(0, 2), 1, query_str="none", mode=VectorStoreQueryMode.HYBRID)
    assert store.query(hybrid).ids == ["p"]
