"""Keeping a LlamaIndex vector store beside the file that LlamaIndex names for it.

On this machine it is a folder; on another file system, such as a bucket, one file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from diptych.errors import FormatError, MediaError
from diptych.index import MultimodalIndex
from diptych.maintenance import copy_index, export_index, import_index

__all__ = ["fetched", "folder_of", "is_local", "remove_with", "upload", "write"]

_FIRST_LINE = "diptych vector store, version 1"
_NOTE = (
    f"{_FIRST_LINE}\nThe index is in the {{what}} beside this file. "
    "Load it with DiptychVectorStore.from_persist_dir and pass it as vector_store= to "
    "StorageContext.from_defaults.\n"
)
"""Deliberately no JSON: LlamaIndex would load that as an empty store of its own, silently."""


def is_local(fs: Any) -> bool:
    """Whether a file system of fsspec, or none, is the one of this machine."""
    protocol = getattr(fs, "protocol", "file")
    names = {protocol} if isinstance(protocol, str) else set(protocol)
    return fs is None or bool(names & {"file", "local"})


def upload(index: MultimodalIndex, persist_path: str, fs: Any) -> None:
    """Write an index into one file on another file system, and a note beside it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = index.path
        if folder is None:
            folder = Path(temporary) / "index"
            copy_index(index, folder)
        export = Path(temporary) / "export"
        report = export_index(folder, export)
        if report.failed:
            raise MediaError(
                f"Pictures could not be read, so nothing was persisted: "
                f"{'; '.join(map(str, report.failed))}. Add their documents again, or delete them."
            )
        archive = _archive(persist_path)
        fs.makedirs(fs._parent(archive), exist_ok=True)
        with export.open("rb") as source, fs.open(archive, "wb") as target:
            shutil.copyfileobj(source, target)
    with fs.open(persist_path, "wb") as note:
        note.write(_NOTE.format(what=f"file {archive.rpartition('/')[2]}").encode())


def download(persist_path: str, fs: Any) -> Path:
    """Return a temporary folder with an index from another file system.

    Raises:
        FormatError: The file is missing, or was written by another store.
    """
    _check_note(persist_path, lambda: fs.open(persist_path, "rb"))
    folder = Path(tempfile.mkdtemp(prefix="diptych-"))
    try:
        copy = folder / "export"
        with fs.open(_archive(persist_path), "rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        import_index(copy, folder / "index")
        copy.unlink()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / "index"


@contextmanager
def fetched(persist_path: str, fs: Any) -> Iterator[Path]:
    """Give a temporary folder with an index from another file system; remove it after an error.

    Raises:
        FormatError: The file is missing, or was written by another store.
    """
    folder = download(persist_path, fs)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder.parent, ignore_errors=True)
        raise


def remove_with(index: MultimodalIndex, folder: Path) -> None:
    """Remove a temporary folder when its index is not there any more."""
    weakref.finalize(index, shutil.rmtree, folder.parent, ignore_errors=True)


def write(index: MultimodalIndex, persist_path: str | os.PathLike[str]) -> None:
    """Write an index into the folder that belongs to a file, and a note into the file.

    An index that lives in that folder already is stored already. Any other one is copied, with its
    vectors; what the folder held before and the index does not is removed.
    """
    file = Path(persist_path)
    folder = _folder(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if index.path is None or index.path.resolve() != folder.resolve():
        copy_index(index, folder)
    file.write_text(_NOTE.format(what=f"folder {folder.name}"), encoding="utf-8")


def folder_of(persist_path: str | os.PathLike[str]) -> Path:
    """Return the folder with the index that belongs to a file.

    Raises:
        FormatError: The file is missing, or was written by another store.
    """
    file = Path(persist_path)
    _check_note(persist_path, lambda: _opened(file))
    return _folder(file)


def _opened(file: Path) -> BinaryIO:
    """Open a note. A named pipe in its place would wait for somebody to write to it."""
    if file.exists() and not file.is_file():
        raise OSError("it is not a regular file")
    return file.open("rb")


def _check_note(path: str | os.PathLike[str], opened: Callable[[], BinaryIO]) -> None:
    try:
        with opened() as lines:
            first = lines.readline(200).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(
            f"No DiptychVectorStore could be read from {str(path)!r}: {error}. Persist one there first."
        ) from error
    if first != _FIRST_LINE:
        raise FormatError(
            f"{str(path)!r} was not written by DiptychVectorStore (its first line is "
            f"{first[:40]!r}). Load it with the class of vector store that wrote it."
        )


def _archive(persist_path: str) -> str:
    return f"{persist_path.removesuffix('.json')}.diptych.zip"


def _folder(file: Path) -> Path:
    return file.with_name(f"{file.stem}.diptych")
