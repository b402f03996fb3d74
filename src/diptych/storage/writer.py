"""The one writer of a store: commits, and the upkeep that follows them.

Order of a commit: pictures, then vector segments, each synced to disk; then one SQLite transaction that
refers to them; then the indexes in memory. The readers of this process wait for the last two only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.errors import Conflict, StorageError
from diptych.image import Image
from diptych.storage.changes import WritableDatabase
from diptych.storage.database import Database
from diptych.storage.faiss_index import Keys
from diptych.storage.files import Files
from diptych.storage.layout import SEGMENTS
from diptych.storage.loaded import Loaded
from diptych.storage.locks import ReadWriteLock
from diptych.storage.pictures import Pictures
from diptych.storage.rows import Row, Space
from diptych.storage.segments import Rows, Segment, write_segments
from diptych.storage.upkeep import hollow_segments, tail_to_merge
from diptych.vectors import Vectors

__all__ = ["VectorRows", "Writer", "sweep"]

VectorRows = Mapping[str, tuple[NDArray[np.int64], Vectors]]
"""For each list the positions, ascending, in the batch, and the vectors of these documents."""

GARBAGE_SECONDS = 60.0
"""How long a picture stays after its last document is gone, for those who have just found it."""

_NONE = np.empty(0, np.int64)

_log = logging.getLogger(__name__)


class Writer:
    """Changes a store. The caller lets one thread of one process in at a time.

    Args:
        path: The folder; None for a store in memory.
        database: Open for writing.
        pictures: Where pictures are kept.
        loaded: The vectors in memory, which follow every commit.
        lock: Keeps the readers of this process out while they do.
    """

    def __init__(
        self,
        path: Path | None,
        database: WritableDatabase,
        pictures: Pictures,
        loaded: Loaded,
        lock: ReadWriteLock,
    ) -> None:
        self.database = database
        self.is_broken = False
        """Whether the connection failed for good; another writer takes over."""
        self._path = path
        self._files = Files(path) if path else None
        self._pictures = pictures
        self._loaded = loaded
        self._lock = lock
        self._removed_since_look = 0

    def catch_up(self) -> None:
        """Load what was committed by others, or by a commit of ours that failed after it had succeeded."""
        if not self.database.is_empty and self.database.state() != self._loaded.at:
            with self._lock.writing():
                self._loaded.follow(self.database, self._files)

    def create(self, spaces: Mapping[str, Space], settings: Mapping[str, str]) -> None:
        """Make an empty database a store, in one commit."""

        def change() -> None:
            self.database.create_tables()
            self.database.declare(spaces, settings)

        self.commit(change)
        self.database.is_empty = False
        with self._lock.writing():
            self._loaded.follow(self.database, self._files)

    def store(
        self,
        documents: Sequence[Row],
        images: Sequence[Image | None],
        vectors: VectorRows,
        replaced: Sequence[int],
        updated: Mapping[int, Row],
        spaces: Mapping[str, Space] | None = None,
    ) -> None:
        """As :meth:`diptych.storage.LocalStorage.write`."""
        database = self.database
        _check_expected(database, documents, replaced, updated)
        if spaces is not None and not _same_models(spaces, self._loaded.spaces):
            raise Conflict(
                _CHANGED.format("The vectors of the index were made anew with other models")
            )
        rows = self._with_pictures(documents, images)
        first = database.state().last_key + 1
        added = {name: (first + at, v) for name, (at, v) in vectors.items() if len(at)}
        segments = self._write_segments(added)

        def change() -> None:
            database.delete(replaced)
            database.update(updated)
            database.insert({first + at: row for at, row in enumerate(rows)})
            for segment in segments:
                database.add_segment(segment)

        try:
            self.commit(change, np.asarray(sorted(replaced), np.int64), added)
        except BaseException:
            self._discard(segments)
            raise
        self._keep_up(len(replaced))

    def delete(self, keys: Keys) -> int:
        """Remove documents everywhere in one commit, and return how many there were."""
        removed = 0

        def change() -> None:
            nonlocal removed
            removed = self.database.delete(keys.tolist())

        self.commit(change, keys)
        self._keep_up(removed)
        return removed

    def compact(self) -> None:
        """Write the vectors that count as few segments and give the room of everything else back."""
        database = self.database
        self._rewrite(database.segments(database.state().generation))
        self._drop_garbage(time.time())
        with self._lock.writing():
            database.vacuum()
        if self._path is None:
            self._pictures.forget_all_but(database.picture_hashes())
        else:
            sweep(Files(self._path), database, self._pictures)

    def begin_generation(self, spaces: Mapping[str, Space]) -> int:
        """Begin or go on with the vectors of other models, and return the last key that has them."""
        generation, last = self.database.pending_generation()
        if generation and self.database.spaces(generation) == spaces:
            return last
        self.commit(lambda: self.database.begin_generation(spaces))
        return 0

    def give_up_generation(self, spaces: Mapping[str, Space]) -> None:
        """Begin the vectors of other models from the start when this is called the next time."""
        self.commit(lambda: self.database.begin_generation(spaces))
        self._sweep()

    def add_to_generation(self, rows: Rows) -> None:
        """Store vectors of the generation that was begun."""
        segments = self._write_segments(rows)
        generation, _ = self.database.pending_generation()

        def change() -> None:
            for segment in segments:
                self.database.add_segment(segment, generation)

        try:
            self.commit(change)
        except BaseException:
            self._discard(segments)
            raise

    def end_generation(self, settings: Mapping[str, str]) -> None:
        """Let the generation that was begun count instead of the other one, in one commit."""
        self.commit(lambda: self.database.end_generation(settings), reload=True)
        self._sweep()

    def _sweep(self) -> None:
        if self._path is not None:
            sweep(Files(self._path), self.database, None)

    def commit(
        self,
        change: Callable[[], None],
        removed: Keys = _NONE,
        added: Rows | None = None,
        *,
        reload: bool = False,
    ) -> None:
        """Commit a change of the database, and let the readers of this process see it at once.

        Args:
            change: Changes the database, inside a transaction.
            removed: The keys that go.
            added: The vectors that come.
            reload: Load all vectors anew instead.
        """
        database = self.database
        if self._path is None:
            with self._lock.writing():
                with database.transaction(), database.translated():
                    change()
                self._loaded.apply(removed, added or {}, database.state())
            return
        database.begin("IMMEDIATE")
        try:
            with database.translated():
                change()
                database.count_commit()
                state = database.state()
            with self._lock.writing():
                database.commit()
                if reload:
                    self._loaded.follow(database, self._files)
                else:
                    self._loaded.apply(removed, added or {}, state)
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            self.database.rollback()
        except StorageError:
            self.database.close()
            self.is_broken = True

    def _with_pictures(self, rows: Sequence[Row], images: Sequence[Image | None]) -> list[Row]:
        """Keep the pictures of documents, each content once, and return the rows that name them."""
        kept: dict[tuple[str, Path | None, str], tuple[str, str]] = {}
        named = []
        for row, image in zip(rows, images, strict=True):
            if image is None:
                named.append(row)
                continue
            same = image.sha256, image.path, image.name
            if same not in kept:
                kept[same] = self._pictures.keep(image)
            sha256, place = kept[same]
            named.append(replace(row, image=sha256, image_path=place))
        return named

    def _write_segments(self, rows: Rows) -> list[Segment]:
        return [] if self._files is None else write_segments(self._files, rows)

    def _discard(self, segments: Sequence[Segment]) -> None:
        """Remove segments of a commit that failed; what cannot be told now is swept later."""
        if self._files is None or not segments:
            return
        try:
            counted = self.database.segment_names()
        except StorageError:
            return
        for segment in segments:
            if segment.name not in counted:
                self._files.remove(f"{SEGMENTS}/{segment.name}")

    # -- upkeep -----------------------------------------------------------------------------

    def _keep_up(self, removed: int) -> None:
        """Merge small segments, rewrite hollow ones, drop garbage: after a commit, never against it."""
        if self._path is None:
            return
        self._removed_since_look += removed
        try:
            segments = self.database.segments(self.database.state().generation)
            stale = list(tail_to_merge(segments))
            if self._removed_since_look * 10 > sum(s.rows for s in segments):
                self._removed_since_look = 0
                for segment in hollow_segments(segments, self._live_rows):
                    if segment not in stale:
                        self._rewrite([segment])
            if stale:
                self._rewrite(stale)
            self._drop_garbage(time.time() - GARBAGE_SECONDS)
        except StorageError as error:
            _log.warning("The index works, but could not be tidied up: %s", error)

    def _live_rows(self, segment: Segment) -> int:
        return sum(
            index.count_between(segment.first, segment.last)
            for index in self._loaded.indexes.values()
        )

    def _rewrite(self, segments: Sequence[Segment]) -> None:
        """Let new segments, with the rows that count, stand for neighbouring ones."""
        if self._files is None or not segments:
            return
        new = self._write_segments(self._loaded.rows(segments[0].first, segments[-1].last))

        def change() -> None:
            self.database.drop_segments([segment.name for segment in segments])
            for segment in new:
                self.database.add_segment(segment)

        try:
            self.commit(change)
        except BaseException:
            self._discard(new)
            raise
        kept = self.database.segment_names()
        for segment in segments:
            if segment.name not in kept:
                self._files.remove(f"{SEGMENTS}/{segment.name}")

    def _drop_garbage(self, before: float) -> None:
        """Remove the pictures that nothing has referred to since a time."""
        places = self.database.garbage(before)
        for place in places:
            self._pictures.remove(place)
        if places:
            self.commit(lambda: self.database.forget_garbage(places))


def sweep(files: Files, database: Database, pictures: Pictures | None) -> None:
    """Remove the files of an index that no commit refers to: left-overs of writers that were killed.

    Args:
        files: Of the index.
        database: Says what counts.
        pictures: None leaves the pictures alone, of which there may be many.

    Raises:
        FormatError: There is a link or the like among them.
    """
    counted = database.segment_names()
    for name in files.names(SEGMENTS):
        if name not in counted:
            files.remove(f"{SEGMENTS}/{name}")
    for place in files.unfinished():
        files.remove(place)
    if pictures is not None:
        pictures.sweep(database.picture_places())


def _check_expected(
    database: Database,
    documents: Sequence[Row],
    replaced: Sequence[int],
    updated: Mapping[int, Row],
) -> None:
    """Refuse a change that was prepared on another state than the one it would change."""
    known = database.keys_of([*(row.id for row in documents), *(r.id for r in updated.values())])
    if set(known.values()) != {*replaced, *updated}:
        raise Conflict(_CHANGED.format("Documents of this batch were stored, replaced or removed"))


def _same_models(before: Mapping[str, Space], now: Mapping[str, Space]) -> bool:
    """Whether two descriptions of the lists are of the same models, also by what they make of a probe."""
    return before.keys() == now.keys() and all(
        before[name] == now[name] and before[name].probe == now[name].probe for name in now
    )


_CHANGED = (
    "{} by another thread or process since this change was prepared. Nothing of it was stored. "
    "Look at the index again, and repeat the call."
)
