"""Wrong use of the LlamaIndex classes: a clear error, and the store is as it was."""

import base64

import pytest
from llama_index.core.schema import Document, ImageNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery
from manual import RED
from pydantic import ValidationError

from diptych import ToyEncoder
from diptych.errors import DocumentError, FilterError, InvalidArgument, MediaError, VectorError
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychReader,
    DiptychRetriever,
    DiptychRetrieverTool,
    DiptychVectorStore,
    KeepPictures,
    SeparatePictures,
    to_content_blocks,
)
from diptych.maintenance import verify

TOY = ToyEncoder()
VECTOR = TOY.encode_query(["a"])[0].tolist()


def node(**fields):
    return TextNode(**{"text": "a", "embedding": VECTOR, **fields})


def ask(**fields):
    return VectorStoreQuery(**{"query_embedding": VECTOR, "query_str": "a", **fields})


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad") / "index"
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY, path=path)
    store.add([node(id_="1"), ImageNode(id_="2", image=base64.b64encode(RED).decode())])
    yield store
    store.index.close()


@pytest.fixture
def store(shared_store):
    before = shared_store.get_nodes()
    yield shared_store
    assert shared_store.get_nodes() == before
    assert verify(shared_store.index.path, deep=True).problems == ()


def nested(levels):
    filters = MetadataFilters(filters=[MetadataFilter(key="a", value=1)])
    for _ in range(levels):
        filters = MetadataFilters.model_construct(filters=[filters], condition="and")
    return filters


def assigned(name, value):
    """What pydantic does not look at again."""
    filters = MetadataFilters(filters=[MetadataFilter(key="a", value=1)])
    setattr(filters if name == "condition" else filters.filters[0], name, value)
    return filters


def retriever(store, **options):
    return DiptychRetriever(store.index, **options)


