"""The open_clip encoder on small random models, loaded from disk as real ones are."""

import json
import logging
import shutil
import sys

import numpy as np
import PIL.Image
import pytest

import tiny_models
from diptych import media
from diptych.encoders import OpenClipEncoder
from diptych.encoders import _open_clip_source as source_module
from diptych.encoders._open_clip_source import find_source
from diptych.errors import InvalidArgument, MissingExtra
from diptych.testing._pictures import scenes
from diptych.types import Image

open_clip = pytest.importorskip("open_clip", reason="the extra open-clip")

SHORT = ["a red car", "the dog", "", "two foxes and a dog"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip")
    return {text: tiny_models.save_clip(root / text, text=text) for text in ("bpe", "hf")}


@pytest.fixture(scope="module", params=["bpe", "hf"])
def folder(request, folders):
    return folders[request.param]


@pytest.fixture(scope="module")
def encoder(folder):
    return OpenClipEncoder.from_folder(folder, device="cpu", batch_size=3)


@pytest.fixture(scope="module")
def oracle(folder, tmp_path_factory):
    """open_clip's own way to load the folder, with what it cannot resolve put in place."""
    import torch

    plain = shutil.copytree(folder, tmp_path_factory.mktemp("oracle") / "plain")
    if (plain / "text").is_dir():
        config = (plain / "open_clip_config.json").read_text()
        (plain / "open_clip_config.json").write_text(
            config.replace("TEXT_DIR", str(plain / "text"))
        )
        for file in (plain / "text").iterdir():
            if file.name != "config.json":
                shutil.copy(file, plain)
    name = f"local-dir:{plain}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()

    def encode(texts=None, images=None):
        with torch.inference_mode():
            if texts is not None:
                return model.encode_text(tokenizer(texts), normalize=True).numpy()
            pixels = torch.stack([preprocess(image.pil()) for image in images])
            return model.encode_image(pixels, normalize=True).numpy()

    return encode


def weights_of(folder):
    return folder / "model.safetensors"


def variant(folder, tmp_path, **changes):
    """A copy of a model whose config differs: ``text_cfg={...}`` updates that part of it."""
    copy = shutil.copytree(folder, tmp_path / "variant")
    config = json.loads((copy / "open_clip_config.json").read_text())
    for key, value in changes.items():
        part = config if key == "preprocess_cfg" else config["model_cfg"]
        part[key] = {**part[key], **value} if isinstance(value, dict) else value
    tiny_models.write_config(copy, config)
    return copy


# ---- values ----


def test_both_towers_give_what_open_clip_gives(encoder, oracle):
    assert np.allclose(encoder.encode_query(SHORT), oracle(texts=SHORT), atol=1e-5)
    assert np.allclose(encoder.encode_document(SHORT), oracle(texts=SHORT), atol=1e-5)
    assert np.allclose(encoder.encode_image(scenes()), oracle(images=scenes()), atol=1e-5)
    assert encoder.dim == 24


def test_long_text_is_the_mean_of_its_windows(encoder):
    words = "the dog red car fox".split() * 6  # one token each; 18 fit
    (row,) = encoder.encode_document([" ".join(words)])
    parts = [words[0:18], words[14:30]]  # an overlap of a quarter: 4 words
    vectors = encoder.encode_document([" ".join(part) for part in parts])
    mean = (18 * vectors[0] + 16 * vectors[1]) / 34
    assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_text_that_just_fits_is_one_window(encoder, oracle):
    text = "dog " * 18
    assert np.allclose(encoder.encode_document([text]), oracle(texts=[text]), atol=1e-5)


def test_long_pictures_show_their_middle_without_growing(encoder, oracle):
    stripe = np.zeros((4, 4000, 3), np.uint8)
    stripe[:, 1990:2010] = 255
    long = Image(media.from_pil(PIL.Image.fromarray(stripe)))
    assert encoder.encode_image([long])[0] @ oracle(images=[long])[0] > 0.9999
    tall = Image(media.from_pil(PIL.Image.new("RGB", (1, 20_000))))
    assert encoder.encode_image([tall]).shape == (1, 24)


@pytest.mark.parametrize("mode", ["longest", "squash"])
def test_long_pictures_survive_every_way_to_resize(folders, tmp_path, mode):
    folder = variant(folders["bpe"], tmp_path, preprocess_cfg={"resize_mode": mode})
    tall = Image(media.from_pil(PIL.Image.new("RGB", (1, 20_000), "red")))
    row = OpenClipEncoder.from_folder(folder, device="cpu").encode_image([tall])
    assert np.isfinite(row).all()


def test_half_precision_weights_are_computed_in_single_precision(folders, tmp_path):
    import torch

    half = tiny_models.save_clip(tmp_path / "half", half=True)
    encoder = OpenClipEncoder.from_folder(half, device="cpu")
    dtypes = {p.dtype for p in encoder._towers.model.parameters()}
    assert dtypes == {torch.float32}
    full = OpenClipEncoder.from_folder(folders["bpe"], device="cpu")
    similarity = (encoder.encode_image(scenes()) * full.encode_image(scenes())).sum(axis=1)
    assert similarity.min() > 0.9999
    assert encoder.space != full.space


def test_real_model_gives_the_vectors_of_the_pack(shared):
    encoder = OpenClipEncoder.from_folder(shared / "models/mnv2-minilm-512", device="cpu")
    folder = shared / "data/flickr8k/dev"
    with (folder / "queries.jsonl").open() as file:
        texts = [json.loads(next(file))["text"] for _ in range(20)]
    expected = np.load(folder / "emb/q_img.npy")[:20].astype(np.float32)
    assert np.abs(encoder.encode_query(texts) - expected).max() < 1e-3
    names = json.loads((folder / "emb/images.json").read_text())[:20]
    expected = np.load(folder / "emb/d_img.npy")[:20].astype(np.float32)
    rows = encoder.encode_image([Image(folder / name) for name in names])
    # Near, not equal: open_clip itself, loaded as the model's README says, differs as much.
    assert (rows * expected).sum(axis=1).min() > 0.998


# ---- preprocessing is never guessed ----


def test_preprocessing_comes_from_the_config_and_is_part_of_the_fingerprint(folders, tmp_path):
    base = OpenClipEncoder.from_folder(folders["bpe"], device="cpu")
    other = variant(folders["bpe"], tmp_path, preprocess_cfg={"mean": [0.1, 0.1, 0.1]})
    changed = OpenClipEncoder.from_folder(other, device="cpu")
    assert changed.fingerprint != base.fingerprint
    assert changed.space.split("@")[1] == base.space.split("@")[1]
    assert np.abs(changed.encode_image(scenes()) - base.encode_image(scenes())).max() > 1e-3
    overridden = OpenClipEncoder.from_folder(
        other, device="cpu", preprocess={"mean": tiny_models.CLIP_MEAN}
    )
    assert overridden.fingerprint == base.fingerprint


def test_config_without_preprocessing_has_the_defaults_of_open_clip(tmp_path):
    flat = tiny_models.save_clip(tmp_path / "flat", nested=False)
    source = find_source(
        "flat", weights_of(flat), config=flat / "open_clip_config.json",
        preprocess=None, cache_dir=None, allow_unsafe_weights=False,
    )  # fmt: skip
    assert source.preprocess == {}
    encoder = OpenClipEncoder.from_folder(flat, device="cpu")
    assert encoder._towers.model.visual.preprocess_cfg["mean"] == open_clip.OPENAI_DATASET_MEAN


def find(name, pretrained=None, **options):
    options = {"config": None, "preprocess": None, "cache_dir": None} | options
    return find_source(name, pretrained, allow_unsafe_weights=False, **options)


def test_file_alone_gets_the_preprocessing_of_its_architecture(folders, tmp_path):
    alone = shutil.copy(weights_of(folders["bpe"]), tmp_path / "alone.safetensors")
    siglip = find("ViT-B-16-SigLIP", alone)
    assert siglip.preprocess["mean"] == (0.5, 0.5, 0.5)
    assert siglip.preprocess["resize_mode"] == "squash"
    assert find("ViT-B-32", alone).preprocess["mean"] == open_clip.OPENAI_DATASET_MEAN


def test_config_beside_a_file_decides_its_preprocessing(folders):
    source = find("ViT-B-32", weights_of(folders["bpe"]))
    assert tuple(source.preprocess["mean"]) == tiny_models.CLIP_MEAN
    assert source.preprocess["interpolation"] == "bilinear"


def test_ambiguous_preprocessing_is_refused(folders, tmp_path):
    alone = shutil.copy(weights_of(folders["bpe"]), tmp_path / "alone.safetensors")
    with pytest.raises(InvalidArgument, match="'ViT-H-14' come with 2 different ways to preproc"):
        find("ViT-H-14", alone)
    chosen = find("ViT-H-14", alone, preprocess={"resize_mode": "squash"})
    assert chosen.preprocess["resize_mode"] == "squash"


def test_unknown_preprocessing_setting_is_refused(folders):
    with pytest.raises(InvalidArgument, match="preprocess with colour; expected some of fill_col"):
        OpenClipEncoder.from_folder(folders["bpe"], device="cpu", preprocess={"colour": 1})


# ---- published weights: the hub is replaced by a folder ----


@pytest.fixture
def hub(monkeypatch, folders):
    """A hub that holds some repositories, and records what is asked of it."""
    import huggingface_hub

    asked = []
    files = {
        ("org/clip", "open_clip_model.safetensors"): weights_of(folders["bpe"]),
        ("org/clip", "open_clip_config.json"): folders["bpe"] / "open_clip_config.json",
        ("org/named", "weights.safetensors"): weights_of(folders["bpe"]),
    }

    def download(repo, name, cache_dir=None, **kwargs):
        asked.append((repo, name))
        if (repo, name) not in files:
            raise huggingface_hub.errors.LocalEntryNotFoundError("outgoing traffic is disabled")
        return str(files[repo, name])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(
        open_clip.pretrained,
        "hf_hub_download",
        lambda repo_id, filename, **_: download(repo_id, filename),
    )
    return asked


@pytest.fixture
def known_model(monkeypatch, folders):
    """A model that open_clip knows by name, with tags."""
    config = json.loads((folders["bpe"] / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    common = {"mean": (0.2, 0.2, 0.2), "std": (0.3, 0.3, 0.3), "interpolation": "bilinear"}
    tags = {
        "plain": {"hf_hub": "org/clip/", "resize_mode": "squash", **common},
        "gelu": {"hf_hub": "org/clip/", "quick_gelu": True, **common},
        "named": {"hf_hub": "org/named/weights.bin", **common},
        "gone": {"hf_hub": "org/gone/", **common},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    return "tiny"


def test_tag_gives_the_same_vectors_as_open_clip_itself(hub, known_model):
    import torch

    encoder = OpenClipEncoder(known_model, "plain", device="cpu")
    model, _, preprocess = open_clip.create_model_and_transforms(known_model, pretrained="plain")
    with torch.inference_mode():
        pixels = torch.stack([preprocess(image.pil()) for image in scenes()])
        expected = model.eval().encode_image(pixels, normalize=True).numpy()
    assert np.allclose(encoder.encode_image(scenes()), expected, atol=1e-5)
    assert encoder.space.startswith("tiny/plain@")


def test_tag_with_quick_gelu_gets_it(hub, known_model):
    plain = OpenClipEncoder(known_model, "plain", device="cpu")
    gelu = OpenClipEncoder(known_model, "gelu", device="cpu")
    assert np.abs(gelu.encode_query(SHORT) - plain.encode_query(SHORT)).max() > 1e-3
    assert gelu.fingerprint != plain.fingerprint


def test_only_safetensors_are_asked_for(hub, known_model):
    assert OpenClipEncoder(known_model, "named", device="cpu").dim == 24
    assert hub == [("org/named", "weights.safetensors")]


def test_model_of_the_hub_brings_config_and_weights(hub, folders):
    encoder = OpenClipEncoder("hf-hub:org/clip", device="cpu")
    local = OpenClipEncoder.from_folder(folders["bpe"], device="cpu")
    assert encoder.fingerprint == local.fingerprint
    with pytest.raises(InvalidArgument, match="'hf-hub:org/clip', which brings its own weights"):
        OpenClipEncoder("hf-hub:org/clip", "laion2b", device="cpu")


def test_what_cannot_be_downloaded_is_an_error_that_says_what_to_do(hub, known_model):
    with pytest.raises(
        InvalidArgument,
        match=r"open_clip_model.safetensors .*of 'org/gone' is not in the local cache.*from_folder",
    ):
        OpenClipEncoder(known_model, "gone", device="cpu")


def test_default_is_the_published_vit_b_32(hub):
    with pytest.raises(InvalidArgument, match="of 'laion/CLIP-ViT-B-32-laion2B-s34B-b79K' is not"):
        OpenClipEncoder(device="cpu")


def test_offline_hub_client_gives_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidArgument, match="not in the local cache and could not be downloaded"):
        OpenClipEncoder(device="cpu", cache_dir=tmp_path)


# ---- what is refused ----


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="open_clip has no model 'ViT-B-33'.*list_models"):
        OpenClipEncoder("ViT-B-33", device="cpu")
    with pytest.raises(
        InvalidArgument, match="pretrained='nope' for 'ViT-B-32'.*laion2b_s34b_b79k"
    ):
        OpenClipEncoder("ViT-B-32", "nope", device="cpu")
    with pytest.raises(InvalidArgument, match="pretrained=None for 'RN50'.*one of the tags openai"):
        OpenClipEncoder("RN50", device="cpu")
    with pytest.raises(InvalidArgument, match="holds 0 files of weights"):
        OpenClipEncoder.from_folder(tmp_path, device="cpu")


def test_several_files_of_weights_are_refused_unless_one_has_a_usual_name(folders, tmp_path):
    copy = shutil.copytree(folders["bpe"], tmp_path / "several")
    shutil.copy(weights_of(copy), copy / "epoch_2.safetensors")
    assert source_module.weights_in(copy).name == "model.safetensors"
    weights_of(copy).rename(copy / "epoch_1.safetensors")
    with pytest.raises(InvalidArgument, match=r"2 files of weights \(epoch_1.*epoch_2"):
        OpenClipEncoder.from_folder(copy, device="cpu")


def test_pickled_weights_need_permission_and_a_new_torch(folders, tmp_path, monkeypatch):
    import torch
    from safetensors.torch import load_file

    copy = shutil.copytree(folders["bpe"], tmp_path / "pickled")
    torch.save(load_file(weights_of(copy)), copy / "weights.pt")
    config = copy / "open_clip_config.json"
    with pytest.raises(InvalidArgument, match="are not safetensors.*allow_unsafe_weights=True"):
        OpenClipEncoder("x", copy / "weights.pt", config=config, device="cpu")
    allowed = OpenClipEncoder(
        "x", copy / "weights.pt", config=config, device="cpu", allow_unsafe_weights=True
    )
    safe = OpenClipEncoder.from_folder(folders["bpe"], device="cpu")
    assert allowed.fingerprint == safe.fingerprint
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InvalidArgument, match=r"with torch 2.10 or newer; this is 2.9.1\+cpu"):
        OpenClipEncoder(
            "x", copy / "weights.pt", config=config, device="cpu", allow_unsafe_weights=True
        )
    weights_of(copy).unlink()
    with pytest.raises(InvalidArgument, match="holds 0 files of weights"):
        OpenClipEncoder.from_folder(copy, device="cpu")


def test_config_that_wants_to_run_code_is_refused(folders, tmp_path):
    folder = variant(
        folders["hf"], tmp_path, text_cfg={"tokenizer_kwargs": {"trust_remote_code": True}}
    )
    with pytest.raises(InvalidArgument, match="asks to run code of its own"):
        OpenClipEncoder.from_folder(folder, device="cpu")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "could not be read"),
        ("[]", "is no config of an open_clip model"),
        ('{"embed_dim": 3}', "expected the keys embed_dim, vision_cfg and text_cfg"),
    ],
)
def test_broken_config_is_refused(folders, tmp_path, content, match):
    copy = shutil.copytree(folders["bpe"], tmp_path / "broken")
    (copy / "open_clip_config.json").write_text(content)
    with pytest.raises(InvalidArgument, match=match):
        OpenClipEncoder.from_folder(copy, device="cpu")


