"""Fusion models: the inner product is what it says, in every combination of what is missing."""

import numpy as np
import pytest

from diptych.align import CompressedFusion, ConcatFusion
from diptych.errors import (
    CorruptionError,
    EncoderMismatch,
    FormatError,
    InvalidArgument,
    NotFitted,
    VectorError,
)
from diptych.protocols import FusionModel


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def loop_score(query, document, weights, nulls):
    """Sum over the modalities that both have; ``None`` is a missing one."""
    total = 0.0
    for q, d, weight, (mean, std) in zip(query, document, weights, nulls, strict=True):
        if q is not None and d is not None:
            cosine = sum(float(a) * float(b) for a, b in zip(q, d, strict=True))
            total += weight * (cosine - mean) / std
    return total


KINDS = [(True, True), (True, False), (False, True)]


@pytest.mark.parametrize("asked", KINDS)
@pytest.mark.parametrize("stored", KINDS)
@pytest.mark.parametrize("nulls", [((0.0, 1.0), (0.0, 1.0)), ((0.3, 0.1), (-0.2, 0.05))])
def test_inner_product_is_the_weighted_sum(rng, asked, stored, nulls):
    model = ConcatFusion(
        5, 7, text_weight=0.7, image_weight=1.3, text_null=nulls[0], image_null=nulls[1]
    )
    q = [
        unit(rng.standard_normal((4, d))) if has else None
        for d, has in zip((5, 7), asked, strict=True)
    ]
    d = [
        unit(rng.standard_normal((6, d))) if has else None
        for d, has in zip((5, 7), stored, strict=True)
    ]
    scores = model.fuse_query(*q, weights={"text": 2.0, "image": 0.5}) @ model.fuse_document(*d).T
    for i in range(4):
        for j in range(6):
            expected = loop_score(
                [None if rows is None else rows[i] for rows in q],
                [None if rows is None else rows[j] for rows in d],
                (0.7 * 2.0, 1.3 * 0.5),
                nulls,
            )
            assert scores[i, j] == pytest.approx(expected, abs=2e-5 if nulls[0][0] else 1e-6)


def test_rows_are_laid_out_as_documented():
    model = ConcatFusion(2, 3, text_weight=0.5, text_null=(0.2, 0.1))
    text, image = np.array([[1, 2]]), np.array([[3, 4, 5]])
    np.testing.assert_allclose(model.fuse_document(text, image), [[1, 2, 3, 4, 5, 1, 1]])
    np.testing.assert_allclose(model.fuse_document(None, image), [[0, 0, 3, 4, 5, 0, 1]])
    np.testing.assert_allclose(model.fuse_query(text, image), [[5, 10, 3, 4, 5, -1, 0]], atol=1e-6)
    np.testing.assert_allclose(model.fuse_query(None, image), [[0, 0, 3, 4, 5, 0, 0]])
    assert model.dim == 7


def test_missing_modality_is_no_evidence(rng):
    model = ConcatFusion(4, 4, text_null=(0.5, 0.2), image_null=(0.1, 0.1))
    text, image = unit(rng.standard_normal((3, 4))), unit(rng.standard_normal((3, 4)))
    only_text, only_image = model.fuse_document(text, None), model.fuse_document(None, image)
    np.testing.assert_array_equal(model.fuse_query(text, None) @ only_image.T, 0.0)
    np.testing.assert_array_equal(model.fuse_query(None, image) @ only_text.T, 0.0)


def test_weights_of_other_lists_are_ignored(rng):
    model = ConcatFusion(4, 4)
    text = unit(rng.standard_normal((2, 4)))
    np.testing.assert_array_equal(
        model.fuse_query(text, None, weights={"lexical": 9.0, "cross_modal": 0.0}),
        model.fuse_query(text, None),
    )


@pytest.mark.parametrize("no_image", [None, 0])
def test_an_index_of_one_encoder_has_rows_too(rng, no_image):
    text = unit(rng.standard_normal((3, 4)))
    model = ConcatFusion(4, no_image)
    assert model.dim == 6
    np.testing.assert_allclose(
        model.fuse_query(text, None) @ model.fuse_document(text, None).T, text @ text.T, atol=1e-6
    )
    with pytest.raises(VectorError, match=r"image vectors\) returned an array of shape \(3, 4\)"):
        model.fuse_document(text, text)


