"""One bad document in a call that adds: the others are stored, and it is said."""

import io
import logging
import math

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import InMemoryStore
from manual import BLUE, RED
from PIL import Image as Pil

from diptych import Image, ToyEncoder
from diptych.errors import DocumentError, InvalidArgument, LockedError, MediaError, VectorError
from diptych.langchain import DiptychVectorStore, image_document
from diptych.langchain.placeholder import placeholder
from stubs import hashed_rows

FAULTS = {"nan": [math.nan] * 8, "inf": [math.inf] * 8, "zero": [0.0] * 8, "short": [1.0] * 3}


class Moody(Embeddings):
    """Embeds texts by their hash, except those that start with the name of a fault."""

    def __init__(self):
        self.calls = []

    def embed_documents(self, texts):
        self.calls.append(list(texts))
        for text in texts:
            if text.startswith("raise"):
                raise {"V": ValueError, "R": RuntimeError, "C": ConnectionError}[text[5]](text)
        kept = [text for text in texts if not text.startswith("forget")]
        return [FAULTS.get(t.split()[0]) or hashed_rows([t], 8, "")[0].tolist() for t in kept]

    def embed_query(self, text):
        return hashed_rows([text], 8, "")[0].tolist()


class Down(Moody):
    """A model that cannot be reached, and says so with an error that tells nothing."""

    is_down = False

    def embed_documents(self, texts):
        if self.is_down:
            self.calls.append(list(texts))
            raise RuntimeError("503")
        return super().embed_documents(texts)


class Cyclic(dict):
    """A mapping that raises when it is looked at."""

    def items(self):
        raise RuntimeError("no items")

    keys = __iter__ = items


LOOP = {}
LOOP["self"] = LOOP

BAD_TEXTS = {
    "blank": (" \n\t", {}, "bad", None),
    "empty": ("", {}, "bad", None),
    "half a surrogate": ("a \ud800 b", {}, "bad", None),
    "too long": ("x" * ((32 << 20) + 1), {}, "bad", DocumentError),
    "nan": ("nan", {}, "bad", VectorError),
    "infinite": ("inf", {}, "bad", VectorError),
    "zero": ("zero", {}, "bad", VectorError),
    "of another length": ("short", {}, "bad", VectorError),
    "without a vector": ("forget me", {}, "bad", VectorError),
    "that the model refuses": ("raiseV", {}, "bad", ValueError),
    "that breaks the model": ("raiseR", {}, "bad", RuntimeError),
    "with an object": ("bad", {"x": object()}, "bad", DocumentError),
    "with bytes": ("bad", {"x": b"raw"}, "bad", DocumentError),
    "with nan": ("bad", {"x": math.nan}, "bad", DocumentError),
    "with a loop": ("bad", LOOP, "bad", DocumentError),
    "with a number as key": ("bad", {1: "x"}, "bad", DocumentError),
    "with half a surrogate": ("bad", {"x": "\udfff"}, "bad", DocumentError),
    "with too much": ("bad", {"x": "y" * 300_000}, "bad", DocumentError),
    "with NUL in its id": ("bad", {}, "b\0d", DocumentError),
    "with a long id": ("bad", {}, "b" * 5000, DocumentError),
    "with half a surrogate as id": ("bad", {}, "\ud800", DocumentError),
}
SINGLE = list(BAD_TEXTS)


def moody():
    return DiptychVectorStore(Moody())


def texts_of(store):
    return sorted(document.text for document in store.index.get())


async def add(store, asynchronous, texts, metadatas=None, ids=None, **options):
    if asynchronous:
        return await store.aadd_texts(texts, metadatas, ids=ids, **options)
    return store.add_texts(texts, metadatas, ids=ids, **options)


