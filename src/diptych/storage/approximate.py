"""Approximate search over the rows of an exact index: a graph (HNSW) or clusters (IVF).

Both only propose rows; the scores are those of the exact index, whose memory they share. What they know
can be taken out as arrays and put back, so that no file of FAISS is ever written or read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from diptych.vectors import Vectors, products

__all__ = ["Approximate", "Clusters", "Graph", "IndexKind"]

IndexKind = Literal["flat", "hnsw", "ivf"]
"""How the vectors of a list are searched: exactly, through a graph, or in the nearest clusters."""

Arrays = dict[str, NDArray[Any]]

_LINKS = 32
"""Links of a node in the graph (M of Malkov and Yashunin, 2018); twice as many on the lowest level."""
_BUILD_WIDTH = 128
_SEARCH_WIDTH = 128
_CLUSTER_ROWS = 39
"""Rows for each centroid below which k-means is poor, as FAISS has it."""


class Approximate(Protocol):
    """Proposes rows for queries."""

    def add(self, vectors: Vectors) -> None:
        """Append rows to the exact index, and know them."""

    def search(
        self, queries: Vectors, k: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and rows of about the best ``k`` of each query, -1 where fewer were found.

        Args:
            queries: ``(n, dim)``.
            k: How many.
            mask: ``(rows,)``, which rows may be returned; None for all.
        """

    def rebuild(self) -> None:
        """Get to know all rows that the exact index holds."""

    def arrays(self) -> Arrays:
        """Return what is known, without the vectors."""

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
        """Put back what :meth:`arrays` returned for the first ``rows`` rows, and get to know the others.

        Raises:
            ValueError: The arrays cannot be those of such an index.
        """


