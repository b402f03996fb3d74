"""Which pairs to fit on and which to hold out: whole groups, never single pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.errors import InvalidArgument
from diptych.vectors import Vectors

__all__ = ["Split", "group_numbers", "split"]

FOLDS = 5
SHARE = 0.15
"""Of the pairs, to report on."""
FEW = 700
"""Below this many pairs 15% is too small a gallery to report on: the folds do that as well."""
MANY = 1500
"""From this many pairs on, 15% is gallery enough to choose by: one part instead of five folds."""
MOST = 1500
"""More held-out pairs than this sharpen no decision and cost a square of time."""
MOST_OF_FOLD = 500
"""The same of each of five folds."""
FEW_GROUPS = 100
"""With fewer documents, one part of them is too few subjects to choose by: folds instead."""

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of pairs.

    Attributes:
        folds: What to fit on and what to choose by, once or five times.
        rest: All but ``test``.
        test: What to report on; if empty, the folds again.
    """

    folds: tuple[tuple[Positions, Positions], ...]
    rest: Positions
    test: Positions

    @property
    def protocol(self) -> str:
        """How the held-out figures were made, in words."""
        if not len(self.test):
            return f"{len(self.folds)}-fold"
        by = "validation" if len(self.folds) == 1 else f"{len(self.folds)}-fold"
        return f"test, chosen by {by}"

    @property
    def rounds(self) -> tuple[tuple[Positions, Positions], ...]:
        """What to fit on and to report on: all but the test pairs, or the folds again."""
        if not len(self.test):
            return self.folds
        return ((self.rest, self.test),)


def group_numbers(groups: Sequence[Any] | None, image: Vectors) -> NDArray[np.int64]:
    """Return a number for the group of each pair; without groups, pairs of one picture are one.

    The numbers do not depend on the order of the pairs.

    Raises:
        InvalidArgument: Not one group for each pair.
    """
    if groups is None:
        labels = [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in image]
    else:
        labels = [str(group) for group in groups]
    if len(labels) != len(image):
        raise InvalidArgument(
            f"groups has {len(labels)} entries for {len(image)} pairs. Give the document of each "
            "pair, in the order of the vectors."
        )
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def split(groups: NDArray[np.int64], seed: int) -> Split:
    """Return the split for pairs of these groups, or five folds where it would be too small.

    Raises:
        InvalidArgument: Fewer groups than folds.
    """
    sizes = np.bincount(groups)
    if len(sizes) < FOLDS:
        raise InvalidArgument(
            f"The pairs come from {len(sizes)} groups, and at least {FOLDS} are needed to hold some "
            "out. Give finer groups (the section instead of the book), or leave groups out."
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    test = np.empty(0, np.int64)
    if len(groups) >= FEW:
        test_groups = _taken(order, sizes, len(groups))
        others = order[~np.isin(order, test_groups)]
        if len(others) >= FOLDS and sizes[test_groups].sum() >= FEW * SHARE:
            order, test = others, np.flatnonzero(np.isin(groups, test_groups))
    rest = np.setdiff1d(np.arange(len(groups)), test)
    if len(groups) >= MANY and len(order) >= FEW_GROUPS and len(test):
        chosen = np.flatnonzero(np.isin(groups, _taken(order, sizes, len(groups))))
        if len(chosen) >= FEW * SHARE:
            return Split(((np.setdiff1d(rest, chosen), chosen),), rest, test)
    return Split(tuple(_folds(groups, order, sizes, seed)), rest, test)


def _taken(order: NDArray[np.int64], sizes: NDArray[np.int64], pairs: int) -> NDArray[np.int64]:
    """Return groups, in that order, of about the share; one that is too big for it is left."""
    wanted, taken, total = min(SHARE * pairs, MOST), [], 0
    for group in order:
        if total < wanted and total + sizes[group] <= 1.5 * wanted:
            taken.append(group)
            total += int(sizes[group])
    return np.asarray(taken, np.int64)


def _folds(
    groups: NDArray[np.int64], order: NDArray[np.int64], sizes: NDArray[np.int64], seed: int
) -> list[tuple[Positions, Positions]]:
    """Deal the groups of ``order`` out, the biggest first, each to the fold with fewest pairs."""
    room, fold_of = np.zeros(FOLDS, np.int64), np.full(len(sizes), -1)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[group] = np.argmin(room)
        room[fold_of[group]] += sizes[group]
    fold = fold_of[groups]
    rng, folds = np.random.default_rng(seed), []
    for i in range(FOLDS):
        held = rng.permutation(np.flatnonzero(fold == i))[:MOST_OF_FOLD]
        folds.append((np.flatnonzero((fold != i) & (fold >= 0)), np.sort(held)))
    return folds
