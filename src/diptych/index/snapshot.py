"""One state of an index, to search it list by list and to score candidates exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.checks import at_least_one, list_of, shown
from diptych.errors import ClosedError, CorruptionError, InvalidArgument
from diptych.filters import Filter, compile_filter
from diptych.index.door import ENCODED, Door
from diptych.index.embed import Models, QueryVectors, embed_queries
from diptych.lexical import match_expression
from diptych.reserved import separated
from diptych.storage import Database, Row, State, Stub
from diptych.storage.faiss_index import VectorIndex
from diptych.types import LISTS, Document, Hit, ListName, Query
from diptych.vectors import Vectors, as_row, as_vectors

__all__ = ["Keys", "Ranked", "Snapshot", "lists_of"]

Keys = NDArray[np.int64]
_VECTOR_LISTS: tuple[ListName, ...] = ("text", "image", "cross_modal")


@dataclass(frozen=True, slots=True)
class Ranked:
    """What the lists found for one query: keys and raw scores, best first."""

    query: Query
    vectors: QueryVectors
    expression: str | None
    lists: dict[ListName, tuple[Keys, NDArray[np.float32]]]


def lists_of(modalities: Sequence[str]) -> tuple[ListName, ...]:
    """Return the lists that some modalities stand for.

    "text" is the text index and the lexical list, "image" the image index; both together, or
    "cross_modal", add the cross-modal index. "lexical" is the lexical list alone.

    Raises:
        InvalidArgument: None is given, or one is unknown.
    """
    try:
        asked = {modalities} if isinstance(modalities, str) else set(modalities)
    except TypeError:  # no iterable, or one of what is no string
        asked = set()
    if not asked or not asked <= set(LISTS):
        raise InvalidArgument(
            f"modalities={shown(modalities)} was given; expected some of 'text', 'image', 'cross_modal', "
            "'lexical'."
        )
    chosen: set[str] = set(asked)
    if "text" in asked:
        chosen.add("lexical")
    if {"text", "image"} <= asked:
        chosen.add("cross_modal")
    return tuple(name for name in LISTS if name in chosen)


class Snapshot:
    """Reads one state of a store. Made by ``MultimodalIndex.snapshot``, and valid inside it.

    Whatever compares vectors reads them here, and nowhere else, because here the models are compared.

    Args:
        state: The state.
        models: The models that make the vectors of queries.
        door: Compares them with those of the vectors; None where only documents are read.

    Raises:
        EncoderMismatch: The vectors are of other models.
    """

    def __init__(self, state: State, models: Models, door: Door | None = None) -> None:
        self._state = state
        self._models = models
        self._door = door
        self._filtered: tuple[Filter, Keys] | None = None
        if door is not None:
            door.enter(state.spaces, models)

    def rank(
        self,
        queries: Sequence[Query],
        depth: int,
        modalities: Sequence[str],
        where: Filter | None,
        vectors: Mapping[str, ArrayLike] | None = None,
    ) -> list[Ranked]:
        """Search every list for every query, ``depth`` deep.

        Each encoder that these lists need is called once, and each vector index once for all queries.
        """
        depth = at_least_one("k", depth)
        names = lists_of(modalities)
        if where is not None and self._state.database is None:
            compile_filter(where)  # a malformed one is refused also where nothing is stored
        given = self._given(vectors)
        wanted = frozenset(names) & set(_VECTOR_LISTS)
        if wanted and not given:
            self._probe()
        found = embed_queries(self._models, queries, given, wanted)
        expressions = [match_expression(q.text) if q.text else None for q in queries]
        ranked = [
            Ranked(query, own, expression, {})
            for query, own, expression in zip(queries, found, expressions, strict=True)
        ]
        if self._state.database is None:
            return ranked
        allowed = self._admitted(where)
        for name in names:
            if name == "lexical":
                self._match(ranked, depth, allowed)
            else:
                self._search(name, ranked, depth, allowed)
        return ranked

    def query_vectors(
        self, query: Query, vectors: Mapping[str, ArrayLike] | None = None
    ) -> QueryVectors:
        """Return the vectors of a query, ``(1, dim)`` each, for the lists that it can reach."""
        given = self._given(vectors)
        if not given:
            self._probe()
        (found,) = embed_queries(self._models, [query], given, _VECTOR_LISTS)
        return found

    def nearest(
        self, name: str, queries: Vectors, k: int, where: Filter | None = None
    ) -> list[list[Hit]]:
        """Return the best ``k`` documents of one vector list for each query, by inner product.

        Args:
            name: "text", "image" or "cross_modal".
            queries: ``(n, dim)`` of the space of the list.
            k: How many; all that match when there are fewer.
            where: Only documents that this filter admits; applied before the search.
        """
        index = self._list(name)
        if index is None or self._state.database is None:
            return [[] for _ in queries]
        queries = as_vectors(
            queries, rows=len(queries), dim=index.dim, origin=f"The query of {name}_index"
        )
        scores, keys = index.search(queries, k, self._admitted(where))
        stubs = self._database.stubs(np.unique(keys).tolist())
        return [
            [
                Hit(stubs[key].id, float(score))
                for key, score in zip(*pair, strict=True)
                if key in stubs
            ]
            for pair in zip(keys.tolist(), scores.tolist(), strict=True)
        ]

    def vectors(self, name: str, ids: Sequence[str]) -> Vectors | None:
        """Return vectors of one list by document id, ``(len(ids), dim)``, NaN where there is none.

        None where nothing has been stored, or the index has no such list.
        """
        index = self._list(name)
        if index is None or self._state.database is None:
            return None
        keys = self._database.keys_of(ids)
        return index.vectors(np.asarray([keys.get(i, -1) for i in ids], np.int64))

    def _list(self, name: str) -> VectorIndex | None:
        """Return a vector list, after a comparison of the models."""
        if self._door is not None and name in self._state.indexes:
            self._door.compare(self._state.spaces, self._models, name)
        return self._state.indexes.get(name)

    def _probe(self) -> None:
        """Compare what the encoders make of known inputs, before they encode a query."""
        if self._door is not None:
            self._door.probe(self._state.spaces, self._models, ENCODED)

    def exact(self, ranked: Ranked, name: ListName, keys: Keys) -> NDArray[np.float32]:
        """Return the raw score of each key in one list, NaN where the document lacks its modality."""
        if name != "lexical":
            return self._state.indexes[name].scores(keys, ranked.vectors[name])
        stubs = self.stubs(keys.tolist())
        scores = np.asarray(
            [0.0 if key in stubs and stubs[key].has_text else np.nan for key in keys.tolist()],
            np.float32,
        )
        if ranked.expression is not None:
            matched, values = self._database.match_among(ranked.expression, keys)
            order = np.argsort(keys)
            scores[order[np.searchsorted(keys, matched, sorter=order)]] = values
        return scores

    def null_scores(self, ranked: Ranked, name: ListName) -> NDArray[np.float32]:
        """Return the scores of a fixed sample of the corpus in one vector list."""
        return self._state.indexes[name].sample_scores(ranked.vectors[name])

    def lexical_moments(self, ranked: Ranked) -> tuple[float, float]:
        """Return mean and standard deviation of BM25 over the documents with words."""
        if ranked.expression is None:
            return 0.0, 0.0
        _, _, mean, std = self._database.match_moments(ranked.expression)
        return mean, std

    def select(
        self, ids: Iterable[str] | None, where: Filter | None, limit: int | None
    ) -> list[int]:
        """Return the keys of stored documents, in the order of ``ids`` or of addition."""
        if ids is None:
            return (
                [] if self._state.database is None else self._database.keys(where, limit).tolist()
            )
        wanted = list(dict.fromkeys(list_of("ids", ids, str, "ids")))
        if self._state.database is None or not wanted:
            return []
        found = self._database.keys_of(wanted)
        keys = [found[i] for i in wanted if i in found]
        return [key for key in keys if self._admits(where, key)][:limit]

    def stubs(self, keys: Sequence[int]) -> dict[int, Stub]:
        """Return what ranking needs to know of some documents."""
        return self._database.stubs(keys) if keys else {}

    def members(self, groups: Iterable[str], where: Filter | None) -> list[Stub]:
        """Return the documents of some groups that a filter admits, in reading order."""
        wanted = list(groups)
        found = self._database.members(wanted) if wanted else []
        return [stub for stub in found if self._admits(where, stub.key)]

    def documents(self, keys: Sequence[int]) -> list[Document]:
        """Return documents by key, in the order of the keys."""
        rows = self._database.rows(keys) if keys else {}
        return [self._document(rows[key]) for key in keys if key in rows]

    def size(self, name: str) -> int:
        """Return how many vectors a list has."""
        index = self._state.indexes.get(name)
        return 0 if index is None else len(index)

    def counts(self) -> dict[str, int]:
        """Return how many documents there are, and with what."""
        if self._state.database is None:
            return dict.fromkeys(("documents", "texts", "images", "both", "groups"), 0)
        return self._database.counts()

    @property
    def _database(self) -> Database:
        """The database; asked for only where something was found in it, or something is stored."""
        if self._state.database is None:
            raise ClosedError("Nothing has been added to the index yet.")
        return self._state.database

    def _document(self, row: Row) -> Document:
        image = self._state.pictures.find(row)
        try:
            metadata, reserved = separated(json.loads(row.metadata))
            return Document(
                text=row.text,
                image=image,
                id=row.id,
                metadata=metadata,
                group=row.group,
                order=row.order,
                reserved=reserved,
            )
        except (ValueError, RecursionError) as error:  # also a value that no document may have
            raise CorruptionError(
                f"Document {shown(row.id)} cannot be read: {error}. Run diptych verify --repair on the "
                "index, or delete the document."
            ) from error

    def _search(
        self, name: ListName, ranked: Sequence[Ranked], depth: int, allowed: Keys | None
    ) -> None:
        asking = [r for r in ranked if name in r.vectors]
        index = self._list(name) if asking else None
        asking = [r for r in asking if index and r.vectors[name].shape[1] == index.dim]
        if index is None or not asking:
            return
        queries = np.ascontiguousarray(
            np.concatenate([r.vectors[name] for r in asking]), np.float32
        )
        scores, keys = index.search(queries, depth, allowed)
        for at, one in enumerate(asking):
            kept = keys[at] >= 0
            one.lists[name] = keys[at][kept], scores[at][kept]

    def _match(self, ranked: Sequence[Ranked], depth: int, allowed: Keys | None) -> None:
        for one in ranked:
            if one.expression is not None:
                one.lists["lexical"] = self._database.match(one.expression, depth, allowed)

    def _admitted(self, where: Filter | None) -> Keys | None:
        """Return the keys that a filter admits, ascending; None for all. One filter is evaluated once."""
        if where is None or (isinstance(where, Mapping) and not where):
            return None
        if self._filtered is None or self._filtered[0] is not where:
            self._filtered = where, self._database.keys(where)
        return self._filtered[1]

    def _admits(self, where: Filter | None, key: int) -> bool:
        admitted = self._admitted(where)
        if admitted is None:
            return True
        at = int(np.searchsorted(admitted, key))
        return at < len(admitted) and int(admitted[at]) == key

    def _given(self, vectors: Mapping[str, ArrayLike] | None) -> QueryVectors:
        """Check query vectors that the caller made."""
        checked: dict[str, Vectors] = {}
        dims = {
            "text": self._models.text.dim if self._models.text else 0,
            "image": self._models.image.dim if self._models.image else 0,
            "cross_modal": self._models.fusion.dim,
        }
        if vectors is not None and not isinstance(vectors, Mapping):
            raise InvalidArgument(
                f"vectors= is a {type(vectors).__name__}; expected a mapping of {', '.join(_VECTOR_LISTS)} "
                "to one vector each."
            )
        for name, vector in (vectors or {}).items():
            if name not in _VECTOR_LISTS:
                raise InvalidArgument(
                    f"A query vector is given for {shown(name)}; expected {', '.join(_VECTOR_LISTS)}."
                )
            checked[name] = as_row(
                vector, dim=dims[name], origin=f"The caller's query vector for {name!r}"
            )
        return checked
