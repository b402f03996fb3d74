"""Which closed-form map, how much shrinkage, how many dimensions: decided on held-out groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diptych.align._rows import unit
from diptych.align.linear import (
    Moments,
    Side,
    anchored,
    csa,
    identity,
    moments,
    procrustes,
    ridge,
)
from diptych.align.loss import best_temperature
from diptych.align.projector import Crossing, LinearPair, Maps, Projector
from diptych.align.scores import HeldOut
from diptych.align.split import Split
from diptych.vectors import Vectors

__all__ = ["METHODS", "Choice", "Ranks", "Setting", "assemble", "build", "choose", "measure"]

METHODS = ("csa", "procrustes", "ridge_to_image", "ridge_to_text")
SHARED_METHODS = ("identity", "anchored", *METHODS)
"""The identity comes first: where a method is no better, nothing is changed."""

SHRINKAGE = (0.1, 0.3, 0.6, 0.9)
RANKS = (32, 64, 128, 256, 512)
PENALTIES = (0.3, 1.0, 3.0)
ANCHORS = (1.0, 10.0, 100.0, float("inf"))
STRENGTHS = (0.0, 0.1, 0.2, 0.4)
"""The score at which a crossing corrects for length: matching pairs have cosines of about this."""

TEMPERATURE = 0.05
"""Where there are no held-out pairs to fit it on."""

Found = NDArray[np.float64]
Figures = NDArray[np.float64]
Fold = tuple[Moments, Vectors, Vectors, HeldOut]
"""Statistics and rows of the fitted pairs, and the pairs held out of them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A method with its shrinkage or penalty (one number, or text and image) and its rank."""

    method: str
    shrinkage: tuple[float, ...] = ()
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The best setting of a method, with what else validation pairs decide.

    Attributes:
        setting: Method, shrinkage, rank.
        to_image: Strength of the length correction of the crossing from text to image.
        to_text: The same from image to text.
        mrr: Mean reciprocal rank in validation, over the four ways to search.
        temperature: Of the loss, before any other than the default has been fitted.
    """

    setting: Setting
    to_image: float = 0.0
    to_text: float = 0.0
    mrr: float = 0.0
    temperature: float = TEMPERATURE


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of held-out pairs, in the common space and in the other encoder's own space."""

    text_to_image: Found
    image_to_text: Found
    in_place_text_to_image: Found
    in_place_image_to_text: Found

    @property
    def all(self) -> tuple[Found, Found, Found, Found]:
        """The four, in the order of the attributes."""
        return (
            self.text_to_image, self.image_to_text,
            self.in_place_text_to_image, self.in_place_image_to_text,
        )  # fmt: skip

    def reciprocal(self) -> Found:
        """Return 1 / rank of each query, all four after each other."""
        return 1.0 / np.concatenate(self.all)


def choose(text: Vectors, image: Vectors, split: Split, *, shared: bool) -> list[Choice]:
    """Return the best setting of each method, the best method first.

    Settings are compared by mean reciprocal rank over both directions, in the common space and in
    place, so that a map which only serves one of the four does not win. Over folds the geometric
    mean counts: one fold that is easy, for sharing pictures with the others, does not decide.
    """
    folds = [
        (moments(text[fit], image[fit]), text[fit], image[fit], HeldOut.of(text[held], image[held]))
        for fit, held in split.folds
    ]
    # Of all folds, so that each setting is tried in each.
    limit = min(_most_dimensions(found, len(rows)) for found, rows, *_ in folds)
    totals: dict[Setting, float] = {}
    for found, _, _, held in folds:
        for setting, mrr in _tried(found, held, limit, shared):
            totals[setting] = totals.get(setting, 0.0) + math.log(mrr) * len(held.text)
    best: dict[str, Setting] = {}
    for setting, total in totals.items():
        if setting.method not in best or total > totals[best[setting.method]]:
            best[setting.method] = setting
    choices = [_completed(setting, folds) for setting in best.values()]
    return sorted(choices, key=lambda choice: -choice.mrr)


def build(found: Moments, setting: Setting) -> LinearPair:
    """Return the pair of projectors of one setting."""
    if setting.method == "csa":
        g_text, g_image = setting.shrinkage
        return csa(found, (g_text, g_image), setting.rank)
    if setting.method == "procrustes":
        return procrustes(found, setting.rank)
    if setting.method == "identity":
        return identity(found.text.dim)
    (penalty,) = setting.shrinkage
    if setting.method == "anchored":
        return anchored(found, penalty)
    return ridge(found, penalty, to=setting.method.removeprefix("ridge_to_"))


def assemble(choice: Choice, found: Moments, text: Vectors, image: Vectors) -> Maps:
    """Return the maps of a choice, fitted on these rows, from which ``found`` was made."""
    pair = build(found, choice.setting)
    return Maps(
        pair,
        _crossing(pair.text, pair.image, found.image, image, choice.to_image),
        _crossing(pair.image, pair.text, found.text, text, choice.to_text),
    )


