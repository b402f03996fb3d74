"""Arguments of LlamaIndex's side that would lose documents, or are of another type than what is expected."""

import asyncio
import base64
import threading

import numpy as np
import pytest
from llama_index.core import Document as LlamaDocument
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    QueryBundle,
    TextNode,
    TransformComponent,
)
from manual import RED

from diptych import ToyEncoder
from diptych.errors import EncoderMismatch, InvalidArgument
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychVectorStore,
    KeepPictures,
    SeparatePictures,
)
from diptych.types import Image

TOY = ToyEncoder()
MODEL = DiptychMultiModalEmbedding(TOY)
RED64 = base64.b64encode(RED).decode()


@pytest.mark.parametrize("size", [0, -3, "3", 2.5, None, True])
def test_a_batch_of_no_nodes_is_refused_and_does_not_lose_all_of_them(size):
    with pytest.raises(InvalidArgument, match="insert_batch_size="):
        DiptychMultiModalIndex([TextNode(text="a")], embed_model=TOY, insert_batch_size=size)
    with pytest.raises(InvalidArgument, match="insert_batch_size="):
        DiptychMultiModalIndex.from_documents([], embed_model=TOY, insert_batch_size=size)


@pytest.mark.parametrize("given", ["abc", [3], [None], [SentenceSplitter]])
def test_transformations_that_are_none_are_refused_before_anything_is_read(given):
    with pytest.raises(InvalidArgument, match="expected transformations of LlamaIndex"):
        DiptychMultiModalIndex.from_documents(
            [LlamaDocument(text="a")], embed_model=TOY, transformations=given
        )


@pytest.mark.parametrize("given", ["folder", TOY, MODEL, 3, [], {}])
def test_a_store_over_something_else_than_an_index_is_refused(given):
    with pytest.raises(InvalidArgument, match=r"index= is .*; expected a MultimodalIndex.*path="):
        DiptychVectorStore(given)


@pytest.mark.parametrize("given", ["https://a.example", True, {"hosts": ["a.example"]}])
def test_remote_is_refused_when_it_fetches_nothing(given):
    with pytest.raises(InvalidArgument, match=r"remote= is .*; expected a RemotePictures"):
        DiptychVectorStore(embed_model=TOY, remote=given)
    with pytest.raises(InvalidArgument, match=r"remote= is .*; expected a RemotePictures"):
        DiptychMultiModalIndex(embed_model=TOY, remote=given)


def test_an_option_of_delete_nodes_is_not_swallowed():
    index = DiptychMultiModalIndex([TextNode(text="a", id_="a")], embed_model=TOY)
    with pytest.raises(TypeError, match="delete_nodes does not know delete_from_docstor;"):
        index.delete_nodes(["a"], delete_from_docstor=True)
    with pytest.raises(TypeError, match="adelete_nodes does not know delete_from_docstor;"):
        asyncio.run(index.adelete_nodes(["a"], delete_from_docstor=True))
    assert len(index.vector_store.get_nodes()) == 1
    index.delete_nodes(["a"], delete_from_docstore=True)
    assert index.vector_store.get_nodes() == []


@pytest.mark.parametrize("top_k", [None, "3", 0, 2.5])
def test_top_k_that_is_no_number_is_refused_in_words(top_k):
    index = DiptychMultiModalIndex([TextNode(text="a")], embed_model=TOY)
    for mode in ("default", "text_search"):
        retriever = index.as_retriever(similarity_top_k=top_k, vector_store_query_mode=mode)
        with pytest.raises(InvalidArgument, match="similarity_top_k="):
            retriever.retrieve("a")
    pictures = index.as_retriever(image_similarity_top_k="3")
    with pytest.raises(InvalidArgument, match="image_similarity_top_k="):
        pictures.text_to_image_retrieve("a")


NUMBERS = {
    "float32": np.float32(1.5),
    "int64": np.int64(3),
    "bool": np.bool_(True),
    "nested": {"a": [np.float64(2.0), {"b": np.int8(1)}]},
}


@pytest.mark.parametrize("picture", [False, True])
def test_numbers_of_numpy_in_metadata_lose_no_document(picture):
    def given():
        fields = {"text": "Red.", "id_": "doc", "metadata": dict(NUMBERS)}
        return ImageDocument(image=RED64, **fields) if picture else LlamaDocument(**fields)

    index = DiptychMultiModalIndex.from_documents([given()], embed_model=TOY)
    assert index.failed == ()
    (node,) = index.vector_store.get_nodes()
    expected = {"float32": 1.5, "int64": 3, "bool": True, "nested": {"a": [2.0, {"b": 1}]}}
    assert node.metadata == expected
    assert index.refresh_ref_docs([given()]) == [False]
    document = given()
    (kept,) = KeepPictures(SentenceSplitter())([document])
    assert kept.metadata == expected
    assert document.metadata == NUMBERS  # the caller's own is left alone


