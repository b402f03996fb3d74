import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diptych.errors import InvalidArgument
from diptych.fusion import Null, fuse, null_z, rrf, z_max, z_mean

LISTS = ("text", "image", "cross_modal", "lexical")
NULL = {"text": Null(0.1, 0.1), "image": Null(0.2, 0.05), "lexical": Null(0.5, 1.0)}
NAN = float("nan")


def fused(rows, lists=LISTS, **options):
    return fuse(np.asarray(rows, np.float32), lists=lists, null=NULL, **options)


def by_hand(text=NAN, image=NAN, lexical=NAN):
    total = 0.0
    for value, null in ((text, NULL["text"]), (image, NULL["image"])):
        if not math.isnan(value):
            total += math.log1p(math.exp(2 * ((value - null.mean) / null.std - 2.5)))
    if not math.isnan(lexical):
        z = min(max((lexical - 0.5) / 1.0, 0), 32)
        statistic = 0.3 * math.sqrt(lexical * z)
        total += math.log1p(math.exp(2 * (statistic - 2.5))) - math.log1p(math.exp(-5))
    return total**2 / (total**2 + 36)


@pytest.mark.parametrize(
    "parts",
    [
        {"text": 0.5},
        {"image": 0.4},
        {"lexical": 12.0},
        {"lexical": 60.0},
        {"text": 0.6, "image": 0.35, "lexical": 9.0},
        {"text": -0.2, "image": 0.1, "lexical": 0.0},
    ],
)
def test_default_equals_the_formula_by_hand(parts):
    row = [parts.get("text", NAN), parts.get("image", NAN), 0.7, parts.get("lexical", NAN)]
    assert fused([row]).score[0] == pytest.approx(by_hand(**parts), rel=1e-5)


def test_contributions_add_up_to_the_score():
    result = fused([[0.5, 0.4, 0.9, 12.0], [0.6, NAN, 0.6, 0.0]])
    total = result.contributions.sum(axis=1)
    np.testing.assert_allclose(result.score, total**2 / (total**2 + 36))
    assert result.contributions[1, 1] == 0
    assert result.contributions[1, 3] == 0
    assert not result.contributions[:, 2].any()


def test_bad_picture_does_not_spoil_a_good_text():
    with_picture, without = fused([[0.7, 0.1, 0.8, NAN], [0.7, NAN, 0.7, NAN]]).score
    assert with_picture == pytest.approx(without, abs=1e-3)
    assert with_picture >= without


def test_best_hit_of_one_list_is_not_buried_under_middling_ones():
    best_text_only, middling_both = fused([[0.8, NAN, 0.8, NAN], [0.3, 0.3, 0.6, NAN]]).score
    assert best_text_only > middling_both


def test_no_evidence_scores_zero():
    assert fused([[NAN, NAN, NAN, NAN], [NAN, NAN, 0.5, 0.0]]).score.tolist() == [0.0, 0.0]


def test_empty_input_gives_empty_output():
    result = fuse(np.empty((0, 2), np.float32), lists=("text", "image"), null=NULL)
    assert result.score.shape == (0,)
    assert result.contributions.shape == (0, 2)


def test_weight_of_zero_switches_a_list_off_and_others_scale():
    rows = [[0.6, 0.4, 0.7, NAN]]
    np.testing.assert_allclose(fused(rows, weights={"image": 0}).contributions[0, 1], 0)
    np.testing.assert_allclose(
        fused(rows, weights={"text": 2.0}).contributions[0, 0], 2 * fused(rows).contributions[0, 0]
    )


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[0.1]], {"lists": ("smell",)}, "does not know the list 'smell'"),
        ([[0.1, 0.2]], {"lists": ("text",)}, r"shape \(1, 2\) for 1 lists"),
        (
            [[0.1]],
            {"lists": ("text",), "weights": {"text": -1}},
            "the weight -1.0; expected 0 or more",
        ),
        ([[0.1]], {"lists": ("text",), "weights": {"text": NAN}}, "the weight nan"),
        ([[0.1]], {"lists": ("text",), "weights": {"txet": 0}}, "does not know the list 'txet'"),
        ([[0.1]], {"lists": ("cross_modal",)}, "has no null for the list 'cross_modal'"),
        ([[0.1, 0.2]], {"lists": ("text", "text")}, "expected each once"),
        ([[math.inf]], {"lists": ("text",)}, "infinite scores"),
    ],
)
def test_what_cannot_be_meant_is_refused(rows, options, message):
    with pytest.raises(InvalidArgument, match=message):
        fused(rows, **options)


def test_cross_modal_alone_ranks_by_its_score():
    null = {"cross_modal": Null(0.1, 0.1)}
    result = fuse(np.asarray([[0.2], [0.9]], np.float32), lists=("cross_modal",), null=null)
    evidence = [math.log1p(math.exp(2 * (z - 2.5))) for z in (1.0, 8.0)]
    np.testing.assert_allclose(result.contributions[:, 0], evidence, rtol=1e-5)
    assert result.score[0] < result.score[1]


