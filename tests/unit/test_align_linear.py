"""Closed-form maps against planted truth and independent formulas."""

import numpy as np
import pytest

from diptych.align.linear import anchored, csa, identity, moments, procrustes, ridge
from diptych.errors import InvalidArgument


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def latent(rng, n=400, dt=12, di=17, shared=5, noise=0.3):
    z = rng.standard_normal((n, shared))
    text = z @ rng.standard_normal((shared, dt)) + noise * rng.standard_normal((n, dt))
    image = z @ rng.standard_normal((shared, di)) + noise * rng.standard_normal((n, di))
    return unit(text), unit(image)


def shrunk(rows, g):
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    c = centred.T @ centred / len(rows)
    return (1 - g) * c + g * np.trace(c) / len(c) * np.eye(len(c))


def cross(text, image):
    x = text.astype(np.float64) - text.mean(axis=0, dtype=np.float64)
    y = image.astype(np.float64) - image.mean(axis=0, dtype=np.float64)
    return x.T @ y / len(x)


@pytest.mark.parametrize("n", [400, 14, 9])
@pytest.mark.parametrize("g", [(0.1, 0.1), (0.3, 0.9), (0.9, 0.3)])
def test_csa_directions_whiten_the_shrunk_covariances(rng, g, n):
    text, image = latent(rng, n=n)  # 12 and 17 dimensions: also with fewer pairs than that
    pair = csa(moments(text, image), g, 6)
    gram_x = pair.text.matrix.T @ shrunk(text, g[0]) @ pair.text.matrix
    gram_y = pair.image.matrix.T @ shrunk(image, g[1]) @ pair.image.matrix
    between = pair.text.matrix.T @ cross(text, image) @ pair.image.matrix
    # W' C^g W = R and W_x' C_xy W_y = R^2, for the same diagonal R.
    r = np.diag(gram_x)
    np.testing.assert_allclose(gram_x, np.diag(r), atol=1e-5)
    np.testing.assert_allclose(gram_y, np.diag(r), atol=1e-5)
    np.testing.assert_allclose(between, np.diag(r**2), atol=1e-5)
    assert np.all(np.diff(r) <= 1e-6)


def test_csa_strengths_solve_the_generalised_eigenproblem(rng):
    text, image = latent(rng)
    g = (0.3, 0.6)
    pair = csa(moments(text, image), g, 5)
    r = np.diag(pair.text.matrix.T @ shrunk(text, g[0]) @ pair.text.matrix)
    # C_xy C_yy^-1 C_yx w = r^2 C_xx w, without any whitening.
    c = cross(text, image)
    product = np.linalg.solve(shrunk(text, g[0]), c @ np.linalg.solve(shrunk(image, g[1]), c.T))
    expected = np.sqrt(np.sort(np.linalg.eigvals(product).real)[::-1][:5])
    np.testing.assert_allclose(r, expected, rtol=1e-4)


def test_shrinkage_lets_strengths_exceed_one(rng):
    # RETRIEVAL 3.2a calls them correlations in [0, 1]; shrunk towards tr(C)/d they are not.
    text, image = latent(rng, noise=0.05)
    pair = csa(moments(text, image), (0.9, 0.9), 1)
    r = pair.text.matrix.T @ shrunk(text, 0.9) @ pair.text.matrix
    assert r[0, 0] > 1.0


def test_csa_finds_a_planted_latent_space(rng):
    text, image = latent(rng, n=600, dt=40, di=60, shared=6, noise=0.1)
    pair = csa(moments(text[:400], image[:400]), (0.1, 0.1), 6)
    scores = pair.text(text[400:]) @ pair.image(image[400:]).T
    assert np.mean(scores.argmax(axis=1) == np.arange(200)) > 0.9


def test_procrustes_recovers_a_planted_rotation(rng):
    rotation = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    text = unit(rng.standard_normal((500, 20)))
    image = unit(text @ rotation)
    pair = procrustes(moments(text, image), 20)
    np.testing.assert_allclose(pair.text.matrix @ pair.image.matrix.T, rotation, atol=1e-4)


