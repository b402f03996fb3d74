import threading

import numpy as np
import pytest

from diptych import Document, Image, MultimodalIndex, Query
from diptych.errors import (
    ClosedError,
    DocumentError,
    EncoderMismatch,
    FilterError,
    InvalidArgument,
    VectorError,
)
from pace import join
from stubs import StubImage, StubJoint, StubText, hashed_rows, png

RED, BLUE, GREEN = png("red"), png("blue"), png("green")
CORPUS = [
    Document("a red pump", id="t1", metadata={"lang": "en", "n": 1}),
    Document(None, Image(RED), id="i1", metadata={"lang": "en", "n": 2}),
    Document("the blue pump", Image(BLUE), id="b1", metadata={"lang": "de", "n": 3}),
]


@pytest.fixture(params=["memory", "folder"])
def path(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "index"


def new_index(path=None, **options):
    return MultimodalIndex(StubText(), StubJoint(), path=path, **options)


class TestAdd:
    def test_each_document_is_in_the_indexes_of_what_it_has(self, path):
        index = new_index(path)
        report = index.add(CORPUS)
        assert (report.added, report.updated, report.skipped, report.failed) == (3, 0, 0, ())
        assert (len(index), len(index.text_index), len(index.image_index)) == (3, 2, 2)
        assert len(index.cross_modal_index) == 3

    def test_vectors_are_those_of_the_encoders(self, path):
        index = new_index(path)
        index.add(CORPUS)
        text = index.text_index.vectors(["t1", "i1", "b1"])
        np.testing.assert_allclose(
            text[[0, 2]], hashed_rows(["a red pump", "the blue pump"], 16, "stub-text"), rtol=1e-6
        )
        assert np.isnan(text[1]).all()
        image = index.image_index.vectors(["i1", "b1", "nobody"])
        np.testing.assert_allclose(image[:2], hashed_rows([RED, BLUE], 12, "stub-image"), rtol=1e-6)
        assert np.isnan(image[2]).all()

    def test_cross_modal_score_is_the_sum_of_both_cosines(self, path):
        index = new_index(path)
        index.add(CORPUS)
        hits = {h.id: h.score for h in index.search("a red pump", 3)["cross_modal"]}
        query_text = hashed_rows(["a red pump"], 16, "stub-text")[0]
        query_image = hashed_rows(["a red pump"], 12, "stub-image")[0]
        blue = hashed_rows(["the blue pump"], 16, "stub-text")[0] @ query_text
        blue += hashed_rows([BLUE], 12, "stub-image")[0] @ query_image
        assert hits["b1"] == pytest.approx(blue, abs=1e-5)
        assert hits["t1"] == pytest.approx(1.0, abs=1e-5)

    def test_unchanged_content_is_skipped_and_not_encoded_again(self, path):
        index = new_index(path)
        index.add(CORPUS)
        calls = len(index.text_encoder.calls)
        report = index.add(CORPUS)
        assert (report.added, report.skipped) == (0, 3)
        assert len(index.text_encoder.calls) == calls

    def test_changed_content_is_refused_by_add_and_replaced_by_upsert(self, path):
        index = new_index(path)
        index.add(CORPUS)
        changed = Document("another text", id="t1")
        with pytest.raises(
            DocumentError, match="'t1' is stored already with other content. Use upsert"
        ):
            index.add([Document("new", id="new"), changed])
        assert index.get(["t1"])[0].text == "a red pump"
        assert "new" not in index
        assert index.upsert([changed]).updated == 1
        assert index.get(["t1"])[0].text == "another text"
        assert len(index) == 3
        assert (
            index.search("pump", 5)["lexical"] == index.search("pump", 5, where={"n": 3})["lexical"]
        )

    def test_what_the_index_returns_counts_as_unchanged(self, path):
        index = new_index(path)
        index.add(CORPUS)
        assert index.add(index.get()).skipped == 3

    def test_new_metadata_is_stored_without_encoding(self, path):
        index = new_index(path)
        index.add(CORPUS)
        calls = len(index.text_encoder.calls)
        assert index.upsert([Document("a red pump", id="t1", metadata={"lang": "fr"})]).updated == 1
        assert len(index.text_encoder.calls) == calls
        assert index.ids({"lang": "fr"}) == ["t1"]
        assert index.ids({"n": 1}) == []

    def test_same_document_twice_counts_once_but_two_of_one_id_are_refused(self, path):
        index = new_index(path)
        report = index.add([CORPUS[0], CORPUS[0]])
        assert (report.added, report.skipped) == (1, 1)
        with pytest.raises(
            DocumentError, match="Two documents of one batch have the id 'x'.*number 2"
        ):
            index.add([Document("one", id="x"), Document("two", id="x")])
        assert "x" not in index

    def test_unreadable_pictures_are_reported_and_the_rest_goes_on(self, path, tmp_path):
        (tmp_path / "bad.png").write_bytes(b"no picture at all")
        cut = RED[: len(RED) // 2]
        index = new_index(path)
        report = index.add(
            [
                CORPUS[0],
                Document("with a bad picture", Image(tmp_path / "bad.png"), id="bad"),
                Document(None, Image(tmp_path / "gone.png"), id="gone"),
                Document(None, Image(cut), id="cut"),
                CORPUS[1],
            ]
        )
        assert report.added == 2
        assert {failure.id for failure in report.failed} == {"bad", "gone", "cut"}
        assert all(failure.reason for failure in report.failed)
        assert sorted(index.ids()) == ["i1", "t1"]

    def test_batches_are_committed_one_by_one(self, path):
        index = new_index(path)

        def documents():
            yield from (Document(f"text {i}", id=f"d{i}") for i in range(5))
            raise RuntimeError("the reader broke")

        with pytest.raises(RuntimeError, match="the reader broke"):
            index.add(documents(), batch_size=2)
        assert index.ids() == ["d0", "d1", "d2", "d3"]

    def test_given_vectors_are_not_made_again(self, path):
        index = new_index(path)
        given = np.zeros(16, np.float32)
        given[3] = 2.0
        index.add(CORPUS, text_vectors={"t1": given})
        assert index.text_encoder.calls[-1] == ["the blue pump"]
        assert all(CORPUS[0].text not in call for call in index.text_encoder.calls)
        assert index.text_index.vectors(["t1"])[0, 3] == 1.0

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (lambda n: np.full((n, 16), np.nan), r"NaN or infinite values in row 0 of 2"),
            (lambda n: np.zeros((n, 16)), r"zero vector in row 0 of 2"),
            (lambda n: np.ones((n, 15)), r"shape \(2, 15\), expected \(2, 16\)"),
            (lambda n: np.ones((n + 1, 16)), r"shape \(3, 16\), expected \(2, 16\)"),
            (lambda n: [[1.0], [1.0, 2.0]], "no rectangular array of numbers"),
            (lambda n: None, "no rectangular array|shape"),
        ],
    )
    def test_unusable_vectors_store_nothing_of_the_batch(self, path, rows, message):
        index = new_index(path)
        index.add([Document("before", id="before")])
        index.text_encoder.encode_document = lambda texts: rows(len(texts))
        with pytest.raises(VectorError, match=f"({message}).*Nothing of this batch was stored"):
            index.add(CORPUS)
        assert index.ids() == ["before"]
        index.text_encoder.encode_query = lambda texts: rows(2 * len(texts))
        with pytest.raises(VectorError, match="StubText") as caught:
            index.search("a question")
        assert "stored" not in str(caught.value)

    def test_new_metadata_waits_for_the_rest_of_its_batch(self, path):
        index = new_index(path)
        index.add([Document("same", id="a", metadata={"n": 1})])
        index.text_encoder.encode_document = lambda texts: np.full((len(texts), 16), np.nan)
        batch = [Document("same", id="a", metadata={"n": 2}), Document("new", id="b")]
        with pytest.raises(VectorError):
            index.upsert(batch)
        assert index.get(["a"])[0].metadata == {"n": 1}
        del index.text_encoder.encode_document
        report = index.upsert(batch)
        assert (report.added, report.updated) == (1, 1)
        assert index.ids({"n": 2}) == ["a"]
        report = index.upsert([Document("same", id="a", metadata={"n": 3})])
        assert (report.updated, index.ids({"n": 3})) == (1, ["a"])

    def test_what_is_no_document_is_refused(self):
        with pytest.raises(InvalidArgument, match=r"given a str; expected diptych.Document"):
            new_index().add(["just a text"])
        with pytest.raises(InvalidArgument, match="batch_size=0"):
            new_index().add(CORPUS, batch_size=0)
        with pytest.raises(InvalidArgument, match=r"one Document; expected several.*list"):
            new_index().add(CORPUS[0])


