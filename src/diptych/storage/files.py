"""The only place of the store that looks for, reads, writes, renames or removes files.

A file is written once, under a temporary name, synced, renamed, and its folder synced: after a crash
it is there whole or not at all (when the disk honours ``fsync``). Files without a reference in the
database are left-overs, never errors.

An index may come from somebody else. Beneath its folder there are only folders and regular files: a
link, a named pipe, a socket or a device is refused before anything is read or changed through it
(:mod:`diptych.beneath`).
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from diptych import beneath
from diptych.beneath import At, Foreign
from diptych.errors import CorruptionError, FormatError, StorageError
from diptych.storage.failures import is_missing, unreadable
from diptych.storage.layout import CACHE, FILES, FOLDERS

__all__ = [
    "TEMPORARY_PREFIX",
    "Files",
    "make_folder",
    "quoted",
    "repair_command",
    "sync_folder",
]

TEMPORARY_PREFIX = ".tmp-"
_BLOCK = 1 << 20
_CREATE = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)  # fmt: skip


def repair_command(folder: str | os.PathLike[str]) -> str:
    """Return what a message tells the user to run when files of an index are damaged.

    It can be pasted into a shell, whatever the folder is called.
    """
    return f"diptych verify {quoted(folder)} --repair"


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path as one argument of a command."""
    given = os.fspath(path)
    if given.startswith("-"):  # would be taken for an option
        given = os.path.join(os.curdir, given)
    return subprocess.list2cmdline([given]) if os.name == "nt" else shlex.quote(given)


