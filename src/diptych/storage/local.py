"""The store of one machine: SQLite for the truth, write-once segments for vectors, FAISS derived.

Order of a write: pictures, then the vector segment, each synced to disk; then one SQLite
transaction that refers to them. That transaction is the receipt: before it nothing has happened,
after it everything has.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
from numpy.typing import NDArray

from diptych.errors import ClosedError, CorruptionError, FormatError, LockedError, StorageError
from diptych.image import Image
from diptych.storage import files
from diptych.storage.database import Database
from diptych.storage.faiss_index import Keys, VectorIndex
from diptych.storage.locks import ReadWriteLock
from diptych.storage.pictures import PicturePolicy, Pictures
from diptych.storage.rows import Row, Space
from diptych.storage.segments import Segment, read_segment, write_segment
from diptych.vectors import Vectors

__all__ = ["LocalStorage", "VectorRows"]

VectorRows = Mapping[str, tuple[NDArray[np.int64], Vectors]]
"""For each list the positions, ascending, in the batch, and the vectors of these documents."""

DATABASE = "store.sqlite3"
SEGMENTS = "segments"
TAIL_SEGMENTS = 64
"""How many small segments may pile up at the end before they are written as one."""
SMALL_SEGMENT = 1 << 20


class LocalStorage:
    """Documents and their vectors in a folder, or in memory.

    Reading methods are for use inside :meth:`reading`; writing methods lock by themselves.

    Args:
        path: The folder; None keeps everything in memory. Nothing is created before :meth:`create`.
        pictures: Whether pictures are copied into the folder.

    Raises:
        FormatError: The folder holds something else, or a newer format.
        CorruptionError: Files of the store are damaged or missing.
    """

    def __init__(self, path: Path | None, pictures: PicturePolicy = "copy") -> None:
        self.path = path
        self.pictures = Pictures(path, pictures)
        self.indexes: dict[str, VectorIndex] = {}
        self.spaces: dict[str, Space] = {}
        self._database: Database | None = None
        self._closed = False
        self._segments: dict[int, Segment] = {}
        self._version = -1
        self._lock = ReadWriteLock()
        self._writer = threading.RLock()
        self._process_lock = (
            filelock.FileLock(path / "lock", timeout=0, thread_local=False) if path else None
        )
        if path is not None and (path / DATABASE).exists():
            self._open(create=False)
        elif path is not None and path.exists() and not _is_free(path):
            raise FormatError(
                f"{str(path)!r} exists and holds no diptych index. Give the folder of an index, "
                "an empty folder, or a path that does not exist yet."
            )

    @property
    def database(self) -> Database:
        """The database.

        Raises:
            ClosedError: The store is closed, or nothing has been added yet.
        """
        if self._closed or self._database is None:
            raise ClosedError("The index has been closed, or nothing has been added to it yet.")
        return self._database

    @property
    def is_new(self) -> bool:
        """Whether nothing has been stored yet."""
        return self._database is None and not self._closed

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the store throughout, including what other processes have committed."""
        if self._closed:
            raise ClosedError("The index has been closed. Open it again.")
        if self._is_stale():
            with self._lock.writing():
                self._refresh()
        with self._lock.reading():
            yield

    def create(self, spaces: Mapping[str, Space], settings: Mapping[str, str]) -> None:
        """Make the store and record which models its vectors come from.

        Raises:
            LockedError: Another process or object is writing to the folder.
        """
        with self._writing_process(create=True), self._lock.writing():
            if self._database is None:
                self._open(create=True)
            if not self.spaces:
                with self.database.transaction():
                    self.database.declare(spaces, settings)
                self.spaces = dict(spaces)
                self.indexes = {name: VectorIndex(space.dim) for name, space in spaces.items()}

    def write(
        self,
        documents: Sequence[Row],
        images: Sequence[Image | None],
        vectors: VectorRows,
        replaced: Sequence[int] = (),
        updated: Mapping[int, Row] | None = None,
    ) -> None:
        """Store documents with their pictures and vectors in one commit, instead of others.

        Args:
            documents: What to store; ``image_path`` is filled in here.
            images: Their pictures.
            vectors: Their vectors, by list.
            replaced: The keys of documents that go in the same commit.
            updated: Rows by key whose metadata, group and order change in the same commit, while
                their content stays.

        Raises:
            LockedError: Another process or object is writing to the folder.
            StorageError: The disk failed; nothing of this call is stored.
        """
        with self._writing_process():
            database = self.database
            rows = [self._with_picture(*pair) for pair in zip(documents, images, strict=True)]
            first = database.last_key() + 1
            added = {name: (first + at, v) for name, (at, v) in vectors.items() if len(at)}
            segment = self._write_segment(added)
            with self._lock.writing():
                with database.transaction():
                    database.delete(replaced)
                    database.update(updated or {})
                    database.insert({first + at: row for at, row in enumerate(rows)})
                    number = database.add_segment(segment) if segment else None
                self._apply(np.asarray(sorted(replaced), np.int64), added)
            if segment and number is not None:
                self._segments[number] = segment
            self._merge_tail()

    def delete(self, keys: Keys) -> None:
        """Remove documents everywhere in one commit."""
        with self._writing_process(), self._lock.writing():
            with self.database.transaction():
                self.database.delete(keys.tolist())
            self._apply(keys, {})

    def compact(self) -> None:
        """Write the vectors that count as one segment and give the room of the others back."""
        with self._writing_process():
            numbers = list(self._segments)
            self._rewrite(numbers, {name: index.live() for name, index in self.indexes.items()})
            database = self.database
            database.vacuum()
            kept = database.rows(database.keys().tolist()).values()
            self.pictures.sweep({row.image for row in kept if row.image})
            self._sweep_segments()

    def bytes_on_disk(self) -> int:
        """Return the size of all files of the store; 0 in memory."""
        if self.path is None or not self.path.is_dir():
            return 0
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def close(self) -> None:
        """Release the folder; closing twice is nothing."""
        with self._writer, self._lock.writing():
            self._closed = True
            if self._database is not None:
                self._database.close()
                self._database = None
            self.indexes = {}
            if self._process_lock is not None:
                self._process_lock.release(force=True)

    # -- opening and refreshing -------------------------------------------------------------

    def _open(self, *, create: bool) -> None:
        database = Database(self.path / DATABASE if self.path else None, create=create)
        if database.is_empty:
            database.close()
            return
        self._database = database
        try:
            self._load()
        except BaseException:
            database.close()
            self._database = None
            raise

    def _load(self) -> None:
        """Fill the FAISS indexes from the segments."""
        database = self.database
        self._version = database.version()
        self.spaces = database.spaces()
        self._segments = {}
        self.indexes = {name: VectorIndex(space.dim) for name, space in self.spaces.items()}
        self._load_segments(dict(database.segments()), database.keys())

    def _load_segments(self, segments: Mapping[int, Segment], live: Keys) -> None:
        if self.path is None:
            return
        dims = {name: space.dim for name, space in self.spaces.items()}
        for number, segment in sorted(segments.items()):
            for name, (keys, vectors) in read_segment(self.path / SEGMENTS, segment, dims).items():
                alive = _among(keys, live)
                if np.any(np.diff(keys) <= 0) or not self.indexes[name].follows(keys[alive]):
                    raise CorruptionError(
                        f"The vector segment {segment.name!r} of {str(self.path)!r} has its keys "
                        "out of order. Build the index again from the documents."
                    )
                self.indexes[name].add(keys[alive], np.ascontiguousarray(vectors[alive]))
            self._segments[number] = segment

    def _is_stale(self) -> bool:
        if self.path is None or (self._process_lock is not None and self._process_lock.is_locked):
            return False
        if self._database is None:
            return (self.path / DATABASE).exists()
        return self._database.version() != self._version

    def _refresh(self) -> None:
        """Take over what another process has committed."""
        if self._database is None:
            self._open(create=False)
            return
        database = self.database
        self._version = database.version()
        segments = dict(database.segments())
        if not self.spaces or not self._segments.keys() <= segments.keys():
            self._load()
            return
        live = database.keys()
        for index in self.indexes.values():
            keys, _ = index.live()
            index.remove(keys[~_among(keys, live)])
        self._load_segments({n: s for n, s in segments.items() if n not in self._segments}, live)

    # -- writing ----------------------------------------------------------------------------

    @contextmanager
    def _writing_process(self, *, create: bool = False) -> Iterator[None]:
        """Be the one writer: of the threads for the call, of the processes until :meth:`close`."""
        with self._writer:
            if self._closed:
                raise ClosedError("The index has been closed. Open it again.")
            lock = self._process_lock
            if lock is not None and self.path is not None and not lock.is_locked:
                if create:
                    self._make_folder(self.path)
                try:
                    lock.acquire()
                except filelock.Timeout as error:
                    raise LockedError(
                        f"The index {str(self.path)!r} is being written by another process or "
                        "object. Wait for it, or close it; any number may read meanwhile."
                    ) from error
                except OSError as error:
                    raise StorageError(
                        f"The folder {str(self.path)!r} cannot be written: {error.strerror}. "
                        "Fix its permissions, or open the index for reading only."
                    ) from error
                with self._lock.writing():
                    if (self.path / DATABASE).exists():
                        self._refresh()
                        self._sweep_segments()
            yield

    def _make_folder(self, path: Path) -> None:
        try:
            files.make_folder(path)
        except OSError as error:
            raise StorageError(
                f"The folder {str(path)!r} cannot be created: {error.strerror}. "
                "Choose another path or fix the permissions."
            ) from error

    def _with_picture(self, row: Row, image: Image | None) -> Row:
        if image is None:
            return row
        sha256, place = self.pictures.keep(image)
        return Row(
            row.id, row.text, sha256, place, row.image_name, row.metadata, row.group, row.order, row.content
        )  # fmt: skip

    def _write_segment(self, rows: Mapping[str, tuple[Keys, Vectors]]) -> Segment | None:
        if self.path is None or not rows:
            return None
        return write_segment(self.path / SEGMENTS, rows)

    def _apply(self, removed: Keys, added: Mapping[str, tuple[Keys, Vectors]]) -> None:
        for index in self.indexes.values():
            index.remove(removed)
        for name, (keys, vectors) in added.items():
            self.indexes[name].add(keys, vectors)

    def _merge_tail(self) -> None:
        """Write the small segments at the end as one, when they have become many."""
        tail: list[int] = []
        for number, segment in sorted(self._segments.items(), reverse=True):
            if segment.size > SMALL_SEGMENT:
                break
            tail.append(number)
        if self.path is None or len(tail) < TAIL_SEGMENTS:
            return
        dims = {name: space.dim for name, space in self.spaces.items()}
        oldest = read_segment(self.path / SEGMENTS, self._segments[min(tail)], dims)
        first = min(int(keys[0]) for keys, _ in oldest.values() if len(keys))
        rows = {}
        for name, index in self.indexes.items():
            keys, vectors = index.live()
            start = int(np.searchsorted(keys, first))
            rows[name] = keys[start:], vectors[start:]
        self._rewrite(tail, rows)

    def _rewrite(self, numbers: Sequence[int], rows: Mapping[str, tuple[Keys, Vectors]]) -> None:
        """Let one new segment count instead of others, which are then removed."""
        segment = self._write_segment({name: r for name, r in rows.items() if len(r[0])})
        with self.database.transaction():
            self.database.drop_segments(numbers)
            number = self.database.add_segment(segment) if segment else None
        for old in numbers:
            del self._segments[old]
        if segment and number is not None:
            self._segments[number] = segment
        self._sweep_segments()

    def _sweep_segments(self) -> None:
        """Remove files that no commit refers to: left-overs of crashes and of rewriting."""
        if self.path is None or not (self.path / SEGMENTS).is_dir():
            return
        counted = {segment.name for segment in self._segments.values()}
        for file in sorted((self.path / SEGMENTS).iterdir()):
            if file.name not in counted:
                files.remove(file)


def _is_free(path: Path) -> bool:
    """Whether a path is an empty folder, or one in which the very first write was cut off."""
    return path.is_dir() and {file.name for file in path.iterdir()} <= {"lock", SEGMENTS, "assets"}


def _among(keys: Keys, live: Keys) -> NDArray[np.bool_]:
    """Return which of ``keys`` are in ``live``, which ascends."""
    if not len(live):
        return np.zeros(len(keys), np.bool_)
    at = np.minimum(np.searchsorted(live, keys), len(live) - 1)
    found: NDArray[np.bool_] = live[at] == keys
    return found
