"""A map between a text encoder and an image encoder that have never seen each other."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from diptych.align._rows import checked_rows
from diptych.align.choose import Choice, Setting, assemble, choose
from diptych.align.linear import moments
from diptych.align.loss import info_nce
from diptych.align.projector import Projector
from diptych.align.report import AlignReport
from diptych.align.split import FOLDS, group_numbers, split
from diptych.align.stored import Stored, read_aligner, write_aligner
from diptych.align.validate import Verdict, judge
from diptych.errors import InvalidArgument, NotFitted
from diptych.vectors import Vectors

__all__ = ["MIN_PAIRS", "CrossModalAligner"]

MIN_PAIRS = 200
"""With fewer, held-out figures are within noise of chance and so is what was learnt."""


class CrossModalAligner:
    """Learns from pairs how the vectors of two encoders correspond; seconds, on a CPU, no torch.

    It fits closed-form linear maps (regularised CCA with correlation weights, Procrustes, ridge),
    chooses method, shrinkage and rank on held-out documents, and is then of use in two ways:

    - ``align`` and the projectors take both sides into one common space, where the inner product
      is the alignment score. Best, but stored vectors have to be projected.
    - ``text_to_image`` takes a text vector into the image encoder's own space, and
      ``image_to_text`` the reverse. An existing index is searched as it is.

    When both spaces have one name (the two towers of one model), fitting starts from the
    identity, and keeps it unless a change is better on held-out pairs beyond doubt.

    Args:
        text_space: Name of the text encoder's space.
        image_space: Name of the image encoder's space.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> topic = rng.standard_normal((400, 8))
        >>> aligner = CrossModalAligner()
        >>> report = aligner.fit(topic @ rng.standard_normal((8, 24)),
        ...                      topic @ rng.standard_normal((8, 32)))
        >>> report.candidates[0].text_to_image.recall_1 > 0.9
        True
    """

    def __init__(self, *, text_space: str = "text", image_space: str = "image") -> None:
        self.text_space = text_space
        self.image_space = image_space
        self.fingerprint = "unfitted"
        self.report: AlignReport | None = None
        self._fitted: Stored | None = None

    @property
    def text_projector(self) -> Projector:
        """Takes text vectors into the common space."""
        return self._need().maps.pair.text

    @property
    def image_projector(self) -> Projector:
        """Takes image vectors into the common space."""
        return self._need().maps.pair.image

    @property
    def temperature(self) -> float:
        """What ``loss`` divides scores by."""
        return self._need().temperature

    def fit(
        self,
        text_vectors: ArrayLike,
        image_vectors: ArrayLike,
        *,
        groups: Sequence[Any] | None = None,
        seed: int = 0,
        allow_few: bool = False,
    ) -> AlignReport:
        """Learn from pairs, and return what was chosen and what it is worth on held-out ones.

        Of 1,500 pairs or more, 70% are fitted, 15% choose, 15% report. Of 700 or more, or of
        fewer than 100 groups, five folds choose and 15% report; of fewer pairs, five folds do
        both. Whole groups are held out. The aligner is then fitted on all pairs.

        Args:
            text_vectors: ``(n, dt)``, any length of row: only directions count.
            image_vectors: ``(n, di)``, the image of each text; repeated for several texts.
            groups: What each pair belongs to (its document), as anything with a ``str``; by
                default, equal images are one group.
            seed: Decides which groups are held out.
            allow_few: Fit on fewer than 200 pairs too. With fewer than ten groups, none is held
                out and the setting is fixed.

        Raises:
            VectorError: Not two rectangles of finite numbers, or a zero row.
            InvalidArgument: Not as many rows on both sides, too few pairs or groups, a side that
                does not vary, or a shared space with two dimensions.

        Warns:
            UserWarning: What was learnt is not better than chance on held-out pairs.
        """
        start = time.perf_counter()
        text, image = self._checked_pairs(text_vectors, image_vectors, allow_few)
        shared = self.text_space == self.image_space
        numbers = group_numbers(groups, image)
        groups_given = int(numbers.max()) + 1
        verdict: Verdict | None = None
        if allow_few and groups_given < 2 * FOLDS:
            rank = min(64, max(len(text) // 4, 1))
            choice = Choice(Setting("identity") if shared else Setting("csa", (0.9, 0.9), rank))
        else:
            parts = split(numbers, seed)
            choices = choose(text, image, parts, shared=shared)
            verdict = judge(choices, text, image, parts, shared=shared, seed=seed)
            choice = verdict.choice
        fitted = Stored(
            self.text_space,
            self.image_space,
            choice.setting.method,
            assemble(choice, moments(text, image), text, image),
            choice.temperature,
        )
        self._take(fitted)
        self.report = AlignReport(
            pairs=len(text),
            groups=groups_given,
            protocol="none" if verdict is None else verdict.protocol,
            held_out=0 if verdict is None else verdict.held_out,
            gallery=0 if verdict is None else verdict.gallery,
            candidates=() if verdict is None else verdict.candidates,
            method=choice.setting.method,
            shrinkage=choice.setting.shrinkage,
            rank=fitted.maps.pair.text.rank,
            temperature=fitted.temperature,
            loss_before=None if verdict is None else verdict.loss_before,
            loss_after=None if verdict is None else verdict.loss_after,
            gain=None if verdict is None else verdict.gain,
            seconds=time.perf_counter() - start,
        )
        if verdict is not None and not shared and verdict.gain <= 0.0:
            warnings.warn(
                f"The aligner learnt nothing that shows on held-out pairs (gain over chance at "
                f"least {verdict.gain:+.3f}). Check that row i of both sides belongs together, or "
                "give more pairs.",
                stacklevel=2,
            )
        return self.report

    def align(self, text_vectors: ArrayLike, image_vectors: ArrayLike) -> tuple[Vectors, Vectors]:
        """Return unit rows of the common space; their inner product is the score, in [-1, 1].

        The two sides need not be pairs, nor equally many.

        Raises:
            NotFitted: Before ``fit``.
            VectorError: Not rows of the fitted dimensions, not finite, or a zero row.
        """
        pair = self._need().maps.pair
        text = checked_rows(text_vectors, "text_vectors", pair.text.dim)
        image = checked_rows(image_vectors, "image_vectors", pair.image.dim)
        return pair.text(text), pair.image(image)

    def loss(self, text_vectors: ArrayLike, image_vectors: ArrayLike) -> float:
        """Return the symmetric InfoNCE of pairs in the common space, at the fitted temperature.

        0 at best, ``log(n)`` when nothing is told apart. Every other row is a negative.

        Raises:
            NotFitted: Before ``fit``.
            InvalidArgument: Not as many texts as images, or vectors as for ``align``.
        """
        text, image = self.align(text_vectors, image_vectors)
        if len(text) != len(image):
            raise InvalidArgument(_unequal(len(text), len(image)))
        return info_nce(text, image, self.temperature)

    def text_to_image(self, vectors: ArrayLike) -> Vectors:
        """Return unit rows of the image space, to search stored image vectors with.

        They order stored unit vectors by inner product almost as the common space does; the
        inner product is not a cosine between like and like, so compare it within a query only.

        Raises:
            NotFitted: Before ``fit``.
            VectorError: Not rows of the text space.
        """
        return self._need().maps.to_image(vectors, "The text vectors")

    def image_to_text(self, vectors: ArrayLike) -> Vectors:
        """Return unit rows of the text space, to search stored text vectors with.

        Raises:
            NotFitted: Before ``fit``.
            VectorError: Not rows of the image space.
        """
        return self._need().maps.to_text(vectors, "The image vectors")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted aligner to one safetensors file; replaces what is there in one step.

        Raises:
            NotFitted: Before ``fit``.
            StorageError: The file cannot be written.
        """
        write_aligner(path, self._need())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CrossModalAligner:
        """Return the aligner of a file that ``save`` wrote, without its report. Runs no code.

        Raises:
            StorageError: The file cannot be read.
            FormatError: It is no aligner, or one of a newer version.
            CorruptionError: It is an aligner whose arrays contradict each other.
        """
        stored = read_aligner(path)
        aligner = cls(text_space=stored.text_space, image_space=stored.image_space)
        aligner._take(stored)
        return aligner

    def _take(self, fitted: Stored) -> None:
        self._fitted = fitted
        self.fingerprint = fitted.fingerprint

    def _need(self) -> Stored:
        if self._fitted is None:
            raise NotFitted(
                "The aligner has not been fitted. Call fit(text_vectors, image_vectors) with pairs, "
                "or load one with CrossModalAligner.load(path)."
            )
        return self._fitted

    def _checked_pairs(
        self, text_vectors: ArrayLike, image_vectors: ArrayLike, allow_few: bool
    ) -> tuple[Vectors, Vectors]:
        text = checked_rows(text_vectors, "text_vectors")
        image = checked_rows(image_vectors, "image_vectors")
        if len(text) != len(image):
            raise InvalidArgument(_unequal(len(text), len(image)))
        least = 2 if allow_few else MIN_PAIRS
        if len(text) < least:
            raise InvalidArgument(
                f"{len(text)} pairs were given and at least {least} are needed: with fewer, what is "
                "learnt is noise. Give more pairs, or allow_few=True to fit nevertheless."
            )
        if self.text_space == self.image_space and text.shape[1] != image.shape[1]:
            raise InvalidArgument(
                f"Text and image space are both {self.text_space!r}, but have dimensions "
                f"{text.shape[1]} and {image.shape[1]}. Give unlike spaces unlike names."
            )
        return text, image


def _unequal(texts: int, images: int) -> str:
    return (
        f"{texts} text vectors and {images} image vectors are no pairs. Row i of both sides belongs "
        "together; repeat the image row for several texts of one picture."
    )
