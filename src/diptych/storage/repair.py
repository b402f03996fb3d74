"""Mends an index as far as what is left of it allows. Nothing is thrown away: what is damaged is moved.

Filter values and words are made anew from the documents. Damaged rows, segments and pictures go to the
folder ``quarantine``; documents that lose their vectors by that stay, are found by their words, and get
new vectors from ``reembed``. A database that SQLite cannot read through is read document by document
into a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diptych.errors import CorruptionError, StorageError
from diptych.storage import files
from diptych.storage.changes import WritableDatabase
from diptych.storage.database import ROW
from diptych.storage.pictures import Pictures
from diptych.storage.rows import Row
from diptych.storage.segments import scan_segments
from diptych.storage.verify import Problem

__all__ = ["QUARANTINE", "mend", "salvage"]

QUARANTINE = "quarantine"


def mend(
    database: WritableDatabase, folder: Path, pictures: Pictures, problems: Sequence[Problem]
) -> list[str]:
    """Do what can be done about problems, and return in words what was done.

    Args:
        database: Open for writing, outside a transaction; the writer's lock is held.
        folder: The folder of the index.
        pictures: Finds its pictures.
        problems: What :func:`diptych.storage.verify.find_problems` found, none about the database
            itself.
    """
    done: list[str] = []
    damaged = sorted({p.key for p in problems if p.part == "document"})
    if damaged:
        done.append(_quarantine_documents(database, folder, damaged))
    if damaged or any(p.part in ("fields", "words") for p in problems):
        with database.transaction(), database.translated():
            database.rebuild_derived()
            database.count_commit()
        done.append("made the filter values and the words anew from the documents")
    for problem in problems:
        if problem.part == "segment":
            path = Path(problem.where)
            with database.transaction():
                database.drop_segments([path.name])
                database.start_generation()
            done.append(f"dropped the segment {path.name}{_moved(folder, path)}")
        elif problem.part == "picture":
            done.extend(_mend_picture(database, folder, pictures, problem))
        elif problem.part == "stray":
            files.remove(Path(problem.where))
            done.append(f"removed {problem.where}, which nothing refers to")
    return done


def salvage(path: Path, folder: Path) -> str:
    """Read what is left of a damaged database into a new one, and put that in its place.

    Returns:
        What was done, in words.

    Raises:
        CorruptionError: Not even which models the vectors come from can be read.
    """
    fresh = path.with_name("store.salvaged")
    for left in (fresh, fresh.with_name(f"{fresh.name}-journal")):
        files.remove(left)
    damaged = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    damaged.text_factory = lambda raw: raw.decode(errors="replace")
    database = WritableDatabase(fresh, "create")
    try:
        (generation,) = next(iter(_try(damaged, "SELECT generation FROM state")), (0,))
        spaces = _try(
            damaged,
            "SELECT list, dim, name, fingerprint, probe FROM space WHERE generation = ?",
            [generation],
        )
        if not spaces:
            raise CorruptionError(
                f"The database {str(path)!r} is damaged, and not even which models the vectors come "
                "from can be read. Restore the folder from a backup, or index the documents again."
            )
        named = _try(damaged, "SELECT name FROM segment WHERE generation = ?", [generation])
        segments = scan_segments(folder / "segments", {str(name) for (name,) in named})
        last = max([s.last for s in segments], default=0)
        for (key,) in _try(damaged, "SELECT seq FROM sqlite_sequence WHERE name = 'documents'"):
            last = max(last, min(int(key), 2 * last + 100_000))
        kept, lost = 0, 0
        with database.transaction(), database.translated():
            database.create_tables()
            database.restore(
                spaces, _try(damaged, "SELECT name, value FROM setting"), segments, last
            )
            for key in range(1, last + 1):
                found = _try(damaged, f"SELECT checksum, {ROW} FROM documents WHERE key = ?", [key])
                rows = [
                    Row(*rest) for checksum, *rest in found if Row(*rest).checksum(key) == checksum
                ]
                lost += len(found) - len(rows)
                kept += len(rows)
                for row in rows:
                    database.insert({key: row})
    finally:
        damaged.close()
        database.close()
    # A journal would be rolled back into the new database.
    for name in (
        f"{path.name}-journal",
        f"{path.name}-wal",
        f"{path.name}-shm",
        f"{fresh.name}-journal",
    ):
        files.remove(folder / name)
    _moved(folder, path)
    os.replace(fresh, path)
    files.sync_folder(folder)
    return (
        f"read {kept:,} whole documents into a new database"
        + (f" and left {lost:,} damaged ones out" if lost else "")
        + f"; the old one is in {QUARANTINE}/"
    )


def _try(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[int] = ()
) -> list[tuple[Any, ...]]:
    """Return the rows of a query, or none where the file cannot be read, also the second time."""
    for _ in range(2):
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error:
            pass
    return []


def _quarantine_documents(database: WritableDatabase, folder: Path, keys: Sequence[int]) -> str:
    rows = database.rows(keys)
    lines = "".join(f"{json.dumps(asdict(row), default=repr)}\n" for row in rows.values())
    target = _place(folder, "documents.jsonl")
    files.write(target, lines.encode())
    with database.transaction(), database.translated():
        database.delete(keys)
        database.count_commit()
    return f"moved {len(rows)} damaged documents to {QUARANTINE}/{target.name}; add them again"


def _mend_picture(
    database: WritableDatabase, folder: Path, pictures: Pictures, problem: Problem
) -> list[str]:
    row = database.rows([problem.key]).get(problem.key)
    try:
        image = pictures.find(row) if row else None
    except StorageError:
        return []
    if row is None or image is None or image.path is None or folder not in image.path.parents:
        return []
    moved = _moved(folder, image.path)
    origin = Path(row.image_name or "")
    if origin.is_file():
        data = origin.read_bytes()
        if hashlib.sha256(data).hexdigest() == row.image:
            files.write(image.path, data)
            return [f"restored the picture of {problem.where!r} from {origin}"]
    return [f"the picture of {problem.where!r} is lost{moved}; add its document again"]


def _moved(folder: Path, path: Path) -> str:
    """Move a file into quarantine, when it is there, and say so."""
    if not path.exists():
        return ""
    target = _place(folder, path.name)
    files.make_folder(target.parent)
    os.replace(path, target)
    files.sync_folder(target.parent)
    files.sync_folder(path.parent)
    return f", its file is now {QUARANTINE}/{target.name}"


def _place(folder: Path, name: str) -> Path:
    """Return a path in quarantine at which there is nothing yet."""
    target, number = folder / QUARANTINE / name, 1
    while target.exists():
        number += 1
        target = folder / QUARANTINE / f"{name}.{number}"
    return target
