"""Which documents came from which folder: what a file does not give any more, and what vanished."""

from __future__ import annotations

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


def left_over(database: Database, reading: Reading) -> dict[str, int]:
    """Return ids and keys of what the files that were read gave before, and do not give any more.

    Documents of a file that could not be read to its end stay, and so does what failed by itself.
    """
    failed = {failure.id for failure in reading.failed}
    return {
        document_id: key
        for document_id, key, name in _stored(database, reading)
        if document_id not in reading.ids and document_id not in failed and name in reading.whole
    }


def vanished(database: Database, reading: Reading, report: AddReport) -> dict[str, int]:
    """Return ids and keys of what was read from the same place before, and is not there any more."""
    failed = {failure.id for failure in report.failed}
    starts = tuple(name for name in reading.unread if not name or name.endswith("/"))
    return {
        document_id: key
        for document_id, key, name in _stored(database, reading)
        if document_id not in reading.ids
        and document_id not in failed
        and name not in reading.unread
        and not name.startswith(starts)
    }


def _stored(database: Database, reading: Reading) -> Iterator[tuple[str, int, str]]:
    """Yield id, key and file name of all documents of a folder or file, however it was read before.

    A folder that lies in one that was added before, or around one, is seen as a part of it when its
    prefix gives the files the same names.
    """
    asked = reading.origin
    for place in places(database):
        names: dict[str, str | None] = {}
        for document_id, key, text in database.from_origins(*place.bounds):
            if text not in names:
                names[text] = _name_in(asked, Origin.parse(text))
            if (name := names[text]) is not None:
                yield document_id, key, name
    root = asked.path
    yield from database.from_source(f"{root}\n{asked.prefix}" if asked.prefix else root)


def _name_in(asked: Origin, stored: Origin) -> str | None:
    """Return the name of a file as a reading gives it, or None when it is not of that folder or file."""
    seen = stored if stored.place == asked.place else stored.seen_from(asked.place)
    if seen is None or asked.file not in ("", seen.file):
        return None
    return f"{seen.start}{seen.file}"


def has_below(database: Database, start: str) -> bool:
    """Whether an id is stored that begins with ``start``, which ends with "/"."""
    return database.has_id_between(start, f"{start[:-1]}0")  # "0" is what follows "/"
