"""What a model is: a hash of its weights, and what it makes of inputs that are always the same.

A fingerprint must change with the model, and must not when a library is updated or the machine is
another one. So files and settings of libraries are not hashed, and computed values not either.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import ArrayLike

from diptych import media
from diptych.types import Image

__all__ = ["PROBE_TEXT", "digest_of", "probe_picture", "strongest", "weights_digest"]

_STRONGEST = 4

PROBE_TEXT = "The QUICK brown fox, 3.14 × naïve façade's re-entry! 猫が寝る 🙂 http://a.b/c?d=e_f"
"""Its tokens tell tokenizers apart."""


def digest_of(*parts: Any) -> str:
    """Return a hash of JSON values, 32 hex digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def weights_digest(module: Any) -> str:
    """Return a hash of the floating-point tensors of a torch module, 32 hex digits.

    It depends on values and shapes alone: not on the names of the tensors, which libraries change,
    nor on counters and position ids, which come and go with their versions, nor on the file.
    """
    digests = []
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            raw = tensor.detach().cpu().float().contiguous().numpy()
            digests.append(f"{list(raw.shape)}{hashlib.sha256(raw).hexdigest()}")
    return digest_of(sorted(digests))


def strongest(vector: ArrayLike) -> str:
    """Return which components of a vector are largest, with their signs: "+17-3+140-9".

    Two models practically never agree in it, while rounding errors practically never change it.
    """
    values = np.asarray(vector, np.float64).ravel()
    order = np.argsort(-np.abs(values), kind="stable")[:_STRONGEST]
    return "".join(f"{'-' if values[i] < 0 else '+'}{i}" for i in order)


def probe_picture() -> Image:
    """Return a small picture that is always the same: two crossing gradients."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    red, green = np.meshgrid(ramp, ramp)
    pixels = np.stack([red, green, np.full_like(red, 96)], axis=2)
    return Image(media.from_pil(PIL.Image.fromarray(pixels)), name="diptych probe")
