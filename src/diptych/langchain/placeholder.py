"""What stands in ``page_content`` for a picture without words."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath

from diptych.errors import DiptychError
from diptych.image import Image

__all__ = ["is_placeholder", "placeholder", "stands_for"]

_DIGITS = 8
"""How many hex digits of the SHA-256 are shown: two of a million pictures with one name are equal
with a probability of about 1e-4, and only then if their names are equal too."""

_ONE = r"\[picture:(?: [^\n]+?)? ([0-9a-f]{8})\]"
_PLACEHOLDERS = re.compile(rf"{_ONE}(?:\n\n{_ONE})*")


def placeholder(image: Image) -> str:
    """Return ``[picture: NAME HASH]``: the name without folders, 8 hex digits of the SHA-256.

    The parts of LangChain that merge lists tell documents apart by ``page_content``. This text is
    the same for one picture every time, and another one for another picture. A name that is not known
    is left out; so is the hash of a picture that can no longer be read.
    """
    name = " ".join(PureWindowsPath(image.name).name.split())  # takes both kinds of slashes
    try:
        digest = image.sha256[:_DIGITS]
    except (DiptychError, OSError):
        digest = ""
    return f"[{' '.join(part for part in ('picture:', name, digest) if part)}]"


def is_placeholder(text: str) -> bool:
    """Return whether a text is nothing but what :func:`placeholder` makes, once or several times."""
    return _PLACEHOLDERS.fullmatch(text.strip()) is not None


def stands_for(text: str, sha256: object) -> bool:
    """Return whether a text is the placeholder of the picture with this hash, under any name."""
    if not isinstance(sha256, str) or not sha256:
        return False
    found = re.fullmatch(_ONE, text.strip())
    return found is not None and found[1] == sha256[:_DIGITS]
