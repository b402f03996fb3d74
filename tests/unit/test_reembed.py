import numpy as np
import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import EncoderMismatch, FormatError, InvalidArgument, VectorError
from diptych.image import Image
from diptych.index import reembed as reembedding
from diptych.index.probe import picture
from diptych.maintenance import reembed, verify
from stubs import StubImage, StubJoint, StubText, hashed_rows, png

DOCUMENTS = [
    *(Document(f"text {i}", id=f"t{i}", metadata={"i": i}) for i in range(10)),
    *(Document(f"both {i}", Image(png((i, 0, 9))), id=f"b{i}") for i in range(5)),
    *(Document(None, Image(png((0, i, 7))), id=f"i{i}") for i in range(5)),
]


class Counting(StubText):
    """Fails after some documents, as a process that is killed does."""

    def __init__(self, *args, limit=10**6, **kwargs):
        super().__init__(*args, **kwargs)
        self.limit, self.encoded = limit, 0

    def encode_document(self, texts):
        rows = super().encode_document(texts)
        self.encoded += len(texts)
        if self.encoded > self.limit:
            raise KeyboardInterrupt
        return rows


@pytest.fixture
def path(tmp_path):
    with MultimodalIndex(StubText(), StubJoint(), path=tmp_path / "index") as index:
        index.add(DOCUMENTS, batch_size=3)
        index.delete(["t4", "b2"])
        index.upsert([Document("another text 1", id="t1")])
    return tmp_path / "index"


def check(path, text, image):
    """Every vector is the one that these models make, in an index that is whole."""
    with MultimodalIndex(text, image, path=path) as index:
        documents = index.get()
        assert len(documents) == 18
        texts = [d for d in documents if d.has_text]
        images = [d for d in documents if d.has_image]
        np.testing.assert_allclose(
            index.text_index.vectors([d.id for d in texts]),
            text.encode_query([d.text for d in texts]), atol=1e-6,
        )  # fmt: skip
        np.testing.assert_allclose(
            index.image_index.vectors([d.id for d in images]),
            hashed_rows([d.image.read() for d in images], image.dim, image.space), atol=1e-6,
        )  # fmt: skip
        assert index.text_index.dim == text.dim
        assert not np.isnan(index.cross_modal_index.vectors([d.id for d in documents])).any()
        hits = index.search("another text 1", 3)
        assert hits["text"][0].id == hits["lexical"][0].id == "t1"
    assert verify(path, deep=True).problems == ()


def test_other_models_make_the_vectors_anew(path):
    new_text, new_image = StubText(24, "new-text", "n1"), StubJoint(10, "new-image", "n2")
    report = reembed(path, new_text, new_image, batch_size=4)
    assert (report.documents, report.resumed, report.failed) == (18, 0, ())
    check(path, new_text, new_image)
    with pytest.raises(EncoderMismatch, match=r"'new-text'.*'stub-text'"):
        MultimodalIndex(StubText(), StubJoint(), path=path)


def test_interrupted_call_goes_on_and_counts_only_at_the_end(path):
    with pytest.raises(KeyboardInterrupt):
        reembed(path, Counting(24, "new-text", "n1", limit=9), StubJoint(), batch_size=4)
    check(path, StubText(), StubJoint())
    text = Counting(24, "new-text", "n1")
    report = reembed(path, text, StubJoint(), batch_size=4)
    assert report.documents == 18
    assert report.resumed >= 4
    assert text.encoded < 14
    check(path, StubText(24, "new-text", "n1"), StubJoint())


def test_call_with_yet_another_model_begins_again(path):
    with pytest.raises(KeyboardInterrupt):
        reembed(path, Counting(24, "new-text", "n1", limit=9), StubJoint(), batch_size=4)
    assert reembed(path, StubText(20, "third", "n3"), StubJoint()).resumed == 0
    check(path, StubText(20, "third", "n3"), StubJoint())


def test_model_that_stays_is_not_asked_again(path):
    image = StubJoint()
    reembed(path, StubText(24, "new-text", "n1"), image)
    assert [call for call in image.calls if call] == [[picture().sha256]]
    check(path, StubText(24, "new-text", "n1"), StubJoint())


