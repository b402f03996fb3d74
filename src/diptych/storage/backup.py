"""A copy of an index, of one committed state, made while others may be writing to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diptych.errors import CorruptionError, FormatError, StorageError
from diptych.media import MAX_BYTES
from diptych.storage.database import Database
from diptych.storage.failures import is_there
from diptych.storage.files import (
    TEMPORARY_PREFIX,
    Files,
    make_folder,
    quoted,
    repair_command,
    sync_folder,
)
from diptych.storage.layout import DATABASE, FILES, FOLDERS, SEGMENTS
from diptych.storage.maintenance import verify_folder
from diptych.storage.pictures import picture_files
from diptych.storage.seal import CONNECTED, seal
from diptych.storage.segments import MOST_BYTES
from diptych.storage.unborn import check_is_free
from diptych.storage.verify import MENDABLE, Problem

__all__ = ["BackupReport", "backup_folder", "copied_state"]

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
    with (
        _translated(f"The backup of {str(folder)!r} to {str(to)!r}"),
        copied_state(folder, partial) as report,
    ):
        checked = verify_folder(partial)
        if not checked.is_whole:
            raise _not_kept(folder, checked.problems)
        seal(partial / DATABASE)
        if to.exists():
            to.rmdir()
        os.replace(partial, to)
        sync_folder(to.parent)
    return report


@contextmanager
def copied_state(folder: Path, to: Path) -> Iterator[BackupReport]:
    """Copy one committed state of an index into a folder that goes away after the block.

    Raises:
        FormatError: There is no index, or something else than a left-over of a copy is at ``to``.
        CorruptionError: A file that the index needs is missing.
        StorageError: The disk failed, or the writer was never still.
    """
    if os.path.lexists(to):
        _check_is_left_over(to)
        shutil.rmtree(to)
    make_folder(to)
    try:
        yield _copy_state(Files(folder), Files(to))
    finally:
        shutil.rmtree(to, ignore_errors=True)


def _check_is_left_over(path: Path) -> None:
    """Refuse to remove what no copy of an index has left behind when it was killed."""
    names = os.listdir(path) if path.is_dir() and not path.is_symlink() else [""]
    if not all(n in FOLDERS | FILES or n.startswith(TEMPORARY_PREFIX) for n in names):
        raise FormatError(
            f"Something is at {str(path)!r}, where the copy would be made, and it is no left-over of an "
            "earlier one. Move it, or choose another name for the copy."
        )


def _copy_state(source: Files, target: Files) -> BackupReport:
    if not is_there(source.folder):
        raise FormatError(f"There is no index at {str(source.folder)!r}. Give the folder of one.")
    source.check_layout()
    if not source.has(DATABASE):
        check_is_free(source)
        raise _nothing_stored(source.folder)
    for _ in range(ATTEMPTS):
        wanted, documents = _copy_database(source.folder, target)
        missing = [place for place in sorted(wanted) if not _copy_file(source, target, place)]
        if not missing:
            _drop_what_is_not(wanted, target)
            return BackupReport(documents, len(wanted) + 1, target.total_bytes())
        if _still_wants(source.folder, missing[0]):
            raise CorruptionError(
                f"The file {str(source.path(missing[0]))!r} is missing. Run: "
                f"{repair_command(source.folder)}, or restore it from a backup."
            )
    raise StorageError(
        f"The index {str(source.folder)!r} was rewritten {ATTEMPTS} times while it was copied. Try again "
        "when less is written to it."
    )


def _copy_database(folder: Path, target: Files) -> tuple[set[str], int]:
    """Copy the database, and return which files it refers to and how many documents it has."""
    target.remove(DATABASE)
    path = target.path(DATABASE)
    with CONNECTED.inside(folder):
        source = Database(folder / DATABASE)
        try:
            if source.is_empty:
                check_is_free(Files(folder))
                raise _nothing_stored(folder)
            source.copy_to(path)
        finally:
            source.close()
    copy = Database(path)
    try:
        places = {f"{SEGMENTS}/{name}" for name in copy.segment_names()}
        places |= {place for place in copy.picture_places() if not os.path.isabs(place)}
        places -= set(copy.garbage_places())
        return places, copy.counts()["documents"]
    finally:
        copy.close()


def _copy_file(source: Files, target: Files, place: str) -> bool:
    """Copy a file that is written once, and tell whether it was there."""
    if target.has(place):
        return True
    if not source.has(place):
        return False
    limit = MOST_BYTES if place.startswith(f"{SEGMENTS}/") else MAX_BYTES
    try:
        target.write(place, source.read(place, limit=limit))
    except CorruptionError:
        if source.has(place):
            raise
        return False  # the writer has removed it meanwhile
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


def _drop_what_is_not(wanted: set[str], target: Files) -> None:
    """Remove files of earlier attempts."""
    found = [*(f"{SEGMENTS}/{name}" for name in target.names(SEGMENTS)), *picture_files(target)]
    for place in set(found) - wanted:
        target.remove(place)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{what} failed: {error.strerror or error}. Free space or fix the permissions and try again."
        ) from error
