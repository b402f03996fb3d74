"""The store of one machine: SQLite for the truth, write-once segments for vectors, FAISS derived.

Order of a write: pictures, then the vector segment, each synced to disk; then one SQLite
transaction that refers to them. That transaction is the receipt: before it nothing has happened,
after it everything has.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diptych.errors import ClosedError, CorruptionError, FormatError, StorageError
from diptych.image import Image
from diptych.storage.anchor import Anchor, replaced
from diptych.storage.approximate import IndexKind
from diptych.storage.changes import WritableDatabase
from diptych.storage.database import Database
from diptych.storage.failures import is_there
from diptych.storage.faiss_index import Keys, VectorIndex
from diptych.storage.files import Files, make_folder
from diptych.storage.layout import DATABASE, NAMESPACES, SEAL
from diptych.storage.loaded import Loaded
from diptych.storage.locks import ReadWriteLock
from diptych.storage.network import warn_of_network
from diptych.storage.pictures import PicturePolicy, Pictures
from diptych.storage.pool import Pool
from diptych.storage.rows import Row, Space
from diptych.storage.seal import CONNECTED, break_seal, is_sealed, seal
from diptych.storage.unborn import check_is_free
from diptych.storage.verify import check_database
from diptych.storage.writer import VectorRows, Writer, sweep
from diptych.storage.writer_lock import HELD, Shared, WriterLock

__all__ = ["LocalStorage", "State", "VectorRows"]

FORK_SECONDS = 1.0
"""How long a fork waits for the threads that are reading or writing."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """One committed state of a store, to be used inside :meth:`LocalStorage.reading` only."""

    database: Database | None
    """None when nothing has been stored yet."""
    indexes: Mapping[str, VectorIndex]
    spaces: Mapping[str, Space]
    pictures: Pictures


class LocalStorage:
    """Documents and their vectors in a folder, or in memory.

    Args:
        path: The folder; None keeps everything in memory. Nothing is created before :meth:`create`.
        pictures: Whether pictures are copied into the folder.
        kind: How large lists are searched.
        lock_timeout: How many seconds to wait for another writer.

    Raises:
        FormatError: The folder holds something else, or a newer format.
        CorruptionError: Files of the store are damaged or missing.
    """

    def __init__(
        self,
        path: Path | None,
        pictures: PicturePolicy = "copy",
        *,
        kind: IndexKind = "flat",
        lock_timeout: float = 0.5,
    ) -> None:
        self.path = path
        self._files = Files(path) if path else None
        self.pictures = Pictures(path, pictures)
        self._kind: IndexKind = kind
        self._loaded = Loaded(kind)
        self._closed = False
        self._lock = ReadWriteLock()
        self._threads = threading.RLock()
        self._of_thread = threading.local()
        self._writer: Writer | None = None
        self._round = 0
        self._pool: Pool | None = None
        self._anchor: Anchor | None = None
        self._process_lock = WriterLock(path, lock_timeout) if path else None
        self._is_verified = True
        self._paused = (False, False)
        _STORES.add(self)
        if path is not None and self._files is not None and is_there(path):
            self._files.check_layout()
            self._open_if_there(self._files)

    @property
    def is_new(self) -> bool:
        """Whether nothing has been stored yet."""
        is_empty = self._writer is None or self._writer.database.is_empty
        return not self._closed and self._pool is None and is_empty

    @property
    def is_there(self) -> bool:
        """Whether there is a database at the path; nothing is opened."""
        return self._files is not None and self._files.has(DATABASE)

    @property
    def spaces(self) -> dict[str, Space]:
        """Which models the vectors come from, by list."""
        return self._loaded.spaces

    @contextmanager
    def reading(self) -> Iterator[State]:
        """See one state of the store throughout, including what other processes have committed.

        Raises:
            ClosedError: The store has been closed.
            StorageError: The folder cannot be read.
        """
        state: State | None = getattr(self._of_thread, "state", None)
        if state is not None:
            yield state  # a thread inside a snapshot stays in it
            return
        with self._new_state() as state:
            self._of_thread.state = state
            inside = _stores_read_by_this_thread()
            inside.append(self)
            try:
                yield state
            finally:
                self._of_thread.state = None
                if self in inside:  # a forked child starts with none
                    inside.remove(self)

    @contextmanager
    def _new_state(self) -> Iterator[State]:
        if self._pool is None and self._files is not None and self._files.has(DATABASE):
            with self._threads, self._lock.writing():
                if self._pool is None and not self._closed:
                    self._open_if_there(self._files)
        while True:
            with self._lock.reading():
                if self._closed:
                    raise ClosedError("The index has been closed. Open it again.")
                if self._pool is None:
                    in_memory = self._writer.database if self._writer and not self.is_new else None
                    yield self._state(in_memory)
                    return
                self._check_place()
                with self._pool.connection() as database:
                    database.begin()
                    if database.state() == self._loaded.at:
                        yield self._state(database)
                        return
            with self._lock.writing():
                if self._pool is not None:
                    with self._pool.connection() as database:
                        self._follow(database)

    def create(self, spaces: Mapping[str, Space], settings: Mapping[str, str]) -> None:
        """Make the store and record which models its vectors come from.

        Raises:
            LockedError: Another process is writing to the folder.
        """
        with self._writing(create=True) as writer:
            if writer.database.is_empty:
                writer.create(spaces, settings)
                if self.path is not None:
                    self._pool = Pool(self.path / DATABASE)

    def write(
        self,
        documents: Sequence[Row],
        images: Sequence[Image | None],
        vectors: VectorRows,
        replaced: Sequence[int] = (),
        updated: Mapping[int, Row] | None = None,
        spaces: Mapping[str, Space] | None = None,
    ) -> None:
        """Store documents with their pictures and vectors in one commit, instead of others.

        Args:
            documents: What to store; ``image_path`` is filled in here.
            images: Their pictures.
            vectors: Their vectors, by list.
            replaced: The keys of documents that go in the same commit.
            updated: Rows by key whose metadata, group and order change in the same commit, while
                their content stays.
            spaces: Which models the vectors were made for; None when that is not compared.

        Raises:
            LockedError: Another process is writing to the folder.
            Conflict: One of the documents was stored, replaced or removed since the caller looked, or
                the models of the index were exchanged.
            StorageError: The disk failed; nothing of this call is stored.
        """
        with self._writing() as writer:
            writer.store(documents, images, vectors, replaced, updated or {}, spaces)

    def delete(self, keys: Keys) -> int:
        """Remove documents everywhere in one commit, and return how many there were."""
        with self._writing() as writer:
            return writer.delete(keys)

    def compact(self) -> None:
        """Write the vectors that count as few segments and give the room of everything else back."""
        with self._writing() as writer:
            writer.compact()
            self._keep_cache()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other writers out, so that what is read inside still holds when it is written.

        Raises:
            LockedError: Another process is writing to the folder.
        """
        with self._writing():
            yield

    @contextmanager
    def renewal(self) -> Iterator[None]:
        """Be the one that gives the documents the vectors of other models, in several :meth:`reembedding`.

        Raises:
            LockedError: Another process is writing to the folder, or another object of this one does the
                same.
        """
        with self._writing():
            pass  # a writer from here on
        if self._process_lock is None:
            yield
            return
        with self._process_lock.renewal():
            yield

    @contextmanager
    def reembedding(self) -> Iterator[Writer]:
        """Be the writer for one batch of vectors of other models."""
        with self._writing() as writer:
            yield writer

    def bytes_on_disk(self) -> int:
        """Return the size of all files of the store; 0 in memory."""
        return self._files.total_bytes(leave_out=NAMESPACES) if self._files is not None else 0

    def close(self, timeout: float | None = None) -> None:
        """Release the folder; closing twice is nothing.

        Args:
            timeout: How many seconds to wait for threads that are reading; None for as long as it takes.
                After that the folder is left as it is, which is what a kill would do.
        """
        if not self._threads.acquire(timeout=-1 if timeout is None else timeout):
            return
        try:
            if self._lock.acquire_writing(timeout):
                try:
                    self._close()
                finally:
                    self._lock.release_writing()
        finally:
            self._threads.release()

    def _close(self) -> None:
        if self._closed:
            return
        is_new, self._closed = self.is_new, True
        shared = self._process_lock.shared if self._process_lock is not None else None
        if self._anchor is not None and shared is not None and shared.seen is not None:
            self._anchor.adopt(shared.seen)
        is_ours = self._anchor is None or self._anchor.is_untouched
        if is_ours:
            self._keep_cache()
        self._loaded = Loaded(self._kind)
        if self.path is None:
            if self._writer is not None:
                self._writer.database.close()
        elif self._pool is not None or self._writer is not None:
            with CONNECTED.leaving(self.path) as alone:
                self._disconnect()
                if alone and self._is_verified and shared and is_ours and not is_new:
                    self._seal(self.path / DATABASE)
        if self._process_lock is not None:
            self._process_lock.release()

    # -- opening ----------------------------------------------------------------------------

    def _state(self, database: Database | None) -> State:
        return State(database, self._loaded.indexes, self._loaded.spaces, self.pictures)

    def _open_if_there(self, files: Files) -> None:
        """Open the index in a folder, unless nothing has been stored there yet.

        Raises:
            FormatError: The folder holds something else.
            CorruptionError: The database is lost.
        """
        while not (files.has(DATABASE) and self._open(files)):
            try:
                check_is_free(files)
            except (CorruptionError, FormatError):
                if _has_tables(files):  # others have made the index while we looked
                    continue
                raise
            return

    def _open(self, files: Files) -> bool:
        """Connect to the database, check that it is whole, and load the vectors; change nothing.

        Returns:
            Whether something has been stored.
        """
        path = files.folder
        warn_of_network(path)
        anchor = Anchor(path / DATABASE)
        with CONNECTED.entering(path) as alone:
            if alone:
                self._is_verified = is_sealed(path / DATABASE) or self._is_whole(path / DATABASE)
            else:
                self._is_verified = False
            database = Database(path / DATABASE)
        try:
            if database.is_empty:
                CONNECTED.leave(path)
                return False
            self._loaded.follow(database, self._files)
            self._pool, self._anchor = Pool(path / DATABASE), anchor
            anchor.settle()
            if self._writer is not None:
                CONNECTED.leave(path)  # it was counted already
            return True
        except BaseException:
            CONNECTED.leave(path)
            raise
        finally:
            database.close()

    def _check_place(self) -> None:
        """Make sure that the folder is the one that was opened.

        Raises:
            StorageError: It was removed, renamed or replaced.
        """
        if self._anchor is not None:
            pool = self._pool
            self._anchor.check(pool.renew if pool is not None else lambda: None)

    def _follow(self, database: Database) -> None:
        """Take over what was committed by others."""
        try:
            self._loaded.follow(database, self._files)
        except CorruptionError:
            self._check_place()  # files of a folder that has just gone are not damaged
            raise

    def _is_whole(self, path: Path) -> bool:
        """Check a database whose last writer was killed; tidying up is left to the next writer.

        Returns:
            Whether it was checked; one that is being written by another process is left alone.
        """
        if self._process_lock is None or not self._process_lock.is_free():
            return False
        database = Database(path)
        try:
            database.begin()  # one state throughout, whoever may begin to write
            if not database.is_empty:
                check_database(database)
        finally:
            database.close()
        return True

    def _keep_cache(self) -> None:
        """Cache what approximate indexes know, when we are the writer and the state is the last one."""
        if self.path is None or self._writer is None or self._writer.is_broken:
            return
        try:
            if self._writer.database.state() == self._loaded.at:
                self._loaded.keep(self._writer.database, self.path)
        except StorageError as error:
            _log.info("The approximate indexes were not cached: %s", error)

    def _disconnect(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._writer is not None:
            self._writer.database.close()
            self._writer = None

    def _seal(self, database: Path) -> None:
        """Seal a database that nobody is connected to, nor can be: the writer's lock is ours."""
        try:
            seal(database)
        except (OSError, StorageError) as error:
            _log.info("%s was not sealed: %s", database, error)

    def _pause(self) -> None:
        """Wait until no thread is inside SQLite, whose locks a forked child would find held forever.

        A thread that forks while it reads itself cannot wait for that; it forks as it is.
        """
        self._paused = (
            self._threads.acquire(timeout=FORK_SECONDS),
            self._lock.acquire_writing(FORK_SECONDS),
        )

    def _resume(self) -> None:
        """Go on after a fork, in the parent."""
        threads, readers = self._paused
        if readers:
            self._lock.release_writing()
        if threads:
            self._threads.release()

    def _after_fork(self) -> None:
        """Become a reader with connections of its own, in a forked child."""
        interrupted = not self._paused[1] and self._lock.is_writing
        self._lock = ReadWriteLock()
        self._threads = threading.RLock()
        self._of_thread = threading.local()
        _stores_read_by_this_thread().clear()
        if self._process_lock is None:
            return
        self._process_lock.abandon()
        if self._writer is not None:
            self._writer.database.abandon()
            self._writer = None
        if self._pool is not None:
            self._pool.abandon()
        if interrupted:
            self._loaded = Loaded(self._kind)

    # -- writing ----------------------------------------------------------------------------

    @contextmanager
    def _writing(self, *, create: bool = False) -> Iterator[Writer]:
        """Be the one writer: of the threads and objects of this process for the call.

        Other processes stay out until :meth:`close`.
        """
        if any(self._shares_folder(store) for store in _stores_read_by_this_thread()):
            raise StorageError(
                f"The index {str(self.path or 'in memory')!r} was asked for a change inside of a snapshot of "
                "the same thread, which would wait for itself. Leave the snapshot first."
            )
        with self._threads:
            if self._closed:
                raise ClosedError("The index has been closed. Open it again.")
            self._check_place()
            with self._turn(create=create) as shared:
                self._check_place_for_writing(shared)
                if self._writer is None or self._writer.is_broken:
                    self._writer = self._become_writer(shared, create=create)
                self._writer.catch_up()
                self._note(shared)
                try:
                    yield self._writer
                finally:
                    self._note(shared)

    @contextmanager
    def _turn(self, *, create: bool) -> Iterator[Shared | None]:
        """Keep other processes out from now on, and the other writers of this one meanwhile.

        Raises:
            ClosedError: There is no index yet, and none is to be made.
            LockedError: Another process is writing to the folder.
        """
        lock = self._process_lock
        if lock is None or self.path is None:
            yield None
            return
        if not lock.is_held:
            if not create and not Files(self.path).has(DATABASE):
                raise ClosedError("Nothing has been added to the index yet.")
            warn_of_network(self.path)
            if create:
                self._make_folder(self.path)
            Files(self.path).check_layout()
            lock.acquire()
        try:
            with lock.turn() as shared:
                try:
                    yield shared
                finally:
                    if self._writer is not None and self._writer.database.is_empty:
                        self._step_back(self.path)
        finally:
            if self._writer is None:
                lock.release()

    def _step_back(self, path: Path) -> None:
        """Be no writer of a database in which the first commit failed: another object may come first."""
        if self._writer is not None:
            self._writer.database.close()
            self._writer = self._anchor = None
            CONNECTED.leave(path)

    def _note(self, shared: Shared | None) -> None:
        """Tell the other writers of this process what the index is like now."""
        if shared is not None:
            shared.at = self._loaded.at
            if self._anchor is not None:
                shared.seen = self._anchor.settle()

    def _shares_folder(self, other: LocalStorage) -> bool:
        if self is other or self.path is None or other.path is None:
            return self is other
        try:
            return os.path.samefile(self.path, other.path)
        except OSError:
            return False

    def _check_place_for_writing(self, shared: Shared | None) -> None:
        """As :meth:`_check_place`, and ask the database which index it is.

        While this process holds the lock nobody else commits. When the file was written over all the same,
        what the connections of its writers have in memory is not what is in the file, and others take their
        place.
        """
        self._check_place()
        if self._pool is None or self.path is None or shared is None:
            return
        with self._pool.connection() as database:
            state = None if database.is_empty else database.state()
        if state is None or state.identity != self._loaded.identity:
            raise replaced(self.path)
        if shared.at is not None and state != shared.at:
            shared.round += 1
            shared.is_tidy = False
        if self._writer is not None and self._round != shared.round:
            self._writer.database.close()
            self._writer.is_broken = True

    def _become_writer(self, shared: Shared | None, *, create: bool) -> Writer:
        """Become a writer; the first one checks what another process has left behind, and tidies up."""
        if self._files is None or shared is None:
            return Writer(
                None, WritableDatabase(None, "create"), self.pictures, self._loaded, self._lock
            )
        files, path = self._files, self._files.folder
        with CONNECTED.entering(path):  # nobody seals it from here on
            was_sealed = files.has(SEAL)
            break_seal(path / DATABASE)
            database = WritableDatabase(path / DATABASE, "create" if create else "write")
        try:
            if not (self._is_verified or shared.is_tidy or was_sealed or database.is_empty):
                check_database(database)
            self._is_verified = True
            if not (shared.is_tidy or database.is_empty):
                sweep(files, database, None if was_sealed else self.pictures)
            shared.is_tidy = True
        except BaseException:
            database.close()
            CONNECTED.leave(path)
            raise
        if self._pool is not None or self._writer is not None:
            CONNECTED.leave(path)  # it was counted when it was opened
        else:
            self._anchor = Anchor(path / DATABASE)
            self._pool = None if database.is_empty else Pool(path / DATABASE)
        self._round = shared.round
        return Writer(path, database, self.pictures, self._loaded, self._lock)

    def _make_folder(self, path: Path) -> None:
        try:
            make_folder(path)
        except OSError as error:
            raise StorageError(
                f"The folder {str(path)!r} cannot be created: {error.strerror}. "
                "Choose another path or fix the permissions."
            ) from error


_THREAD = threading.local()


def _stores_read_by_this_thread() -> list[LocalStorage]:
    """Return the stores whose snapshots this thread is inside of."""
    if not hasattr(_THREAD, "stores"):
        _THREAD.stores = []
    stores: list[LocalStorage] = _THREAD.stores
    return stores


def _has_tables(files: Files) -> bool:
    """Whether something was committed to the database of a folder."""
    if not files.has(DATABASE):
        return False
    database = Database(files.folder / DATABASE)
    try:
        return not database.is_empty
    finally:
        database.close()


_STORES: weakref.WeakSet[LocalStorage] = weakref.WeakSet()


_FORKING: list[LocalStorage] = []


def _before_fork() -> None:
    _FORKING.extend(_STORES)
    for storage in _FORKING:
        storage._pause()


def _after_fork_in_parent() -> None:
    while _FORKING:
        _FORKING.pop()._resume()


def _after_fork_in_child() -> None:
    CONNECTED.forget()
    HELD.forget()
    while _FORKING:
        _FORKING.pop()._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
