"""Closed-form maps between two spaces: regularised CCA, Procrustes, ridge, anchored ridge.

All start from the same statistics of the pairs, so that a grid over shrinkage and rank costs one
eigendecomposition for each side. Everything happens within the span of the fitted rows, which
makes fewer pairs than dimensions, constant columns and repeated rows ordinary cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diptych.align._rows import Rows
from diptych.align.projector import LinearPair, Projector
from diptych.errors import InvalidArgument
from diptych.vectors import Vectors

__all__ = ["Moments", "Side", "anchored", "csa", "identity", "moments", "procrustes", "ridge"]


@dataclass(frozen=True, eq=False)
class Side:
    """The mean of one side and the eigenvectors of its covariance, zero eigenvalues left out.

    Attributes:
        mean: ``(dim,)``.
        values: ``(r,)``, positive, ascending.
        vectors: ``(dim, r)``, orthonormal columns.
    """

    mean: Rows
    values: Rows
    vectors: Rows

    @property
    def dim(self) -> int:
        """The dimension of the space."""
        return len(self.mean)

    @property
    def scale(self) -> float:
        """The mean eigenvalue over all dimensions, ``tr(C) / dim``: the unit of shrinkage."""
        return float(self.values.sum() / self.dim)


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of the pairs; ``cross`` is ``(r_text, r_image)``, in the eigenvectors."""

    text: Side
    image: Side
    cross: Rows


def moments(text: Vectors, image: Vectors) -> Moments:
    """Return the statistics of ``(n, dt)`` texts paired with ``(n, di)`` images.

    Raises:
        InvalidArgument: All rows of one side are equal.
    """
    sides, turned = [], []
    for name, vectors in (("text_vectors", text), ("image_vectors", image)):
        rows = vectors.astype(np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        side = _side(rows, mean, name)
        sides.append(side)
        turned.append(rows @ side.vectors)
    return Moments(sides[0], sides[1], turned[0].T @ turned[1] / len(text))


def csa(found: Moments, shrinkage: tuple[float, float], rank: int) -> LinearPair:
    """Return regularised CCA with correlation weights; fewer ranks are its first columns.

    ``C^g = (1-g) C + g tr(C)/d I`` on each side; ``(C_x^g)^-1/2 C_xy (C_y^g)^-1/2 = U R V'``;
    ``W_x = (C_x^g)^-1/2 U R^1/2``, and ``W_y`` alike, so that ``x~.y~ = sum_k r_k x_k y_k`` over
    the first ``rank`` canonical directions (Li et al., CSA, https://arxiv.org/abs/2410.07610).
    CSA divides by the lengths before it weights by ``R``; here the weighted rows get length 1,
    which retrieves better (benchmarks/align) and makes the score a cosine.

    Shrinkage towards ``tr(C)/d`` lowers the leading eigenvalues, so ``R`` is no correlation any
    more and exceeds 1 where a direction has more than the mean variance. It is used as it is.

    Args:
        found: From :func:`moments`.
        shrinkage: ``g`` of the text and of the image side, in (0, 1].
        rank: Dimension of the common space; cut to the directions that there are.
    """
    white = [
        1.0 / np.sqrt((1.0 - g) * side.values + g * side.scale)
        for g, side in zip(shrinkage, (found.text, found.image), strict=True)
    ]
    u, r, v = _singular(white[0][:, None] * found.cross * white[1], rank)
    root = np.sqrt(r)
    x = found.text.vectors @ (white[0][:, None] * u * root)
    y = found.image.vectors @ (white[1][:, None] * v * root)
    return _pair(found, x, y)


def procrustes(found: Moments, rank: int) -> LinearPair:
    """Return the orthonormal maps that turn the sides onto each other best.

    ``C_xy = U S V'``, ``W_x = U``, ``W_y = V`` (Schönemann 1966; for spaces of different
    dimension, the two partial isometries).
    """
    u, _, v = _singular(found.cross, rank)
    return _pair(found, found.text.vectors @ u, found.image.vectors @ v)


def ridge(found: Moments, penalty: float, *, to: str) -> LinearPair:
    """Return the regression of one side on the other: the common space is the predicted one.

    ``min |X B - Y|^2 / n + penalty tr(C_x)/d |B|^2``, on centred rows.

    Args:
        found: From :func:`moments`.
        penalty: In units of the mean eigenvalue of the side that predicts.
        to: "image" predicts image vectors from text, "text" the reverse.
    """
    source, target = (found.text, found.image) if to == "image" else (found.image, found.text)
    cross = found.cross if to == "image" else found.cross.T
    solved = cross / (source.values + penalty * source.scale)[:, None]
    mapped = source.vectors @ solved @ target.vectors.T
    stay = np.eye(target.dim)
    return _pair(found, mapped, stay) if to == "image" else _pair(found, stay, mapped)


def anchored(found: Moments, penalty: float) -> LinearPair:
    """Return a ridge map from text to image that shrinks to the identity, for one shared space.

    ``min |X (I + D) - Y|^2 / n + penalty tr(C_x)/d |D|^2`` on centred rows. An infinite penalty
    leaves the two means as all that is removed.
    """
    values, vectors = found.text.values, found.text.vectors
    # X'(Y - X) / n, within the eigenvectors of X on the left.
    residual = found.cross @ found.image.vectors.T - values[:, None] * vectors.T
    step = vectors @ (residual / (values + penalty * found.text.scale)[:, None])
    return _pair(found, np.eye(found.text.dim) + step, np.eye(found.image.dim))


def identity(dim: int) -> LinearPair:
    """Return the pair that changes nothing: what a shared space has before fitting."""
    same = Projector(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
    return LinearPair(same, same)


def _side(centred: Rows, mean: Rows, name: str) -> Side:
    n, dim = centred.shape
    if n < dim:  # (n, n): cheaper, and the same non-zero eigenvalues
        values, left = np.linalg.eigh(centred @ centred.T / n)
    else:
        values, left = np.linalg.eigh(centred.T @ centred / n)
    # Unit rows in float32 differ by 1e-7, their covariance by its square.
    if values[-1] < 1e-12:
        raise InvalidArgument(
            f"{name} does not vary: all {n} rows point the same way, so nothing can be learnt from "
            "them. Check that each row is the vector of its own document."
        )
    keep = values > 1e-10 * values[-1]
    values, left = values[keep], left[:, keep]
    vectors = centred.T @ left / np.sqrt(n * values) if n < dim else left
    return Side(mean, values, vectors)


def _singular(matrix: Rows, count: int) -> tuple[Rows, Rows, Rows]:
    """Return the ``count`` greatest singular triples, greatest first; fewer if the rest is 0.

    By the eigenvectors of the smaller Gram matrix: ten times the speed of an SVD at 384 x 1,280,
    and the singular values below 1e-6 of the greatest that it loses are noise here.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    small = matrix if wide else matrix.T
    squares, left = np.linalg.eigh(small @ small.T)
    strength = np.sqrt(np.maximum(squares[::-1], 0.0))
    count = min(count, int(np.count_nonzero(strength > 1e-6 * strength[0])))
    left, strength = left[:, ::-1][:, :count], strength[:count]
    right = small.T @ left / strength
    return (left, strength, right) if wide else (right, strength, left)


def _pair(found: Moments, x: Rows, y: Rows) -> LinearPair:
    def projector(side: Side, matrix: Rows) -> Projector:
        return Projector(side.mean.astype(np.float32), np.ascontiguousarray(matrix, np.float32))

    return LinearPair(projector(found.text, x), projector(found.image, y))
