"""CLIP and its relatives through open_clip: texts and pictures in one space."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from diptych import optional
from diptych.encoders import _windows
from diptych.encoders._again import again, sharing
from diptych.encoders._open_clip_model import build
from diptych.encoders._open_clip_source import (
    CONFIG_NAME,
    NEEDED_BY,
    find_source,
    weights_in,
)
from diptych.encoders._torch import check_batch_size, halving, pick_device
from diptych.types import Image
from diptych.vectors import Vectors, unit_rows

__all__ = ["OpenClipEncoder"]


class OpenClipEncoder:
    """Encodes texts and pictures into one space with a model of open_clip.

    A text longer than the model reads (77 tokens in CLIP) is cut into overlapping windows, whose
    vectors are averaged; nothing is cut off. Pictures are preprocessed as the weights were trained:
    where that is not known, loading is refused. Of a picture more than 16 times as long as wide
    only the middle is seen. May be used from several threads.

    Args:
        model_name: A name that ``open_clip.list_models()`` gives, or "hf-hub:<owner>/<name>". With
            ``config``, only what to call the model.
        pretrained: The tag of published weights, which are downloaded when they are first used, or
            the path of a file. By default "laion2b_s34b_b79k" for ViT-B-32.
        config: The path of a model config, when ``pretrained`` is a file of an unknown model.
        device: "auto" takes cuda, mps or cpu, the first that is there.
        batch_size: How many inputs the model gets at once. Halved when a GPU runs out of memory.
        preprocess: Overrides settings of the preprocessing: mean, std, interpolation, resize_mode,
            size, fill_color.
        cache_dir: Where downloads are kept; the Hugging Face cache by default.
        allow_unsafe_weights: Also load pickled weights (.pt, .pth, .bin), with torch 2.10 or newer.

    Raises:
        MissingExtra: open_clip is not installed.
        InvalidArgument: The model is unknown, incomplete, unsafe, cannot be downloaded, or does not
            fit its weights; an impossible device or batch size.
    """

    dim: int
    space: str
    fingerprint: str
    recipe: str

    def __init__(
        self,
        model_name: str = "ViT-B-32",
        pretrained: str | os.PathLike[str] | None = None,
        *,
        config: str | os.PathLike[str] | None = None,
        device: str = "auto",
        batch_size: int = 32,
        preprocess: Mapping[str, Any] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        allow_unsafe_weights: bool = False,
    ) -> None:
        check_batch_size(batch_size, needed_by=NEEDED_BY)
        optional.require("open_clip", needed_by=NEEDED_BY)
        self.device = pick_device(device, needed_by=NEEDED_BY)
        self.batch_size = batch_size
        source = find_source(
            model_name,
            pretrained,
            config=config,
            preprocess=preprocess,
            cache_dir=cache_dir,
            allow_unsafe_weights=allow_unsafe_weights,
        )
        self._load: Callable[..., OpenClipEncoder] = type(self)
        self._arguments: dict[str, Any] = {
            "model_name": model_name,
            "pretrained": _lasting(pretrained),
            "config": _lasting(config),
            "device": device,
            "preprocess": preprocess,
            "cache_dir": _lasting(cache_dir),
            "allow_unsafe_weights": allow_unsafe_weights,
        }
        self._towers = build(source, self.device)
        self._lock = threading.Lock()  # tokenizers keep their settings in themselves
        self._origin = f"{NEEDED_BY} {source.name!r}"
        self.dim = self._towers.dim
        self.space = f"{source.name}@{self._towers.weights[:8]}"
        self.fingerprint = self._towers.fingerprint
        is_file = pretrained is not None and Path(pretrained).is_file()
        is_plain = not (config or preprocess or cache_dir or is_file)
        tag = f"/{pretrained}" if pretrained else ""
        self.recipe = f"open-clip:{model_name}{tag}" if is_plain else ""

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        *,
        device: str = "auto",
        batch_size: int = 32,
        preprocess: Mapping[str, Any] | None = None,
        allow_unsafe_weights: bool = False,
    ) -> OpenClipEncoder:
        """Return the encoder of a folder that holds ``open_clip_config.json`` and weights.

        The text model and the tokenizer may lie in the folder too: in a folder that the config
        names, in ``text/`` where it says TEXT_DIR, or beside it. Weights of 16 bits are loaded as
        32 bits. Nothing is downloaded that the folder holds.

        Args:
            folder: The folder; its name becomes part of ``space``.
            device: As for the class.
            batch_size: As for the class.
            preprocess: As for the class; by default what the config says.
            allow_unsafe_weights: As for the class.

        Raises:
            MissingExtra: open_clip is not installed.
            InvalidArgument: As for the class.
        """
        path = Path(folder)
        encoder = cls(
            path.resolve().name,
            weights_in(path, allow_unsafe_weights=allow_unsafe_weights),
            config=path / CONFIG_NAME,
            device=device,
            batch_size=batch_size,
            preprocess=preprocess,
            allow_unsafe_weights=allow_unsafe_weights,
        )
        encoder.recipe = f"open-clip:{path.resolve()}" if preprocess is None else ""
        encoder._load = cls.from_folder
        encoder._arguments = {
            "folder": str(path.resolve()),
            "device": device,
            "preprocess": preprocess,
            "allow_unsafe_weights": allow_unsafe_weights,
        }
        return encoder

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` float32 unit rows; the same as :meth:`encode_document`."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` float32 unit rows."""
        if not len(texts):
            return np.zeros((0, self.dim), np.float32)
        with self._lock:
            windows = _windows.windows_of(
                _windows.clean(texts), limit=self._towers.limit, count=self._towers.count
            )
        parts = halving([window.text for window in windows], self.batch_size, self._run_texts)
        return _windows.pool(
            np.concatenate(list(parts)), windows, rows=len(texts), origin=self._origin
        )

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Return ``(len(images), dim)`` float32 unit rows.

        Pictures are decoded by several threads, one batch at a time.

        Raises:
            MediaError: A picture cannot be decoded; nothing is returned for the others.
        """
        if not len(images):
            return np.zeros((0, self.dim), np.float32)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            parts = list(
                halving(images, self.batch_size, lambda batch: self._run_images(batch, threads))
            )
        return unit_rows(np.concatenate(parts), rows=len(images), dim=self.dim, origin=self._origin)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the encoder: the model is loaded again, and compared."""
        return again, (
            self._load,
            {**self._arguments, "batch_size": self.batch_size},
            self.fingerprint,
        )

    def __copy__(self) -> Self:
        return sharing(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return sharing(self)

    def _run_texts(self, texts: Sequence[str]) -> Vectors:
        import torch

        with self._lock:
            tokens = self._towers.tokenize(list(texts))
        with torch.inference_mode():
            return _rows(self._towers.model.encode_text(tokens.to(self.device)))

    def _run_images(self, images: Sequence[Image], threads: ThreadPoolExecutor) -> Vectors:
        import torch

        tensors = list(threads.map(lambda image: self._towers.transform(image.pil()), images))
        with torch.inference_mode():
            pixels = torch.stack(tensors).to(self.device)  # (n, 3, height, width)
            return _rows(self._towers.model.encode_image(pixels))


def _lasting(given: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return a name as it is, and the path of something that is there as a whole one."""
    return str(Path(given).resolve()) if given is not None and os.path.exists(given) else given


def _rows(tensor: Any) -> Vectors:
    rows: Vectors = tensor.float().cpu().numpy()
    return rows
