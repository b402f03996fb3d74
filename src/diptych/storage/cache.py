"""What approximate indexes know, kept for the next opening and believed only when we wrote it.

A file of the cache begins with an HMAC-SHA256 under a key of the user, over the content and over what it
belongs to: the index, the generation, the list, the kind. Whoever hands over a folder does not have the
key, so that what they put into it is not read at all; a damaged file does not fit either. In both cases
the index is built again.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from diptych.errors import FormatError, StorageError
from diptych.storage.files import Files
from diptych.storage.layout import CACHE

__all__ = ["CACHE", "read_cache", "user_folder", "user_key", "write_cache"]

_MAC_BYTES = 32
_log = logging.getLogger(__name__)


def user_key() -> bytes | None:
    """Return the key of this user, made at the first time; None where none can be kept."""
    path = user_folder() / "key"
    try:
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_MAC_BYTES))
            try:
                os.link(fresh, path)  # fails when another process was quicker
            except OSError:
                if not path.exists():
                    os.replace(fresh, path)
            fresh.unlink(missing_ok=True)
            key = path.read_bytes()
    except OSError as error:
        _log.info("Approximate indexes are not cached: %s", error)
        return None
    return key if len(key) >= _MAC_BYTES else None


def user_folder() -> Path:
    """Return the folder in which diptych keeps what belongs to this user, which need not be there."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "diptych"


def write_cache(
    folder: Path, name: str, belongs_to: str, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Keep what an approximate index knows; where that is not possible it is built again next time."""
    key = user_key()
    if key is None:
        return
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    try:
        Files(folder).write(f"{CACHE}/{name}", _mac(key, belongs_to, content) + content)
    except StorageError as error:
        _log.info("The approximate index %s was not cached: %s", name, error)


def read_cache(
    folder: Path, name: str, belongs_to: str, *, limit: int
) -> dict[str, NDArray[Any]] | None:
    """Return what an approximate index knew; None when nothing is kept, or it is not ours.

    Args:
        folder: The folder of the index.
        name: Of the file.
        belongs_to: What it must have been written for.
        limit: The most bytes that it can have.

    Raises:
        FormatError: There is a link or the like in its place.
    """
    files, place = Files(folder), f"{CACHE}/{name}"
    key = user_key() if files.has(place) else None
    if key is None:
        return None
    try:
        data = files.read(place, limit=limit)
    except FormatError:
        raise
    except StorageError:
        return None
    mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, belongs_to, content)):
        _log.info("%s is not from here, or damaged; the index is built again.", files.path(place))
        return None
    try:
        found: dict[str, NDArray[Any]] = load(content)
    except SafetensorError:
        return None
    return found


def _mac(key: bytes, belongs_to: str, content: bytes) -> bytes:
    digest = hashlib.sha256(content).digest()
    return hmac.new(key, belongs_to.encode() + b"\0" + digest, hashlib.sha256).digest()
