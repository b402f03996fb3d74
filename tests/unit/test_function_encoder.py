"""Functions, and models of LangChain and LlamaIndex, as encoders."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from diptych.encoders import FunctionEncoder
from diptych.errors import InvalidArgument, MediaError, VectorError
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.testing._pictures import scenes
from diptych.types import Image


def hashed(item, dim, salt=""):
    seed = int.from_bytes(hashlib.sha256(f"{salt}{item}".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dim)


def embed(texts):
    return [hashed(text, 8) for text in texts]


def embed_other(texts):
    return [hashed(text, 8, "other") for text in texts]


def test_rows_are_what_the_function_returns_at_unit_length():
    rows = FunctionEncoder(embed).encode_document(["a", "b"])
    expected = np.array([hashed("a", 8), hashed("b", 8)])
    assert np.allclose(rows, expected / np.linalg.norm(expected, axis=1, keepdims=True))


def test_questions_use_their_own_function():
    encoder = FunctionEncoder(embed, encode_query=embed_other)
    assert np.allclose(
        encoder.encode_query(["a"]), FunctionEncoder(embed_other).encode_query(["a"])
    )
    assert np.allclose(encoder.encode_document(["a"]), FunctionEncoder(embed).encode_query(["a"]))


def test_function_is_called_once_for_a_batch_and_not_for_none():
    calls = []

    def recording(texts):
        calls.append(texts)
        return embed(texts)

    encoder = FunctionEncoder(recording, dim=8)
    assert encoder.encode_document(("a", "b")).shape == (2, 8)
    assert encoder.encode_query([]).shape == (0, 8)
    assert calls == [["a", "b"]]


def test_nothing_is_probed_when_everything_is_given():
    def never(texts):
        raise AssertionError(texts)

    encoder = FunctionEncoder(never, dim=3, space="s", fingerprint="f")
    assert (encoder.dim, encoder.space, encoder.fingerprint) == (3, "s", "f")
    assert isinstance(encoder, TextEncoder)


def test_dimension_is_found_by_one_call():
    calls = []

    def recording(texts):
        calls.append(len(texts))
        return embed(texts)

    encoder = FunctionEncoder(recording)
    assert calls == []
    assert encoder.dim == 8
    assert encoder.space == encoder.fingerprint
    assert calls == [8]


def test_another_model_of_equal_dimension_has_another_fingerprint():
    def outer(salt):
        return lambda texts: [hashed(text, 8, salt) for text in texts]

    first, second = FunctionEncoder(outer("a")), FunctionEncoder(outer("b"))
    assert first.fingerprint != second.fingerprint
    assert first.space != second.space
    assert first.fingerprint == FunctionEncoder(outer("a")).fingerprint


def test_rounding_errors_do_not_change_the_fingerprint(rng):
    def noisy(texts):
        return np.array(embed(texts)) * (1 + 1e-6 * rng.standard_normal((len(texts), 8)))

    assert FunctionEncoder(noisy).fingerprint == FunctionEncoder(noisy).fingerprint


def test_row_that_has_no_direction_is_named():
    rows = np.ones((3, 4))
    rows[1] = 0
    with pytest.raises(VectorError, match=r"FunctionEncoder .*zero vector in row 1 of 3"):
        FunctionEncoder(lambda texts: rows, dim=4).encode_document(["a", "b", "c"])
    rows[1] = np.nan
    with pytest.raises(VectorError, match=r"NaN or infinite values in row 1 of 3"):
        FunctionEncoder(lambda texts: rows, dim=4).encode_document(["a", "b", "c"])


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda texts: np.ones(4), r"shape \(4,\) for 8 items; expected \(8, dim\)"),
        (lambda texts: np.ones(len(texts)), r"shape \(8,\) for 8 items"),
        (lambda texts: np.ones((1, 4)), r"shape \(1, 4\) for 8 items"),
        (lambda texts: np.ones((len(texts), 0)), r"shape \(8, 0\)"),
        (lambda texts: [[1.0], [1.0, 2.0]], "no rectangular array of numbers"),
        (lambda texts: ["a"], "no rectangular array of numbers"),
    ],
    ids=["one row", "one number each", "too few", "no columns", "ragged", "words"],
)
def test_function_of_the_wrong_shape_is_refused(function, match):
    with pytest.raises(VectorError, match=match):
        _ = FunctionEncoder(function).dim


def test_two_dimensions_in_one_space_are_refused():
    encoder = FunctionEncoder(embed, encode_image=lambda images: np.ones((len(images), 5)))
    with pytest.raises(VectorError, match="vectors of 8 and 5 columns.*Make two encoders"):
        _ = encoder.dim


def test_encoder_without_a_function_is_refused():
    with pytest.raises(InvalidArgument, match="got no encode_text; expected a function"):
        FunctionEncoder()
    with pytest.raises(InvalidArgument, match="no encode_text to go with encode_query"):
        FunctionEncoder(encode_query=embed, encode_image=embed)


# ---- LangChain ----


class LangChainModel:
    """The interface of langchain_core.embeddings.Embeddings."""

    def embed_documents(self, texts):
        return [list(hashed(text, 8)) for text in texts]

    def embed_query(self, text):
        return list(hashed(text, 8, "query"))


class LangChainPictures(LangChainModel):
    model_name = "clip-b32"

    def __init__(self):
        self.seen = []

    def embed_image(self, uris):
        self.seen += uris
        return [list(hashed(Path(uri).read_bytes(), 8)) for uri in uris]


def test_langchain_embeddings_are_text_encoders():
    encoder = FunctionEncoder.from_langchain(LangChainModel())
    expected = FunctionEncoder(embed).encode_document(["a", "b"])
    assert np.allclose(encoder.encode_document(["a", "b"]), expected)
    query = hashed("a", 8, "query")
    assert np.allclose(encoder.encode_query(["a"]), query / np.linalg.norm(query))
    assert isinstance(encoder, TextEncoder)
    assert not isinstance(encoder, ImageEncoder)


def test_langchain_embeddings_with_pictures_get_paths(tmp_path):
    model = LangChainPictures()
    encoder = FunctionEncoder.from_langchain(model, dim=8)
    in_memory = scenes()[0]
    on_disk = tmp_path / "picture.png"
    on_disk.write_bytes(scenes()[1].read())
    rows = encoder.encode_image([in_memory, Image(on_disk)])
    expected = [hashed(image.read(), 8) for image in scenes()[:2]]
    assert np.allclose(rows, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert model.seen[-1] == str(on_disk)
    assert not Path(model.seen[-2]).exists(), "the temporary file was left behind"
    assert encoder.space == "LangChainPictures:clip-b32"


def test_no_file_reaches_another_library_unless_it_is_a_picture(tmp_path):
    (tmp_path / "a.png").write_text("<svg></svg>")
    model = LangChainPictures()
    with pytest.raises(MediaError, match="SVG"):
        FunctionEncoder.from_langchain(model, dim=8).encode_image([Image(tmp_path / "a.png")])
    assert model.seen == []


def test_real_langchain_embeddings_work():
    core = pytest.importorskip("langchain_core.embeddings", reason="the extra langchain")
    encoder = FunctionEncoder.from_langchain(core.DeterministicFakeEmbedding(size=16))
    assert encoder.encode_query(["a"]).shape == (1, 16)
    assert isinstance(encoder, TextEncoder)


def test_what_is_no_langchain_model_is_refused():
    with pytest.raises(
        InvalidArgument, match="object is no LangChain Embeddings: it lacks embed_doc"
    ):
        FunctionEncoder.from_langchain(object())


# ---- LlamaIndex ----


class LlamaIndexModel:
    """The interface of llama_index.core.embeddings.BaseEmbedding."""

    model_name = "unknown"

    def get_text_embedding_batch(self, texts):
        return [list(hashed(text, 8)) for text in texts]

    def get_query_embedding(self, query):
        return list(hashed(query, 8, "query"))


class LlamaIndexPictures(LlamaIndexModel):
    def get_image_embedding_batch(self, img_file_paths):
        contents = [
            item.getvalue() if isinstance(item, io.BytesIO) else Path(item).read_bytes()
            for item in img_file_paths
        ]
        return [list(hashed(content, 8)) for content in contents]


def test_llama_index_embeddings_are_text_encoders():
    encoder = FunctionEncoder.from_llama_index(LlamaIndexModel())
    assert np.allclose(
        encoder.encode_document(["a"]), FunctionEncoder(embed).encode_document(["a"])
    )
    assert not isinstance(encoder, ImageEncoder)
    assert encoder.space.startswith("LlamaIndexModel (8")


def test_llama_index_embeddings_get_paths_or_open_files(tmp_path):
    (tmp_path / "picture.png").write_bytes(scenes()[1].read())
    encoder = FunctionEncoder.from_llama_index(LlamaIndexPictures())
    rows = encoder.encode_image([scenes()[0], Image(tmp_path / "picture.png")])
    expected = [hashed(image.read(), 8) for image in scenes()[:2]]
    assert np.allclose(rows, expected / np.linalg.norm(expected, axis=1, keepdims=True))


def test_real_llama_index_embeddings_work():
    core = pytest.importorskip("llama_index.core.embeddings", reason="the extra llama-index")
    encoder = FunctionEncoder.from_llama_index(core.MockEmbedding(embed_dim=16))
    assert encoder.encode_query(["a"]).shape == (1, 16)
    assert isinstance(encoder, TextEncoder)


def test_what_is_no_llama_index_model_is_refused():
    with pytest.raises(InvalidArgument, match="is no LlamaIndex embedding: it lacks get_text_emb"):
        FunctionEncoder.from_llama_index(LangChainModel())
