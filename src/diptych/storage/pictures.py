"""The pictures of an index: copied into it under their content hash, or left where they are."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diptych.errors import CorruptionError, FormatError, MediaError, StorageError
from diptych.image import Image
from diptych.media import MAX_BYTES, read_file
from diptych.storage.database import Database
from diptych.storage.failures import is_missing, unreadable
from diptych.storage.files import Files, repair_command
from diptych.storage.layout import ASSETS, DATABASE
from diptych.storage.rows import Row
from diptych.storage.seal import CONNECTED

__all__ = ["PicturePolicy", "Pictures", "is_copy", "picture_files"]

PicturePolicy = Literal["copy", "reference"]
"""Whether the index holds its own copy of each picture, or only the path of the file."""

_COPY = re.compile(r"assets/[0-9a-f]{2}/[0-9a-f]{64}\.[a-z]{3,4}")


def is_copy(place: str) -> bool:
    """Whether a place relative to an index is one at which it keeps a picture."""
    return _COPY.fullmatch(place) is not None


@dataclass(frozen=True, slots=True)
class _Advice:
    """Tells what to do about a copy that is missing or damaged."""

    folder: Path
    place: str

    def __call__(self, missing: bool) -> str:
        if missing and not self._is_wanted():
            return (
                "Its document has been deleted or replaced since it was found, and its picture with it. "
                "Search again."
            )
        return f"Run: {repair_command(self.folder)}."

    def _is_wanted(self) -> bool:
        """Whether a document still refers to the copy; not, where there is no index any more."""
        path = self.folder / DATABASE
        try:
            with CONNECTED.inside(self.folder), closing(Database(path)) as database:
                return not database.is_empty and database.refers_to(self.place)
        except StorageError:
            return Files(self.folder).has(DATABASE)


class Pictures:
    """Keeps pictures and finds them again.

    Args:
        folder: The folder of the index; None keeps the references in memory.
        policy: "copy" makes the index whole in itself: it can be moved, and what a model is shown
            is what was embedded. "reference" saves the room, and notices a changed file by its
            hash. Pictures given as bytes are always copied.
    """

    def __init__(self, folder: Path | None, policy: PicturePolicy) -> None:
        self._files = None if folder is None else Files(folder)
        self._policy = policy
        # By hash and name: of one picture, each document keeps the name and the file it was given with.
        self._in_memory: dict[str, dict[str, Image]] = {}

    def keep(self, image: Image) -> tuple[str, str]:
        """Make a picture durable and return its content hash and where it lies."""
        if self._files is None:
            self._in_memory.setdefault(image.sha256, {})[image.name] = image
            return image.sha256, ""
        if self._policy == "reference" and image.path is not None:
            return image.sha256, os.path.abspath(image.path)
        place = f"assets/{image.sha256[:2]}/{image.sha256}.{image.mime.rpartition('/')[2]}"
        self._files.write_once(place, image.read())
        return image.sha256, place

    def find(self, row: Row) -> Image | None:
        """Return the picture of a document, unopened; None when it has none.

        Raises:
            CorruptionError: The database names a place that is not of the index.
            FormatError: There is a link or the like in its place, or on the way.
        """
        if row.image is None:
            return None
        if self._files is None:
            return _named(self._in_memory[row.image], row.image_name or "")
        folder, place = self._files.folder, row.image_path or ""
        if os.path.isabs(place):
            return Image(place, name=row.image_name or "", sha256=row.image)
        if not _COPY.fullmatch(place) or Path(place).stem != row.image:
            raise CorruptionError(
                f"Document {row.id!r} has its picture at {place!r}, which is no place of the index "
                f"{str(folder)!r}. Run: {repair_command(folder)}, or restore a backup."
            )
        try:
            self._files.has(place)
        except FormatError:
            raise
        except StorageError:  # reading it says so, as where it is missing
            pass
        image = Image(folder / place, sha256=row.image, advice=_Advice(folder, place))
        image.name = row.image_name or ""  # also when that is none, as it was given
        return image

    def holds(self, row: Row) -> bool:
        """Whether the copy of a document's picture is there, when it should be."""
        place = row.image_path or ""
        return self._files is None or not _COPY.fullmatch(place) or self._files.has(place)

    def digest(self, row: Row, *, read: bool) -> str | None:
        """Return the content hash of the file of a picture; None where none is there.

        Args:
            row: A document that has one, in a folder.
            read: False only looks whether the file is there.

        Raises:
            FormatError: In the index, there is a link or the like.
            CorruptionError: It is no regular file elsewhere, or too large.
            StorageError: It cannot be read.
        """
        place = row.image_path or ""
        if self._files is None or os.path.isabs(place):
            return _digest_elsewhere(Path(place), read=read)
        if not self._files.has(place):
            return None
        data = self._files.read(place, limit=MAX_BYTES) if read else b""
        return hashlib.sha256(data).hexdigest()

    def remove(self, place: str) -> None:
        """Remove a copy that no document refers to any more."""
        if self._files is not None and _COPY.fullmatch(place):
            self._files.remove(place)

    def forget_all_but(self, hashes: set[str]) -> None:
        """Let go of pictures that are kept in memory and have none of these hashes."""
        self._in_memory = {sha256: self._in_memory[sha256] for sha256 in hashes}

    def sweep(self, referenced: set[str]) -> None:
        """Remove everything under ``assets`` that is none of these places."""
        for place in [] if self._files is None else picture_files(self._files):
            if self._files is not None and place not in referenced:
                self._files.remove(place)


def _named(kept: dict[str, Image], name: str) -> Image:
    """Return the picture of this name; where only the name was changed, one that is kept with it."""
    if name in kept:
        return kept[name]
    image = copy.copy(next(iter(kept.values())))
    image.name = name
    return image


def _digest_elsewhere(path: Path, *, read: bool) -> str | None:
    """Return the content hash of a file that was left where it is."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CorruptionError(f"{str(path)!r} is not a regular file.")
        return hashlib.sha256(read_file(path) if read else b"").hexdigest()
    except MediaError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise CorruptionError(f"{str(path)!r} is not what was stored.") from error
        raise unreadable(path, cause) from cause
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if is_missing(error):
            return None
        raise unreadable(path, error) from error
    except ValueError:  # a path with a NUL is that of no file
        return None


def picture_files(files: Files) -> Iterator[str]:
    """Yield the places of all files that lie where copies of pictures do.

    Raises:
        FormatError: There is a link or the like among them.
    """
    for name, kind in files.kinds(ASSETS).items():
        if kind == "a folder":
            yield from (f"{ASSETS}/{name}/{file}" for file in files.names(f"{ASSETS}/{name}"))
