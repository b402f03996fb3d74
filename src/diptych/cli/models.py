"""The models that a command works with, loaded without a bar over ours."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from diptych.encoders.named import HELP, MODELS_SETTING, load_encoders

__all__ = ["DEFAULT", "HELP", "MODELS_SETTING", "load_models"]

DEFAULT = "offline+toy"


def load_models(name: str) -> tuple[Any, Any]:
    """Return what :func:`diptych.encoders.named.load_encoders` does.

    Transformers would draw a bar over ours for a model that loads in a moment.
    """
    if importlib.util.find_spec("transformers") is not None:
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
    return load_encoders(name)