class Graph:
    """HNSW whose vectors are those of a flat index.

    Args:
        flat: The FAISS index that holds the vectors.
    """

    def __init__(self, flat: Any) -> None:
        import faiss

        self._faiss = faiss
        self._flat = flat
        self._graph = faiss.IndexHNSWFlat(flat.d, _LINKS, faiss.METRIC_INNER_PRODUCT)
        self._own_storage = self._graph.storage
        self._graph.own_fields = False
        self._graph.storage = flat
        self._graph.hnsw.efConstruction = _BUILD_WIDTH

    def add(self, vectors: Vectors) -> None:
        """As :meth:`Approximate.add`."""
        self._graph.add(vectors)

    def rebuild(self) -> None:
        """Link all rows that the flat index holds."""
        count = self._flat.ntotal
        vectors = self._faiss.rev_swig_ptr(self._flat.get_xb(), count * self._flat.d).copy()
        self._flat.reset()
        self._graph.add(vectors.reshape(count, self._flat.d))

    def search(
        self, queries: Vectors, k: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As :meth:`Approximate.search`."""
        parameters = self._faiss.SearchParametersHNSW()
        parameters.efSearch = max(_SEARCH_WIDTH, 2 * k)
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = self._faiss.IDSelectorBitmap(bits)
            parameters.sel = selector
        scores, rows = self._graph.search(queries, k, params=parameters)
        return scores, rows

    def arrays(self) -> Arrays:
        """As :meth:`Approximate.arrays`."""
        graph = self._graph.hnsw
        return {
            "levels": self._faiss.vector_to_array(graph.levels),
            "offsets": self._faiss.vector_to_array(graph.offsets).astype(np.int64),
            "neighbors": self._faiss.vector_to_array(graph.neighbors),
            "entry": np.asarray([graph.entry_point, graph.max_level], np.int64),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
        """Put back what :meth:`arrays` returned, and link the rows that have come since.

        Raises:
            ValueError: The arrays cannot be those of a graph over so many rows.
        """
        levels, offsets = arrays["levels"], arrays["offsets"]
        neighbors, entry = arrays["neighbors"], arrays["entry"]
        graph = self._graph.hnsw
        room = self._faiss.vector_to_array(graph.cum_nneighbor_per_level).astype(np.int64)
        _check_graph(levels, offsets, neighbors, entry, room, rows)
        count = self._flat.ntotal
        later = self._faiss.rev_swig_ptr(self._flat.get_xb(), count * self._flat.d)
        later = later.reshape(count, self._flat.d)[rows:].copy()
        self._flat.ntotal = rows
        self._flat.codes.resize(rows * self._flat.d * 4)
        self._faiss.copy_array_to_vector(levels, graph.levels)
        self._faiss.copy_array_to_vector(offsets.astype(np.uint64), graph.offsets)
        self._faiss.copy_array_to_vector(neighbors, graph.neighbors)
        graph.entry_point, graph.max_level = int(entry[0]), int(entry[1])
        self._graph.ntotal = rows
        if len(later):
            self._graph.add(later)


def _check_graph(
    levels: NDArray[Any],
    offsets: NDArray[Any],
    neighbors: NDArray[Any],
    entry: NDArray[Any],
    room: NDArray[np.int64],
    rows: int,
) -> None:
    """Refuse arrays along which a search would leave its memory."""
    types = [a.dtype for a in (levels, offsets, neighbors, entry)]
    if types != [np.int32, np.int64, np.int32, np.int64] or entry.shape != (2,):
        raise ValueError("the graph has other arrays")
    if not rows or len(levels) != rows or levels.min() < 1 or levels.max() >= len(room):
        raise ValueError("the graph has other rows")
    if len(offsets) != rows + 1 or offsets[0] != 0 or np.any(np.diff(offsets) != room[levels]):
        raise ValueError("the links of the graph do not follow each other")
    if len(neighbors) != offsets[-1] or neighbors.min() < -1 or neighbors.max() >= rows:
        raise ValueError("the graph links rows that are not there")
    if not 0 <= entry[0] < rows or entry[1] != levels.max() - 1 or levels[entry[0]] != levels.max():
        raise ValueError("the graph begins nowhere")
    # A link on a level must lead to a row that is on that level too.
    inside = np.arange(len(neighbors)) - np.repeat(offsets[:-1], np.diff(offsets))
    level = np.searchsorted(room, inside, side="right") - 1
    linked = neighbors >= 0
    if np.any(levels[neighbors[linked]] <= level[linked]):
        raise ValueError("the graph links rows on levels where they are not")


class Clusters:
    """The rows of a flat index by their nearest centroid; a query looks into the nearest clusters.

    Args:
        flat: The FAISS index that holds the vectors.
    """

    def __init__(self, flat: Any) -> None:
        import faiss

        self._faiss = faiss
        self._flat = flat
        self._centroids: Vectors = np.empty((0, flat.d), np.float32)
        self._cluster: NDArray[np.int32] = np.empty(0, np.int32)
        self._by_cluster: NDArray[np.int64] = np.empty(0, np.int64)
        self._starts: NDArray[np.int64] = np.zeros(1, np.int64)
        self._rows_at_rebuild = 0

    def add(self, vectors: Vectors) -> None:
        """As :meth:`Approximate.add`. The last rows are in no cluster and always looked at."""
        self._flat.add(vectors)
        if self._flat.ntotal > 4 * self._rows_at_rebuild:
            self.rebuild()
        elif self._flat.ntotal - len(self._cluster) > max(1000, len(self._cluster) // 10):
            self._assign()

    def rebuild(self) -> None:
        """Find clusters of all rows that the flat index holds."""
        vectors = self._matrix()
        count_rows = len(vectors)
        count = max(min(int(np.sqrt(count_rows)), count_rows // _CLUSTER_ROWS), 1)
        means = self._faiss.Kmeans(
            self._flat.d,
            count,
            niter=10,
            seed=7,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=256,
        )
        means.train(vectors)
        self._centroids = means.centroids.reshape(count, self._flat.d).astype(np.float32)
        self._cluster = np.empty(0, np.int32)
        self._rows_at_rebuild = count_rows
        self._assign()

    def search(
        self, queries: Vectors, k: int, mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As :meth:`Approximate.search`."""
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        near = np.argsort(-products(queries, self._centroids.T), axis=1, kind="stable")
        admitted = self._cluster if mask is None else self._cluster[mask[: len(self._cluster)]]
        sizes = np.bincount(admitted, minlength=len(self._centroids))
        # As many rows as an eighth of those that may be returned, however few a cluster has of them.
        enough = max(len(admitted) // 8, 10 * k)
        last = np.arange(len(self._cluster), self._flat.ntotal)
        for at, order in enumerate(near):
            probes = int(np.searchsorted(np.cumsum(sizes[order]), enough)) + 1
            clusters = order[:probes].tolist()
            inside = np.concatenate(
                [*(self._by_cluster[self._starts[c] : self._starts[c + 1]] for c in clusters), last]
            )
            if mask is not None:
                inside = inside[mask[inside]]
            if not len(inside):
                continue
            selector = self._faiss.IDSelectorArray(inside)
            parameters = self._faiss.SearchParameters(sel=selector)
            count = min(k, len(inside))
            found = self._flat.search(queries[at : at + 1], count, params=parameters)
            scores[at, :count], rows[at, :count] = found[0][0], found[1][0]
        return scores, rows

    def arrays(self) -> Arrays:
        """As :meth:`Approximate.arrays`."""
        return {"centroids": self._centroids, "cluster": self._cluster}

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: int) -> None:
        """Put back what :meth:`arrays` returned, and assign the rows that have come since.

        Raises:
            ValueError: The arrays cannot be those of clusters of so many rows.
        """
        centroids, cluster = arrays["centroids"], arrays["cluster"]
        if (
            centroids.dtype != np.float32
            or centroids.ndim != 2
            or centroids.shape[1] != self._flat.d
        ):
            raise ValueError("the clusters have other centroids")
        if cluster.dtype != np.int32 or cluster.ndim != 1 or len(cluster) > rows:
            raise ValueError("the clusters have other rows")
        if not len(centroids) or not np.isfinite(centroids).all():
            raise ValueError("the clusters have no centroids")
        if len(cluster) and not 0 <= cluster.min() <= cluster.max() < len(centroids):
            raise ValueError("a row is in no cluster")
        self._centroids, self._cluster = centroids, cluster
        self._rows_at_rebuild = rows
        self._assign()

    def _matrix(self) -> Vectors:
        count = self._flat.ntotal
        if not count:
            return np.empty((0, self._flat.d), np.float32)
        view: Vectors = self._faiss.rev_swig_ptr(self._flat.get_xb(), count * self._flat.d)
        return view.reshape(count, self._flat.d)

    def _assign(self) -> None:
        """Put the rows that are in no cluster into the nearest one."""
        vectors = self._matrix()[len(self._cluster) :]
        nearest = [
            np.argmax(vectors[at : at + 4096] @ self._centroids.T, axis=1).astype(np.int32)
            for at in range(0, len(vectors), 4096)
        ]
        self._cluster = np.concatenate([self._cluster, *nearest])
        self._by_cluster = np.argsort(self._cluster, kind="stable").astype(np.int64)
        self._starts = np.searchsorted(
            self._cluster[self._by_cluster], np.arange(len(self._centroids) + 1)
        ).astype(np.int64)
