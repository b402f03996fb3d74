"""Whether what is stored is whole: everything on request, the database alone after a crash.

Everything is compared with something else: rows with their checksums, filter fields and words with what
the rows make of them, segments and pictures with the hashes by which they are named, vectors with the
documents that must have them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from diptych.errors import CorruptionError, FormatError, MediaError, StorageError
from diptych.storage.connection import Connection, repair_command
from diptych.storage.database import Database
from diptych.storage.failures import is_unread_page, size_of, where_and_why
from diptych.storage.faiss_index import Keys
from diptych.storage.files import Files
from diptych.storage.layout import ASSETS, SEGMENTS
from diptych.storage.pictures import Pictures, picture_files
from diptych.storage.rows import Row
from diptych.storage.segments import MOST_BYTES, Segment, read_segment
from diptych.storage.values import stored_fields

__all__ = [
    "CHECKED_BYTES",
    "MENDABLE",
    "Part",
    "Problem",
    "check_database",
    "find_problems",
    "unread_files",
]

CHECKED_BYTES = 1 << 26
"""Up to which size a database without a seal is checked when it is opened: about two seconds. A larger
one is checked on request; a killed writer does not damage it, only a failing disk does."""

Part = Literal[
    "database",
    "document",
    "fields",
    "words",
    "segment",
    "vectors",
    "picture",
    "stray",
    "unreadable",
]
MENDABLE = ("database", "document", "fields", "words", "segment", "picture")
"""What a repair does something about, so that it is advised. ``reembed`` makes vectors; what is unreadable
is mended by whoever looks after the permissions and the disk."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was stored.

    Attributes:
        part: What it is about; "unreadable" where a file could not be read, which is not damage.
        where: The file, or the id of the document.
        what: What is wrong with it.
        key: The key of the document; 0 where it is about none.
    """

    part: Part
    where: str
    what: str
    key: int = 0


def check_database(database: Database) -> None:
    """Check a database as far as it can be checked without the other files.

    Raises:
        CorruptionError: Something is damaged.
        StorageError: Something cannot be read.
    """
    if database.path is not None and size_of(database.path) > CHECKED_BYTES:
        return
    for problem in _database_problems(database, deep=True):
        if problem.part == "unreadable":
            raise StorageError(
                f"The database {database.name!r} could not be read: {problem.what}. That is not damage, "
                "and nothing was changed; look at the disk and the memory, then try again."
            )
        folder = database.path.parent if database.path else ""
        raise CorruptionError(
            f"The database {database.name!r} is damaged: {problem.where}: {problem.what}. Run: "
            f"{repair_command(folder)}, or restore the folder from a backup."
        )


def find_problems(
    database: Database, folder: Path, pictures: Pictures, *, deep: bool
) -> Iterator[Problem]:
    """Yield everything that is wrong with an index.

    Args:
        database: Inside a transaction, so that it holds still.
        folder: The folder of the index.
        pictures: Finds its pictures.
        deep: Also compare every word, filter field and picture, not only whether it is there.
    """
    structure = list(_database_problems(database, deep=deep))
    yield from structure
    if any(problem.part in ("database", "unreadable") for problem in structure):
        return
    files = Files(folder)
    segments = database.segments(database.state().generation)
    found: dict[str, list[Keys]] = {}
    unread: list[Segment] = []
    yield from _segment_problems(database, files, segments, found, unread)
    yield from _vector_problems(database, found, unread)
    yield from _picture_problems(database, pictures, deep=deep)
    yield from _strays(database, files)


def _database_problems(database: Database, *, deep: bool) -> Iterator[Problem]:
    name = database.name
    try:
        pragma = "integrity_check" if deep else "quick_check"
        for (verdict,) in database.all(f"PRAGMA {pragma}(20)"):
            if verdict != "ok":
                part: Part = "unreadable" if is_unread_page(str(verdict)) else "database"
                yield Problem(part, name, str(verdict))
                return
        damaged = set[int]()
        database.settings()
        for key, identity in database.damaged_rows():
            damaged.add(key)
            yield Problem("document", identity, "the row is not as it was stored", key)
        if deep:
            yield from _field_problems(database, damaged)
            yield from _word_problems(database)
    except CorruptionError as error:
        yield Problem("database", name, str(error.__cause__ or error))
    except StorageError as error:
        yield Problem("unreadable", name, str(error.__cause__ or error))


def _field_problems(database: Database, damaged: Set[int]) -> Iterator[Problem]:
    for key, identity, metadata in database.metadata():
        if key in damaged:
            continue
        try:
            expected = Counter(stored_fields(metadata))
        except ValueError as error:
            yield Problem("document", identity, f"its metadata cannot be read: {error}", key)
            continue
        if expected != Counter(database.fields_of(key)):
            yield Problem(
                "fields", identity, "the filter values are not those of its metadata", key
            )
    (orphans,) = database.one(
        "SELECT count(*) FROM field WHERE document NOT IN (SELECT key FROM documents)"
    )
    if orphans:
        yield Problem("fields", database.name, f"{orphans} filter values belong to no document")


_VOCABULARY = """
    SELECT term, count(*), total(doc), total(doc * (1.0 + offset)), total(1.0 * doc * doc)
    FROM temp.vocabulary GROUP BY term ORDER BY term
