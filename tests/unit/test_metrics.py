import math
import random

import pytest

from diptych.errors import InvalidArgument
from diptych.metrics import evaluate, ndcg, recall, reciprocal_rank


def test_ndcg_by_hand():
    relevant = {"a": 3.0, "b": 1.0, "c": 2.0}
    dcg = 1 / math.log2(2) + 3 / math.log2(4)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["b", "x", "a"], relevant) == pytest.approx(dcg / ideal)


def test_ideal_counts_what_was_not_found():
    assert ndcg(["a"], {"a": 1, "b": 1}) < 1
    assert ndcg(["a", "b"], {"a": 1, "b": 1}) == 1


def test_cut_and_nothing_relevant():
    assert ndcg(["x"] * 10 + ["a"], {"a": 1}, 10) == 0
    assert ndcg(["a"], {}) == 0
    assert recall(["a"], {"a": 0}, 1) == 0


def test_recall_and_reciprocal_rank():
    assert recall(["x", "a", "b"], {"a": 1, "b": 1, "c": 1}, 2) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "a"], {"a": 1}) == 0.5
    assert reciprocal_rank(["x"], {"a": 1}) == 0


def test_repeated_document_earns_once():
    assert ndcg(["a", "a"], {"a": 1}) == 1
    assert ndcg(["x", "a", "a"], {"a": 1}) == pytest.approx(1 / math.log2(3))


def test_ids_are_grades_of_one():
    ranking, ids = ["x", "a", "b"], {"a", "b", "c"}
    grades = dict.fromkeys(ids, 1.0)
    assert ndcg(ranking, ids) == ndcg(ranking, grades)
    assert recall(ranking, ids, 2) == recall(ranking, grades, 2)
    assert reciprocal_rank(ranking, ids) == 0.5


@pytest.mark.parametrize(
    ("relevant", "k", "message"),
    [({"a": 1}, 0, "k=0"), ({"a": -1}, 1, "the grade -1"), ("a", 1, "is one string")],
)
def test_what_cannot_be_meant_is_refused(relevant, k, message):
    for measure in (ndcg, recall):
        with pytest.raises(InvalidArgument, match=message):
            measure(["a"], relevant, k)


def test_query_without_a_ranking_counts_zero():
    result = evaluate({"q1": ["a"]}, {"q1": {"a": 1}, "q2": {"b": 1}})
    assert result.means["mrr"] == 0.5
    assert result.per_query["recall@1"] == {"q1": 1.0, "q2": 0.0}
    assert evaluate({}, {}).means["ndcg@10"] == 0


def test_means_equal_those_of_ir_measures():
    measures = pytest.importorskip("ir_measures")
    generator = random.Random(5)
    documents = [f"d{i}" for i in range(30)]
    run = {f"q{i}": generator.sample(documents, 25) for i in range(40)}
    qrels = {q: {d: 1 for d in generator.sample(documents, generator.randint(1, 4))} for q in run}
    scored = {q: {d: -float(i) for i, d in enumerate(r)} for q, r in run.items()}
    names = {"ndcg@10": measures.nDCG @ 10, "mrr": measures.RR}
    names |= {f"recall@{k}": measures.R @ k for k in (1, 5, 10)}
    expected = measures.calc_aggregate(list(names.values()), qrels, scored)
    means = evaluate(run, qrels).means
    for name, measure in names.items():
        assert means[name] == pytest.approx(expected[measure], abs=1e-6), name
