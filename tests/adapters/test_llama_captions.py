"""Caption and picture reach the model through LlamaIndex's own index over our store."""

import base64

import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    ObjectType,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_stubs import RecordingLLM, pictures, words
from manual import RED

from diptych import ToyEncoder
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychNode,
    DiptychVectorStore,
    KeepPictures,
)
from diptych.llama_index.node import StoredDocument, StoredNode

TOY = ToyEncoder()
MODEL = DiptychMultiModalEmbedding(TOY)
CAPTION = "a red pump moves water"
B64 = base64.b64encode(RED).decode()

NODES = {
    "image node": lambda path: ImageNode(id_="p", text=CAPTION, image=B64),
    "image node by path": lambda path: ImageNode(id_="p", text=CAPTION, image_path=str(path)),
    "image document": lambda path: ImageDocument(id_="p", text=CAPTION, image=B64),
    "node": lambda path: Node(
        id_="p",
        text_resource=MediaResource(text=CAPTION),
        image_resource=MediaResource(data=RED, mimetype="image/png"),
    ),
    "node by path": lambda path: Node(
        id_="p",
        text_resource=MediaResource(text=CAPTION),
        image_resource=MediaResource(path=path),
    ),
    "diptych node": lambda path: DiptychNode(id_="p", text=CAPTION, image=B64),
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "pump.png"
    file.write_bytes(RED)
    return file


async def shown(index, asynchronous):
    """Return the words and the pictures that a model is shown for a question."""
    llm = RecordingLLM()
    engine = index.as_query_engine(llm=llm, multimodal=True, similarity_top_k=1)
    if asynchronous:
        await engine.aquery("a red pump")
    else:
        engine.query("a red pump")
    (messages,) = llm.seen
    return words(messages), pictures(messages)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("kind", NODES)
async def test_through_a_vector_store_index(kind, override, asynchronous, path):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    index = VectorStoreIndex(
        [NODES[kind](path)],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MODEL,
        store_nodes_override=override,
        use_async=asynchronous,
    )
    text, seen = await shown(index, asynchronous)
    assert CAPTION in text
    assert seen == [RED]


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("kind", NODES)
async def test_after_it_was_persisted(kind, override, path, tmp_path):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(
        [NODES[kind](path)],
        storage_context=context,
        embed_model=MODEL,
        store_nodes_override=override,
    )
    context.persist(str(tmp_path / "kept"))
    path.unlink()
    loaded = DiptychVectorStore.from_persist_dir(
        str(tmp_path / "kept"), embed_model=TOY, image_encoder=TOY
    )
    context = StorageContext.from_defaults(vector_store=loaded, persist_dir=str(tmp_path / "kept"))
    for index in (
        load_index_from_storage(context, embed_model=MODEL),
        VectorStoreIndex.from_vector_store(loaded, embed_model=MODEL),
    ):
        text, seen = await shown(index, asynchronous=False)
        assert CAPTION in text
        assert seen == [RED]
    loaded.index.close()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", ["image document", "node"])
async def test_from_an_ingestion_pipeline_with_a_docstore(kind, asynchronous, path):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    docstore = SimpleDocumentStore()
    pipeline = IngestionPipeline(
        transformations=[KeepPictures(SentenceSplitter()), MODEL],
        vector_store=store,
        docstore=docstore,
    )
    given = NODES[kind](path)
    options = {"documents" if kind == "image document" else "nodes": [given]}
    await pipeline.arun(**options) if asynchronous else pipeline.run(**options)
    context = StorageContext.from_defaults(docstore=docstore, vector_store=store)
    index = VectorStoreIndex([], storage_context=context, embed_model=MODEL)
    text, seen = await shown(index, asynchronous)
    assert CAPTION in text
    assert seen == [RED]


@pytest.mark.parametrize("kind", NODES)
def test_a_node_out_of_the_store_is_referred_to_as_a_text_and_is_what_it_was(kind, path):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    given = NODES[kind](path)
    store.add([given])
    (node,) = store.get_nodes(["p"])
    info = node.as_related_node_info()
    assert (info.node_id, info.node_type, info.hash) == ("p", ObjectType.TEXT, node.hash)
    assert isinstance(node, DiptychNode | StoredNode | StoredDocument)
    assert isinstance(node, ImageNode if "image" in kind or "diptych" in kind else Node)
    # and a docstore gives it back as an image, or as a node with resources
    docstore = SimpleDocumentStore()
    docstore.add_documents([node])
    assert type(docstore.get_document("p")) is (ImageNode if isinstance(node, ImageNode) else Node)


def test_texts_stay_beside_pictures_when_the_index_keeps_its_nodes():
    """Fault 8: without ``store_nodes_override`` every query is restricted to the image nodes."""
    nodes = [ImageNode(id_="p", text=CAPTION, image=B64), TextNode(id_="t", text="a blue valve")]
    for override, expected in ((False, {"p"}), (True, {"p", "t"})):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        index = VectorStoreIndex(
            nodes,
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=MODEL,
            store_nodes_override=override,
        )
        found = index.as_retriever(similarity_top_k=9).retrieve("a blue valve")
        assert {node.node_id for node in found} == expected
        fresh = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        found = fresh.as_retriever(similarity_top_k=9).retrieve("a blue valve")
        assert {node.node_id for node in found} == {"p", "t"}
