"""Several ranked lists to one score: pure functions over the scores of candidates.

Scores come as ``(n, m)``: ``n`` candidates, ``m`` lists, NaN where a document lacks the modality of a
list. Missing is no evidence: it adds nothing for a document, and nothing against it.

:func:`fuse` is what the retriever uses. The others are here to compare with and for whoever wants
them; RRF, the common default, buries the best hit of one list under middling hits of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diptych.errors import InvalidArgument
from diptych.types import Weights

__all__ = ["Fused", "Null", "fuse", "null_z", "rrf", "z_max", "z_mean"]

Scores = NDArray[np.floating]
Values = NDArray[np.float64]

SLOPE = 2.0
"""How fast evidence grows with the statistic of a list."""

THRESHOLD = 2.5
"""Where evidence begins: what about one unrelated document in a hundred and sixty exceeds."""

LEXICAL_SCALE = 0.3
"""Brings the geometric mean of BM25 and its z to the scale of the z of a cosine."""

LEXICAL_Z_MIN, LEXICAL_Z_MAX = 0.01, 32.0
"""Beyond, a rare word says nothing more: in a large corpus its z grows with the size alone. The least
keeps documents below the mean in the order of their BM25."""

EVEN = 6.0
"""The evidence at which a document is as likely relevant as not."""

PSEUDO_COUNT, PRIOR_MEAN, PRIOR_STD = 32, 0.1, 0.1
"""What is believed of the cosines of unrelated items before any is seen, and how firmly. In a corpus
of a few documents half of them may be relevant; their scores alone are no null."""

_LISTS = ("text", "image", "cross_modal", "lexical")


@dataclass(frozen=True, slots=True)
class Null:
    """What a list scores for this query in the corpus at large."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 <= self.std < math.inf):
            raise InvalidArgument(
                f"Null(mean={self.mean}, std={self.std}) was given; expected finite numbers, the "
                "second at least 0."
            )

    @classmethod
    def of(cls, sample: Scores) -> Null:
        """Return the null of a sample of cosines, shrunk towards the prior when it is small.

        mean = (sum s + P m0) / (n + P);  var = (sum (s - mean)^2 + P (s0^2 + (m0 - mean)^2)) / (n + P)
        with P = 32 pseudo-observations of mean m0 = 0.1 and standard deviation s0 = 0.1.
        """
        values = sample.astype(np.float64)
        count = len(values) + PSEUDO_COUNT
        mean = (float(values.sum()) + PSEUDO_COUNT * PRIOR_MEAN) / count
        prior = PSEUDO_COUNT * (PRIOR_STD**2 + (PRIOR_MEAN - mean) ** 2)
        variance = (float(((values - mean) ** 2).sum()) + prior) / count
        return cls(mean, variance**0.5)


@dataclass(frozen=True, slots=True)
class Fused:
    """One score for each candidate, and what each list added to it.

    Attributes:
        score: ``(n,)`` in [0, 1], higher is better, comparable between queries.
        contributions: ``(n, m)``, at least 0: the evidence of each list, 0 where it is missing.
    """

    score: Values
    contributions: Values


def fuse(
    scores: Scores,
    *,
    lists: Sequence[str],
    null: Mapping[str, Null],
    weights: Weights | None = None,
) -> Fused:
    """Return the calibrated sum of evidence.

    For a list with statistic z, a document that has its modality gets

        e = w log(1 + exp(2 (z - 2.5)))

    the log-likelihood ratio of a relevant against an unrelated document when relevant scores are
    unrelated ones plus a shift that not every relevant document shows: it grows linearly far above
    the corpus, and is 0 below, so that a bad picture cannot spoil a good text. It is the log of one
    plus the ratio of an exponential tilt (Efron, 2011, tilts likewise for local false discovery).
    z is (s - mean) / std against the null for "text" and "image", and 0.3 sqrt(bm25 min(z, 32)) for
    "lexical", because a word must be both rare and prominent. Beside "text" and "image", "cross_modal"
    finds candidates and adds nothing, unless it is given a weight: its score is the sum of two that
    are counted already. Without one of them it is evidence like any other vector list.

        score = E^2 / (E^2 + 36),   E = sum of e over the lists

    which is the logistic of 2 log(E / 6), fitted to how often the first result is right.

    Args:
        scores: ``(n, m)``, NaN where a document lacks a modality. BM25 is 0 without a match.
        lists: The names of the ``m`` columns.
        null: For each list the scores of the corpus at large, for this query.
        weights: How much a list counts; 1 when it is not named.

    Raises:
        InvalidArgument: A list is unknown, there twice or without a null, a weight is of an unknown
            list, negative or not finite, or a score is infinite.
    """
    if scores.ndim != 2 or scores.shape[1] != len(lists):
        raise InvalidArgument(
            f"fuse was given scores of shape {scores.shape} for {len(lists)} lists; expected one "
            "column for each list."
        )
    if np.isinf(scores).any():
        raise InvalidArgument("fuse was given infinite scores; expected finite ones, or NaN.")
    weight = _weigh(lists, weights or {})
    for name in lists:
        if weight[name] and name not in null:
            raise InvalidArgument(
                f"fuse has no null for the list {name!r}; expected one for each list that counts."
            )
    evidence = _evidence(scores, lists, null) * np.array(list(weight.values()), np.float64)
    # Beyond 1e100 the square would overflow, and the score has long been 1.
    square = np.minimum(evidence.sum(axis=1), 1e100) ** 2
    return Fused(square / (square + EVEN**2), evidence)


