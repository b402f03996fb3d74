"""An index folder in which somebody has put a link, a pipe, a socket or a giant in some place."""

import hashlib
import os
import shutil
import socket
from pathlib import Path

from diptych import Document, MultimodalIndex
from diptych.image import Image
from stubs import StubJoint, StubText, png

DOCUMENTS = [
    Document("a red pump", id="t1", metadata={"n": 1}),
    Document("a blue wall", Image(png("blue")), id="b1", metadata={"n": 2}),
]
PICTURE = hashlib.sha256(png("blue")).hexdigest()
ASSET = f"assets/{PICTURE[:2]}"
GIANT = 1 << 40


def open_index(path, **arguments):
    return MultimodalIndex(StubText(), StubJoint(), path=path, **arguments)


def make_index(path):
    """Make an index with a namespace in a folder, and return it."""
    for namespace in (None, "inner"):
        with open_index(path, namespace=namespace) as index:
            index.add(DOCUMENTS)
    return path


def make_docs(folder):
    """Make the folder of a user that nothing may touch."""
    docs = folder / "docs"
    (docs / "ab").mkdir(parents=True)
    for name in ("letter.txt", "ab/photo.png", "x.safetensors", ".tmp-1", "store.sqlite3"):
        (docs / name).write_bytes(b"precious " + name.encode())
    return docs


def tree(folder):
    """Return everything about a folder: names, kinds, bytes, times; nothing behind a link."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        kind = status.st_mode
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        if data is not None and status.st_size > 1 << 30:
            data = None
        found[path.relative_to(folder).as_posix()] = (kind, data, status.st_mtime_ns)
    return found


def place_of(index, name):
    """Return a path in an index: SEGMENT and PICTURE stand for the files that are there."""
    if name == "SEGMENT":
        return next((index / "segments").iterdir())
    if name == "PICTURE":
        return next((index / ASSET).iterdir())
    return index / name


def plant(place, kind, docs):
    """Put something else in a place, instead of what is there."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link to a folder":
        place.symlink_to(docs, target_is_directory=True)
    elif kind == "link to a file":
        place.symlink_to(docs / "letter.txt")
    elif kind == "link to nothing":
        place.symlink_to(docs / "nothing")
    elif kind == "link inside":
        place.symlink_to("segments" if place.name != "segments" else "assets")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        _socket(place)
    elif kind == "folder":
        place.mkdir()
        (place / "kept.txt").write_bytes(b"kept")
    elif kind == "giant":
        with open(place, "wb") as file:
            file.truncate(GIANT)
    else:
        raise ValueError(kind)


def _socket(place: Path):
    here = os.getcwd()
    os.chdir(place.parent)  # a long path does not fit into the address of a socket
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(place.name)
    finally:
        os.chdir(here)
