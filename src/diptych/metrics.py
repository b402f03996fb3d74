"""How good a ranking is: nDCG, recall and reciprocal rank, as trec_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Evaluation", "evaluate", "ndcg", "recall", "reciprocal_rank"]

Qrels = Mapping[str, Mapping[str, float]]
"""For each query the grades of its documents; 0 or absent is not relevant."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measures of each query, and their means.

    Attributes:
        per_query: For each measure its value for each query.
        means: For each measure its mean over all judged queries, in [0, 1].
    """

    per_query: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]


def ndcg(ranking: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """Return normalised discounted cumulative gain at ``k``, in [0, 1].

    DCG = sum_i grade_i / log2(i + 1) over ranks i from 1 (Järvelin and Kekäläinen, 2002), divided by
    the DCG of the best ranking of *all* relevant documents, found or not.
    """
    ideal = _dcg(sorted(relevant.values(), reverse=True)[:k])
    return _dcg([relevant.get(d, 0.0) for d in ranking[:k]]) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], relevant: Mapping[str, float], k: int) -> float:
    """Return the share of the relevant documents among the first ``k``, in [0, 1]."""
    wanted = {document for document, grade in relevant.items() if grade > 0}
    return len(wanted.intersection(ranking[:k])) / len(wanted) if wanted else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Return one by the rank of the first relevant document, 0 when there is none, in [0, 1]."""
    for rank, document in enumerate(ranking, 1):
        if relevant.get(document, 0.0) > 0:
            return 1.0 / rank
    return 0.0


def evaluate(run: Mapping[str, Sequence[str]], qrels: Qrels) -> Evaluation:
    """Return ndcg@10, recall@1, recall@5, recall@10 and mrr of a run.

    Args:
        run: For each query the documents, best first.
        qrels: What is relevant. A judged query without a ranking counts 0.
    """
    measures = {
        "ndcg@10": lambda ranking, relevant: ndcg(ranking, relevant, 10),
        "recall@1": lambda ranking, relevant: recall(ranking, relevant, 1),
        "recall@5": lambda ranking, relevant: recall(ranking, relevant, 5),
        "recall@10": lambda ranking, relevant: recall(ranking, relevant, 10),
        "mrr": reciprocal_rank,
    }
    per_query = {
        name: {query: measure(run.get(query, ()), relevant) for query, relevant in qrels.items()}
        for name, measure in measures.items()
    }
    means = {
        name: sum(values.values()) / len(values) if values else 0.0
        for name, values in per_query.items()
    }
    return Evaluation(per_query, means)


def _dcg(grades: Sequence[float]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
