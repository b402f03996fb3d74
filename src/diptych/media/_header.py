"""Opens a picture as far as its header, and refuses it there when it is too large."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import PIL.Image

from diptych.errors import MediaError
from diptych.media import _containers
from diptych.media._containers import MAX_FRAMES
from diptych.media._file import check_bytes
from diptych.media._sniff import FORMATS, sniff

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["MAX_FRAMES", "MAX_PIXELS", "MAX_SIDE", "Header", "Opened", "check_size", "open_picture"]

MAX_PIXELS = 50_000_000
"""The largest picture, in pixels: 200 MB when it is decoded."""

MAX_SIDE = 20_000
"""The longest side, in pixels."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a picture says.

    Attributes:
        format: "JPEG", "PNG", "WEBP", "GIF", "BMP" or "TIFF".
        mime: The MIME type: "image/jpeg".
        width: Pixels, as a viewer shows the picture (EXIF orientation applied).
        height: Pixels, likewise.
        frames: Frames of an animation, pages of a TIFF; 1 for a still picture. Counted up to
            ``MAX_FRAMES``. Only the first one is ever decoded.
    """

    format: str
    mime: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture of acceptable size, not decoded yet.

    Attributes:
        picture: Pillow's picture; its pixels are read on ``load``.
        header: What the header says.
        orientation: The EXIF orientation that is still to be applied, 1 to 8.
    """

    picture: ImageFile
    header: Header
    orientation: int


def read_header(data: bytes, *, name: str) -> Header:
    """Return format, MIME type, size and number of frames of an encoded picture; decodes nothing.

    Args:
        data: The whole encoded file.
        name: What to call the picture in messages.

    Raises:
        MediaError: Not a supported format, damaged, or over the limits.
    """
    return open_picture(data, name).header


def open_picture(data: bytes, name: str) -> Opened:
    """Return a picture of which only the header has been read.

    Raises:
        MediaError: As :func:`read_header`.
    """
    check_bytes(len(data), name)
    found = sniff(data, name)
    exif, frames = b"", 1
    if found == "JPEG":
        data, exif = _containers.pixels_of_jpeg(data)
    elif found == "PNG":
        data, exif, frames = _containers.pixels_of_png(data)
    elif found == "TIFF":
        frames = _containers.tiff_frames(data)
    elif found == "GIF":
        # Pillow would warn of, or decode, a first frame larger than the screen.
        width, height, frames = _containers.gif_frames(data)
        check_size(width, height, name)
    try:
        picture = _plugin(found, data)
    except PIL.Image.DecompressionBombError as error:
        raise MediaError(_too_large(name, str(error))) from error
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise MediaError(
            f"The picture {name} is damaged: its {found} header could not be read ({error}). "
            "Save or download it again."
        ) from error
    check_size(picture.width, picture.height, name)
    if found == "WEBP":
        exif, frames = picture.info.get("exif", b""), getattr(picture, "n_frames", 1)
    turn = _containers.orientation(exif)
    width, height = picture.size if turn < 5 else picture.size[::-1]
    header = Header(found, FORMATS[found], width, height, min(frames, MAX_FRAMES))
    return Opened(picture, header, turn)


def check_size(width: int, height: int, name: str) -> None:
    """Raise a ``MediaError`` when a picture of this size is not to be decoded."""
    if width < 1 or height < 1:
        raise MediaError(
            f"The picture {name} says that it has {width} x {height} pixels; it is damaged. "
            "Save or download it again."
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        millions = f"{width * height / 1e6:,.0f} million"
        raise MediaError(_too_large(name, f"{width} x {height} pixels, {millions}"))


def _too_large(name: str, found: str) -> str:
    return (
        f"The picture {name} is too large ({found}); expected at most {MAX_PIXELS / 1e6:,.0f} "
        f"million pixels, and {MAX_SIDE:,} on a side. Scale it down first."
    )


def _plugin(found: str, data: bytes) -> ImageFile:
    """Open with the decoder of one format, past ``Image.open`` and its process-wide limit."""
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    file = BytesIO(data)
    match found:
        case "JPEG":
            return JpegImagePlugin.JpegImageFile(file)
        case "PNG":
            return PngImagePlugin.PngImageFile(file)
        case "GIF":
            return GifImagePlugin.GifImageFile(file)
        case "WEBP":
            return WebPImagePlugin.WebPImageFile(file)
        case "BMP":
            return BmpImagePlugin.BmpImageFile(file)
        case _:
            return TiffImagePlugin.TiffImageFile(file)
