"""The encoders that an index was filled with, loaded again by the names that it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.encoders.named import MODELS_SETTING, load_encoders
from diptych.errors import FormatError, InvalidArgument
from diptych.index.trust import is_trusted
from diptych.storage import LocalStorage

__all__ = ["encoders_of", "stored_models"]


def encoders_of(folder: Path, models: str | None = None) -> tuple[Any, Any]:
    """Return the text encoder and the image encoder of the index in a folder.

    Args:
        folder: The folder of the index.
        models: The names of the models, by the user's word; None for those that the index remembers.

    Raises:
        FormatError: There is no index.
        InvalidArgument: It remembers no names, or one that means nothing here, or that is not trusted.
        MissingExtra: A model needs a package that is not installed.
    """
    name = stored_models(folder, check=models is None)
    if models is not None:
        return load_encoders(models)
    if not name:
        raise InvalidArgument(
            f"The index {str(folder)!r} does not say how to load its models: they are not diptych's "
            "own, or were given options. Open it with MultimodalIndex(text_encoder, image_encoder, "
            "path=…), with the encoders that it was filled with."
        )
    return load_encoders(name)


def stored_models(folder: Path, *, check: bool = True) -> str:
    """Return the names of the models that an index remembers; empty when it remembers none.

    Raises:
        FormatError: There is no index.
        InvalidArgument: They are a folder or on a hub, and this user has never named them for this index.
    """
    storage = LocalStorage(folder)
    try:
        if storage.is_new:
            raise FormatError(
                f"There is no index at {str(folder)!r}. Give the folder of one, or make one with "
                "MultimodalIndex(text_encoder, image_encoder, path=…)."
            )
        with storage.reading() as state:
            settings = state.database.settings() if state.database else {}
            identity = state.database.identity() if state.database else ""
    finally:
        storage.close()
    name = settings.get(MODELS_SETTING, "")
    if check and name and not is_trusted(identity, name):
        shown = repr(name if len(name) <= 120 else f"{name[:119]}…")
        raise InvalidArgument(
            f"The index {str(folder)!r} says that its models are {shown}, a folder or a model of a hub that "
            "you have not named for this index before, so that nothing was loaded: it may come from "
            "somebody else. If these are the models that you want, name them once: "
            "MultimodalIndex.open(path, models=…), or --models on the command line."
        )
    return name
