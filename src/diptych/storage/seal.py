"""The seal of an index that was closed well: the hash of its database, so that damage is noticed.

SQLite has no checksums: a flipped bit in a text, a word list or a filter value would go unnoticed. The
writer therefore hashes the database when it closes the index, and breaks the seal before it writes
again. A reader that finds a seal compares. Without one the index is being written, or its writer was
killed; then the database is checked row by row (:func:`diptych.storage.verify.check_database`).

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
from diptych.storage.files import Files, repair_command
from diptych.storage.layout import SEAL

__all__ = ["CONNECTED", "SEAL", "break_seal", "is_sealed", "seal"]

_SEAL_BYTES = 4096


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
        FormatError: Something is no regular file.
        StorageError: The disk is full, the folder is read-only, or the device failed.
    """
    files = Files(database.parent)
    body = {"size": _size(files, database.name), "xxh3_128": _hash(files, database.name)}
    record = {**body, "check": _check(body)}
    files.write(SEAL, json.dumps(record).encode())


def break_seal(database: Path) -> None:
    """Remove the seal, durably, before the first change.

    Raises:
        StorageError: It cannot be removed.
    """
    try:
        Files(database.parent).remove_now(SEAL)
    except OSError as error:
        raise StorageError(
            f"{str(database.with_name(SEAL))!r} cannot be removed: {error.strerror}. Nothing was stored; "
            "fix the permissions of the folder and try again."
        ) from error


def is_sealed(database: Path) -> bool:
    """Whether there is a seal, and the database is the one that was sealed.

    Raises:
        CorruptionError: The seal is whole, and the database is another.
        FormatError: One of them is no regular file.
        StorageError: The seal or the database cannot be read.
    """
    files = Files(database.parent)
    record = _read(files)
    if record is None:
        return False
    is_same = _size(files, database.name) == record["size"]
    if is_same and _hash(files, database.name) == record["xxh3_128"]:
        return True
    if _read(files) != record:  # a writer has come meanwhile
        return False
    raise CorruptionError(
        f"The database {str(database)!r} is not as it was when the index was closed. Run: "
        f"{repair_command(database.parent)}, or restore the folder from a backup."
    )


def _read(files: Files) -> dict[str, object] | None:
    """Return the seal; None when there is none, or it is damaged itself."""
    try:
        record = json.loads(files.read(SEAL, limit=_SEAL_BYTES))
        body = {"size": record["size"], "xxh3_128": record["xxh3_128"]}
        is_whole = record["check"] == _check(body)
    except (CorruptionError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return body if is_whole else None


def _check(body: dict[str, object]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(body).encode())


def _size(files: Files, name: str) -> int:
    found = files.status(name)
    return -1 if found is None else found.st_size


def _hash(files: Files, name: str) -> str:
    digest = xxhash.xxh3_128()
    for block in files.blocks(name):
        digest.update(block)
    return digest.hexdigest()


def _real(folder: Path) -> str:
    return os.path.realpath(folder)
