"""What holds of the aligner and of the fusion for all inputs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.align import ConcatFusion, CrossModalAligner
from diptych.align.linear import csa, moments, procrustes, ridge
from diptych.align.scores import ranks


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pairs(seed, n, dt, di, rank):
    """Pairs with a shared part, of any shape: fewer rows than columns, and the reverse."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, rank))
    return tuple(
        unit(z @ rng.standard_normal((rank, d)) + 0.3 * rng.standard_normal((n, d)))
        for d in (dt, di)
    )


SHAPES = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(1, 30), st.integers(1, 30),
    st.integers(1, 6),
)  # fmt: skip
MAPS = {
    "csa": lambda found: csa(found, (0.3, 0.6), 5),
    "procrustes": lambda found: procrustes(found, 30),
    "ridge_to_image": lambda found: ridge(found, 0.5, to="image"),
    "ridge_to_text": lambda found: ridge(found, 0.5, to="text"),
}


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.sampled_from(sorted(MAPS)), st.randoms(use_true_random=False))
def test_maps_do_not_depend_on_the_order_of_pairs(shape, name, random):
    text, image = pairs(*(*shape[:2], max(shape[2], 2), max(shape[3], 2), shape[4]))
    order = list(range(len(text)))
    random.shuffle(order)
    one, two = (MAPS[name](moments(text[o], image[o])) for o in (slice(None), order))
    # Directions may change sign together: what counts is their product.
    a, b = (each.text.matrix.astype(np.float64) @ each.image.matrix.T for each in (one, two))
    scale = max(np.abs(a).max(), 1e-3)
    np.testing.assert_allclose(a / scale, b / scale, atol=1e-3)


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.booleans())
def test_any_shape_gives_finite_unit_rows(shape, repeat):
    seed, n, dt, di, rank = shape
    text, image = pairs(seed, n, dt + 1, di + 1, rank)
    if repeat:
        image = np.repeat(image[: (n + 1) // 2], 2, axis=0)[:n]
    aligner = CrossModalAligner()
    aligner.fit(text, image, allow_few=True, groups=[0] * n)
    for rows, dim in (
        (aligner.text_to_image(text), di + 1),
        (aligner.image_to_text(image), dt + 1),
    ):
        assert rows.shape == (n, dim)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-4)
    a, b = aligner.align(text, image)
    assert np.abs(a @ b.T).max() <= 1.0 + 1e-5
    assert np.isfinite(aligner.loss(text, image))


@settings(deadline=None, max_examples=4)
@given(st.integers(0, 2**32 - 1))
def test_fit_does_not_depend_on_the_order_of_pairs(seed):
    text, image = pairs(seed, 80, 12, 15, 4)
    order = np.random.default_rng(seed).permutation(80)
    one, two = CrossModalAligner(), CrossModalAligner()
    first = one.fit(text, image, allow_few=True)
    second = two.fit(text[order], image[order], allow_few=True)
    assert (first.method, first.shrinkage, first.rank) == (
        second.method,
        second.shrinkage,
        second.rank,
    )
    np.testing.assert_allclose(one.text_to_image(text), two.text_to_image(text), atol=1e-3)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(2, 12))
def test_ranks_do_not_depend_on_the_order_of_items(seed, queries, items):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (queries, items)).astype(np.float32)
    query, item = rng.integers(0, items, queries), np.arange(items)
    order = rng.permutation(items)
    np.testing.assert_array_equal(
        ranks(scores, query, item), ranks(scores[:, order], query, item[order])
    )


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9),
    st.floats(0, 10), st.floats(0, 10),
)  # fmt: skip
def test_concatenation_is_the_weighted_sum(seed, dt, di, text_weight, image_weight):
    rng = np.random.default_rng(seed)
    t, i = rng.standard_normal((3, dt)), rng.standard_normal((3, di))
    q, p = rng.standard_normal((2, dt)), rng.standard_normal((2, di))
    model = ConcatFusion(dt, di, text_weight=text_weight)
    scores = model.fuse_query(q, p, weights={"image": image_weight}) @ model.fuse_document(t, i).T
    expected = text_weight * q @ t.T + image_weight * p @ i.T
    np.testing.assert_allclose(scores, expected, atol=1e-4 * (1 + np.abs(expected).max()))