class TestReading:
    def test_documents_come_back_as_they_were(self, path):
        metadata = {"nested": {"a": [1, 2.5, None, "é"]}, "lc": 1, "type": "secret", "big": 2**70}
        document = Document("text\nwith lines", Image(RED, name="red.png"), "id", metadata, "g", 7)
        index = new_index(path)
        index.add([document])
        (back,) = index.get(["id"])
        assert back == document
        assert back.image.read() == RED
        assert back.image.name == "red.png"

    def test_get_keeps_the_order_asked_and_leaves_out_what_is_missing(self, path):
        index = new_index(path)
        index.add(CORPUS)
        assert [d.id for d in index.get(["b1", "nobody", "t1"])] == ["b1", "t1"]
        assert [d.id for d in index.get(where={"lang": "en"})] == ["t1", "i1"]
        assert [d.id for d in index.get(limit=2)] == ["t1", "i1"]
        assert index.get(["t1", "b1"], where={"lang": "de"})[0].id == "b1"
        assert index.get([]) == []

    def test_text_reaches_pictures_through_the_joint_tower(self, path):
        index = new_index(path)
        index.add(CORPUS)
        hits = index.search("hex:" + RED.hex(), 2, modalities=["image"])["image"]
        assert hits[0].id == "i1"
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)

    def test_picture_finds_pictures_and_nothing_without_a_bridge_to_texts(self, path):
        index = MultimodalIndex(StubText(), StubImage(), path=path)
        index.add(CORPUS)
        lists = index.search(Image(BLUE), 2)
        assert lists["image"][0].id == "b1"
        assert "text" not in lists
        assert "lexical" not in lists

    def test_filter_is_applied_before_the_search(self, path):
        index = new_index(path)
        index.add(
            [Document(f"pump {i}", id=f"d{i}", metadata={"rare": i % 100 == 0}) for i in range(300)]
        )
        lists = index.search("pump 7", 3, where={"rare": True})
        for name in ("text", "lexical", "cross_modal"):
            assert {hit.id for hit in lists[name]} == {"d0", "d100", "d200"}, name

    def test_text_and_picture_query_searches_with_both(self, path):
        index = new_index(path)
        index.add(CORPUS)
        lists = index.search(Query("a red pump", Image(BLUE)), 1)
        assert (lists["text"][0].id, lists["image"][0].id) == ("t1", "b1")

    def test_view_searches_one_index(self, path):
        index = new_index(path)
        index.add(CORPUS)
        vectors = hashed_rows([RED, BLUE], 12, "stub-image")
        hits = index.image_index.search(vectors, 1)
        assert [[hit.id for hit in row] for row in hits] == [["i1"], ["b1"]]
        assert index.image_index.search(vectors[:1], 5, where={"lang": "de"})[0][0].id == "b1"
        with pytest.raises(VectorError, match=r"shape \(1, 3\), expected \(1, 12\)"):
            index.image_index.search(np.ones((1, 3)), 1)

    def test_empty_index_answers_with_nothing(self, path):
        index = new_index(path)
        assert len(index) == 0
        assert index.get() == []
        assert index.search("pump", 3) == {}
        assert index.text_index.search(np.ones((1, 16)), 3) == [[]]
        assert index.info().documents == 0
        if path is not None:
            assert not path.exists()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda i: i.search("x", 0), "k=0 was given"),
            (lambda i: i.search("x", modalities=[]), "modalities="),
            (lambda i: i.search("x", modalities=["audio"]), "expected some of 'text', 'image'"),
            (lambda i: i.search("  "), "needs text, an image, or both"),
            (lambda i: i.search("x", vectors={"smell": [1]}), "query vector is given for 'smell'"),
            (lambda i: i.get("t1"), "is one string; expected a list"),
            (lambda i: i.delete(), "delete needs ids"),
        ],
    )
    def test_meaningless_calls_are_refused(self, call, message):
        index = new_index()
        index.add(CORPUS)
        with pytest.raises(InvalidArgument, match=message):
            call(index)

    def test_unknown_filter_operator_is_refused(self, path):
        index = new_index(path)
        index.add(CORPUS)
        with pytest.raises(FilterError, match=r"Unknown operator '\$regex'"):
            index.search("x", where={"lang": {"$regex": "e.*"}})


