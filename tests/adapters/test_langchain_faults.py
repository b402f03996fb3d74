"""What LangChain and its stores lack for pictures, beside what diptych does: docs/comparison.md.

Each test shows the fault first, so that the table of the page is true for as long as the tests pass.
Those that need another store run where it is installed: tests/environments/run.py installs it.
"""

import base64

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from manual import BLUE, RED

from diptych import Image, ToyEncoder
from diptych.langchain import (
    DiptychEmbeddings,
    DiptychRetriever,
    DiptychVectorStore,
    create_multimodal_retriever_tool,
    image_document,
)
from stubs import png


def filled(path):
    (path / "pump.png").write_bytes(RED)
    (path / "valve.png").write_bytes(BLUE)
    store = DiptychVectorStore(ToyEncoder())
    store.add_images([path / "pump.png", path / "valve.png"], texts=["the red pump", None])
    store.add_texts(["Call the service for spare parts."])
    return store


def call(query):
    return {"name": "manual", "args": {"query": query}, "id": "1", "type": "tool_call"}


def test_14_no_picture_in_the_interfaces_nor_in_the_tool_of_a_retriever(tmp_path):
    assert not hasattr(Embeddings, "embed_image")
    assert not hasattr(VectorStore, "add_images")
    assert not {"image", "images", "blob"} & set(Document.model_fields)
    store = filled(tmp_path)
    retriever = DiptychRetriever(index=store.index, k=1)
    tool = create_retriever_tool(retriever, "manual", "Searches the manual.")
    assert isinstance(tool.invoke(call("red pump")).content, str)
    tool = create_multimodal_retriever_tool(retriever, "manual", "Searches the manual.")
    blocks = tool.invoke(call("red pump")).content_blocks
    assert [base64.b64decode(b["base64"]) for b in blocks if b["type"] == "image"] == [RED]


@pytest.mark.filterwarnings("ignore")
def test_15_chroma_keeps_the_file_as_the_text(tmp_path):
    chroma = pytest.importorskip("langchain_chroma")
    ours = filled(tmp_path)
    # diptych's embeddings work inside of Chroma, too.
    theirs = chroma.Chroma("manual", DiptychEmbeddings(ToyEncoder()))
    theirs.add_images([str(tmp_path / "pump.png"), str(tmp_path / "valve.png")])
    theirs.add_texts(["Call the service for spare parts."])
    (found,) = theirs.similarity_search("red", 1)
    assert base64.b64decode(found.page_content) == RED  # a chain pastes this into the prompt
    assert not hasattr(theirs, "from_images")
    (found, _) = ours.similarity_search("red", 2)
    assert found.page_content == "the red pump"
    assert found.metadata["image_path"] == str(tmp_path / "pump.png")


def test_16_summaries_stand_for_pictures_and_are_all_that_is_searched(tmp_path):
    classic = pytest.importorskip("langchain_classic.retrievers.multi_vector")
    from langchain_core.stores import InMemoryStore

    pictures = InMemoryStore()
    pictures.mset([("1", base64.b64encode(RED).decode())])
    peer = classic.MultiVectorRetriever(
        vectorstore=InMemoryVectorStore(DiptychEmbeddings(ToyEncoder())),
        docstore=pictures,
        id_key="doc_id",
    )
    peer.vectorstore.add_documents([Document("a machine", metadata={"doc_id": "1"})])
    with pytest.raises(AttributeError):
        peer.vectorstore.similarity_search_by_image(png("crimson"))
    store = DiptychVectorStore.from_images([RED], ToyEncoder(), texts=["a machine"], ids=["1"])
    assert [d.id for d in store.similarity_search_by_image(png("crimson"), 1)] == ["1"]
    assert [d.id for d in store.similarity_search("something red", 1, mode="image")] == ["1"]


@pytest.mark.filterwarnings("ignore")
def test_17_faiss_refuses_an_id_twice_and_needs_pickle(tmp_path):
    community = pytest.importorskip("langchain_community.vectorstores")
    model = DeterministicFakeEmbedding(size=6)
    peer = community.FAISS.from_texts(["a"], model, ids=["1"])
    with pytest.raises(ValueError, match="already exist"):
        peer.add_texts(["b"], ids=["1"])
    with pytest.raises(ValueError, match="not exist"):
        peer.delete(["2"])
    peer.save_local(str(tmp_path / "peer"))
    with pytest.raises(ValueError, match="pickle"):
        community.FAISS.load_local(str(tmp_path / "peer"), model)
    found = peer.similarity_search_with_score("a", 1)
    assert found[0][1] == pytest.approx(0.0, abs=1e-6)  # a distance: the best is the least
    store = DiptychVectorStore.from_texts(["a"], model, ids=["1"])
    store.add_texts(["b"], ids=["1"])
    assert store.delete(["2"]) is True
    store.save_local(tmp_path / "ours")
    loaded = DiptychVectorStore.load_local(tmp_path / "ours", model)
    ((document, score),) = loaded.similarity_search_with_score("b", 1)
    assert (document.page_content, score) == ("b", pytest.approx(1.0, abs=1e-6))
    loaded.index.close()


def test_18_a_picture_that_changed_behind_its_path_is_skipped(tmp_path):
    path = tmp_path / "pump.png"
    path.write_bytes(RED)

    def run(document, store, records):
        options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
        return index([document], records, store, **options)

    records = InMemoryRecordManager(namespace="peer")
    records.create_schema()
    peer = InMemoryVectorStore(DeterministicFakeEmbedding(size=6))
    plain = Document("a pump", metadata={"source": "manual", "image_path": str(path)})
    run(plain, peer, records)
    path.write_bytes(BLUE)
    assert run(plain, peer, records)["num_skipped"] == 1

    path.write_bytes(RED)
    records = InMemoryRecordManager(namespace="ours")
    records.create_schema()
    store = DiptychVectorStore(ToyEncoder())
    run(image_document(path, "a pump", {"source": "manual"}), store, records)
    path.write_bytes(BLUE)
    result = run(image_document(path, "a pump", {"source": "manual"}), store, records)
    assert (result["num_added"], result["num_deleted"]) == (1, 1)
    assert [d.image for d in store.index.get()] == [Image(BLUE)]
