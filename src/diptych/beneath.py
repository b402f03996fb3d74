"""Files beneath one folder, reached without following a link and without waiting.

The folder itself may be reached through links: its path is what the user gave. What lies beneath it may
come from somebody else. It is reached one component at a time, through descriptors of the folders on the
way where the platform has them, so that a link that appears meanwhile gains nothing either. Elsewhere
each component is looked at before the file is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["At", "Foreign", "kind_of", "open_file", "open_folder", "reach", "status"]

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK, opening a named pipe would wait for somebody at its other end.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_STEPWISE = os.open in os.supports_dir_fd and bool(_NO_LINK)
_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LINK_TAGS = (
    getattr(stat, "IO_REPARSE_TAG_SYMLINK", None),
    getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None),
)


class Foreign(OSError):
    """Something is a link, a pipe, a socket, a device, or a folder where a file belongs."""

    def __init__(self, path: str | os.PathLike[str], kind: str) -> None:
        super().__init__(errno.ELOOP, f"{os.fspath(path)!r} is {kind}")


class At(NamedTuple):
    """Where a file is: a name, in a folder that is open; the whole path where folders cannot be."""

    name: str
    folder: int | None

    def beside(self, name: str) -> str:
        """Return the name of another file of the same folder."""
        return name if self.folder is not None else os.path.join(os.path.dirname(self.name), name)

    def sync(self) -> None:
        """Make the entries of the folder durable, where that can be asked for."""
        if self.folder is not None:
            os.fsync(self.folder)


def kind_of(found: os.stat_result) -> str:
    """Return what something is in words, like "a file", "a folder" or "a symbolic link"."""
    if getattr(found, "st_reparse_tag", 0) in _LINK_TAGS:
        return "a symbolic link"
    return next((kind for test, kind in _KINDS if test(found.st_mode)), "no file")


@contextmanager
def reach(root: Path, place: str, *, make: bool = False) -> Iterator[At]:
    """Hold the folder in which something lies open.

    Args:
        root: The folder beneath which everything stays.
        place: A path in it, with "/" between the components.
        make: Create the folders on the way, durably.

    Raises:
        Foreign: A component on the way is a link or the like, or ``place`` leads out of the root.
        OSError: A folder is missing or not permitted.
    """
    *folders, name = _parts(root, place)
    if not _STEPWISE:
        yield At(_looked_at(root, folders, name, make=make), None)
        return
    folder = os.open(root, _FOLDER)
    try:
        at = root
        for part in folders:
            at = at / part
            inner = _step(folder, part, at, make=make)
            os.close(folder)
            folder = inner
        yield At(name, folder)
    finally:
        os.close(folder)


def status(root: Path, place: str) -> os.stat_result | None:
    """Return the status of what is at a place, of a link itself; None when nothing is there.

    Raises:
        Foreign: A component on the way is a link or the like.
    """
    try:
        with reach(root, place) as at:
            return os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_file(root: Path, place: str, flags: int = os.O_RDONLY) -> int:
    """Return the descriptor of a regular file that is there; never waits, never follows a link.

    Raises:
        Foreign: It is no regular file.
        OSError: It is missing or not permitted.
    """
    path = root / place
    with reach(root, place) as at:
        # Opening some devices does something to them already.
        found = os.stat(at.name, dir_fd=at.folder, follow_symlinks=False)
        if kind_of(found) != "a file":
            raise Foreign(path, kind_of(found))
        try:
            descriptor = os.open(at.name, flags | _NO_LINK | _AT_ONCE, dir_fd=at.folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Foreign(path, "a symbolic link") from error
            raise
    opened = os.fstat(descriptor)
    if not stat.S_ISREG(opened.st_mode):
        os.close(descriptor)
        raise Foreign(path, kind_of(opened))
    return descriptor


def open_folder(root: Path, place: str = "") -> int | str:
    """Return what ``os.scandir`` takes for a folder: a descriptor, or its path where there are none.

    Raises:
        Foreign: It is no folder.
        OSError: It is missing or not permitted.
    """
    if not _STEPWISE:
        return _looked_at(root, _parts(root, place), "", make=False) if place else str(root)
    if not place:
        return os.open(root, _FOLDER)
    with reach(root, place) as at:
        return _step(at.folder, at.name, root / place, make=False)


def _parts(root: Path, place: str) -> list[str]:
    parts = place.split("/")
    strange = "\0" in place or (os.name == "nt" and any(sign in place for sign in '\\:*?"<>|'))
    if strange or any(part in ("", ".", "..") for part in parts):
        raise Foreign(root / place.replace("\0", "?"), "no place of the folder")
    return parts


def _step(folder: int | None, part: str, path: Path, *, make: bool) -> int:
    """Open a folder inside a folder."""
    try:
        return os.open(part, _FOLDER | _NO_LINK, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            kind = kind_of(os.stat(part, dir_fd=folder, follow_symlinks=False))
            if kind != "a file":  # behind which nothing lies
                raise Foreign(path, kind) from error
        raise
    with suppress(FileExistsError):  # another thread was quicker
        os.mkdir(part, dir_fd=folder)
    if folder is not None:
        os.fsync(folder)
    return _step(folder, part, path, make=False)


def _looked_at(root: Path, folders: list[str], name: str, *, make: bool) -> str:
    """Return the whole path, when every component on the way is a folder itself."""
    at = root
    for part in folders:
        at = at / part
        if make and not os.path.lexists(at):
            at.mkdir(exist_ok=True)
        kind = kind_of(os.lstat(at))
        if kind == "a file":
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(at))
        if kind != "a folder":
            raise Foreign(at, kind)
    return os.path.join(at, name) if name else str(at)
