"""The shape that every vector has when it crosses a seam: float32, 2-D, contiguous, unit rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.errors import VectorError

__all__ = ["Vectors", "as_vectors", "unit_rows"]

Vectors = NDArray[np.float32]
"""``(n, dim)``, float32, C-contiguous, finite."""


def as_vectors(values: ArrayLike, *, rows: int, dim: int, origin: str) -> Vectors:
    """Return finite ``(rows, dim)`` float32 vectors, or say what is wrong with them.

    Args:
        values: What an encoder or a caller gave; any float or integer array, or nested lists.
        rows: How many rows there must be.
        dim: How many columns there must be.
        origin: Who made the vectors, for the message: "text encoder 'minilm'".

    Raises:
        VectorError: Not a rectangular numeric array of that shape, or not finite.
    """
    try:
        given = np.asarray(values)
        if np.iscomplexobj(given):
            raise TypeError("complex numbers")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            array = np.ascontiguousarray(given, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise VectorError(
            f"{origin} returned something that is no rectangular array of numbers "
            f"({type(values).__name__}): {error}. Expected shape ({rows}, {dim}), float32."
        ) from error
    if rows == 0 and array.size == 0:
        return np.zeros((0, dim), np.float32)
    if array.shape != (rows, dim):
        raise VectorError(
            f"{origin} returned an array of shape {array.shape}, expected ({rows}, {dim}): one row "
            f"for each of the {rows} inputs and {dim} columns."
        )
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise VectorError(
            f"{origin} returned NaN or infinite values in row {int(np.argmin(finite))} of {rows}. "
            "Look at the input of that row."
        )
    return array


def unit_rows(values: ArrayLike, *, rows: int, dim: int, origin: str) -> Vectors:
    """Return the rows of ``values`` scaled to unit Euclidean length, ``(rows, dim)`` float32.

    Raises:
        VectorError: As :func:`as_vectors`, or a row is the zero vector, which has no direction.
    """
    array = as_vectors(values, rows=rows, dim=dim, origin=origin)
    # In float64, so that neither 1e38 overflows nor a denormal vanishes when it is squared.
    norms: NDArray[Any] = np.linalg.norm(array.astype(np.float64), axis=1)
    if rows and not norms.all():
        raise VectorError(
            f"{origin} returned the zero vector in row {int(np.argmin(norms))} of {rows}; it has "
            "no direction to compare. Look at the input of that row."
        )
    if np.all(np.abs(norms - 1.0) < 1e-6):
        return array
    return np.ascontiguousarray(array / norms[:, None], dtype=np.float32)