def test_lost_vectors_come_back(path):
    for segment in (path / "segments").iterdir():
        segment.write_bytes(b"rubbish")
    verify(path, repair=True)
    reembed(path, StubText(), StubJoint())
    check(path, StubText(), StubJoint())


def test_open_reader_notices_that_its_models_are_the_old_ones(path):
    with MultimodalIndex(StubText(), StubJoint(), path=path) as reader:
        assert len(reader.search("text 1")["text"]) > 0
        reembed(path, StubText(24, "new-text", "n1"), StubJoint())
        with pytest.raises(EncoderMismatch, match="reembed"):
            reader.search("text 1")


def test_picture_that_cannot_be_read_is_reported_and_the_text_embedded(path):
    for copy in (path / "assets").glob("*/*"):
        copy.write_bytes(b"rubbish")
    report = reembed(path, StubText(24, "new-text", "n1"), StubImage(8, "other", "o1"))
    assert len(report.failed) == 9
    assert "has changed since it was indexed" in report.failed[0].reason
    with MultimodalIndex(
        StubText(24, "new-text", "n1"), StubImage(8, "other", "o1"), path=path
    ) as index:
        assert len(index.text_index) == 13
        assert len(index.image_index) == 0
        assert len(index.cross_modal_index) == 13


def test_document_that_nothing_finds_any_more_is_reported(tmp_path):
    with MultimodalIndex(StubText(), path=tmp_path / "index") as index:
        given = {"shown": np.eye(1, 16)[0]}
        shown = Document(None, Image(png("red")), id="shown")
        index.add([shown, Document("words", id="words")], text_vectors=given)
    kept = reembed(tmp_path / "index", StubText())
    assert kept.failed == ()
    done = reembed(tmp_path / "index", StubText(space="another", fingerprint="another-1"))
    assert [failure.id for failure in done.failed] == ["shown"]
    assert "add the document again with a vector" in done.failed[0].reason
    again = reembed(tmp_path / "index", StubText(), StubImage())
    assert again.failed == ()


def test_bad_calls_say_what_to_do(path, tmp_path):
    with pytest.raises(InvalidArgument, match="needs a text encoder"):
        reembed(path)
    with pytest.raises(FormatError, match="There is no index"):
        reembed(tmp_path / "nothing", StubText())
    assert not (tmp_path / "nothing").exists()


class TestProbe:
    def test_model_of_the_same_name_that_makes_other_vectors_is_refused(self, tmp_path):
        class Drifting(StubText):
            def encode_query(self, texts):
                return hashed_rows(texts, self.dim, self.salt)

            encode_document = encode_query

        def encoder(salt):
            made = Drifting(8, "mine")
            made.salt = salt
            return made

        with MultimodalIndex(encoder("one"), path=tmp_path / "index") as index:
            index.add([Document("a text", id="a")])
        with MultimodalIndex(encoder("one"), path=tmp_path / "index") as index:
            assert index.search("a text")["text"][0].id == "a"
            index.add([Document("more", id="b")])
        with MultimodalIndex(encoder("two"), path=tmp_path / "index") as index:
            with pytest.raises(
                EncoderMismatch, match=r"calls itself 'mine'.*other vectors.*cosine"
            ):
                index.search("a text")
            with pytest.raises(EncoderMismatch, match=r"calls itself 'mine'"):
                index.add([Document("even more", id="c")])
            assert index.ids() == ["a", "b"]

    def test_picture_model_is_probed_too(self, tmp_path):
        with MultimodalIndex(image_encoder=StubImage(), path=tmp_path / "index") as index:
            index.add([Document(image=png("red"), id="a")])
        other = StubImage()
        other.encode_image = lambda images: hashed_rows([i.read() for i in images], 12, "other")
        with (
            MultimodalIndex(image_encoder=other, path=tmp_path / "index") as index,
            pytest.raises(EncoderMismatch, match="for a known picture"),
        ):
            index.search(Image(png("red")))

    def test_encoder_that_knows_only_certain_inputs_goes_without(self, tmp_path):
        table = {"a text": np.eye(8)[0], "a question": np.eye(8)[0]}

        class Table(StubText):
            def encode_query(self, texts):
                return np.asarray([table[t] for t in texts], np.float32).reshape(-1, 8)

            encode_document = encode_query

        def encoder():
            return Table(8, "table")

        with MultimodalIndex(encoder(), path=tmp_path / "index") as index:
            index.add([Document("a text", id="a")])
        with MultimodalIndex(encoder(), path=tmp_path / "index") as index:
            assert index.search("a question")["text"][0].score == pytest.approx(1)

    def test_known_picture_has_the_same_bytes_everywhere(self):
        assert picture().sha256.startswith("998977ca044aae38")


