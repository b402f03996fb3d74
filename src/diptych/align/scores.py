"""How well matching pairs find each other: ranks of held-out pairs in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.align.projector import LinearPair
from diptych.vectors import Vectors

__all__ = ["HeldOut", "Scores", "chance", "identities", "lower_bound", "ranks"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Retrieval of the one matching item among a gallery, each in [0, 1], higher is better."""

    recall_1: float
    recall_5: float
    recall_10: float
    mrr: float

    @classmethod
    def of(cls, found: NDArray[np.float64]) -> Scores:
        """Return the scores of ranks that start at 1."""
        first, five, ten = (float(np.mean(found <= k)) for k in (1, 5, 10))
        return cls(first, five, ten, float(np.mean(1.0 / found)))


def chance(gallery: int) -> Scores:
    """Return what a random order of ``gallery`` items scores when one of them is right."""
    places = np.arange(1, gallery + 1)
    return Scores.of(places.astype(np.float64))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pairs that a map was not fitted on: each picture once, with all its texts.

    Attributes:
        text: ``(n, dt)`` unit rows.
        image: ``(pictures, di)`` unit rows, no two equal.
        picture: ``(n,)``, the picture of each text.
    """

    text: Vectors
    image: Vectors
    picture: NDArray[np.int64]

    @classmethod
    def of(cls, text: Vectors, image: Vectors) -> HeldOut:
        """Return the pairs with pictures that are given several times joined."""
        picture = identities(image)
        first = np.unique(picture, return_index=True)[1]
        return cls(text, image[first], picture)

    def once(self, pair: LinearPair) -> tuple[Vectors, Vectors]:
        """Return rows of the common space, one text for each picture: no false negatives."""
        first = np.unique(self.picture, return_index=True)[1]
        return pair.text(self.text[first]), pair.image(self.image)

    def text_to_image(self, scores: Vectors) -> NDArray[np.float64]:
        """Return the rank of the picture of each text, for ``(n, pictures)`` scores."""
        return ranks(scores, self.picture, np.arange(len(self.image)))

    def image_to_text(self, scores: Vectors) -> NDArray[np.float64]:
        """Return the rank of the best text of each picture, for ``(pictures, n)`` scores."""
        return ranks(scores, np.arange(len(self.image)), self.picture)


def ranks(
    scores: Vectors, query: NDArray[np.int64], item: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the rank, from 1, of the best matching item of each query.

    Items that match are not counted against each other. An item with an equal score counts half,
    so that a map that tells nothing apart is at chance.

    Args:
        scores: ``(queries, items)``, higher is better.
        query: ``(queries,)``, what each query belongs to.
        item: ``(items,)``, what each item belongs to; the two match when equal.
    """
    match = query[:, None] == item
    best = np.where(match, scores, -np.inf).max(axis=1, keepdims=True)
    above = np.count_nonzero(scores > best, axis=1)
    level = np.count_nonzero((scores == best) & ~match, axis=1)
    return np.asarray(1.0 + above + 0.5 * level, np.float64)


def identities(rows: Vectors) -> NDArray[np.int64]:
    """Return a number for each row, equal where the rows are, in order of appearance."""
    seen: dict[bytes, int] = {}
    return np.asarray([seen.setdefault(row.tobytes(), len(seen)) for row in rows], np.int64)


def lower_bound(gains: NDArray[np.float64], seed: int, draws: int = 1000) -> float:
    """Return the 2.5% bootstrap quantile of the mean of paired gains."""
    rng = np.random.default_rng(seed)
    means = [gains[rng.integers(0, len(gains), len(gains))].mean() for _ in range(draws)]
    return float(np.quantile(means, 0.025))
