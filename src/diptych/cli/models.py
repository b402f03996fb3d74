"""Which models a command works with, in one word that the index remembers."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from diptych.encoders import (
    OfflineTextEncoder,
    OpenClipEncoder,
    SentenceTransformerEncoder,
    ToyEncoder,
)
from diptych.errors import InvalidArgument

__all__ = ["DEFAULT", "HELP", "MODELS_SETTING", "load_models"]

DEFAULT = "offline+toy"

MODELS_SETTING = "models"
"""Under which name an index remembers its models."""

HELP = (
    "Which models to use, TEXT+IMAGE or one for both. Text: offline (all-MiniLM-L6-v2 from its package), "
    "sentence-transformers:NAME. Image or both: open-clip:MODEL/TAG or open-clip:FOLDER, toy (pictures by "
    "colour only; for trying out). The index remembers them."
)


def load_models(name: str) -> tuple[Any, Any]:
    """Return the text encoder and the image encoder that a name stands for.

    Raises:
        InvalidArgument: The name is unknown.
        MissingExtra: What it needs is not installed.
    """
    _silence_loading_bars()
    text, plus, image = name.partition("+")
    if not plus:
        both = _image_encoder(text)
        return both, both
    return _text_encoder(text), _image_encoder(image)


def _silence_loading_bars() -> None:
    """Keep transformers from drawing a bar over ours for a model that loads in a moment."""
    if importlib.util.find_spec("transformers") is not None:
        importlib.import_module("transformers.utils.logging").disable_progress_bar()


def _text_encoder(name: str) -> Any:
    kind, _, rest = name.partition(":")
    if name == "offline":
        return OfflineTextEncoder()
    if kind == "sentence-transformers" and rest:
        return SentenceTransformerEncoder(rest)
    return _image_encoder(name)


def _image_encoder(name: str) -> Any:
    kind, _, rest = name.partition(":")
    if name == "toy":
        return ToyEncoder()
    if kind == "open-clip" and rest:
        if Path(rest).is_dir():
            return OpenClipEncoder.from_folder(rest)
        model, _, tag = rest.partition("/")
        return OpenClipEncoder(model, pretrained=tag or None)
    raise InvalidArgument(f"Unknown model {name!r}. {HELP}")
