"""What stands around the pixels in a file: metadata to leave out, orientation, number of frames.

Pillow parses metadata that is not needed here, and fails or warns when it is broken or huge.
So the pixels of a JPEG or PNG are handed on alone. All walks are linear in the file.
"""

from __future__ import annotations

import struct

__all__ = [
    "MAX_FRAMES",
    "orientation",
    "pixels_of_gif",
    "pixels_of_jpeg",
    "pixels_of_png",
    "size_of_jpeg",
    "size_of_webp",
    "tiff_frames",
]

MAX_FRAMES = 1000
"""Frames are counted no further."""

MAX_PIECES = 100_000
"""Segments of a JPEG, chunks of a PNG."""

MAX_BLOCKS = 500_000
"""Of a GIF, where a block has at most 255 bytes."""

_JPEG_KEPT = {0xE0, 0xEE}  # JFIF and Adobe: they say how the colours are coded
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


def pixels_of_jpeg(data: bytes) -> tuple[list[memoryview], bytes]:
    """Return ``(parts without metadata, EXIF)`` of a JPEG file."""
    view = memoryview(data)
    kept, exif, at = [view[:2]], b"", 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA:  # start of scan: pixels until the end
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            if marker in _JPEG_KEPT:
                kept.append(view[at:end])
            elif marker == 0xE1 and not exif and data[at + 4 : at + 10] == b"Exif\0\0":
                exif = data[at + 10 : end]
        else:
            kept.append(view[at:end])
        at = end
        _check_pieces(len(kept))
    kept.append(view[at:])
    return [part for part in kept if part], exif


def size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG file; None when its frame header is not found."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xDA:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def size_of_webp(data: bytes) -> tuple[int, int] | None:
    """Return width and height of the canvas of a WEBP file; None when its first chunk is unknown."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        wide, high = (int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return wide + 1, high + 1
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30:
        wide, high = struct.unpack_from("<HH", data, 26)
        return wide & 0x3FFF, high & 0x3FFF
    return None


def pixels_of_png(data: bytes) -> tuple[list[memoryview], bytes, int]:
    """Return ``(parts of the first frame without metadata, EXIF, frames)`` of a PNG or APNG file."""
    view = memoryview(data)
    kept, exif, frames, at, pieces = [view[:8]], b"", 0, 8, 0
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data):
            break
        if kind in _PNG_KEPT:
            kept.append(view[at:end])
        elif kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        elif kind == b"fcTL":
            frames += 1
        at, pieces = end, pieces + 1
        _check_pieces(pieces)
        if kind == b"IEND":
            return kept, exif, _bounded(frames)
    kept.append(view[at:])  # cut off: let the decoder say so
    return [part for part in kept if part], exif, _bounded(frames)


def pixels_of_gif(data: bytes) -> tuple[list[memoryview], int, int, int]:
    """Return ``(parts of the first frame, width, height, frames)`` of a GIF file.

    The size includes where the first frame is larger than the screen. Comments are left out.
    """
    view = memoryview(data)
    if len(data) < 13:
        return [view], 0, 0, 0
    width, height = struct.unpack_from("<HH", data, 6)
    at, frames, blocks = 13 + _colour_table(data[10]), 0, 0
    kept, control = [view[:at]], view[:0]
    while at < len(data) and frames < MAX_FRAMES:
        start = at
        if data[at] == 0x21:  # extension: a label, then blocks
            at, count = _after_blocks(data, at + 2)
            if data[start + 1 : start + 2] == b"\xf9" and not frames:
                control = view[start:at]
        elif data[at] == 0x2C and at + 10 < len(data):  # picture: place, size, colours, blocks
            if not frames:
                left, top, wide, high = struct.unpack_from("<HHHH", data, at + 1)
                width, height = max(width, left + wide), max(height, top + high)
            at, count = _after_blocks(data, at + 11 + _colour_table(data[at + 9]))
            if not frames:
                kept += [control, view[start:at]]
            frames += 1
        else:
            break
        blocks += count
        _check_pieces(blocks, MAX_BLOCKS)
    if at > len(data):  # cut off: let the decoder say so
        return [part for part in kept if part], width, height, _bounded(frames)
    return [part for part in kept if part] + [memoryview(b";")], width, height, _bounded(frames)


def tiff_frames(data: bytes) -> int:
    """Return the number of pages of a TIFF file: the length of its chain of directories."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count_format, entry, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    count_size = struct.calcsize(order + count_format)
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
        while at and at not in seen and len(seen) < MAX_FRAMES:
            (count,) = struct.unpack_from(order + count_format, data, at)
            seen.add(at)
            (at,) = struct.unpack_from(order + offset_format, data, at + count_size + count * entry)
    except (struct.error, OverflowError):
        pass
    return _bounded(len(seen))


def orientation(exif: bytes) -> int:
    """Return the orientation that EXIF gives, 1 to 8; 1 (upright) when it is absent or broken."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, entry)
            if tag == 0x0112:
                (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), exif, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _bounded(frames: int) -> int:
    return min(max(frames, 1), MAX_FRAMES)


def _colour_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> tuple[int, int]:
    """Return the position after a run of length-prefixed blocks, and how many there are.

    The run ends with an empty block.
    """
    count = 1
    while at < len(data) and data[at] and count <= MAX_BLOCKS:
        at += 1 + data[at]
        count += 1
    return at + 1, count


def _check_pieces(count: int, most: int = MAX_PIECES) -> None:
    """Refuse a file that is cut into more pieces than an encoder makes of it."""
    if count > most:
        raise ValueError(f"it is cut into more than {most:,} pieces")