def test_weights_of_another_architecture_are_refused(folders, tmp_path):
    folder = variant(folders["bpe"], tmp_path, vision_cfg={"layers": 3})
    with pytest.raises(InvalidArgument, match="could not be built from its config and the weights"):
        OpenClipEncoder.from_folder(folder, device="cpu")


def test_missing_text_folder_is_named(folders, tmp_path):
    copy = shutil.copytree(folders["hf"], tmp_path / "no-text")
    shutil.rmtree(copy / "text")
    with pytest.raises(InvalidArgument, match="names the folder 'text' for its hf_model_name"):
        OpenClipEncoder.from_folder(copy, device="cpu")


def test_text_folder_may_have_any_name_inside_but_not_outside(folders, tmp_path):
    inside = variant(
        folders["hf"], tmp_path, text_cfg={"hf_model_name": "bert", "hf_tokenizer_name": "bert"}
    )
    (inside / "text").rename(inside / "bert")
    expected = OpenClipEncoder.from_folder(folders["hf"], device="cpu")
    assert OpenClipEncoder.from_folder(inside, device="cpu").fingerprint == expected.fingerprint
    shutil.copytree(inside / "bert", tmp_path / "outside")
    config = (inside / "open_clip_config.json").read_text()
    (inside / "open_clip_config.json").write_text(config.replace('"bert"', '"../outside"'))
    with pytest.raises(InvalidArgument, match="could not be built"):
        OpenClipEncoder.from_folder(inside, device="cpu")


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtra, match=r"pip install \"diptych\[open-clip\]\""):
        OpenClipEncoder(device="cpu")


