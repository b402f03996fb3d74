"""Looks after the folder of an index without its models: verify and repair."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from diptych.errors import CorruptionError, FormatError, StorageError
from diptych.storage.changes import WritableDatabase
from diptych.storage.database import Database
from diptych.storage.failures import is_there, where_and_why
from diptych.storage.files import Files
from diptych.storage.layout import DATABASE, NAMESPACES, SEAL
from diptych.storage.pictures import Pictures
from diptych.storage.repair import mend, salvage
from diptych.storage.seal import CONNECTED, break_seal, is_sealed, seal
from diptych.storage.unborn import check_is_free
from diptych.storage.verify import MENDABLE, Problem, find_problems, unread_files
from diptych.storage.writer_lock import WriterLock

D = TypeVar("D", bound=Database)

__all__ = ["VerifyReport", "verify_folder"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check of an index found.

    Attributes:
        documents: How many documents there are.
        segments: How many vector segments.
        pictures: How many documents have a picture.
        deep: Whether every word, filter value and picture was compared.
        problems: What is wrong, after the repair when one was asked for.
        repaired: What was done, in words.
        seconds: How long it took.
        after_repair: Whether a repair was asked for, so that these problems are what it has left.
    """

    documents: int
    segments: int
    pictures: int
    deep: bool
    problems: tuple[Problem, ...]
    repaired: tuple[str, ...]
    seconds: float
    after_repair: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong. Files that nothing refers to do no harm."""
        return all(problem.part == "stray" for problem in self.problems)

    @property
    def is_mendable(self) -> bool:
        """Whether a repair can do something about a problem, and has not been asked to yet."""
        parts = {problem.part for problem in self.problems}
        return not self.after_repair and "unreadable" not in parts and bool(parts & {*MENDABLE})

    @property
    def without_vectors(self) -> int:
        """How many documents lack a vector that they should have."""
        return len({problem.key for problem in self.problems if problem.part == "vectors"})


def verify_folder(
    folder: Path, *, deep: bool = False, repair: bool = False, lock_timeout: float = 0.5
) -> VerifyReport:
    """Compare everything in an index with what it should be.

    Checking changes nothing and goes on beside a writer; repairing is writing. What cannot be read is
    not damaged, so a repair that meets it changes nothing. A folder in which nothing has been stored
    yet, also one whose first writer was killed, is an index without documents.

    Args:
        folder: The folder of the index.
        deep: Compare every word, filter value and picture too.
        repair: Mend what can be mended.
        lock_timeout: How many seconds a repair waits for another writer.

    Raises:
        FormatError: There is no index, or one of a newer version.
        CorruptionError: The database is missing, and other files of an index are there.
        StorageError: A repair was asked for, and something cannot be read.
        LockedError: Others are writing, also another object of this process, and a repair was asked for.
    """
    start = time.monotonic()
    done: list[str] = []
    files = Files(folder)
    if not is_there(folder):
        raise FormatError(f"There is no index at {str(folder)!r}. Give the folder of one.")
    files.check_layout()
    if not files.has(DATABASE):
        check_is_free(files)
        _refuse_namespaces(files)
        problems, counts = list[Problem](), (0, 0, 0)
    elif repair:
        lock = WriterLock(folder, lock_timeout, alone=True)
        lock.acquire()
        try:
            done = _repair(files)
            problems, counts = _look(folder, deep=True)
            if not problems and any(counts):
                with CONNECTED.entering(folder) as alone:
                    if alone:
                        seal(folder / DATABASE)
                CONNECTED.leave(folder)
        finally:
            lock.release()
    else:
        problems, counts = _look(folder, deep=deep)
    return VerifyReport(
        *counts, deep or repair, tuple(problems), tuple(done), time.monotonic() - start, repair
    )


def _refuse_namespaces(files: Files) -> None:
    """Say so when there are only namespaces in a folder, which have to be looked at one by one.

    Raises:
        FormatError: There are.
    """
    names = list(files.kinds(NAMESPACES))
    if names:
        raise FormatError(
            f"There is no index at {str(files.folder)!r} itself; its namespaces ({len(names):,}) are. Give "
            f"the folder of one: {str(files.path(f'{NAMESPACES}/{names[0]}'))!r}."
        )


def _repair(files: Files) -> list[str]:
    folder, done = files.folder, list[str]()
    problems = _lasting_problems(folder)
    is_damaged = any(problem.part == "database" for problem in problems)
    # What lies behind a damaged database was not looked at.
    _refuse_unreadable(folder, [*problems, *(unread_files(files) if is_damaged else ())])
    break_seal(folder / DATABASE)
    if is_damaged:
        done.append(salvage(files))
        problems = _lasting_problems(folder)
    if not any(problem.part in MENDABLE or problem.part == "stray" for problem in problems):
        return done
    with (
        CONNECTED.inside(folder),
        _closing(WritableDatabase(folder / DATABASE, "write")) as database,
    ):
        return done + mend(database, files, Pictures(folder, "copy"), problems)


def _lasting_problems(folder: Path) -> list[Problem]:
    """Return what is wrong, also when one looks again: a read that failed once is no damage.

    The seal is not compared: what it says is wrong is found, or the rows are as they were stored.
    """
    problems, _ = _look(folder, deep=True, against_seal=False)
    if all(problem.part == "stray" for problem in problems):
        return problems
    again, _ = _look(folder, deep=True, against_seal=False)
    both = {(p.part, p.where) for p in problems} & {(p.part, p.where) for p in again}
    return [p for p in again if p.part == "unreadable" or (p.part, p.where) in both]


def _refuse_unreadable(folder: Path, problems: Sequence[Problem]) -> None:
    """Leave an index as it is when something in it cannot be read.

    Raises:
        StorageError: Something cannot.
    """
    unread = [problem for problem in problems if problem.part == "unreadable"]
    if unread:
        more = f" (and {len(unread) - 1:,} more)" if len(unread) > 1 else ""
        raise StorageError(
            f"The index {str(folder)!r} was not repaired: {unread[0].where!r} could not be read: "
            f"{unread[0].what}{more}. That is not damage, and nothing was changed; fix the permissions of "
            "the file and of its folder, or look at the disk, then repair again."
        )


def _look(
    folder: Path, *, deep: bool, against_seal: bool = True
) -> tuple[list[Problem], tuple[int, int, int]]:
    path = folder / DATABASE
    problems: list[Problem] = []
    with CONNECTED.entering(folder) as alone:
        try:
            if alone:
                is_sealed(path)
        except CorruptionError:
            if against_seal:
                problems.append(
                    Problem("database", str(path), "it is not as it was when the index was closed")
                )
        except FormatError:
            raise
        except StorageError as error:
            problems.append(Problem("unreadable", *where_and_why(error, path.with_name(SEAL))))
    try:
        with _closing(Database(path)) as database:
            if database.is_empty:
                check_is_free(Files(folder))
                return problems, (0, 0, 0)
            database.begin()
            problems += find_problems(database, folder, Pictures(folder, "copy"), deep=deep)
            counts = database.counts()
            segments = len(database.segments(database.state().generation))
            return problems, (counts["documents"], segments, counts["images"])
    except FormatError:
        raise
    except CorruptionError as error:
        return [*problems, Problem("database", str(path), str(error.__cause__ or error))], (0, 0, 0)
    except StorageError as error:
        where, why = where_and_why(error, path)
        if all(problem.where != where for problem in problems):
            problems.append(Problem("unreadable", where, why))
        return problems, (0, 0, 0)
    finally:
        CONNECTED.leave(folder)


@contextmanager
def _closing(database: D) -> Iterator[D]:
    try:
        yield database
    finally:
        database.close()
