"""Any colour mode to 8-bit RGB on a white ground."""

from __future__ import annotations

import numpy as np
import PIL.Image
from numpy.typing import NDArray

__all__ = ["to_rgb"]

_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}


def to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return an 8-bit RGB copy; transparent parts become white, colour profiles are dropped.

    Greys of more than 8 bits are scaled as :func:`_to_grey` says.
    """
    if picture.mode in _ALPHA or "transparency" in picture.info:
        result = _on_white(picture)
    elif picture.mode == "F" or picture.mode.startswith("I"):
        result = _to_grey(picture).convert("RGB")
    elif picture.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        result = ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(picture)
    else:
        result = picture.convert("RGB")
    result.info = {}  # neither EXIF nor a profile may end up in a file that is made from it
    return result


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey with one transparent value
        return _to_grey(picture).convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    rgba = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    ground = PIL.Image.new("RGB", rgba.size, "white")
    ground.paste(rgba, mask=rgba.getchannel("A"))
    return ground


def _to_grey(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return 8-bit grey of 16-bit, 32-bit or floating-point grey.

    16 bits have a defined white, 65535. Wider integers and floats have none: values within
    [0, 1] (floats), [0, 255] or [0, 65535] are taken to mean that range, others are stretched from
    their smallest to their largest. NaN and infinities count as the smallest value.
    """
    values: NDArray[np.float32] = np.array(picture, dtype=np.float32)
    finite = np.isfinite(values)
    low = float(values.min(where=finite, initial=np.inf)) if finite.any() else 0.0
    high = float(values.max(where=finite, initial=-np.inf)) if finite.any() else 0.0
    values[~finite] = low
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:
        tops = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next(top for top in tops if high <= top)
    values -= low
    values *= 255.0 / (high - low if high > low else 1.0)
    return PIL.Image.fromarray(np.rint(values).astype(np.uint8))
