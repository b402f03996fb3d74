"""A picture made to fit what a model accepts."""

from __future__ import annotations

from io import BytesIO

import PIL.Image

from diptych.errors import InvalidArgument, MediaError
from diptych.media._decode import pixels
from diptych.media._header import Opened, open_picture

__all__ = ["fit"]

_PASSED = {"JPEG", "PNG", "WEBP", "GIF"}
"""The formats that models accept."""

_QUALITIES = (90, 80, 65, 50)
_OPTIMISED_PIXELS = 8_000_000
"""A larger JPEG is written without a second pass, which would hold all of it in memory once more."""

_DRAWING_COLOURS = 4096
"""With more colours than this, a picture is a photograph, and PNG would only be larger."""


def fit(data: bytes, *, max_edge: int, max_bytes: int, name: str) -> tuple[bytes, str]:
    """Return ``(encoded picture, mime)`` within limits.

    A still JPEG, PNG, WEBP or GIF that is upright, in RGB or grey, and within the limits is
    returned unchanged. Anything else becomes an upright RGB JPEG, or a PNG where that is smaller,
    without any metadata; it is scaled down, and its quality lowered, as far as needed.

    Args:
        data: The whole encoded file.
        max_edge: The longest side in pixels.
        max_bytes: The size of the result in bytes.
        name: What to call the picture in messages.

    Raises:
        MediaError: It cannot be decoded, or not be made as small as ``max_bytes``.
        InvalidArgument: A limit is below 1.
    """
    if max_edge < 1 or max_bytes < 1:
        raise InvalidArgument(
            f"A picture cannot be fitted into {max_edge} pixels and {max_bytes} bytes; expected "
            "limits of 1 or more."
        )
    opened = open_picture(data, name)
    passed = _is_acceptable(opened, max_edge) and len(data) <= max_bytes
    if not passed and opened.header.format == "JPEG":
        # Lets the decoder skip detail that scaling would average away; still ≥ 2x the result.
        opened.picture.draft(None, (2 * max_edge, 2 * max_edge))
    rgb = pixels(opened, name)  # also proves that a picture which is passed through is whole
    if passed:
        return data, opened.header.mime
    return _encode(rgb, max_edge, max_bytes, name)


def _is_acceptable(opened: Opened, max_edge: int) -> bool:
    header = opened.header
    return (
        header.format in _PASSED
        and header.frames == 1
        and opened.orientation == 1
        and opened.picture.mode != "CMYK"
        and max(header.width, header.height) <= max_edge
    )


def _encode(rgb: PIL.Image.Image, max_edge: int, max_bytes: int, name: str) -> tuple[bytes, str]:
    edge = min(max_edge, max(rgb.size))
    while edge >= 1:
        scaled = _scaled(rgb, edge)
        for quality in _QUALITIES:
            small = scaled.width * scaled.height <= _OPTIMISED_PIXELS
            jpeg = _save(scaled, "JPEG", quality=quality, optimize=small)
            if quality == _QUALITIES[0] and scaled.getcolors(_DRAWING_COLOURS):
                png = _save(scaled, "PNG", optimize=False)
                if len(png) <= min(len(jpeg), max_bytes):
                    return png, "image/png"
            if len(jpeg) <= max_bytes:
                return jpeg, "image/jpeg"
        edge = edge * 3 // 4
    raise MediaError(
        f"The picture {name} cannot be made as small as {max_bytes} bytes, even as a single pixel. "
        "Allow at least 1,000 bytes."
    )


def _scaled(rgb: PIL.Image.Image, edge: int) -> PIL.Image.Image:
    longest = max(rgb.size)
    if longest <= edge:
        return rgb
    width, height = (max(1, round(side * edge / longest)) for side in rgb.size)
    return rgb.resize((width, height), PIL.Image.Resampling.LANCZOS, reducing_gap=3.0)


def _save(rgb: PIL.Image.Image, kind: str, **options: int) -> bytes:
    file = BytesIO()
    rgb.save(file, kind, **options)
    return file.getvalue()
