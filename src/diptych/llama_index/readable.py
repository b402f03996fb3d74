"""Whether a picture is there and is the one that was stored, without reading its file each time.

Reading a file and hashing it takes longer than everything else that is done with a retrieved node. A file
that was read and compared once is the same one as long as its inode, its size and the times of its last
change are: a program can set the time of a modification, but not that of the last change of an inode.
"""

from __future__ import annotations

import os
import stat
import time

from diptych.errors import DiptychError
from diptych.media import Header
from diptych.types import Image

__all__ = ["is_readable"]

_MOST = 4_096
"""Of so many files it is remembered that they were read."""

_SETTLED_NS = 2_000_000_000
"""A file that was changed less than two seconds before is read each time: a second change could have the
same time, where a file system counts in whole seconds."""

_State = tuple[str, str, int, int, int, int, int]

_SEEN: dict[_State, Header] = {}


def is_readable(image: Image) -> bool:
    """Whether a picture can be read, is one, and has the content hash that is expected of it."""
    try:
        state = _state(image)
        header = _SEEN.get(state) if state is not None else None
        if header is not None:
            image._header = header
            return True
        header = image.header
    except (DiptychError, OSError):
        return False
    if state is not None:
        if len(_SEEN) >= _MOST:
            _SEEN.clear()
        _SEEN[state] = header
    return True


def _state(image: Image) -> _State | None:
    """Return what a file is known by, together with its expected hash; None when it must be read."""
    if image.path is None or not image._sha256 or image._header is not None:
        return None
    found = os.stat(image.path)
    if not stat.S_ISREG(found.st_mode) or time.time_ns() - found.st_ctime_ns < _SETTLED_NS:
        return None
    return (
        str(image.path), image._sha256, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns,
        found.st_ctime_ns,
    )  # fmt: skip
