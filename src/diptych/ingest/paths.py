"""Files inside one folder, and nothing outside it, whatever a page says.

A link is a path in the page's folder. It may go up with ``..`` as long as it stays inside the
folder that is read. Absolute paths, drives, other schemes and symbolic links are refused. Files
are opened one path component at a time without following links, so that swapping a file for a
link between the check and the opening gains nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from diptych import media
from diptych.errors import InvalidArgument
from diptych.image import Image

__all__ = ["Folder", "is_remote", "link_path"]

KEPT = 256
"""Pictures that are not read again when a page shows them again, like the logo of every page."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*[:|]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REMOTE = re.compile(r"(https?:)?//", re.I)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_STEPWISE = os.open in os.supports_dir_fd and bool(_NO_LINKS)


def is_remote(link: str) -> bool:
    """Whether a link points to a server: "https://…", or "//host/…" as browsers read it."""
    return _REMOTE.match(link) is not None


def link_path(link: str) -> str:
    """Return the path of a link in a page: without query and fragment, percent-decoded once."""
    return unquote(re.split(r"[?#]", link.strip(), maxsplit=1)[0], errors="replace")


class Folder:
    """The folder that is read. Paths in it are relative and use "/".

    Attributes:
        path: The folder with every link in its own path resolved.
        shown: The pictures that were asked for so far, readable or not.
        usable: Those of them that could be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(path))
        self.shown: set[str] = set()
        self.usable: set[str] = set()
        self._pictures = lru_cache(maxsize=KEPT)(self._picture)

    def locate(self, page: str, path: str) -> str:
        """Return the path in this folder of what a page there calls ``path``.

        Args:
            page: The path of the page that names it, in this folder.
            path: Relative to the folder of the page. A backslash counts as "/".

        Raises:
            InvalidArgument: It would lie outside, or is no relative path.
        """
        given = path
        path = path.strip().replace("\\", "/")
        if _CONTROL.search(path):
            raise _refused(given, "holds control characters")
        if _SCHEME.match(path):
            raise _refused(given, "has a scheme or a drive")
        if path.startswith("/"):
            raise _refused(given, "is absolute")
        parts = page.split("/")[:-1]
        for part in path.split("/"):
            if part == "..":
                if not parts:
                    raise _refused(given, "leaves the folder that is read")
                parts.pop()
            elif part not in ("", "."):
                if not part.strip(". "):  # Windows takes "..." and ".. " for ".."
                    raise _refused(given, f"has the component {part!r}")
                parts.append(part)
        if not parts:
            raise _refused(given, "names no file")
        return "/".join(parts)

    def open(self, path: str) -> BinaryIO:
        """Return an open regular file; never waits, never follows a link.

        Raises:
            InvalidArgument: Missing, not permitted, a link, folder, pipe or device.
        """
        try:
            descriptor = self._descriptor(path)
        except OSError as error:
            raise InvalidArgument(self._why_not(path, error)) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidArgument(
                f"{path!r} is a folder, pipe, socket or device; expected a regular file."
            )
        return os.fdopen(descriptor, "rb")

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the content of a regular file, as :meth:`open`.

        Raises:
            InvalidArgument: It cannot be read, or is too large.
        """
        with self.open(path) as file:
            try:
                size = os.fstat(file.fileno()).st_size
                data = file.read(max_bytes + 1) if size <= max_bytes else b""
            except OSError as error:
                raise InvalidArgument(f"{path!r} could not be read: {error.strerror}.") from error
        size = max(size, len(data))  # it may have grown since
        if size > max_bytes:
            raise InvalidArgument(
                f"{path!r} has {size / 1e6:,.1f} MB; expected at most {max_bytes / 1e6:,.0f} MB. "
                "Split it, or make it smaller."
            )
        return data

    def picture(self, path: str) -> Image:
        """Return a picture by reference, its header checked.

        Its content hash is pinned, so that a file which is replaced later is noticed.

        Raises:
            MediaError: No picture that can be decoded.
            InvalidArgument: The file cannot be read.
        """
        self.shown.add(path)
        image = self._pictures(path)
        self.usable.add(path)
        return image

    def _picture(self, path: str) -> Image:
        data = self.read(path, media.MAX_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        media.read_header(data, name=repr(path))
        return Image(self.path.joinpath(*path.split("/")), name=path, sha256=digest)

    def _descriptor(self, path: str) -> int:
        parts = path.split("/")
        if not _STEPWISE:
            whole = self.path.joinpath(*parts)
            if os.path.normcase(os.path.realpath(whole)) != os.path.normcase(whole):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            return os.open(whole, os.O_RDONLY | _AT_ONCE)
        folder = os.open(self.path, _DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _DIRECTORY | _NO_LINKS, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(parts[-1], os.O_RDONLY | _NO_LINKS | _AT_ONCE, dir_fd=folder)
        finally:
            os.close(folder)

    def _why_not(self, path: str, error: OSError) -> str:
        """Say why a file could not be opened: the first component that is wrong."""
        at = self.path
        for part in path.split("/"):
            at = at / part
            if at.is_symlink():
                return (
                    f"{path!r} is, or lies behind, a symbolic link; links are not followed. "
                    "Put the file itself into the folder."
                )
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return f"There is no file {path!r} in the folder that is read."
        return f"{path!r} could not be opened: {error.strerror}."


def _refused(path: str, why: str) -> InvalidArgument:
    shown = path if len(path) <= 100 else f"{path[:99]}…"
    return InvalidArgument(
        f"The path {shown!r} {why}; expected a file inside the folder that is read. "
        "Move the file there, or read the folder that holds both."
    )
