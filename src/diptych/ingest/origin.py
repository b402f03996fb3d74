"""Where a document was read from: what tells two folders apart that have files of one name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a document was read from, and what went before its id.

    Attributes:
        folder: The folder that was read, absolute, every link in it resolved.
        prefix: What went before the ids, without a "/" at its end.
        file: The path of the file in the folder, with "/"; "" stands for the whole folder, and for
            documents that were stored before origins knew their file.
    """

    folder: str
    prefix: str = ""
    file: str = ""

    def __str__(self) -> str:
        """Return what is stored. It is plain ASCII, whatever the names hold."""
        return json.dumps([self.folder, self.prefix, self.file])

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Return what ``str`` was made of. Older indexes hold the folder, and a prefix below it."""
        if text.startswith('["'):
            try:
                folder, prefix, file = json.loads(text)
                return cls(str(folder), str(prefix), str(file))
            except ValueError:
                pass
        folder, _, prefix = text.partition("\n")
        return cls(folder, prefix.rstrip("/"))

    @property
    def place(self) -> Origin:
        """The folder and the prefix alone."""
        return replace(self, file="")

    @property
    def path(self) -> str:
        """Where the file lies on this disk; the folder, when the file is not known."""
        return os.path.join(self.folder, *self.file.split("/")) if self.file else self.folder

    @property
    def start(self) -> str:
        """What goes before every id: the prefix with a "/", or ""."""
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def bounds(self) -> tuple[str, str]:
        """Between which texts the origins of all files of this place sort; the second is left out."""
        whole = str(self.place).removesuffix('""]')
        return whole, f"{whole}~"

    @property
    def is_gone(self) -> bool:
        """Whether the folder does not exist on this disk any more."""
        return not os.path.lexists(self.folder)

    def seen_from(self, place: Origin) -> Origin | None:
        """Return the same file as an origin of another place, if both give it the same ids.

        So it is when one folder lies within the other, and the prefix says where.
        """
        if not self.file:
            return None
        path = os.path.relpath(self.path, place.folder).replace(os.sep, "/")
        if path.startswith("../") or f"{place.start}{path}" != f"{self.start}{self.file}":
            return None
        return replace(place, file=path)

    def is_same_file(self, other: Origin) -> bool:
        """Whether both are one file on this disk, however it is spelt."""
        if self.path == other.path:
            return True
        try:
            return os.path.samefile(self.path, other.path)
        except (OSError, ValueError):
            return False