class TestDelete:
    def test_by_id_by_filter_and_by_both(self, path):
        index = new_index(path)
        index.add(CORPUS)
        assert index.delete(["t1", "nobody"]) == 1
        assert index.delete(["i1"], where={"lang": "de"}) == 0
        assert index.delete(where={"lang": "de"}) == 1
        assert index.ids() == ["i1"]
        assert len(index.text_index) == 0
        assert [h.id for h in index.search("pump", 5)["cross_modal"]] == ["i1"]
        assert index.search("pump", 5)["lexical"] == []

    def test_clear_removes_everything(self, path):
        index = new_index(path)
        index.add(CORPUS)
        assert index.clear() == 3
        assert len(index) == 0
        index.add(CORPUS)
        assert len(index) == 3


class TestPersistence:
    def test_reopening_needs_only_the_path_and_the_encoders(self, tmp_path):
        index = new_index(tmp_path / "index", settings={"models": "stub"})
        index.add(CORPUS)
        before = index.search(Query("a red pump", Image(BLUE)), 3)
        index.close()
        with new_index(tmp_path / "index") as again:
            assert again.search(Query("a red pump", Image(BLUE)), 3) == before
            assert again.get() == CORPUS
            assert again.settings == {"models": "stub"}

    def test_index_can_be_moved_with_its_pictures(self, tmp_path):
        picture = tmp_path / "red.png"
        picture.write_bytes(RED)
        with new_index(tmp_path / "one") as index:
            index.add([Document("red", Image(picture), id="r")])
        picture.unlink()
        (tmp_path / "one").rename(tmp_path / "two")
        with new_index(tmp_path / "two") as moved:
            assert moved.get(["r"])[0].image.read() == RED

    def test_referenced_picture_that_changed_is_noticed(self, tmp_path):
        from diptych.errors import MediaError

        picture = tmp_path / "red.png"
        picture.write_bytes(RED)
        with new_index(tmp_path / "index", images="reference") as index:
            index.add([Document("red", Image(picture), id="r")])
            assert not (tmp_path / "index" / "assets").exists()
            picture.write_bytes(BLUE)
            with pytest.raises(MediaError, match="changed since it was indexed"):
                index.get(["r"])[0].image.read()

    @pytest.mark.parametrize(
        ("text", "image", "message"),
        [
            (StubText(fingerprint="text-2"), StubJoint(), "text encoder.*text-2.*reembed"),
            (StubText(dim=17), StubJoint(), r"'stub-text' \(16-d.*'stub-text' \(17-d"),
            (StubText(space="other"), StubJoint(), "'stub-text'.*'other'"),
            (StubText(), StubJoint(fingerprint="image-2"), "image encoder.*image-2"),
        ],
    )
    def test_other_model_is_refused_also_of_equal_dimension(self, tmp_path, text, image, message):
        with new_index(tmp_path / "index") as index:
            index.add(CORPUS)
        with pytest.raises(EncoderMismatch, match=message):
            MultimodalIndex(text, image, path=tmp_path / "index")
        with new_index(tmp_path / "index") as again:
            assert len(again) == 3

    def test_index_opens_without_encoders_to_look_and_delete(self, tmp_path):
        with new_index(tmp_path / "index") as index:
            index.add(CORPUS)
        with MultimodalIndex(path=tmp_path / "index") as index:
            assert index.info().vectors == {"text": 2, "image": 2, "cross_modal": 3}
            assert [hit.id for hit in index.search("red", 5)["lexical"]] == ["t1"]
            assert index.delete(["t1"]) == 1
            with pytest.raises(InvalidArgument, match="opened without a text encoder"):
                index.add([Document("x")])

    def test_second_writer_of_the_process_is_let_in(self, tmp_path):
        index = new_index(tmp_path / "index")
        index.add(CORPUS)
        other = new_index(tmp_path / "index")
        other.add([Document("x", id="x")])
        assert other.ids() == index.ids() == ["t1", "i1", "b1", "x"]

    def test_closed_index_says_so(self, path):
        index = new_index(path)
        index.add(CORPUS)
        index.close()
        with pytest.raises(ClosedError, match="has been closed"):
            index.search("x")


