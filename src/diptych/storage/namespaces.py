"""Several indexes in one folder, each with its own database, files and lock."""

from __future__ import annotations

import re
from pathlib import Path

from diptych.checks import shown
from diptych.errors import InvalidArgument, StorageError
from diptych.storage.files import Files
from diptych.storage.layout import DATABASE, NAMESPACES
from diptych.storage.writer_lock import WriterLock

__all__ = ["drop_namespace", "namespace_folder", "namespaces"]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")


def namespace_folder(path: Path, name: str) -> Path:
    """Return the folder of a namespace, which need not be there yet.

    Raises:
        InvalidArgument: The name could not be that of a folder everywhere, or differs from another
            one only in upper and lower case.
        FormatError: There is a link or the like where the namespaces lie.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"namespace={shown(name)} was given; expected 1 to 64 of the characters A-Z a-z 0-9 . _ - that "
            "begin with a letter or a digit and do not end with a dot."
        )
    for other in namespaces(path):
        if other != name and other.lower() == name.lower():
            raise InvalidArgument(
                f"namespace={name!r} was given, and there is {other!r} already. On some disks the two would "
                "be one folder: choose another name."
            )
    return path / NAMESPACES / name


def namespaces(path: Path) -> list[str]:
    """Return the names of the namespaces in a folder, sorted.

    Raises:
        FormatError: There is a link or the like among them.
    """
    files = Files(path)
    return [
        name
        for name, kind in files.kinds(NAMESPACES).items()
        if kind == "a folder" and _NAME.fullmatch(name) and files.has(_database(name))
    ]


def drop_namespace(path: Path, name: str, *, lock_timeout: float = 0.5) -> bool:
    """Remove a namespace with everything in it, and tell whether there was one.

    Raises:
        InvalidArgument: The name is none.
        FormatError: There is a link or the like in it; nothing is removed.
        LockedError: Somebody is writing to it.
        StorageError: It cannot be removed.
    """
    folder, files = namespace_folder(path, name), Files(path)
    if not files.has(_database(name)):
        return False
    Files(folder).check_layout()
    lock = WriterLock(folder, lock_timeout, alone=True)
    lock.acquire()
    try:
        # Without its database it is no index any more, whatever becomes of the rest.
        files.remove_now(_database(name))
    except OSError as error:
        raise StorageError(
            f"The namespace {name!r} under {str(path)!r} cannot be removed: {error.strerror}. Fix the "
            "permissions of its folder and try again."
        ) from error
    finally:
        lock.release()
    files.remove_folder(f"{NAMESPACES}/{name}")
    return True


def _database(name: str) -> str:
    return f"{NAMESPACES}/{name}/{DATABASE}"
