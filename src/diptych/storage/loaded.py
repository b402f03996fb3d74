"""The vectors of one committed state, in memory: three FAISS indexes refilled from the segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.errors import CorruptionError
from diptych.storage.anchor import replaced
from diptych.storage.approximate import IndexKind
from diptych.storage.cache import read_cache, write_cache
from diptych.storage.database import CommitState, Database
from diptych.storage.faiss_index import Keys, VectorIndex
from diptych.storage.files import Files, repair_command
from diptych.storage.layout import SEGMENTS
from diptych.storage.rows import Space
from diptych.storage.segments import Rows, Segment, read_segment
from diptych.vectors import Vectors

__all__ = ["Loaded"]

UNCACHED = 0.02
"""The share of rows that may be missing from the cache; they are looked at again on opening."""

_CACHE_BYTES, _CACHED_ROW_BYTES = 1 << 20, 2048
"""More than the cache of a list takes, whole and for each row: a graph has about 300 bytes for a row, and
there are fewer centroids than rows."""

_NOWHERE = CommitState(-1, -1, -1, -1)


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a commit consists of."""

    state: CommitState
    spaces: Mapping[str, Space]
    segments: Sequence[Segment]
    live: Keys | None
    """All keys, when some may have been removed."""


class Loaded:
    """Follows a database from commit to commit. The store locks out readers while it does.

    A key has one vector for as long as a generation lasts, so that only rows with new keys are
    read: segments that were merged or rewritten meanwhile need not be.
    """

    def __init__(self, kind: IndexKind = "flat") -> None:
        self.indexes: dict[str, VectorIndex] = {}
        self.spaces: dict[str, Space] = {}
        self.at = _NOWHERE
        self.identity = ""
        """Of the index that was followed first, and is followed ever after."""
        self._kind = kind
        self._cached_rows: dict[str, int] = {}

    def follow(self, database: Database, files: Files | None) -> None:
        """Take over what the database holds now.

        Raises:
            CorruptionError: Segments are damaged or missing.
            StorageError: It is the database of another index.
        """
        while True:
            contents = self._contents(database)
            try:
                self._take(contents, files)
                self._prepare(database, files)
            except CorruptionError:
                self.forget()
                if self._contents(database).segments != contents.segments:
                    continue  # another process has put other segments in the place of these
                raise
            except BaseException:
                self.forget()
                raise
            return

    def declare(self, spaces: Mapping[str, Space], state: CommitState) -> None:
        """Start with empty indexes for some spaces."""
        self.spaces = dict(spaces)
        self.indexes = {name: VectorIndex(space.dim, self._kind) for name, space in spaces.items()}
        self.at = state

    def apply(self, removed: Keys, added: Rows, state: CommitState) -> None:
        """Take over a commit of this process."""
        try:
            for index in self.indexes.values():
                index.remove(removed)
            for name, (keys, vectors) in added.items():
                self.indexes[name].add(keys, vectors)
                self.indexes[name].prepare()
        except BaseException:
            self.forget()
            raise
        self.at = state

    def forget(self) -> None:
        """Start anew the next time."""
        identity = self.identity
        self.__init__(self._kind)  # type: ignore[misc]  # the same as a new one
        self.identity = identity

    def keep(self, database: Database, path: Path) -> None:
        """Cache what the approximate indexes know, unless nearly all of that is cached already."""
        for name, index in self.indexes.items():
            known = index.known()
            if known is None:
                continue
            rows = len(known["keys"])
            if abs(rows - self._cached_rows.get(name, 0)) > UNCACHED * rows:
                write_cache(path, self._cache_name(name), self._belongs_to(database, name), known)
                self._cached_rows[name] = rows

    def _prepare(self, database: Database, files: Files | None) -> None:
        """Let large lists have their approximate index, from the cache where there is one."""
        for name, index in self.indexes.items():
            if not index.needs_preparing:
                continue
            cached = None
            if files is not None:
                cached = read_cache(
                    files.folder,
                    self._cache_name(name),
                    self._belongs_to(database, name),
                    limit=_CACHE_BYTES + len(index) * (_CACHED_ROW_BYTES + 8 * index.dim),
                )
            if cached is not None:
                self._cached_rows[name] = len(cached.get("keys", ()))
            index.prepare(cached)

    def _cache_name(self, name: str) -> str:
        return f"{name}.{self._kind}"

    def _belongs_to(self, database: Database, name: str) -> str:
        import faiss

        parts = (database.identity(), self.at.generation, name, self._kind, self.spaces[name].dim)
        return "\n".join(map(str, (*parts, f"faiss {faiss.__version__}")))

    def rows(self, first: int, last: int) -> dict[str, tuple[Keys, Vectors]]:
        """Return the vectors whose keys lie between two keys, both included."""
        found = {name: index.between(first, last) for name, index in self.indexes.items()}
        return {name: rows for name, rows in found.items() if len(rows[0])}

    def _contents(self, database: Database) -> _Contents:
        database.begin()
        try:
            state = database.state()
            if self.identity and state.identity != self.identity:
                raise replaced(database.path.parent if database.path else Path())
            self.identity = state.identity
            continues = (
                state.generation == self.at.generation
                and state.commits >= self.at.commits
                and state.last_key >= self.at.last_key
            )
            if not continues:
                self.forget()
            return _Contents(
                state,
                database.spaces(state.generation),
                [
                    segment
                    for segment in database.segments(state.generation)
                    if segment.last > self.at.last_key
                ],
                database.keys() if state.removals != max(self.at.removals, 0) else None,
            )
        finally:
            database.rollback()

    def _take(self, contents: _Contents, files: Files | None) -> None:
        if not self.spaces:
            self.declare(contents.spaces, self.at)
        if contents.live is not None:
            for index in self.indexes.values():
                keys = index.live_keys()
                index.remove(keys[~_among(keys, contents.live)])
        dims = {name: space.dim for name, space in self.spaces.items()}
        last_key = contents.state.last_key
        for segment in contents.segments if files else ():
            if not 0 < segment.first <= segment.last <= last_key:
                raise CorruptionError(
                    f"The vector segment {segment.name!r}{_under(files)} has keys that were never "
                    f"given. Run: {repair_command(files.folder if files else '')}."
                )
            rows = read_segment(files, segment, dims) if files else {}
            for name, (keys, vectors) in rows.items():
                wanted = keys > self.at.last_key
                if contents.live is not None:
                    wanted &= _among(keys, contents.live)
                if not self.indexes[name].follows(keys[wanted]):
                    raise CorruptionError(
                        f"The vector segment {segment.name!r}{_under(files)} overlaps another one. "
                        f"Run: {repair_command(files.folder if files else '')}."
                    )
                self.indexes[name].add(keys[wanted], np.ascontiguousarray(vectors[wanted]))
        self.at = contents.state


def _under(files: Files | None) -> str:
    return f" under {str(files.path(SEGMENTS))!r}" if files else ""


def _among(keys: Keys, live: Keys) -> NDArray[np.bool_]:
    """Return which of ``keys`` are in ``live``, which ascends."""
    if not len(live):
        return np.zeros(len(keys), np.bool_)
    at = np.minimum(np.searchsorted(live, keys), len(live) - 1)
    found: NDArray[np.bool_] = live[at] == keys
    return found