@pytest.mark.parametrize("asynchronous", [False, True])
class TestOneBadText:
    @pytest.mark.parametrize("case", SINGLE)
    async def test_the_others_are_stored_and_it_is_said(self, asynchronous, case, caplog):
        text, metadata, identity, _ = BAD_TEXTS[case]
        store = moody()
        ids = ["a", identity, "c", "d"]
        given = await add(
            store,
            asynchronous,
            ["one", text, "two", "three"],
            [{"n": 1}, metadata, {}, {"n": 3}],
            ids,
        )
        assert given == ids
        assert store.index.ids() == ["a", "c", "d"]
        assert texts_of(store) == ["one", "three", "two"]
        (failure,) = store.failed
        assert failure.id == identity
        warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert [r.name for r in warnings] == ["diptych.langchain.addition"]
        assert failure.reason[:60] in warnings[0].getMessage()
        assert len(warnings[0].getMessage()) < 1000
        vectors = store.index.text_index.vectors(["a", "c", "d"])
        np.testing.assert_allclose(vectors, hashed_rows(["one", "two", "three"], 8, ""), atol=1e-6)

    @pytest.mark.parametrize("case", SINGLE)
    async def test_alone_it_is_an_error_unless_it_is_just_blank(self, asynchronous, case):
        text, metadata, identity, kind = BAD_TEXTS[case]
        store = moody()
        if kind is None and not text.strip():
            assert await add(store, asynchronous, [text], [metadata], [identity]) == [identity]
        else:
            with pytest.raises(kind or DocumentError, match=r"\w"):
                await add(store, asynchronous, [text], [metadata], [identity])
        assert [failure.id for failure in store.failed] == [identity]
        assert len(store.index) == 0

    @pytest.mark.parametrize("case", SINGLE)
    async def test_in_batches_of_one_as_index_asks_for_nothing_is_raised(self, asynchronous, case):
        text, metadata, identity, _ = BAD_TEXTS[case]
        store = moody()
        await add(store, asynchronous, [text], [metadata], [identity], batch_size=1)
        assert [failure.id for failure in store.failed] == [identity]
        both = ["one", text, "two"], [{}, metadata, {}], ["a", identity, "b"]
        await add(store, asynchronous, *both, batch_size=1)
        assert store.index.ids() == ["a", "b"]

    async def test_all_bad_in_several_batches_names_each(self, asynchronous):
        store = moody()
        with pytest.raises(VectorError, match=r"None of 3 documents.*'1':.*NaN.*'2':.*zero.*'3'"):
            await add(store, asynchronous, ["nan", "zero", " "], ids=["1", "2", "3"])
        assert [failure.id for failure in store.failed] == ["1", "2", "3"]

    async def test_a_first_batch_of_bad_ones_does_not_stop_the_next(self, asynchronous):
        store = moody()
        texts = ["nan"] * 64 + ["good"] * 3
        await add(store, asynchronous, texts, ids=[str(i) for i in range(67)])
        assert store.index.ids() == ["64", "65", "66"]
        assert [failure.id for failure in store.failed] == [str(i) for i in range(64)]

    async def test_blank_texts_are_not_embedded(self, asynchronous):
        store = moody()
        store._embedding.calls.clear()
        await add(store, asynchronous, ["one", " ", "two"])
        assert store._embedding.calls == [["one", "two"]]

    async def test_what_is_stored_under_the_id_stays(self, asynchronous):
        store = moody()
        await add(store, asynchronous, ["one"], ids=["1"])
        for bad, metadata in ((" ", {}), ("nan", {}), ("bad", {"x": object()})):
            await add(store, asynchronous, [bad, "two"], [metadata, {}], ["1", "2"])
            assert texts_of(store) == ["one", "two"]

    async def test_of_several_with_one_id_the_last_good_one_counts(self, asynchronous):
        store = moody()
        await add(store, asynchronous, ["one", "two", " "], ids=["1", "1", "1"])
        assert texts_of(store) == ["two"]
        assert [failure.id for failure in store.failed] == ["1"]
        store = moody()
        await add(store, asynchronous, ["one", "two"], [{}, {"x": object()}], ["1", "1"])
        assert texts_of(store) == ["one"]

    async def test_metadata_of_what_is_stored_changes_beside_a_bad_one(self, asynchronous):
        store = moody()
        await add(store, asynchronous, ["one"], [{"n": 1}], ["1"])
        await add(store, asynchronous, ["one", "nan"], [{"n": 2}, {}], ["1", "2"])
        assert store.get_by_ids(["1"])[0].metadata == {"n": 2}
        assert [failure.id for failure in store.failed] == ["2"]

    async def test_the_next_call_has_its_own_failures(self, asynchronous):
        store = moody()
        await add(store, asynchronous, ["one", " "])
        assert len(store.failed) == 1
        await add(store, asynchronous, ["two"])
        assert store.failed == ()

    @pytest.mark.parametrize("batch_size", [None, 1])
    async def test_a_model_that_is_down_is_not_the_fault_of_documents(
        self, asynchronous, batch_size
    ):
        store = DiptychVectorStore(Down())
        store._embedding.calls, store._embedding.is_down = [], True
        with pytest.raises(RuntimeError, match="503"):
            await add(store, asynchronous, list("abcdefgh"), batch_size=batch_size)
        assert len(store._embedding.calls) <= 4
        for error in ("raiseC", "raiseC 2"):
            with pytest.raises(ConnectionError, match=error):
                await add(moody(), asynchronous, ["one", error], batch_size=batch_size)

    async def test_wrong_items_are_said_and_wrong_lists_are_refused(self, asynchronous):
        store = moody()
        await add(store, asynchronous, ["one", None, 3], [{}, {}, {}], ["1", "2", "3"])
        assert [failure.id for failure in store.failed] == ["2", "3"]
        await add(store, asynchronous, ["two", "bad"], [{}, "no dict"], ["4", "5"])
        assert store.index.ids() == ["1", "4"]
        for texts, metadatas, ids in (
            (None, None, None), (3, None, None), (["a"], [{}, {}], None), (["a"], None, ["1", "2"]),
        ):  # fmt: skip
            with pytest.raises(InvalidArgument, match="expected"):
                await add(store, asynchronous, texts, metadatas, ids)
        assert store.index.ids() == ["1", "4"]


