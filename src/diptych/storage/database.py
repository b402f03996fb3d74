"""What can be asked of the database of an index."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diptych.checks import MOST, shown
from diptych.filters import Filter, compile_filter
from diptych.storage.connection import Connection
from diptych.storage.faiss_index import Keys
from diptych.storage.rows import Row, Space, Stub
from diptych.storage.segments import Segment
from diptych.storage.values import (
    COUNT,
    KEY,
    MAYBE_TEXT,
    NAME,
    NUMBER,
    REAL,
    ROW_KINDS,
    STUB_KINDS,
    TEXT,
    fault,
    space_fault,
)

__all__ = ["AMONG", "ROW", "CommitState", "Database", "as_json"]

ROW = 'id, text, image, image_path, image_name, metadata, "group", "order", content, origin'
_STUB = "key, id, \"group\", \"order\", trim(coalesce(text, '')) <> '', image IS NOT NULL"
AMONG = "IN (SELECT value FROM json_each(?))"
_SCORED = (NUMBER, REAL)
_MATCH = "SELECT rowid, rank FROM lexical WHERE lexical MATCH ? {}ORDER BY rank, rowid LIMIT ?"


@dataclass(frozen=True, slots=True)
class CommitState:
    """Which commit a database is at."""

    commits: int
    removals: int
    generation: int
    last_key: int
    identity: str = ""
    """Of the index."""


class Database(Connection):
    """Reads an index. Between ``begin`` and ``rollback`` everything is of one state."""

    def state(self) -> CommitState:
        """Return which commit the database is at."""
        last = "coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'documents'), 0)"
        row = self.one(f"SELECT commits, removals, generation, {last}, identity FROM state")
        if reason := fault(row, (COUNT, COUNT, KEY, COUNT, NAME)):
            raise self.damaged(reason)
        return CommitState(*row)

    def identity(self) -> str:
        """Return what tells this index from every other one."""
        return self.state().identity

    def spaces(self, generation: int) -> dict[str, Space]:
        """Return which model each list was made with; an index without models has none."""
        rows = self.all(
            "SELECT list, dim, name, fingerprint, probe FROM space WHERE generation = ?",
            [generation],
        )
        older = "SELECT 1 FROM space WHERE generation < ? LIMIT 1"
        if not rows and self.all(older, [generation]):
            raise self.damaged(f"it does not say which models generation {generation} is of")
        for row in rows:
            if reason := space_fault(row):
                raise self.damaged(reason)
        return {name: Space(*rest) for name, *rest in rows}

    def settings(self) -> dict[str, str]:
        """Return the settings of the store."""
        return dict(self.typed((TEXT, TEXT), "SELECT name, value FROM setting"))

    def segments(self, generation: int) -> list[Segment]:
        """Return the vector segments that count, in the order of their keys."""
        rows = self.typed(
            (TEXT, COUNT, KEY, KEY, COUNT),
            "SELECT name, size, first, last, rows FROM segment WHERE generation = ? ORDER BY first",
            [generation],
        )
        return [Segment(*row) for row in rows]

    def pending_generation(self) -> tuple[int, int]:
        """Return the generation that is being made and the last key in it, or 0 and 0."""
        ((generation, last),) = self.typed(
            (COUNT, COUNT),
            "SELECT coalesce(max(generation), 0), (SELECT coalesce(max(last), 0) FROM segment"
            " WHERE generation > (SELECT generation FROM state)) FROM space"
            " WHERE generation > (SELECT generation FROM state)",
        )
        return generation, last

    def segment_names(self) -> set[str]:
        """Return the names of all segments that something refers to."""
        return {name for (name,) in self.typed([TEXT], "SELECT name FROM segment")}

    def counts(self) -> dict[str, int]:
        """Return how many documents there are, and with what."""
        names = ("documents", "texts", "images", "both", "groups")
        row = self.one(
            "SELECT count(*), total(text IS NOT NULL), total(image IS NOT NULL),"
            ' total(text IS NOT NULL AND image IS NOT NULL), count(DISTINCT "group") FROM documents'
        )
        return {name: int(value) for name, value in zip(names, row, strict=True)}

    def keys(self, where: Filter | None = None, limit: int | None = None) -> Keys:
        """Return the keys of the documents that a filter admits, ascending."""
        condition, parameters = compile_filter(where)
        with self.patterns.budget():
            rows = self.all(
                f"SELECT key FROM documents WHERE {condition} ORDER BY key LIMIT ?",
                [*parameters, -1 if limit is None else limit],
            )
        return self._as_keys(rows)

    def keys_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the keys of those ids that are stored."""
        return dict(
            self.typed(
                (NAME, KEY),
                f"SELECT id, key FROM documents WHERE id {AMONG}",
                [as_json([identity for identity in ids if "\0" not in identity])],
            )
        )

    def rows(self, keys: Sequence[int]) -> dict[int, Row]:
        """Return the documents with these keys."""
        rows = self.typed(
            (KEY, *ROW_KINDS),
            f"SELECT key, {ROW} FROM documents WHERE key {AMONG}",
            [as_json(keys)],
        )
        return {key: Row(*rest) for key, *rest in rows}

    def damaged_rows(self) -> Iterator[tuple[int, str]]:
        """Yield keys and ids of documents that are not as diptych stores any, or as it stored them."""
        for key, checksum, *rest in self._each_document(f"checksum, {ROW}"):
            row = Row(*rest)
            if fault((key, *rest), (KEY, *ROW_KINDS)) or row.checksum(key) != checksum:
                yield key, row.id if isinstance(row.id, str) else shown(row.id)

    def raw_rows(self, keys: Sequence[int]) -> list[Row]:
        """Return documents as they are, whatever their columns hold, to put them aside."""
        rows = self.all(f"SELECT {ROW} FROM documents WHERE key {AMONG}", [as_json(keys)])
        return [Row(*row) for row in rows]

    def metadata(self) -> Iterator[tuple[int, str, str]]:
        """Yield key, id and metadata of every document with an id and metadata that are texts."""
        whole = "typeof(id) = 'text' AND typeof(metadata) = 'text'"
        yield from self._each_document("id, metadata", whole)

    def rows_with_pictures(self) -> Iterator[tuple[int, Row]]:
        """Yield key and row of every document with a picture, but for those of wrong types."""
        for key, *rest in self._each_document(ROW, "image IS NOT NULL"):
            if not fault(rest, ROW_KINDS):
                yield key, Row(*rest)

    def fields_of(self, key: int) -> list[tuple[Any, ...]]:
        """Return what filters know of a document."""
        return self.all("SELECT name, kind, value FROM field WHERE document = ?", [key])

    def has_id_between(self, first: str, end: str) -> bool:
        """Whether an id is stored that is not before one text, and before another."""
        return bool(
            self.all("SELECT 1 FROM documents WHERE id >= ? AND id < ? LIMIT 1", [first, end])
        )

    def newest(self) -> int:
        """Return the highest key of a document, which is that of the last one; 0 when there is none."""
        (key,) = self.one("SELECT max(key) FROM documents")
        return int(key or 0)

    def first_origin(self, after: str) -> str | None:
        """Return the first origin that sorts after a text, or None."""
        ((origin,),) = self.typed(
            [MAYBE_TEXT], "SELECT min(origin) FROM documents WHERE origin > ?", [after]
        )
        return None if origin is None else str(origin)

    def from_origins(self, first: str, end: str) -> list[tuple[str, int, str]]:
        """Return id, key and origin of the documents with an origin from one text on, before another."""
        return self.typed(
            (NAME, KEY, TEXT),
            "SELECT id, key, origin FROM documents WHERE origin >= ? AND origin < ?",
            [first, end],
        )

    def from_source(self, origin: str) -> list[tuple[str, int, str]]:
        """Return id, key and the source in the metadata of the documents with exactly this origin."""
        return self.typed(
            (NAME, KEY, TEXT),
            "SELECT id, key, CAST(coalesce(json_extract(metadata, '$.source'), '') AS TEXT)"
            " FROM documents WHERE origin = ?",
            [origin.encode("utf-8", "replace").decode()],
        )

    def keys_with(self, column: Literal["text", "image"]) -> Keys:
        """Return the keys of the documents that have a text, or a picture, ascending."""
        rows = self.all(f"SELECT key FROM documents WHERE {column} IS NOT NULL ORDER BY key")
        return self._as_keys(rows)

    def ids_of(self, keys: Sequence[int]) -> dict[int, str]:
        """Return the ids of documents by key, in the order of the keys."""
        return dict(
            self.typed(
                (KEY, NAME),
                f"SELECT key, id FROM documents WHERE key {AMONG} ORDER BY key",
                [as_json(keys)],
            )
        )

    def copy_words_to(self, target: Connection) -> None:
        """Index all texts in another database."""
        target.many(
            "INSERT INTO lexical (rowid, text) VALUES (?, ?)",
            self._each_document("text", "text IS NOT NULL"),
        )

    def _as_keys(self, rows: list[tuple[Any, ...]]) -> Keys:
        """Return the keys of some rows, which ascend.

        Raises:
            CorruptionError: One is below 1 or above what was ever given.
        """
        for row in (rows[:1], rows[-1:]):
            if row and (reason := fault(row[0], [KEY])):
                raise self.damaged(reason)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def _each_document(self, columns: str, condition: str = "TRUE") -> Iterator[tuple[Any, ...]]:
        """Yield the key and some columns of every document, in the order of the keys."""
        after = -MOST - 1
        while rows := self.all(
            f"SELECT key, {columns} FROM documents WHERE key > ? AND {condition} ORDER BY key LIMIT 1000",
            [after],
        ):
            yield from rows
            after = rows[-1][0]

    def picture_places(self) -> set[str]:
        """Return where the pictures lie that something refers to, or that wait to be removed."""
        rows = self.typed(
            [TEXT],
            "SELECT image_path FROM documents WHERE image_path IS NOT NULL"
            " UNION SELECT place FROM garbage",
        )
        return {place for (place,) in rows}

    def refers_to(self, place: str) -> bool:
        """Whether a document has its picture at a place of the index."""
        image = place.rpartition("/")[2].partition(".")[0]
        found = self.all(
            "SELECT 1 FROM documents WHERE image = ? AND image_path = ? LIMIT 1", [image, place]
        )
        return bool(found)

    def garbage_places(self) -> list[str]:
        """Return where the pictures lie that no document refers to any more."""
        return [place for (place,) in self.typed([TEXT], "SELECT place FROM garbage")]

    def picture_hashes(self) -> set[str]:
        """Return the content hashes of the pictures that documents have."""
        return {
            image
            for (image,) in self.all("SELECT DISTINCT image FROM documents WHERE image IS NOT NULL")
        }

    def stubs(self, keys: Sequence[int]) -> dict[int, Stub]:
        """Return what ranking needs to know of these documents."""
        rows = self.typed(
            STUB_KINDS, f"SELECT {_STUB} FROM documents WHERE key {AMONG}", [as_json(keys)]
        )
        return {row[0]: _stub(row) for row in rows}

    def members(self, groups: Iterable[str]) -> list[Stub]:
        """Return the documents of some groups, in reading order."""
        rows = self.typed(
            STUB_KINDS,
            f'SELECT {_STUB} FROM documents WHERE "group" {AMONG} ORDER BY "order", key',
            [as_json(list(groups))],
        )
        return [_stub(row) for row in rows]

    def match(
        self, expression: str, k: int, among: Keys | None = None
    ) -> tuple[Keys, NDArray[np.float32]]:
        """Return keys and BM25 scores (higher is better) of the best ``k`` documents by words.

        Args:
            expression: An FTS5 query, as ``lexical.match_expression`` builds it.
            k: How many.
            among: Only the documents with these keys.
        """
        if among is None:
            return _scored(self.typed(_SCORED, _MATCH.format(""), [expression, k]))
        restricted = _MATCH.format(f"AND {_rowid(among)} ")
        return _scored(self.typed(_SCORED, restricted, [expression, as_json(among.tolist()), k]))

    def match_among(self, expression: str, keys: Keys) -> tuple[Keys, NDArray[np.float32]]:
        """Return keys and BM25 scores of those of ``keys`` that hold a word of the expression."""
        return _scored(self.typed(
            _SCORED, f"SELECT rowid, rank FROM lexical WHERE lexical MATCH ? AND {_rowid(keys)}",
            [expression, as_json(keys.tolist())],
        ))  # fmt: skip

    def match_moments(self, expression: str) -> tuple[int, int, float, float]:
        """Return what BM25 gives the corpus at large, for one expression.

        Returns:
            How many documents have words, how many match, and the mean and the standard deviation
            of BM25 over all that have words, 0 where nothing matches.
        """
        with_words = int(self.one("SELECT count(*) FROM documents WHERE text IS NOT NULL")[0])
        matching, total, squares = self.all(
            "SELECT count(*), total(-rank), total(rank * rank) FROM lexical WHERE lexical MATCH ?",
            [expression],
        )[0]
        mean = total / max(with_words, 1)
        variance = max(squares / max(with_words, 1) - mean * mean, 0.0)
        return with_words, int(matching), mean, math.sqrt(variance)


def as_json(values: Sequence[int] | Sequence[str]) -> str:
    """Return values as the one parameter of ``AMONG``."""
    return json.dumps(values)


_LOOKED_UP = 4
"""Up to how many keys are looked up in the match one by one, each of which costs a fifth of a scan."""


def _rowid(keys: Keys) -> str:
    """Return the condition that a match is of one of some keys.

    Without the ``+`` SQLite begins the match again, and counts its words again, for each key: with half of
    100,000 documents admitted that took 17 seconds instead of a third of one.
    """
    return f"{'' if len(keys) <= _LOOKED_UP else '+'}rowid {AMONG}"


def _stub(row: tuple[Any, ...]) -> Stub:
    key, identity, group, order, has_text, has_image = row
    return Stub(key, identity, group, order, bool(has_text), bool(has_image))


def _scored(rows: list[tuple[Any, ...]]) -> tuple[Keys, NDArray[np.float32]]:
    keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    # FTS5 gives BM25 negated, so that ascending order is best first.
    return keys, np.fromiter((-row[1] for row in rows), np.float32, len(rows))
