"""The one process that may write to a folder, and the turns that its objects take.

The kernel's lock keeps other processes out. Within the process it belongs to all objects that write to the
folder, by whatever path they know it: the first one takes it, the last one that closes gives it back, and
each of them changes the index in its turn. Some work tolerates nobody else, such as a repair, which puts
another database in the place of the one that others have open; it holds the lock alone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from diptych.checks import seconds
from diptych.errors import LockedError, StorageError
from diptych.storage.anchor import Seen
from diptych.storage.database import CommitState
from diptych.storage.files import Files
from diptych.storage.layout import LOCK

if sys.platform != "win32":
    import fcntl

__all__ = ["HELD", "Shared", "WriterLock"]

POLL_SECONDS = 0.02


class Shared:
    """The lock of one folder while this process holds it, and what its writers tell each other.

    Args:
        lock: Of the kernel, held.
        alone: Whether its first owner tolerates no other one.
    """

    def __init__(self, lock: filelock.BaseFileLock, *, alone: bool) -> None:
        self.lock = lock
        self.is_alone = alone
        self.owners: set[object] = set()
        self.turn = threading.RLock()
        """Held by the one thread that changes the index just now."""
        self.renewal = threading.Lock()
        """Held by the one object that gives the documents other vectors, which takes many turns."""
        self.is_tidy = False
        """Whether one of the owners has checked the database and removed left-overs."""
        self.at: CommitState | None = None
        """The state after the last turn; None before the first one."""
        self.seen: Seen | None = None
        """What the file of the database was like after the last turn."""
        self.round = 0
        """Counts how often somebody without the lock has written over the database: the connections of
        rounds before have something else in memory than what is in the file."""


class Held:
    """The locks that this process holds, by the identity of their files."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, int], Shared] = {}
        # Reentrant: the collection of garbage closes indexes wherever it comes.
        self._mutex = threading.RLock()

    def take(self, folder: Path, owner: object, *, alone: bool) -> Shared | None:
        """Make an object one of the writers of a folder; None when others keep it out just now.

        Raises:
            OSError: The lock cannot be made.
        """
        with self._mutex:
            while (shared := self._of(folder)) is not None:
                if alone or shared.is_alone:
                    return None
                shared.owners.add(owner)
                if self._of(folder) is shared:
                    return shared
                shared.owners.discard(owner)  # given back by its last owner meanwhile
            lock = filelock.FileLock(folder / LOCK, thread_local=False, fallback_to_soft=False)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                return None
            identity = _identity(folder)
            if identity is None:  # removed at this very moment
                lock.release(force=True)
                return None
            shared = Shared(lock, alone=alone)
            shared.owners.add(owner)
            self._shared[identity] = shared
            return shared

    def give_back(self, shared: Shared, owner: object) -> None:
        """Count an object no more among the writers; after the last one other processes may write."""
        with self._mutex:
            shared.owners.discard(owner)
            if shared.owners or shared not in self._shared.values():
                return
            self._shared = {key: one for key, one in self._shared.items() if one is not shared}
            shared.lock.release(force=True)

    def is_ours(self, folder: Path) -> bool:
        """Whether an object of this process holds the lock of a folder.

        Waits for nobody: who asks may hold what the collection of garbage needs inside of :meth:`take`.
        """
        return self._of(folder) is not None

    def forget(self) -> None:
        """Start again in a forked child, where filelock has closed the descriptors of the parent's locks."""
        self.__init__()  # type: ignore[misc]  # the same as a new one

    def _of(self, folder: Path) -> Shared | None:
        identity = _identity(folder)
        return None if identity is None else self._shared.get(identity)


HELD = Held()


