"""Connections for reading: one for each snapshot, kept for the next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diptych.errors import StorageError
from diptych.storage.database import Database

__all__ = ["Pool"]

KEPT = 16
"""How many idle connections are kept; each has its own small page cache."""


class Pool:
    """Hands out connections to one database file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[Database] = []
        self._round = 0
        self._mutex = threading.Lock()

    @contextmanager
    def connection(self) -> Iterator[Database]:
        """Lend a connection."""
        with self._mutex:
            database = self._idle.pop() if self._idle else None
            of_round = self._round
        if database is None:
            database = Database(self._path)
        try:
            yield database
        finally:
            self._take_back(database, of_round)

    def _take_back(self, database: Database, of_round: int) -> None:
        try:
            database.rollback()
        except StorageError:
            database.close()
            return
        with self._mutex:
            if of_round == self._round and len(self._idle) < KEPT:
                self._idle.append(database)
                return
        database.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._mutex:
            while self._idle:
                self._idle.pop().close()

    def renew(self) -> None:
        """Let every connection that is lent from now on be a new one, which has nothing in memory yet."""
        with self._mutex:
            self._round += 1
        self.close()

    def abandon(self) -> None:
        """Leave the connections to the parent, in a forked child."""
        for database in self._idle:
            database.abandon()
        self.__init__(self._path)  # type: ignore[misc]  # the same as a new one
