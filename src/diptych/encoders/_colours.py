"""The eleven basic colours, in words and in pixels.

Berlin and Kay (1969, Basic Color Terms) found these eleven terms to be what English speakers agree
on. Pixels are assigned to the nearest sample in OKLab (Ottosson 2020,
https://bottosson.github.io/posts/oklab/), a space in which distance follows perception.
"""

from __future__ import annotations

import numpy as np
import PIL.Image
from numpy.typing import NDArray

__all__ = ["COLOURS", "colour_of_word", "colour_shares"]

# Each colour: samples of it in sRGB, then words for it.
_COLOURS: dict[str, tuple[str, str]] = {
    "black": ("000000 1c1c1c", "ebony jet onyx"),
    "white": ("ffffff f0f0f0", "ivory"),
    "grey": ("808080 555555 bebebe", "gray silver"),
    "red": ("ff0000 c81e1e 8b0000 dc3c3c", "scarlet crimson maroon ruby vermilion"),
    "green": ("00ff00 008000 3cb371 006400 90ee90 556b2f", "emerald olive lime jade"),
    "blue": ("0000ff 1e90ff 000080 4682b4 87ceeb 00bfff", "navy azure cyan turquoise teal"),
    "yellow": ("ffff00 f0d21e fff08c", "gold golden"),
    "orange": ("ff8c00 ffa500 f07828", "amber tangerine"),
    "brown": ("8b4513 5a3214 a0693c 3c1e0a d2b48c", "beige tan bronze"),
    "pink": ("ffc0cb ff69b4 ff1493 f08cb4", "magenta fuchsia rose"),
    "purple": ("800080 8a2be2 4b0082 b478dc", "violet lilac lavender indigo mauve"),
}
COLOURS = tuple(_COLOURS)
"""The basic colours, in the order of their dimensions."""

# A few things that have one typical colour.
_THINGS = {
    "snow": "white", "milk": "white", "swan": "white", "coal": "black", "night": "black",
    "blood": "red", "tomato": "red", "strawberry": "red", "sky": "blue", "sea": "blue",
    "ocean": "blue", "grass": "green", "leaf": "green", "forest": "green", "banana": "yellow",
    "lemon": "yellow", "sun": "yellow", "carrot": "orange", "pumpkin": "orange",
    "chocolate": "brown", "wood": "brown", "flamingo": "pink", "aubergine": "purple",
}  # fmt: skip

_SAMPLES_PER_SIDE = 96


def colour_of_word(word: str) -> tuple[int, float] | None:
    """Return ``(index in COLOURS, weight)`` of a lower-case word, or None.

    The weight is 1 for the name of a colour and 0.5 for a thing that has one.
    """
    return _WORDS.get(word)


def colour_shares(picture: PIL.Image.Image) -> NDArray[np.float64]:
    """Return the share of the pixels of an RGB picture that each of ``COLOURS`` has, ``(11,)``.

    Pixels are taken from a grid, not averaged, so that no colour appears that is not there.
    """
    side = _SAMPLES_PER_SIDE
    sampled = picture.resize((side, side), PIL.Image.Resampling.NEAREST)
    lab = _oklab(np.asarray(sampled).reshape(-1, 3))
    # |a - b|² without |a|², which is the same for all samples.
    distances = (_LAB**2).sum(axis=1) - 2 * lab @ _LAB.T
    nearest = _COLOUR_OF_SAMPLE[distances.argmin(axis=1)]
    return np.bincount(nearest, minlength=len(COLOURS)) / len(nearest)


def _oklab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(n, 3)`` OKLab of ``(n, 3)`` 8-bit sRGB; the matrices are Ottosson's."""
    linear = _LINEAR[rgb]
    cones = np.cbrt(linear @ _TO_CONES)
    return np.asarray(cones @ _TO_LAB, np.float32)


# The curve of sRGB (IEC 61966-2-1), for every 8-bit value.
_VALUES = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_VALUES <= 0.04045, _VALUES / 12.92, ((_VALUES + 0.055) / 1.055) ** 2.4)
_TO_CONES = np.array(
    [
        [0.4122214708, 0.2119034982, 0.0883024619],
        [0.5363325363, 0.6806995451, 0.2817188376],
        [0.0514459929, 0.1073969566, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 1.9779984951, 0.0259040371],
        [0.7936177850, -2.4285922050, 0.7827717662],
        [-0.0040720468, 0.4505937099, -0.8086757660],
    ],
    np.float32,
)
_WORDS: dict[str, tuple[int, float]] = {
    word: (index, 1.0)
    for index, (name, (_, synonyms)) in enumerate(_COLOURS.items())
    for word in (name, *synonyms.split())
} | {thing: (COLOURS.index(name), 0.5) for thing, name in _THINGS.items()}
_SAMPLES = [
    (index, list(bytes.fromhex(sample)))
    for index, (samples, _) in enumerate(_COLOURS.values())
    for sample in samples.split()
]
_COLOUR_OF_SAMPLE = np.array([index for index, _ in _SAMPLES])
_LAB = _oklab(np.array([sample for _, sample in _SAMPLES], np.uint8))
