"""Vector segments: write-once safetensors files, one for each commit, named by their content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load, save

from diptych.errors import CorruptionError
from diptych.storage.faiss_index import Keys
from diptych.storage.files import Files, repair_command
from diptych.storage.layout import SEGMENTS
from diptych.vectors import Vectors

__all__ = [
    "MOST_BYTES",
    "SEGMENT_BYTES",
    "Rows",
    "Segment",
    "is_segment",
    "read_segment",
    "scan_segments",
    "write_segments",
]

SEGMENT_BYTES = 1 << 26
"""About how large a segment may become: what is written or read in one piece."""

MOST_BYTES = 1 << 28
"""The largest segment that is read. A row is at most 12 MB, so that none is written as large as that."""

Rows = Mapping[str, tuple[Keys, Vectors]]
"""For each list the keys, ascending, and their vectors."""

_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as the database knows it."""

    name: str
    """Of the file: the XXH3 of its content."""
    size: int
    first: int
    """The least key in it; no other segment has keys from here to ``last``."""
    last: int
    rows: int
    """How many vectors, over all lists."""


def is_segment(place: str) -> bool:
    """Whether a place relative to an index is one at which it keeps a segment."""
    folder, _, name = place.rpartition("/")
    return folder == SEGMENTS and _NAME.fullmatch(name) is not None


def write_segments(files: Files, rows: Rows) -> list[Segment]:
    """Write vectors durably, in as many files as their size asks for.

    Args:
        files: Of the index.
        rows: Any number of rows; without one nothing is written.

    Returns:
        What the database must remember, in the order of the keys.
    """
    keys = np.unique(np.concatenate([np.empty(0, np.int64), *(k for k, _ in rows.values())]))
    if not len(keys):
        return []
    row_bytes = sum(8 + 4 * vectors.shape[1] for _, vectors in rows.values())
    step = max(SEGMENT_BYTES // row_bytes, 1)
    return [
        _write_segment(files, rows, int(part[0]), int(part[-1]))
        for part in (keys[at : at + step] for at in range(0, len(keys), step))
    ]


def _write_segment(files: Files, rows: Rows, first: int, last: int) -> Segment:
    tensors, count = {}, 0
    for name, (keys, vectors) in rows.items():
        start, stop = np.searchsorted(keys, [first, last + 1])
        if start < stop:
            tensors[f"{name}.keys"] = np.ascontiguousarray(keys[start:stop], np.int64)
            tensors[f"{name}.vectors"] = np.ascontiguousarray(vectors[start:stop], np.float32)
            count += int(stop - start)
    data = save(tensors)
    name = f"{xxhash.xxh3_128_hexdigest(data)}.safetensors"
    files.write_once(f"{SEGMENTS}/{name}", data)
    return Segment(name, len(data), first, last, count)


def read_segment(
    files: Files, segment: Segment, dims: Mapping[str, int]
) -> dict[str, tuple[Keys, Vectors]]:
    """Read a segment back and check it against what the database says.

    Raises:
        CorruptionError: The content is not the one that was committed.
        FormatError: It is no regular file.
        StorageError: The file is missing or unreadable.
    """
    if not _NAME.fullmatch(segment.name):
        raise _damaged(files, segment, "the database gives it a name that no segment has")
    data = files.read(f"{SEGMENTS}/{segment.name}", limit=MOST_BYTES, size=segment.size)
    if f"{xxhash.xxh3_128_hexdigest(data)}.safetensors" != segment.name:
        raise _damaged(files, segment, "its content is not what was committed")
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(files, segment, str(error)) from error
    nothing = np.empty((0, 0), np.float32)
    rows = {
        name: (tensors[f"{name}.keys"], tensors.get(f"{name}.vectors", nothing))
        for name in dims
        if f"{name}.keys" in tensors
    }
    for name, (keys, vectors) in rows.items():
        if reason := _wrong(segment, keys, vectors, dims[name]):
            raise _damaged(files, segment, f"{name}: {reason}")
    return rows


def scan_segments(files: Files, names: set[str]) -> list[Segment]:
    """Return the whole segments of a folder whose database is damaged, in the order of their keys.

    Of segments whose keys overlap, as a killed writer may leave them, the largest one counts.

    Args:
        files: Of the index.
        names: Which ones count; all of them when that is not known any more.

    Raises:
        FormatError: There is a link or the like among them.
        StorageError: The folder, or a segment in it, cannot be read.
    """
    found = []
    for name in files.names(SEGMENTS):
        if not _NAME.fullmatch(name) or (names and name not in names):
            continue
        try:
            data = files.read(f"{SEGMENTS}/{name}", limit=MOST_BYTES)
        except CorruptionError:  # it is too large
            continue
        if f"{xxhash.xxh3_128_hexdigest(data)}.safetensors" != name:
            continue
        try:
            tensors = load(data)
        except (SafetensorError, ValueError, KeyError):
            continue
        keys = [tensor for list_, tensor in tensors.items() if list_.endswith(".keys")]
        union = np.unique(np.concatenate([np.empty(0, np.int64), *keys]))
        if len(union):
            rows = sum(len(k) for k in keys)
            found.append(Segment(name, len(data), int(union[0]), int(union[-1]), rows))
    chosen: list[Segment] = []
    for segment in sorted(found, key=lambda s: -s.rows):
        if all(segment.last < other.first or segment.first > other.last for other in chosen):
            chosen.append(segment)
    return sorted(chosen, key=lambda s: s.first)


def _wrong(segment: Segment, keys: Keys, vectors: Vectors, dim: int) -> str:
    """Return why a list of a segment cannot be used; empty when it can."""
    if keys.dtype != np.int64 or keys.ndim != 1 or np.any(np.diff(keys) <= 0):
        return "the keys are not ascending integers"
    if len(keys) and not segment.first <= keys[0] <= keys[-1] <= segment.last:
        return "the keys are not those that the database says"
    if vectors.shape != (len(keys), dim) or vectors.dtype != np.float32:
        return f"the vectors are not (n, {dim}) float32"
    # A sum is finite when every term is, and takes one pass without a second matrix.
    if not np.isfinite(vectors.sum(dtype=np.float64)):
        return "there are vectors that are not finite"
    return ""


def _damaged(files: Files, segment: Segment, reason: str) -> CorruptionError:
    return CorruptionError(
        f"The vector segment {str(files.path(f'{SEGMENTS}/{segment.name}'))!r} is damaged: {reason}. Run: "
        f"{repair_command(files.folder)}, or restore the file from a backup."
    )
