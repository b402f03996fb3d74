"""One FAISS index over one kind of vector, with keys, deletes, filters and its own scores."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.storage.approximate import Approximate, Clusters, Graph, IndexKind
from diptych.vectors import Vectors

__all__ = ["Keys", "VectorIndex"]

_log = logging.getLogger(__name__)

Keys = NDArray[np.int64]
"""``(n,)`` document keys; -1 where a search found fewer than k."""

SAMPLE_SIZE = 1024
"""How many rows stand for the corpus in a null distribution: the mean is then known to 1/32 of a
standard deviation, and the scores cost one small matrix product."""

APPROXIMATE_ABOVE = 10_000
"""How many rows a list must have to be searched approximately; fewer are scanned as quickly."""

SCANNED = 0.05
"""The share of rows up to which a filter is answered by scanning what it admits."""

PACK_ABOVE = 0.25
"""The share of deleted rows above which they are removed from memory."""


class VectorIndex:
    """Inner-product search over rows that are kept in the order of their keys.

    Keys only grow, so a key is found by bisection. Deleted rows are masked at once and removed
    from memory when they are many. Not safe against changes during a search: the store locks.

    Args:
        dim: The number of columns.
        kind: "flat" searches exactly. "hnsw" and "ivf" search large lists approximately; filters that
            admit little, and large ``k``, are exact with them too, and scores always are.
    """

    def __init__(self, dim: int, kind: IndexKind = "flat") -> None:
        import faiss

        self.dim = dim
        self._faiss = faiss
        self._index = faiss.IndexFlatIP(dim)
        self._keys: Keys = np.empty(0, np.int64)
        self._live: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._dead = 0
        self._sample: Vectors | None = None
        self._kind = kind
        self._approximate: Approximate | None = None

    def __len__(self) -> int:
        return len(self._keys) - self._dead

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Append rows. ``keys`` ascend and are greater than every key so far."""
        if not len(keys):
            return
        (self._approximate or self._index).add(vectors)
        self._keys = np.concatenate([self._keys, keys])
        self._live = np.concatenate([self._live, np.ones(len(keys), np.bool_)])
        self._sample = None

    def follows(self, keys: Keys) -> bool:
        """Return whether every one of ``keys`` is greater than the keys so far."""
        return not len(keys) or not len(self._keys) or bool(keys[0] > self._keys[-1])

    def remove(self, keys: Keys) -> None:
        """Forget rows; keys that are not here are ignored."""
        rows = self._rows(keys)
        rows = rows[rows >= 0]
        if not len(rows):
            return
        self._live[rows] = False
        self._dead = int(len(self._live) - self._live.sum())
        self._sample = None
        if self._dead > PACK_ABOVE * len(self._keys):
            self._pack()

    def search(
        self, queries: Vectors, k: int, allowed: Keys | None = None
    ) -> tuple[NDArray[np.float32], Keys]:
        """Return the scores and keys of the best ``k`` rows of each query, both ``(n, k')``.

        Args:
            queries: ``(n, dim)``.
            k: How many; ``k'`` is smaller when there are fewer rows to return.
            allowed: Only these keys, ascending. None for all.
        """
        rows = None if allowed is None else self._rows(allowed)
        if rows is not None:
            rows = rows[rows >= 0]
        k = min(k, len(self) if rows is None else len(rows))
        if k <= 0 or not len(queries):
            empty = np.empty((len(queries), 0))
            return empty.astype(np.float32), empty.astype(np.int64)
        if self._approximate is not None and self._may_approximate(k, rows):
            return self._search_approximately(queries, k, rows)
        return self._search_exactly(queries, k, rows)

    def _search_exactly(
        self, queries: Vectors, k: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], Keys]:
        """Return the best ``k``; equal scores are in the order of keys, for every ``k``."""
        parameters, _kept_alive = self._selector(rows)
        most = len(self) if rows is None else len(rows)
        wanted = min(k + 1, most)
        while True:
            with _one_thread(self._faiss, len(queries)):
                scores, found = self._index.search(queries, wanted, params=parameters)
            # FAISS chooses any of those that are as good as the last one: look at all of them.
            if wanted == most or (scores[:, k - 1] > scores[:, -1]).all():
                break
            wanted = min(2 * wanted, most)
        keys = np.where(found >= 0, self._keys[found], -1)
        order = np.lexsort((keys, -scores), axis=-1)[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(keys, order, axis=1)

    def _may_approximate(self, k: int, rows: NDArray[np.int64] | None) -> bool:
        """Whether there is enough to choose from that an approximate search is quicker, and finds it."""
        count = len(self) if rows is None else len(rows)
        return count >= SCANNED * len(self._keys) and 20 * k <= count

    def _search_approximately(
        self, queries: Vectors, k: int, rows: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], Keys]:
        mask = None if rows is None and not self._dead else self._mask(rows)
        with _one_thread(self._faiss, len(queries)):
            scores, found = self._approximate.search(queries, k, mask)  # type: ignore[union-attr]
        # Whoever found less than there is searches again, exactly.
        short = np.flatnonzero(found.min(axis=1) < 0)
        keys = self._keys[found]
        if len(short):
            scores[short], keys[short] = self._search_exactly(queries[short], k, rows)
        return scores, keys

    @property
    def needs_preparing(self) -> bool:
        """Whether there are enough rows for an approximate index, and there is none."""
        return (
            self._kind != "flat"
            and self._approximate is None
            and len(self._keys) >= APPROXIMATE_ABOVE
        )

    def prepare(self, cached: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Build the approximate index, from what it knew before when that is given and fits."""
        if not self.needs_preparing:
            return
        if cached is not None:
            try:
                self._restore(cached)
                return
            except (ValueError, KeyError) as error:
                _log.info(
                    "The cached %s index does not fit and is made anew: %s", self._kind, error
                )
        self._approximate = self._new_approximate()
        with _all_threads(self._faiss):
            self._approximate.rebuild()

    def known(self) -> dict[str, NDArray[Any]] | None:
        """Return what the approximate index knows, for :meth:`prepare`; None without one."""
        if self._approximate is None:
            return None
        return {"keys": self._keys, **self._approximate.arrays()}

    def _new_approximate(self) -> Approximate:
        return Graph(self._index) if self._kind == "hnsw" else Clusters(self._index)

    def _restore(self, cached: Mapping[str, NDArray[Any]]) -> None:
        """Put the rows into the order of the cached ones; rows that are gone keep an empty place."""
        known = cached["keys"]
        if known.dtype != np.int64 or not len(known) or np.any(np.diff(known) <= 0):
            raise ValueError("the keys are not ascending")
        live, matrix = self._keys[self._live], self._matrix()[self._live]
        split = int(np.searchsorted(live, known[-1], side="right"))
        at = np.searchsorted(known, live[:split])
        if split and not np.array_equal(known[at], live[:split]):
            raise ValueError("there are rows in between that it does not know")
        gone = len(known) - split
        if gone > PACK_ABOVE * len(known):
            raise ValueError("most of what it knows is gone")
        rows = np.zeros((len(known) + len(live) - split, self.dim), np.float32)
        rows[at], rows[len(known) :] = matrix[:split], matrix[split:]
        flat = self._faiss.IndexFlatIP(self.dim)
        flat.add(rows)
        approximate = Graph(flat) if self._kind == "hnsw" else Clusters(flat)
        with _all_threads(self._faiss):
            approximate.restore(cached, len(known))
        self._index, self._approximate = flat, approximate
        self._keys = np.concatenate([known, live[split:]])
        self._live = np.ones(len(self._keys), np.bool_)
        self._live[: len(known)] = False
        self._live[at] = True
        self._dead, self._sample = gone, None

    def vectors(self, keys: Keys) -> Vectors:
        """Return ``(len(keys), dim)`` rows, NaN where a key has no vector here."""
        rows = self._rows(keys)
        found = rows >= 0
        result = np.full((len(keys), self.dim), np.nan, np.float32)
        result[found] = self._matrix()[rows[found]]
        return result

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Return which keys have a vector here, ``(len(keys),)``."""
        found: NDArray[np.bool_] = self._rows(keys) >= 0
        return found

    def sample_scores(self, query: Vectors) -> NDArray[np.float32]:
        """Return the scores of up to 1,024 rows spread evenly over the corpus: the null of a query.

        Args:
            query: ``(1, dim)``.
        """
        if self._sample is None:
            live = np.flatnonzero(self._live)
            if len(live) > SAMPLE_SIZE:
                live = live[np.linspace(0, len(live) - 1, SAMPLE_SIZE).astype(np.int64)]
            self._sample = self._matrix()[live]
        return self._products(self._sample, query[0])

    def scores(self, keys: Keys, query: Vectors) -> NDArray[np.float32]:
        """Return the exact score of each key, ``(len(keys),)``, NaN where it has no vector here.

        Args:
            keys: In any order.
            query: ``(1, dim)``.
        """
        rows = self._rows(keys)
        found = rows >= 0
        scores = np.full(len(keys), np.nan, np.float32)
        scores[found] = self._products(self._matrix()[rows[found]], query[0])
        return scores

    def live_keys(self) -> Keys:
        """Return all keys, ascending."""
        return self._keys[self._live]

    def between(self, first: int, last: int) -> tuple[Keys, Vectors]:
        """Return the keys from ``first`` to ``last``, both included, and their vectors."""
        start, stop = np.searchsorted(self._keys, [first, last + 1])
        rows = start + np.flatnonzero(self._live[start:stop])
        return self._keys[rows], self._matrix()[rows]

    def count_between(self, first: int, last: int) -> int:
        """Return how many keys there are from ``first`` to ``last``, both included."""
        start, stop = np.searchsorted(self._keys, [first, last + 1])
        return int(self._live[start:stop].sum())

    def _products(self, rows: Vectors, query: Vectors) -> NDArray[np.float32]:
        """Return the inner product of every row with a query, by FAISS's kernel: on this thread alone.

        The threads of numpy's BLAS would spin for longer than the product takes.
        """
        rows, query = np.ascontiguousarray(rows), np.ascontiguousarray(query, np.float32)
        made = np.empty(len(rows), np.float32)
        if len(rows):
            pointer = self._faiss.swig_ptr
            self._faiss.fvec_inner_products_ny(
                pointer(made), pointer(query), pointer(rows), self.dim, len(rows)
            )
        return made

    def _rows(self, keys: Keys) -> NDArray[np.int64]:
        """Return the row of each key, -1 where it is deleted or unknown."""
        if not len(self._keys):
            return np.full(len(keys), -1, np.int64)
        rows = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where((self._keys[rows] == keys) & self._live[rows], rows, -1)

    def _matrix(self) -> Vectors:
        """A view of the vectors inside the FAISS index, ``(rows, dim)``; valid until a change."""
        count = self._index.ntotal
        if not count:
            return np.empty((0, self.dim), np.float32)
        view: Vectors = self._faiss.rev_swig_ptr(self._index.get_xb(), count * self.dim)
        return view.reshape(count, self.dim)

    def _selector(self, rows: NDArray[np.int64] | None) -> tuple[Any, Any]:
        """Return FAISS search parameters, and what must outlive them."""
        if rows is None and not self._dead:
            return None, None
        if rows is not None and len(rows) < 0.02 * len(self._keys):
            # A short list is scanned by itself; wider ones test a bit per row.
            selector = self._faiss.IDSelectorArray(rows)
            return self._faiss.SearchParameters(sel=selector), (selector, rows)
        bits = np.packbits(self._mask(rows), bitorder="little")
        selector = self._faiss.IDSelectorBitmap(bits)
        return self._faiss.SearchParameters(sel=selector), (selector, bits)

    def _mask(self, rows: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        if rows is None:
            return self._live
        mask = np.zeros(len(self._keys), np.bool_)
        mask[rows] = True
        return mask

    def _pack(self) -> None:
        rows = np.flatnonzero(self._live)
        keys, vectors = self._keys[rows], self._matrix()[rows]
        self._index = self._faiss.IndexFlatIP(self.dim)
        self._index.add(vectors)
        self._keys, self._live, self._dead = keys, np.ones(len(keys), np.bool_), 0
        self._approximate = None
        self.prepare()


_forked = False
"""Whether this is a forked child. The threads of OpenMP stay with the parent, and waiting for them
would never end, so that a child searches on one thread."""


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def _all_threads(faiss: Any) -> Iterator[None]:
    """Build on as many threads as OpenMP has; in a forked child on one."""
    with _one_thread(faiss, 1 if _forked else 1 << 20):
        yield


@contextmanager
def _one_thread(faiss: Any, queries: int) -> Iterator[None]:
    """Search a few queries on one thread: on two, a single flat search takes 2.6 times longer.

    The setting of OpenMP belongs to the calling thread; it is put back.
    """
    before = faiss.omp_get_max_threads()
    if (queries >= 8 and not _forked) or before == 1:
        yield
        return
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