def test_cross_modal_counts_beside_text_and_image_only_when_it_is_weighted():
    null = {**NULL, "cross_modal": Null(0.1, 0.1)}
    row = np.asarray([[0.6, 0.4, 0.7, NAN]], np.float32)
    assert fuse(row, lists=LISTS, null=null).contributions[0, 2] == 0
    weighted = fuse(row, lists=LISTS, null=null, weights={"cross_modal": 0.5})
    assert weighted.contributions[0, 2] == pytest.approx(
        0.5 * math.log1p(math.exp(2 * (6.0 - 2.5))), rel=1e-5
    )


def test_one_list_keeps_its_order_also_below_the_mean():
    null = {"lexical": Null(5.0, 2.0)}
    bm25 = np.asarray([[0.0], [0.5], [1.0], [4.0], [4.9], [6.0], [90.0], [400.0]], np.float32)
    assert np.all(np.diff(fuse(bm25, lists=("lexical",), null=null).score) > 0)


def test_huge_weight_gives_no_nan():
    assert fused([[0.6, NAN, NAN, NAN]], weights={"text": 1e200}).score[0] == 1


@pytest.mark.parametrize("values", [(NAN, 1.0), (0.0, math.inf), (0.0, -1.0)])
def test_null_of_no_meaning_is_refused(values):
    with pytest.raises(InvalidArgument, match="expected finite numbers"):
        Null(*values)


SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(4)),
    elements=st.one_of(st.floats(-1, 40, width=32), st.just(float("nan"))),
)


@given(SCORES, st.randoms(use_true_random=False))
def test_order_of_rows_and_lists_does_not_matter(scores, random):
    rows = random.sample(range(len(scores)), len(scores))
    columns = random.sample(range(4), 4)
    shuffled = fuse(scores[rows][:, columns], lists=[LISTS[c] for c in columns], null=NULL)
    np.testing.assert_allclose(shuffled.score, fused(scores).score[rows], rtol=1e-9)


@given(SCORES)
def test_scores_are_numbers_in_0_and_1(scores):
    score = fused(scores).score
    assert np.all((score >= 0) & (score <= 1))


@given(SCORES, st.integers(0, 3), st.floats(0, 20))
def test_raising_a_score_never_lowers_the_document(scores, column, by):
    raised = scores.copy()
    raised[0, column] += np.float32(by)
    assert fused(raised).score[0] >= fused(scores).score[0] - 1e-12


@given(SCORES)
def test_missing_modality_never_raises_and_one_that_is_there_never_lowers(scores):
    for column in range(4):
        without = scores.copy()
        without[:, column] = np.nan
        assert np.all(fused(without).score <= fused(scores).score + 1e-12)


class TestNull:
    def test_large_sample_speaks_for_itself(self):
        sample = np.random.default_rng(0).normal(0.3, 0.05, 100_000).astype(np.float32)
        null = Null.of(sample)
        assert null.mean == pytest.approx(0.3, abs=1e-3)
        assert null.std == pytest.approx(0.05, abs=2e-3)

    def test_empty_sample_is_the_prior(self):
        null = Null.of(np.empty(0, np.float32))
        assert (null.mean, null.std) == (pytest.approx(0.1), pytest.approx(0.1))

    def test_shrinking_equals_adding_pseudo_observations(self):
        sample = np.asarray([0.9, 0.2, 0.4])
        # 16 at m0 - s0 and 16 at m0 + s0 have mean m0 and standard deviation s0.
        all_values = np.concatenate([sample, np.full(16, 0.0), np.full(16, 0.2)])
        null = Null.of(sample)
        assert null.mean == pytest.approx(all_values.mean())
        assert null.std == pytest.approx(all_values.std())

    def test_z_without_spread_is_finite(self):
        assert np.isfinite(null_z(np.asarray([0.5, 0.6]), Null(0.5, 0.0))).all()


def test_z_mean_and_max_leave_out_what_is_missing():
    z = np.asarray([[1.0, 3.0], [NAN, 2.0], [NAN, NAN]])
    assert z_mean(z).tolist() == [2.0, 2.0, 0.0]
    assert z_max(z).tolist() == [3.0, 2.0, -math.inf]


class TestRrf:
    def test_plain_formula(self):
        ranks = np.asarray([[1.0, 1.0], [1.0, math.inf], [2.0, 3.0]])
        expected = [2 / 61, 1 / 61, 1 / 62 + 1 / 63]
        np.testing.assert_allclose(rrf(ranks, k=60, normalise=False), expected)

    def test_normalised_by_what_a_document_has(self):
        ranks = np.asarray([[1.0, NAN], [1.0, math.inf], [NAN, NAN]])
        np.testing.assert_allclose(rrf(ranks, k=10), [1 / 11, 1 / 22, 0.0])

    def test_weights(self):
        np.testing.assert_allclose(
            rrf(np.asarray([[1.0, 2.0]]), k=10, weights=[3, 1]), [(3 / 11 + 1 / 12) / 4]
        )

    @pytest.mark.parametrize(("ranks", "k"), [([[0.0, 1.0]], 10), ([[1.0]], -1)])
    def test_ranks_that_count_from_0_are_refused(self, ranks, k):
        with pytest.raises(InvalidArgument, match="expected k of at least 0 and ranks from 1"):
            rrf(np.asarray(ranks), k=k)

    def test_no_documents(self):
        assert rrf(np.empty((0, 2))).shape == (0,)