def test_procrustes_maps_are_orthonormal(rng):
    text, image = latent(rng)
    pair = procrustes(moments(text, image), 8)
    for matrix in (pair.text.matrix, pair.image.matrix):
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-5)


@pytest.mark.parametrize("to", ["image", "text"])
def test_ridge_is_the_textbook_solution(rng, to):
    text, image = latent(rng)
    source, target = (text, image) if to == "image" else (image, text)
    pair = ridge(moments(text, image), 0.5, to=to)
    x = source.astype(np.float64) - source.mean(axis=0, dtype=np.float64)
    y = target.astype(np.float64) - target.mean(axis=0, dtype=np.float64)
    c = x.T @ x / len(x)
    expected = np.linalg.solve(c + 0.5 * np.trace(c) / len(c) * np.eye(len(c)), x.T @ y / len(x))
    mapped, stays = (pair.text, pair.image) if to == "image" else (pair.image, pair.text)
    np.testing.assert_allclose(mapped.matrix, expected, atol=1e-5)
    np.testing.assert_array_equal(stays.matrix, np.eye(target.shape[1]))


def test_anchored_ridge_is_the_textbook_solution(rng):
    text = unit(rng.standard_normal((300, 10)))
    image = unit(text + 0.3 * rng.standard_normal((300, 10)))
    x = text.astype(np.float64) - text.mean(axis=0, dtype=np.float64)
    y = image.astype(np.float64) - image.mean(axis=0, dtype=np.float64)
    c = x.T @ x / len(x)
    step = np.linalg.solve(c + 2.0 * np.trace(c) / 10 * np.eye(10), x.T @ (y - x) / len(x))
    pair = anchored(moments(text, image), 2.0)
    np.testing.assert_allclose(pair.text.matrix, np.eye(10) + step, atol=1e-5)


def test_anchored_ridge_with_an_infinite_penalty_only_centres(rng):
    text, image = unit(rng.standard_normal((50, 8))), unit(rng.standard_normal((50, 8)))
    pair = anchored(moments(text, image), float("inf"))
    np.testing.assert_array_equal(pair.text.matrix, np.eye(8))
    np.testing.assert_allclose(pair.text.mean, text.mean(axis=0), atol=1e-6)


def test_identity_changes_nothing(rng):
    rows = unit(rng.standard_normal((5, 8)))
    np.testing.assert_allclose(identity(8).text(rows), rows, atol=1e-7)


def test_gram_and_covariance_give_the_same_moments(rng):
    # 30 rows of 40 dimensions take the Gram matrix, of 20 dimensions the covariance.
    wide = unit(rng.standard_normal((30, 40)))
    side = moments(wide, wide).text
    centred = wide - wide.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T.astype(np.float64) @ centred / 30)
    np.testing.assert_allclose(side.values, values[values > 1e-10 * values[-1]], rtol=1e-4)
    np.testing.assert_allclose(side.vectors.T @ side.vectors, np.eye(len(side.values)), atol=1e-5)


def test_constant_and_repeated_columns_are_no_trouble(rng):
    text, image = latent(rng)
    text = unit(np.hstack([text, text[:, :3], np.full((len(text), 2), 0.2)]))
    pair = csa(moments(text, image), (0.1, 0.1), 12)
    assert np.isfinite(pair.text(text)).all()
    assert np.mean(np.argmax(pair.text(text) @ pair.image(image).T, 1) == np.arange(400)) > 0.1


def test_rank_is_cut_to_the_directions_there_are(rng):
    text, image = latent(rng, n=9)
    assert csa(moments(text, image), (0.5, 0.5), 100).text.rank <= 8


def test_rows_that_do_not_vary_are_refused(rng):
    text, image = np.tile(unit(rng.standard_normal((1, 6))), (20, 1)), latent(rng, n=20)[1]
    with pytest.raises(InvalidArgument, match="text_vectors does not vary"):
        moments(text, image)