def _weigh(lists: Sequence[str], weights: Weights) -> dict[str, float]:
    """Return the weight of each list, in their order."""
    unknown = [name for name in (*lists, *weights) if name not in _LISTS]
    if unknown:
        raise InvalidArgument(
            f"fuse does not know the list {unknown[0]!r}; expected some of {', '.join(_LISTS)}."
        )
    if len(set(lists)) != len(lists):
        raise InvalidArgument(f"fuse was given the lists {tuple(lists)}; expected each once.")
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise InvalidArgument(
                f"The list {name!r} has the weight {float(weight)}; expected 0 or more."
            )
    counted = "text" in lists and "image" in lists
    default = {"cross_modal": 0.0} if counted else {}
    return {name: float(weights.get(name, default.get(name, 1.0))) for name in lists}


def _evidence(scores: Scores, lists: Sequence[str], null: Mapping[str, Null]) -> Values:
    """Return the evidence of every list at weight 1, ``(n, m)``, 0 where it is missing."""
    z = np.empty(scores.shape)
    floor = np.zeros(len(lists))
    for column, name in enumerate(lists):
        z[:, column] = null_z(scores[:, column], null.get(name, Null(0.0, 1.0)))
        if name == "lexical":
            positive = np.maximum(scores[:, column], 0.0)
            bounded = np.minimum(np.maximum(z[:, column], LEXICAL_Z_MIN), LEXICAL_Z_MAX)
            z[:, column] = LEXICAL_SCALE * np.sqrt(positive * bounded)
            # No matching word is no evidence, not a trace of it.
            floor[column] = math.log1p(math.exp(-SLOPE * THRESHOLD))
    odds = SLOPE * (z - THRESHOLD)
    # log(1 + exp(odds)) without overflow, at half the time of logaddexp.
    evidence = np.log1p(np.exp(-np.abs(odds))) + np.maximum(odds, 0.0) - floor
    return np.where(np.isnan(odds), 0.0, np.maximum(evidence, 0.0))


def null_z(scores: Scores, null: Null) -> Values:
    """Return ``(s - mean) / std`` against the null; 0 when the null has no spread and s is its mean."""
    spread = max(null.std, 1e-6)
    z: Values = (scores.astype(np.float64) - null.mean) / spread
    return z


def z_mean(z: Scores) -> Values:
    """Return the mean of z over the lists that a document is in; 0 when it is in none."""
    present = ~np.isnan(z)
    total = np.where(present, z, 0.0).sum(axis=1)
    mean: Values = total / np.maximum(present.sum(axis=1), 1)
    return mean


def z_max(z: Scores) -> Values:
    """Return the greatest z of the lists that a document is in; -inf when it is in none."""
    best: Values = np.where(np.isnan(z), -np.inf, z).max(axis=1, initial=-np.inf)
    return best


def rrf(
    ranks: Scores, *, k: int = 10, weights: Sequence[float] | None = None, normalise: bool = True
) -> Values:
    """Return reciprocal rank fusion, ``sum_m w_m / (k + rank_m)``.

    Cormack, Clarke and Büttcher (2009) use k = 60 and lists over the same documents. With k = 60 a
    document at rank 60 of two lists beats the first of one; 10 keeps the first of a list in front.
    With ``normalise`` the sum is divided by the weights of the lists whose modality the document
    has, so that lacking one is no disadvantage.

    Args:
        ranks: ``(n, m)`` from 1; inf where a list does not hold the document, NaN where the
            document lacks the modality.
        k: What is added to a rank, at least 0.
        weights: One for each list; 1 by default.
        normalise: Whether to average over the modalities that a document has.

    Raises:
        InvalidArgument: A rank below 1 (a list that counts from 0), or ``k`` below 0.
    """
    if k < 0 or (ranks < 1).any():
        raise InvalidArgument(
            f"rrf was given k={k} and a least rank of {np.nanmin(ranks, initial=np.inf):g}; expected "
            "k of at least 0 and ranks from 1. Use inf for a document that a list does not hold."
        )
    weight = np.ones(ranks.shape[1]) if weights is None else np.asarray(weights, np.float64)
    present = ~np.isnan(ranks)
    summed = np.where(present, weight / (k + np.where(present, ranks, 1.0)), 0.0).sum(axis=1)
    if not normalise:
        return np.asarray(summed, np.float64)
    total = np.where(present, weight, 0.0).sum(axis=1)
    return np.asarray(summed / np.where(total > 0, total, 1.0), np.float64)
