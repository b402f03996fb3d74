"""Pixels out of an encoded picture, and an encoded picture out of pixels."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import PIL.Image
from PIL.Image import Transpose

from diptych.errors import MediaError
from diptych.media._colour import to_rgb
from diptych.media._containers import orientation
from diptych.media._file import check_bytes
from diptych.media._header import Opened, check_size, open_picture

__all__ = ["decode", "from_pil", "pixels"]

# What to do with the stored pixels for each EXIF orientation (Exif 2.32, tag 0x0112).
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def decode(data: bytes, *, name: str) -> PIL.Image.Image:
    """Return the first frame, upright, as 8-bit RGB on a white ground.

    Args:
        data: The whole encoded file.
        name: What to call the picture in messages.

    Raises:
        MediaError: Not a supported format, damaged, cut off, or over the limits.
    """
    return pixels(open_picture(data, name), name)


def pixels(opened: Opened, name: str) -> PIL.Image.Image:
    """Return the pixels of an opened picture, as :func:`decode`; it cannot be used again."""
    turn = _TURNS.get(opened.orientation)
    if opened.source is not None:
        opened.source.start()
    try:
        opened.picture.load()
        return to_rgb(opened.picture, turn, release=True)
    except MediaError:
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise MediaError(
            f"The picture {name} is damaged: its {opened.header.format} data could not be decoded "
            f"({error}). Save or download it again."
        ) from error


def from_pil(picture: PIL.Image.Image, name: str = "") -> bytes:
    """Return the current frame of a PIL picture as a PNG file: upright, 8-bit RGB, on white.

    Args:
        picture: Any mode.
        name: What to call the picture in messages.

    Raises:
        MediaError: It has no pixels, too many, or cannot be loaded.
    """
    name = name or f"given as a PIL picture (mode {picture.mode})"
    check_size(picture.width, picture.height, name)
    try:
        picture.load()
        exif = picture.info.get("exif")
        turn = _TURNS.get(orientation(exif)) if isinstance(exif, bytes) else None
        file = _Bounded(name)
        to_rgb(picture, turn).save(file, "PNG", compress_level=4)
    except MediaError:
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise MediaError(
            f"The picture {name} could not be read: {error}. Pass the path or the bytes of its "
            "file instead."
        ) from error
    return file.getvalue()


class _Bounded(BytesIO):
    """A file in memory of at most so many bytes as a picture may have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def write(self, content: Any, /) -> int:
        check_bytes(self.tell() + len(content), f"{self._name}, as a PNG file,")
        return super().write(content)
