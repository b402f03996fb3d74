"""How good a ranking is: nDCG, recall and reciprocal rank, as trec_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from diptych.checks import at_least_one
from diptych.errors import InvalidArgument

__all__ = ["Evaluation", "Relevant", "evaluate", "ndcg", "recall", "reciprocal_rank"]

Relevant = Mapping[str, float] | Collection[str]
"""The relevant documents of a query: their ids, or a grade for each; 0 or absent is not relevant."""

Qrels = Mapping[str, Relevant]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measures of each query, and their means.

    Attributes:
        per_query: For each measure its value for each query.
        means: For each measure its mean over all judged queries, in [0, 1].
    """

    per_query: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]


def ndcg(ranking: Sequence[str], relevant: Relevant, k: int = 10) -> float:
    """Return normalised discounted cumulative gain at ``k``, in [0, 1].

    DCG = sum_i grade_i / log2(i + 1) over ranks i from 1 (Järvelin and Kekäläinen, 2002), divided by
    the DCG of the best ranking of *all* relevant documents, found or not. A document that comes again
    keeps its place and earns nothing.

    Raises:
        InvalidArgument: ``k`` below 1, a negative grade, or a string for a collection of ids.
    """
    grades = _grades(relevant, k)
    ideal = _dcg(sorted(grades.values(), reverse=True)[:k])
    left = dict(grades)
    return _dcg([left.pop(d, 0.0) for d in ranking[:k]]) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], relevant: Relevant, k: int) -> float:
    """Return the share of the relevant documents among the first ``k``, in [0, 1].

    Raises:
        InvalidArgument: As :func:`ndcg`.
    """
    wanted = set(_grades(relevant, k))
    return len(wanted.intersection(ranking[:k])) / len(wanted) if wanted else 0.0


def reciprocal_rank(ranking: Sequence[str], relevant: Relevant) -> float:
    """Return one by the rank of the first relevant document, 0 when there is none, in [0, 1].

    Raises:
        InvalidArgument: As :func:`ndcg`.
    """
    grades = _grades(relevant, 1)
    for rank, document in enumerate(ranking, 1):
        if document in grades:
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


def _grades(relevant: Relevant, k: int) -> dict[str, float]:
    """Return the grades above 0."""
    at_least_one("k", k)
    if isinstance(relevant, str):
        raise InvalidArgument(f"relevant={relevant!r} is one string; expected ids of documents.")
    if not isinstance(relevant, Mapping):
        return dict.fromkeys(relevant, 1.0)
    for document, grade in relevant.items():
        if not 0 <= grade < math.inf:
            raise InvalidArgument(f"{document!r} has the grade {grade}; expected 0 or more.")
    return {document: grade for document, grade in relevant.items() if grade}


def _dcg(grades: Sequence[float]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
