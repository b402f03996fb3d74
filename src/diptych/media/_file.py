"""Reads a whole file, if it is a regular one and not too large."""

from __future__ import annotations

import os
import stat

from diptych.checks import cut
from diptych.errors import MediaError

__all__ = ["MAX_BYTES", "check_bytes", "read_file"]

MAX_BYTES = 50_000_000
"""The largest encoded picture, in bytes."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Without O_NONBLOCK, opening a named pipe would wait for somebody to write to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a regular file.

    Raises:
        MediaError: Missing, not permitted, a directory, pipe, socket or device, empty, or over
            ``MAX_BYTES``. Never waits.
    """
    name = cut(os.fsdecode(path))
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:  # ValueError: a NUL or a surrogate in the path
        what = _what_is_there(path) or getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"The picture {name} could not be opened: {what}. Expected the path of a readable file, or the "
            "whole picture as bytes or as 'data:image/png;base64,' and its base64."
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(
                f"{name} is {_kind(status.st_mode)}; expected a regular file that holds a picture. "
                "Pass the path of the file itself."
            )
        check_bytes(status.st_size, name)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(MAX_BYTES + 1)  # it may have grown since
    except OSError as error:
        raise MediaError(
            f"The picture {name} could not be read: {error.strerror}. Check the disk and try again."
        ) from error
    finally:
        os.close(descriptor)
    check_bytes(len(data), name)
    return data


def check_bytes(count: int, name: str) -> None:
    """Raise a ``MediaError`` unless ``count`` bytes can be a picture of acceptable size."""
    if count == 0:
        raise MediaError(f"The picture {name} is empty (0 bytes). Write or download it again.")
    if count > MAX_BYTES:
        raise MediaError(
            f"The picture {name} has {count / 1e6:,.1f} MB; expected at most "
            f"{MAX_BYTES / 1e6:,.0f} MB. Scale it down, or save it as JPEG."
        )


def _kind(mode: int) -> str:
    return next((kind for test, kind in _KINDS if test(mode)), "no regular file")


def _what_is_there(path: str | os.PathLike[str]) -> str | None:
    """Return what stands at a path that cannot be opened, when it is no regular file."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    return None if stat.S_ISREG(mode) else f"it is {_kind(mode)}"