def filled_without_a_model(folder, model):
    store = DiptychVectorStore(path=folder)
    nodes = [TextNode(text="A pump.", id_="pump"), TextNode(text="A bolt.", id_="bolt")]
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=model)
    store.close()


def test_a_folder_that_was_filled_without_a_model_takes_one_by_its_path(tmp_path):
    filled_without_a_model(tmp_path / "toy", MODEL)
    for model in (MODEL, TOY):
        with DiptychVectorStore(path=tmp_path / "toy", embed_model=model) as store:
            store.add([TextNode(text=f"A hose, {type(model).__name__}.")])
            index = DiptychMultiModalIndex.from_vector_store(store)
            found = index.as_retriever(similarity_top_k=1).retrieve("A pump.")
            assert [one.node_id for one in found] == ["pump"]
    filled_without_a_model(tmp_path / "mock", MockEmbedding(8))
    with DiptychMultiModalIndex(path=tmp_path / "mock", embed_model=MockEmbedding(8)) as index:
        index.insert_nodes([TextNode(text="A valve.", id_="valve")])
        assert {one.node_id for one in index.vector_store.get_nodes()} == {"pump", "bolt", "valve"}


def test_a_folder_that_was_filled_without_a_model_refuses_one_of_another_dimension(tmp_path):
    filled_without_a_model(tmp_path, MODEL)
    for embed_model in (ToyEncoder(64), DiptychMultiModalEmbedding(ToyEncoder(64))):
        with pytest.raises(EncoderMismatch):
            DiptychVectorStore(path=tmp_path, embed_model=embed_model)


class Threads(TransformComponent):
    """Notes in which thread it runs."""

    def __call__(self, nodes, **kwargs):
        for node in nodes:
            node.metadata["thread"] = threading.get_ident()
        return nodes


def test_an_awaited_pipeline_splits_in_a_thread():
    document = LlamaDocument(text="a")
    (made,) = asyncio.run(KeepPictures(Threads()).acall([document]))
    assert made.metadata["thread"] != threading.get_ident()


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_a_blank_path_finds_no_picture(blank):
    index = DiptychMultiModalIndex([ImageNode(image=RED64, id_="red")], embed_model=TOY)
    retriever = index.as_retriever()
    assert retriever.image_to_image_retrieve(blank) == []
    assert asyncio.run(retriever.aimage_to_image_retrieve(blank)) == []


@pytest.mark.parametrize("made", ["retriever", "separate pictures", "index of LlamaIndex"])
def test_llama_indexs_own_engine_reads_pictures_in_a_thread(monkeypatch, made):
    index = DiptychMultiModalIndex([ImageNode(text="Red.", image=RED64)], embed_model=TOY)
    options = {"llm": MockLLM(is_chat_model=True), "multimodal": True}
    if made == "index of LlamaIndex":
        plain = VectorStoreIndex.from_vector_store(
            index.vector_store, embed_model=DiptychMultiModalEmbedding(TOY)
        )
        engine = plain.as_query_engine(**options)
    else:
        apart = [SeparatePictures()] if made == "separate pictures" else []
        engine = RetrieverQueryEngine.from_args(
            index.as_retriever(), node_postprocessors=apart, **options
        )
    threads = []
    encoded = Image.encoded

    def noting(self, **options):
        threads.append(threading.get_ident())
        return encoded(self, **options)

    monkeypatch.setattr(Image, "encoded", noting)
    response = asyncio.run(engine.aquery("red"))
    kinds = {type(one.node).__name__ for one in response.source_nodes}
    assert kinds == ({"ImageNode", "TextNode"} if made == "separate pictures" else {"DiptychNode"})
    assert threads
    assert threading.get_ident() not in threads


def test_a_picture_of_a_question_may_be_a_path_object(tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(RED)
    index = DiptychMultiModalIndex([ImageNode(image=RED64, id_="red")], embed_model=TOY)
    engine = index.as_query_engine(llm=MockLLM(is_chat_model=True))
    for response in (
        engine.image_query(path, "What is it?"),
        asyncio.run(engine.aimage_query(path, "What is it?")),
        engine.query(QueryBundle("red", image_path=path)),
    ):
        assert [one.node_id for one in response.source_nodes] == ["red"]