class TestConstruction:
    def test_what_is_no_encoder_is_refused_with_what_is_missing(self):
        with pytest.raises(
            InvalidArgument, match="text_encoder is a StubImage, which lacks encode_"
        ):
            MultimodalIndex(StubImage(), StubImage())
        with pytest.raises(InvalidArgument, match="image_encoder is a str, which lacks dim"):
            MultimodalIndex(StubText(), "clip")
        with pytest.raises(InvalidArgument, match="images='link' is unknown; expected \"copy\""):
            new_index(images="link")

    def test_text_alone_without_any_encoder_is_found_by_words(self, path):
        index = MultimodalIndex(path=path)
        index.add([Document("a red pump", id="t1"), Document("a blue wall", id="t2")])
        assert [hit.id for hit in index.search("pump")["lexical"]] == ["t1"]

    def test_pictures_without_an_image_encoder_are_refused_when_nothing_finds_them(self):
        with pytest.raises(InvalidArgument, match="without an image encoder"):
            MultimodalIndex(StubText()).add([Document(None, Image(RED), id="r")])


def test_readers_and_a_writer_in_threads_see_whole_batches():
    index = new_index()
    index.add([Document(f"start {i}", id=f"s{i}") for i in range(4)])
    stop, problems = threading.Event(), []

    def read():
        while not stop.is_set():
            hits = index.search("start 1", 200)
            with index.snapshot() as snapshot:
                count = snapshot.counts()["documents"]
            if count % 4 or len(index.get([h.id for h in hits["text"]])) % 4:
                problems.append(count)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for batch in range(25):
        index.add([Document(f"text {batch} {i}", id=f"{batch}-{i}") for i in range(4)])
    stop.set()
    join(*readers)
    assert problems == []
    assert len(index) == 104
