"""Vector segments: write-once safetensors files, one for each commit, named by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from diptych.errors import CorruptionError
from diptych.storage import files
from diptych.storage.faiss_index import Keys
from diptych.vectors import Vectors

__all__ = ["Rows", "Segment", "read_segment", "write_segment"]

Rows = Mapping[str, tuple[Keys, Vectors]]
"""For each list the keys, ascending, and their vectors."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as the database knows it."""

    name: str
    sha256: str
    size: int


def write_segment(folder: Path, rows: Rows) -> Segment:
    """Write the vectors of one commit durably and return what the database must remember."""
    tensors = {}
    for name, (keys, vectors) in rows.items():
        tensors[f"{name}.keys"] = np.ascontiguousarray(keys, np.int64)
        tensors[f"{name}.vectors"] = np.ascontiguousarray(vectors, np.float32)
    data = save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    segment = Segment(f"{digest[:32]}.safetensors", digest, len(data))
    files.write_once(folder / segment.name, data)
    return segment


def read_segment(folder: Path, segment: Segment, dims: Mapping[str, int]) -> Rows:
    """Read a segment back and check it against what the database says.

    Raises:
        CorruptionError: The content is not the one that was committed.
        StorageError: The file is missing or unreadable.
    """
    data = files.read(folder / segment.name)
    if len(data) != segment.size or hashlib.sha256(data).hexdigest() != segment.sha256:
        raise _damaged(folder, segment, "its content is not what was committed")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise _damaged(folder, segment, str(error)) from error
    rows = {}
    for name, dim in dims.items():
        if f"{name}.keys" not in tensors:
            continue
        keys, vectors = tensors[f"{name}.keys"], tensors.get(f"{name}.vectors")
        if vectors is None or vectors.shape != (len(keys), dim) or vectors.dtype != np.float32:
            raise _damaged(folder, segment, f"the vectors of {name!r} are not (n, {dim}) float32")
        rows[name] = (keys, vectors)
    return rows


def _damaged(folder: Path, segment: Segment, reason: str) -> CorruptionError:
    return CorruptionError(
        f"The vector segment {str(folder / segment.name)!r} is damaged: {reason}. Restore the file "
        "from a backup, or build the index again from the documents."
    )
