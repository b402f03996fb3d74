"""How much work and memory decoding takes, computed from the file before anything is decoded.

The sizes that a header gives do not bound the work of a progressive JPEG, which goes over all its
pixels once for each scan, nor the memory, which depends on what a decoder holds beside the pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from diptych.errors import MediaError

__all__ = [
    "MAX_MEMORY",
    "MAX_SCANNED",
    "MAX_SCANS",
    "JpegWork",
    "check_memory",
    "check_scans",
    "jpeg_work",
]

MAX_SCANS = 100
"""Of a JPEG. Encoders write 1 to 20; libtiff has the same bound."""

MAX_SCANNED = 2_000_000_000
"""Pixels times scans: 40 scans of the largest picture, about 5 seconds."""

MAX_MEMORY = 275_000_000
"""Bytes: the file, the decoded picture, and what its decoder holds beside it."""

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""Inside of a scan, every other byte after 0xFF belongs to the pixels."""

_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_MARKERS = 20_000

_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Of a pixel in memory, by colour mode; 4 in the others."""


@dataclass(frozen=True, slots=True)
class JpegWork:
    """What a JPEG asks of its decoder.

    Attributes:
        scans: How often it goes over the pixels.
        samples: How many numbers a pixel has, 1.5 for colours at half the size; they are all kept
            in memory, two bytes each, when there is more than one scan.
    """

    scans: int
    samples: float


def jpeg_work(data: bytes | memoryview, start: int = 0, end: int | None = None) -> JpegWork:
    """Count the scans of a JPEG up to its end mark; trailing data does not count.

    Linear in the file. Counting stops above :data:`MAX_SCANS`.
    """
    end = len(data) if end is None else min(end, len(data))
    at, scans, samples, is_progressive, count = start + 2, 0, 3.0, False, 0
    while at + 4 <= end and count < _MAX_MARKERS and scans <= MAX_SCANS:
        found = _MARKER.search(data, at, end)
        if found is None or found.end() + 2 > end:
            break
        count += 1
        marker, at = found.group()[1], found.end()
        if marker == 0xD9:
            break
        if marker == 0xD8:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in _FRAMES:
            samples = _samples(bytes(data[at : at + length]))
            is_progressive = marker in _PROGRESSIVE
        elif marker == 0xDA:
            scans += 1
        at += max(length, 2)
    if count >= _MAX_MARKERS:
        scans = max(scans, MAX_SCANS + 1)
    return JpegWork(max(scans, 2 if is_progressive else 1), samples)


def check_scans(scans: int, width: int, height: int, name: str) -> None:
    """Raise a ``MediaError`` when a JPEG goes over its pixels too often."""
    most = min(MAX_SCANS, max(1, MAX_SCANNED // (width * height)))
    if scans > most:
        many = f"more than {MAX_SCANS}" if scans > MAX_SCANS else str(scans)
        raise MediaError(
            f"The picture {name} has {many} scans, each of which goes over all its {width} x {height} "
            f"pixels; expected at most {most}, and usually 1 to 20. Save it again as a baseline JPEG."
        )


def check_memory(
    mode: str, width: int, height: int, name: str, *, beside: float, file_bytes: int
) -> None:
    """Raise a ``MediaError`` when decoding would take more than :data:`MAX_MEMORY`.

    Args:
        mode: The colour mode that is decoded to.
        width: In pixels.
        height: In pixels.
        name: What to call the picture in messages.
        beside: What the decoder holds beside the pixels, in bytes.
        file_bytes: The size of the encoded file.
    """
    takes = width * height * _BYTES.get(mode, 4) + beside + file_bytes
    if takes > MAX_MEMORY:
        raise MediaError(
            f"The picture {name} ({width} x {height} pixels, mode {mode}) would take {takes / 1e6:,.0f} MB "
            f"of memory to decode; expected at most {MAX_MEMORY / 1e6:,.0f} MB. Scale it down, or save it "
            "as a baseline JPEG or a PNG without alpha."
        )


def _samples(frame: bytes) -> float:
    """Return how many numbers a pixel has on average, from the header of a frame."""
    factors = [
        (byte >> 4, byte & 15)
        for byte in frame[9 : 9 + 3 * (frame[7] if len(frame) > 7 else 0) : 3]
    ]
    across, down = (max((f[i] for f in factors), default=0) for i in (0, 1))
    if not across or not down:
        return 4.0
    return sum(h * v for h, v in factors) / (across * down)
