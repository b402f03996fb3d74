"""An index as one file: a zip archive that any program can read.

::

    manifest.json               format, version, models, settings, how many documents
    documents-00000.jsonl       up to 1,024 documents, a line of JSON each
    vectors-00000.safetensors   their vectors: for each list the line numbers and the rows
    pictures/SHA256.EXT         every picture once

Nothing is written that :mod:`diptych.index.importing` refuses, which trusts nothing in it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from diptych.align.fusion_model import ConcatFusion
from diptych.errors import FormatError, MediaError, StorageError
from diptych.index.embed import Models
from diptych.index.json_lines import LINE_BYTES
from diptych.index.snapshot import Snapshot
from diptych.index.zipped import MAX_ENTRIES, RATIO
from diptych.report import AddReport, Failure
from diptych.reserved import merged
from diptych.storage import LocalStorage, Space, State
from diptych.storage.backup import copied_state
from diptych.types import Document

__all__ = [
    "CHUNK",
    "FORMAT",
    "MANIFEST_BYTES",
    "NAMES",
    "PART_BYTES",
    "VERSION",
    "export_folder",
    "lists_with_vectors",
]

FORMAT, VERSION = "diptych-export", 1
CHUNK = 1024
"""How many documents a part has at most."""

MANIFEST_BYTES, PART_BYTES = 1 << 25, 1 << 30
"""The most bytes that the manifest, and the documents or the vectors of a part, unpack to."""

_LINES_BYTES, _VECTOR_BYTES, _SLICE = 1 << 25, 1 << 27, 64
"""A part ends after so many bytes of lines or of vectors; so many documents are read at a time."""

_MODELS = Models(None, None, ConcatFusion(0, 0), None)
"""None: no vector is made here."""

NAMES = re.compile(
    rb"manifest\.json|documents-[0-9]{5,9}\.jsonl|vectors-[0-9]{5,9}\.safetensors|"
    rb"pictures/[0-9a-f]{64}\.[a-z]{3,4}"
)
"""What the entries of an export are called."""


def export_folder(folder: Path, file: Path) -> AddReport:
    """Write one committed state of an index into one file, which gets its name when it is whole.

    Raises:
        FormatError: There is no index, or something is at ``file`` already.
        StorageError: The disk failed or is full.
    """
    if file.exists():
        raise FormatError(
            f"Something is at {str(file)!r} already; an export never replaces a file. Choose another name."
        )
    partial, state = file.with_name(f"{file.name}.partial"), file.with_name(f"{file.name}.state")
    try:
        with copied_state(folder, state):
            storage = LocalStorage(state)
            try:
                with (
                    storage.reading() as found,
                    zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
                ):
                    report = _write(found, archive)
            finally:
                storage.close()
        with open(partial, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, file)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"The export to {str(file)!r} failed: {error.strerror or error}. Free space or fix the "
            "permissions and try again."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return report


def _write(state: State, archive: zipfile.ZipFile) -> AddReport:
    """Write the parts, then the manifest, which says how many documents there are."""
    database = state.database
    keys = np.empty(0, np.int64) if database is None else database.keys()
    failed: list[Failure] = []
    pictures: set[str] = set()
    part = _Part(state)
    number = written = 0
    step = min(_SLICE, CHUNK)
    for start in range(0, len(keys), step):
        slice_keys = keys[start : start + step].tolist()
        documents = Snapshot(state, _MODELS).documents(slice_keys)
        there = {
            name: index.has(keys[start : start + step]) for name, index in state.indexes.items()
        }
        for at, (key, document) in enumerate(zip(slice_keys, documents, strict=True)):
            picture = _put_picture(document, archive, pictures, failed)
            if picture is None and not document.has_text:
                continue
            lists = lists_with_vectors(document.has_text, picture is not None, state.spaces)
            line = _document_json(document, picture, [n for n in lists if not there[n][at]])
            if len(line) > LINE_BYTES:
                failed.append(Failure(document.id, document.source, _too_long(len(line))))
                continue
            if not part.takes(line):
                number, written = number + 1, written + part.write(archive, number)
            part.add(key, line, lost_picture=document.has_image and picture is None)
    written += part.write(archive, number) if part.lines else 0
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "documents": written,
        "lists": {name: _space_json(space) for name, space in state.spaces.items()},
        "settings": {} if database is None else database.settings(),
    }
    _put(archive, "manifest.json", json.dumps(manifest, indent=1).encode(), MANIFEST_BYTES)
    return AddReport(added=len(keys) - len({f.id for f in failed}), failed=tuple(failed))


class _Part:
    """The documents of a part that is being made, as lines, and their keys."""

    def __init__(self, state: State) -> None:
        self.lines: list[bytes] = []
        self._state = state
        self._keys: list[int] = []
        self._without_picture: set[int] = set()
        row = sum(8 + 4 * space.dim for space in state.spaces.values())
        self._most = max(1, min(CHUNK, _VECTOR_BYTES // max(row, 1)))
        self._size = 0

    def takes(self, line: bytes) -> bool:
        """Whether another document still belongs to this part."""
        is_full = len(self.lines) >= self._most or self._size + len(line) > _LINES_BYTES
        return not self.lines or not is_full

    def add(self, key: int, line: bytes, *, lost_picture: bool) -> None:
        """Add a document; the vector of a picture that could not be read is left out."""
        self.lines.append(line)
        self._keys.append(key)
        self._size += len(line)
        if lost_picture:
            self._without_picture.add(key)

    def write(self, archive: zipfile.ZipFile, number: int) -> int:
        """Write the part, begin the next one, and return how many documents were in it."""
        keys, count = np.asarray(self._keys, np.int64), len(self.lines)
        _put(archive, f"documents-{number:05}.jsonl", b"".join(self.lines), PART_BYTES)
        tensors: dict[str, NDArray[Any]] = {}
        for name, index in self._state.indexes.items():
            has = index.has(keys)
            if name == "image" and self._without_picture:
                has &= ~np.isin(keys, sorted(self._without_picture))
            rows = np.flatnonzero(has)
            tensors[f"{name}.rows"] = rows.astype(np.int64)
            tensors[f"{name}.vectors"] = index.vectors(keys[rows])
        archive.writestr(f"vectors-{number:05}.safetensors", save(tensors))
        self.__init__(self._state)  # type: ignore[misc]  # the same as a new one
        return count


def _put(archive: zipfile.ZipFile, name: str, content: bytes, limit: int) -> None:
    """Write an entry, packed unless it would unpack to so much more that an import refuses it."""
    if len(content) > limit:
        raise FormatError(
            f"The entry {name} of an export would have {len(content):,} bytes; at most {limit:,} can be "
            "imported again. Make the settings or the probes of the index smaller."
        )
    packs = len(zlib.compress(content, 6)) * RATIO >= len(content)
    kind = zipfile.ZIP_DEFLATED if packs else zipfile.ZIP_STORED
    archive.writestr(name, content, compress_type=kind)


def _put_picture(
    document: Document, archive: zipfile.ZipFile, pictures: set[str], failed: list[Failure]
) -> str | None:
    """Write the picture of a document, if it is new, and return what it is called."""
    if document.image is None:
        return None
    try:
        data = document.image.read()
        if len(pictures) >= MAX_ENTRIES // 2:
            raise MediaError(
                f"An export has room for {MAX_ENTRIES // 2:,} pictures. Use a backup instead."
            )
        picture = f"{document.image.sha256}.{document.image.mime.rpartition('/')[2]}"
    except MediaError as error:
        failed.append(Failure(document.id, document.source, str(error)))
        return None
    if picture not in pictures:
        archive.writestr(f"pictures/{picture}", data)
        pictures.add(picture)
    return picture


def lists_with_vectors(has_text: bool, has_picture: bool, spaces: Container[str]) -> list[str]:
    """Return the lists in which a document must have a vector."""
    own = [("text", has_text), ("image", has_picture)]
    lists = [name for name, has in own if has and name in spaces]
    return [*lists, "cross_modal"] if lists and "cross_modal" in spaces else lists


def _document_json(document: Document, picture: str | None, lacks: list[str]) -> bytes:
    """Return a document as a line.

    Args:
        document: What to write.
        picture: What its picture is called in the archive.
        lacks: The lists in which it has no vector although it should, because of a damage.
    """
    values: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "picture": picture,
        "picture_name": document.image.name if document.image else None,
        "metadata": merged(document.metadata, document.reserved),
        "group": document.group,
        "order": document.order,
    }
    if lacks:
        values["lacks"] = lacks
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _too_long(size: int) -> str:
    return (
        f"it takes {size:,} bytes as a line, and at most {LINE_BYTES:,} can be imported again; split "
        "its text"
    )


def _space_json(space: Space) -> dict[str, Any]:
    probe = None if space.probe is None else base64.b64encode(space.probe).decode()
    return {"dim": space.dim, "space": space.name, "fingerprint": space.fingerprint, "probe": probe}
