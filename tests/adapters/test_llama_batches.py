"""One bad node, document or file never stops the others, and what is left out is said."""

import asyncio
import base64
import logging
import threading

import numpy as np
import pytest
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from manual import RED

from diptych import ToyEncoder
from diptych.errors import DocumentError, InvalidArgument, MediaError, VectorError
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychNode,
    DiptychReader,
    DiptychVectorStore,
    KeepPictures,
)
from stubs import StubText, png

TOY = ToyEncoder()
MODEL = DiptychMultiModalEmbedding(TOY)
B64 = base64.b64encode(RED).decode()
VECTOR = TOY.encode_document(["a"])[0].tolist()


def text(identity, **fields):
    return TextNode(**{"id_": identity, "text": f"text {identity}", "embedding": VECTOR, **fields})


def looped():
    value = {}
    value["self"] = value
    return value


BAD = {
    "blank": lambda: text("bad", text=" \n\t"),
    "blank without a vector": lambda: TextNode(id_="bad", text=""),
    "a node of nothing": lambda: Node(id_="bad"),
    "a url": lambda: ImageNode(id_="bad", image_url="https://example.org/a.png"),
    "a zero vector": lambda: text("bad", embedding=[0.0] * TOY.dim),
    "a vector of nan": lambda: text("bad", embedding=[float("nan")] * TOY.dim),
    "another dimension": lambda: text("bad", embedding=[1.0, 2.0]),
    "an object": lambda: text("bad", metadata={"x": object()}),
    "metadata that contains itself": lambda: text("bad", metadata={"x": looped()}),
    "keys that are numbers": lambda: text("bad", metadata={"x": {1: 2}}),
    "nan in metadata": lambda: text("bad", metadata={"x": float("nan")}),
    "too much metadata": lambda: text("bad", metadata={"x": "a" * 300_000}),
    "half a surrogate": lambda: text("bad", text="a\ud800"),
    "a picture that is gone": lambda: ImageNode(id_="bad", image_path="/gone.png"),
    "no picture": lambda: ImageNode(id_="bad", image=base64.b64encode(b"none").decode()),
    "no base64": lambda: ImageNode(id_="bad", image="no!"),
    "a cut picture": lambda: ImageNode(id_="bad", image=base64.b64encode(RED[:40]).decode()),
    "a resource that is no picture": lambda: Node(
        id_="bad", image_resource=MediaResource(data=b"none")
    ),
    "an id that is too long": lambda: text("b" * 5_000),
    "an id with nul": lambda: text("a\0b"),
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", BAD)
async def test_one_bad_node_does_not_lose_the_others(kind, asynchronous, caplog):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    bad = BAD[kind]()
    nodes = [text("a"), bad, ImageNode(id_="p", image=B64), text("b")]
    ids = await store.async_add(nodes) if asynchronous else store.add(nodes)
    assert ids == [node.node_id for node in nodes]
    assert store.index.ids() == ["a", "p", "b"]
    (failure,) = store.failed
    assert (failure.id, bool(failure.reason)) == (bad.node_id, True)
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert failure.reason in record.getMessage()
    # a second time, and good ones afterwards
    store.add(nodes)
    assert [failure.id for failure in store.failed] == [bad.node_id]
    store.add([text("c")])
    assert store.failed == ()
    assert store.index.ids() == ["a", "p", "b", "c"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("another dimension", VectorError),
        ("a zero vector", VectorError),
        ("an object", DocumentError),
        ("a url", DocumentError),
        ("a picture that is gone", MediaError),
        ("no base64", MediaError),
    ],
)
def test_when_nothing_at_all_is_stored_it_is_an_error(kind, error):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    bad = BAD[kind]()
    with pytest.raises(error, match="None of the nodes could be stored"):
        store.add([bad, BAD["blank"]()])
    assert len(store.failed) == 2
    assert len(store.store([bad]).failed) == 1  # which reports instead


@pytest.mark.parametrize("kind", ["blank", "blank without a vector", "a node of nothing"])
def test_blank_nodes_alone_are_no_error(kind):
    store = DiptychVectorStore()
    assert store.add([BAD[kind](), BAD[kind]()]) == ["bad", "bad"]
    assert len(store.failed) == 2


class Picky:
    """Makes NaN of some pictures."""

    dim, space, fingerprint = TOY.dim, TOY.space, TOY.fingerprint

    def __init__(self, *bad):
        self._bad = bad

    def encode_image(self, images):
        rows = TOY.encode_image(images)
        rows[[image.sha256 in self._bad for image in images]] = np.nan
        return rows


def test_an_encoder_that_makes_nothing_of_the_only_picture_does_not_lose_the_texts():
    from diptych import Image

    store = DiptychVectorStore(embed_model=TOY, image_encoder=Picky(Image(RED).sha256))
    nodes = [text(str(i)) for i in range(70)] + [ImageNode(id_="p", image=B64)]
    assert store.add(nodes)[-1] == "p"
    assert len(store.index) == 70
    assert [failure.id for failure in store.failed] == ["p"]
    report = store.store([ImageNode(id_="p", image=B64), text("71")])
    assert (report.added, len(report.failed)) == (1, 1)