# ---- neighbours are left alone ----


def test_registry_and_logging_of_the_process_are_not_disturbed(folders, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    before = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    OpenClipEncoder.from_folder(folders["bpe"], device="cpu")
    OpenClipEncoder.from_folder(folders["bpe"], device="cpu")
    after = set(open_clip.list_models())
    assert logging.root.handlers == []
    assert before.keys() <= after
    assert all(name.startswith("diptych-") for name in after - before.keys())
    assert all(open_clip.get_model_config(name) == config for name, config in before.items())


def test_two_models_of_one_name_do_not_mix(folders, tmp_path):
    first = tiny_models.save_clip(tmp_path / "a" / "same", seed=1)
    second = tiny_models.save_clip(tmp_path / "b" / "same", seed=2)
    one, two = (OpenClipEncoder.from_folder(f, device="cpu") for f in (first, second))
    assert one.space != two.space
    assert np.abs(one.encode_query(SHORT) - two.encode_query(SHORT)).max() > 0.01
    again = OpenClipEncoder.from_folder(first, device="cpu")
    assert np.allclose(again.encode_query(SHORT), one.encode_query(SHORT))


def test_memory_running_out_halves_the_batch(folders, monkeypatch):
    import torch

    encoder = OpenClipEncoder.from_folder(folders["bpe"], device="cpu", batch_size=4)
    expected = encoder.encode_image(scenes())
    original, sizes = encoder._towers.model.encode_image, []

    def small(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("full")
        return original(pixels)

    monkeypatch.setattr(encoder._towers.model, "encode_image", small)
    assert np.allclose(encoder.encode_image(scenes()), expected, atol=1e-5)
    assert sizes == [4, 2, 2]


def test_loading_a_folder_needs_no_socket(folder, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError(f"a connection was tried: {args}")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encoder = OpenClipEncoder.from_folder(folder, device="cpu")
    assert encoder.encode_query(SHORT).shape == (4, 24)
