"""A fusion model in fewer dimensions, for a smaller cross-modal index."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import ArrayLike

from diptych.align.fusion_model import digest, single_row
from diptych.align.tensor_file import read_tensors, write_tensors
from diptych.errors import CorruptionError, EncoderMismatch, InvalidArgument, NotFitted
from diptych.protocols import FusionModel
from diptych.types import Weights
from diptych.vectors import Vectors, as_vectors, products

__all__ = ["CompressedFusion"]

KIND = "diptych.fusion"
ARRAYS = {"basis": 2}


class CompressedFusion:
    """Another fusion model in fewer dimensions: its rows times the first principal directions.

    The directions are those of the second moments ``D'D / n`` of stored rows, not of the
    covariance: without subtracting a mean, ``(D P)(Q P)'`` is the best approximation of ``D Q'``
    in ``dim`` dimensions for queries that are spread like documents (Eckart and Young 1936). It is
    approximate, missing modalities included: rescore the best hits with their exact vectors.

    Args:
        base: What makes the rows, for example ``ConcatFusion(768, 512)``.
        dim: Their new dimension, at most ``base.dim``.

    Raises:
        InvalidArgument: ``dim`` is no compression of the base.
    """

    def __init__(self, base: FusionModel, dim: int) -> None:
        if not 1 <= dim <= base.dim:
            raise InvalidArgument(
                f"dim={dim} is no compression of {base.dim} dimensions. Give a dim from 1 to "
                f"{base.dim}, or use the {type(base).__name__} itself: it is exact."
            )
        self.base = base
        self.dim = dim
        self.fingerprint = "unfitted"
        self._basis: Vectors | None = None

    def fit(self, rows: ArrayLike) -> float:
        """Learn the directions from rows of ``base.fuse_document``, of all kinds of documents.

        Args:
            rows: ``(n, base.dim)``, at least ``dim`` of them; a sample of the corpus does.

        Returns:
            The share of the rows' squared length that is kept, in [0, 1].

        Raises:
            VectorError: Rows of another dimension, or not finite.
            InvalidArgument: Fewer rows than ``dim``.
        """
        count = len(np.atleast_1d(np.asarray(rows)))
        checked = as_vectors(
            rows, rows=count, dim=self.base.dim, origin="The caller (rows to fit on)"
        ).astype(np.float64)
        if count < self.dim:
            raise InvalidArgument(
                f"{count} rows cannot fix {self.dim} directions. Fit on at least {self.dim} rows, "
                "or choose a smaller dim."
            )
        values, vectors = np.linalg.eigh(checked.T @ checked / count)
        total = max(float(values.sum()), np.finfo(np.float64).tiny)
        self._take(np.ascontiguousarray(vectors[:, ::-1][:, : self.dim], np.float32))
        return float(min(values[::-1][: self.dim].sum() / total, 1.0))

    def __call__(self, text_vector: ArrayLike | None, image_vector: ArrayLike | None) -> Vectors:
        """Return the ``(dim,)`` row to store for one text vector, one image vector, or both.

        Raises:
            NotFitted: Before ``fit``.
        """
        return single_row(self, text_vector, image_vector)

    def fuse_document(self, text: Vectors | None, image: Vectors | None) -> Vectors:
        """Return ``(n, dim)`` float32 rows to store.

        Raises:
            NotFitted: Before ``fit``.
        """
        basis = self._need()
        return np.ascontiguousarray(self.base.fuse_document(text, image) @ basis)

    def fuse_query(
        self, text: Vectors | None, image: Vectors | None, *, weights: Weights | None = None
    ) -> Vectors:
        """Return ``(n, dim)`` float32 rows to search with.

        Raises:
            NotFitted: Before ``fit``.
        """
        basis = self._need()
        joined = self.base.fuse_query(text, image, weights=weights)
        return np.ascontiguousarray(products(joined, basis))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the directions to one safetensors file; the base is not in it.

        Raises:
            NotFitted: Before ``fit``.
            StorageError: The file cannot be written.
        """
        write_tensors(path, KIND, {"basis": self._need()}, {"base": self.base.fingerprint})

    @classmethod
    def load(cls, path: str | os.PathLike[str], base: FusionModel) -> CompressedFusion:
        """Return the model of a file that ``save`` wrote, over the same base. Runs no code.

        Raises:
            StorageError: The file cannot be read, is no fusion model, or contradicts itself.
            EncoderMismatch: It was fitted on the rows of another base.
        """
        arrays, settings = read_tensors(path, KIND, ARRAYS)
        basis = arrays["basis"]
        if settings.get("base") != base.fingerprint:
            raise EncoderMismatch(
                f"{str(path)!r} was fitted on a fusion model with fingerprint "
                f"{settings.get('base')!r:.40}, and is loaded with {base.fingerprint!r}. Give the "
                "base that it was fitted with."
            )
        if basis.shape[0] != base.dim or basis.shape[1] > base.dim:
            raise CorruptionError(
                f"{str(path)!r} has directions of shape {basis.shape} for a base of {base.dim} "
                "dimensions."
            )
        model = cls(base, basis.shape[1])
        model._take(basis)
        return model

    def _take(self, basis: Vectors) -> None:
        self._basis = basis
        raw = hashlib.sha256(basis.tobytes()).hexdigest()
        self.fingerprint = digest("compressed", self.base.fingerprint, list(basis.shape), raw)

    def _need(self) -> Vectors:
        if self._basis is None:
            raise NotFitted(
                "The compressed fusion model has not been fitted. Call fit(rows) with rows of "
                "base.fuse_document, or load one with CompressedFusion.load(path, base)."
            )
        return self._basis