class Files:
    """The files of one store, by their place in its folder: "segments/….safetensors".

    Args:
        folder: The folder of the index. Its own path may lead through links.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, place: str) -> Path:
        """Return the path of a place, for messages."""
        return self.folder.joinpath(*place.split("/"))

    # -- looking ----------------------------------------------------------------------------

    def status(self, place: str) -> os.stat_result | None:
        """Return the status of a regular file; None when nothing is there.

        Raises:
            FormatError: It is no regular file, or lies behind a link.
            StorageError: It cannot be looked at.
        """
        with self._reading(place):
            found = beneath.status(self.folder, place)
            if found is not None and beneath.kind_of(found) != "a file":
                raise Foreign(self.path(place), beneath.kind_of(found))
        return found

    def has(self, place: str) -> bool:
        """Whether a regular file is there.

        Raises:
            FormatError: As for :meth:`status`.
        """
        return self.status(place) is not None

    def kinds(self, place: str = "") -> dict[str, str]:
        """Return the names in a folder, sorted, each with whether it is "a file" or "a folder".

        A folder that is missing is an empty one.

        Raises:
            FormatError: Something in it is neither, or it is no folder itself.
            StorageError: It cannot be read.
        """
        with self._reading(place):
            try:
                folder = beneath.open_folder(self.folder, place)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            try:
                with os.scandir(folder) as entries:
                    kinds = {e.name: _kind(e) for e in entries}
            finally:
                if isinstance(folder, int):
                    os.close(folder)
            for name, kind in kinds.items():
                if kind not in ("a file", "a folder"):
                    raise Foreign(self.path(f"{place}/{name}" if place else name), kind)
        return dict(sorted(kinds.items()))

    def names(self, place: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted, as :meth:`kinds` does."""
        return [name for name, kind in self.kinds(place).items() if kind == "a file"]

    def unfinished(self) -> list[str]:
        """Return the places of files that were never finished, but for those among the pictures."""
        found = [*self.names(), *(f"{CACHE}/{name}" for name in self.names(CACHE))]
        return [place for place in found if place.rpartition("/")[2].startswith(TEMPORARY_PREFIX)]

    def check_layout(self) -> None:
        """Refuse a folder in which something is not what its name says, or neither folder nor file.

        Raises:
            FormatError: Something is.
        """
        for name, kind in self.kinds().items():
            if (name in FOLDERS and kind != "a folder") or (name in FILES and kind != "a file"):
                raise self._foreign(Foreign(self.path(name), kind))

    def total_bytes(self, leave_out: str = "") -> int:
        """Return the size of all files, without those of one folder at the top."""
        total, pending = 0, [""]
        while pending:
            place = pending.pop()
            for name, kind in self.kinds(place).items():
                inner = f"{place}/{name}" if place else name
                if kind == "a folder":
                    pending += [inner] if inner != leave_out else []
                elif (found := self.status(inner)) is not None:  # else a writer has removed it
                    total += found.st_size
        return total

    # -- reading ----------------------------------------------------------------------------

    def read(self, place: str, *, limit: int, size: int | None = None) -> bytes:
        """Return the content of a file.

        Args:
            place: The file.
            limit: The most bytes that it can have; more are noticed before anything is read.
            size: How many bytes it must have, if that is known.

        Raises:
            CorruptionError: It is missing, or of another size.
            FormatError: It is no regular file.
            StorageError: It is unreadable.
        """
        with self._reading(place):
            try:
                descriptor = beneath.open_file(self.folder, place)
            except OSError as error:
                if isinstance(error, Foreign) or not is_missing(error):
                    raise
                raise CorruptionError(
                    f"The file {str(self.path(place))!r} is missing. Run: "
                    f"{repair_command(self.folder)}, or restore it from a backup."
                ) from error
            with os.fdopen(descriptor, "rb") as file:
                found = os.fstat(descriptor).st_size
                expected = f"{size:,}" if size is not None else f"at most {limit:,}"
                if found > limit or (size is not None and found != size):
                    raise CorruptionError(
                        f"The file {str(self.path(place))!r} has {found:,} bytes instead of {expected}. "
                        f"Run: {repair_command(self.folder)}, or restore it from a backup."
                    )
                return file.read(found)

    def tail(self, place: str, count: int) -> bytes:
        """Return the last bytes of a file; none when it is gone.

        Raises:
            FormatError: It is no regular file.
            StorageError: It is unreadable.
        """
        with self._reading(place):
            try:
                descriptor = beneath.open_file(self.folder, place)
            except FileNotFoundError:
                return b""
            with os.fdopen(descriptor, "rb") as file:
                file.seek(max(os.fstat(descriptor).st_size - count, 0))
                return file.read(count)

    def open(self, place: str) -> int:
        """Return the descriptor of a file, for reading.

        Raises:
            FormatError: It is no regular file.
            StorageError: It is missing or unreadable.
        """
        with self._reading(place):
            return beneath.open_file(self.folder, place)

    def blocks(self, place: str) -> Iterator[bytes]:
        """Yield the content of a file piece by piece.

        Raises:
            FormatError: It is no regular file.
            StorageError: It is missing or unreadable.
        """
        with self._reading(place), os.fdopen(beneath.open_file(self.folder, place), "rb") as file:
            while block := file.read(_BLOCK):
                yield block

    # -- changing ---------------------------------------------------------------------------

    def write_once(self, place: str, data: bytes) -> None:
        """Put ``data`` durably at a place that its content names; a whole file is left alone.

        Raises:
            FormatError: A link or the like is there, or on the way.
            StorageError: The disk is full, the folder is read-only, or the device failed.
        """
        with self._writing(place, len(data)):
            if self._holds(place, data):
                return
        self.write(place, data)

    def write(self, place: str, data: bytes) -> None:
        """Put ``data`` at a place durably, whole or not at all.

        Raises:
            FormatError: As for :meth:`write_once`.
            StorageError: As for :meth:`write_once`.
        """
        with self._writing(place, len(data)), self._reach(place, make=True) as at:
            temporary = at.beside(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
            try:
                descriptor = os.open(temporary, _CREATE, 0o666, dir_fd=at.folder)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(temporary, at.name, src_dir_fd=at.folder, dst_dir_fd=at.folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=at.folder)
                raise
            at.sync()

    def remove(self, place: str) -> None:
        """Remove a file that nothing refers to any more; one that cannot be removed stays as litter."""
        with suppress(OSError), self._reach(place) as at:
            os.unlink(at.name, dir_fd=at.folder)

    def remove_now(self, place: str) -> None:
        """Remove a file, or a link itself, durably; where there is nothing, nothing is done.

        Raises:
            OSError: It cannot be removed.
        """
        with suppress(FileNotFoundError), self._reach(place) as at:
            os.unlink(at.name, dir_fd=at.folder)
            at.sync()

    def remove_folder(self, place: str) -> None:
        """Remove a folder with everything in it, as far as that is possible; links are not followed."""
        with suppress(OSError), self._reach(place) as at:
            shutil.rmtree(at.name, ignore_errors=True, dir_fd=at.folder)

    def move(self, place: str, to: str) -> None:
        """Give a file another place, durably.

        Raises:
            FormatError: A link or the like is on the way.
            StorageError: The disk failed, or the folder is read-only.
        """
        with (
            self._writing(to, 0),
            self._reach(place) as source,
            self._reach(to, make=True) as target,
        ):
            os.replace(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
            target.sync()
            source.sync()

    def _reach(self, place: str, *, make: bool = False) -> AbstractContextManager[At]:
        return beneath.reach(self.folder, place, make=make)

    def _holds(self, place: str, data: bytes) -> bool:
        """Whether a file has this content already, which is then made durable."""
        found = beneath.status(self.folder, place)
        if found is None:
            return False
        if beneath.kind_of(found) != "a file":
            raise Foreign(self.path(place), beneath.kind_of(found))
        if found.st_size != len(data):
            return False
        flags = os.O_RDONLY if os.name != "nt" else os.O_RDWR
        with os.fdopen(beneath.open_file(self.folder, place, flags), "rb") as file:
            if file.read(len(data) + 1) != data:
                return False
            os.fsync(file.fileno())  # whoever wrote it may have been killed before it did
        with self._reach(place) as at:
            at.sync()
        return True

    def _reading(self, place: str) -> AbstractContextManager[None]:
        path = self.path(place)

        def failed(error: OSError) -> StorageError:
            error.filename = str(path)  # of a name in an open folder, the whole path
            return unreadable(path, error)

        return self._translated(failed)

    def _writing(self, place: str, size: int) -> AbstractContextManager[None]:
        path = self.path(place)
        return self._translated(
            lambda error: StorageError(
                f"Writing {path.name!r} ({size:,} bytes) under {str(path.parent)!r} failed: "
                f"{error.strerror or error}. Nothing of this call was stored; free space or fix the "
                "permissions and try again."
            )
        )

    @contextmanager
    def _translated(self, failed: Callable[[OSError], StorageError]) -> Iterator[None]:
        """Turn what the system says into our errors; those that are ours already stay."""
        try:
            yield
        except Foreign as error:
            raise self._foreign(error) from error
        except StorageError:
            raise
        except OSError as error:
            raise failed(error) from error

    def _foreign(self, error: Foreign) -> FormatError:
        return FormatError(
            f"The index {str(self.folder)!r} was not used: {error.strerror}. An index consists of folders "
            "and regular files, each what its name says; the folder may come from an untrusted source. "
            "Remove what does not belong there, or restore the folder from a backup."
        )


def make_folder(path: Path) -> None:
    """Create a folder of the user's choice and its parents, and make the new entries durable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    if os.name == "nt":  # Windows has no handle on a folder to sync.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kind(entry: os.DirEntry[str]) -> str:
    if os.name == "nt" or not (
        entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
    ):
        return beneath.kind_of(entry.stat(follow_symlinks=False))
    return "a file" if entry.is_file(follow_symlinks=False) else "a folder"
