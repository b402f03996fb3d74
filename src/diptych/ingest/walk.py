"""The files of a folder in an order that is the same on every machine."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diptych.ingest.pictures import CAPTION_FILES

__all__ = ["Found", "Kind", "kind_of", "walk"]

Kind = Literal["markdown", "html", "text", "records", "picture", "captions", "sidecar", "skipped"]

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
    """A file. ``reason``: why it is not read, when its kind is "skipped"."""

    path: str
    kind: Kind
    reason: str = ""


def kind_of(path: str) -> Kind:
    """Return how a file of this name is read, by its suffix; "skipped" when no reader takes it."""
    name = path.rpartition("/")[2].lower()
    if name in CAPTION_FILES:
        return "captions"
    suffix = os.path.splitext(name)[1]
    return "picture" if suffix in _PICTURES else _TEXTS.get(suffix, "skipped")


def walk(root: Path) -> Iterator[Found]:
    """Yield the files of a folder and the folders in it, ordered by name, component by component.

    Names are compared by code point. What begins with a dot is left out; symbolic links are not
    followed. A text beside a picture of the same name is its side-car.
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
                (entry for entry in listing if not entry.name.startswith(".")),
                key=lambda entry: (unicodedata.normalize("NFC", entry.name), entry.name),
            )
    except OSError as error:
        reason = f"The folder could not be listed: {error.strerror}."
        yield Found(prefix.rstrip("/") or ".", "skipped", reason), False
        return
    stems = {_stem(entry.name) for entry in entries if kind_of(entry.name) == "picture"}
    for entry in entries:
        path = prefix + entry.name
        if entry.is_symlink():
            yield Found(path, "skipped", "It is a symbolic link; links are not followed."), False
        elif entry.is_dir(follow_symlinks=False):
            yield Found(path, "skipped"), True
        elif not entry.is_file(follow_symlinks=False):
            yield Found(path, "skipped", "It is a pipe, socket or device."), False
        elif (kind := kind_of(entry.name)) == "text" and _stem(entry.name) in stems:
            yield Found(path, "sidecar"), False
        elif kind == "skipped":
            suffix = os.path.splitext(entry.name)[1]
            yield Found(path, kind, f"No reader takes files of the kind {suffix!r}."), False
        else:
            yield Found(path, kind), False


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
