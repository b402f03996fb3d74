"""The manifest of an export of unknown origin: version, models, settings, and which parts there are."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.errors import FormatError
from diptych.index.archive import FORMAT, MANIFEST_BYTES, VERSION
from diptych.index.json_lines import parse
from diptych.index.origin import Origin, shortened
from diptych.index.zipped import Zipped
from diptych.metadata import checked_string
from diptych.storage import Space

__all__ = ["count_parts", "read_manifest", "settings_of", "spaces_of"]


def read_manifest(archive: Zipped, origin: Origin) -> dict[str, Any]:
    """Return the manifest; its version and its number of documents are counts.

    Raises:
        FormatError: It is of a newer version.
        ValueError: There is none, or it is damaged.
    """
    origin.place = "manifest.json"
    try:
        manifest = parse(archive.read("manifest.json", MANIFEST_BYTES)).value
        is_ours = manifest["format"] == FORMAT
        version, documents = manifest["version"], manifest.get("documents")
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its manifest cannot be read ({error})") from error
    if not is_ours:
        raise ValueError("its manifest is that of something else")
    if type(version) is not int or version < 1:
        raise ValueError("its manifest cannot be read (the version is not a number)")
    if version > VERSION:
        raise FormatError(
            f"The export {str(origin.file)!r} has version {shortened(str(version), 20)}, this diptych "
            f"reads up to {VERSION}. Install a newer diptych to import it."
        )
    if type(documents) is not int or documents < 0:
        raise ValueError("its manifest cannot be read (the number of documents is not a count)")
    found: dict[str, Any] = manifest
    return found


def spaces_of(manifest: Mapping[str, Any], origin: Origin) -> dict[str, Space]:
    """Return the models of the vectors, by list.

    Raises:
        ValueError: They are not described as an export does.
    """
    origin.place = "manifest.json"
    try:
        return {name: _space(name, space) for name, space in manifest["lists"].items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"its models cannot be read ({error})") from error


def _space(name: str, space: Mapping[str, Any]) -> Space:
    dim, probe = space["dim"], space.get("probe")
    for key in ("space", "fingerprint"):
        checked_string(space[key], key, name)
    if name not in ("text", "image", "cross_modal"):
        raise ValueError(f"there is no list {name[:60]!r}")
    if type(dim) is not int or not 0 < dim < 1 << 20:
        raise ValueError(f"the list {name!r} cannot have such a dimension")
    made = None if probe is None else base64.b64decode(probe, validate=True)
    if made is not None and (
        len(made) != 4 * dim or not np.isfinite(np.frombuffer(made, "<f4")).all()
    ):
        raise ValueError(f"the probe of the list {name!r} is not a vector of its dimension")
    return Space(dim, space["space"], space["fingerprint"], made)


def settings_of(manifest: Mapping[str, Any], origin: Origin) -> dict[str, str]:
    """Return the settings of the index.

    Raises:
        ValueError: They are not texts.
    """
    origin.place = "manifest.json"
    settings = manifest.get("settings", {})
    if not isinstance(settings, dict):
        raise ValueError("its settings are not an object")
    for name, value in settings.items():
        checked_string(name, "the name of a setting", "manifest", is_name=True)
        checked_string(value, "a setting", "manifest")
    return settings


def count_parts(archive: Zipped, origin: Origin) -> int:
    """Return how many parts there are; each has documents and vectors, numbered without a gap.

    Raises:
        ValueError: One is missing, or has another number.
    """
    origin.place = ""
    count = len(archive.names("documents-"))
    for kind, ending in (("documents", "jsonl"), ("vectors", "safetensors")):
        found = set(archive.names(f"{kind}-"))
        expected = {f"{kind}-{number:05}.{ending}" for number in range(count)}
        if found != expected:
            raise ValueError(f"{min(found ^ expected)} is missing, or does not belong to it")
    return count
