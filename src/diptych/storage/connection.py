"""One connection to the database of an index: how it is opened, and how its errors read."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from diptych.errors import ClosedError, CorruptionError, FormatError, StorageError
from diptych.storage.failures import advice, is_damage
from diptych.storage.files import Files, quoted, repair_command
from diptych.storage.layout import database_files
from diptych.storage.patterns import Patterns
from diptych.storage.schema import (
    APPLICATION_ID,
    FORMAT_VERSION,
    SCHEMA,
    foreign_objects,
    has_other_words,
    journal_mode,
)
from diptych.storage.values import Kind, fault

__all__ = [
    "BUSY_SECONDS",
    "OBJECTS",
    "Connection",
    "Mode",
    "check_database_files",
    "check_objects",
    "connect",
    "quoted",
    "repair_command",
]

BUSY_SECONDS = 30.0
"""How long a commit waits for the readers of other processes, and they for it. Both are short."""

OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_TRAILER_BYTES = 16
"""A journal that belongs to a transaction over several databases ends with the path of a file that lists
the others, its length, a checksum, and the magic number (https://www.sqlite.org/fileformat2.html#the_rollback_journal).
SQLite removes that file, wherever it is, when it takes the journal back. An index has one database."""

_PRAGMAS = (
    "cell_size_check = ON",
    "synchronous = FULL",
    "cache_size = -2000",  # in kB; the file could ask for more
    "cache_spill = OFF",  # a large transaction shuts readers out at its commit, not before
)

Mode = Literal["read", "write", "create"]

_ABANDONED: list[sqlite3.Connection] = []
"""Connections of the parent process, which a forked child must neither use nor close."""


class Connection:
    """A connection, used by one thread at a time.

    Args:
        path: The file; None for a database in memory.
        mode: "create" makes the file when there is none.

    Raises:
        FormatError: The file is no store, or one of a newer version.
        CorruptionError: SQLite finds the file damaged.
    """

    def __init__(self, path: Path | None, mode: Mode = "read") -> None:
        self.path = path
        self._mutex = threading.RLock()
        self._raw: sqlite3.Connection | None = None
        self.patterns = Patterns()
        with self.translated():
            self._raw = connect(path, mode)
            for pragma in _PRAGMAS:
                self._raw.execute(f"PRAGMA {pragma}")
            self._raw.create_function("lowered", 1, _lowered, deterministic=True)
            self._raw.create_function("matched", 2, self.patterns.matched, deterministic=True)
        self.is_empty = False
        """Whether there are no tables yet: nothing was ever committed."""
        try:
            self._prepare(mode)
        except BaseException:
            self.close()
            raise

    def _prepare(self, mode: Mode) -> None:
        (application,) = self.one("PRAGMA application_id")
        (version,) = self.one("PRAGMA user_version")
        (tables,) = self.one("SELECT count(*) FROM sqlite_master")
        if mode != "read":
            # TRUNCATE is no property of the file, so that every writing connection asks for it.
            self.execute(f"PRAGMA journal_mode = {journal_mode(sqlite3.sqlite_version_info)}")
        self.is_empty = not application and not tables
        if application != APPLICATION_ID and not self.is_empty:
            raise FormatError(
                f"{self.name!r} is no diptych index. Give the folder of one, or a new path."
            )
        if version > FORMAT_VERSION:
            raise FormatError(
                f"{self.name!r} has format {version}, this diptych reads up to {FORMAT_VERSION}. "
                "Install a newer diptych to open it."
            )
        if not self.is_empty:
            found = self.all(OBJECTS)
            check_objects(self.name, found, version)
            if has_other_words(found):
                raise self.damaged(f"the list of words {'lexical'!r} is not as diptych makes it")

    @property
    def name(self) -> str:
        """What messages call the database."""
        return str(self.path) if self.path else "the index in memory"

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._open().execute(sql, parameters)

    def many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of parameters."""
        self._open().executemany(sql, parameters)

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._mutex, self.translated():
            return self.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the only row of a query.

        Raises:
            CorruptionError: There is none, or there are several.
        """
        rows = self.all(sql, parameters)
        if len(rows) != 1:
            raise self.damaged(f"{len(rows):,} rows were found where one belongs")
        return rows[0]

    def typed(
        self, kinds: Sequence[Kind], sql: str, parameters: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return all rows of a query, whose columns hold what they may.

        Raises:
            CorruptionError: A value is not of the kind of its column.
        """
        rows = self.all(sql, parameters)
        for row in rows:
            if reason := fault(row, kinds):
                raise self.damaged(reason)
        return rows

    def create_tables(self) -> None:
        """Make an empty file a store, inside a transaction."""
        for statement in SCHEMA.split(";\n"):
            self.execute(statement)
        self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, or nothing."""
        self.begin("IMMEDIATE")
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def begin(self, kind: Literal["DEFERRED", "IMMEDIATE"] = "DEFERRED") -> None:
        """Start a transaction: to read one state, or to write."""
        with self.translated():
            self.execute(f"BEGIN {kind}")

    def commit(self) -> None:
        """Make what was written count, durably."""
        with self.translated():
            self.execute("COMMIT")

    def rollback(self) -> None:
        """End a transaction without effect; without one, nothing."""
        if self._raw is not None and self._raw.in_transaction:
            with self.translated():
                self._raw.rollback()

    def copy_to(self, path: Path) -> None:
        """Write one state of the database into a new file, while others may be writing."""
        with self.translated():
            target = sqlite3.connect(path)
            try:
                self._open().backup(target)
            finally:
                target.close()

    def close(self) -> None:
        """Close the connection; closing twice is nothing."""
        with self._mutex:
            if self._raw is not None:
                self._raw.close()
                self._raw = None

    def abandon(self) -> None:
        """Leave the connection as it is, in a forked child: it belongs to the parent."""
        if self._raw is not None:
            _ABANDONED.append(self._raw)
            self._raw = None

    def _open(self) -> sqlite3.Connection:
        if self._raw is None:
            raise ClosedError(f"{self.name!r} has been closed. Open the index again.")
        return self._raw

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the errors of SQLite into ours."""
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._storage_error(error) from error
        except UnicodeDecodeError as error:
            raise self.damaged("a text is not UTF-8") from error

    def _storage_error(self, error: Exception) -> StorageError:
        if is_damage(error):
            return self.damaged(str(error))
        return StorageError(
            f"The database {self.name!r} could not be read or written: {error}. Nothing of this call was "
            f"stored; {advice(error)}, then try again."
        )

    def damaged(self, reason: str) -> CorruptionError:
        """Return the error for a database that is not as diptych wrote it."""
        where = self.path.parent if self.path else ""
        return CorruptionError(
            f"The database {self.name!r} is damaged: {reason}. Run: {repair_command(where)}, or "
            "restore the folder from a backup."
        )


def connect(path: Path | None, mode: Mode) -> sqlite3.Connection:
    """Open a database file, in which SQLite has not looked yet.

    SQLite opens by path, follows links, and reads what lies beside: all of that is looked at before,
    and the database again afterwards.

    Raises:
        FormatError: There is a link or the like among these files.
        sqlite3.Error: The file cannot be opened.
    """
    source = ":memory:"
    before: os.stat_result | None = None
    if path is not None:
        before = check_database_files(path)
        # A reader opens for writing where it may, because after a crash someone must roll back.
        may_write = mode != "read" or (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK))
        how = {"create": "rwc", "write": "rw", "read": "rw" if may_write else "ro"}[mode]
        source = f"{path.absolute().as_uri()}?mode={how}"
    connection: sqlite3.Connection = sqlite3.connect(
        source, uri=path is not None, timeout=BUSY_SECONDS, check_same_thread=False,
        isolation_level=None,
    )  # fmt: skip
    try:
        # Views and triggers of a hostile file run no function of ours.
        connection.execute("PRAGMA trusted_schema = OFF")
        if path is not None:
            after = check_database_files(path)
            if before is not None and (after is None or not os.path.samestat(before, after)):
                raise FormatError(
                    f"The database {str(path)!r} was replaced while it was opened. Look at who else "
                    "writes to the folder, then open it again."
                )
    except BaseException:
        connection.close()
        raise
    return connection


