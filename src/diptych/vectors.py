"""The shape that every vector has when it crosses a seam: float32, 2-D, contiguous, unit rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.checks import shown
from diptych.errors import VectorError

__all__ = ["BadRows", "Vectors", "as_row", "as_vectors", "products", "unit_rows"]

Vectors = NDArray[np.float32]
"""``(n, dim)``, float32, C-contiguous, finite."""


def as_vectors(values: ArrayLike, *, rows: int | None, dim: int, origin: str) -> Vectors:
    """Return finite ``(rows, dim)`` float32 vectors, or say what is wrong with them.

    Args:
        values: What an encoder or a caller gave; any float or integer array, or nested lists.
        rows: How many rows there must be; None for any number.
        dim: How many columns there must be.
        origin: Who made the vectors, for the message: "text encoder 'minilm'".

    Raises:
        VectorError: Not a rectangular numeric array of that shape, or not finite.
    """
    array = _rectangle(values, rows=rows, dim=dim, origin=origin)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(array).all(axis=1))
    if not finite.all():
        raise BadRows(array, finite, origin, "NaN or infinite values", "")
    return array


def as_row(values: ArrayLike, *, dim: int, origin: str) -> Vectors:
    """Return one finite vector, ``(1, dim)`` float32, given flat or as a row.

    Raises:
        VectorError: As :func:`as_vectors`.
    """
    try:
        flat = np.ndim(values) == 1
    except (TypeError, ValueError):  # ragged; as_vectors says so
        flat = False
    row: Any = [values] if flat else values
    return as_vectors(row, rows=1, dim=dim, origin=origin)


def unit_rows(values: ArrayLike, *, rows: int, dim: int, origin: str) -> Vectors:
    """Return the rows of ``values`` scaled to unit Euclidean length, ``(rows, dim)`` float32.

    Raises:
        VectorError: As :func:`as_vectors`, or a row is the zero vector, which has no direction.
    """
    array = as_vectors(values, rows=rows, dim=dim, origin=origin)
    # In float64, so that neither 1e38 overflows nor a denormal vanishes when it is squared.
    norms: NDArray[Any] = np.linalg.norm(array.astype(np.float64), axis=1)
    if rows and not norms.all():
        raise BadRows(
            array, norms > 0, origin, "the zero vector", "; it has no direction to compare"
        )
    if np.all(np.abs(norms - 1.0) < 1e-6):
        return array
    return np.ascontiguousarray(array / norms[:, None], dtype=np.float32)


class BadRows(VectorError):
    """Some rows of an array cannot be compared; the others can.

    Attributes:
        rows: Which, ascending.
        count: How many rows there are.
        array: All of them, float32.
    """

    def __init__(
        self, array: Vectors, good: NDArray[np.bool_], origin: str, what: str, why: str
    ) -> None:
        self.rows: tuple[int, ...] = tuple(np.flatnonzero(~good).tolist())
        self.count = len(array)
        self.array = array
        self._words = (origin, what, why)
        super().__init__(self.reason(self.rows[0]))

    def reason(self, row: int) -> str:
        """Return in words what is wrong with one row."""
        origin, what, why = self._words
        return (
            f"{origin} returned {what} in row {row} of {self.count}{why}. Expected finite numbers, not "
            "all of them zero. Look at the input of that row."
        )


def _rectangle(values: ArrayLike, *, rows: int | None, dim: int, origin: str) -> Vectors:
    try:
        given = np.asarray(values)
        if np.iscomplexobj(given):
            raise TypeError("complex numbers")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused later
            array = np.ascontiguousarray(given, dtype=np.float32)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise VectorError(
            f"{origin} returned something that is no rectangular array of numbers "
            f"({type(values).__name__}): {shown(str(error))[1:-1]}. Expected shape "
            f"({'n' if rows is None else rows}, {dim}), float32. Convert it with numpy.asarray first."
        ) from error
    if not rows and array.size == 0:
        return np.zeros((0, dim), np.float32)
    wanted = (len(array) if array.ndim else 0) if rows is None else rows
    if array.shape != (wanted, dim):
        raise VectorError(
            f"{origin} returned an array of shape {array.shape}, expected ({wanted}, {dim}): one row "
            f"for each of the {wanted} inputs and {dim} columns."
        )
    return array


_FEW = 64
"""Up to how many rows a product stays on the calling thread, as those of a query do."""


def products(rows: Vectors, matrix: Vectors) -> Vectors:
    """Return ``rows @ matrix``, ``(n, m)`` float32; on the calling thread alone when one side is small.

    Some builds of numpy hand the products of a query to all threads of their BLAS, which then spin for
    longer than they take: on one machine a query cost 29 to 47 ms of CPU instead of 4 to 12.

    Args:
        rows: ``(n, dim)``.
        matrix: ``(dim, m)``.
    """
    if min(len(rows), matrix.shape[1]) > _FEW:
        return np.asarray(rows @ matrix, np.float32)
    return np.asarray(np.einsum("nd,dm->nm", rows, matrix, optimize=False), np.float32)
