"""One safetensors file for one fitted model: arrays, and JSON in its header. Loading runs no code."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from diptych.checks import checked_path
from diptych.errors import CorruptionError, FormatError, StorageError
from diptych.vectors import Vectors

__all__ = ["read_tensors", "write_tensors"]

ENTRY = "diptych"
VERSION = 1

Shapes = Mapping[str, tuple[int, ...]]


def write_tensors(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, Vectors],
    settings: Mapping[str, Any],
) -> None:
    """Write float32 arrays and JSON settings; the file appears whole or not at all.

    Raises:
        StorageError: The file cannot be written.
    """
    target = checked_path("path", path)
    head = json.dumps({"format": kind, "version": VERSION, "settings": settings}, sort_keys=True)
    # One entry: safetensors writes several in random order, and equal models shall be equal files.
    raw = to_bytes(
        {name: np.ascontiguousarray(each) for name, each in tensors.items()}, {ENTRY: head}
    )
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(
            f"The file {str(target)!r} cannot be written: {error}. Nothing was changed."
        ) from error


def read_tensors(
    path: str | os.PathLike[str], kind: str, names: Mapping[str, int]
) -> tuple[dict[str, Vectors], dict[str, Any]]:
    """Return the arrays and settings of a file of that kind, checked.

    Args:
        path: The file.
        kind: What it has to call itself.
        names: The arrays it has to hold, all of them float32, and how many dimensions each has.

    Raises:
        StorageError: The file cannot be read.
        FormatError: It is another kind of file, or of a newer version.
        CorruptionError: Other arrays than expected, or values that are not finite.
    """
    source = checked_path("path", path)
    try:
        # Looked at first: a missing file is to be told from a damaged one, and a pipe would be waited for.
        if not stat.S_ISREG(source.stat().st_mode):
            raise FormatError(
                f"{str(path)!r} cannot be read: it is not a regular file. Give the path of a {kind} file."
            )
        with source.open("rb"), safe_open(str(source), framework="np") as file:
            settings = _settings((file.metadata() or {}).get(ENTRY), kind, path)
            _check_layout(file, names, path)
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FormatError(
            f"{str(path)!r} is no {kind} file, or a damaged one: {error}. Save the model again."
        ) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{str(path)!r} cannot be read: {error}.") from error
    for name, each in tensors.items():
        if not np.isfinite(each).all():
            raise CorruptionError(f"{str(path)!r} has NaN or infinite values in {name!r}.")
    return tensors, settings


def _settings(entry: str | None, kind: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    if entry is None:
        raise FormatError(f"{str(path)!r} is a safetensors file of another program, no {kind}.")
    try:
        head = json.loads(entry)
    except (ValueError, RecursionError) as error:
        raise CorruptionError(f"{str(path)!r} has an unreadable header: {error}.") from error
    if not isinstance(head, dict) or not isinstance(head.get("settings"), dict):
        raise CorruptionError(f"{str(path)!r} has a header that is no JSON object with settings.")
    if head.get("format") != kind:
        raise FormatError(f"{str(path)!r} is no {kind}: its format is {head.get('format')!r:.80}.")
    if head.get("version") != VERSION:
        raise FormatError(
            f"{str(path)!r} has version {head.get('version')!r:.20} of the {kind} format, and this "
            f"diptych reads version {VERSION}. Upgrade diptych, or fit and save again."
        )
    return dict(head["settings"])


def _check_layout(file: Any, names: Mapping[str, int], path: str | os.PathLike[str]) -> None:
    """Compare names, types and dimensions before a byte of an array is read."""
    if set(file.keys()) != set(names):
        odd = sorted(set(file.keys()) ^ set(names))
        raise CorruptionError(
            f"{str(path)!r} has other arrays than expected: {', '.join(odd[:6])!r:.200}."
        )
    for name, dimensions in names.items():
        part = file.get_slice(name)
        shape, dtype = part.get_shape(), part.get_dtype()
        if dtype != "F32" or len(shape) != dimensions or 0 in shape:
            raise CorruptionError(
                f"{str(path)!r} has {name!r} as {dtype} of shape {tuple(shape)}; float32 with "
                f"{dimensions} dimensions was expected."
            )