class WriterLock:
    """Makes one object a writer of a folder, until it releases or is forgotten.

    Objects of one process write in turns; other processes stay out. The file ``lock`` stays and means
    nothing by itself: the kernel holds the lock and drops it with the process.

    Args:
        folder: The folder of the index.
        timeout: How many seconds to wait for another writer.
        alone: Whether other objects of this process are kept out too.
    """

    def __init__(self, folder: Path, timeout: float, *, alone: bool = False) -> None:
        self.shared: Shared | None = None
        """What is shared with the other writers of this process, while this object is one."""
        self._folder = folder
        self._timeout = seconds("lock_timeout", timeout)
        self._alone = alone
        self._owner = object()

    @property
    def is_held(self) -> bool:
        """Whether this object is a writer."""
        return self.shared is not None

    def acquire(self) -> None:
        """Become a writer.

        Raises:
            LockedError: Another process is one, or one of two objects has to be alone.
            FormatError: There is a link or the like in the place of the lock.
            StorageError: The folder is not ours to write.
        """
        if self.shared is not None:
            return
        Files(self._folder).has(LOCK)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self.shared = HELD.take(self._folder, self._owner, alone=self._alone)
            except OSError as error:
                raise StorageError(
                    f"The folder {str(self._folder)!r} cannot be written: {error.strerror}. "
                    "Fix its permissions, or only read the index."
                ) from error
            if self.shared is not None:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockedError(self._refusal())
            time.sleep(min(POLL_SECONDS, left))

    def _refusal(self) -> str:
        waited = f" (after {self._timeout:g} seconds)" if self._timeout else ""
        if not HELD.is_ours(self._folder):
            return (
                f"The index {str(self._folder)!r} is being written by another process{waited}. Wait for it, "
                "close it, or give lock_timeout= to wait longer; any number may read meanwhile."
            )
        if not self._alone:
            return (
                f"The index {str(self._folder)!r} is being written by another thread of this process, which "
                f"repairs or removes it{waited}. Try again when it is done, or give lock_timeout= to wait "
                "longer."
            )
        return (
            f"The index {str(self._folder)!r} is being written by another object of this process{waited}; a "
            "repair and the removal of a namespace need it for themselves. Call close() on every index, "
            "store and retriever that has written to it (or leave its with block), then try again."
        )

    @contextmanager
    def turn(self) -> Iterator[Shared]:
        """Keep the other writers of this process waiting. Reentrant; only while the lock is held."""
        shared = self.shared
        if shared is None:
            raise StorageError(
                f"The lock of {str(self._folder)!r} is not held; acquire it before a turn is taken."
            )
        with shared.turn:
            yield shared

    @contextmanager
    def renewal(self) -> Iterator[None]:
        """Be the one that gives the documents other vectors; the other writers take their turns between.

        Raises:
            LockedError: Another object of this process does so.
        """
        with self.turn() as shared:
            renewal = shared.renewal
        if not renewal.acquire(timeout=self._timeout):
            raise LockedError(
                f"The vectors of the index {str(self._folder)!r} are being made anew by another call of this "
                f"process (after {self._timeout:g} seconds). Wait for it, or give lock_timeout= to wait "
                "longer; documents can be added meanwhile."
            )
        try:
            yield
        finally:
            renewal.release()

    def is_free(self) -> bool:
        """Whether nobody writes just now; changes nothing, so that it can be asked in any folder.

        Raises:
            FormatError: There is a link or the like in the place of the lock.
        """
        if not Files(self._folder).has(LOCK):
            return True
        if HELD.is_ours(self._folder):
            return False
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
            taken = HELD.take(self._folder, self._owner, alone=True)
        except OSError:
            return False
        if taken is not None:
            HELD.give_back(taken, self._owner)
        return taken is not None

    def release(self) -> None:
        """Be a writer no more; releasing twice is nothing."""
        shared, self.shared = self.shared, None
        if shared is not None:
            HELD.give_back(shared, self._owner)

    def abandon(self) -> None:
        """Leave the lock to the parent, in a forked child."""
        self.shared = None

    def __del__(self) -> None:
        if getattr(self, "shared", None) is not None:
            self.release()


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder / LOCK, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino
