"""The vectors of one part of an export, of unknown origin: checked first, then read in pieces.

The file is a safetensors file: the length of a JSON header, the header, then the numbers. Its own
library would take all of it into memory twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from diptych.index.json_lines import parse
from diptych.vectors import Vectors, as_vectors

__all__ = ["Tensors"]

_HEADER_BYTES = 1 << 16
_UNIT_LISTS = ("text", "image")


class Tensors:
    """The lines that have a vector, and the vectors, for each list.

    Args:
        file: The whole file.
        dims: The length of a vector, by list.
        rows: How many documents there are.

    Raises:
        ValueError: It has other tensors than these lists, or of another kind, shape or place.
    """

    def __init__(self, file: IO[bytes], dims: Mapping[str, int], rows: int) -> None:
        self._file, self._dims = file, dims
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_HEADER_BYTES, size - 8):
            raise ValueError(f"its header has {length:,} bytes, which cannot be")
        self._start = 8 + length
        header = parse(file.read(length)).value
        if not isinstance(header, dict):
            raise ValueError("its header is not an object")
        header.pop("__metadata__", None)
        expected = {f"{name}.{kind}" for name in dims for kind in ("rows", "vectors")}
        if set(header) != expected:
            differing = sorted(expected ^ set(header))[0]
            raise ValueError(f"it lacks the tensor {differing[:60]!r}, or has it and should not")
        counts, spans = {}, {}
        for name, dim in dims.items():
            spans[f"{name}.rows"] = _span(f"{name}.rows", header, "I64", [None])
            counts[name] = spans[f"{name}.rows"][2]
            if counts[name] > rows:
                raise ValueError(f"{name} has {counts[name]:,} vectors for {rows:,} documents")
            shape = [counts[name], dim]
            spans[f"{name}.vectors"] = _span(f"{name}.vectors", header, "F32", shape)
        placed = sorted(span[:2] for span in spans.values())
        ends = [0, *(end for _, end in placed)]
        if [start for start, _ in placed] != ends[:-1] or ends[-1] != size - self._start:
            raise ValueError("its tensors overlap, or there is something between them")
        self._places = {name: start for name, (start, _, _) in spans.items()}
        self.lines = {name: self._read_lines(name, count, rows) for name, count in counts.items()}
        """For each list the lines, ascending, whose document has a vector."""

    def vectors(self, name: str, start: int, stop: int) -> Vectors:
        """Return some of the vectors of one list, ``(stop - start, dim)``, by their place in it.

        Raises:
            ValueError: They are not finite, or not of unit length in a list where all are.
        """
        dim = self._dims[name]
        self._file.seek(self._start + self._places[f"{name}.vectors"] + 4 * dim * start)
        read = np.frombuffer(self._file.read(4 * dim * (stop - start)), "<f4")
        vectors = as_vectors(
            read.reshape(-1, dim), rows=stop - start, dim=dim, origin=f"The export, for {name},"
        )
        if name in _UNIT_LISTS:
            squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
            if not np.all(np.abs(squares - 1) < 1e-3):
                raise ValueError(f"the vectors of {name} are not of unit length")
        return vectors

    def _read_lines(self, name: str, count: int, rows: int) -> NDArray[np.int64]:
        self._file.seek(self._start + self._places[f"{name}.rows"])
        lines = np.frombuffer(self._file.read(8 * count), "<i8").astype(np.int64)
        if np.any(lines[1:] <= lines[:-1]):
            raise ValueError(f"the lines of {name} are not ascending numbers")
        if count and not 0 <= lines[0] <= lines[-1] < rows:
            raise ValueError(f"the lines of {name} are not those of documents")
        return lines


def _span(
    name: str, header: Mapping[str, Any], dtype: str, expected: Sequence[int | None]
) -> tuple[int, int, int]:
    """Return where a tensor begins and ends and how long it is, after a look at kind and shape."""
    tensor = header[name]
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the tensor {name!r} is not described as one")
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(_is_count(n) for n in numbers):
            raise ValueError(f"the shape or the place of {name!r} is not made of counts")
    if tensor["dtype"] != dtype:
        raise ValueError(f"the tensor {name!r} is not of type {dtype}")
    if len(shape) != len(expected) or any(
        e not in (None, n) for n, e in zip(shape, expected, strict=True)
    ):
        raise ValueError(f"the tensor {name!r} has the shape {shape[:4]}, expected {[*expected]}")
    size = math.prod(shape) * (8 if dtype == "I64" else 4)
    if len(offsets) != 2 or offsets[1] - offsets[0] != size:
        raise ValueError(f"the tensor {name!r} does not have the bytes that its shape takes")
    return offsets[0], offsets[1], shape[0]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48
