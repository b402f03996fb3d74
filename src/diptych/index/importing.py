"""An export of unknown origin into an index: bounded in memory, and every damage said in words.

An archive is looked through as a whole first. Then each part is read: its documents line by line,
their vectors in pieces, their pictures one at a time when they are stored. A part is one commit;
one whose documents are heavy takes several.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.errors import EncoderMismatch
from diptych.index.add import plan_batch, row_of, settled, spaces_now
from diptych.index.archive import NAMES
from diptych.index.manifest import count_parts, read_manifest, settings_of, spaces_of
from diptych.index.origin import Origin, opened, shortened
from diptych.index.parts import Batch, batches
from diptych.index.zipped import Zipped
from diptych.report import AddReport
from diptych.storage import LocalStorage, Space, VectorRows

__all__ = ["import_file"]


def import_file(file: Path, folder: Path, *, lock_timeout: float) -> AddReport:
    """Store what an export holds in an index: a new one, or one of the same models.

    Documents are replaced by those of the same id. An interrupted call can be repeated.

    Raises:
        FormatError: The file is no export, of a newer version, or damaged.
        EncoderMismatch: The index holds vectors of other models.
        LockedError: Another process is writing to the folder.
        StorageError: A disk failed or is full.
    """
    origin = Origin(file)
    with opened(origin) as binary:
        with origin.reading():
            archive = Zipped(binary, os.fstat(binary.fileno()).st_size, NAMES)
            manifest = read_manifest(archive, origin)
            spaces = spaces_of(manifest, origin)
            settings = settings_of(manifest, origin)
            parts = count_parts(archive, origin)
        if not spaces and not parts:  # of an index into which nothing was ever added
            return AddReport()
        storage = LocalStorage(folder, lock_timeout=lock_timeout)
        try:
            if storage.is_new:
                storage.create(spaces, settings)
            _same_models(storage, spaces, file)
            return _import_parts(storage, archive, parts, spaces, manifest["documents"], origin)
        finally:
            storage.close()


def _import_parts(
    storage: LocalStorage,
    archive: Zipped,
    parts: int,
    spaces: Mapping[str, Space],
    expected: int,
    origin: Origin,
) -> AddReport:
    report, count = AddReport(), 0
    dims = {name: space.dim for name, space in spaces.items()}
    for number in range(parts):
        with closing(batches(archive, number, dims, origin)) as part:
            while True:
                with origin.reading():
                    batch = next(part, None)
                if batch is None:
                    break
                report += settled(storage, partial(_store, storage, batch, spaces, origin.file))
                count += len(batch.documents)
    if count != expected:
        origin.place = "manifest.json"
        raise origin.damaged(f"it counts {expected:,} documents, and the parts have {count:,}")
    return report


def _store(
    storage: LocalStorage, batch: Batch, spaces: Mapping[str, Space], file: Path
) -> AddReport:
    """Store documents in one commit.

    Raises:
        Conflict: Others have changed one of them, or the models, since they were looked up.
    """
    now = _same_models(storage, spaces, file)
    rows = {document.id: (document, row_of(document, None)) for document in batch.documents}
    at = {document.id: line for line, document in enumerate(batch.documents)}
    plan = plan_batch(storage, rows, replace=True)
    position = np.full(len(at), -1, np.int64)
    position[[at[change.document.id] for change in plan.changes]] = np.arange(len(plan.changes))
    vectors: VectorRows = {
        name: _of_changes(lines, found, position) for name, (lines, found) in batch.vectors.items()
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
    storage: LocalStorage, spaces: Mapping[str, Space], file: Path
) -> Mapping[str, Space]:
    """Return the models of the index, which must be those of the export."""
    now = spaces_now(storage)
    if now != spaces:
        raise EncoderMismatch(
            f"The export {str(file)!r} has vectors of {_named(spaces)}, and the index "
            f"{str(storage.path)!r} of {_named(now)}. Import it into a new folder, then reembed."
        )
    return now


def _of_changes(
    lines: NDArray[np.int64], vectors: NDArray[np.float32], position: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the vectors of the documents that are stored, by their position among them."""
    stored = position[lines] >= 0
    order = np.argsort(position[lines][stored])
    return position[lines][stored][order], np.ascontiguousarray(vectors[stored][order])


def _named(spaces: Mapping[str, Space]) -> str:
    named = (f"{shortened(space.name, 60)!r} ({space.dim}-d)" for space in spaces.values())
    return ", ".join(named) or "no model"
