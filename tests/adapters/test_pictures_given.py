"""Every entry point of both adapters takes a picture in every form in which people have one."""

import base64
import io

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")

from langchain_core.documents.base import Blob

from diptych.encoders import ToyEncoder
from diptych.errors import DiptychError, MediaError
from diptych.langchain import DiptychEmbeddings, DiptychVectorStore, image_document
from diptych.langchain.convert import to_image, to_query
from diptych.llama_index.embedding import DiptychMultiModalEmbedding

ARRAY = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)
FILE = io.BytesIO()
PIL.Image.fromarray(ARRAY).save(FILE, "PNG")
PNG = FILE.getvalue()
TOY = ToyEncoder()
LONG = base64.b64encode(bytes(range(256)) * 40).decode()


def forms(folder):
    path = folder / "a picture.png"
    path.write_bytes(PNG)
    text = base64.b64encode(PNG).decode()
    return {
        "path": str(path),
        "Path": path,
        "file URI": path.as_uri(),
        "data URI": f"DATA:image/png;charset=utf-8;base64,{text}",
        "base64": text,
        "bytes": PNG,
        "BytesIO": FILE,
        "array": ARRAY,
        "PIL": PIL.Image.fromarray(ARRAY),
        "Blob": Blob.from_data(PNG, mime_type="image/png"),
    }


def pixels(image):
    return np.asarray(image.pil())


def test_langchain_takes_every_form(tmp_path):
    given = forms(tmp_path)
    store = DiptychVectorStore(embedding=TOY)
    ids = store.add_images(list(given.values()), ids=list(given))
    assert ids == list(given)
    for stored in store.index.get(ids):
        assert np.array_equal(pixels(stored.image), ARRAY), stored.id
    store.add_documents([image_document(value, id=f"+{name}") for name, value in given.items()])
    for stored in store.index.get([f"+{name}" for name in given]):
        assert np.array_equal(pixels(stored.image), ARRAY), stored.id
    for value in given.values():
        assert np.array_equal(pixels(to_query({"image": value}).image), ARRAY)
        if not isinstance(value, str) or value.startswith("DATA"):
            assert np.array_equal(pixels(to_query(value).image), ARRAY)


def test_embeddings_take_every_form(tmp_path):
    given = list(forms(tmp_path).values())
    expected = TOY.encode_image([to_image(PNG)])[0]
    for row in DiptychEmbeddings(TOY).embed_image(given):
        assert np.allclose(row, expected, atol=1e-6)
    model = DiptychMultiModalEmbedding(TOY)
    for row in model.get_image_embedding_batch(given[:-1]):
        assert np.allclose(row, expected, atol=1e-6)


def test_one_open_file_is_not_a_list_of_pictures():
    store = DiptychVectorStore(embedding=TOY)
    for one in (io.BytesIO(PNG), bytearray(PNG), memoryview(PNG)):
        with pytest.raises(DiptychError, match="expected a list of pictures"):
            store.add_images(one)


@pytest.mark.parametrize("text", [LONG, f"data:image/png;base64,{LONG}", f"file:///{LONG}"])
@pytest.mark.parametrize(
    "use",
    [
        to_image,
        image_document,
        lambda text: to_query({"image": text}),
        lambda text: DiptychVectorStore(embedding=TOY).add_images([text]),
        lambda text: DiptychVectorStore(embedding=TOY).add_images(text),
        lambda text: DiptychVectorStore(embedding=TOY).add_images([PNG], metadatas=text),
        lambda text: DiptychVectorStore(embedding=TOY).add_images([PNG], ids=text),
        lambda text: DiptychVectorStore(embedding=TOY).similarity_search_by_image(text),
        lambda text: DiptychVectorStore(embedding=TOY, path=text),
        lambda text: DiptychEmbeddings(TOY).embed_image([text]),
        lambda text: DiptychMultiModalEmbedding(TOY).get_image_embedding(text),
    ],
)
def test_message_never_prints_base64(use, text):
    message = ""
    try:
        to_image(use(text)).pil()  # an embedding of it raises a MediaError too
    except (DiptychError, ValueError) as error:
        message = str(error)
    assert 0 < len(message) < 700
    assert text[40:200] not in message


def test_base64_that_is_no_picture_says_what_to_pass():
    with pytest.raises(MediaError, match="or as 'data:image/png;base64,' and its base64"):
        to_image(LONG).read()


@pytest.mark.parametrize("given", ["QUJD" * 5_000, "x" * 100_000, "a/" * 50_000 + "b.png"])
def test_a_long_string_is_short_in_the_log_and_in_the_report(given, caplog):
    store = DiptychVectorStore(ToyEncoder())
    store.add_images([PIL.Image.new("RGB", (4, 4)), given])
    (failure,) = store.failed
    assert len(failure.source) <= 210
    assert len(failure.reason) < 1_500
    assert all(len(record.getMessage()) < 2_500 for record in caplog.records)