def measure(maps: Maps, held: HeldOut) -> Ranks:
    """Return how held-out pairs are found by maps that were fitted on other pairs."""
    scores = maps.pair.text(held.text) @ maps.pair.image(held.image).T
    return Ranks(
        held.text_to_image(scores),
        held.image_to_text(scores.T),
        held.text_to_image(maps.to_image(held.text) @ held.image.T),
        held.image_to_text(maps.to_text(held.image) @ held.text.T),
    )


def _most_dimensions(found: Moments, pairs: int) -> int:
    """Return the highest rank to try: a quarter of the pairs, which is what they can tell."""
    return min(len(found.text.values), len(found.image.values), max(pairs // 4, 1), RANKS[-1])


def _tried(
    found: Moments, held: HeldOut, limit: int, shared: bool
) -> Iterator[tuple[Setting, float]]:
    """Yield the mean reciprocal rank of everything that is tried, without length correction."""
    ranks = [rank for rank in RANKS if rank < limit] + [limit]
    for method in SHARED_METHODS if shared else METHODS:
        for setting in _grid(method, limit):
            pair = build(found, setting)
            text, image = pair.text.project(held.text), pair.image.project(held.image)
            # One decomposition serves all ranks: fewer dimensions are its first columns.
            for rank in ranks if setting.rank else [0]:
                cut = rank or text.shape[1]
                found_by = _four(text[:, :cut], image[:, :cut], held)
                yield (
                    replace(setting, rank=rank),
                    float(np.mean([np.mean(1 / r) for r in found_by])),
                )


def _grid(method: str, limit: int) -> list[Setting]:
    if method == "csa":
        return [Setting("csa", (x, y), limit) for x in SHRINKAGE for y in SHRINKAGE]
    if method == "procrustes":
        return [Setting("procrustes", (), limit)]
    if method == "identity":
        return [Setting("identity")]
    return [Setting(method, (p,)) for p in (ANCHORS if method == "anchored" else PENALTIES)]


def _four(text: Vectors, image: Vectors, held: HeldOut) -> tuple[Found, Found, Found, Found]:
    a, b = unit(text), unit(image)
    scores, in_images, in_texts = a @ b.T, a @ image.T, b @ text.T
    return (
        held.text_to_image(scores), held.image_to_text(scores.T),
        held.text_to_image(in_images), held.image_to_text(in_texts),
    )  # fmt: skip


def _completed(setting: Setting, folds: Sequence[Fold]) -> Choice:
    """Return a setting with the strengths of its crossings, its score and its temperature."""
    figures, temperatures = np.zeros((4, len(STRENGTHS))), []
    for found, text, image, held in folds:
        maps = assemble(Choice(setting, 1.0, 1.0), found, text, image)
        figures += len(held.text) * _by_strength(maps, held)
        temperatures.append(best_temperature(*held.once(maps.pair)))
    figures /= sum(len(held.text) for *_, held in folds)
    at = figures.argmax(axis=1)
    return Choice(
        setting,
        STRENGTHS[at[2]],
        STRENGTHS[at[3]],
        float(figures.max(axis=1).mean()),
        float(np.median(temperatures)),
    )


def _by_strength(maps: Maps, held: HeldOut) -> Figures:
    """Return ``(4, strengths)`` mean reciprocal ranks; the common space has but one."""
    figures = np.empty((4, len(STRENGTHS)))
    for at, strength in enumerate(STRENGTHS):
        changed = Maps(
            maps.pair,
            replace(maps.to_image, bias=maps.to_image.bias * np.float32(strength)),
            replace(maps.to_text, bias=maps.to_text.bias * np.float32(strength)),
        )
        figures[:, at] = [np.mean(1.0 / ranks) for ranks in measure(changed, held).all]
    return figures


def _crossing(
    into: Projector, out: Projector, side: Side, rows: Vectors, strength: float
) -> Crossing:
    """Return the map to the space of ``out``, whose fitted ``rows`` have the moments ``side``.

    The slope is the ridge regression of ``|b(z)| / m`` on ``z`` with the mean eigenvalue as the
    penalty. Lengths are a weak signal: ten times more or less changes R@10 by less than .005.
    """
    lengths = np.linalg.norm(out.project(rows).astype(np.float64), axis=1)
    mean = float(lengths.mean())
    mean = mean if mean > 0.0 else 1.0
    against = (rows - side.mean).T @ (lengths / mean - 1.0) / len(rows)
    slope = side.vectors @ ((side.vectors.T @ against) / (side.values + side.scale))
    centre = side.mean if np.linalg.norm(side.mean) > 1e-6 else np.ones(side.dim)
    return Crossing(
        into=into,
        out=out,
        length=mean,
        bias=np.asarray(-strength * slope, np.float32),
        neutral=np.asarray(centre / np.linalg.norm(centre), np.float32),
    )
