"""The fitted objects of an aligner: into the common space, and across into the other space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diptych.align._rows import checked_rows, unit
from diptych.vectors import Vectors, products

__all__ = ["Crossing", "LinearPair", "Maps", "Projector"]


@dataclass(frozen=True, eq=False)
class Projector:
    """Takes vectors of one encoder into the common space: ``(x - mean) @ matrix``, to length 1.

    Attributes:
        mean: ``(dim,)`` float32.
        matrix: ``(dim, rank)`` float32; it carries the correlation weights.
    """

    mean: Vectors
    matrix: Vectors

    @property
    def dim(self) -> int:
        """The dimension of the encoder's vectors."""
        return int(self.matrix.shape[0])

    @property
    def rank(self) -> int:
        """The dimension of the common space."""
        return int(self.matrix.shape[1])

    def project(self, rows: Vectors) -> Vectors:
        """Return ``(n, rank)`` rows before they are scaled to length 1."""
        return products(rows - self.mean, self.matrix)

    def __call__(self, vectors: ArrayLike) -> Vectors:
        """Return ``(n, rank)`` float32 unit rows; a vector equal to the mean gives a zero row.

        Raises:
            VectorError: Not rows of this dimension, not finite, or a zero row.
        """
        rows = checked_rows(vectors, "vectors", self.dim)
        return np.ascontiguousarray(unit(self.project(rows)), np.float32)


@dataclass(frozen=True, eq=False)
class LinearPair:
    """A projector for each side; the inner product of their rows is the alignment score."""

    text: Projector
    image: Projector


@dataclass(frozen=True, eq=False)
class Crossing:
    """Takes vectors of one space into the other encoder's own space, to search there in place.

    With ``a`` the unit row of the query in the common space and ``b(z) = W'(z - mean)`` the row of
    a stored vector ``z`` before scaling, the alignment score is ``a.b / |b|``. What is stored is
    ``z``, and an inner product with it cannot divide by ``|b(z)|``. To first order around the mean
    length ``m``, at a score of ``s``::

        a.b / |b|  ~  a.b / m  -  s (|b| - m) / m

    and ``|b(z)| / m`` is predicted by a linear function ``c.z`` (ridge regression on the fitted
    rows). So ``v = W a / m - s c`` ranks stored vectors by ``v.z`` almost as the common space does.
    ``s`` is chosen by validation.

    Attributes:
        into: Takes the query into the common space.
        out: The other side's projector, whose matrix is ``W``.
        length: ``m``.
        bias: ``(dim,)`` float32, ``-s c``.
        neutral: ``(dim,)`` float32, the answer to a vector that carries no evidence.
    """

    into: Projector
    out: Projector
    length: float
    bias: Vectors
    neutral: Vectors

    def __call__(self, vectors: ArrayLike, name: str = "vectors") -> Vectors:
        """Return ``(n, dim)`` float32 unit rows of the other space.

        Raises:
            VectorError: Not rows of this dimension, not finite, or a zero row.
        """
        rows = checked_rows(vectors, name, self.into.dim)
        query = unit(self.into.project(rows)) / np.float32(self.length)
        crossed = np.asarray(products(query, self.out.matrix.T) + self.bias, np.float32)
        crossed[np.linalg.norm(crossed, axis=1) < 1e-12] = self.neutral
        return np.ascontiguousarray(unit(crossed), np.float32)


@dataclass(frozen=True, eq=False)
class Maps:
    """All that an aligner learns: into the common space, and across in both directions."""

    pair: LinearPair
    to_image: Crossing
    to_text: Crossing
