"""What comes in from a caller, checked once: finite unit rows, as encoders and indexes have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.errors import VectorError
from diptych.vectors import Vectors

__all__ = ["Rows", "checked_rows", "unit"]

Rows = NDArray[np.float64]
"""``(n, dim)``, float64: the precision in which a map is fitted."""


def checked_rows(values: ArrayLike, name: str, dim: int | None = None) -> Vectors:
    """Return ``values`` as ``(n, dim)`` float32 unit rows.

    Rows that are unit already come back as they are, so that what an index stores is not changed.

    Raises:
        VectorError: Not a 2-D array of numbers, another dimension, not finite, or a zero row.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{name} is no rectangular array of numbers: {error}.") from error
    if dim is not None and array.shape == (0,):
        return np.zeros((0, dim), np.float32)
    if array.ndim != 2 or array.shape[1] == 0:
        raise VectorError(
            f"{name} has shape {array.shape}, expected (rows, dim). A single vector is one row: "
            "vector[None, :]."
        )
    if dim is not None and array.shape[1] != dim:
        raise VectorError(
            f"{name} has {array.shape[1]} columns, expected {dim}. Pass vectors of the encoder "
            "that was used for fitting."
        )
    # The squares of a float64 may overflow or vanish where the direction is well defined.
    peak = np.abs(array).max(axis=1, initial=0.0, keepdims=True)
    wrong = ~np.isfinite(peak[:, 0]) | (peak[:, 0] == 0.0)
    if wrong.any():
        raise VectorError(
            f"{name} holds NaN, infinity or only zeros in row {int(np.argmax(wrong))} of "
            f"{len(array)}, which is no direction. Look at the input of that row."
        )
    scaled = array / peak
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    if np.all(np.abs(norms * peak - 1.0) < 1e-6):
        return np.ascontiguousarray(array, np.float32)
    return np.ascontiguousarray(scaled / norms, np.float32)


def unit(rows: Vectors) -> Vectors:
    """Return the rows scaled to length 1; a zero row stays zero, which is no evidence."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0.0, norms, 1.0), np.float32)
