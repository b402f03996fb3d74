"""A text and picture encoder without a model: colours have meaning, other words are hashed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from diptych.encoders._colours import COLOURS, colour_of_word, colour_shares
from diptych.errors import InvalidArgument
from diptych.types import Image
from diptych.vectors import Vectors, unit_rows

__all__ = ["ToyEncoder"]

_VERSION = 1  # in space and fingerprint: to be raised with every change of what comes out
_MIN_DIM, _DIM = 32, 128
_WORD = re.compile(r"\w+")
_IGNORED = frozenset(
    _WORD.findall(
        "a an and are as at be by for from in is it its of on or that the this to was with"
    )
)


class ToyEncoder:
    """Encodes texts and pictures into one space, without downloads; for trying out and for tests.

    It understands colour and nothing else: "a red car" is near to pictures with much red. The
    first 11 dimensions are the basic colour terms of English (with synonyms, and a few things
    that have a typical colour, like the sky). In the others, every word has a pseudo-random
    direction, so that texts that share words are near to each other; pictures are zero there.

    Not for real use: it knows no synonyms, no other language, no shapes.

    Args:
        dim: The number of dimensions, at least 32. More of them keep words further apart.

    Raises:
        InvalidArgument: ``dim`` is too small.

    Example:
        >>> from diptych.encoders import ToyEncoder
        >>> encoder = ToyEncoder()
        >>> query, red, blue = encoder.encode_query(["crimson", "a red car", "the blue sea"])
        >>> bool(query @ red > query @ blue)
        True
    """

    dim: int
    space: str
    fingerprint: str
    recipe: str

    def __init__(self, dim: int = _DIM) -> None:
        if dim < _MIN_DIM:
            raise InvalidArgument(
                f"ToyEncoder got dim={dim}; expected at least {_MIN_DIM}: {len(COLOURS)} for "
                "colours, the others for words. Leave it out for 128."
            )
        self.dim = dim
        self.space = f"toy-{dim}"
        self.fingerprint = f"toy-{dim}-v{_VERSION}"
        self.recipe = f"toy:{dim}" if dim != _DIM else "toy"

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` unit rows; the same as :meth:`encode_document`."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` float32 unit rows.

        Texts without a word all have one direction of their own.
        """
        rows = [self._encode_text(text) for text in texts]
        return unit_rows(rows, rows=len(texts), dim=self.dim, origin="ToyEncoder")

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Return ``(len(images), dim)`` float32 unit rows: square roots of the colours' shares.

        The square root makes the shares, which sum to 1, a unit vector, and lets a small red thing
        on a large white ground still count as red.

        Raises:
            MediaError: A picture cannot be decoded.
        """
        rows = np.zeros((len(images), self.dim), np.float32)
        for row, image in zip(rows, images, strict=True):
            row[: len(COLOURS)] = np.sqrt(colour_shares(image.pil()))
        return unit_rows(rows, rows=len(images), dim=self.dim, origin="ToyEncoder")

    def _encode_text(self, text: str) -> NDArray[np.float64]:
        vector = np.zeros(self.dim)
        colours, words = vector[: len(COLOURS)], vector[len(COLOURS) :]
        for word in _words(text):
            colour = colour_of_word(word)
            if colour is not None:
                index, weight = colour
                colours[index] += weight
            if colour is None or weight < 1:
                words += _direction(word, len(words))
        if not vector.any():  # no words, or (never seen) directions that cancel out
            words += _direction("", len(words))
        return vector


def _words(text: str) -> list[str]:
    """Return the words that count, in lower case and singular (by a rule of thumb)."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [_singular(word) for word in found if word not in _IGNORED]


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


@lru_cache(maxsize=8192)
def _direction(word: str, dim: int) -> NDArray[np.float64]:
    """Return a unit vector of ± signs that depends on the word alone."""
    digest = hashlib.shake_256(word.encode("utf-8", "surrogatepass")).digest(-(-dim // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[:dim]
    vector: NDArray[np.float64] = (bits * 2.0 - 1.0) / np.sqrt(dim)
    vector.flags.writeable = False
    return vector