def test_fusion_without_encoders_can_be_made():
    assert ConcatFusion(0, 0).dim == 2


def test_single_vectors_are_rows_of_the_batch(rng):
    model = ConcatFusion(4, 3)
    text, image = unit(rng.standard_normal((2, 4))), unit(rng.standard_normal((2, 3)))
    rows = model.fuse_document(text, image)
    np.testing.assert_array_equal(model(text[1], image[1]), rows[1])
    np.testing.assert_array_equal(model(None, image[0]), model.fuse_document(None, image)[0])
    with pytest.raises(VectorError, match=r"text vector has shape \(2, 4\)"):
        model(text, image[0])


def test_no_rows_give_no_rows():
    assert ConcatFusion(4, 3).fuse_document(np.zeros((0, 4)), None).shape == (0, 9)


def test_input_is_not_changed(rng):
    text = unit(rng.standard_normal((2, 4)))
    copy = text.copy()
    ConcatFusion(4, 0, text_weight=3.0).fuse_query(text, None)
    np.testing.assert_array_equal(text, copy)


def test_fingerprint_is_of_what_is_stored():
    model = ConcatFusion(4, 3)
    assert model.fingerprint == ConcatFusion(4, 3, text_weight=2, text_null=(0.1, 0.2)).fingerprint
    assert model.fingerprint != ConcatFusion(3, 4).fingerprint


@pytest.mark.parametrize("model", [ConcatFusion(4, 3), CompressedFusion(ConcatFusion(4, 3), 5)])
def test_they_are_fusion_models(model):
    assert isinstance(model, FusionModel)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"text_dim": -1}, "text_dim=-1 is no dimension"),
        ({"text_weight": -0.5}, "text_weight=-0.5 is no weight"),
        ({"image_weight": float("nan")}, "image_weight=nan is no weight"),
        ({"text_null": (0.1, 0.0)}, "text_null=.* is no mean and standard deviation"),
        ({"image_null": (float("inf"), 1.0)}, "image_null=.* is no mean"),
    ],
)
def test_impossible_settings_are_refused(arguments, match):
    with pytest.raises(InvalidArgument, match=match):
        ConcatFusion(**{"text_dim": 2, "image_dim": 2, **arguments})


def test_bad_vectors_are_refused():
    model = ConcatFusion(2, 3)
    with pytest.raises(InvalidArgument, match="Neither text nor image vectors"):
        model.fuse_document(None, None)
    with pytest.raises(VectorError, match=r"expected \(2, 3\)"):
        model.fuse_document(np.ones((2, 2)), np.ones((1, 3)))
    with pytest.raises(VectorError, match="NaN or infinite"):
        model.fuse_query(np.full((1, 2), np.nan), None)
    with pytest.raises(InvalidArgument, match=r"weights\['text'\]=-1"):
        model.fuse_query(np.ones((1, 2)), None, weights={"text": -1})


# -- compressed -----------------------------------------------------------------------------


def corpus(rng, n=200):
    """Rows of all three kinds, with few true dimensions."""
    base = ConcatFusion(20, 30)
    z = rng.standard_normal((n, 6))
    text = unit(z @ rng.standard_normal((6, 20)) + 0.05 * rng.standard_normal((n, 20)))
    image = unit(z @ rng.standard_normal((6, 30)) + 0.05 * rng.standard_normal((n, 30)))
    third = n // 3
    rows = np.concatenate([
        base.fuse_document(text[:third], image[:third]),
        base.fuse_document(text[third : 2 * third], None),
        base.fuse_document(None, image[2 * third :]),
    ])  # fmt: skip
    return base, rows, text, image


def test_compression_to_the_full_dimension_is_exact(rng):
    base, rows, text, image = corpus(rng)
    model = CompressedFusion(base, base.dim)
    assert model.fit(rows) == pytest.approx(1.0)
    for q in ((text, image), (text, None), (None, image)):
        exact = base.fuse_query(*q) @ base.fuse_document(text, image).T
        near = model.fuse_query(*q) @ model.fuse_document(text, image).T
        np.testing.assert_allclose(near, exact, atol=1e-5)


