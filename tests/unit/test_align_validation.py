"""Ranks, loss, split and choice against slow and obvious versions."""

import math

import numpy as np
import pytest

from diptych.align.choose import choose
from diptych.align.loss import best_temperature, info_nce
from diptych.align.scores import HeldOut, Scores, chance, identities, lower_bound, ranks
from diptych.align.split import group_numbers, split
from diptych.errors import InvalidArgument


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def slow_loss(text, image, temperature):
    n, total = len(text), 0.0
    for i in range(n):
        row = [float(text[i] @ image[j]) / temperature for j in range(n)]
        column = [float(text[j] @ image[i]) / temperature for j in range(n)]
        for logits in (row, column):
            total += math.log(sum(math.exp(x) for x in logits)) - logits[i]
    return total / (2 * n)


def slow_rank(scores, mine):
    best = max(scores[i] for i in mine)
    others = [score for i, score in enumerate(scores) if i not in mine]
    return 1 + sum(s > best for s in others) + 0.5 * sum(s == best for s in others)


@pytest.mark.parametrize("block", [3, 1000])
def test_loss_agrees_with_a_loop(rng, block):
    text, image = unit(rng.standard_normal((11, 6))), unit(rng.standard_normal((11, 6)))
    found = info_nce(text, image, 0.1, block)
    assert found == pytest.approx(slow_loss(text, image, 0.1), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 64])
def test_loss_of_equal_logits_is_log_n(n):
    rows = np.zeros((n, 3), np.float32)
    assert info_nce(rows, rows, 0.05) == pytest.approx(math.log(n), abs=1e-9)


def test_loss_of_no_pairs_is_zero():
    assert info_nce(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 0.05) == 0.0


def test_loss_does_not_overflow_at_low_temperature():
    rows = np.eye(4, dtype=np.float32)
    assert info_nce(rows, rows, 1e-4) == pytest.approx(0.0, abs=1e-9)
    assert info_nce(rows, rows[::-1].copy(), 1e-4) == pytest.approx(1e4)


def test_best_temperature_has_the_least_loss(rng):
    text = unit(rng.standard_normal((60, 8)))
    image = unit(text + 0.6 * rng.standard_normal((60, 8)))
    best = best_temperature(text, image)
    others = [slow_loss(text, image, t) for t in np.geomspace(0.01, 1.0, 21)]
    assert slow_loss(text, image, best) == pytest.approx(min(others), rel=1e-6)


def test_ranks_agree_with_a_loop(rng):
    scores = rng.integers(0, 6, (20, 30)).astype(np.float32)
    query, item = rng.integers(0, 5, 20), np.arange(30) % 5
    expected = [slow_rank(scores[i], np.flatnonzero(item == query[i])) for i in range(20)]
    np.testing.assert_array_equal(ranks(scores, query, item), expected)


def test_a_map_that_tells_nothing_apart_is_in_the_middle():
    found = ranks(np.zeros((3, 9), np.float32), np.arange(3), np.arange(9))
    np.testing.assert_array_equal(found, [5.0, 5.0, 5.0])


def test_scores_are_counted_by_hand():
    assert Scores.of(np.array([1.0, 2.0, 6.0, 20.0])) == Scores(
        0.25, 0.5, 0.75, pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 20) / 4)
    )


def test_chance_is_the_mean_over_all_places():
    assert chance(20) == Scores(
        0.05, 0.25, 0.5, pytest.approx(sum(1 / k for k in range(1, 21)) / 20)
    )


def test_repeated_pictures_are_one_gallery_item(rng):
    pictures = unit(rng.standard_normal((4, 5)))
    held = HeldOut.of(unit(rng.standard_normal((8, 3))), np.repeat(pictures, 2, axis=0))
    np.testing.assert_array_equal(held.image, pictures)
    np.testing.assert_array_equal(held.picture, [0, 0, 1, 1, 2, 2, 3, 3])


def test_identities_follow_the_first_appearance():
    rows = np.array([[1, 2], [3, 4], [1, 2]], np.float32)
    np.testing.assert_array_equal(identities(rows), [0, 1, 0])


def test_lower_bound_is_below_the_mean_and_of_its_sign(rng):
    gains = rng.normal(0.5, 1.0, 400)
    bound = lower_bound(gains, 0)
    expected = gains.mean() - 1.96 * gains.std() / 20
    assert bound == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("pairs", "groups"), [(300, 40), (900, 300), (2500, 400), (2500, 12)])
def test_no_group_is_on_both_sides(rng, pairs, groups):
    numbers = np.arange(pairs) % groups
    parts = split(numbers, 0)
    for fit, held in (*parts.folds, *parts.rounds):
        assert len(fit)
        assert len(held)
        assert not set(numbers[fit]) & set(numbers[held])
        assert not set(held) & set(parts.test) or parts.rounds[0][1] is parts.test
    for fit, held in parts.folds:
        assert not (set(fit) | set(held)) & set(parts.test)


def test_split_sizes_follow_the_protocol():
    few, some, many = (split(np.arange(n), 0) for n in (300, 1000, 4000))
    assert (len(few.folds), len(few.test), few.protocol) == (5, 0, "5-fold")
    assert (len(some.folds), len(some.test), some.protocol) == (5, 150, "test, chosen by 5-fold")
    assert (len(many.folds), len(many.test)) == (1, 600)
    assert [len(part) for part in many.folds[0]] == [2800, 600]
    assert many.protocol == "test, chosen by validation"


def test_one_big_group_is_fitted_not_held_out():
    numbers = np.concatenate([np.zeros(2000, int), np.arange(1, 1001)])
    parts = split(numbers, 3)
    assert 0 not in numbers[parts.test]
    assert 400 <= len(parts.test) <= 500


def test_few_groups_are_refused():
    with pytest.raises(InvalidArgument, match="4 groups, and at least 5"):
        split(np.arange(400) % 4, 0)


def test_pairs_of_one_picture_are_one_group(rng):
    pictures = unit(rng.standard_normal((3, 5)))[[0, 1, 0, 2]]
    numbers = group_numbers(None, pictures)
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 3


def test_groups_of_another_length_are_refused(rng):
    with pytest.raises(InvalidArgument, match="groups has 2 entries for 3 pairs"):
        group_numbers(["a", "b"], unit(rng.standard_normal((3, 5))))


def test_every_setting_is_tried_in_every_fold(rng, monkeypatch):
    # Folds of unequal size have unequal ranks to offer; a sum over fewer folds would win unduly.
    import diptych.align.choose as module

    tried = []
    whole = module._tried

    def spy(*args):
        found = list(whole(*args))
        tried.append({setting for setting, _ in found})
        return iter(found)

    monkeypatch.setattr(module, "_tried", spy)
    z = rng.standard_normal((263, 6))
    text, image = (unit(z @ rng.standard_normal((6, 90)) + 0.1) for _ in range(2))
    text = unit(text + 0.05 * rng.standard_normal(text.shape))
    image = unit(image + 0.05 * rng.standard_normal(image.shape))
    numbers = np.sort(rng.integers(0, 7, 263))
    choose(text, image, split(numbers, 0), shared=False)
    assert len(tried) == 5
    assert all(each == tried[0] for each in tried)
