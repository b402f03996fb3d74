"""Putting the best few fused documents into a better order than fusion can."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from diptych.errors import InvalidArgument
from diptych.optional import require
from diptych.types import FusedDocument, Query

__all__ = ["CrossEncoderReranker", "FunctionReranker"]

Scorer = Callable[[str, Sequence[str]], ArrayLike]
"""Returns, for a question and ``n`` texts, ``(n,)`` scores in [0, 1], higher is better."""


class FunctionReranker:
    """Orders fused documents by a function of question and text.

    Documents without words, and all of them when the query is a picture alone, keep the score of
    the fusion: a function of texts has nothing to say about them.

    Args:
        score: Returns one score in [0, 1] for each text.
    """

    def __init__(self, score: Scorer) -> None:
        self._score = score

    def rerank(self, query: Query, documents: Sequence[FusedDocument]) -> list[FusedDocument]:
        """Return the documents best first, with the scores of the function.

        Raises:
            InvalidArgument: The function returned another number of scores, or one outside [0, 1].
        """
        texts = [document.text for document in documents]
        with_words = [at for at, text in enumerate(texts) if text]
        rescored = list(documents)
        if query.text and with_words:
            scores = np.asarray(
                self._score(query.text, [texts[at] for at in with_words]), np.float64
            )
            if scores.shape != (len(with_words),) or not np.all((scores >= 0) & (scores <= 1)):
                raise InvalidArgument(
                    f"A reranker returned scores of shape {scores.shape} for {len(with_words)} texts; "
                    "expected one score in [0, 1] for each."
                )
            for at, score in zip(with_words, scores, strict=True):
                rescored[at] = replace(rescored[at], score=float(score))
        return sorted(rescored, key=lambda document: (-document.score, document.id))


class CrossEncoderReranker(FunctionReranker):
    """Orders fused documents by a cross-encoder that reads question and text together.

    Args:
        model_name_or_path: A model of sentence-transformers' ``CrossEncoder``, or a local folder.
        device: "cpu", "cuda", or None for what there is.
        batch_size: How many pairs go through the model at once.

    Raises:
        MissingExtra: sentence-transformers is not installed.
    """

    def __init__(
        self, model_name_or_path: str, *, device: str | None = None, batch_size: int = 32
    ) -> None:
        module = require("sentence_transformers", needed_by="CrossEncoderReranker")
        torch = require("torch", needed_by="CrossEncoderReranker")
        self._model = module.CrossEncoder(model_name_or_path, device=device)
        self._sigmoid = torch.nn.Sigmoid()
        self._batch_size = batch_size
        self._lock = threading.Lock()
        super().__init__(self._predict)

    def _predict(self, question: str, texts: Sequence[str]) -> ArrayLike:
        with self._lock:
            scores: ArrayLike = self._model.predict(
                [(question, text) for text in texts],
                batch_size=self._batch_size,
                activation_fn=self._sigmoid,
                show_progress_bar=False,
            )
        return scores
