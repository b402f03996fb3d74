"""Who may do what at the same time: readers and a writer among threads, one writer among processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from diptych.checks import seconds
from diptych.errors import LockedError, StorageError
from diptych.storage.files import Files
from diptych.storage.layout import LOCK

if sys.platform != "win32":
    import fcntl

__all__ = ["ReadWriteLock", "WriterLock"]


class ReadWriteLock:
    """Readers share, a writer is alone; a waiting writer goes before readers that come later."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting_writers = 0

    @property
    def is_writing(self) -> bool:
        """Whether a writer is inside."""
        return self._writing

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers. Not reentrant."""
        with self._condition:
            while self._writing or self._waiting_writers:
                self._condition.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                if not self._readers:
                    self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone. Not reentrant."""
        self.acquire_writing()
        try:
            yield
        finally:
            self.release_writing()

    def acquire_writing(self, timeout: float | None = None) -> bool:
        """Take the lock alone, and tell whether that was possible within ``timeout`` seconds."""
        with self._condition:
            self._waiting_writers += 1
            try:
                is_free = self._condition.wait_for(
                    lambda: not self._writing and not self._readers, timeout
                )
                self._writing = self._writing or is_free
            finally:
                self._waiting_writers -= 1
                if not self._writing:
                    self._condition.notify_all()
        return is_free

    def release_writing(self) -> None:
        """Let others in again."""
        with self._condition:
            self._writing = False
            self._condition.notify_all()


class WriterLock:
    """Makes one object of one process the writer of a folder, until it releases or dies.

    The kernel holds the lock and drops it with the process; the file ``lock`` stays and means nothing.

    Args:
        folder: The folder of the index.
        timeout: How many seconds to wait for another writer.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder = folder
        self._timeout = seconds("lock_timeout", timeout)
        self._lock = filelock.FileLock(
            folder / LOCK, thread_local=False, poll_interval=0.02, fallback_to_soft=False
        )

    @property
    def is_held(self) -> bool:
        """Whether this object is the writer."""
        return self._lock.is_locked

    def acquire(self) -> None:
        """Become the writer.

        Raises:
            LockedError: There is another one.
            FormatError: There is a link or the like in the place of the lock.
            StorageError: The folder is not ours to write.
        """
        Files(self._folder).has(LOCK)
        try:
            self._lock.acquire(timeout=self._timeout)
        except filelock.Timeout as error:
            waited = f" (after {self._timeout:g} seconds)" if self._timeout else ""
            raise LockedError(
                f"The index {str(self._folder)!r} is being written by another process or object"
                f"{waited}. Wait for it, close it, or give lock_timeout= to wait longer; any number may "
                "read meanwhile."
            ) from error
        except OSError as error:
            raise StorageError(
                f"The folder {str(self._folder)!r} cannot be written: {error.strerror}. "
                "Fix its permissions, or only read the index."
            ) from error

    def is_free(self) -> bool:
        """Whether nobody writes just now; changes nothing, so that it can be asked in any folder.

        Raises:
            FormatError: There is a link or the like in the place of the lock.
        """
        if self.is_held or not Files(self._folder).has(LOCK):
            return not self.is_held
        if sys.platform == "win32":
            return self._is_free_there()
        descriptor = Files(self._folder).open(LOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _is_free_there(self) -> bool:
        """Where locks are not of descriptors: take it and give it back."""
        try:
            self._lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            return False
        self._lock.release()
        return True

    def release(self) -> None:
        """Let others write; releasing twice is nothing."""
        self._lock.release(force=True)

    def abandon(self) -> None:
        """Leave the lock to the parent, in a forked child. filelock has closed the descriptor there."""
        self.__init__(self._folder, self._timeout)  # type: ignore[misc]  # the same as a new one
