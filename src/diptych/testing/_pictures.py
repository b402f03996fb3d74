"""Pictures for the contract suite, made when they are needed."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import PIL.Image

from diptych.types import Image

__all__ = ["odd", "same_pixels", "scenes"]


@cache
def scenes() -> list[Image]:
    """Return four pictures that are easy to tell apart."""
    red, green = np.meshgrid(np.linspace(0, 255, 64), np.linspace(0, 255, 48))
    gradient = np.stack([red, green, np.full_like(red, 40)], axis=2).astype(np.uint8)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = (0, 90, 255)
    drawing = np.full((40, 80, 3), 255, np.uint8)
    drawing[10:30, 10:30] = (200, 0, 0)
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    return [_image(PIL.Image.fromarray(pixels)) for pixels in (gradient, stripes, drawing, noise)]


@cache
def same_pixels() -> dict[str, Image]:
    """Return files of which every one shows the same pixels."""
    picture = scenes()[0].pil()
    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # to be turned by 90° clockwise
    stored = picture.transpose(PIL.Image.Transpose.ROTATE_90)
    clear = picture.copy()
    clear.putalpha(255)
    return {
        "PNG": _image(picture),
        "BMP": _image(picture, "BMP"),
        "TIFF": _image(picture, "TIFF"),
        "lossless WEBP": _image(picture, "WEBP", lossless=True),
        "with alpha": _image(clear),
        "turned by EXIF": _image(stored, exif=turned),
    }


@cache
def odd() -> dict[str, Image]:
    """Return pictures of every colour mode and of extreme shapes."""
    picture = scenes()[0].pil()
    frames = [PIL.Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    animated = _image(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return {
        "1-bit": _image(picture.convert("1")),
        "grey": _image(picture.convert("L")),
        "grey with alpha": _image(PIL.Image.new("LA", (9, 9), (0, 99))),
        "16-bit grey": _image(PIL.Image.fromarray(deep)),
        "floating point": _image(PIL.Image.fromarray(deep.astype(np.float32)), "TIFF"),
        "palette": _image(picture.convert("P")),
        "invisible": _image(PIL.Image.new("RGBA", (9, 9), (255, 0, 0, 0))),
        "CMYK": _image(picture.convert("CMYK"), "JPEG"),
        "animated": animated,
        "one black pixel": _image(PIL.Image.new("RGB", (1, 1))),
        "one white pixel": _image(PIL.Image.new("RGB", (1, 1), "white")),
        "1 x 20,000": _image(PIL.Image.new("RGB", (1, 20_000), "green")),
        "5,000 x 3": _image(PIL.Image.new("RGB", (5_000, 3), "green")),
    }


def _image(picture: PIL.Image.Image, kind: str = "PNG", **options: object) -> Image:
    file = BytesIO()
    picture.save(file, kind, **options)
    return Image(file.getvalue())