def test_a_lock_of_others_is_raised_in_every_kind_of_call(tmp_path):
    mine, theirs = (DiptychVectorStore(ToyEncoder(), path=tmp_path / "i") for _ in "ab")
    mine.add_texts(["one"])

    def locked(*args, **options):
        raise LockedError("locked")

    theirs.index.upsert = locked
    with pytest.raises(LockedError, match="locked"):
        theirs.add_texts(["two"], batch_size=1)
    mine.index.close()


@pytest.mark.parametrize("asynchronous", [False, True])
class TestDocumentsAndPictures:
    async def test_documents_that_no_store_can_hold(self, asynchronous, tmp_path):
        store = DiptychVectorStore(ToyEncoder())
        (tmp_path / "a.png").write_bytes(RED)
        picture = image_document(tmp_path / "a.png", "a figure", {"source": "manual"}, id="gone")
        gone = Document(**picture.model_dump())
        (tmp_path / "a.png").unlink()
        url = Document(
            " ", metadata={"image_path": "https://x.org/a.png", "image_sha256": "0" * 64}
        )
        strange = Document.model_construct(page_content="odd", metadata=Cyclic(a=1), id="odd")
        documents = [
            Document("good", id="1"), gone, url.model_copy(update={"id": "url"}), strange,
            "no document", Document("", id="blank"), Document("also good", id="2"),
        ]  # fmt: skip
        ids = ["1", "gone", "url", "odd", "word", "blank", "2"]
        if asynchronous:
            assert await store.aadd_documents(documents, ids=ids) == ids
        else:
            assert store.add_documents(documents, ids=ids) == ids
        assert store.index.ids() == ["1", "2"]
        assert [f.id for f in store.failed] == ["gone", "url", "odd", "word", "blank"]
        assert store.failed[0].source == "manual"

    async def test_pictures_that_cannot_be_read(self, asynchronous, tmp_path):
        store = DiptychVectorStore(ToyEncoder())
        long = "data:image/png;base64," + "A" * 5000
        uris = [
            RED,
            "https://x.org/y.png",
            tmp_path / "no.png",
            b"no picture",
            RED[:40],
            None,
            3,
            long,
            BLUE,
        ]
        ids = list("abcdefghi")
        call = store.aadd_images if asynchronous else store.add_images
        done = call(uris, ids=ids, texts=["a pump", *[None] * 8])
        assert (await done if asynchronous else done) == ids
        assert store.index.ids() == ["a", "i"]
        assert [f.id for f in store.failed] == list("bcdefgh")
        assert all(len(f.source) < 250 for f in store.failed)
        assert not any("A" * 50 in f"{f.source}{f.reason}" for f in store.failed)
        for uri in uris[1:-1]:
            with pytest.raises(MediaError, match=r"\w"):
                store.add_images([uri])

    async def test_captions_and_metadata_of_pictures(self, asynchronous):
        store = DiptychVectorStore(ToyEncoder())
        call = store.aadd_images if asynchronous else store.add_images
        done = call(
            [RED, BLUE, RED, BLUE],
            [{}, {"x": object()}, None, 3],
            list("abcd"),
            texts=[" ", None, 3, ""],
        )
        await done if asynchronous else None
        assert store.index.ids() == ["a"]
        assert [f.id for f in store.failed] == list("bcd")
        assert store.index.get(["a"])[0].text is None


