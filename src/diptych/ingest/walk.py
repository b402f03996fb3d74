"""The files of a folder in an order that is the same on every machine."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diptych.ingest.pictures import CAPTION_FILES

__all__ = ["Found", "Kind", "kind_of", "walk"]

Kind = Literal[
    "markdown", "html", "text", "records", "picture", "captions", "sidecar", "skipped", "unlisted"
]  # fmt: skip

INDEX = "store.sqlite3"
"""The file by which the folder of an index is known; its pictures are documents of others already."""

MAX_SUFFIX = 20
"""A longer ending of a name is no kind of file."""

_TEXTS: dict[str, Kind] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".txt": "text",
    ".jsonl": "records",
    ".ndjson": "records",
}
_PICTURES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_PICTURES += (".svg", ".avif", ".heic")  # they cannot be decoded, and the report says so


@dataclass(frozen=True, slots=True)
class Found:
    """A file.

    Attributes:
        path: Its path in the folder.
        kind: How it is read.
        reason: Why it is not read, when its kind is "skipped" or "unlisted".
        group: What it is counted as when it is not read: its suffix, "link", "hidden".
    """

    path: str
    kind: Kind
    reason: str = ""
    group: str = ""


def kind_of(path: str) -> Kind:
    """Return how a file of this name is read, by its suffix; "skipped" when no reader takes it."""
    name = path.rpartition("/")[2].lower()
    if name in CAPTION_FILES:
        return "captions"
    suffix = os.path.splitext(name)[1]
    return "picture" if suffix in _PICTURES else _TEXTS.get(suffix, "skipped")


def walk(root: Path) -> Iterator[Found]:
    """Yield the files of a folder and the folders in it, ordered by name, component by component.

    Names are compared by code point. What begins with a dot is not read, nor what is in it; neither is
    the folder of an index. Symbolic links are not followed. A text beside a picture of the same name is
    its side-car.
    """
    open_folders = [_entries(root, "")]
    while open_folders:
        for found, is_folder in open_folders[-1]:
            if is_folder:
                open_folders.append(_entries(root, f"{found.path}/"))
                break
            yield found
        else:
            open_folders.pop()


def _entries(root: Path, prefix: str) -> Iterator[tuple[Found, bool]]:
    """Yield what one folder holds, and whether it is a folder itself."""
    try:
        with os.scandir(root / prefix) as listing:
            entries = sorted(
                listing, key=lambda entry: (unicodedata.normalize("NFC", entry.name), entry.name)
            )
    except OSError as error:
        reason = f"The folder could not be listed: {error.strerror}."
        yield Found(prefix.rstrip("/") or ".", "unlisted", reason), False
        return
    if any(entry.name == INDEX for entry in entries):
        yield (
            Found(prefix.rstrip("/") or ".", "skipped", "It is an index of diptych.", "index"),
            False,
        )
        return
    stems = {_stem(entry.name) for entry in entries if kind_of(entry.name) == "picture"}
    for entry in entries:
        try:
            yield _found(entry, prefix, stems)
        except OSError as error:
            reason = f"It could not be looked at: {error.strerror}."
            yield Found(prefix + entry.name, "unlisted", reason), False


def _found(entry: os.DirEntry[str], prefix: str, stems: Set[str]) -> tuple[Found, bool]:
    """Return what an entry of a folder is, and whether it is a folder itself.

    Args:
        entry: The entry.
        prefix: The path of the folder, with "/" at its end.
        stems: The names of the pictures beside it, without their suffix.
    """
    path = prefix + entry.name
    if entry.name.startswith("."):
        return Found(path, "skipped", "Its name begins with a dot.", "hidden"), False
    if entry.is_symlink():
        return Found(
            path, "skipped", "It is a symbolic link; links are not followed.", "link"
        ), False
    if entry.is_dir(follow_symlinks=False):
        return Found(path, "skipped"), True
    if not entry.is_file(follow_symlinks=False):
        reason = "It is a pipe, socket or device."
        return Found(path, "skipped", reason, "pipe, socket or device"), False
    kind = kind_of(entry.name)
    if kind == "text" and _stem(entry.name) in stems:
        return Found(path, "sidecar"), False
    if kind == "skipped":
        suffix = os.path.splitext(entry.name)[1]
        is_kind = 1 < len(suffix) <= MAX_SUFFIX
        reason = f"No reader takes files of the kind {suffix!r}."
        return Found(path, kind, reason, suffix.lower() if is_kind else "of no kind"), False
    return Found(path, kind), False


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
