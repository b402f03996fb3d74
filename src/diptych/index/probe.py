"""Known inputs, by whose vectors a model is told apart that only calls itself the same.

A fingerprint is what an encoder says of itself: for a function it is a name that its user gave. So the
index also keeps what each encoder made of a known text or picture, and compares before it encodes
anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from diptych.errors import EncoderMismatch
from diptych.image import Image
from diptych.index.embed import Models
from diptych.storage import Space
from diptych.vectors import Vectors, unit_rows

__all__ = ["SAME", "check_probe", "with_probes"]

TEXT = "A probe: 42 red apples lie beside ein blauer Würfel und 三只猫."

SAME = 0.99
"""The least cosine at which two vectors of the probe are of one model. Another device or precision gives
.9999 and more, another model about 0."""

_log = logging.getLogger(__name__)


@cache
def picture() -> Image:
    """Return the known picture: 64 x 64 pixels, two gradients and a square, the same bytes everywhere."""
    from PIL import Image as Pil

    ramp = np.arange(64, dtype=np.uint8) * 4
    pixels = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))], axis=-1)
    pixels = np.concatenate([pixels, np.full((64, 64, 1), 40, np.uint8)], axis=-1)
    pixels[20:44, 20:44] = (230, 30, 60)
    buffer = BytesIO()
    Pil.fromarray(pixels).save(buffer, "BMP")
    return Image(buffer.getvalue(), name="probe.bmp")


def with_probes(spaces: Mapping[str, Space], models: Models) -> dict[str, Space]:
    """Return the spaces with what the encoders make of the known inputs.

    An encoder that knows only certain inputs, such as a table of vectors, goes without.
    """
    probed = dict(spaces)
    for name in ("text", "image"):
        if name not in spaces:
            continue
        try:
            probed[name] = replace(spaces[name], probe=_probe(name, models).tobytes())
        except Exception as error:
            _log.info("The %s encoder goes without a probe: %s", name, error)
    return probed


def check_probe(name: str, spaces: Mapping[str, Space], models: Models, path: Path | None) -> None:
    """Compare what an encoder makes of the known input with what was made of it at first.

    Args:
        name: Whose encoder: "text" or "image".
        spaces: Which models the vectors come from.
        models: The models to compare with them.
        path: The folder of the index, for the message.

    Raises:
        EncoderMismatch: A model calls itself the same and is another one.
    """
    space = spaces.get(name)
    if getattr(models, name) is None or space is None or space.probe is None:
        return
    before = np.frombuffer(space.probe, np.float32)
    cosine = float(_probe(name, models) @ before)
    if cosine < SAME:
        raise EncoderMismatch(
            f"The {name} encoder calls itself {space.name!r} (fingerprint {space.fingerprint[:12]}), as "
            f"the one that the index {str(path)!r} was built with, but makes other vectors: for a known "
            f"{'text' if name == 'text' else 'picture'} the cosine is {cosine:.2f}, expected at least "
            f"{SAME}. Open it with the model that it was built with, or give its documents the vectors "
            "of this one: diptych.maintenance.reembed."
        )


def _probe(name: str, models: Models) -> Vectors:
    encoder: Any = models.text if name == "text" else models.image
    made = encoder.encode_document([TEXT]) if name == "text" else encoder.encode_image([picture()])
    row: Vectors = unit_rows(
        made, rows=1, dim=encoder.dim, origin=f"The {name} encoder, for a probe,"
    )[0]
    return row