def test_what_stands_for_a_picture_is_not_its_caption():
    store = DiptychVectorStore(ToyEncoder())
    other = "[picture: a.png 00000000]"
    store.add_images([RED, RED], ids=["1", "2"], texts=[placeholder(Image(RED)), other])
    assert [d.text for d in store.index.get()] == [None, other]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_all_that_people_hold_a_picture_in(asynchronous, tmp_path):
    path = tmp_path / "a b.png"
    path.write_bytes(RED)
    pixels = np.zeros((4, 5, 3), np.uint8)
    uris = [io.BytesIO(RED), pixels, path.as_uri(), Pil.fromarray(pixels), path, Image(BLUE)]
    store = DiptychVectorStore(ToyEncoder())
    ids = await store.aadd_images(uris) if asynchronous else store.add_images(uris)
    images = [document.image for document in store.index.get(ids)]
    assert store.failed == ()
    assert [image.size for image in images] == [
        (32, 24),
        (5, 4),
        (32, 24),
        (5, 4),
        (32, 24),
        (16, 16),
    ]
    documents = [image_document(uri, id=str(at)) for at, uri in enumerate(uris)]
    again = DiptychVectorStore(ToyEncoder())
    again.add_documents(documents)
    assert [document.image for document in again.index.get()] == images
    for one in (io.BytesIO(RED), pixels, Pil.fromarray(pixels), RED, path):
        with pytest.raises(InvalidArgument, match="expected a list of pictures"):
            store.add_images(one)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_parents_of_pages_of_which_some_are_bad(asynchronous):
    pages = [
        Document("The red pump moves water. The blue valve closes.", metadata={"page": 1}),
        Document(" \n ", metadata={"page": 2}),
        Document("nan in this one", metadata={"page": 3}),
        Document("Call the service.", metadata={"page": 4}),
    ]
    classic = pytest.importorskip("langchain_classic.retrievers")
    splitters = pytest.importorskip("langchain_text_splitters")
    splitter = splitters.CharacterTextSplitter(separator=". ", chunk_size=30, chunk_overlap=0)
    store = moody()
    retriever = classic.ParentDocumentRetriever(
        vectorstore=store, docstore=InMemoryStore(), child_splitter=splitter, search_kwargs={"k": 1}
    )
    if asynchronous:
        await retriever.aadd_documents(pages)
    else:
        retriever.add_documents(pages)
    assert texts_of(store) == [
        "Call the service.",
        "The blue valve closes.",
        "The red pump moves water",
    ]
    assert [failure.reason for failure in store.failed if "NaN" not in failure.reason] == []
    for asked in ("The blue valve closes.", "The red pump moves water"):
        found = await retriever.ainvoke(asked) if asynchronous else retriever.invoke(asked)
        assert [document.metadata["page"] for document in found] == [1]


