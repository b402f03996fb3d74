"""Another colour mode and another orientation, band by band, so that memory holds one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from tempfile import TemporaryFile

import PIL.Image
from PIL.Image import Transpose

__all__ = ["bands", "in_bands"]

_DIRECT_PIXELS = 16_000_000
"""Up to here a picture and its copy are held side by side: 128 MB."""

_BAND_PIXELS = 1_000_000


def bands(picture: PIL.Image.Image) -> Iterator[tuple[int, PIL.Image.Image]]:
    """Yield the rows of a picture, about a million pixels at a time, with the first row's number."""
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def in_bands(
    picture: PIL.Image.Image,
    convert: Callable[[PIL.Image.Image], PIL.Image.Image],
    turn: Transpose | None,
    *,
    release: bool,
) -> PIL.Image.Image:
    """Return a picture converted to RGB and turned.

    Args:
        picture: A loaded picture.
        convert: Makes RGB of any band of it; the same for a band as for the whole.
        turn: How to turn the result.
        release: Whether the picture may be emptied. Then a large one goes through an unnamed temporary
            file, and is not in memory beside its result.
    """
    width, height = picture.size
    if width * height <= _DIRECT_PIXELS:
        rgb = convert(picture)
        return rgb if turn is None else rgb.transpose(turn)
    if picture.mode == "RGB" and "transparency" not in picture.info and turn is None and release:
        return convert(picture)
    made = ((top, convert(band)) for top, band in bands(picture))
    if not release:
        return _joined(made, width, height, turn)
    with TemporaryFile() as file:
        heights = []
        for _, band in made:
            heights.append(band.height)
            file.write(band.tobytes())
        picture.close()
        file.seek(0)
        return _joined(_read(file.read, width, heights), width, height, turn)


def _read(
    read: Callable[[int], bytes], width: int, heights: list[int]
) -> Iterator[tuple[int, PIL.Image.Image]]:
    top = 0
    for rows in heights:
        yield top, PIL.Image.frombytes("RGB", (width, rows), read(3 * width * rows))
        top += rows


def _joined(
    made: Iterator[tuple[int, PIL.Image.Image]], width: int, height: int, turn: Transpose | None
) -> PIL.Image.Image:
    lies = turn in (
        Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90
    )  # fmt: skip
    from_end = turn in (
        Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM, Transpose.ROTATE_270, Transpose.TRANSVERSE
    )  # fmt: skip
    whole = PIL.Image.new("RGB", (height, width) if lies else (width, height))
    for top, band in made:
        place = height - top - band.height if from_end else top
        whole.paste(
            band if turn is None else band.transpose(turn), (place, 0) if lies else (0, place)
        )
    return whole
