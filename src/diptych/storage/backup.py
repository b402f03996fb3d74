"""A copy of an index, of one committed state, made while others may be writing to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.errors import CorruptionError, FormatError, StorageError
from diptych.storage import files
from diptych.storage.connection import quoted, repair_command
from diptych.storage.database import Database
from diptych.storage.failures import is_missing, is_there, unreadable
from diptych.storage.local import DATABASE
from diptych.storage.maintenance import verify_folder
from diptych.storage.seal import CONNECTED, seal
from diptych.storage.unborn import check_is_free
from diptych.storage.verify import MENDABLE, Problem
from diptych.storage.writer import SEGMENTS

__all__ = ["BackupReport", "backup_folder", "copy_state"]

ATTEMPTS = 20
"""How often the copy starts again because the writer has replaced a segment meanwhile. What was copied
before is kept, so that each attempt copies only what is new."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What was copied: how many documents, files and bytes."""

    documents: int
    files: int
    bytes: int


def backup_folder(folder: Path, to: Path) -> BackupReport:
    """Copy an index to a new folder, check the copy, and only then give it its name.

    Args:
        folder: The folder of the index; it may be written to meanwhile.
        to: Where the copy goes. Nothing, or an empty folder, may be there.

    Raises:
        FormatError: There is no index, something is at ``to`` already, or it lies inside the index.
        CorruptionError: The index is damaged; the copy is not kept.
        StorageError: The disk failed or is full.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise FormatError(
            f"Something is at {str(to)!r} already; expected a path at which there is nothing. "
            "A backup never replaces one: choose another name."
        )
    if folder.resolve() in to.resolve().parents:
        raise FormatError(
            f"{str(to)!r} lies inside of the index {str(folder)!r}; a copy there would share its fate. "
            "Choose a place outside."
        )
    partial = to.with_name(f"{to.name}.partial")
    try:
        if partial.exists():  # of a backup that was killed
            shutil.rmtree(partial)
        files.make_folder(partial)
        report = copy_state(folder, partial)
        checked = verify_folder(partial)
        if not checked.is_whole:
            raise _not_kept(folder, checked.problems)
        seal(partial / DATABASE)
        if to.exists():
            to.rmdir()
        os.replace(partial, to)
        files.sync_folder(to.parent)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"The backup of {str(folder)!r} to {str(to)!r} failed: {error.strerror or error}. Free space "
            "or fix the permissions and try again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def copy_state(folder: Path, to: Path) -> BackupReport:
    """Copy one committed state of an index into an empty folder.

    Raises:
        FormatError: There is no index.
        CorruptionError: A file that the index needs is missing.
        StorageError: The disk failed, or the writer was never still.
    """
    if not is_there(folder / DATABASE):
        if not is_there(folder):
            raise FormatError(f"There is no index at {str(folder)!r}. Give the folder of one.")
        check_is_free(folder)
        raise _nothing_stored(folder)
    for _ in range(ATTEMPTS):
        wanted, documents = _copy_database(folder, to)
        missing = [place for place in sorted(wanted) if not _copy_file(folder / place, to / place)]
        if not missing:
            _drop_what_is_not(wanted, to)
            sizes = [(to / place).stat().st_size for place in wanted]
            sizes.append((to / DATABASE).stat().st_size)
            return BackupReport(documents, len(sizes), sum(sizes))
        if _still_wants(folder, missing[0]):
            raise CorruptionError(
                f"The file {str(folder / missing[0])!r} is missing. Run: {repair_command(folder)}, or "
                "restore it from a backup."
            )
    raise StorageError(
        f"The index {str(folder)!r} was rewritten {ATTEMPTS} times while it was copied. Try again when "
        "less is written to it."
    )


def _copy_database(folder: Path, to: Path) -> tuple[set[str], int]:
    """Copy the database, and return which files it refers to and how many documents it has."""
    files.remove(to / DATABASE)
    with CONNECTED.inside(folder):
        source = Database(folder / DATABASE)
        try:
            if source.is_empty:
                check_is_free(folder)
                raise _nothing_stored(folder)
            source.copy_to(to / DATABASE)
        finally:
            source.close()
    copy = Database(to / DATABASE)
    try:
        places = {f"{SEGMENTS}/{name}" for name in copy.segment_names()}
        places |= {place for place in copy.picture_places() if not os.path.isabs(place)}
        places -= set(copy.garbage_places())
        return places, copy.counts()["documents"]
    finally:
        copy.close()


def _copy_file(source: Path, target: Path) -> bool:
    """Copy a file that is written once, and tell whether it was there."""
    if target.exists():
        return True
    try:
        data = source.read_bytes()
    except OSError as error:
        if is_missing(error):
            return False
        raise unreadable(source, error) from error
    files.write(target, data)
    return True


def _still_wants(folder: Path, place: str) -> bool:
    with CONNECTED.inside(folder):
        database = Database(folder / DATABASE)
        try:
            wanted = {f"{SEGMENTS}/{name}" for name in database.segment_names()}
            return place in wanted | database.picture_places()
        finally:
            database.close()


def _nothing_stored(folder: Path) -> FormatError:
    return FormatError(
        f"Nothing has been stored in the index {str(folder)!r} yet, so there is nothing to copy. Add "
        "documents first."
    )


def _not_kept(folder: Path, problems: Sequence[Problem]) -> StorageError:
    """Return the error for a copy that was checked and is not whole."""
    for problem in problems:
        if problem.part == "unreadable":
            return StorageError(
                f"The backup of {str(folder)!r} was not kept, because it could not be read back: "
                f"{problem.where}: {problem.what}. That is not damage; look at the disk that it was "
                "written to, then try again."
            )
    wrong = [problem for problem in problems if problem.part in MENDABLE]
    first = (wrong or [problem for problem in problems if problem.part != "stray"])[0]
    command = repair_command(folder) if wrong else f"diptych reembed {quoted(folder)}"
    return CorruptionError(
        f"The index {str(folder)!r} is damaged, so the backup was not kept: {first.where}: {first.what}. "
        f"Run: {command}."
    )


def _drop_what_is_not(wanted: set[str], to: Path) -> None:
    """Remove files of earlier attempts."""
    for pattern in (f"{SEGMENTS}/*", "assets/*/*"):
        for path in to.glob(pattern):
            if path.relative_to(to).as_posix() not in wanted:
                files.remove(path)