def test_compression_is_the_truncated_svd(rng):
    base, rows, _, _ = corpus(rng)
    model = CompressedFusion(base, 9)
    kept = model.fit(rows)
    _, s, vt = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    assert kept == pytest.approx((s[:9] ** 2).sum() / (s**2).sum(), abs=1e-6)
    basis = model._basis
    np.testing.assert_allclose(basis @ basis.T, vt[:9].T @ vt[:9], atol=1e-4)
    np.testing.assert_allclose(basis.T @ basis, np.eye(9), atol=1e-5)


def test_compression_keeps_the_order_of_a_low_rank_corpus(rng):
    base, rows, text, image = corpus(rng)
    model = CompressedFusion(base, 16)
    assert model.fit(rows) > 0.98
    assert model.dim == 16
    exact = base.fuse_query(text, image) @ base.fuse_document(text, image).T
    near = model.fuse_query(text, image) @ model.fuse_document(text, image).T
    assert np.mean(near.argmax(axis=1) == exact.argmax(axis=1)) > 0.9


def test_compressed_single_vectors_and_weights(rng):
    base, rows, text, image = corpus(rng)
    model = CompressedFusion(base, 12)
    model.fit(rows)
    np.testing.assert_allclose(
        model(text[0], None), model.fuse_document(text[:1], None)[0], atol=1e-6
    )
    np.testing.assert_allclose(
        model.fuse_query(text, image, weights={"image": 0.0}), model.fuse_query(text, image * 0),
        atol=1e-5,
    )  # fmt: skip


def test_compressed_save_and_load_are_equal_to_the_bit(rng, tmp_path):
    base, rows, text, image = corpus(rng)
    model = CompressedFusion(base, 12)
    model.fit(rows)
    model.save(tmp_path / "fusion")
    again = CompressedFusion.load(tmp_path / "fusion", ConcatFusion(20, 30))
    assert again.dim == 12
    assert again.fingerprint == model.fingerprint
    np.testing.assert_array_equal(again.fuse_query(text, image), model.fuse_query(text, image))


def test_compressed_fingerprint_follows_the_fit(rng):
    base, rows, _, _ = corpus(rng)
    model = CompressedFusion(base, 12)
    assert model.fingerprint == "unfitted"
    model.fit(rows)
    before = model.fingerprint
    model.fit(rows[:150])
    assert model.fingerprint != before


def test_compressed_before_fit_is_refused(tmp_path):
    model = CompressedFusion(ConcatFusion(2, 2), 3)
    for call in (
        lambda: model([1, 0], None),
        lambda: model.fuse_document(np.ones((1, 2)), None),
        lambda: model.fuse_query(np.ones((1, 2)), None),
        lambda: model.save(tmp_path / "x"),
    ):
        with pytest.raises(NotFitted, match=r"Call fit\(rows\)"):
            call()


def test_compressed_bad_arguments_are_refused(rng):
    base = ConcatFusion(2, 2)
    for dim in (0, 7):
        with pytest.raises(InvalidArgument, match=f"dim={dim} is no compression of 6 dimensions"):
            CompressedFusion(base, dim)
    model = CompressedFusion(base, 4)
    with pytest.raises(InvalidArgument, match="3 rows cannot fix 4 directions"):
        model.fit(rng.standard_normal((3, 6)))
    with pytest.raises(VectorError, match=r"expected \(10, 6\)"):
        model.fit(rng.standard_normal((10, 5)))
    with pytest.raises(VectorError, match="NaN or infinite"):
        model.fit(np.full((10, 6), np.nan))


def test_compressed_file_of_another_base_is_refused(rng, tmp_path):
    base, rows, _, _ = corpus(rng)
    model = CompressedFusion(base, 12)
    model.fit(rows)
    model.save(tmp_path / "fusion")
    with pytest.raises(EncoderMismatch, match="Give the base that it was fitted with"):
        CompressedFusion.load(tmp_path / "fusion", ConcatFusion(30, 20))
    base.dim = 60
    with pytest.raises(CorruptionError, match=r"directions of shape \(52, 12\)"):
        CompressedFusion.load(tmp_path / "fusion", base)
    (tmp_path / "fusion").write_bytes(b"PK\x03\x04")
    with pytest.raises(FormatError, match="is no diptych.fusion file"):
        CompressedFusion.load(tmp_path / "fusion", base)
