"""What one can see of an index: its vector indexes one by one, and its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from diptych.checks import at_least_one, list_of
from diptych.filters import Filter
from diptych.index.snapshot import Snapshot
from diptych.storage import Space
from diptych.types import Hit
from diptych.vectors import Vectors, as_vectors

__all__ = ["IndexInfo", "VectorView"]


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The size of an index and the models that it was built with."""

    path: Path | None
    documents: int
    texts: int
    images: int
    both: int
    groups: int
    spaces: dict[str, Space]
    vectors: dict[str, int]
    bytes: int


class VectorView:
    """One of the three vector indexes: how many vectors, of which space, and a search in it alone.

    Args:
        name: "text", "image" or "cross_modal".
        snapshot: Opens one state of the index, as ``MultimodalIndex.snapshot`` does.
        space: The space of its vectors; None when there is no encoder for it.
    """

    def __init__(
        self,
        name: str,
        snapshot: Callable[[], AbstractContextManager[Snapshot]],
        space: Space | None,
    ) -> None:
        self._name = name
        self._snapshot = snapshot
        self._space = space

    def __len__(self) -> int:
        with self._snapshot() as snapshot:
            return snapshot.size(self._name)

    @property
    def dim(self) -> int:
        """The number of columns; 0 when there is no encoder for this index."""
        return self._space.dim if self._space else 0

    @property
    def space(self) -> str:
        """The space that the vectors live in; empty when there is no encoder for this index."""
        return self._space.name if self._space else ""

    def search(
        self, vectors: ArrayLike, k: int = 10, *, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Return the best ``k`` documents for each query vector, by inner product.

        Args:
            vectors: ``(n, dim)``, of the space of this index. Unit rows give cosines.
            k: How many; all that match when there are fewer.
            where: Only documents that this filter admits; applied before the search.

        Raises:
            VectorError: The vectors have another shape, or are not finite.
            EncoderMismatch: The vectors of the index are of another model than the index was opened with.
        """
        k = at_least_one("k", k)
        queries = as_vectors(
            vectors, rows=None, dim=self.dim, origin=f"The query of {self._name}_index"
        )
        with self._snapshot() as snapshot:
            return snapshot.nearest(self._name, queries, k, where)

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Return the stored vectors of some documents, ``(len(ids), dim)``, NaN where there is none.

        Raises:
            EncoderMismatch: As for :meth:`search`.
        """
        wanted = list_of("ids", ids, str, "ids")
        with self._snapshot() as snapshot:
            found = snapshot.vectors(self._name, wanted)
        return np.full((len(wanted), self.dim), np.nan, np.float32) if found is None else found

    def __repr__(self) -> str:
        return f"<{self._name}_index: {len(self)} vectors of {self.dim} in {self.space!r}>"
