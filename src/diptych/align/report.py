"""What fitting an aligner found out."""

from __future__ import annotations

from dataclasses import dataclass, field

from diptych.align.scores import Scores, chance

__all__ = ["AlignReport", "Candidate"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method at its best setting, and how it finds held-out pairs.

    ``shrinkage`` is one number for each side (CCA) or a penalty (ridge); ``rank`` is 0 where all
    dimensions are used.
    ``text_to_image`` and ``image_to_text`` are in the common space, for which stored vectors have
    to be projected; ``in_place_*`` search the vectors of an existing index as they are stored.
    """

    method: str
    shrinkage: tuple[float, ...]
    rank: int
    text_to_image: Scores
    image_to_text: Scores
    in_place_text_to_image: Scores
    in_place_image_to_text: Scores


@dataclass(frozen=True, slots=True)
class AlignReport:
    """What was fitted, how it was chosen and what it is worth.

    Attributes:
        pairs: How many were given.
        groups: How many documents they come from.
        protocol: "test, chosen by validation" or "test, chosen by 5-fold"; "5-fold" for few
            pairs (chosen and reported on the same folds, so slightly kind); "none" for too few
            groups to hold any out.
        held_out: How many pairs the figures are of.
        gallery: How many different pictures each of them was looked for among.
        candidates: The methods, best in validation first.
        method: The chosen one; ``shrinkage`` and ``rank`` are its setting. The aligner was then
            fitted on all pairs with them.
        temperature: Of the loss, fitted on validation pairs.
        loss_before: InfoNCE of held-out pairs without alignment: the log of their number for
            unrelated spaces, the loss of the unchanged vectors for a shared one.
        loss_after: The same with alignment.
        gain: By how much the mean reciprocal rank of text -> image, in the common space and in
            place, exceeds chance; in a shared space, by how much that of both directions exceeds
            the unchanged vectors (0 when those are kept). The lower end of a 95% bootstrap
            interval.
        seconds: What fitting took.
    """

    pairs: int
    groups: int
    protocol: str
    held_out: int
    gallery: int
    candidates: tuple[Candidate, ...]
    method: str
    shrinkage: tuple[float, ...]
    rank: int
    temperature: float
    loss_before: float | None
    loss_after: float | None
    gain: float | None
    seconds: float = field(compare=False)

    def __str__(self) -> str:
        shrinkage = ", ".join(f"{value:g}" for value in self.shrinkage)
        chosen = f"{self.method} (shrinkage {shrinkage or '-'}, rank {self.rank})"
        head = f"{self.pairs:,} pairs of {self.groups:,} groups · {chosen} · {self.seconds:.1f} s"
        if not self.candidates:
            return f"{head}\nToo few groups to hold any out: nothing is known about its quality."
        lines = [
            head,
            f"{self.held_out:,} held-out pairs ({self.protocol}), {self.gallery:,} pictures to find",
            f"loss {self.loss_before:.3f} -> {self.loss_after:.3f} "
            f"(temperature {self.temperature:.3f}); gain in MRR at least {self.gain:+.3f}",
            f"{'':16}{'text -> image':^24}{'image -> text':^24}{'in place: text -> image':^24}"
            f"{'image -> text':^24}",
            f"{'':16}" + f"{'R@1':>6}{'R@5':>6}{'R@10':>6}{'MRR':>6}" * 4,
        ]
        lines += [
            f"{each.method:16}"
            + _cells(each.text_to_image) + _cells(each.image_to_text)
            + _cells(each.in_place_text_to_image) + _cells(each.in_place_image_to_text)
            for each in self.candidates
        ]  # fmt: skip
        lines.append(f"{'chance':16}{_cells(chance(self.gallery))}")
        return "\n".join(lines)


def _cells(scores: Scores) -> str:
    values = (scores.recall_1, scores.recall_5, scores.recall_10, scores.mrr)
    return "".join(f"{value:6.3f}" for value in values)
