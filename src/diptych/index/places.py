"""Which documents came from which folder: what a file does not give any more, and what vanished."""

from __future__ import annotations

import os
from collections.abc import Iterator

from diptych.ingest import Reading
from diptych.ingest.origin import Origin
from diptych.report import AddReport
from diptych.storage import Database

__all__ = ["has_below", "left_over", "places", "vanished"]


def places(database: Database) -> list[Origin]:
    """Return the folders, with their prefixes, that documents were read from, in order."""
    found: dict[Origin, None] = {}
    after = ""
    while (text := database.first_origin(after)) is not None:
        origin = Origin.parse(text)
        found[origin.place] = None
        after = origin.bounds[1] if text == str(origin) else text
    return list(found)


def left_over(database: Database, reading: Reading, report: AddReport) -> dict[str, int]:
    """Return ids and keys of what the files that were read gave before, and do not give any more.

    Documents of a file that could not be read to its end stay, and so does what failed by itself.
    """
    failed = {failure.id for failure in report.failed}
    whole = reading.whole - _incomplete(reading, report)
    return {
        document_id: key
        for document_id, key, name, is_inner in _stored(database, reading)
        if document_id not in reading.ids
        and document_id not in failed
        and name in (whole if is_inner else reading.whole)
    }


def vanished(database: Database, reading: Reading, report: AddReport) -> dict[str, int]:
    """Return ids and keys of what was read from the same place before, and is not there any more."""
    failed = {failure.id for failure in report.failed}
    starts = tuple(name for name in reading.unread if not name or name.endswith("/"))
    incomplete = _incomplete(reading, report)
    return {
        document_id: key
        for document_id, key, name, is_inner in _stored(database, reading)
        if document_id not in reading.ids
        and document_id not in failed
        and name not in reading.unread
        and not name.startswith(starts)
        and not (is_inner and name in incomplete)
    }


def _incomplete(reading: Reading, report: AddReport) -> set[str]:
    """Return the names of the files of which a document could not be stored."""
    origins = [reading.origin_of(failure.id) for failure in report.failed]
    return {f"{origin.start}{origin.file}" for origin in origins if origin is not None}


def _stored(database: Database, reading: Reading) -> Iterator[tuple[str, int, str, bool]]:
    """Yield id, key, file name, and whether the id is another than the reading gives, of what is stored.

    It is of all documents of a folder or file, however it was read before. A folder that lies in one
    that was added before, or around one, is seen as a part of it when its prefix gives the files the
    same names. A folder that was added before the one around it becomes a part of it too: the files
    get the names of the wider folder, unless a prefix was chosen by hand.
    """
    asked = reading.origin
    for place in places(database):
        is_inner = _is_inner(asked, place)
        names: dict[str, str | None] = {}
        for document_id, key, text in database.from_origins(*place.bounds):
            if text not in names:
                names[text] = _name_in(asked, Origin.parse(text), is_inner=is_inner)
            if (name := names[text]) is not None:
                yield document_id, key, name, is_inner
    root = asked.path
    old = database.from_source(f"{root}\n{asked.prefix}" if asked.prefix else root)
    yield from ((document_id, key, name, False) for document_id, key, name in old)


def _is_inner(asked: Origin, place: Origin) -> bool:
    """Whether a place is a folder within the one that is asked for, with ids that ``add`` gave it.

    Those begin with nothing, for the first folder of an index, or with the name of the folder.
    """
    if asked.file or asked.folder == place.folder:
        return False
    inner = os.path.relpath(place.folder, asked.folder).replace(os.sep, "/")
    if inner == ".." or inner.startswith("../") or place.prefix == f"{asked.start}{inner}":
        return False
    name = place.folder.replace(os.sep, "/").rstrip("/")
    return not place.prefix or name.endswith(f"/{place.prefix}")


def _name_in(asked: Origin, stored: Origin, *, is_inner: bool) -> str | None:
    """Return the name of a file as a reading gives it, or None when it is not of that folder or file."""
    if is_inner:
        if not stored.file:
            return None
        return f"{asked.start}{os.path.relpath(stored.path, asked.folder).replace(os.sep, '/')}"
    seen = stored if stored.place == asked.place else stored.seen_from(asked.place)
    if seen is None or asked.file not in ("", seen.file):
        return None
    return f"{seen.start}{seen.file}"


def has_below(database: Database, start: str) -> bool:
    """Whether an id is stored that begins with ``start``, which ends with "/"."""
    return database.has_id_between(start, f"{start[:-1]}0")  # "0" is what follows "/"
