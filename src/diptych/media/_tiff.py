"""What the first directory of a TIFF file declares, checked before a decoder believes it.

A TIFF is a list of places in the file. They can overlap, repeat, and be more than the picture needs;
a strip can be as large as the picture, or hold a whole JPEG.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from diptych.media._work import MAX_SCANNED, MAX_SCANS, JpegWork, jpeg_work

__all__ = ["TiffWork", "tiff_work"]

_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f",
          12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_BYTES_TYPES = {1, 2, 6, 7}
_MAX_ENTRIES, _MAX_NUMBERS = 4096, 200_000
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32771, 32773, 32946, 50000}
"""None, CCITT, LZW, JPEG, Deflate, PackBits, Zstandard."""
_ZSTD_WINDOW = 128_000_000
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 274, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325


@dataclass(frozen=True, slots=True)
class TiffWork:
    """What a TIFF asks of its decoder.

    Attributes:
        width: In pixels, 0 when it is not said.
        height: Likewise.
        beside: Bytes that the decoder holds beside the pixels.
    """

    width: int
    height: int
    beside: float


def tiff_work(data: bytes) -> TiffWork:
    """Return what decoding the first page takes.

    Raises:
        ValueError: It declares more places, larger strips or another compression than can be
            decoded within bounds. The message is the end of a sentence about the picture.
    """
    tags = _Tags(data)
    width, height = tags.number(_WIDTH), tags.number(_HEIGHT)
    if width < 1 or height < 1 or width * height > 1 << 40:
        return TiffWork(width, height, 0)
    compression = tags.number(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise ValueError(
            f"it is compressed by method {compression}; expected none, LZW, Deflate, PackBits, JPEG or CCITT"
        )
    samples = max(tags.number(_SAMPLES, 1), 1)
    bits = max([*tags.numbers(_BITS), 1])
    planes = samples if tags.number(_PLANAR, 1) == 2 else 1
    in_a_pixel = bits * samples / planes / 8
    is_tiled = not tags.count(_STRIPS)
    if is_tiled:
        across, down = tags.number(_TILE_WIDTH, width), tags.number(_TILE_HEIGHT, height)
    else:
        across, down = width, min(max(tags.number(_ROWS, height), 1), height)
    across, down = max(across, 1), max(down, 1)
    expected = math.ceil(width / across) * math.ceil(height / down) * planes
    count = tags.count(_TILES if is_tiled else _STRIPS)
    if count > expected or expected * across * down > 4 * planes * max(width * height, 1 << 22):
        raise ValueError(
            f"it has {count:,} strips or tiles of {across} x {down} pixels; expected {expected:,} that "
            "are not much larger than the picture"
        )
    beside = 0.0
    if compression != 1:
        beside = across * down * max(in_a_pixel, 4 if tags.number(_PHOTOMETRIC) == 6 else 0)
        beside += _packed_work(data, tags, compression, is_tiled, across * down)
    if tags.number(_ORIENTATION, 1) != 1:
        beside += 4 * width * height  # Pillow turns a copy
    return TiffWork(width, height, beside + (_ZSTD_WINDOW if compression == 50000 else 0))


def _packed_work(data: bytes, tags: _Tags, compression: int, is_tiled: bool, pixels: int) -> float:
    """Refuse strips that share bytes or are JPEGs with too many scans; return what JPEGs keep."""
    starts = tags.numbers(_TILES if is_tiled else _STRIPS)
    sizes = tags.numbers(_TILE_BYTES if is_tiled else _STRIP_BYTES)
    sizes = [
        min(size, max(len(data) - start, 0)) for start, size in zip(starts, sizes, strict=False)
    ]
    if sum(sizes) > 2 * len(data):
        raise ValueError(
            f"its strips or tiles overlap: they have {sum(sizes):,} bytes, and the file {len(data):,}"
        )
    if compression != 7:
        return 0.0
    scanned, beside = 0, 0.0
    for start, size in zip(starts, sizes, strict=False):
        work: JpegWork = jpeg_work(data, start, start + size)
        scanned += work.scans * pixels
        if work.scans > MAX_SCANS or scanned > MAX_SCANNED:
            raise ValueError(
                f"the JPEGs in it have up to {work.scans} scans, which together go over {scanned:,} "
                f"pixels; expected at most {MAX_SCANNED:,}"
            )
        if work.scans > 1:
            beside = max(beside, 2 * work.samples * pixels)
    return beside


class _Tags:
    """The entries of the first directory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        is_big = data[2:4] in (b"+\0", b"\0+")
        self._inline = 8 if is_big else 4
        self._entries: dict[int, tuple[int, int, int]] = {}
        try:
            self._read("Q" if is_big else "H", "Q" if is_big else "I", 16 if is_big else 8)
        except struct.error:
            return  # cut off: let the decoder say so

    def _read(self, count_form: str, offset_form: str, header: int) -> None:
        data, order = self._data, self._order
        size = struct.calcsize(order + offset_form)
        (at,) = struct.unpack_from(order + offset_form, data, header - size)
        if at >= len(data):
            return
        (count,) = struct.unpack_from(order + count_form, data, at)
        if count > _MAX_ENTRIES:
            raise ValueError(
                f"its directory has {count:,} entries; expected at most {_MAX_ENTRIES:,}"
            )
        at += struct.calcsize(order + count_form)
        for entry in range(at, at + count * (4 + 2 * size), 4 + 2 * size):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            (numbers,) = struct.unpack_from(order + offset_form, data, entry + 4)
            form = _TYPES.get(kind)
            if form is None:
                continue
            if numbers > _MAX_NUMBERS and kind not in _BYTES_TYPES:
                raise ValueError(
                    f"its entry {tag} has {numbers:,} numbers; expected at most {_MAX_NUMBERS:,}"
                )
            place = entry + 4 + size
            if numbers * struct.calcsize(order + form) > self._inline:
                (place,) = struct.unpack_from(order + offset_form, data, place)
            self._entries[tag] = (kind, numbers, place)

    def count(self, tag: int) -> int:
        """Return how many numbers an entry has; 0 when there is none."""
        return self._entries.get(tag, (0, 0, 0))[1]

    def numbers(self, tag: int) -> list[int]:
        """Return the whole numbers of an entry."""
        kind, count, place = self._entries.get(tag, (0, 0, 0))
        form = _TYPES.get(kind, "")
        if form not in ("B", "H", "I", "Q") or count > _MAX_NUMBERS:
            return []
        try:
            return list(struct.unpack_from(f"{self._order}{count}{form}", self._data, place))
        except (struct.error, OverflowError):
            return []

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first number of an entry."""
        found = self.numbers(tag)
        return found[0] if found else default
