"""The contrastive loss of pairs in the common space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diptych.vectors import Vectors

__all__ = ["best_temperature", "info_nce"]

_TEMPERATURES = tuple(float(t) for t in np.geomspace(0.01, 1.0, 21))
"""0.01 is the limit that CLIP sets, ``exp(logit) <= 100``; at 1 a cosine hardly tells apart."""


def info_nce(text: Vectors, image: Vectors, temperature: float, block: int = 1024) -> float:
    """Return the symmetric InfoNCE loss of ``(n, s)`` rows, 0 at best, ``log n`` for equal logits.

    ``S = text image' / temperature``;
    ``L = 1/2 [mean_i (logsumexp_j S_ij - S_ii) + mean_j (logsumexp_i S_ij - S_jj)]``
    (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; symmetric as in CLIP). Every other
    row is a negative, also one with the same picture. Needs room for ``(block, n)`` logits.
    """
    n = len(text)
    if n == 0:
        return 0.0
    matched = np.einsum("ij,ij->i", text, image, dtype=np.float64) / temperature
    spread = _logsumexp(text, image, temperature, block) + _logsumexp(
        image, text, temperature, block
    )
    return float(np.mean(spread / 2.0 - matched))


def best_temperature(text: Vectors, image: Vectors) -> float:
    """Return the temperature, of 21 between 0.01 and 1, with the least loss of these pairs."""
    losses = [info_nce(text, image, t) for t in _TEMPERATURES]
    return _TEMPERATURES[int(np.argmin(losses))]


def _logsumexp(
    queries: Vectors, items: Vectors, temperature: float, block: int
) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(queries), block):
        logits = (queries[start : start + block] @ items.T).astype(np.float64) / temperature
        peak = logits.max(axis=1, keepdims=True)
        parts.append(peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1)))
    return np.concatenate(parts)
