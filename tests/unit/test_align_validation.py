"""Ranks, loss, split and choice against slow and obvious versions."""

import math

import numpy as np
import pytest

from diptych.align.choose import (
    STRENGTHS,
    Choice,
    Ranks,
    Setting,
    _tried,
    assemble,
    choose,
    measure,
)
from diptych.align.linear import moments
from diptych.align.loss import best_temperature, info_nce
from diptych.align.scores import HeldOut, Scores, chance, identities, lower_bound, ranks
from diptych.align.split import Split, group_numbers, split
from diptych.align.validate import _kept
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


@pytest.mark.parametrize("seed", range(20))
def test_one_big_group_is_fitted_not_held_out(seed):
    numbers = np.concatenate([np.zeros(2000, int), np.arange(1, 11).repeat(100)])
    parts = split(numbers, seed)
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


def topics(rng, n, dt=20, di=26, noise=0.8):
    z = rng.standard_normal((n, 6))
    return (
        unit(
            z @ rng.standard_normal((6, d)) * rng.uniform(0.3, 3, d)
            + noise * rng.standard_normal((n, d))
            + 1
        )
        for d in (dt, di)
    )


def mean_reciprocal(maps, held):
    return [float(np.mean(1.0 / found)) for found in measure(maps, held).all]


def test_choice_is_the_best_of_all_that_was_tried(rng):
    text, image = topics(rng, 320)
    fit, held = np.arange(200), np.arange(200, 320)
    parts = Split(((fit, held),), np.arange(320), np.empty(0, np.int64))
    found, pairs = moments(text[fit], image[fit]), HeldOut.of(text[held], image[held])
    plain = {}
    for setting, _ in _tried(found, pairs, 20, False):
        maps = assemble(Choice(setting), found, text[fit], image[fit])
        plain[setting] = np.mean(mean_reciprocal(maps, pairs))
    choices = choose(text, image, parts, shared=False)
    assert [choice.mrr for choice in choices] == sorted((c.mrr for c in choices), reverse=True)
    for choice in choices:
        rivals = [mrr for setting, mrr in plain.items() if setting.method == choice.setting.method]
        assert plain[choice.setting] == pytest.approx(max(rivals), abs=1e-9)
        figures = np.array([
            mean_reciprocal(assemble(Choice(choice.setting, s, s), found, text[fit], image[fit]), pairs)
            for s in STRENGTHS
        ])  # fmt: skip
        at_image, at_text = (STRENGTHS.index(s) for s in (choice.to_image, choice.to_text))
        assert figures[at_image, 2] == pytest.approx(figures[:, 2].max(), abs=1e-3)
        assert figures[at_text, 3] == pytest.approx(figures[:, 3].max(), abs=1e-3)
        assert choice.mrr == pytest.approx(figures.max(axis=0).mean(), abs=1e-3)


def test_crossing_corrects_for_length_to_first_order(rng):
    # v.z has to be a.b / m - s l, with l the ridge prediction of |b| / m, up to a constant.
    text, image = topics(rng, 300)
    maps = assemble(
        Choice(Setting("csa", (0.3, 0.3), 5), 0.3, 0.7), moments(text, image), text, image
    )
    for way, queries, stored, strength in (
        (maps.to_image, text, image, 0.3),
        (maps.to_text, image, text, 0.7),
    ):
        z = stored.astype(np.float64) - stored.mean(axis=0, dtype=np.float64)
        b = z @ way.out.matrix
        length = np.linalg.norm(b, axis=1)
        c = z.T @ z / len(z)
        penalty = np.trace(c) / len(c) * np.eye(len(c))
        slope = np.linalg.solve(c + penalty, z.T @ (length / length.mean()) / len(z))
        expected = way.into(queries) @ b.T / length.mean() - strength * (z @ slope)
        found = way(queries).astype(np.float64) @ z.T
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_length_correction_is_nearer_to_the_cosine(rng):
    # The last column takes length from what pairs share, so that lengths can be told from rows.
    z = unit(rng.standard_normal((500, 6)))
    noise = 0.1 * rng.standard_normal((500, 6))
    image = unit(np.hstack([z + noise, rng.uniform(0, 3, (500, 1))])).astype(np.float32)
    text = unit(z @ rng.standard_normal((6, 20))).astype(np.float32)
    found = moments(text[:300], image[:300])
    off = []
    for strength in (0.0, 0.5, 1.0):
        choice = Choice(Setting("csa", (0.1, 0.1), 6), strength, strength)
        maps = assemble(choice, found, text[:300], image[:300])
        exact = maps.pair.text(text[300:]) @ maps.pair.image(image[300:]).T
        near = maps.to_image(text[300:]) @ image[300:].T
        alike = [
            np.corrcoef(one[one > 0.3], other[one > 0.3])[0, 1]
            for one, other in zip(exact, near, strict=True)
        ]
        off.append(1.0 - np.mean(alike))
    assert off[0] > 1.4 * off[1] > 1.4 * 1.4 * off[2]


def test_a_shared_space_is_kept_without_a_sure_gain(rng):
    same, other = Choice(Setting("identity")), Choice(Setting("anchored", (1.0,)), mrr=0.9)
    base = rng.uniform(2, 30, 400)
    for factor, kept in ((0.5, other), (1.0, same), (1.5, same)):
        better = base * np.where(np.arange(400) % 2, factor, 1.0)
        ranked = {same: Ranks(*[base] * 4), other: Ranks(*[better] * 4)}
        choice, gain = _kept([other, same], ranked, 50, shared=True, seed=0)
        assert choice is kept
        assert (gain > 0) == (kept is other)


def test_gain_is_over_chance_for_unlike_spaces():
    one = Choice(Setting("csa", (0.1, 0.1), 4))
    perfect = np.ones(50)
    _, gain = _kept([one], {one: Ranks(*[perfect] * 4)}, 20, shared=False, seed=0)
    assert gain == pytest.approx(1.0 - chance(20).mrr)
