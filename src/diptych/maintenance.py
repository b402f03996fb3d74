"""Looking after the folder of an index: check and mend it, copy it, give it other models.

::

    verify(path)                  is everything as it was stored?
    verify(path, repair=True)     mend what can be mended
    backup(path, to)              a copy of one state, also while others write
    export_index(path, file)      one file for all of it; import_index(file, path) brings it back
    reembed(path, text, image)    the vectors of other models, for the documents that are there
    namespaces(path)              the indexes that share a folder

All of it can be done on the command line too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from diptych.align.fusion_model import ConcatFusion
from diptych.checks import checked_path, checked_settings
from diptych.encoders.named import MODELS_SETTING, name_of
from diptych.index import MultimodalIndex
from diptych.index.archive import export_folder
from diptych.index.compatible import check_encoders, spaces_of
from diptych.index.copy import copy_into_folder
from diptych.index.embed import Models
from diptych.index.importing import import_file
from diptych.index.probe import with_probes
from diptych.index.reembed import ReembedReport, reembed_folder
from diptych.protocols import FusionModel, ImageEncoder, TextEncoder
from diptych.report import AddReport
from diptych.storage.backup import BackupReport, backup_folder
from diptych.storage.maintenance import VerifyReport, verify_folder
from diptych.storage.namespaces import drop_namespace as _drop_namespace
from diptych.storage.namespaces import namespaces as _namespaces
from diptych.storage.verify import Problem

__all__ = [
    "BackupReport",
    "Problem",
    "ReembedReport",
    "VerifyReport",
    "backup",
    "copy_index",
    "drop_namespace",
    "export_index",
    "import_index",
    "namespaces",
    "reembed",
    "verify",
]

StrPath = str | os.PathLike[str]


def verify(
    path: StrPath, *, deep: bool = False, repair: bool = False, lock_timeout: float = 0.5
) -> VerifyReport:
    """Compare everything in an index with what it should be, and mend it when asked to.

    Checking changes nothing and can be done while others write. A repair throws nothing away: what is
    damaged is moved to the folder ``quarantine`` of the index. Documents whose vectors are lost stay,
    are found by their words, and get new ones from :func:`reembed` or by adding them again.

    Args:
        path: The folder of the index.
        deep: Compare every word, filter value and picture too, instead of whether they are there.
        repair: Mend what can be mended. Implies ``deep``.
        lock_timeout: How many seconds a repair waits for another writer.

    Raises:
        FormatError: There is no index, or one of a newer version.
        CorruptionError: The index can only be restored from a backup.
        StorageError: A repair was asked for, and a file could not be read, which is not damage.
        LockedError: Others are writing, also another object of this process, and a repair was asked for.
    """
    return verify_folder(
        checked_path("path", path), deep=deep, repair=repair, lock_timeout=lock_timeout
    )


def backup(path: StrPath, to: StrPath) -> BackupReport:
    """Copy an index to a new folder: one committed state, also while others write to it.

    Pictures that were left where they are (``images="reference"``) are not copied.

    Args:
        path: The folder of the index.
        to: Where the copy goes. Nothing, or an empty folder, may be there.

    Raises:
        FormatError: There is no index, or something is at ``to`` already.
        CorruptionError: The index is damaged; the copy is not kept.
        StorageError: The disk failed or is full.
    """
    return backup_folder(checked_path("path", path), checked_path("to", to))


def namespaces(path: StrPath) -> list[str]:
    """Return the names of the namespaces in a folder, sorted."""
    return _namespaces(checked_path("path", path))


def drop_namespace(path: StrPath, name: str, *, lock_timeout: float = 0.5) -> bool:
    """Remove a namespace with everything in it, and tell whether there was one.

    Args:
        path: The folder that the namespaces share.
        name: Which one.
        lock_timeout: How many seconds to wait for another writer.

    Raises:
        InvalidArgument: The name is none.
        LockedError: Others are writing to it, also another object of this process.
    """
    return _drop_namespace(checked_path("path", path), name, lock_timeout=lock_timeout)


def copy_index(index: MultimodalIndex, path: StrPath) -> None:
    """Make the index in a folder hold what another one holds, with its vectors; nothing is encoded.

    An index in memory is kept that way. What the folder holds and ``index`` does not is deleted.
    :func:`backup` is faster for an index that has a folder.

    Args:
        index: What to copy.
        path: The folder, of an index of the same models or of none.

    Raises:
        EncoderMismatch: The folder was filled with other models.
        LockedError: Another process is writing to the folder.
    """
    copy_into_folder(index, checked_path("path", path))


def export_index(path: StrPath, file: StrPath) -> AddReport:
    """Write an index into one file: one committed state, also while others write to it.

    The file is a zip archive of JSON lines, safetensors and pictures that any program can read.

    Args:
        path: The folder of the index.
        file: Where the export goes; nothing may be there.

    Returns:
        How many documents are in it, and whose picture could not be read.

    Raises:
        FormatError: There is no index, or something is at ``file`` already.
        CorruptionError: The index is damaged.
        StorageError: The disk failed or is full.
    """
    return export_folder(checked_path("path", path), checked_path("file", file))


def import_index(file: StrPath, path: StrPath, *, lock_timeout: float = 0.5) -> AddReport:
    """Store what an export holds in an index: a new one, or one of the same models.

    Nothing is encoded. Documents that are there already are replaced by those of the same id, or
    skipped where they are the same. An interrupted call can be repeated.

    Args:
        file: What :func:`export_index` wrote. Nothing in it is trusted.
        path: The folder of the index.
        lock_timeout: How many seconds to wait for another writer.

    Raises:
        FormatError: The file is no export, of a newer version, or damaged.
        EncoderMismatch: The index holds vectors of other models.
        LockedError: Another process is writing to the folder.
    """
    return import_file(
        checked_path("file", file), checked_path("path", path), lock_timeout=lock_timeout
    )


def reembed(
    path: StrPath,
    text_encoder: TextEncoder | None = None,
    image_encoder: ImageEncoder | None = None,
    *,
    fusion_model: FusionModel | None = None,
    batch_size: int = 64,
    show_progress: bool = False,
    settings: Mapping[str, str] | None = None,
    lock_timeout: float = 0.5,
) -> ReembedReport:
    """Give the documents of an index the vectors of other models, or those that they have lost.

    The old vectors count until all new ones are there; then these count, in one commit. Readers go on
    meanwhile. An interrupted call can be repeated and goes on where it was. The vectors of a model that
    stays the same are kept.

    Args:
        path: The folder of the index.
        text_encoder: The text encoder from now on.
        image_encoder: The image encoder from now on.
        fusion_model: As for ``MultimodalIndex``.
        batch_size: How many documents are encoded and stored together.
        show_progress: Show a progress bar on standard error.
        settings: Words to keep with the index.
        lock_timeout: How many seconds to wait for another writer.

    Raises:
        FormatError: There is no index.
        InvalidArgument: No encoder is given, or something that is none.
        VectorError: An encoder returned vectors that cannot be stored.
        LockedError: Another process is writing to the folder, or another call of this process gives the
            documents other vectors.
    """
    check_encoders(text_encoder, image_encoder, fusion_model)
    fusion = fusion_model or ConcatFusion(
        text_encoder.dim if text_encoder else 0, image_encoder.dim if image_encoder else 0
    )
    models = Models(text_encoder, image_encoder, fusion, None)
    return reembed_folder(
        checked_path("path", path),
        models,
        with_probes(spaces_of(models), models),
        batch_size=batch_size,
        show_progress=show_progress,
        # The old names must not stay when the new encoders have none.
        settings={
            MODELS_SETTING: name_of(text_encoder, image_encoder),
            **checked_settings(settings),
        },
        lock_timeout=lock_timeout,
    )
