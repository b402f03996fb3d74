"""The seal of an index that was closed well: the hash of its database, so that damage is noticed.

SQLite has no checksums: a flipped bit in a text, a word list or a filter value would go unnoticed. The
writer therefore hashes the database when it closes the index, and breaks the seal before it writes
again. A reader that finds a seal compares. Without one the index is being written, or its writer was
killed; then the database is checked row by row (:func:`diptych.storage.checks.check_database`).

The database is read here by its own file handle. POSIX drops the locks of a process on a file when any
of its handles is closed, so nothing is hashed while this process has a connection to the file:
:data:`CONNECTED` counts them.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from diptych.errors import CorruptionError, StorageError
from diptych.storage import files
from diptych.storage.connection import repair_command
from diptych.storage.failures import is_missing, size_of, unreadable

__all__ = ["CONNECTED", "SEAL", "break_seal", "is_sealed", "seal"]

SEAL = "store.seal"
_BLOCK = 1 << 20


class Connected:
    """Counts the stores of this process by folder: only the first and the last one may hash."""

    def __init__(self) -> None:
        self._stores: Counter[str] = Counter()
        self._lock = threading.RLock()

    @contextmanager
    def entering(self, folder: Path) -> Iterator[bool]:
        """Count a store when the block ends well; inside, tell whether it is the only one."""
        with self._lock:
            yield not self._stores[_real(folder)]
            self._stores[_real(folder)] += 1

    @contextmanager
    def leaving(self, folder: Path) -> Iterator[bool]:
        """Stop counting a store; inside, tell whether it was the only one."""
        with self._lock:
            self.leave(folder)
            yield not self._stores[_real(folder)]

    @contextmanager
    def inside(self, folder: Path) -> Iterator[None]:
        """Count a connection for the length of the block."""
        with self.entering(folder):
            pass
        try:
            yield
        finally:
            self.leave(folder)

    def leave(self, folder: Path) -> None:
        """Stop counting a store."""
        with self._lock:
            self._stores[_real(folder)] -= 1

    def forget(self) -> None:
        """Start again in a forked child, whose connections are not its own."""
        self._stores.clear()
        self._lock = threading.RLock()


CONNECTED = Connected()


def seal(database: Path) -> None:
    """Write down the hash of a database that nobody is connected to.

    Raises:
        StorageError: The disk is full, the folder is read-only, or the device failed.
    """
    body = {"size": database.stat().st_size, "xxh3_128": _hash(database)}
    record = {**body, "check": _check(body)}
    files.write(database.with_name(SEAL), json.dumps(record).encode())


def break_seal(database: Path) -> None:
    """Remove the seal, durably, before the first change.

    Raises:
        StorageError: It cannot be removed.
    """
    path = database.with_name(SEAL)
    try:
        if path.exists():
            path.unlink()
            files.sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} cannot be removed: {error.strerror}. Nothing was stored; fix the "
            "permissions of the folder and try again."
        ) from error


def is_sealed(database: Path) -> bool:
    """Whether there is a seal, and the database is the one that was sealed.

    Raises:
        CorruptionError: The seal is whole, and the database is another.
        StorageError: The seal or the database cannot be read.
    """
    path = database.with_name(SEAL)
    record = _read(path)
    if record is None:
        return False
    if size_of(database) == record["size"] and _hash(database) == record["xxh3_128"]:
        return True
    if _read(path) != record:  # a writer has come meanwhile
        return False
    raise CorruptionError(
        f"The database {str(database)!r} is not as it was when the index was closed. Run: "
        f"{repair_command(database.parent)}, or restore the folder from a backup."
    )


def _read(path: Path) -> dict[str, object] | None:
    """Return the seal; None when there is none, or it is damaged itself."""
    try:
        record = json.loads(_read_bytes(path))
        body = {"size": record["size"], "xxh3_128": record["xxh3_128"]}
    except (ValueError, KeyError, TypeError):
        return None
    return body if record.get("check") == _check(body) else None


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file, empty when there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        if is_missing(error):
            return b""
        raise unreadable(path, error) from error


def _check(body: dict[str, object]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(body).encode())


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_128()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()


def _real(folder: Path) -> str:
    return os.path.realpath(folder)
