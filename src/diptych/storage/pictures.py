"""The pictures of an index: copied into it under their content hash, or left where they are."""

from __future__ import annotations

import os
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diptych.errors import CorruptionError, StorageError
from diptych.image import Image
from diptych.storage import files
from diptych.storage.connection import repair_command
from diptych.storage.database import DATABASE, Database
from diptych.storage.failures import is_there
from diptych.storage.rows import Row
from diptych.storage.seal import CONNECTED

__all__ = ["PicturePolicy", "Pictures", "is_copy"]

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
            return is_there(path)


class Pictures:
    """Keeps pictures and finds them again.

    Args:
        folder: The folder of the index; None keeps the references in memory.
        policy: "copy" makes the index whole in itself: it can be moved, and what a model is shown
            is what was embedded. "reference" saves the room, and notices a changed file by its
            hash. Pictures given as bytes are always copied.
    """

    def __init__(self, folder: Path | None, policy: PicturePolicy) -> None:
        self._folder = folder
        self._policy = policy
        self._in_memory: dict[str, Image] = {}

    def keep(self, image: Image) -> tuple[str, str]:
        """Make a picture durable and return its content hash and where it lies."""
        if self._folder is None:
            self._in_memory[image.sha256] = image
            return image.sha256, ""
        if self._policy == "reference" and image.path is not None:
            return image.sha256, os.path.abspath(image.path)
        place = f"assets/{image.sha256[:2]}/{image.sha256}.{image.mime.rpartition('/')[2]}"
        files.write_once(self._folder / place, image.read())
        return image.sha256, place

    def find(self, row: Row) -> Image | None:
        """Return the picture of a document, unopened; None when it has none.

        Raises:
            CorruptionError: The database names a place that is not of the index.
        """
        if row.image is None:
            return None
        if self._folder is None:
            return self._in_memory[row.image]
        place = row.image_path or ""
        if os.path.isabs(place):
            return Image(place, name=row.image_name or "", sha256=row.image)
        if not _COPY.fullmatch(place) or Path(place).stem != row.image:
            raise CorruptionError(
                f"Document {row.id!r} has its picture at {place!r}, which is no place of the index "
                f"{str(self._folder)!r}. Run: {repair_command(self._folder)}, or restore a backup."
            )
        image = Image(self._folder / place, sha256=row.image, advice=_Advice(self._folder, place))
        image.name = row.image_name or ""  # also when that is none, as it was given
        return image

    def holds(self, row: Row) -> bool:
        """Whether the copy of a document's picture is there, when it should be."""
        place = row.image_path or ""
        return (
            self._folder is None or not _COPY.fullmatch(place) or (self._folder / place).is_file()
        )

    def remove(self, place: str) -> None:
        """Remove a copy that no document refers to any more."""
        if self._folder is not None and _COPY.fullmatch(place):
            files.remove(self._folder / place)

    def forget_all_but(self, hashes: set[str]) -> None:
        """Let go of pictures that are kept in memory and have none of these hashes."""
        self._in_memory = {sha256: self._in_memory[sha256] for sha256 in hashes}

    def sweep(self, referenced: set[str]) -> None:
        """Remove everything under ``assets`` that is none of these places."""
        if self._folder is None:
            return
        for path in sorted((self._folder / "assets").glob("??/*")):
            if path.relative_to(self._folder).as_posix() not in referenced:
                files.remove(path)