def test_pictures_of_which_summaries_are_searched():
    classic = pytest.importorskip("langchain_classic.retrievers")
    store, kept = DiptychVectorStore(ToyEncoder()), InMemoryStore()
    retriever = classic.MultiVectorRetriever(vectorstore=store, docstore=kept, id_key="doc_id")
    store.add_images([RED, b"bad"], [{"doc_id": "1"}, {"doc_id": "2"}], texts=["a red pump", "x"])
    store.add_texts(["a blue valve", " "], [{"doc_id": "3"}, {"doc_id": "4"}])
    kept.mset([(str(n), Document(f"whole {n}")) for n in range(1, 5)])
    found = {document.page_content for document in retriever.invoke("red pump")}
    assert found == {"whole 1", "whole 3"}
    both = classic.EnsembleRetriever(
        retrievers=[retriever, store.as_retriever()], weights=[0.5, 0.5]
    )
    assert {"whole 1", "a red pump"} < {
        document.page_content for document in both.invoke("red pump")
    }


async def test_constructors_keep_what_is_good():
    bad = ["one", " ", "nan", "two"]
    documents = [Document(text, id=str(at)) for at, text in enumerate(bad)]
    for store in (
        DiptychVectorStore.from_texts(bad, Moody(), ids=list("0123")),
        await DiptychVectorStore.afrom_texts(bad, Moody(), ids=list("0123")),
        DiptychVectorStore.from_documents(documents, Moody()),
        await DiptychVectorStore.afrom_documents(documents, Moody()),
    ):
        assert store.index.ids() == ["0", "3"]
        assert [failure.id for failure in store.failed] == ["1", "2"]
    for store in (
        DiptychVectorStore.from_images([RED, b"x"], ToyEncoder(), ids=list("01")),
        await DiptychVectorStore.afrom_images([RED, b"x"], ToyEncoder(), ids=list("01")),
    ):
        assert [(d.id, d.image) for d in store.index.get()] == [("0", Image(RED))]
        assert [failure.id for failure in store.failed] == ["1"]


def test_a_picture_without_words_in_a_store_of_texts_is_one_failure():
    store = moody()
    store.add_images([RED], ids=["1"], texts=["a pump"])
    with pytest.raises(InvalidArgument, match="without an image encoder"):
        store.add_images([RED], ids=["2"])
    picture = image_document(RED, id="2")
    store.add_documents([picture], batch_size=1)
    assert [failure.id for failure in store.failed] == ["2"]
    assert store.index.ids() == ["1"]


def test_a_user_s_reserved_key_is_dropped_and_said_once(caplog):
    store = DiptychVectorStore(ToyEncoder())
    values = [
        {"node": "{}"},
        "text",
        None,
        3,
        [1],
        {"group": 5},
        {"group": "g", "order": 1},
        {"a": object()},
    ]
    documents = [
        Document(str(at), id=str(at), metadata={"_diptych": v, "n": at})
        for at, v in enumerate(values)
    ]
    documents.append(Document("x", id="x", metadata={"_diptych.a": 1}))
    store.add_documents(documents)
    assert store.failed == ()
    assert [d.metadata for d in store.get_by_ids(list("0123"))] == [{"n": n} for n in range(4)]
    assert len(store.index) == 9
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    for name in ("_diptych.node", "_diptych.group", "_diptych.a"):
        assert name in warning.getMessage()
    caplog.clear()
    store.add_images([RED], [{"_diptych": {"group": "g", "order": 3}}])
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]
    store.add_images([RED], [{"_diptych": {"url": "http://x"}}])
    assert "_diptych.url" in caplog.text
