"""A file of unknown origin: opened only if it is a regular one, and every damage said in words."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from diptych.errors import FormatError, StorageError

__all__ = ["Origin", "opened", "shortened"]

_OPENING = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


@dataclass(slots=True)
class Origin:
    """The file that is read, and the place in it, for messages."""

    file: Path
    place: str = ""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn whatever goes wrong with bytes of unknown origin into a ``FormatError``.

        This is the only place that does so. A disk that fails is not damage of the file, and
        neither is a lack of memory.
        """
        try:
            yield
        except (StorageError, MemoryError):
            raise
        except OSError as error:
            raise StorageError(
                f"Reading {str(self.file)!r}, or unpacking it into the temporary folder, failed: "
                f"{error.strerror or error}. Look at the disk and try again."
            ) from error
        except Exception as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception | str) -> FormatError:
        """Return the error that says what is wrong, and at which place of the file."""
        reason = " ".join(str(error).split()).rstrip(".")
        if isinstance(error, KeyError):
            reason = f"{reason} is missing"
        elif not isinstance(error, ValueError | str):
            reason = f"{type(error).__name__}: {reason}"
        place = f"{self.place}: " if self.place else ""
        return FormatError(
            f"{str(self.file)!r} is no export of an index, or a damaged one: {place}"
            f"{shortened(reason, 400)}. What was read before that is stored; export the index again."
        )


@contextmanager
def opened(origin: Origin) -> Iterator[BinaryIO]:
    """Open a regular file; never wait, and never follow a link."""
    file = origin.file
    try:
        mode = os.lstat(file).st_mode
        _check_regular(mode, file)
        descriptor = os.open(file, _OPENING)
    except FileNotFoundError as error:
        raise FormatError(f"There is no file {str(file)!r}. Give an export of an index.") from error
    except ValueError as error:  # a NUL in the path
        raise FormatError(f"{str(file)!r} cannot be the path of a file: {error}.") from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"The export {str(file)!r} could not be opened: {error.strerror or error}. Look at the path "
            "and its permissions."
        ) from error
    with os.fdopen(descriptor, "rb", buffering=1 << 16) as binary:
        _check_regular(os.fstat(descriptor).st_mode, file)
        yield binary


def _check_regular(mode: int, file: Path) -> None:
    kinds = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in kinds if test(mode)), "a device")
        raise FormatError(
            f"{str(file)!r} is {kind}; expected a regular file that was written by an export. Give the "
            "path of the file itself."
        )


def shortened(text: str, length: int) -> str:
    """Return a text for a message, cut off with an ellipsis where it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
