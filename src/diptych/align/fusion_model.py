"""One vector of a text vector and an image vector, whose inner product is exact."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diptych.errors import InvalidArgument, VectorError
from diptych.protocols import FusionModel
from diptych.types import Weights
from diptych.vectors import Vectors, as_vectors

__all__ = ["ConcatFusion", "digest", "single_row"]

Null = tuple[float, float]
"""Mean and standard deviation of the scores of one modality when nothing is relevant."""


class ConcatFusion:
    """The exact concatenation: one inner product is the weighted sum of both scores.

    A document is ``[t ; i ; has_t, has_i]``, a query ``[u_t q_t ; u_i q_i ; b_t, b_i]`` with
    ``u_m = w_m / std_m`` and ``b_m = -u_m mean_m``, so that over the modalities both have

        query . document  =  sum_m  w_m (q_m . m - mean_m) / std_m

    A modality that either lacks adds exactly 0: with ``mean_m`` set, that is the score of an
    irrelevant document, so a missing half counts neither for nor against. Weights and nulls stand
    on the query side, so they change without a new index, and are not part of the fingerprint.

    Args:
        text_dim: Dimension of the text vectors; ``None`` or 0 if there are none.
        image_dim: Dimension of the image vectors; ``None`` or 0 if there are none.
        text_weight: What text counts, at least 0.
        image_weight: What the image counts, at least 0.
        text_null: Mean and standard deviation of text scores of irrelevant documents.
        image_null: The same for image scores.

    Raises:
        InvalidArgument: A negative dimension or weight, or a null without spread.

    Example:
        >>> fusion_model = ConcatFusion(2, 3)
        >>> fusion_model([1, 0], [0, 0, 1]).tolist()
        [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
        >>> fusion_model([1, 0], None).tolist()
        [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        text_dim: int | None,
        image_dim: int | None,
        *,
        text_weight: float = 1.0,
        image_weight: float = 1.0,
        text_null: Null | None = None,
        image_null: Null | None = None,
    ) -> None:
        self.text_dim = _dimension("text_dim", text_dim)
        self.image_dim = _dimension("image_dim", image_dim)
        self.text_weight = _weight("text_weight", text_weight)
        self.image_weight = _weight("image_weight", image_weight)
        self.text_null = _null("text_null", text_null)
        self.image_null = _null("image_null", image_null)
        self.dim = self.text_dim + self.image_dim + 2
        self.fingerprint = digest("concat", self.text_dim, self.image_dim)

    def __call__(self, text_vector: ArrayLike | None, image_vector: ArrayLike | None) -> Vectors:
        """Return the ``(dim,)`` row to store for one text vector, one image vector, or both.

        Raises:
            VectorError: A vector of another dimension, or not finite.
            InvalidArgument: Both are ``None``.
        """
        return single_row(self, text_vector, image_vector)

    def fuse_document(self, text: ArrayLike | None, image: ArrayLike | None) -> Vectors:
        """Return ``(n, dim)`` float32 rows to store; ``None`` means that all rows lack it.

        Raises:
            VectorError: Rows of another dimension, not equally many, or not finite.
            InvalidArgument: Both are ``None``.
        """
        return self._rows(text, image, (1.0, 1.0), (1.0, 1.0))

    def fuse_query(
        self, text: ArrayLike | None, image: ArrayLike | None, *, weights: Weights | None = None
    ) -> Vectors:
        """Return ``(n, dim)`` float32 rows to search with.

        Args:
            text: ``(n, text_dim)``, or ``None``.
            image: ``(n, image_dim)``, or ``None``.
            weights: "text" and "image" multiply what the modality counts; other names are ignored.

        Raises:
            VectorError: Rows of another dimension, not equally many, or not finite.
            InvalidArgument: Both are ``None``, or a weight is negative or not finite.
        """
        scales, offsets = [], []
        for name, weight, (mean, std) in (
            ("text", self.text_weight, self.text_null),
            ("image", self.image_weight, self.image_null),
        ):
            asked = _weight(f"weights[{name!r}]", (weights or {}).get(name, 1.0))
            scale = weight * asked / std
            scales.append(scale)
            offsets.append(-scale * mean)
        return self._rows(text, image, (scales[0], scales[1]), (offsets[0], offsets[1]))

    def _rows(
        self,
        text: ArrayLike | None,
        image: ArrayLike | None,
        scales: tuple[float, float],
        flags: tuple[float, float],
    ) -> Vectors:
        given = text if text is not None else image
        if given is None:
            raise InvalidArgument(
                "Neither text nor image vectors were given to fuse. Give at least one of them."
            )
        n, start = len(np.atleast_1d(np.asarray(given))), 0
        rows = np.zeros((n, self.dim), np.float32)
        for place, (name, values, dim) in enumerate(
            (("text", text, self.text_dim), ("image", image, self.image_dim))
        ):
            if values is not None:
                checked = as_vectors(values, rows=n, dim=dim, origin=f"The caller ({name} vectors)")
                rows[:, start : start + dim] = checked * np.float32(scales[place])
                rows[:, self.dim - 2 + place] = flags[place]
            start += dim
        return rows


def single_row(
    model: FusionModel, text_vector: ArrayLike | None, image_vector: ArrayLike | None
) -> Vectors:
    """Return the row that a fusion model stores for one document.

    Raises:
        VectorError: A vector of another dimension, more than one row, or not finite.
        InvalidArgument: Both are ``None``.
    """
    rows: list[Any] = []
    for name, vector in (("text", text_vector), ("image", image_vector)):
        row = None if vector is None else np.asarray(vector)
        if row is not None and row.ndim != 1:
            raise VectorError(
                f"The {name} vector has shape {row.shape}, and a single vector was expected. Use "
                "fuse_document for rows."
            )
        rows.append(None if row is None else row[None, :])
    fused: Vectors = model.fuse_document(rows[0], rows[1])[0]
    return fused


def _dimension(name: str, value: int | None) -> int:
    if value is not None and (value < 0 or int(value) != value):
        raise InvalidArgument(f"{name}={value} is no dimension; give None or a whole number.")
    return int(value or 0)


def _weight(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0.0):
        raise InvalidArgument(f"{name}={value} is no weight; give a finite number of at least 0.")
    return float(value)


def _null(name: str, value: Null | None) -> Null:
    mean, std = (0.0, 1.0) if value is None else value
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0.0):
        raise InvalidArgument(
            f"{name}={value} is no mean and standard deviation; the second has to be above 0."
        )
    return float(mean), float(std)


def digest(*parts: Any) -> str:
    """Return a hash of JSON values, 32 hex digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
