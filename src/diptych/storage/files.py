"""The only place of the store that writes, renames or removes files.

A file is written once, under a temporary name, synced, renamed, and its folder synced: after a crash
it is there whole or not at all (when the disk honours ``fsync``). Files without a reference in the
database are left-overs, never errors.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diptych.errors import CorruptionError, StorageError
from diptych.storage.connection import repair_command
from diptych.storage.failures import is_missing, unreadable

__all__ = [
    "TEMPORARY_PREFIX",
    "make_folder",
    "read",
    "remove",
    "sync_folder",
    "write",
    "write_once",
]

TEMPORARY_PREFIX = ".tmp-"


def write_once(path: Path, data: bytes) -> None:
    """Put ``data`` durably at a ``path`` that its content names; a whole file is left alone.

    Raises:
        StorageError: The disk is full, the folder is read-only, or the device failed.
    """
    with _translated(path, len(data)):
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            _sync(path)  # whoever wrote it may have been killed before it did
            sync_folder(path.parent)
            return
    write(path, data)


def write(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` durably, whole or not at all.

    Raises:
        StorageError: As for :func:`write_once`.
    """
    with _translated(path, len(data)):
        make_folder(path.parent)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            remove(temporary)
            raise
        sync_folder(path.parent)


def read(path: Path, *, size: int | None = None) -> bytes:
    """Return the content of a file of the store.

    Args:
        path: The file.
        size: How many bytes it must have; another size is noticed before anything is read.

    Raises:
        CorruptionError: It is missing, or of another size.
        StorageError: It is unreadable.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno()).st_size
            if size is not None and found != size:
                raise CorruptionError(
                    f"The file {str(path)!r} has {found:,} bytes instead of {size:,}. Run: "
                    f"{repair_command(path.parent.parent)}, or restore it from a backup."
                )
            return file.read()
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if is_missing(error):
            raise CorruptionError(
                f"The file {str(path)!r} is missing. Run: {repair_command(path.parent.parent)}, or "
                "restore it from a backup."
            ) from error
        raise unreadable(path, error) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents, and make the new entries durable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file that nothing refers to any more; one that cannot be removed stays as litter."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    if os.name != "nt":  # Windows has no handle on a folder to sync.
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"Writing {path.name!r} ({size:,} bytes) under {str(path.parent)!r} failed: "
            f"{error.strerror or error}. Nothing of this call was stored; free space or fix the "
            "permissions and try again."
        ) from error
