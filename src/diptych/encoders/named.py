"""Encoders by name: what an index remembers, so that it can be opened again by its path alone."""

from __future__ import annotations

import os
import re
from typing import Any

from diptych.checks import shown, text_fault
from diptych.encoders.offline import OfflineTextEncoder
from diptych.encoders.open_clip import OpenClipEncoder
from diptych.encoders.sentence_transformers import SentenceTransformerEncoder
from diptych.encoders.toy import ToyEncoder
from diptych.errors import InvalidArgument

__all__ = ["HELP", "MODELS_SETTING", "load_encoders", "name_of", "needs_word"]

MODELS_SETTING = "models"
"""Under which name an index remembers its models."""

MOST_CHARS = 1_000
"""How long a name may be."""

_BUNDLED = re.compile(r"none|offline|toy(:[0-9]{1,5})?")

HELP = (
    "Which models to use, TEXT+IMAGE, one for both, or a text model alone. Text: offline (all-MiniLM-L6-v2 "
    "from its package), sentence-transformers:NAME. Image or both: open-clip:MODEL/TAG or open-clip:FOLDER, "
    "toy (pictures by colour only; for trying out). The index remembers them."
)


def load_encoders(name: str) -> tuple[Any, Any]:
    """Return the text encoder and the image encoder that a name stands for; None for "none".

    Args:
        name: ``TEXT+IMAGE``, or one name. "toy", "open-clip:MODEL/TAG" and "open-clip:FOLDER" alone are
            for both, "offline" and "sentence-transformers:NAME" alone for texts.

    Raises:
        InvalidArgument: The name is unknown.
        MissingExtra: What it needs is not installed.
    """
    if not isinstance(name, str) or len(name) > MOST_CHARS or text_fault(name) or "\0" in name:
        raise _unknown(name)
    text, plus, image = name.partition("+")
    if not plus:
        if text == "offline" or text.startswith("sentence-transformers:"):  # texts only
            return _text_encoder(text), None
        both = _image_encoder(text)
        return both, both
    return _text_encoder(text), None if image == "none" else _image_encoder(image)


def needs_word(name: str) -> bool:
    """Whether models must be named by the user, because loading them reads a folder or asks a server.

    Only what comes with diptych and its packages is loaded because an index says so.
    """
    return bool(name) and not all(_BUNDLED.fullmatch(part) for part in name.split("+"))


def name_of(text_encoder: object, image_encoder: object) -> str:
    """Return the name under which :func:`load_encoders` gives these encoders; "" if there is none.

    An encoder has one when it says so in an attribute ``recipe``.
    """
    recipes = [_recipe(encoder) for encoder in (text_encoder, image_encoder)]
    if not all(recipes) or any("+" in recipe for recipe in recipes) or recipes == ["none", "none"]:
        return ""
    if text_encoder is image_encoder:
        return recipes[0]
    return "+".join(recipes)


def _recipe(encoder: object) -> str:
    recipe = "none" if encoder is None else getattr(encoder, "recipe", "")
    return recipe if isinstance(recipe, str) else ""


def _text_encoder(name: str) -> Any:
    kind, _, rest = name.partition(":")
    if name == "none":
        return None
    if name == "offline":
        return OfflineTextEncoder()
    if kind == "sentence-transformers" and rest:
        return SentenceTransformerEncoder(rest)
    return _image_encoder(name)


def _image_encoder(name: str) -> Any:
    kind, _, rest = name.partition(":")
    if kind == "toy" and (not rest or rest.isdigit()):
        return ToyEncoder(int(rest)) if rest else ToyEncoder()
    if kind == "open-clip" and rest:
        if os.path.isdir(rest):  # also of a name that is too long to be a path
            return OpenClipEncoder.from_folder(rest)
        if rest.startswith("hf-hub:"):
            return OpenClipEncoder(rest)
        model, _, tag = rest.partition("/")
        return OpenClipEncoder(model, pretrained=tag or None)
    raise _unknown(name)


def _unknown(name: object) -> InvalidArgument:
    return InvalidArgument(f"Unknown model {shown(name)}; expected one of these. {HELP}")
