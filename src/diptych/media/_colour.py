"""Any colour mode to 8-bit RGB on a white ground."""

from __future__ import annotations

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Transpose

from diptych.media._bands import bands, in_bands

__all__ = ["to_rgb"]

_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}


def to_rgb(
    picture: PIL.Image.Image, turn: Transpose | None = None, *, release: bool = False
) -> PIL.Image.Image:
    """Return 8-bit RGB, turned; transparent parts become white, colour profiles are dropped.

    Greys of more than 8 bits are scaled as :func:`_to_grey` says.

    Args:
        picture: A loaded picture.
        turn: How to turn the result.
        release: Whether the picture is not needed any more; it may be empty or shared afterwards.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info and release:
        result = in_bands(picture, _shared, turn, release=True)
    elif picture.mode == "F" or picture.mode.startswith("I"):
        scale = _range(picture)
        result = in_bands(picture, lambda band: _to_grey(band, *scale), turn, release=release)
    else:
        result = in_bands(picture, _to_rgb, turn, release=release)
    result.info = {}  # neither EXIF nor a profile may end up in a file that is made from it
    return result


def _shared(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a plain picture with the same pixels, which are not copied."""
    return picture._new(picture.im)


def _to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode in _ALPHA or "transparency" in picture.info:
        return _on_white(picture)
    if picture.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(picture)
    return picture.convert("RGB")


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode == "La":
        picture = picture.convert("LA")
    rgba = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    ground = PIL.Image.new("RGB", rgba.size, "white")
    ground.paste(rgba, mask=rgba.getchannel("A"))
    return ground


def _range(picture: PIL.Image.Image) -> tuple[float, float, float]:
    """Return which values of a deep grey become black and white, and its smallest one.

    16 bits have a defined white, 65535. Wider integers and floats have none: values within
    [0, 1] (floats), [0, 255] or [0, 65535] are taken to mean that range, others are stretched from
    their smallest to their largest.
    """
    if picture.mode.startswith("I;16"):
        return 0.0, 65535.0, 0.0
    low, high = np.inf, -np.inf
    for _, band in bands(picture):
        values = np.asarray(band, dtype=np.float32)
        finite = np.isfinite(values)
        low = min(low, float(values.min(where=finite, initial=np.inf)))
        high = max(high, float(values.max(where=finite, initial=-np.inf)))
    if low > high:  # nothing is finite
        return 0.0, 1.0, 0.0
    if low >= 0 and high <= 65535:
        tops = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0)
        return 0.0, next(top for top in tops if high <= top), low
    return low, high, low


def _to_grey(picture: PIL.Image.Image, low: float, high: float, smallest: float) -> PIL.Image.Image:
    """Return RGB of 16-bit, 32-bit or floating-point grey, scaled from ``low`` to ``high``.

    NaN and infinities count as the smallest value.
    """
    values: NDArray[np.float32] = np.array(picture, dtype=np.float32)
    values[~np.isfinite(values)] = smallest
    values -= np.float32(low)
    values *= 255.0 / (high - low if high > low else 1.0)
    return PIL.Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)).convert("RGB")