class TestWithoutAModel:
    def test_a_text_without_a_vector_does_not_lose_the_others(self):
        store = DiptychVectorStore()
        store.add(
            [TextNode(id_="none", text="a"), TextNode(id_="v", text="b", embedding=[1.0, 0.0])]
        )
        assert store.index.ids() == ["v"]
        assert "without an embedding" in store.failed[0].reason

    def test_a_picture_that_nothing_could_find_is_said(self):
        store = DiptychVectorStore(embed_model=StubText(TOY.dim))
        store.add([ImageNode(id_="p", image=B64), text("a")])
        assert store.index.ids() == ["a"]
        assert "nothing could find it" in store.failed[0].reason
        with pytest.raises(InvalidArgument, match="nothing could find it"):
            store.add([ImageNode(id_="p", image=B64)])


def documents(tmp_path):
    (tmp_path / "a.png").write_bytes(RED)
    gone = ImageDocument(id_="gone", text="a picture", image_path=str(tmp_path / "a.png"))
    wordless = ImageDocument(id_="wordless gone", image_path=str(tmp_path / "a.png"))
    (tmp_path / "a.png").unlink()
    return [
        Document(id_="1", text="A text. " * 40),
        Document(id_="blank", text="  "),
        gone,
        wordless,
        ImageDocument(id_="p", image=B64),
        ImageDocument(id_="q", image=base64.b64encode(png("blue")).decode(), text="a blue valve"),
        Document(id_="broken", image_resource=MediaResource(data=b"none")),
        Document(id_="url", image_resource=MediaResource(url="https://example.org/a.png")),
        Document(id_="odd", text="odd", metadata={"x": {1: 2}}),
        Document(id_="2", text="Another text."),
    ]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("strategy", DocstoreStrategy)
@pytest.mark.parametrize("cached", [False, True])
async def test_an_ingestion_pipeline_goes_on_and_a_second_run_changes_nothing(
    strategy, cached, asynchronous, tmp_path
):
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    pipeline = IngestionPipeline(
        transformations=[KeepPictures(SentenceSplitter(chunk_size=64, chunk_overlap=0)), MODEL],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=strategy,
        disable_cache=not cached,
    )
    given = documents(tmp_path)

    async def run(documents):
        if asynchronous:
            return await pipeline.arun(documents=documents)
        return pipeline.run(documents=documents)

    await run(given)
    before = store.index.ids()
    sources = {node.ref_doc_id for node in store.get_nodes()}
    assert {"1", "p", "q", "2", "gone"} <= sources
    assert not {"odd", "blank"} & sources
    await run(given)
    assert store.index.ids() == before
    # all that is left is bad: nothing is raised, and nothing lost
    bad = [Document(id_="worse", text="x", metadata={"x": {1: 2}})]
    await run(bad + ([] if strategy != DocstoreStrategy.UPSERTS_AND_DELETE else given))
    assert store.index.ids() == before
    assert [failure.id for failure in store.failed]


def test_keep_pictures_takes_a_picture_that_is_none():
    keep = KeepPictures(SentenceSplitter())
    made = keep(
        [ImageNode(id_="bad", image="no!"), ImageNode(id_="p", image=B64), TextNode(text="a")]
    )
    assert len(made) == 3
    node = DiptychNode(id_="bad", image="no!")
    assert node.pictures == ()
    assert node.hash
    assert node.get_content("all") == ""


def test_a_reader_goes_on_after_a_picture_that_changed_while_it_was_read(tmp_path, monkeypatch):
    from diptych import Image

    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(png(name_colour[name]))
    reader = DiptychReader()
    loading = iter(reader.lazy_load_data(tmp_path))
    first = next(loading)
    assert first.id_ == "a.png"
    real = Image.sha256.fget

    def sha256(image):
        if str(image.path).endswith("b.png"):
            raise MediaError("it was removed")
        return real(image)

    monkeypatch.setattr(Image, "sha256", property(sha256))
    assert [document.id_ for document in loading] == ["c.png"]
    assert [failure.source for failure in reader.failed] == ["b.png"]


name_colour = {"a": "red", "b": "blue", "c": "green"}


class TestAtTheSameTime:
    def source(self, identity):
        return {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=identity)}

    @pytest.mark.parametrize("kept", ["memory", "folder"])
    async def test_six_that_add_one_id_leave_one(self, kept, tmp_path):
        store = DiptychVectorStore(**({"path": tmp_path / "kb"} if kept == "folder" else {}))
        nodes = [
            TextNode(id_="n", text=f"version {i}", embedding=np.eye(6)[i].tolist())
            for i in range(6)
        ]
        await asyncio.gather(*(store.async_add([node]) for node in nodes))
        assert store.index.ids() == ["n"]
        (node,) = store.get_nodes()
        at = int(node.text[-1])
        assert store.get("n") == pytest.approx(np.eye(6)[at].tolist())
        assert len(store.index.text_index) == 1
        store.index.close()

    def test_threads_that_add_to_a_new_store_lose_nothing(self):
        store = DiptychVectorStore()
        barrier = threading.Barrier(6)

        def add(i):
            barrier.wait(timeout=60)
            store.add([TextNode(id_=str(i), text="a", embedding=[1.0, float(i)])])

        threads = [threading.Thread(target=add, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert sorted(store.index.ids()) == list("012345")

    async def test_adding_and_deleting_a_source_leaves_nothing_half(self):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        both = [
            text("t", relationships=self.source("doc")),
            ImageNode(id_="p", image=B64, text="a", relationships=self.source("doc")),
        ]
        for _ in range(5):
            await asyncio.gather(store.async_add(both), store.adelete("doc"), store.async_add(both))
            ids = store.index.ids()
            assert ids in ([], ["t", "p"])
            views = (store.index.text_index, store.index.image_index)
            assert [len(view) for view in views] == ([2, 1] if ids else [0, 0])
            await store.adelete("doc")
            assert len(store.index) == 0
