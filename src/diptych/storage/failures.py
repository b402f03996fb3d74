"""Tells what cannot be read now from what is damaged.

A file that may not be read, a disk that fails, a lock that is held and a memory that is full say nothing
about what is stored: whoever mends it then would throw away what is whole. Damage is what was read and
is not what was written, and what is not there any more.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from pathlib import Path

from diptych.errors import StorageError

__all__ = [
    "advice",
    "is_damage",
    "is_missing",
    "is_passing",
    "is_there",
    "is_unread_page",
    "size_of",
    "unreadable",
    "where_and_why",
]

_MISSING = {errno.ENOENT, errno.ENOTDIR}

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_DAMAGE_WORDS = (
    "malformed", "not a database", "unsupported file format", "Could not decode",
    "no such table", "no such fts5 table", "no such column", "vtable constructor failed", "corrupt",
)  # fmt: skip
"""What SQLite says of a schema that is not as it was written, under the code of any wrong statement."""

_PERMISSIONS = "fix the permissions of the file and of its folder"
_PASSING = {
    sqlite3.SQLITE_PERM: _PERMISSIONS,
    sqlite3.SQLITE_AUTH: _PERMISSIONS,
    sqlite3.SQLITE_CANTOPEN: _PERMISSIONS,
    sqlite3.SQLITE_READONLY: _PERMISSIONS,
    sqlite3.SQLITE_BUSY: "wait for the process that holds it, or end that one",
    sqlite3.SQLITE_LOCKED: "wait for the connection that holds it, or close that one",
    sqlite3.SQLITE_PROTOCOL: "wait for the process that holds it, or end that one",
    sqlite3.SQLITE_NOLFS: "move the index to a file system for large files",
    sqlite3.SQLITE_NOMEM: "free memory",
    sqlite3.SQLITE_FULL: "free space on the disk",
    sqlite3.SQLITE_IOERR: "look at the disk, its free space and the permissions",
    sqlite3.SQLITE_INTERRUPT: "do not interrupt it",
}
"""The codes of SQLite that say nothing about what is in the file, and what the user can do."""


def is_damage(error: Exception) -> bool:
    """Whether an error of SQLite says that the file is not as it was written."""
    code = _code(error)
    if code in _DAMAGE:
        return True
    return code in (None, sqlite3.SQLITE_ERROR) and any(w in str(error) for w in _DAMAGE_WORDS)


def is_passing(error: Exception) -> bool:
    """Whether an error of SQLite says nothing about the file, so that a later try may go well."""
    return _code(error) in _PASSING


def advice(error: Exception) -> str:
    """Return what the user can do about an error of SQLite that is not damage."""
    return _PASSING.get(_code(error) or 0, "look at free space and permissions")


def is_unread_page(verdict: str) -> bool:
    """Whether a line of ``PRAGMA integrity_check`` says that a page could not be read.

    The check reports a failed read as one more thing that it found, with the code of the failure.
    """
    if found := re.search(r"error code=(\d+)", verdict):
        return int(found[1]) & 0xFF in _PASSING
    words = ("failed to get page", "disk I/O error", "out of memory", "unable to open database")
    return any(word in verdict for word in words)


def is_missing(error: OSError) -> bool:
    """Whether an error says that there is no such file, rather than that it cannot be read."""
    return error.errno in _MISSING


def is_there(path: Path) -> bool:
    """Whether there is something at a path.

    Raises:
        StorageError: That cannot be told.
    """
    try:
        os.stat(path)
    except OSError as error:
        if is_missing(error):
            return False
        raise unreadable(path, error) from error
    except ValueError:  # a path with a NUL is that of no file
        return False
    return True


def size_of(path: Path) -> int:
    """Return how many bytes a file has.

    Raises:
        StorageError: That cannot be told.
    """
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> StorageError:
    """Return the error for a file or folder that is there and cannot be read."""
    return StorageError(
        f"{str(path)!r} could not be read: {error.strerror or error}. That is not damage, and nothing was "
        "changed; fix the permissions of the file and of its folder, or look at the disk, then try again."
    )


def where_and_why(error: OSError, path: Path) -> tuple[str, str]:
    """Return which file an error is about, as far as it says so, and why it could not be read.

    Args:
        error: One of the system, or one of ours that was raised from it.
        path: The file that was asked for.
    """
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        return str(cause.filename or path), cause.strerror or str(cause)
    return str(path), str(cause)


def _code(error: Exception) -> int | None:
    """Return the primary result code of SQLite; None for an error of the Python module alone."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF
