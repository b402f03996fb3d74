"""A vector that comes with a document makes it findable, also where it has no text or no picture."""

import numpy as np
import pytest

from diptych import Document, Image, MultimodalIndex, MultimodalRetriever, ToyEncoder
from diptych.errors import InvalidArgument
from diptych.maintenance import copy_index, export_index, import_index, reembed, verify
from stubs import png

TOY = ToyEncoder()
ROWS = np.eye(128, dtype=np.float32)


class Counting:
    """Counts what an encoder is given."""

    def __init__(self, encoder):
        self._encoder = encoder
        self.dim, self.space, self.fingerprint = encoder.dim, encoder.space, encoder.fingerprint
        self.encoded = 0

    def encode_document(self, texts):
        self.encoded += len(texts)
        return self._encoder.encode_document(texts)

    def encode_query(self, texts):
        return self._encoder.encode_query(texts)

    def encode_image(self, images):
        self.encoded += len(images)
        return self._encoder.encode_image(images)


def picture(colour, identity):
    return Document(image=Image(png(colour)), id=identity)


def nearest(index, row):
    return index.text_index.search(ROWS[row : row + 1], 1)[0][0].id


@pytest.fixture(params=["images too", "no image encoder"])
def index(request, tmp_path):
    image = TOY if request.param == "images too" else None
    with MultimodalIndex(TOY, image, path=tmp_path / "index") as index:
        pictures = [picture("red", "0"), picture("blue", "1"), Document("words", id="2")]
        index.upsert(pictures, text_vectors={"0": ROWS[0], "1": ROWS[1], "2": ROWS[2]})
        yield index


def test_a_picture_without_words_is_found_by_the_vector_that_came_with_it(index):
    assert [nearest(index, row) for row in range(3)] == ["0", "1", "2"]
    found = MultimodalRetriever(index=index).retrieve(
        "no such word", 1, vectors={"text": ROWS[1:2], "image": TOY.encode_query(["x"])}
        if index.image_encoder else {"text": ROWS[1:2]}
    )  # fmt: skip
    assert found[0].id == "1"
    assert index.info().texts == 1
    assert verify(index.path, deep=True).problems == ()


def test_the_vector_survives_a_copy_an_export_and_new_vectors_for_pictures(index, tmp_path):
    copy_index(index, tmp_path / "copy")
    export_index(index.path, tmp_path / "export")
    import_index(tmp_path / "export", tmp_path / "imported")
    index.close()
    reembed(index.path, TOY, ToyEncoder(64))
    for folder, encoder in (("copy", None), ("imported", None), ("index", ToyEncoder(64))):
        with MultimodalIndex(TOY, encoder, path=tmp_path / folder) as other:
            assert [nearest(other, row) for row in range(3)] == ["0", "1", "2"]


def test_another_vector_replaces_it_and_no_encoder_runs(tmp_path):
    text, image = Counting(TOY), Counting(TOY)
    index = MultimodalIndex(text, image)
    documents = [picture("red", "0"), Document("a", Image(png("blue")), id="1")]
    index.upsert(documents)
    assert (text.encoded, image.encoded) == (1, 2)
    before = index.image_index.vectors(["0", "1"])
    report = index.upsert(documents, text_vectors={"0": ROWS[0], "1": ROWS[1]})
    assert (report.updated, report.skipped) == (2, 0)
    assert [nearest(index, row) for row in range(2)] == ["0", "1"]
    report = index.upsert(documents, text_vectors={"0": ROWS[5] * 3, "1": ROWS[1]})
    assert (report.updated, report.skipped) == (1, 1)
    assert nearest(index, 5) == "0"
    np.testing.assert_array_equal(index.image_index.vectors(["0", "1"]), before)
    assert (text.encoded, image.encoded) == (1, 2)
    assert index.upsert(documents).skipped == 2  # no vector is no news
    assert nearest(index, 5) == "0"
    changed = Document(image=Image(png("red")), id="0", metadata={"a": 1})
    assert index.upsert([changed]).updated == 1
    assert nearest(index, 5) == "0"
    assert (text.encoded, image.encoded) == (1, 2)


def test_add_gives_a_vector_to_what_lacks_one_and_replaces_none():
    index = MultimodalIndex(TOY, TOY)
    index.add([picture("red", "0")])
    index.add([picture("red", "0")], text_vectors={"0": ROWS[0]})
    assert nearest(index, 0) == "0"
    assert index.add([picture("red", "0")], text_vectors={"0": ROWS[1]}).skipped == 1
    assert nearest(index, 0) == "0"


def test_a_given_vector_of_a_picture_finds_a_text():
    index = MultimodalIndex(TOY, TOY)
    index.add([Document("a picture on the web", id="url")], image_vectors={"url": ROWS[3]})
    (hits,) = index.image_index.search(ROWS[3:4], 1)
    assert hits[0].id == "url"
    index.delete(["url"])
    assert len(index.image_index) == len(index.cross_modal_index) == 0


def test_a_picture_that_nothing_could_find_is_still_refused():
    index = MultimodalIndex(TOY)
    with pytest.raises(InvalidArgument, match="nothing could ever find them"):
        index.add([picture("red", "0")])
    with pytest.raises(InvalidArgument, match="nothing could ever find them"):
        MultimodalIndex().add([picture("red", "0")], text_vectors={"0": ROWS[0]})
    assert index.add([picture("red", "0")], text_vectors={"0": ROWS[0]}).added == 1
