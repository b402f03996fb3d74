"""Several indexes in one folder, each with its own database, files and lock."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from diptych.errors import InvalidArgument
from diptych.storage.local import DATABASE
from diptych.storage.locks import WriterLock
from diptych.storage.unborn import NAMESPACES

__all__ = ["drop_namespace", "namespace_folder", "namespaces"]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")


def namespace_folder(path: Path, name: str) -> Path:
    """Return the folder of a namespace, which need not be there yet.

    Raises:
        InvalidArgument: The name could not be that of a folder everywhere, or differs from another
            one only in upper and lower case.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"namespace={name!r} was given; expected 1 to 64 of the characters A-Z a-z 0-9 . _ - that begin "
            "with a letter or a digit and do not end with a dot."
        )
    for other in namespaces(path):
        if other != name and other.lower() == name.lower():
            raise InvalidArgument(
                f"namespace={name!r} was given, and there is {other!r} already. On some disks the two would "
                "be one folder: choose another name."
            )
    return path / NAMESPACES / name


def namespaces(path: Path) -> list[str]:
    """Return the names of the namespaces in a folder, sorted."""
    return sorted(file.parent.name for file in (path / NAMESPACES).glob(f"*/{DATABASE}"))


def drop_namespace(path: Path, name: str, *, lock_timeout: float = 0.5) -> bool:
    """Remove a namespace with everything in it, and tell whether there was one.

    Raises:
        InvalidArgument: The name is none.
        LockedError: Somebody is writing to it.
    """
    folder = namespace_folder(path, name)
    if not (folder / DATABASE).exists():
        return False
    lock = WriterLock(folder, lock_timeout)
    lock.acquire()
    try:
        # Without its database it is no index any more, whatever becomes of the rest.
        (folder / DATABASE).unlink()
    finally:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)
    return True
