"""MultimodalRetriever: a question in, fused text-image documents out, one score on one scale."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.cards import Results
from diptych.checks import MOST, at_least_one, list_of
from diptych.errors import InvalidArgument
from diptych.filters import Filter
from diptych.fusion import Fused, Null, fuse
from diptych.index import MultimodalIndex
from diptych.index.closing import Closing
from diptych.index.snapshot import Ranked, Snapshot
from diptych.protocols import Aligner, FusionModel, ImageEncoder, Reranker, TextEncoder
from diptych.relate import Unit, join
from diptych.storage import Stub
from diptych.types import Evidence, FusedDocument, ListName, Query, ScoredDocument

__all__ = ["MultimodalRetriever"]

RERANKED = 4
"""How many times ``top_k`` fused documents a reranker is given to choose from."""


class MultimodalRetriever(Closing):
    """Encodes a query, searches each index, fuses, joins what belongs together, and ranks.

    Args:
        text_encoder: As for ``MultimodalIndex``.
        image_encoder: As for ``MultimodalIndex``.
        fusion_model: As for ``MultimodalIndex``.
        index: An index that exists; the encoders are then its own.
        path: A folder to open or create an index in; in memory when neither is given.
        aligner: As for ``MultimodalIndex``.
        reranker: Puts the best fused documents into their final order.
        depth: How many hits of each list are considered. More finds more documents that are good
            in several lists without being among the first of one.

    Raises:
        InvalidArgument: An index and encoders are given at once, or ``depth`` is below 1.

    Example:
        >>> from diptych import Document, MultimodalRetriever, ToyEncoder
        >>> retriever = MultimodalRetriever(ToyEncoder(), ToyEncoder())
        >>> report = retriever.index.add([Document(text="a red apple"), Document(text="blue sea")])
        >>> retriever.retrieve("apple", top_k=1)[0].text
        'a red apple'
    """

    def __init__(
        self,
        text_encoder: TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
        fusion_model: FusionModel | None = None,
        *,
        index: MultimodalIndex | None = None,
        path: str | os.PathLike[str] | None = None,
        aligner: Aligner | None = None,
        reranker: Reranker | None = None,
        depth: int = 100,
    ) -> None:
        parts = (text_encoder, image_encoder, fusion_model, path, aligner)
        if index is not None and any(part is not None for part in parts):
            raise InvalidArgument(
                "An index and its parts were given together. Pass either index=, which has its own "
                "encoders, or the encoders and path=."
            )
        if index is not None and not isinstance(index, MultimodalIndex):
            raise InvalidArgument(
                f"index= is a {type(index).__name__}; expected a MultimodalIndex."
            )
        self.index = (
            index
            if index is not None
            else MultimodalIndex(
                text_encoder, image_encoder, path=path, fusion_model=fusion_model, aligner=aligner
            )
        )
        self.reranker = reranker
        self.depth = at_least_one("depth", depth)

    @classmethod
    def from_index(
        cls, index: MultimodalIndex, *, reranker: Reranker | None = None, depth: int = 100
    ) -> Self:
        """Return a retriever over an index that exists."""
        return cls(index=index, reranker=reranker, depth=depth)

    def close(self) -> None:
        """Close the index, which releases its folder; everything is stored already.

        Whatever else uses the index finds it closed too: ``ClosedError``. Closing twice is nothing.
        """
        self.index.close()

    def retrieve(
        self,
        query: Any,
        top_k: int = 5,
        modalities: Sequence[str] = ("text", "image"),
        *,
        where: Filter | None = None,
        vectors: Mapping[str, ArrayLike] | None = None,
    ) -> Results[FusedDocument]:
        """Return the best ``top_k`` fused documents, best first.

        Args:
            query: A string (a text), a picture (``Image``, path, bytes), or a ``Query`` of both.
            top_k: How many; all there are when fewer match.
            modalities: What to search: "text" (vectors and words), "image", "cross_modal"; "lexical"
                is words alone, with which nothing is encoded.
            where: Only documents that this filter admits, also as partners of a hit.
            vectors: Query vectors by list, made elsewhere.

        Returns:
            A list of fused documents with a score in [0, 1], their pictures and their evidence, which
            a notebook shows as cards. Equal scores are in the order of ids.

        Raises:
            InvalidArgument: An empty query, ``top_k`` below 1, or an unknown modality.
            FilterError: The filter is malformed.
        """
        return self._retrieve([Query.of(query)], top_k, modalities, where, vectors)[0]

    def retrieve_documents(
        self,
        query: Any,
        top_k: int = 5,
        modalities: Sequence[str] = ("text", "image"),
        *,
        where: Filter | None = None,
        vectors: Mapping[str, ArrayLike] | None = None,
    ) -> list[ScoredDocument]:
        """Return the ``top_k`` best stored documents one by one, each with the score of its unit.

        The units are those of :meth:`retrieve`, best first. Of each the document that was found comes
        first, and what belongs to it follows in reading order. Arguments and errors are the same.
        """
        units = self.retrieve(query, top_k, modalities, where=where, vectors=vectors)
        scored = (
            ScoredDocument(part, unit.score)
            for unit in units
            for part in sorted(unit.documents, key=lambda part: part.id != unit.id)
        )
        return list(islice(scored, top_k))

    def retrieve_many(
        self,
        queries: Sequence[Any],
        top_k: int = 5,
        modalities: Sequence[str] = ("text", "image"),
        *,
        where: Filter | None = None,
    ) -> list[Results[FusedDocument]]:
        """Return :meth:`retrieve` for each query, encoding and searching all of them at once."""
        if isinstance(queries, str):
            raise InvalidArgument("retrieve_many was given one string; expected a list of queries.")
        asked = [Query.of(q) for q in list_of("queries", queries, object, "queries")]
        return self._retrieve(asked, top_k, modalities, where, None)

    def _retrieve(
        self,
        queries: Sequence[Query],
        top_k: int,
        modalities: Sequence[str],
        where: Filter | None,
        vectors: Mapping[str, ArrayLike] | None,
    ) -> list[Results[FusedDocument]]:
        top_k = at_least_one("top_k", top_k)
        wanted = top_k if self.reranker is None else min(top_k * RERANKED, MOST)
        depth = max(self.depth, wanted)
        with self.index.snapshot() as snapshot:
            ranked = snapshot.rank(queries, depth, modalities, where, vectors)
            found = [_fuse_lists(snapshot, one, wanted, where) for one in ranked]
        if self.reranker is None:
            return [Results(documents) for documents in found]
        pairs = zip(queries, found, strict=True)
        return [
            Results(self.reranker.rerank(query, documents)[:top_k]) for query, documents in pairs
        ]

    def __repr__(self) -> str:
        return f"<MultimodalRetriever over {self.index!r}>"


def _fuse_lists(
    snapshot: Snapshot, ranked: Ranked, top_k: int, where: Filter | None
) -> list[FusedDocument]:
    """Fuse the lists of one query and join what belongs together."""
    names = tuple(ranked.lists)
    found = [keys for keys, _ in ranked.lists.values()]
    keys = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    stubs = snapshot.stubs(keys.tolist())
    keys = keys[[key in stubs for key in keys.tolist()]]
    if not len(keys):
        return []
    scores = np.column_stack([snapshot.exact(ranked, name, keys) for name in names])
    null: dict[str, Null] = {name: _null(snapshot, ranked, name) for name in names}
    fused = fuse(scores, lists=names, null=null, weights=ranked.query.weights)
    row_of = {key: row for row, key in enumerate(keys.tolist())}
    order = sorted(row_of, key=lambda key: (-fused.score[row_of[key]], stubs[key].id))

    @cache
    def members(group: str) -> list[Stub]:
        return snapshot.members([group], where)

    units = join([stubs[key] for key in order], members, limit=top_k)
    documents = {
        part.key: document
        for part, document in _documents(snapshot, [p for unit in units for p in unit.parts])
    }
    evidence = _Evidence(ranked, names, scores, fused, row_of)
    return [
        FusedDocument(
            documents=tuple(documents[part.key] for part in unit.parts),
            score=float(fused.score[row_of[unit.first.key]]),
            evidence=evidence.of(unit),
            id=unit.first.id,
        )
        for unit in units
    ]


def _documents(snapshot: Snapshot, parts: Sequence[Stub]) -> Any:
    return zip(parts, snapshot.documents([part.key for part in parts]), strict=True)


def _null(snapshot: Snapshot, ranked: Ranked, name: ListName) -> Null:
    """Return what the corpus at large scores in a list, for this query."""
    if name == "lexical":
        return Null(*snapshot.lexical_moments(ranked))
    return Null.of(snapshot.null_scores(ranked, name))


class _Evidence:
    """Says, for the parts of a unit, which list found them, where, and with what score."""

    def __init__(
        self,
        ranked: Ranked,
        names: Sequence[ListName],
        scores: NDArray[np.float32],
        fused: Fused,
        row_of: Mapping[int, int],
    ) -> None:
        self._names = names
        self._scores = scores
        self._fused = fused
        self._row_of = row_of
        self._ranks = {
            name: {key: at + 1 for at, key in enumerate(keys.tolist())}
            for name, (keys, _) in ranked.lists.items()
        }

    def of(self, unit: Unit[Stub]) -> tuple[Evidence, ...]:
        """Return the evidence of one unit, part by part, list by list."""
        return tuple(
            Evidence(
                document_id=part.id,
                list=name,
                rank=rank,
                score=float(self._scores[row, column]),
                contribution=float(self._fused.contributions[row, column]),
            )
            for part in unit.parts
            if (row := self._row_of.get(part.key)) is not None
            for column, name in enumerate(self._names)
            if (rank := self._ranks[name].get(part.key, 0)) or self._scores[row, column] != 0
            if not np.isnan(self._scores[row, column])
        )
