"""An index as one file, and back: a zip archive that any program can read.

::

    manifest.json               format, version, models, settings, how many documents
    documents-00000.jsonl       up to 1,024 documents, a line each
    vectors-00000.safetensors   their vectors: for each list the line numbers and the rows
    pictures/SHA256.EXT         every picture once

Nothing in it is run or trusted: names, sizes, hashes, shapes and values are checked on import.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from diptych.align.fusion_model import ConcatFusion
from diptych.errors import EncoderMismatch, FormatError, MediaError, StorageError
from diptych.image import Image
from diptych.index.add import plan_batch, row_of, settled, spaces_now
from diptych.index.embed import Models
from diptych.index.snapshot import Snapshot
from diptych.media import MAX_BYTES
from diptych.report import AddReport, Failure
from diptych.storage import LocalStorage, Space, State
from diptych.storage.backup import copy_state
from diptych.types import Document
from diptych.vectors import as_vectors

__all__ = ["export_folder", "import_file"]

FORMAT, VERSION = "diptych-export", 1
CHUNK = 1024
MANIFEST_BYTES = 1 << 20
CHUNK_BYTES = 1 << 30
"""The most bytes that the documents or the vectors of one chunk may unpack to."""

_MODELS = Models(None, None, ConcatFusion(0, 0), None)
"""None: no vector is made here."""

_NAMES = re.compile(
    r"manifest\.json|documents-\d{5,}\.jsonl|vectors-\d{5,}\.safetensors|pictures/[0-9a-f]{64}\.[a-z]{3,4}"
)


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
        if state.exists():  # of an export that was killed
            shutil.rmtree(state)
        state.mkdir(parents=True)
        copy_state(folder, state)
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
        shutil.rmtree(state, ignore_errors=True)
    return report


def import_file(file: Path, folder: Path, *, lock_timeout: float) -> AddReport:
    """Store what an export holds in an index: a new one, or one of the same models.

    Documents are replaced by those of the same id. An interrupted call can be repeated.

    Raises:
        FormatError: The file is no export, of a newer version, or damaged.
        EncoderMismatch: The index holds vectors of other models.
        LockedError: Another process or object is writing to the folder.
    """
    storage = LocalStorage(folder, lock_timeout=lock_timeout)
    try:
        with _opened(file) as archive:
            manifest = _manifest(archive, file)
            spaces = _spaces(manifest, file)
            if storage.is_new:
                settings = {str(k): str(v) for k, v in dict(manifest.get("settings", {})).items()}
                storage.create(spaces, settings)
            _same_models(storage, spaces, archive)
            report, number = AddReport(), 0
            while f"documents-{number:05}.jsonl" in archive.namelist():
                try:
                    part = partial(_read_chunk, storage, archive, number, spaces)
                    report += settled(storage, part)
                except EncoderMismatch:
                    raise
                except (
                    ValueError,
                    TypeError,
                    KeyError,
                    SafetensorError,
                    zipfile.BadZipFile,
                ) as error:
                    raise _damaged(file, f"part {number}: {error}") from error
                number += 1
        return report
    finally:
        storage.close()


# -- writing --------------------------------------------------------------------------------


def _write(state: State, archive: zipfile.ZipFile) -> AddReport:
    database = state.database
    keys = np.empty(0, np.int64) if database is None else database.keys()
    settings = {} if database is None else database.settings()
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "documents": len(keys),
        "lists": {name: _space_json(space) for name, space in state.spaces.items()},
        "settings": settings,
    }
    archive.writestr("manifest.json", json.dumps(manifest, indent=1))
    failed: list[Failure] = []
    pictures: set[str] = set()
    for number, start in enumerate(range(0, len(keys), CHUNK)):
        part = keys[start : start + CHUNK]
        documents = Snapshot(state, _MODELS).documents(part.tolist())
        lines = [_document_json(d, archive, pictures, failed) for d in documents]
        archive.writestr(
            f"documents-{number:05}.jsonl", "".join(lines), compress_type=zipfile.ZIP_DEFLATED
        )
        tensors: dict[str, NDArray[Any]] = {}
        for name, index in state.indexes.items():
            rows = np.flatnonzero(index.has(part))
            tensors[f"{name}.rows"] = rows.astype(np.int64)
            tensors[f"{name}.vectors"] = index.vectors(part[rows])
        archive.writestr(f"vectors-{number:05}.safetensors", save(tensors))
    return AddReport(added=len(keys) - len(failed), failed=tuple(failed))


def _document_json(
    document: Document, archive: zipfile.ZipFile, pictures: set[str], failed: list[Failure]
) -> str:
    picture = None
    if document.image is not None:
        try:
            data = document.image.read()
            picture = f"{document.image.sha256}.{document.image.mime.rpartition('/')[2]}"
            if picture not in pictures:
                archive.writestr(f"pictures/{picture}", data)
                pictures.add(picture)
        except MediaError as error:
            failed.append(Failure(document.id, document.source, str(error)))
    values = {
        "id": document.id,
        "text": document.text,
        "picture": picture,
        "picture_name": document.image.name if document.image else None,
        "metadata": document.metadata,
        "group": document.group,
        "order": document.order,
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def _space_json(space: Space) -> dict[str, Any]:
    probe = None if space.probe is None else base64.b64encode(space.probe).decode()
    return {"dim": space.dim, "space": space.name, "fingerprint": space.fingerprint, "probe": probe}


# -- reading --------------------------------------------------------------------------------


def _opened(file: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError as error:
        raise FormatError(f"There is no file {str(file)!r}. Give an export of an index.") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(file, str(error)) from error
    names = archive.namelist()
    strange = [name for name in names if not _NAMES.fullmatch(name)]
    if strange or len(set(names)) < len(names):
        archive.close()
        raise _damaged(file, f"it holds {strange[0][:60]!r}" if strange else "a name occurs twice")
    return archive


def _manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_member(archive, "manifest.json", MANIFEST_BYTES))
        is_ours = manifest["format"] == FORMAT
        version = int(manifest["version"])
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(file, f"its manifest cannot be read ({error})") from error
    if not is_ours:
        raise _damaged(file, "its manifest is that of something else")
    if version > VERSION:
        raise FormatError(
            f"The export {str(file)!r} has version {version}, this diptych reads up to {VERSION}. "
            "Install a newer diptych to import it."
        )
    found: dict[str, Any] = manifest
    return found


def _spaces(manifest: Mapping[str, Any], file: Path) -> dict[str, Space]:
    try:
        spaces = {}
        for name, space in manifest["lists"].items():
            probe = space.get("probe")
            spaces[name] = Space(
                int(space["dim"]),
                str(space["space"]),
                str(space["fingerprint"]),
                None if probe is None else base64.b64decode(probe, validate=True),
            )
            wrong = spaces[name].probe is not None and len(spaces[name].probe or b"") != 4 * int(
                space["dim"]
            )
            if (
                name not in ("text", "image", "cross_modal")
                or wrong
                or not 0 < spaces[name].dim < 1 << 20
            ):
                raise ValueError(f"the list {name!r} cannot be")
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise _damaged(file, f"its models cannot be read ({error})") from error
    return spaces


def _read_chunk(
    storage: LocalStorage, archive: zipfile.ZipFile, number: int, spaces: Mapping[str, Space]
) -> AddReport:
    """Store the documents of one part in one commit."""
    now = _same_models(storage, spaces, archive)
    lines = _member(archive, f"documents-{number:05}.jsonl", CHUNK_BYTES).split(b"\n")
    documents = [_document(json.loads(line), archive) for line in lines if line]
    tensors = load(_member(archive, f"vectors-{number:05}.safetensors", CHUNK_BYTES))
    rows = {d.id: (d, row_of(d, None)) for d in documents}
    if len(rows) < len(documents) or len(documents) > CHUNK:
        raise ValueError("two documents share an id, or there are too many")
    plan = plan_batch(storage, rows, replace=True)
    at = {document.id: line for line, document in enumerate(documents)}
    position = np.full(len(documents), -1, np.int64)
    position[[at[change.document.id] for change in plan.changes]] = np.arange(len(plan.changes))
    vectors = {
        name: _vectors(tensors, name, space.dim, documents, position)
        for name, space in spaces.items()
    }
    storage.write(
        [change.row for change in plan.changes],
        [change.document.image for change in plan.changes],
        vectors,
        replaced=[change.replaced for change in plan.changes if change.replaced],
        updated=plan.relabelled,
        spaces=now,
    )
    added = sum(1 for change in plan.changes if not change.replaced)
    updated = len(plan.changes) - added + len(plan.relabelled)
    return AddReport(added=added, updated=updated, skipped=len(plan.skipped))


def _same_models(
    storage: LocalStorage, spaces: Mapping[str, Space], archive: zipfile.ZipFile
) -> Mapping[str, Space]:
    """Return the models of the index, which must be those of the export."""
    now = spaces_now(storage)
    if now != spaces:
        raise EncoderMismatch(
            f"The export {str(archive.filename)!r} has vectors of {_named(spaces)}, and the index "
            f"{str(storage.path)!r} of {_named(now)}. Import it into a new folder, then reembed."
        )
    return now


def _vectors(
    tensors: Mapping[str, NDArray[Any]],
    name: str,
    dim: int,
    documents: list[Document],
    position: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the vectors of one list for the documents that are stored, by their position."""
    lines = tensors[f"{name}.rows"]
    if lines.dtype != np.int64 or lines.ndim != 1 or np.any(np.diff(lines) <= 0):
        raise ValueError(f"the lines of {name} are not ascending numbers")
    if len(lines) and not 0 <= lines[0] <= lines[-1] < len(documents):
        raise ValueError(f"the lines of {name} are not those of documents")
    if name != "cross_modal" and not all(
        getattr(documents[i], f"has_{name}") for i in lines.tolist()
    ):
        raise ValueError(f"a document without {name} has a vector in {name}_index")
    vectors = as_vectors(
        tensors[f"{name}.vectors"], rows=len(lines), dim=dim, origin=f"The export, for {name},"
    )
    stored = position[lines] >= 0
    order = np.argsort(position[lines][stored])
    return position[lines][stored][order], np.ascontiguousarray(vectors[stored][order])


def _document(values: Mapping[str, Any], archive: zipfile.ZipFile) -> Document:
    image = None
    if values["picture"] is not None:
        name = f"pictures/{values['picture']}"
        if not _NAMES.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is no picture of an export")
        data = _member(archive, name, MAX_BYTES)
        image = Image(data, name=str(values["picture_name"] or ""), sha256=name[9:73])
        image.read()
        _ = image.header
    return Document(
        values["text"],
        image,
        id=values["id"],
        metadata=values["metadata"],
        group=values["group"],
        order=values["order"],
    )


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as member:
        data = member.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{name} unpacks to more than {limit:,} bytes")
    return data


def _damaged(file: Path, reason: str) -> FormatError:
    return FormatError(
        f"{str(file)!r} is no export of an index, or a damaged one: {reason}. What was read before that is "
        "stored; export the index again."
    )


def _named(spaces: Mapping[str, Space]) -> str:
    return ", ".join(f"{space.name!r} ({space.dim}-d)" for space in spaces.values()) or "no model"
