"""A fitted aligner as a value, and as a file."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diptych.align.projector import Crossing, LinearPair, Maps, Projector
from diptych.align.tensor_file import read_tensors, write_tensors
from diptych.errors import CorruptionError
from diptych.vectors import Vectors

__all__ = ["Stored", "read_aligner", "write_aligner"]

KIND = "diptych.aligner"
ARRAYS = {
    "text.mean": 1, "text.matrix": 2, "image.mean": 1, "image.matrix": 2,
    "to_image.bias": 1, "to_image.neutral": 1, "to_text.bias": 1, "to_text.neutral": 1,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stored:
    """All that an aligner is once it has been fitted."""

    text_space: str
    image_space: str
    method: str
    maps: Maps
    temperature: float

    def arrays(self) -> dict[str, Vectors]:
        """Return the arrays by the names that they have in a file."""
        pair, to_image, to_text = self.maps.pair, self.maps.to_image, self.maps.to_text
        found = (
            pair.text.mean, pair.text.matrix, pair.image.mean, pair.image.matrix,
            to_image.bias, to_image.neutral, to_text.bias, to_text.neutral,
        )  # fmt: skip
        return dict(zip(ARRAYS, found, strict=True))

    def settings(self) -> dict[str, Any]:
        """Return everything else, as JSON values."""
        return {
            "text_space": self.text_space,
            "image_space": self.image_space,
            "method": self.method,
            "temperature": self.temperature,
            "to_image_length": self.maps.to_image.length,
            "to_text_length": self.maps.to_text.length,
        }

    @cached_property
    def fingerprint(self) -> str:
        """A hash of arrays and settings, 32 hex digits."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for name, array in self.arrays().items():
            digest.update(f"{name}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]


def write_aligner(path: str | os.PathLike[str], stored: Stored) -> None:
    """Write a fitted aligner.

    Raises:
        StorageError: The file cannot be written.
    """
    write_tensors(path, KIND, stored.arrays(), stored.settings())


def read_aligner(path: str | os.PathLike[str]) -> Stored:
    """Return the fitted aligner of a file.

    Raises:
        StorageError: The file cannot be read, is no aligner, or contradicts itself.
    """
    arrays, settings = read_tensors(path, KIND, ARRAYS)
    pair = LinearPair(
        Projector(arrays["text.mean"], arrays["text.matrix"]),
        Projector(arrays["image.mean"], arrays["image.matrix"]),
    )
    _check(arrays, pair, settings, path)
    ways = [
        Crossing(
            into=into,
            out=out,
            length=float(settings[f"{name}_length"]),
            bias=arrays[f"{name}.bias"],
            neutral=arrays[f"{name}.neutral"],
        )
        for name, into, out in (
            ("to_image", pair.text, pair.image),
            ("to_text", pair.image, pair.text),
        )
    ]
    return Stored(
        settings["text_space"],
        settings["image_space"],
        settings["method"],
        Maps(pair, *ways),
        float(settings["temperature"]),
    )


def _check(
    arrays: dict[str, Vectors],
    pair: LinearPair,
    settings: dict[str, Any],
    path: str | os.PathLike[str],
) -> None:
    sizes = [len(arrays[f"{kind}.{part}"]) for kind, part in (
        ("text", "mean"), ("to_text", "bias"), ("to_text", "neutral"),
        ("image", "mean"), ("to_image", "bias"), ("to_image", "neutral"),
    )]  # fmt: skip
    if pair.text.rank != pair.image.rank or sizes != [pair.text.dim] * 3 + [pair.image.dim] * 3:
        raise CorruptionError(
            f"{str(path)!r} is an aligner whose arrays do not fit each other: "
            f"{ {name: array.shape for name, array in arrays.items()} }."
        )
    for name in ("text_space", "image_space", "method"):
        if not isinstance(settings.get(name), str):
            raise CorruptionError(f"{str(path)!r} is an aligner without a {name}.")
    for name in ("temperature", "to_image_length", "to_text_length"):
        value = settings.get(name)
        if not isinstance(value, float) or not math.isfinite(value) or value <= 0.0:
            raise CorruptionError(
                f"{str(path)!r} is an aligner with {name} = {value!r:.40}; a positive number was "
                "expected."
            )
