"""The encoders that an index was filled with, loaded again by the names that it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych.encoders.named import MODELS_SETTING, load_encoders
from diptych.errors import FormatError, InvalidArgument
from diptych.storage import LocalStorage

__all__ = ["encoders_of"]


def encoders_of(folder: Path) -> tuple[Any, Any]:
    """Return the text encoder and the image encoder of the index in a folder.

    Raises:
        FormatError: There is no index.
        InvalidArgument: It remembers no names, or one that means nothing here.
        MissingExtra: A model needs a package that is not installed.
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
    finally:
        storage.close()
    name = settings.get(MODELS_SETTING, "")
    if not name:
        raise InvalidArgument(
            f"The index {str(folder)!r} does not say how to load its models: they are not diptych's "
            "own, or were given options. Open it with MultimodalIndex(text_encoder, image_encoder, "
            "path=…), with the encoders that it was filled with."
        )
    return load_encoders(name)