def check_objects(
    name: str, found: Sequence[tuple[Any, ...]], version: int = FORMAT_VERSION
) -> None:
    """Refuse a database with triggers, views, computed columns, or anything else that is not ours.

    Args:
        name: What messages call the database.
        found: What :data:`OBJECTS` returns.
        version: Of its format.

    Raises:
        FormatError: Something is not as diptych makes it.
    """
    foreign = foreign_objects(found)
    if version < 1:
        foreign = f"it says that it has format {version}"
    if foreign:
        raise FormatError(
            f"{name!r} is no database as diptych makes it: {foreign}. It may come from an "
            "untrusted source; do not open it."
        )


def check_database_files(path: Path) -> os.stat_result | None:
    """Return the status of a database; None when there is none.

    Raises:
        FormatError: It is no regular file, or what SQLite would read with it is none; or its journal
            names another file, which SQLite would remove.
    """
    files = Files(path.parent)
    database, journal, *_ = [files.status(name) for name in database_files(path.name)]
    if journal is not None and journal.st_size >= _TRAILER_BYTES:
        place = database_files(path.name)[1]
        if files.tail(place, len(_JOURNAL_MAGIC)) == _JOURNAL_MAGIC:
            raise FormatError(
                f"The journal {str(files.path(place))!r} names another file, which SQLite would remove "
                "with it; diptych makes none like that, and it may come from an untrusted source. Remove "
                "the journal, and check the index: diptych verify."
            )
    return database


def _lowered(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