def test_interrupted_reembed_keeps_what_a_merge_of_equal_segments_drops(tmp_path, monkeypatch):
    documents = [Document(f"text {i}", id=f"t{i}") for i in range(60)]
    with MultimodalIndex(StubText(), path=tmp_path) as index:
        for at in range(0, 6, 3):
            index.add(documents[at : at + 3])
    # With models that stay the same, batches of three make segments that are there already.
    make, calls = reembedding._vectors, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return make(*arguments)

    monkeypatch.setattr(reembedding, "_vectors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reembed(tmp_path, StubText(), batch_size=3)
    monkeypatch.undo()
    with MultimodalIndex(StubText(), path=tmp_path) as index:
        for at in range(6, 60, 3):
            index.add(documents[at : at + 3])  # merges small segments into one
        before = index.search("text 1", 9)
    report = reembed(tmp_path, StubText(), batch_size=3)
    assert (report.documents, report.resumed) == (60, 3)
    with MultimodalIndex(StubText(), path=tmp_path) as index:
        assert len(index.text_index) == 60
        assert index.search("text 1", 9) == before
    assert verify(tmp_path, deep=True).problems == ()


class Deaf(StubText):
    """Makes NaN of some texts."""

    def __init__(self, *args, bad=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.bad = bad

    def encode_document(self, texts):
        rows = super().encode_document(texts)
        rows[[text in self.bad for text in texts]] = np.nan
        return rows


class Blind(StubImage):
    """Makes the zero vector of some pictures."""

    bad = ()

    def encode_image(self, images):
        rows = super().encode_image(images)
        rows[[image.read() in self.bad for image in images]] = 0
        return rows


@pytest.mark.parametrize("size", [1, 4, 64])
def test_text_and_picture_of_which_an_encoder_makes_no_vector_are_reported(path, size):
    with MultimodalIndex(None, StubImage(), path=path) as index:
        before = [(d.id, d.text, d.metadata) for d in index.get()]
    text = Deaf(24, "new-text", "n1", bad=("text 0", "both 0", "text 9"))
    image = Blind(8, "other", "o1")
    image.bad = (png((0, 0, 9)), png((0, 3, 7)), png((1, 0, 9)))
    report = reembed(path, text, image, batch_size=size)
    assert report.documents == 18
    assert sorted(failure.id for failure in report.failed) == ["b0", "b0", "b1", "i3", "t0", "t9"]
    assert all("Expected finite numbers" in failure.reason for failure in report.failed)
    with MultimodalIndex(
        StubText(24, "new-text", "n1"), StubImage(8, "other", "o1"), path=path
    ) as index:
        assert [(d.id, d.text, d.metadata) for d in index.get()] == before
        lacking = {
            name: [
                d.id
                for d, row in zip(
                    index.get(), getattr(index, name).vectors(index.ids()), strict=True
                )
                if np.isnan(row).any()
            ]
            for name in ("text_index", "image_index", "cross_modal_index")
        }
        assert {"t0", "t9", "b0"} == {i for i in lacking["text_index"] if i[0] != "i"}
        assert {"b0", "b1", "i3"} == {i for i in lacking["image_index"] if i[0] != "t"}
        assert set(lacking["cross_modal_index"]) == {"t0", "t9", "b0", "i3"}
        assert index.search("text 9", 1)["lexical"][0].id == "t9"


def test_encoder_that_makes_nothing_leaves_the_vectors_as_they_are(path):
    with MultimodalIndex(StubText(), StubJoint(), path=path) as index:
        texts = [document.text for document in index.get() if document.has_text]
    with pytest.raises(VectorError, match=r"No document got a vector of its text: .*still count"):
        reembed(path, Deaf(24, "new-text", "n1", bad=texts), StubJoint(), batch_size=4)
    check(path, StubText(), StubJoint())
    assert reembed(path, StubText(24, "new-text", "n1"), StubJoint()).resumed == 0
    check(path, StubText(24, "new-text", "n1"), StubJoint())