"""


def _word_problems(database: Database) -> Iterator[Problem]:
    """Index the texts anew in memory, and compare which words stand where."""
    fresh = Connection(None, "create")
    try:
        with fresh.translated():
            fresh.create_tables()
            database.copy_words_to(fresh)
        vocabularies = []
        for connection in (database, fresh):
            with connection.translated():
                connection.execute(
                    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary"
                    " USING fts5vocab ('main', 'lexical', 'instance')"
                )
                vocabularies.append(connection.all(_VOCABULARY))
                connection.execute("DROP TABLE temp.vocabulary")
        if vocabularies[0] != vocabularies[1]:
            yield Problem("words", database.name, "the list of words is not that of the texts")
    finally:
        fresh.close()


def _segment_problems(
    database: Database,
    files: Files,
    segments: list[Segment],
    found: dict[str, list[Keys]],
    unread: list[Segment],
) -> Iterator[Problem]:
    """Read every segment, and collect which keys have a vector in which list, and what is unreadable."""
    state = database.state()
    dims = {name: s.dim for name, s in database.spaces(state.generation).items()}
    last = 0
    for segment in segments:
        where = str(files.path(f"{SEGMENTS}/{segment.name}"))
        if not segment.first <= segment.last <= state.last_key:
            yield Problem("segment", where, "it has keys that were never given")
            continue
        if segment.first <= last:
            yield Problem("segment", where, "its keys overlap those of another one")
            continue
        last = segment.last
        try:
            rows = read_segment(files, segment, dims)
        except CorruptionError as error:
            yield Problem("segment", where, str(error).split(". Run:")[0])
            continue
        except FormatError:
            raise
        except StorageError as error:
            unread.append(segment)
            yield Problem("unreadable", *where_and_why(error, Path(where)))
            continue
        for name, (keys, _) in rows.items():
            found.setdefault(name, []).append(keys)


def _vector_problems(
    database: Database, found: dict[str, list[Keys]], unread: list[Segment]
) -> Iterator[Problem]:
    """Compare which documents have vectors with which must, but for those of segments not read."""
    spaces = database.spaces(database.state().generation)
    texts, images = database.keys_with("text"), database.keys_with("image")
    expected = {"text": texts, "image": images}
    fused = [expected[name] for name in expected if name in spaces]
    expected["cross_modal"] = np.unique(np.concatenate(fused)) if fused else np.empty(0, np.int64)
    for name in spaces:
        there = np.concatenate(found.get(name, [np.empty(0, np.int64)]))
        lacking = np.setdiff1d(expected[name], there)
        for segment in unread:
            lacking = lacking[(lacking < segment.first) | (lacking > segment.last)]
        for key, identity in database.ids_of(lacking.tolist()).items():
            yield Problem("vectors", identity, f"it has no vector in {name}_index", key)


def _picture_problems(database: Database, pictures: Pictures, *, deep: bool) -> Iterator[Problem]:
    for key, row in database.rows_with_pictures():
        try:
            image = pictures.find(row)
        except CorruptionError as error:
            # Its row leads outside of the index. Only the whole row can be moved out of the way.
            yield Problem("document", row.id, str(error).split(". Run:")[0], key)
        except MediaError as error:
            yield Problem("picture", row.id, str(error), key)
        else:
            if image is not None and image.path is not None:
                yield from _file_problems(pictures, image.path, row, key, deep=deep)


def _file_problems(
    pictures: Pictures, path: Path, row: Row, key: int, *, deep: bool
) -> Iterator[Problem]:
    try:
        if (digest := pictures.digest(row, read=deep)) is None:
            yield Problem("picture", row.id, f"{str(path)!r} is missing", key)
        elif deep and digest != row.image:
            yield Problem("picture", row.id, f"{str(path)!r} is not what was stored", key)
    except CorruptionError as error:
        yield Problem("picture", row.id, str(error).split(". Run:")[0], key)
    except FormatError:
        raise
    except StorageError as error:
        yield Problem("unreadable", *where_and_why(error, path), key)


def unread_files(files: Files) -> Iterator[Problem]:
    """Yield the segments and pictures that cannot be read, whether or not the database knows them.

    Raises:
        FormatError: There is a link or the like among them.
    """
    folders = [SEGMENTS, ASSETS]
    while folders:
        at = folders.pop()
        try:
            found = files.kinds(at)
        except FormatError:
            raise
        except StorageError as error:
            yield Problem("unreadable", *where_and_why(error, files.path(at)))
            continue
        for name, kind in found.items():
            place = f"{at}/{name}"
            if kind == "a folder":
                folders.append(place)
                continue
            try:
                files.read(place, limit=MOST_BYTES)
            except (FormatError, CorruptionError):  # it has gone, or is larger than any of ours
                continue
            except StorageError as error:
                yield Problem("unreadable", *where_and_why(error, files.path(place)))


def _strays(database: Database, files: Files) -> Iterator[Problem]:
    counted = {f"{SEGMENTS}/{name}" for name in database.segment_names()}
    counted |= database.picture_places()
    found = [*(f"{SEGMENTS}/{name}" for name in files.names(SEGMENTS)), *picture_files(files)]
    for place in sorted({*found, *files.unfinished()} - counted):
        yield Problem("stray", str(files.path(place)), "nothing refers to it")
