"""Opens a picture as far as its header, and refuses it there when it is too large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import PIL.Image

from diptych.errors import MediaError
from diptych.media import _containers
from diptych.media._containers import MAX_FRAMES
from diptych.media._file import check_bytes
from diptych.media._sniff import FORMATS, sniff
from diptych.media._source import Source
from diptych.media._tiff import tiff_work
from diptych.media._work import check_memory, check_scans, jpeg_work

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["MAX_FRAMES", "MAX_PIXELS", "MAX_SIDE", "Header", "Opened", "check_size", "open_picture"]

MAX_PIXELS = 50_000_000
"""The largest picture, in pixels: 200 MB when it is decoded."""

MAX_SIDE = 20_000
"""The longest side, in pixels."""

_WEBP = 12.0
"""What the decoder of WEBP holds for each pixel beside the picture: three frames."""

_MAX_RLE_BYTES = 4_000_000
"""A run-length encoded BMP is decoded in Python, byte by byte."""

_BLOCK = 1 << 12
"""How much of a JPEG is decoded between two looks at the clock."""


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
        source: What is read by its decoder within a budget of time, where that can be.
    """

    picture: ImageFile
    header: Header
    orientation: int
    source: Source | None


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
    try:
        seen = _look(found, data, name)
        picture = _plugin(found, seen.source or BytesIO(data))
    except MediaError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise MediaError(_too_large(name, str(error))) from error
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise MediaError(
            f"The picture {name} is damaged: its {found} header could not be read ({error}). "
            "Save or download it again."
        ) from error
    check_size(picture.width, picture.height, name)
    check_scans(seen.scans, picture.width, picture.height, name)
    exif, frames = seen.exif, seen.frames
    if found == "WEBP":
        exif, frames = picture.info.get("exif", b""), getattr(picture, "n_frames", 1)
    beside = seen.beside + seen.of_a_pixel * picture.width * picture.height
    check_memory(
        picture.mode, picture.width, picture.height, name, beside=beside, file_bytes=len(data)
    )
    if found == "JPEG":
        picture.decodermaxblock = _BLOCK
    turn = _containers.orientation(exif)
    width, height = picture.size if turn < 5 else picture.size[::-1]
    header = Header(found, FORMATS[found], width, height, min(frames, MAX_FRAMES))
    return Opened(picture, header, turn, seen.source)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at the file has found, and what the decoder is to see of it, if not all.

    A decoder takes ``beside`` bytes and ``of_a_pixel`` bytes for each pixel beside the pixels.
    """

    source: Source | None = None
    exif: bytes = b""
    frames: int = 1
    beside: float = 0.0
    of_a_pixel: float = 0.0
    scans: int = 1


def _look(found: str, data: bytes, name: str) -> _Seen:
    """Look through a file without its decoder, and refuse what would take too much work."""
    if found == "JPEG":
        parts, exif = _containers.pixels_of_jpeg(data)
        size = _containers.size_of_jpeg(data)
        if size is not None:
            check_size(*size, name)
        work = jpeg_work(data)
        kept = 2 * work.samples if work.scans > 1 else 0.0
        return _Seen(Source(parts, name), exif, of_a_pixel=kept, scans=work.scans)
    if found == "PNG":
        parts, exif, frames = _containers.pixels_of_png(data)
        return _Seen(Source(parts, name), exif, frames)
    if found == "GIF":
        # Pillow would warn of, or decode, a first frame larger than the screen.
        parts, width, height, frames = _containers.pixels_of_gif(data)
        check_size(width, height, name)
        return _Seen(Source(parts, name), frames=frames)
    if found == "TIFF":
        try:
            tiff = tiff_work(data)
        except ValueError as error:
            raise MediaError(
                f"The picture {name} cannot be decoded within bounds: {error}. Save it as a PNG or a JPEG."
            ) from error
        if tiff.width and tiff.height:
            check_size(tiff.width, tiff.height, name)
        return _Seen(frames=_containers.tiff_frames(data), beside=tiff.beside)
    if found == "WEBP":
        size = _containers.size_of_webp(data)
        if size is not None:
            check_size(*size, name)
            check_memory(
                "RGB", *size, name, beside=_WEBP * math.prod(size), file_bytes=3 * len(data)
            )
        return _Seen(of_a_pixel=_WEBP, beside=2 * len(data))
    if int.from_bytes(data[30:34], "little") not in (1, 2):
        return _Seen(Source([data], name))
    if len(data) > _MAX_RLE_BYTES:
        raise MediaError(
            f"The picture {name} is a run-length encoded BMP of {len(data):,} bytes; expected at most "
            f"{_MAX_RLE_BYTES:,}. Save it as a PNG."
        )
    return _Seen(of_a_pixel=3.0)


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


def _plugin(found: str, file: Any) -> ImageFile:
    """Open with the decoder of one format, past ``Image.open`` and its process-wide limit."""
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

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
