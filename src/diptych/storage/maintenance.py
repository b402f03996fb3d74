"""Looks after the folder of an index without its models: verify and repair."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from diptych.errors import CorruptionError, FormatError, StorageError
from diptych.storage.changes import WritableDatabase
from diptych.storage.database import Database
from diptych.storage.local import DATABASE, check_is_free
from diptych.storage.locks import WriterLock
from diptych.storage.pictures import Pictures
from diptych.storage.repair import mend, salvage
from diptych.storage.seal import CONNECTED, break_seal, is_sealed, seal
from diptych.storage.verify import Problem, find_problems

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
    """

    documents: int
    segments: int
    pictures: int
    deep: bool
    problems: tuple[Problem, ...]
    repaired: tuple[str, ...]
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong. Files that nothing refers to do no harm."""
        return all(problem.part == "stray" for problem in self.problems)

    @property
    def without_vectors(self) -> int:
        """How many documents lack a vector that they should have."""
        return len({problem.key for problem in self.problems if problem.part == "vectors"})


def verify_folder(
    folder: Path, *, deep: bool = False, repair: bool = False, lock_timeout: float = 0.5
) -> VerifyReport:
    """Compare everything in an index with what it should be.

    Checking changes nothing and goes on beside a writer; repairing is writing.

    Args:
        folder: The folder of the index.
        deep: Compare every word, filter value and picture too.
        repair: Mend what can be mended.
        lock_timeout: How many seconds a repair waits for another writer.

    Raises:
        FormatError: There is no index, or one of a newer version.
        CorruptionError: The database is missing, and other files of an index are there.
        LockedError: Another process or object is writing, and a repair was asked for.
    """
    start = time.monotonic()
    if not (folder / DATABASE).exists():
        if folder.exists():
            check_is_free(folder)
        raise FormatError(f"There is no index at {str(folder)!r}. Give the folder of one.")
    done: list[str] = []
    if repair:
        lock = WriterLock(folder, lock_timeout)
        lock.acquire()
        try:
            done = _repair(folder)
            problems, counts = _look(folder, deep=True)
            if not problems:
                with CONNECTED.entering(folder) as alone:
                    if alone:
                        seal(folder / DATABASE)
                CONNECTED.leave(folder)
        finally:
            lock.release()
    else:
        problems, counts = _look(folder, deep=deep)
    return VerifyReport(
        *counts, deep or repair, tuple(problems), tuple(done), time.monotonic() - start
    )


def _repair(folder: Path) -> list[str]:
    done: list[str] = []
    break_seal(folder / DATABASE)
    problems = _lasting_problems(folder)
    if any(problem.part == "database" for problem in problems):
        done.append(salvage(folder / DATABASE, folder))
        problems = _lasting_problems(folder)
    with (
        CONNECTED.inside(folder),
        _closing(WritableDatabase(folder / DATABASE, "write")) as database,
    ):
        return done + mend(database, folder, Pictures(folder, "copy"), problems)


def _lasting_problems(folder: Path) -> list[Problem]:
    """Return what is wrong, also when one looks again: a read that failed once is no damage."""
    problems, _ = _look(folder, deep=True)
    if all(problem.part == "stray" for problem in problems):
        return problems
    again = {(problem.part, problem.where) for problem in _look(folder, deep=True)[0]}
    return [problem for problem in problems if (problem.part, problem.where) in again]


def _look(folder: Path, *, deep: bool) -> tuple[list[Problem], tuple[int, int, int]]:
    path = folder / DATABASE
    problems: list[Problem] = []
    with CONNECTED.entering(folder) as alone:
        try:
            if alone:
                is_sealed(path)
        except CorruptionError:
            problems.append(
                Problem("database", str(path), "it is not as it was when the index was closed")
            )
    try:
        with _closing(Database(path)) as database:
            if database.is_empty:
                return [*problems, Problem("database", str(path), "it is empty")], (0, 0, 0)
            database.begin()
            problems += find_problems(database, folder, Pictures(folder, "copy"), deep=deep)
            counts = database.counts()
            segments = len(database.segments(database.state().generation))
            return problems, (counts["documents"], segments, counts["images"])
    except FormatError:
        raise
    except StorageError as error:
        return [*problems, Problem("database", str(path), str(error.__cause__ or error))], (0, 0, 0)
    finally:
        CONNECTED.leave(folder)


@contextmanager
def _closing(database: D) -> Iterator[D]:
    try:
        yield database
    finally:
        database.close()
