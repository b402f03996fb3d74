"""An open_clip model built from its source: two towers, a picture transform, a tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from diptych import optional
from diptych.encoders import _fingerprint
from diptych.encoders._open_clip_source import NEEDED_BY, Source
from diptych.encoders._windows import CountTokens
from diptych.errors import InvalidArgument

__all__ = ["Towers", "build"]

_MAX_ASPECT = 16
_registering = threading.Lock()  # open_clip's registry of configs is one for the whole process


@dataclass(frozen=True, slots=True)
class Towers:
    """A model ready to encode.

    Attributes:
        model: The open_clip model, in float32 and evaluation mode.
        transform: From an RGB picture to a tensor ``(3, height, width)``.
        tokenize: From texts to token ids ``(n, context length)``.
        count: The number of tokens of each text, special tokens not counted.
        limit: How many of them the model reads.
        dim: The number of dimensions of its vectors.
        weights: A hash of the weights.
        fingerprint: A hash of weights, preprocessing and tokenizer.
    """

    model: Any
    transform: Callable[[PIL.Image.Image], Any]
    tokenize: Callable[[list[str]], Any]
    count: CountTokens
    limit: int
    dim: int
    weights: str
    fingerprint: str


def build(source: Source, device: str) -> Towers:
    """Return the model of a source.

    Raises:
        InvalidArgument: Config, weights and tokenizer do not fit together.
    """
    model, tokenizer = _load(source)
    from open_clip.transform import PreprocessCfg, image_transform_v2

    preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
    weights = _fingerprint.weights_digest(model)
    count, limit = _counter(tokenizer)
    transform = image_transform_v2(preprocess, is_train=False)
    tokens = tokenizer([_fingerprint.PROBE_TEXT])
    fingerprint = _fingerprint.digest_of(
        weights,
        _described(asdict(preprocess)),
        tokens.tolist(),
        *_probed(model, tokens, transform(_fingerprint.probe_picture().pil())),
    )
    return Towers(
        model=model.to(device),
        transform=_guarded(transform, preprocess.resize_mode),
        tokenize=tokenizer,
        count=count,
        limit=limit,
        dim=int(source.config["embed_dim"]),
        weights=weights,
        fingerprint=fingerprint,
    )


def _load(source: Source) -> tuple[Any, Any]:
    """Return ``(model, tokenizer)``: on the CPU, in float32, for inference."""
    open_clip: Any = optional.require("open_clip", needed_by=NEEDED_BY)
    text = source.config["text_cfg"]
    if text.get("hf_model_name") or text.get("hf_tokenizer_name"):
        optional.require("transformers", needed_by=f"{NEEDED_BY} with {source.name!r}")
    name = _register(open_clip, source.config)
    try:
        with _root_logger_as_it_is():
            model = open_clip.create_model(
                name,
                pretrained=str(source.weights),
                device="cpu",
                force_quick_gelu=source.quick_gelu,
                force_preprocess_cfg=source.preprocess,
                require_pretrained=True,
            )
            tokenizer = open_clip.get_tokenizer(name)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(
            f"{NEEDED_BY}: the model {source.name!r} could not be built from its config and the "
            f"weights {str(source.weights)!r}: {error}. Expected weights of exactly that "
            "architecture, and a tokenizer that is on this machine or can be downloaded."
        ) from error
    return model.float().eval().requires_grad_(False), tokenizer


def _probed(model: Any, tokens: Any, picture: Any) -> list[str]:
    """Return what both towers make of fixed inputs: activations are not part of the weights."""
    import torch

    with torch.inference_mode():
        vectors = (model.encode_text(tokens), model.encode_image(picture[None]))
    return [_fingerprint.strongest(vector.numpy()) for vector in vectors]


def _register(open_clip: Any, config: dict[str, Any]) -> str:
    """Make a config known to open_clip, and return the name, which nothing else can have."""
    text = json.dumps(config, sort_keys=True)
    name = f"diptych-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    with _registering:
        if open_clip.get_model_config(name) is None:
            with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
                path = Path(folder) / f"{name}.json"
                path.write_text(text, encoding="utf-8")
                open_clip.add_model_config(path)
    return name


@contextmanager
def _root_logger_as_it_is() -> Iterator[None]:
    """Take away the handler that open_clip's calls of ``logging.info`` give to the root logger.

    It would make a later ``logging.basicConfig`` of the application do nothing.
    """
    before = list(logging.root.handlers)
    try:
        yield
    finally:
        for handler in list(logging.root.handlers):
            if handler not in before:
                logging.root.removeHandler(handler)


def _described(preprocess: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the preprocessing in one spelling: 224 is (224, 224)."""
    size = preprocess["size"]
    return {**preprocess, "size": [size, size] if isinstance(size, int) else list(size)}


def _guarded(
    transform: Callable[[PIL.Image.Image], Any], resize_mode: str
) -> Callable[[PIL.Image.Image], Any]:
    """Return the transform, made safe for extremely long pictures.

    The model's transform scales the short side and then cuts out the middle, so that a picture of
    1 x 20,000 pixels would grow to a billion on the way. Its far ends, which are cut off anyway
    (or would become nothing, where the long side is scaled), are left out before.
    """

    def guarded(picture: PIL.Image.Image) -> Any:
        long, short = max(picture.size), min(picture.size)
        if resize_mode != "squash" and long > _MAX_ASPECT * short:
            wide, high = (min(side, _MAX_ASPECT * short) for side in picture.size)
            left, top = (picture.width - wide) // 2, (picture.height - high) // 2
            picture = picture.crop((left, top, left + wide, top + high))
        return transform(picture)

    return guarded


def _counter(tokenizer: Any) -> tuple[CountTokens, int]:
    """Return how to count tokens without special ones, and how many of them fit the context."""
    context = int(tokenizer.context_length)
    if hasattr(tokenizer, "encode"):  # OpenAI's byte-pair encoding: start and end of text
        return lambda texts: [len(tokenizer.encode(text)) for text in texts], context - 2
    inner, tidy = tokenizer.tokenizer, getattr(tokenizer, "clean_fn", str)
    special = inner.num_special_tokens_to_add()
    if getattr(tokenizer, "tokenizer_mode", "") == "clips":
        special = 3  # begin, end and class token

    def count(texts: list[str]) -> list[int]:
        tidied = [tidy(text) for text in texts]
        encoded = inner(tidied, add_special_tokens=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return count, context - special
