"""The database of an index: documents, metadata, words, and which vector segments count."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.errors import ClosedError, CorruptionError, FormatError, StorageError
from diptych.filters import Filter, compile_filter, fields
from diptych.storage.faiss_index import Keys
from diptych.storage.rows import Row, Space, Stub
from diptych.storage.schema import APPLICATION_ID, FORMAT_VERSION, SCHEMA, journal_mode
from diptych.storage.segments import Segment

__all__ = ["Database"]

BUSY_SECONDS = 10.0
"""How long a reader waits for the short commit of a writer in another process."""


_ROW = 'id, text, image, image_path, image_name, metadata, "group", "order", content'
_STUB = "key, id, \"group\", \"order\", trim(coalesce(text, '')) <> '', image IS NOT NULL"
_AMONG = "IN (SELECT value FROM json_each(?))"


class Database:
    """One connection, shared by the threads of this process one statement at a time.

    Args:
        path: The file; None keeps everything in memory.
        create: Make the tables when the file is new.

    Raises:
        FormatError: The file is no store, or one of a newer version.
        CorruptionError: SQLite finds the file damaged.
    """

    def __init__(self, path: Path | None, *, create: bool) -> None:
        self._name = str(path) if path else "the index in memory"
        self._mutex = threading.RLock()
        # Foreign tables and views of a hostile file must not run functions of ours.
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}" if path else ":memory:"
        with self._translated():
            self._connection: sqlite3.Connection | None = sqlite3.connect(
                uri, uri=path is not None, timeout=BUSY_SECONDS, check_same_thread=False,
                isolation_level=None,
            )  # fmt: skip
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "synchronous = FULL"):
                self._execute(f"PRAGMA {pragma}")
        self._connection.create_function("lowered", 1, _lowered, deterministic=True)
        self.is_empty = False
        """Whether the file has no tables: the process that made it was killed before its first commit."""
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        (application,) = self._one("PRAGMA application_id")
        (version,) = self._one("PRAGMA user_version")
        (tables,) = self._one("SELECT count(*) FROM sqlite_master")
        if create and not tables:
            self._execute(f"PRAGMA journal_mode = {journal_mode(sqlite3.sqlite_version_info)}")
            with self.transaction():
                for statement in SCHEMA.split(";\n"):
                    self._execute(statement)
                self._execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            return
        self.is_empty = not application and not tables
        if application != APPLICATION_ID and not self.is_empty:
            raise FormatError(
                f"{self._name!r} is no diptych index. Give the folder of one, or a new path."
            )
        if version > FORMAT_VERSION:
            raise FormatError(
                f"{self._name!r} has format {version}, this diptych reads up to {FORMAT_VERSION}. "
                "Install a newer diptych to open it."
            )

    # -- reading ----------------------------------------------------------------------------

    def spaces(self) -> dict[str, Space]:
        """Return which model each list was made with."""
        return {name: Space(*rest) for name, *rest in self._all("SELECT * FROM space")}

    def settings(self) -> dict[str, str]:
        """Return the settings of the store."""
        return dict(self._all("SELECT name, value FROM setting"))

    def segments(self) -> list[tuple[int, Segment]]:
        """Return the vector segments that count, oldest first."""
        rows = self._all("SELECT number, name, sha256, size FROM segment ORDER BY number")
        return [(number, Segment(*rest)) for number, *rest in rows]

    def version(self) -> int:
        """Return a number that changes when another process commits."""
        return int(self._one("PRAGMA data_version")[0])

    def counts(self) -> dict[str, int]:
        """Return how many documents there are, and with what."""
        names = ("documents", "texts", "images", "both", "groups")
        row = self._one(
            "SELECT count(*), total(text IS NOT NULL), total(image IS NOT NULL),"
            ' total(text IS NOT NULL AND image IS NOT NULL), count(DISTINCT "group") FROM documents'
        )
        return {name: int(value) for name, value in zip(names, row, strict=True)}

    def last_key(self) -> int:
        """Return the greatest key that was ever given."""
        row = self._all("SELECT seq FROM sqlite_sequence WHERE name = 'documents'")
        return int(row[0][0]) if row else 0

    def keys(self, where: Filter | None = None, limit: int | None = None) -> Keys:
        """Return the keys of the documents that a filter admits, ascending."""
        condition, parameters = compile_filter(where)
        rows = self._all(
            f"SELECT key FROM documents WHERE {condition} ORDER BY key LIMIT ?",
            [*parameters, -1 if limit is None else limit],
        )
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def keys_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the keys of those ids that are stored."""
        return dict(
            self._all(f"SELECT id, key FROM documents WHERE id {_AMONG}", [_json(list(ids))])
        )

    def rows(self, keys: Sequence[int]) -> dict[int, Row]:
        """Return the documents with these keys."""
        rows = self._all(f"SELECT key, {_ROW} FROM documents WHERE key {_AMONG}", [_json(keys)])
        return {key: Row(*rest) for key, *rest in rows}

    def stubs(self, keys: Sequence[int]) -> dict[int, Stub]:
        """Return what ranking needs to know of these documents."""
        rows = self._all(f"SELECT {_STUB} FROM documents WHERE key {_AMONG}", [_json(keys)])
        return {row[0]: _stub(row) for row in rows}

    def members(self, groups: Iterable[str], where: Filter | None = None) -> list[Stub]:
        """Return the documents of some groups that a filter admits, in reading order."""
        condition, parameters = compile_filter(where)
        rows = self._all(
            f'SELECT {_STUB} FROM documents WHERE "group" {_AMONG} AND {condition} ORDER BY "order", key',
            [_json(list(groups)), *parameters],
        )
        return [_stub(row) for row in rows]

    def match(
        self, expression: str, k: int, where: Filter | None = None
    ) -> tuple[Keys, NDArray[np.float32]]:
        """Return keys and BM25 scores (higher is better) of the best ``k`` documents by words.

        Args:
            expression: An FTS5 query, as ``lexical.match_expression`` builds it.
            k: How many.
            where: Only these documents.
        """
        condition, parameters = compile_filter(where)
        among = f"AND rowid IN (SELECT key FROM documents WHERE {condition})" if where else ""
        return _scored(self._all(
            f"SELECT rowid, rank FROM lexical WHERE lexical MATCH ? {among} ORDER BY rank, rowid LIMIT ?",
            [expression, *parameters, k],
        ))  # fmt: skip

    def match_among(self, expression: str, keys: Keys) -> tuple[Keys, NDArray[np.float32]]:
        """Return keys and BM25 scores of those of ``keys`` that hold a word of the expression."""
        # The + keeps SQLite from starting the match again, and counting words again, for each key.
        return _scored(self._all(
            f"SELECT rowid, rank FROM lexical WHERE lexical MATCH ? AND +rowid {_AMONG}",
            [expression, _json(keys.tolist())],
        ))  # fmt: skip

    def match_moments(self, expression: str) -> tuple[int, int, float, float]:
        """Return what BM25 gives the corpus at large, for one expression.

        Returns:
            How many documents have words, how many match, and the mean and the standard deviation
            of BM25 over all that have words, 0 where nothing matches.
        """
        with_words = int(self._one("SELECT count(*) FROM documents WHERE text IS NOT NULL")[0])
        matching, total, squares = self._all(
            "SELECT count(*), total(-rank), total(rank * rank) FROM lexical WHERE lexical MATCH ?",
            [expression],
        )[0]
        mean = total / max(with_words, 1)
        variance = max(squares / max(with_words, 1) - mean * mean, 0.0)
        return with_words, int(matching), mean, math.sqrt(variance)

    # -- writing ----------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, or nothing."""
        with self._mutex, self._translated():
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.rollback()
                raise

    def insert(self, rows: Mapping[int, Row]) -> None:
        """Store documents under new keys."""
        marks = ", ".join("?" * 10)
        self._many(f"INSERT INTO documents (key, {_ROW}) VALUES ({marks})", (
            (key, r.id, r.text, r.image, r.image_path, r.image_name, r.metadata, r.group, r.order, r.content)
            for key, r in rows.items()
        ))  # fmt: skip
        self._insert_fields(rows)
        self._many(
            "INSERT INTO lexical (rowid, text) VALUES (?, ?)",
            ((key, row.text) for key, row in rows.items() if row.text is not None),
        )

    def update(self, rows: Mapping[int, Row]) -> None:
        """Replace everything but text and picture of documents, which keep their keys."""
        self._many(
            'UPDATE documents SET image_name = ?, metadata = ?, "group" = ?, "order" = ? WHERE key = ?',
            ((r.image_name, r.metadata, r.group, r.order, key) for key, r in rows.items()),
        )
        self._many("DELETE FROM field WHERE document = ?", ((key,) for key in rows))
        self._insert_fields(rows)

    def delete(self, keys: Sequence[int]) -> None:
        """Remove documents, their words and their metadata."""
        among = [_json(keys)]
        self._execute(
            "INSERT INTO lexical (lexical, rowid, text) SELECT 'delete', key, text FROM documents"
            f" WHERE key {_AMONG} AND text IS NOT NULL", among,
        )  # fmt: skip
        self._execute(f"DELETE FROM field WHERE document {_AMONG}", among)
        self._execute(f"DELETE FROM documents WHERE key {_AMONG}", among)

    def declare(self, spaces: Mapping[str, Space], settings: Mapping[str, str]) -> None:
        """Record which models the vectors come from."""
        self._many(
            "INSERT OR REPLACE INTO space VALUES (?, ?, ?, ?)",
            ((name, s.dim, s.name, s.fingerprint) for name, s in spaces.items()),
        )
        self._many("INSERT OR REPLACE INTO setting VALUES (?, ?)", settings.items())

    def add_segment(self, segment: Segment) -> int:
        """Make a segment count, and return its number."""
        cursor = self._execute(
            "INSERT INTO segment (name, sha256, size) VALUES (?, ?, ?)",
            [segment.name, segment.sha256, segment.size],
        )
        return int(cursor.lastrowid or 0)

    def drop_segments(self, numbers: Iterable[int]) -> None:
        """Let segments count no more."""
        self._many("DELETE FROM segment WHERE number = ?", ((number,) for number in numbers))

    def vacuum(self) -> None:
        """Give the room of deleted rows back to the disk."""
        with self._mutex, self._translated():
            self._execute("INSERT INTO lexical (lexical) VALUES ('optimize')")
            self._execute("VACUUM")

    def close(self) -> None:
        """Close the connection; closing twice is nothing."""
        with self._mutex:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # -- helpers ----------------------------------------------------------------------------

    def _insert_fields(self, rows: Mapping[int, Row]) -> None:
        self._many("INSERT INTO field VALUES (?, ?, ?, ?)", (
            (key, *field) for key, row in rows.items() for field in fields(json.loads(row.metadata))
        ))  # fmt: skip

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._open().execute(sql, parameters)

    def _many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._open().executemany(sql, parameters)

    def _all(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._mutex, self._translated():
            return self._execute(sql, parameters).fetchall()

    def _one(self, sql: str) -> tuple[Any, ...]:
        return self._all(sql)[0]

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise ClosedError(f"{self._name!r} has been closed. Open the index again.")
        return self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _storage_error(error, self._name) from error


def _storage_error(error: sqlite3.Error, name: str) -> StorageError:
    damaged = "malformed" in str(error) or "not a database" in str(error)
    if damaged:
        return CorruptionError(
            f"The database {name!r} is damaged: {error}. Restore it from a backup."
        )
    return StorageError(
        f"The database {name!r} failed: {error}. Nothing of this call was stored; look at free "
        "space and permissions, then try again."
    )


_lowered: Callable[[Any], Any] = lambda value: value.lower() if isinstance(value, str) else value  # noqa: E731


def _json(values: Sequence[Any]) -> str:
    return json.dumps(values)


def _stub(row: tuple[Any, ...]) -> Stub:
    key, identity, group, order, has_text, has_image = row
    return Stub(key, identity, group, order, bool(has_text), bool(has_image))


def _scored(rows: list[tuple[Any, ...]]) -> tuple[Keys, NDArray[np.float32]]:
    keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    # FTS5 gives BM25 negated, so that ascending order is best first.
    return keys, np.fromiter((-row[1] for row in rows), np.float32, len(rows))
