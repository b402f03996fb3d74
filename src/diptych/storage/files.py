"""The only place of the store that writes, renames or removes files.

A file is written once, under a temporary name, synced, renamed, and its folder synced: after a crash
it is there whole or not at all (when the disk honours ``fsync``). Files without a reference in the
database are left-overs, never errors.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from diptych.errors import StorageError

__all__ = ["TEMPORARY_PREFIX", "make_folder", "read", "remove", "write_once"]

TEMPORARY_PREFIX = ".tmp-"


def write_once(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` durably; an existing file of the same size is left alone.

    Raises:
        StorageError: The disk is full, the folder is read-only, or the device failed.
    """
    try:
        if path.is_file() and path.stat().st_size == len(data):
            return
        make_folder(path.parent)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"Writing {path.name!r} ({len(data):,} bytes) under {str(path.parent)!r} failed: "
            f"{error.strerror or error}. Nothing of this batch was stored; free space or fix the "
            "permissions and add it again."
        ) from error


def read(path: Path) -> bytes:
    """Return the content of a file of the store.

    Raises:
        StorageError: It is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"Reading {str(path)!r} failed: {error.strerror or error}. Restore the file from a "
            "backup, or build the index again from the documents."
        ) from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents, and make the new entries durable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file that nothing refers to any more; one that cannot be removed stays as litter."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # Windows has no handle on a folder to sync.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