CASES = {
    "a word as nodes": (lambda s: s.add("abc"), InvalidArgument, "nodes='abc' is one string"),
    "numbers as nodes": (lambda s: s.add([3]), InvalidArgument, r"nodes\[0\] is 3"),
    "one node": (lambda s: s.add(node()), InvalidArgument, "is one TextNode"),
    "an object as metadata": (
        lambda s: s.add([node(metadata={"x": object()})]), DocumentError, "metadata.x is of type object",
    ),
    "an embedding of another model": (
        lambda s: s.add([node(embedding=[1.0])]), VectorError, r"expected \(1, 128\)",
    ),
    "an embedding of nan": (
        lambda s: s.add([node(embedding=[float("nan")] * 128)]), VectorError, "NaN",
    ),
    "no base64": (lambda s: s.add([ImageNode(image="no")]), MediaError, "not base64"),
    "no picture": (
        lambda s: s.add([ImageNode(image=base64.b64encode(b"none").decode())]), MediaError, "format",
    ),
    "a picture that is not there": (
        lambda s: s.add([ImageNode(image_path="/no.png")]), MediaError, "could not be opened",
    ),
    "deleting one id": (lambda s: s.delete_nodes("1"), InvalidArgument, "one string"),
    "deleting a number": (lambda s: s.delete_nodes([3]), InvalidArgument, r"ids\[0\] is 3"),
    "deleting by a word": (lambda s: s.delete_nodes(filters="x"), FilterError, "given as str"),
    "getting one id": (lambda s: s.get_nodes("12"), InvalidArgument, "one string"),
    "no vector": (lambda s: s.query(VectorStoreQuery()), InvalidArgument, "needs query_embedding"),
    "a vector of another model": (
        lambda s: s.query(ask(query_embedding=[1.0])), VectorError, r"expected \(1, 128\)",
    ),
    "k of nothing": (lambda s: s.query(ask(similarity_top_k=0)), InvalidArgument, "at least 1"),
    "an unknown mode": (lambda s: s.query(ask(mode="x")), InvalidArgument, "query mode 'x'"),
    "an unknown field": (lambda s: s.query(ask(embedding_field="x")), InvalidArgument, "'x' is unknown"),
    "more than all diversity": (
        lambda s: s.query(ask(mode="mmr", mmr_threshold=7)), InvalidArgument, "mmr_threshold=7",
    ),
    "more than all alpha": (lambda s: s.query(ask(mode="hybrid", alpha=2.0)), InvalidArgument, "alpha"),
    "no count of mmr": (
        lambda s: s.query(ask(mode="mmr", similarity_top_k="3")), InvalidArgument, "similarity_top_k='3'",
    ),
    "a huge count of mmr": (
        lambda s: s.query(ask(mode="mmr", similarity_top_k=10**5000)), InvalidArgument, "below 2.63",
    ),
    "a word as alpha": (lambda s: s.query(ask(mode="hybrid", alpha="3")), InvalidArgument, "alpha='3'"),
    "an alpha of 16,610 bits": (
        lambda s: s.query(ask(mode="hybrid", alpha=10**5000)), InvalidArgument, "bits>.*from 0 to 1",
    ),
    "a word as diversity": (
        lambda s: s.query(ask(mode="mmr"), mmr_threshold="x"), InvalidArgument, "mmr_threshold='x'",
    ),
    "half a hybrid": (
        lambda s: s.query(ask(mode="hybrid", hybrid_top_k=1.5)), InvalidArgument, "hybrid_top_k=1.5",
    ),
    "a sparse word": (
        lambda s: s.query(ask(mode="hybrid", sparse_top_k="x")), InvalidArgument, "sparse_top_k='x'",
    ),
    "a long mode": (lambda s: s.query(ask(mode="x" * 9**6)), InvalidArgument, "^.{,300}$"),
    "a list as field": (lambda s: s.query(ask(embedding_field=[1])), InvalidArgument, "is unknown"),
    "words as a vector": (lambda s: s.query(ask(query_embedding="a b")), VectorError, "numbers"),
    "a vector beyond floats": (
        lambda s: s.query(ask(query_embedding=[10**5000] * 128)), VectorError, "numbers",
    ),
    "a filter in a filter 5,000 times": (
        lambda s: s.query(ask(filters=nested(5000))), FilterError, "deeper than 16",
    ),
    "an assigned condition": (
        lambda s: s.query(ask(filters=assigned("condition", "xor"))), FilterError, "'xor'; expected one",
    ),
    "an assigned operator": (
        lambda s: s.query(ask(filters=assigned("operator", 3))), FilterError, "the operator 3; expected",
    ),
    "an assigned key": (
        lambda s: s.query(ask(filters=assigned("key", {}))), FilterError, "the key {}; expected",
    ),
    "deleting no source": (lambda s: s.delete(None), InvalidArgument, r"ref_doc_id\[0\] is None"),
    "deleting by an operator": (
        lambda s: s.delete({"$exists": False}), InvalidArgument, "expected a list of ids",
    ),
    "among a number": (
        lambda s: s.query(
            ask(filters=MetadataFilters(filters=[MetadataFilter(key="a", value=1, operator="in")]))
        ),
        FilterError, "list",
    ),
    "a number as query": (lambda s: retriever(s).retrieve(3), ValidationError, "valid string"),
    "a query of a picture that is not there": (
        lambda s: retriever(s).retrieve(QueryBundle("a", image_path="/no.png")), MediaError, "no.png",
    ),
    "k of nothing of a retriever": (
        lambda s: retriever(s, similarity_top_k=0).retrieve("a"), InvalidArgument, "at least 1",
    ),
    "an unknown modality": (
        lambda s: retriever(s, modalities=("x",)).retrieve("a"), InvalidArgument, "modalities=",
    ),
    "filters as a dict": (
        lambda s: retriever(s, filters={"a": 1}).retrieve("a"), FilterError, "given as dict",
    ),
    "an unknown list": (
        lambda s: retriever(s, weights={"x": 1}).retrieve("a"), InvalidArgument, "the list 'x'",
    ),
    "weights of a word": (lambda s: retriever(s, weights="x"), InvalidArgument, "weights='x' is of type"),
    "modalities of a number": (lambda s: retriever(s, modalities=3), InvalidArgument, "modalities=3"),
    "a question in one string": (
        lambda s: retriever(s).retrieve(QueryBundle("a", custom_embedding_strs="ab")),
        InvalidArgument, "is one string",
    ),
    "one node id": (lambda s: retriever(s, node_ids="1").retrieve("a"), InvalidArgument, "one string"),
    "a number as index": (lambda s: DiptychRetriever(3), InvalidArgument, "expected a MultimodalIndex"),
    "blocks of a word": (lambda s: to_content_blocks("abc"), InvalidArgument, "one string"),
    "a budget in words": (lambda s: to_content_blocks([], max_images="x"), InvalidArgument, "max_images"),
    "a huge budget": (
        lambda s: to_content_blocks([], max_edge=10**5000), InvalidArgument, "max_edge=<16,610 bits>",
    ),
    "a number as nonce": (lambda s: to_content_blocks([], nonce=3), InvalidArgument, "nonce=3"),
    "an unknown budget": (
        lambda s: DiptychRetrieverTool.from_defaults(retriever(s), max_imags=2),
        InvalidArgument, "max_imags= is unknown",
    ),
    "a word as an index's nodes": (
        lambda s: DiptychMultiModalIndex("abc", embed_model=TOY), ValueError, "list of Node",
    ),
    "a number as model": (
        lambda s: DiptychMultiModalIndex([], embed_model=3), InvalidArgument, "given as int",
    ),
    "inserting a word": (
        lambda s: DiptychMultiModalIndex.from_vector_store(s).insert("abc"),
        InvalidArgument, "LlamaIndex documents",
    ),
    "refreshing one document": (
        lambda s: DiptychMultiModalIndex.from_vector_store(s).refresh_ref_docs(Document(text="x")),
        InvalidArgument, "is one Document",
    ),
    "an argument of another retriever": (
        lambda s: DiptychMultiModalIndex.from_vector_store(s).as_retriever(top_k=3),
        TypeError, "does not know top_k; it knows .*similarity_top_k",
    ),
    "reading nothing": (lambda s: DiptychReader().load_data("no-folder"), InvalidArgument, "not exist"),
    "keeping pictures from a number": (lambda s: KeepPictures(3), InvalidArgument, "was given 3"),
    "fewer than no pictures": (lambda s: SeparatePictures(max_images=-1), ValidationError, "or equal"),
    "embedding a picture that is not there": (
        lambda s: DiptychMultiModalEmbedding(TOY).get_image_embedding("no.png"), MediaError, "no.png",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_use_is_refused_and_nothing_is_changed(store, case):
    call, error, words = CASES[case]
    with pytest.raises(error, match=words):
        call(store)


def test_a_node_that_is_no_base64_does_not_stop_the_others():
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    assert store.add([node(id_="1"), ImageNode(image="no", id_="2"), node(id_="3")]) == [
        "1",
        "2",
        "3",
    ]
    assert [failure.id for failure in store.failed] == ["2"]
    assert store.index.ids() == ["1", "3"]
