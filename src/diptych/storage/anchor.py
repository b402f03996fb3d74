"""Notices that the folder of an open index was removed, renamed, or replaced by another one.

A connection goes on with the file that it has opened, also when that file has no name any more, while
segments and pictures are found by their names: answers would come from two indexes, and what is written
would go into the wrong one. One look at the database's entry before each call tells.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from diptych.errors import StorageError
from diptych.storage.failures import is_missing, unreadable

__all__ = ["Anchor", "Seen", "replaced"]

Seen = tuple[tuple[int, int], tuple[int, int, int]]
"""Which file is at a path, and what it is like: device and inode; size and times."""


class Anchor:
    """The file of the database that a store has opened, told from every other one at its path.

    Device and inode tell another file. A file that was written over has the same ones; then its size or
    times have changed, as they do with each commit, and it is asked for the identity of its index.

    Args:
        path: The database, which is there.

    Raises:
        StorageError: It is not, or cannot be looked at.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._file, self._version = self._look()

    def check(self, renew: Callable[[], None]) -> None:
        """Make sure that the path still leads to the file.

        Args:
            renew: Called when others have written into it since the last look; what connections keep of
                it in memory may then be that of another index.

        Raises:
            StorageError: There is nothing any more, or another file.
        """
        file, version = self._look()
        if file != self._file:
            raise replaced(self._path.parent)
        with self._mutex:
            if version != self._version:
                renew()
                self._version = version

    def settle(self) -> Seen | None:
        """Take over what the file is like after a write of this store, and return it.

        None where it is another file, or none; the next check says so.
        """
        try:
            file, version = self._look()
        except StorageError:
            return None
        if file != self._file:
            return None
        self._version = version
        return file, version

    def adopt(self, seen: Seen) -> None:
        """Take over what the file was like after a write of another store of this process."""
        file, version = seen
        if file == self._file:
            self._version = version

    @property
    def is_untouched(self) -> bool:
        """Whether nobody else has removed, replaced or written the file since the last look."""
        try:
            return self._look() == (self._file, self._version)
        except StorageError:
            return False

    def _look(self) -> Seen:
        try:
            found = os.stat(self._path)
        except OSError as error:
            if is_missing(error):
                raise StorageError(
                    f"The index {str(self._path.parent)!r} has been removed or renamed since it was "
                    f"opened: {self._path.name!r} is not there any more. Nothing was read or stored; close "
                    "this index, and open it again where it is now."
                ) from error
            raise unreadable(self._path, error) from error
        return (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def replaced(folder: Path) -> StorageError:
    """Return the error for a folder that holds another index than the one that was opened."""
    return StorageError(
        f"The index {str(folder)!r} has been replaced since it was opened: the database there is another "
        "one, for example of a backup that was restored. Nothing was read or stored; close this index, "
        "and open it again."
    )
