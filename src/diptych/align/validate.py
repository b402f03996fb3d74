"""What the candidates are worth on held-out pairs, and whether to trust the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.align.choose import Choice, Ranks, assemble, build, measure
from diptych.align.linear import identity, moments
from diptych.align.loss import best_temperature, info_nce
from diptych.align.projector import LinearPair
from diptych.align.report import Candidate
from diptych.align.scores import HeldOut, Scores, chance, lower_bound
from diptych.align.split import Split
from diptych.vectors import Vectors

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True, eq=False)
class Verdict:
    """The choice that stands, and what an ``AlignReport`` says of it."""

    choice: Choice
    candidates: tuple[Candidate, ...]
    protocol: str
    held_out: int
    gallery: int
    loss_before: float
    loss_after: float
    gain: float


def judge(
    choices: Sequence[Choice],
    text: Vectors,
    image: Vectors,
    parts: Split,
    *,
    shared: bool,
    seed: int,
) -> Verdict:
    """Return what the choices are worth on held-out pairs, and which one to keep.

    That is the first, the best in validation; of a shared space only if the lower end of the 95%
    bootstrap interval of its gain over the identity is above zero.
    """
    fits = [moments(text[fit], image[fit]) for fit, _ in parts.rounds]
    pairs = [HeldOut.of(text[held], image[held]) for _, held in parts.rounds]
    ranks = {}
    for choice in choices:
        maps = [
            assemble(choice, found, text[fit], image[fit])
            for found, (fit, _) in zip(fits, parts.rounds, strict=True)
        ]
        ranks[choice] = _joined([measure(m, held) for m, held in zip(maps, pairs, strict=True)])
    gallery = round(float(np.mean([len(each.image) for each in pairs])))
    kept, gain = _kept(choices, ranks, gallery, shared=shared, seed=seed)
    losses = [
        _losses(build(found, kept.setting), held, kept.temperature, shared=shared)
        for found, held in zip(fits, pairs, strict=True)
    ]
    before, after = np.mean(losses, axis=0)
    return Verdict(
        choice=kept,
        candidates=tuple(_candidate(choice, ranks[choice]) for choice in choices),
        protocol=parts.protocol,
        held_out=sum(len(each.text) for each in pairs),
        gallery=gallery,
        loss_before=float(before),
        loss_after=float(after),
        gain=gain,
    )


def _kept(
    choices: Sequence[Choice],
    ranks: Mapping[Choice, Ranks],
    gallery: int,
    *,
    shared: bool,
    seed: int,
) -> tuple[Choice, float]:
    """Return the choice to keep and the lower end of its gain."""
    best = choices[0]
    if not shared:
        found = np.concatenate([ranks[best].text_to_image, ranks[best].in_place_text_to_image])
        return best, lower_bound(1.0 / found - chance(gallery).mrr, seed)
    same = next(choice for choice in choices if choice.setting.method == "identity")
    gain = lower_bound(ranks[best].reciprocal() - ranks[same].reciprocal(), seed)
    return (best, gain) if gain > 0.0 else (same, 0.0)


def _joined(rounds: Sequence[Ranks]) -> Ranks:
    return Ranks(*(np.concatenate(each) for each in zip(*(r.all for r in rounds), strict=True)))


def _candidate(choice: Choice, ranks: Ranks) -> Candidate:
    setting = choice.setting
    scores = [Scores.of(each) for each in ranks.all]
    return Candidate(setting.method, setting.shrinkage, setting.rank, *scores)


def _losses(
    pair: LinearPair, held: HeldOut, temperature: float, *, shared: bool
) -> tuple[float, float]:
    """Return the loss of held-out pairs before and after alignment."""
    text, image = held.once(pair)
    after = info_nce(text, image, temperature)
    if not shared:
        return float(np.log(len(text))), after
    before = held.once(identity(held.text.shape[1]))
    return info_nce(*before, best_temperature(*before)), after
