"""What to put before the ids of a folder, so that they differ from those of every other folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

from diptych.errors import InvalidArgument
from diptych.index.places import has_below, places
from diptych.index.snapshot import Snapshot
from diptych.ingest import read
from diptych.ingest.origin import Origin
from diptych.storage import Database

__all__ = ["choose_prefixes"]

SAMPLE = 20
"""How many documents of a folder are compared with what is stored, to see whether it was moved."""

StrPath = str | os.PathLike[str]


def choose_prefixes(
    database: Database | None, snapshot: Snapshot, paths: Sequence[StrPath]
) -> list[str]:
    """As :meth:`diptych.MultimodalIndex.prefixes_for`."""
    origins = [read(path).origin for path in paths]
    known = places(database) if database else []
    by_folder = {origin.folder: path for origin, path in zip(origins, paths, strict=True)}
    chosen: dict[str, str] = {}
    fresh: list[str] = []
    for folder in sorted(by_folder, key=lambda folder: (len(Path(folder).parts), folder)):
        prefix = _known(folder, known)
        if prefix is None:
            prefix = _moved(by_folder[folder], known, snapshot)
        if prefix is not None:
            chosen[folder] = prefix
        elif not any(_is_within(folder, other) for other in fresh):
            fresh.append(folder)
    has_documents = bool(snapshot.counts()["documents"]) if database else False
    for folder in fresh:
        is_only = len(fresh) == 1 and not known and not chosen
        if is_only and (not has_documents or _fits(by_folder[folder], "", snapshot)):
            chosen[folder] = ""
        else:
            taken = {*chosen.values(), *(place.prefix for place in known)}
            chosen[folder] = _name(folder, taken, database)
    now = [*known, *(Origin(folder, prefix) for folder, prefix in chosen.items())]
    found = [_known(origin.folder, now) for origin in origins]
    return [prefix or "" for prefix in found]


def _known(folder: str, known: Sequence[Origin]) -> str | None:
    """Return the prefix of a folder that was read before, or that lies in one.

    Raises:
        InvalidArgument: It was read with several prefixes, and which one is meant cannot be told.
    """
    around = [place for place in known if _is_within(folder, place.folder)]
    if not around:
        return None
    nearest = max(len(Path(place.folder).parts) for place in around)
    within = [place for place in around if len(Path(place.folder).parts) == nearest]
    prefixes = sorted({place.prefix for place in within})
    if len(prefixes) > 1 and "" not in prefixes:
        raise InvalidArgument(
            f"{folder!r} was read before with the prefixes {', '.join(map(repr, prefixes))}; which one is "
            "meant cannot be told. Name it with prefix= (--prefix)."
        )
    place = Origin(within[0].folder, prefixes[0])
    inner = os.path.relpath(folder, _spelt(folder, place.folder)).replace(os.sep, "/")
    return place.prefix if inner == "." else f"{place.start}{inner}"


def _is_within(folder: str, other: str) -> bool:
    """Whether a folder is another one, or lies in it, however they are spelt."""
    return _spelt(folder, other) is not None


def _spelt(folder: str, other: str) -> str | None:
    """Return the folder that is ``other`` as it is spelt in the path of a folder within it, or None."""
    depth = len(Path(other).parts)
    parts = Path(folder).parts
    if depth > len(parts):
        return None
    spelt = str(Path(*parts[:depth]))
    if spelt == other:
        return spelt
    try:
        return spelt if os.path.samefile(spelt, other) else None
    except (OSError, ValueError):
        return None


def _moved(path: StrPath, known: Sequence[Origin], snapshot: Snapshot) -> str | None:
    """Return the prefix of a folder that does not exist any more and held what this one holds."""
    for place in known:
        if place.is_gone and _fits(path, place.prefix, snapshot, is_sure=True):
            return place.prefix
    return None


def _fits(path: StrPath, prefix: str, snapshot: Snapshot, *, is_sure: bool = False) -> bool:
    """Whether no document of a folder has the id of one that is stored with other content.

    Args:
        path: The folder or file.
        prefix: What goes before the ids.
        snapshot: What is stored.
        is_sure: Whether half of the first documents must be stored, for the folder to be the same one.
    """
    documents = list(islice(read(path, prefix=prefix), SAMPLE))
    keys = sorted(snapshot.select([document.id for document in documents], None, None))
    stored = {document.id: document for document in snapshot.documents(keys)}
    both = [(document, stored[document.id]) for document in documents if document.id in stored]
    same = sum(
        (a.text or "", a.image and a.image.sha256) == (b.text or "", b.image and b.image.sha256)
        for a, b in both
    )
    return same > 0 and 2 * same >= len(documents) if is_sure else 2 * same >= len(both)


def _name(folder: str, taken: set[str], database: Database | None) -> str:
    """Return the name of a folder, with as many of its parents as make it unique in the index."""
    parts = [part for part in Path(folder).parts if part.strip("/\\:")]
    parts = [part.encode("utf-8", "replace").decode() for part in parts] or ["root"]
    names = ["/".join(parts[-depth:]) for depth in range(1, len(parts) + 1)]
    endless = (f"{parts[-1]}-{number}" for number in count(2))
    for name in (*names, *islice(endless, 1000)):
        if name not in taken and not (database and has_below(database, f"{name}/")):
            return name
    raise InvalidArgument(
        f"No prefix for {folder!r} could be found that is not in use. Name one with prefix= (--prefix)."
    )
