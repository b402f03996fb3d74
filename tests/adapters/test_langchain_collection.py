"""What users of Chroma and FAISS expect besides searching: vectors they have, pages, updates, a reset."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from manual import BLUE, RED

from diptych import Document as Stored
from diptych import Image, ToyEncoder
from diptych.errors import DocumentError, FilterError, InvalidArgument, MediaError, VectorError
from diptych.langchain import DiptychRetriever, DiptychVectorStore, image_document
from diptych.langchain.placeholder import placeholder
from diptych.maintenance import verify
from stubs import StubImage, StubText, hashed_rows, png

TEXTS = ["a red pump", "a blue valve", "spare parts", "the red hose"]


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


async def call(asynchronous, store, name, *args, **options):
    """Call a method, or its asynchronous twin."""
    if asynchronous:
        return await getattr(store, f"a{name}")(*args, **options)
    return getattr(store, name)(*args, **options)


@pytest.fixture
def stubs():
    return DiptychVectorStore(StubText(), image_encoder=StubImage())


@pytest.fixture
def store():
    store = DiptychVectorStore(ToyEncoder())
    store.add_texts(TEXTS, [{"n": n} for n in range(4)], ids=list("abcd"))
    store.add_images([RED, BLUE], [{"n": 4}, {"n": 5}], ["e", "f"], texts=["Fig. 1: a pump", None])
    return store


def reset(store):
    for encoder in (store.index.text_encoder, store.index.image_encoder):
        encoder.calls.clear()


@pytest.mark.parametrize("asynchronous", [False, True])
class TestVectorsOneHas:
    async def test_texts_as_in_faiss(self, asynchronous, stubs):
        rows = np.arange(48, dtype=np.float64).reshape(3, 16) + 1
        pairs = zip(["one", "two", "three"], rows.tolist(), strict=True)
        given = await call(
            asynchronous, stubs, "add_embeddings", pairs, [{"n": 1}, {}, {}], list("123")
        )
        assert given == ["1", "2", "3"]
        np.testing.assert_allclose(stubs.index.text_index.vectors(given), unit(rows), atol=1e-6)
        assert [(d.text, d.metadata) for d in stubs.index.get()] == [
            ("one", {"n": 1}), ("two", {}), ("three", {})
        ]  # fmt: skip
        assert not [
            t for texts in stubs.index.text_encoder.calls for t in texts if t in ("one", "two")
        ]
        (found,) = stubs.similarity_search_by_vector(rows[1] * 9, k=1)
        assert found.id == "2"

    async def test_pictures_and_texts_that_belong_together(self, asynchronous, stubs):
        text, image = np.eye(16)[:2], np.eye(12)[:2]
        await call(
            asynchronous, stubs, "add_embeddings", [("a pump", text[0]), None], ids=["1", "2"],
            image_embeddings=[(RED, image[0]), (BLUE, image[1])],
        )  # fmt: skip
        assert [(d.text, d.image) for d in stubs.index.get()] == [
            ("a pump", Image(RED)), (None, Image(BLUE))
        ]  # fmt: skip
        np.testing.assert_allclose(stubs.index.image_index.vectors(["1", "2"]), image, atol=1e-6)
        np.testing.assert_allclose(stubs.index.text_index.vectors(["1"]), text[:1], atol=1e-6)
        assert stubs.get_by_ids(["2"])[0].metadata["image_sha256"] == Image(BLUE).sha256
        assert Image(RED).sha256 not in str(stubs.index.image_encoder.calls)
        await call(
            asynchronous, stubs, "add_embeddings", image_embeddings=[(RED, image[1])], ids=["3"]
        )
        np.testing.assert_allclose(stubs.index.image_index.vectors(["3"]), image[1:], atol=1e-6)

    async def test_a_vector_that_is_left_out_is_made(self, asynchronous, stubs):
        pairs = [("one", None), ("two", np.eye(16)[1])]
        await call(asynchronous, stubs, "add_embeddings", pairs, ids=["1", "2"])
        expected = [hashed_rows(["one"], 16, "stub-text")[0], np.eye(16)[1]]
        np.testing.assert_allclose(stubs.index.text_index.vectors(["1", "2"]), expected, atol=1e-6)

    async def test_single_bad_ones_are_said(self, asynchronous, stubs):
        good = [1.0] * 16
        pairs = [
            ("one", good), ("two", [math.nan] * 16), ("three", [0.0] * 16), ("four", [1.0] * 3),
            ("five", "words"), ("six", [[1.0], [2.0, 3.0]]), (" ", good), "seven", ("eight",),
            (9, good), ("ten", good), None,
        ]  # fmt: skip
        ids = [str(at) for at in range(len(pairs))]
        assert await call(asynchronous, stubs, "add_embeddings", pairs, ids=ids) == ids
        assert stubs.index.ids() == ["0", "10"]
        assert [failure.id for failure in stubs.failed] == [*ids[1:10], "11"]
        with pytest.raises(VectorError, match=r"expected \(1, 16\)"):
            await call(asynchronous, stubs, "add_embeddings", [("x", [1.0] * 3)])
        pairs = [("https://x.org/a.png", [1.0] * 12)]
        with pytest.raises(MediaError, match="never fetches"):
            await call(asynchronous, stubs, "add_embeddings", image_embeddings=pairs)

    async def test_wrong_lists_are_refused(self, asynchronous, stubs):
        good = [("a", [1.0] * 16)]
        for options, words in (
            ({}, "Nothing was given"),
            ({"text_embeddings": good, "image_embeddings": []}, "1 text_embeddings and 0 image"),
            ({"text_embeddings": good, "ids": ["1", "2"]}, "2 ids were given for 1"),
            ({"text_embeddings": good, "metadatas": [{}, {}]}, "2 metadatas were given for 1"),
            ({"text_embeddings": 3}, "one int"),
        ):
            with pytest.raises(InvalidArgument, match=words):
                await call(asynchronous, stubs, "add_embeddings", **options)
        assert len(stubs.index) == 0
        assert await call(asynchronous, stubs, "add_embeddings", []) == []

    async def test_another_vector_replaces_and_the_same_does_not(self, asynchronous, stubs):
        for row in np.eye(16)[:2]:
            await call(asynchronous, stubs, "add_embeddings", [("one", row)], ids=["1"])
            np.testing.assert_allclose(stubs.index.text_index.vectors(["1"])[0], row, atol=1e-6)
        assert len(stubs.index) == 1

    async def test_a_store_made_of_them(self, asynchronous):
        model = Mock(wraps=DeterministicFakeEmbedding(size=4))
        make = (
            DiptychVectorStore.afrom_embeddings
            if asynchronous
            else DiptychVectorStore.from_embeddings
        )
        done = make(
            [("one", [1, 0, 0, 0]), ("two", [0, 2, 0, 0])], model, [{"n": 1}, {"n": 2}], ["1", "2"]
        )
        store = await done if asynchronous else done
        assert [(d.text, d.metadata["n"]) for d in store.index.get()] == [("one", 1), ("two", 2)]
        np.testing.assert_allclose(
            store.index.text_index.vectors(["1", "2"]), np.eye(4)[:2], atol=1e-6
        )


@pytest.mark.parametrize("asynchronous", [False, True])
class TestGetting:
    async def test_the_form_of_chroma(self, asynchronous, store):
        got = await call(asynchronous, store, "get", ["b", "no", "a"])
        assert got == {
            "ids": ["b", "a"],
            "embeddings": None,
            "documents": ["a blue valve", "a red pump"],
            "metadatas": [{"n": 1}, {"n": 0}],
            "uris": None,
            "data": None,
            "included": ["metadatas", "documents"],
        }
        assert (await call(asynchronous, store, "get", "c"))["documents"] == ["spare parts"]

    async def test_pages_in_the_order_of_addition(self, asynchronous, store):
        every = (await call(asynchronous, store, "get"))["ids"]
        assert every == list("abcdef")
        for limit in (0, 1, 2, 4, 100):
            for offset in (None, 0, 1, 3, 5, 6, 100):
                page = await call(asynchronous, store, "get", limit=limit, offset=offset)
                assert page["ids"] == every[(offset or 0) : (offset or 0) + limit]
        assert (await call(asynchronous, store, "get", offset=4))["ids"] == ["e", "f"]
        where = {"n": {"$gte": 1}}
        page = await call(asynchronous, store, "get", where=where, limit=2, offset=1)
        assert page["ids"] == ["c", "d"]
        page = await call(asynchronous, store, "get", list("fedcba"), where, 2, 1)
        assert page["ids"] == ["e", "d"]
        page = await call(asynchronous, store, "get", where=lambda d: d.metadata["n"] % 2, limit=2)
        assert page["ids"] == ["b", "d"]

    async def test_what_is_included(self, asynchronous, store):
        got = await call(
            asynchronous,
            store,
            "get",
            include=["documents", "embeddings", "uris"],
            where={"n": {"$gte": 3}},
        )
        assert got["documents"] == ["the red hose", "Fig. 1: a pump", placeholder(Image(BLUE))]
        assert got["metadatas"] is None
        assert got["uris"] == [None, None, None]
        encoder = ToyEncoder()
        texts = encoder.encode_document(["the red hose", "Fig. 1: a pump"])
        expected = [*texts, encoder.encode_image([Image(BLUE)])[0]]
        np.testing.assert_allclose(got["embeddings"], expected, atol=1e-6)
        assert isinstance(got["embeddings"][0][0], float)
        nothing = await call(asynchronous, store, "get", [], include=["embeddings", "documents"])
        assert (nothing["ids"], nothing["embeddings"], nothing["documents"]) == ([], [], [])
        ids = await call(asynchronous, store, "get", include=[])
        assert (len(ids["ids"]), ids["documents"], ids["metadatas"]) == (6, None, None)

    async def test_what_the_text_says(self, asynchronous, store):
        for where_document, expected in (
            ({"$contains": "red"}, ["a", "d"]),
            ({"$contains": "Red"}, []),
            ({"$not_contains": "red"}, ["b", "c", "e", "f"]),
            ({"$and": [{"$contains": "red"}, {"$not_contains": "pump"}]}, ["d"]),
            ({"$or": [{"$contains": "valve"}, {"$contains": "Fig."}]}, ["b", "e"]),
            ({"$regex": r"^a \w+ "}, ["a", "b"]),
            ({"$not_regex": r"^a \w+ "}, ["c", "d", "e", "f"]),
            ({}, list("abcdef")),
        ):
            got = await call(asynchronous, store, "get", where_document=where_document)
            assert got["ids"] == expected
        both = {"where": {"n": {"$gt": 0}}, "where_document": {"$contains": "red"}}
        assert (await call(asynchronous, store, "get", **both))["ids"] == ["d"]
        assert (await call(asynchronous, store, "get", list("da"), **both))["ids"] == ["d"]

    async def test_wrong_arguments_are_refused(self, asynchronous, store):
        for options, kind, words in (
            ({"limit": -1}, InvalidArgument, "limit=-1"),
            ({"offset": -1}, InvalidArgument, "offset=-1"),
            ({"offset": "3"}, InvalidArgument, "offset='3'"),
            ({"include": ["distances"]}, InvalidArgument, "asks for 'distances'.*expected some of"),
            ({"include": "documents"}, InvalidArgument, "one string"),
            ({"ids": [3]}, InvalidArgument, r"ids\[0\] is 3"),
            ({"where": {"$x": 1}}, FilterError, "Unknown"),
            ({"where_document": {"$x": "a"}}, FilterError, "Unknown"),
            ({"where_document": {"$contains": 3}}, FilterError, "expected a string"),
            ({"where_document": "pump"}, FilterError, "expected conditions"),
        ):
            with pytest.raises(kind, match=words):
                await call(asynchronous, store, "get", **options)


CHROMA_FILTERS = [
    ({"n": 2}, [2]),
    ({"n": {"$eq": 2}}, [2]),
    ({"n": {"$ne": 2}}, [0, 1, 3, 4]),
    ({"n": {"$gt": 1}}, [2, 3]),
    ({"n": {"$gte": 2}}, [2, 3]),
    ({"n": {"$lt": 1}}, [0]),
    ({"n": {"$lte": 1}}, [0, 1]),
    ({"n": {"$in": [0, 3, 9]}}, [0, 3]),
    ({"n": {"$nin": [0, 3]}}, [1, 2, 4]),
    ({"s": {"$in": ["x", "y"]}}, [0, 1]),
    ({"$and": [{"n": {"$gt": 0}}, {"s": "x"}]}, []),
    ({"$or": [{"n": 3}, {"s": "y"}]}, [1, 3]),
    ({"tags": {"$contains": "pump"}}, [0, 1]),
    ({"tags": {"$contains": 7}}, [1]),
    ({"tags": {"$not_contains": "pump"}}, [2, 3, 4]),
    ({"tags": {"$not_contains": 7}}, [0, 2, 3, 4]),
    ({"$and": [{"$or": [{"n": 0}, {"n": 1}]}, {"n": {"$ne": 0}}]}, [1]),
    ({"b": True}, [3]),
    ({"f": {"$gt": 0.25}}, [3]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CHROMA_FILTERS)))
def test_every_operator_of_chroma_means_what_it_means_there(case):
    where, expected = CHROMA_FILTERS[case]
    store = DiptychVectorStore(ToyEncoder())
    metadatas = [
        {"n": 0, "s": "x", "tags": ["pump"]}, {"n": 1, "s": "y", "tags": ["a", "pump", 7]},
        {"n": 2, "s": "z"}, {"n": 3, "b": True, "f": 0.5}, {"other": 1},
    ]  # fmt: skip
    store.add_texts(list("abcde"), metadatas, ids=list("01234"))
    assert store.get(where=where)["ids"] == [str(at) for at in expected]
    assert {d.id for d in store.similarity_search("a", 9, filter=where)} == set(map(str, expected))


@pytest.mark.parametrize("asynchronous", [False, True])
class TestDeleting:
    async def test_by_what_the_text_says_and_by_where(self, asynchronous, store):
        assert (
            await call(asynchronous, store, "delete", where_document={"$contains": "red"}) is True
        )
        assert store.index.ids() == ["b", "c", "e", "f"]
        await call(asynchronous, store, "delete", where={"n": 1})
        assert store.index.ids() == ["c", "e", "f"]
        await call(asynchronous, store, "delete", ["c", "f"], filter={"n": {"$gt": 2}})
        assert store.index.ids() == ["c", "e"]

    async def test_an_unknown_argument_alone_deletes_nothing(self, asynchronous, store):
        for options in ({"expr": "n == 1"}, {"where_document": {}}, {"delete_all": False}):
            with pytest.raises(InvalidArgument, match=f"given {next(iter(options))} and neither"):
                await call(asynchronous, store, "delete", **options)
        assert len(store.index) == 6
        assert await call(asynchronous, store, "delete", ["a"], refresh=True) is True
        assert store.index.ids() == list("bcdef")

    async def test_one_id_as_chroma_takes_it(self, asynchronous, store):
        assert await call(asynchronous, store, "delete", "c") is True
        assert await call(asynchronous, store, "delete", ids="no") is True
        assert store.index.ids() == list("abdef")

    @pytest.mark.parametrize("name", ["delete_collection", "reset_collection"])
    async def test_a_reset_store_is_empty_and_is_filled_again(self, asynchronous, name, tmp_path):
        path = tmp_path / "kb"
        store = DiptychVectorStore(ToyEncoder(), path=path)
        other = DiptychVectorStore(ToyEncoder(), path=path, namespace="other")
        other.add_texts(["stays"])
        store.add_texts(TEXTS, ids=list("abcd"))
        store.add_images([RED], ids=["e"])
        await call(asynchronous, store, name)
        assert len(store.index) == 0
        assert store.similarity_search("pump") == []
        files = [
            p for p in path.rglob("*") if p.is_file() and "other" not in str(p.relative_to(path))
        ]
        assert not any(RED in p.read_bytes() or b"spare parts" in p.read_bytes() for p in files)
        store.add_texts(["again"], ids=["a"])
        assert [d.page_content for d in store.similarity_search("again")] == ["again"]
        store.index.close()
        other.index.close()
        assert verify(path, deep=True).problems == ()
        again = DiptychVectorStore(path=path)
        assert again.get()["documents"] == ["again"]
        assert DiptychVectorStore(path=path, namespace="other").get()["documents"] == ["stays"]
        again.index.close()

    async def test_a_store_in_memory_or_a_new_one(self, asynchronous, store, tmp_path):
        for one in (
            store,
            DiptychVectorStore(ToyEncoder()),
            DiptychVectorStore(ToyEncoder(), path=tmp_path / "n"),
        ):
            await call(asynchronous, one, "reset_collection")
            one.add_texts(["x"], ids=["1"])
            assert one.index.ids() == ["1"]
            one.index.close()


@pytest.mark.parametrize("asynchronous", [False, True])
class TestUpdating:
    async def test_text_and_metadata_are_replaced(self, asynchronous, store):
        document = Document("a green pump", metadata={"m": 1}, id="another")
        assert await call(asynchronous, store, "update_document", "a", document) is None
        assert store.get_by_ids(["a"]) == [Document("a green pump", metadata={"m": 1}, id="a")]
        expected = ToyEncoder().encode_document(["a green pump"])
        np.testing.assert_allclose(store.index.text_index.vectors(["a"]), expected, atol=1e-6)
        assert len(store.index) == 6
        assert document.id == "another"

    async def test_picture_group_order_and_reserved_data_stay(self, asynchronous, store):
        store.index.upsert([
            Stored("old", Image(RED), "g", {"a": 1}, "sec", 3, reserved={"node": "{}"})
        ])  # fmt: skip
        await call(asynchronous, store, "update_document", "g", Document("new", metadata={"b": 2}))
        (found,) = store.index.get(["g"])
        assert found == Stored(
            "new",
            Image(RED),
            id="g",
            group="sec",
            order=3,
            reserved={"node": "{}"},
            metadata={"b": 2},
        )

    async def test_captions_of_pictures(self, asynchronous, store):
        pictures = {
            "image_sha256",
            "image_path",
            "image_name",
            "image_mime_type",
            "image_width",
            "image_height",
        }
        await call(
            asynchronous, store, "update_documents", ["e", "f"],
            [Document(" ", metadata={"x": 1}), Document("Fig. 2: a valve")],
        )  # fmt: skip
        caption_less, captioned = store.index.get(["e", "f"])
        assert (caption_less.text, caption_less.image) == (None, Image(RED))
        assert set(caption_less.metadata) == {*pictures, "x"}
        assert (captioned.text, captioned.image) == ("Fig. 2: a valve", Image(BLUE))
        assert set(captioned.metadata) == pictures
        (shown,) = store.get_by_ids(["e"])
        await call(asynchronous, store, "update_document", "e", Document(shown.page_content))
        assert store.index.get(["e"])[0].text is None

    async def test_another_picture_replaces_the_one_there(self, asynchronous, tmp_path):
        store = DiptychVectorStore(ToyEncoder(), path=tmp_path / "kb")
        store.add_images([RED, BLUE], ids=["e", "f"])
        path = tmp_path / "lime.png"
        path.write_bytes(png("lime"))
        document = image_document(path, "lime")
        await call(asynchronous, store, "update_document", "e", document)
        assert store.index.get(["e"])[0].image == Image(path)
        copied = Document("blue", metadata={**image_document(path).metadata, "x": 1})
        await call(asynchronous, store, "update_document", "f", copied)
        assert store.index.get(["f"])[0].image == Image(path)
        path.unlink()  # the index has a copy of the picture that the metadata names
        await call(
            asynchronous,
            store,
            "update_document",
            "f",
            copied.model_copy(update={"page_content": "y"}),
        )
        assert (store.failed, store.index.get(["f"])[0].text) == ((), "y")
        store.index.close()

    async def test_what_a_search_found_is_changed_and_written_back(self, asynchronous, store):
        for found in (
            store.similarity_search("a blue valve", k=1, mode="text")[0],
            DiptychRetriever(index=store.index, k=1, modalities=["text"]).invoke("a blue valve")[0],
        ):
            assert found.id == "b"
            found.page_content += "!"
            found.metadata["checked"] = True
            await call(asynchronous, store, "update_document", found.id, found)
            (stored,) = store.index.get(["b"])
            assert (stored.text, stored.metadata) == (found.page_content, {"n": 1, "checked": True})
            store.update_document("b", Document("a blue valve", metadata={"n": 1}))
        picture = store.similarity_search_by_image(BLUE, k=1)[0]
        picture.metadata["checked"] = True
        await call(asynchronous, store, "update_document", "f", picture)
        (stored,) = store.index.get(["f"])
        assert (stored.text, stored.image) == (None, Image(BLUE))
        assert stored.metadata == picture.metadata

    async def test_ids_that_are_not_stored_are_said_and_not_added(
        self, asynchronous, store, caplog
    ):
        documents = [Document("new"), Document("x"), Document("y"), Document("z")]
        await call(asynchronous, store, "update_documents", ["a", "no", 3, "\ud800"], documents)
        assert [failure.id for failure in store.failed] == ["no", "3", "\ud800"]
        assert "no document 'no' to update" in caplog.text
        assert len(store.index) == 6
        with pytest.raises(InvalidArgument, match="no document 'no' to update.*add_documents"):
            await call(asynchronous, store, "update_document", "no", Document("x"))
        with pytest.raises(InvalidArgument, match="1 ids were given for 2 items"):
            await call(asynchronous, store, "update_documents", ["a"], documents[:2])

    async def test_a_bad_one_does_not_stop_the_others_and_loses_nothing(self, asynchronous, store):
        before = {d.id: d for d in store.index.get()}
        documents = [
            Document(" "),
            Document("x", metadata={"x": object()}),
            "no document",
            Document("good"),
        ]
        await call(asynchronous, store, "update_documents", list("abcd"), documents)
        assert [failure.id for failure in store.failed] == list("abc")
        assert store.index.get(list("abc")) == [before[i] for i in "abc"]
        assert store.index.get(["d"])[0].text == "good"
        await call(asynchronous, store, "update_document", "a", Document(""))
        assert store.index.get(["a"]) == [before["a"]]
        with pytest.raises(DocumentError, match="metadata.x"):
            await call(asynchronous, store, "update_document", "a", documents[1])

    async def test_of_several_updates_of_one_document_the_last_counts(self, asynchronous, store):
        documents = [Document("one", metadata={"x": 1}), Document("two")]
        await call(asynchronous, store, "update_documents", ["a", "a"], documents)
        assert store.get_by_ids(["a"]) == [Document("two", id="a")]

    async def test_metadata_is_merged_or_replaced_and_nothing_is_encoded(self, asynchronous, stubs):
        stubs.add_texts(["one"], [{"a": {"x": 1}, "b": 2}], ids=["1"])
        stubs.add_images([RED], [{"c": 3}], ["2"], texts=["a pump"])
        stubs.index.upsert([Stored("grouped", id="3", group="g", order=5, metadata={"a": 1})])
        vectors = stubs.index.cross_modal_index.vectors(list("123"))
        reset(stubs)
        changes = [{"a": {"y": 2}, "c": None}, {"c": 4}, {"n": 0}]
        await call(asynchronous, stubs, "update_metadata", list("123"), changes)
        one, two, three = stubs.index.get(list("123"))
        assert one.metadata == {"a": {"y": 2}, "b": 2, "c": None}
        assert (two.metadata["c"], two.metadata["image_width"], two.image) == (4, 32, Image(RED))
        assert (three.metadata, three.group, three.order) == ({"a": 1, "n": 0}, "g", 5)
        await call(asynchronous, stubs, "update_metadata", ["1", "2"], [{"z": 1}, {}], replace=True)
        one, two = stubs.index.get(["1", "2"])
        assert one.metadata == {"z": 1}
        assert {key.partition("_")[0] for key in two.metadata} == {"image"}
        assert [two.text, two.image] == ["a pump", Image(RED)]
        assert stubs.get()["ids"] == list("123")
        np.testing.assert_array_equal(stubs.index.cross_modal_index.vectors(list("123")), vectors)
        assert stubs.index.text_encoder.calls == stubs.index.image_encoder.calls == []
        assert stubs.get(where={"z": 1})["ids"] == ["1"]

    async def test_bad_metadata_is_said(self, asynchronous, store, caplog):
        changes = [{"x": object()}, 3, {"ok": 1}, {"_diptych": {"group": "g"}}, {"y": 1}]
        await call(asynchronous, store, "update_metadata", [*"abcd", "no"], changes)
        assert [failure.id for failure in store.failed] == ["a", "b", "no"]
        assert [d.metadata for d in store.index.get(list("abcd"))] == [
            {"n": 0}, {"n": 1}, {"n": 2, "ok": 1}, {"n": 3}
        ]  # fmt: skip
        assert store.index.get(["d"])[0].group is None
        assert "reserved in metadata: _diptych" in caplog.text

    async def test_only_new_texts_are_embedded_and_once(self, asynchronous):
        model = DeterministicFakeEmbedding(size=4)
        store = DiptychVectorStore(Mock(wraps=model, aembed_documents=None))

        async def awaited(texts):
            calls.append(texts)
            return model.embed_documents(texts)

        calls = []
        store._embedding.aembed_documents = awaited
        store.add_texts(["one", "two"], ids=["1", "2"])
        store._embedding.embed_documents.reset_mock()
        documents = [Document("one", metadata={"n": 1}), Document("zwei")]
        await call(asynchronous, store, "update_documents", ["1", "2"], documents)
        made = [c.args[0] for c in store._embedding.embed_documents.call_args_list]
        assert (calls, made) == (([["zwei"]], []) if asynchronous else ([], [["zwei"]]))
        expected = unit(model.embed_documents(["one", "zwei"]))
        np.testing.assert_allclose(store.index.text_index.vectors(["1", "2"]), expected, atol=1e-6)


async def test_concurrent_updates_of_one_document_are_all_kept(tmp_path):
    store = DiptychVectorStore(ToyEncoder(), path=tmp_path / "kb")
    store.add_texts(["one"], ids=["1"])
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: store.update_metadata(["1"], [{f"k{n}": n}]), range(12)))
    assert store.get_by_ids(["1"])[0].metadata == {f"k{n}": n for n in range(12)}
    await asyncio.gather(*(store.aupdate_metadata(["1"], [{f"a{n}": n}]) for n in range(6)))
    assert len(store.get_by_ids(["1"])[0].metadata) == 18
    store.index.close()
