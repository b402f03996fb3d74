"""Tells a folder in which nothing has been stored yet from one whose database was lost.

The first writer makes the folder, takes the lock, makes the database and commits its tables, and only
then writes a picture or a segment. Wherever it is killed, there is a database with tables, or there is
neither a picture nor a segment.
"""

from __future__ import annotations

from collections.abc import Iterator

from diptych.errors import CorruptionError, FormatError
from diptych.storage.files import TEMPORARY_PREFIX, Files
from diptych.storage.layout import (
    ASSETS,
    DATABASE,
    LOCK,
    NAMESPACES,
    SEAL,
    SEGMENTS,
    database_files,
)
from diptych.storage.pictures import is_copy
from diptych.storage.segments import is_segment

__all__ = ["check_is_free"]

_FREE = {LOCK, NAMESPACES, SEGMENTS, ASSETS, *database_files(DATABASE)}
"""What may be in a folder in which nothing has been committed yet."""


def check_is_free(files: Files) -> None:
    """Refuse a path that is no empty folder, nor one in which the very first write was cut off."""
    path = files.folder
    names = set(files.kinds()) if path.is_dir() else {""}
    inside = (
        [place for place in _places(files) if not _is_temporary(place)] if names != {""} else []
    )
    if SEAL in names or any(is_segment(place) or is_copy(place) for place in inside):
        raise CorruptionError(
            f"The database {str(path / DATABASE)!r} is missing or empty, and other files of the index are "
            "there, so that it was lost. Restore the folder from a backup, or move it away and index the "
            "documents again."
        )
    if inside or not {name for name in names if not _is_temporary(name)} <= _FREE:
        raise FormatError(
            f"{str(path)!r} exists and holds no diptych index. Give the folder of an index, "
            "an empty folder, or a path that does not exist yet."
        )


def _places(files: Files) -> Iterator[str]:
    """Yield what lies where segments and pictures do, relative to the index."""
    for folder in (SEGMENTS, ASSETS):
        for name, kind in files.kinds(folder).items():
            if folder == ASSETS and kind == "a folder":
                yield from (f"{folder}/{name}/{inner}" for inner in files.kinds(f"{folder}/{name}"))
            else:
                yield f"{folder}/{name}"


def _is_temporary(place: str) -> bool:
    return place.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
