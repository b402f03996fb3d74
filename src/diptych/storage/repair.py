"""Mends an index as far as what is left of it allows. Nothing is thrown away: what is damaged is moved.

Filter values and words are made anew from the documents. Damaged rows, segments and pictures go to the
folder ``quarantine``; documents that lose their vectors by that stay, are found by their words, and get
new vectors from ``reembed``. A database that SQLite cannot read through is read document by document
into a new one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diptych import media
from diptych.errors import CorruptionError, MediaError, StorageError
from diptych.storage.changes import WritableDatabase
from diptych.storage.connection import OBJECTS, check_objects, connect
from diptych.storage.database import ROW
from diptych.storage.failures import advice, is_missing, is_passing
from diptych.storage.files import Files
from diptych.storage.layout import DATABASE, QUARANTINE, SALVAGED, SEGMENTS, database_files
from diptych.storage.pictures import Pictures, is_copy
from diptych.storage.rows import Row
from diptych.storage.segments import is_segment, scan_segments
from diptych.storage.values import KEY, ROW_KINDS, TEXT, fault, space_fault, stored_fields
from diptych.storage.verify import Problem

__all__ = ["mend", "salvage"]

EACH = 1_000_000
"""Up to which key a damaged database is asked for each document by itself: some seconds."""


def mend(
    database: WritableDatabase, files: Files, pictures: Pictures, problems: Sequence[Problem]
) -> list[str]:
    """Do what can be done about problems, and return in words what was done.

    Args:
        database: Open for writing, outside a transaction; the writer's lock is held.
        files: Of the index.
        pictures: Finds its pictures.
        problems: What :func:`diptych.storage.verify.find_problems` found, none about the database
            itself.
    """
    done: list[str] = []
    damaged = sorted({p.key for p in problems if p.part == "document"})
    if damaged:
        done.append(_quarantine_documents(database, files, damaged))
    if damaged or any(p.part in ("fields", "words") for p in problems):
        with database.transaction(), database.translated():
            database.rebuild_derived()
            database.count_commit()
        done.append("made the filter values and the words anew from the documents")
    for problem in problems:
        if problem.part == "segment":
            # Not the last part alone: the database may give it any name.
            name = problem.where[len(str(files.path(SEGMENTS))) + 1 :]
            place = f"{SEGMENTS}/{name}"
            # Before it is dropped: a file that nothing refers to would be removed by the next writer.
            moved = _moved(files, place) if is_segment(place) else ""
            with database.transaction():
                database.drop_segments([name])
                database.start_generation()
            done.append(f"dropped the segment {name}{moved}")
        elif problem.part == "picture":
            done.extend(_mend_picture(database, files, pictures, problem))
        elif problem.part == "stray":
            files.remove(Path(problem.where).relative_to(files.folder).as_posix())
            done.append(f"removed {problem.where}, which nothing refers to")
    return done


def salvage(files: Files) -> str:
    """Read what is left of a damaged database into a new one, and put that in its place.

    Returns:
        What was done, in words.

    Raises:
        CorruptionError: Not even which models the vectors come from can be read.
        StorageError: The disk failed, or something cannot be read; the old database stays.
    """
    _remove_database(files, SALVAGED)
    try:
        kept, lost = _copy_what_is_whole(files)
    except BaseException:
        _remove_database(files, SALVAGED)
        raise
    # A journal would be rolled back into the new database.
    for left in (*database_files(DATABASE)[1:], *database_files(SALVAGED)[1:]):
        files.remove(left)
    _moved(files, DATABASE)
    files.move(SALVAGED, DATABASE)
    return (
        f"read {kept:,} whole documents into a new database"
        + (f" and left {lost:,} damaged ones out" if lost else "")
        + f"; the old one is in {QUARANTINE}/"
    )


def _copy_what_is_whole(files: Files) -> tuple[int, int]:
    """Fill a new database from a damaged one, and return how many rows were whole and how many not."""
    path = files.path(DATABASE)
    damaged = _Damaged(path)
    database = WritableDatabase(files.path(SALVAGED), "create")
    try:
        (generation,) = next(iter(damaged.rows("SELECT generation FROM state")), (0,))
        if fault([generation], [KEY]):
            generation = 0
        spaces = damaged.rows(
            "SELECT list, dim, name, fingerprint, probe FROM space WHERE generation = ?",
            [generation],
        )
        if not spaces or any(space_fault((*space[:4], None)) for space in spaces):
            raise CorruptionError(
                f"The database {str(path)!r} is damaged, and not even which models the vectors come "
                "from can be read. Restore the folder from a backup, or index the documents again."
            )
        named = damaged.rows("SELECT name FROM segment WHERE generation = ?", [generation])
        segments = scan_segments(files, {str(name) for (name,) in named})
        last = max([s.last for s in segments], default=0)
        for (key,) in damaged.rows("SELECT seq FROM sqlite_sequence WHERE name = 'documents'"):
            if not fault([key], [KEY]):
                last = max(last, min(key, 2 * last + 100_000))
        kept, lost = 0, 0
        with database.transaction(), database.translated():
            database.create_tables()
            settings = damaged.rows("SELECT name, value FROM setting")
            database.restore(
                [space if not space_fault(space) else (*space[:4], None) for space in spaces],
                [setting for setting in settings if not fault(setting, (TEXT, TEXT))],
                segments,
                last,
            )
            for key in _keys(damaged, last):
                found = damaged.rows(f"SELECT checksum, {ROW} FROM documents WHERE key = ?", [key])
                rows = [Row(*rest) for checksum, *rest in found if _is_whole(key, checksum, rest)]
                lost += len(found) - len(rows)
                kept += len(rows)
                for row in rows:
                    database.insert({key: row})
    finally:
        damaged.close()
        database.close()
    return kept, lost


def _keys(damaged: _Damaged, last: int) -> Iterator[int]:
    """Yield every key at which a document may be, up to the last one that was ever given.

    Each is looked at, because a damaged page hides what lies behind it from a search. Segments of
    somebody else can name keys without end: beyond ``EACH`` of them, only those that SQLite finds are.
    """
    yield from range(1, min(last, EACH) + 1)
    key = EACH
    while key < last:
        found = damaged.rows("SELECT key FROM documents WHERE key > ? ORDER BY key LIMIT 1", [key])
        if not found or fault(found[0], [KEY]) or found[0][0] <= key:
            return
        key = found[0][0]
        yield key


def _is_whole(key: int, checksum: object, values: Sequence[Any]) -> bool:
    """Whether a row is as diptych stored it."""
    if fault(values, ROW_KINDS) or Row(*values).checksum(key) != checksum:
        return False
    try:
        stored_fields(Row(*values).metadata)
    except ValueError:
        return False
    return True


class _Damaged:
    """A damaged database, of which every query returns what can still be found."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._raw = connect(path, "write")
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        self._raw.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            if found := self.rows(
                OBJECTS
            ):  # none where it is damaged, and then no query does anything
                check_objects(str(path), found)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, parameters: Sequence[int] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or none where the file is damaged.

        Raises:
            StorageError: The file cannot be read now, also the second time.
        """
        failure: sqlite3.Error | None = None
        for _ in range(2):
            try:
                return self._raw.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                failure = error
        if failure is not None and is_passing(failure):
            raise self._unreadable(failure) from failure
        return []

    def close(self) -> None:
        self._raw.close()

    def _unreadable(self, error: sqlite3.Error) -> StorageError:
        return StorageError(
            f"The damaged database {str(self._path)!r} was not mended, because it could not be read: "
            f"{error}. Nothing was changed; {advice(error)}, then repair again."
        )


def _remove_database(files: Files, name: str) -> None:
    for left in database_files(name):
        files.remove(left)


def _quarantine_documents(database: WritableDatabase, files: Files, keys: Sequence[int]) -> str:
    rows = database.raw_rows(keys)
    lines = "".join(f"{json.dumps(asdict(row), default=repr)}\n" for row in rows)
    target = _place(files, "documents.jsonl")
    files.write(target, lines.encode())
    with database.transaction(), database.translated():
        database.delete(keys)
        database.count_commit()
    return f"moved {len(rows)} damaged documents to {target}; add them again"


def _mend_picture(
    database: WritableDatabase, files: Files, pictures: Pictures, problem: Problem
) -> list[str]:
    row = database.rows([problem.key]).get(problem.key)
    try:
        image = pictures.find(row) if row else None
    except StorageError:
        return []
    place = (row.image_path or "") if row else ""
    if row is None or image is None or not is_copy(place):
        return []
    origin, data = row.image_name or "", b""
    try:
        data = media.read_file(origin)
    except MediaError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not is_missing(cause):
            return [
                f"left the picture of {problem.where!r} as it is, because {origin!r}, from which it came, "
                f"could not be read: {cause.strerror or cause}"
            ]
    moved = _moved(files, place)
    if hashlib.sha256(data).hexdigest() == row.image:
        files.write(place, data)
        return [f"restored the picture of {problem.where!r} from {origin}"]
    return [f"the picture of {problem.where!r} is lost{moved}; add its document again"]


def _moved(files: Files, place: str) -> str:
    """Move a file into quarantine, when it is there, and say so."""
    if not files.has(place):
        return ""
    target = _place(files, place.rpartition("/")[2])
    files.move(place, target)
    return f", its file is now {target}"


def _place(files: Files, name: str) -> str:
    """Return a place in quarantine at which there is nothing yet."""
    taken, number, free = files.kinds(QUARANTINE), 1, name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return f"{QUARANTINE}/{free}"
