"""The aligner as its users see it: planted truth, both ways to search, files, bad input."""

import copy
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

from diptych.align import CrossModalAligner
from diptych.errors import (
    CorruptionError,
    DiptychError,
    FormatError,
    InvalidArgument,
    NotFitted,
    StorageError,
    VectorError,
)
from diptych.protocols import Aligner


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted(n=300, dt=24, di=32, shared=8, noise=0.2, seed=7):
    """Two encoders that see one latent topic, each in its own coordinates and with its own noise."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, shared))
    text = z @ rng.standard_normal((shared, dt)) + noise * rng.standard_normal((n, dt))
    image = z @ rng.standard_normal((shared, di)) + 2 + noise * rng.standard_normal((n, di))
    return unit(text), unit(image)


def first(scores):
    return float(np.mean(scores.argmax(axis=1) == np.arange(len(scores))))


@pytest.fixture(scope="module")
def fitted():
    text, image = planted(400)
    aligner = CrossModalAligner(text_space="t", image_space="i")
    aligner.fit(text[:300], image[:300])
    return aligner, text[300:], image[300:]


def test_it_is_an_aligner():
    assert isinstance(CrossModalAligner(), Aligner)


def test_new_pairs_find_each_other_in_the_common_space(fitted):
    aligner, text, image = fitted
    a, b = aligner.align(text, image)
    assert first(a @ b.T) > 0.8
    assert first(b @ a.T) > 0.8


def test_new_pairs_find_each_other_in_place(fitted):
    aligner, text, image = fitted
    assert first(aligner.text_to_image(text) @ image.T) > 0.7
    assert first(aligner.image_to_text(image) @ text.T) > 0.7


def test_what_comes_out_is_unit_float32_of_the_right_space(fitted):
    aligner, text, image = fitted
    made = (aligner.text_to_image(text), aligner.image_to_text(image), *aligner.align(text, image))
    for rows, dim in zip(made, (32, 24, made[2].shape[1], made[2].shape[1]), strict=True):
        assert rows.dtype == np.float32
        assert rows.flags.c_contiguous
        assert rows.shape == (100, dim)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_align_is_the_two_projectors(fitted):
    aligner, text, image = fitted
    a, b = aligner.align(text, image[:3])
    np.testing.assert_array_equal(a, aligner.text_projector(text))
    np.testing.assert_array_equal(b, aligner.image_projector(image[:3]))
    by_hand = (text - aligner.text_projector.mean) @ aligner.text_projector.matrix
    np.testing.assert_allclose(a, unit(by_hand), atol=1e-6)


def test_crossing_is_the_first_order_cosine(fitted):
    # Written out: v = W a / m + bias, with nothing of the class but its numbers.
    aligner, text, _ = fitted
    way = aligner._fitted.maps.to_image
    v = aligner.text_projector(text) @ aligner.image_projector.matrix.T / way.length + way.bias
    np.testing.assert_allclose(aligner.text_to_image(text), unit(v), atol=1e-5)


def test_length_of_rows_does_not_matter(fitted):
    aligner, text, image = fitted
    np.testing.assert_allclose(
        aligner.text_to_image(text * 7), aligner.text_to_image(text), atol=1e-6
    )
    text, image = planted(250)
    scaled = CrossModalAligner()
    plain = CrossModalAligner()
    scaled.fit(text * 3.0, image * np.linspace(0.1, 50, 250)[:, None])
    plain.fit(text, image)
    a, b = (each.text_projector(text) @ each.image_projector(image).T for each in (scaled, plain))
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_loss_is_info_nce_of_the_common_space(fitted):
    aligner, text, image = fitted
    a, b = aligner.align(text, image)
    logits = a.astype(np.float64) @ b.T / aligner.temperature
    rows = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    columns = np.log(np.exp(logits).sum(axis=0)) - np.diag(logits)
    assert aligner.loss(text, image) == pytest.approx((rows.mean() + columns.mean()) / 2, abs=1e-4)
    assert aligner.loss(text, image) < math.log(100) / 2
    assert aligner.loss(text, image[::-1]) > math.log(100)


def test_report_says_what_was_found():
    text, image = planted(300)
    report = CrossModalAligner().fit(text, image, groups=[i // 2 for i in range(300)])
    assert (report.pairs, report.groups, report.protocol) == (300, 150, "5-fold")
    assert report.held_out == 300
    assert report.gallery == 60
    assert {each.method for each in report.candidates} == {
        "csa", "procrustes", "ridge_to_image", "ridge_to_text",
    }  # fmt: skip
    assert report.method == report.candidates[0].method
    assert report.loss_before == pytest.approx(math.log(60))
    assert report.loss_after < report.loss_before / 2
    assert report.candidates[0].text_to_image.recall_1 > 0.8
    assert report.gain > 0.5
    text = str(report)
    assert "300 pairs of 150 groups" in text
    assert "5-fold" in text
    assert "procrustes" in text
    assert "chance" in text


def test_held_out_figures_are_of_pairs_that_were_not_fitted():
    # Noise alone is learnt by heart; held out, it has to look like chance.
    rng = np.random.default_rng(3)
    text, image = unit(rng.standard_normal((300, 40))), unit(rng.standard_normal((300, 50)))
    aligner = CrossModalAligner()
    with pytest.warns(UserWarning, match="learnt nothing that shows"):
        report = aligner.fit(text, image)
    a, b = aligner.align(text, image)
    assert first(a @ b.T) > 0.05
    assert report.candidates[0].text_to_image.recall_10 < 0.3
    assert report.gain <= 0.0


def test_repeated_pictures_stay_on_one_side_and_count_once():
    text, image = planted(600, seed=2)
    report = CrossModalAligner().fit(text, np.repeat(image[::2], 2, axis=0))
    assert report.groups == 300
    assert report.gallery == 60


def test_equal_input_gives_equal_output():
    text, image = planted(250)
    one, two = CrossModalAligner(), CrossModalAligner()
    assert one.fit(text, image, seed=1) == two.fit(text, image, seed=1)
    assert one.fingerprint == two.fingerprint
    np.testing.assert_array_equal(one.text_to_image(text), two.text_to_image(text))


def test_another_fit_has_another_fingerprint(fitted):
    aligner = CrossModalAligner(text_space="t", image_space="i")
    assert aligner.fingerprint == "unfitted"
    text, image = planted(250)
    aligner.fit(text, image)
    assert aligner.fingerprint != fitted[0].fingerprint


def test_it_is_fitted_on_all_pairs_in_the_end(fitted):
    aligner, _, _ = fitted
    text, _ = planted(400)
    np.testing.assert_allclose(aligner.text_projector.mean, text[:300].mean(axis=0), atol=1e-6)


def test_fingerprint_follows_every_array_and_setting(fitted):
    stored = fitted[0]._fitted
    seen = {stored.fingerprint}
    for name, array in stored.arrays().items():
        spoilt = copy.deepcopy(stored)
        spoilt.__dict__.pop("fingerprint", None)
        spoilt.arrays()[name].flat[0] += 1
        seen.add(spoilt.fingerprint)
        assert array.flat[0] != spoilt.arrays()[name].flat[0]
    for change in ({"text_space": "x"}, {"image_space": "x"}, {"temperature": 0.9}):
        seen.add(replace(stored, **change).fingerprint)
    assert len(seen) == 12


def test_input_is_not_changed():
    text, image = planted(250)
    copies = text.copy(), image.copy()
    aligner = CrossModalAligner()
    aligner.fit(text, image)
    aligner.text_to_image(text)
    np.testing.assert_array_equal(text, copies[0])
    np.testing.assert_array_equal(image, copies[1])


def test_no_rows_give_no_rows(fitted):
    aligner, _, _ = fitted
    assert aligner.text_to_image(np.zeros((0, 24))).shape == (0, 32)
    assert aligner.image_to_text([]).shape == (0, 24)


def test_a_vector_without_evidence_still_gives_a_unit_row(fitted):
    aligner, _, _ = fitted
    aligner = CrossModalAligner()
    text, image = planted(20)
    aligner.fit(text, image, allow_few=True)
    mean = aligner.text_projector.mean
    aligner.text_projector.mean[:] = mean / np.linalg.norm(mean)
    row = aligner.text_to_image(aligner.text_projector.mean[None, :])
    assert np.linalg.norm(row) == pytest.approx(1.0, abs=1e-5)
    assert not aligner.text_projector(aligner.text_projector.mean[None, :]).any()


@pytest.mark.parametrize("n", [2, 7, 30])
def test_few_pairs_are_fitted_when_allowed(n):
    text, image = planted(n)
    aligner = CrossModalAligner()
    report = aligner.fit(text, image, allow_few=True, groups=[0] * n)
    assert (report.protocol, report.candidates, report.gain) == ("none", (), None)
    assert "nothing is known" in str(report)
    assert np.isfinite(aligner.text_to_image(text)).all()


def test_few_pairs_in_enough_groups_are_validated():
    text, image = planted(60)
    assert CrossModalAligner().fit(text, image, allow_few=True).protocol == "5-fold"


# -- one shared space -----------------------------------------------------------------------


def towers(n, drift, noise, seed=5, dim=24):
    rng = np.random.default_rng(seed)
    text = rng.standard_normal((n, dim))
    turn = np.eye(dim) + drift * rng.standard_normal((dim, dim))
    return unit(text), unit(text @ turn + noise * rng.standard_normal((n, dim)))


def test_shared_space_that_is_right_already_is_left_alone():
    text, image = towers(800, drift=0.0, noise=0.9)
    aligner = CrossModalAligner(text_space="clip", image_space="clip")
    report = aligner.fit(text, image)
    assert report.method == "identity"
    assert report.gain == 0.0
    assert report.loss_after == pytest.approx(report.loss_before, rel=0.05)
    np.testing.assert_allclose(aligner.text_to_image(text), text, atol=1e-6)
    np.testing.assert_allclose(aligner.image_to_text(image), image, atol=1e-6)


def test_shared_space_that_drifted_is_corrected():
    text, image = towers(800, drift=0.25, noise=0.5)
    aligner = CrossModalAligner(text_space="clip", image_space="clip")
    report = aligner.fit(text[:600], image[:600])
    assert report.method != "identity"
    assert report.gain > 0.0
    held_text, held_image = text[600:], image[600:]
    before = first(held_text @ held_image.T)
    assert first(aligner.text_to_image(held_text) @ held_image.T) > before + 0.1
    assert {"identity", "anchored"} <= {each.method for each in report.candidates}


def test_shared_space_of_two_dimensions_is_refused():
    text, image = planted(250)
    with pytest.raises(InvalidArgument, match=r"both 'clip', but have dimensions 24 and 32"):
        CrossModalAligner(text_space="clip", image_space="clip").fit(text, image)


# -- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a.align(np.ones((1, 2)), np.ones((1, 2))),
        lambda a: a.loss(np.ones((1, 2)), np.ones((1, 2))),
        lambda a: a.text_to_image(np.ones((1, 2))),
        lambda a: a.image_to_text(np.ones((1, 2))),
        lambda a: a.text_projector,
        lambda a: a.temperature,
        lambda a: a.save("never"),
    ],
)
def test_use_before_fit_is_refused(call):
    with pytest.raises(NotFitted, match=r"Call fit\(text_vectors, image_vectors\)"):
        call(CrossModalAligner())


def changed(rows, value):
    rows = rows.copy()
    rows[3] = value
    return rows


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (lambda t: changed(t, np.nan), "text_vectors holds NaN, infinity or only zeros in row 3"),
        (lambda t: changed(t, np.inf), "in row 3 of 250"),
        (lambda t: changed(t, 0.0), "in row 3 of 250"),
        (lambda t: t[:100], "100 text vectors and 250 image vectors"),
        (lambda t: t[0], r"has shape \(24,\), expected \(rows, dim\)"),
        (lambda t: [["a"]], "no rectangular array of numbers"),
        (lambda t: [[1.0], [1.0, 2.0]], "no rectangular array of numbers"),
    ],
)
def test_bad_pairs_are_refused_by_name(values, match):
    text, image = planted(250)
    with pytest.raises(InvalidArgument, match=match):
        CrossModalAligner().fit(values(text), image)


def test_too_few_pairs_are_refused_with_the_number():
    text, image = planted(199)
    with pytest.raises(InvalidArgument, match="199 pairs were given and at least 200"):
        CrossModalAligner().fit(text, image)
    with pytest.raises(InvalidArgument, match="1 pairs were given and at least 2"):
        CrossModalAligner().fit(text[:1], image[:1], allow_few=True)


def test_a_refused_fit_leaves_the_aligner_as_it_was():
    text, image = planted(250)
    aligner = CrossModalAligner()
    aligner.fit(text, image)
    before = aligner.fingerprint, aligner.report
    with pytest.raises(InvalidArgument, match="does not vary"):
        aligner.fit(text, np.ones((250, 32)), groups=range(250))
    assert (aligner.fingerprint, aligner.report) == before


def test_vectors_of_another_dimension_are_refused(fitted):
    aligner, text, image = fitted
    with pytest.raises(VectorError, match="The text vectors has 32 columns, expected 24"):
        aligner.text_to_image(image)
    with pytest.raises(VectorError, match="image_vectors has 24 columns, expected 32"):
        aligner.align(text, text)
    with pytest.raises(InvalidArgument, match="3 text vectors and 4 image vectors"):
        aligner.loss(text[:3], image[:4])


# -- files ----------------------------------------------------------------------------------


def test_saved_and_loaded_is_the_same_to_the_bit(fitted, tmp_path):
    aligner, text, image = fitted
    path = tmp_path / "aligner.safetensors"
    aligner.save(path)
    again = CrossModalAligner.load(path)
    assert (again.text_space, again.image_space) == ("t", "i")
    assert again.fingerprint == aligner.fingerprint
    assert again.temperature == aligner.temperature
    np.testing.assert_array_equal(again.text_to_image(text), aligner.text_to_image(text))
    np.testing.assert_array_equal(again.image_to_text(image), aligner.image_to_text(image))
    for one, two in zip(again.align(text, image), aligner.align(text, image), strict=True):
        np.testing.assert_array_equal(one, two)
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again", "aligner.safetensors"]


def parts(aligner, tmp_path):
    """Return the arrays and the header of a good file, to be spoilt."""
    path = tmp_path / "good"
    aligner.save(path)
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    head = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["diptych"])
    return {name: array.copy() for name, array in aligner._fitted.arrays().items()}, head


def spoilt_nan(arrays, head):
    arrays["text.matrix"][0, 0] = np.nan


def spoilt_shape(arrays, head):
    arrays["image.mean"] = arrays["image.mean"][:-1]


def spoilt_rank(arrays, head):
    arrays["text.matrix"] = arrays["text.matrix"][:, :-1]


def spoilt_names(arrays, head):
    arrays["evil"] = arrays.pop("to_text.bias")


def spoilt_type(arrays, head):
    arrays["to_image.bias"] = arrays["to_image.bias"].astype(np.float64)


def spoilt_empty(arrays, head):
    arrays["text.matrix"] = arrays["text.matrix"][:, :0]


def spoilt_settings(arrays, head):
    head["settings"] = []


def spoilt_temperature(arrays, head):
    head["settings"]["temperature"] = -1.0


def spoilt_infinity(arrays, head):
    head["settings"]["to_text_length"] = math.inf


def spoilt_boolean(arrays, head):
    head["settings"]["to_image_length"] = True


def spoilt_space(arrays, head):
    head["settings"]["text_space"] = 4


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (spoilt_nan, "NaN or infinite values in 'text.matrix'"),
        (spoilt_shape, "do not fit each other"),
        (spoilt_rank, "do not fit each other"),
        (spoilt_names, "other arrays than expected"),
        (spoilt_type, "'to_image.bias' as F64"),
        (spoilt_empty, "'text.matrix' as F32 of shape"),
        (spoilt_settings, "no JSON object with settings"),
        (spoilt_temperature, "temperature = -1.0"),
        (spoilt_infinity, "to_text_length = inf"),
        (spoilt_boolean, "to_image_length = True"),
        (spoilt_space, "without a text_space"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(fitted, tmp_path, spoil, match):
    arrays, head = parts(fitted[0], tmp_path)
    spoil(arrays, head)
    (tmp_path / "bad").write_bytes(to_bytes(arrays, {"diptych": json.dumps(head)}))
    with pytest.raises(CorruptionError, match=match):
        CrossModalAligner.load(tmp_path / "bad")


def test_files_of_other_programs_and_versions_are_refused(fitted, tmp_path):
    arrays, head = parts(fitted[0], tmp_path)
    path = tmp_path / "bad"
    for raw, match in (
        (b"", "is no diptych.aligner file"),
        (b"\x80\x04K\x01.", "is no diptych.aligner file"),
        (struct.pack("<Q", 2**62) + b"{}", "is no diptych.aligner file"),
        ((tmp_path / "good").read_bytes()[:-9], "is no diptych.aligner file"),
        (to_bytes(arrays), "of another program"),
        (to_bytes(arrays, {"diptych": json.dumps({**head, "format": "x"})}), "its format is 'x'"),
        (to_bytes(arrays, {"diptych": json.dumps({**head, "version": 2})}), "has version 2"),
    ):
        path.write_bytes(raw)
        with pytest.raises(FormatError, match=match):
            CrossModalAligner.load(path)


@pytest.mark.parametrize("entry", ["", "[" * 100_000, "[]", "{}", '{"settings": 3}', "nul"])
def test_an_unreadable_header_is_refused(fitted, tmp_path, entry):
    arrays, _ = parts(fitted[0], tmp_path)
    (tmp_path / "bad").write_bytes(to_bytes(arrays, {"diptych": entry}))
    with pytest.raises(CorruptionError, match="unreadable header|no JSON object with settings"):
        CrossModalAligner.load(tmp_path / "bad")


def test_missing_files_and_folders_are_storage_errors(fitted, tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        CrossModalAligner.load(tmp_path / "none")
    with pytest.raises(StorageError, match="cannot be read"):
        CrossModalAligner.load(tmp_path)
    with pytest.raises(StorageError, match="cannot be written"):
        fitted[0].save(tmp_path / "no" / "folder")


def test_any_byte_may_be_wrong_without_another_error(fitted, tmp_path):
    fitted[0].save(tmp_path / "good")
    raw, rng = (tmp_path / "good").read_bytes(), np.random.default_rng(0)
    for at in (*range(0, 1200, 7), *rng.integers(1200, len(raw), 60)):
        spoilt = bytearray(raw)
        spoilt[at] ^= 0xFF
        (tmp_path / "bad").write_bytes(spoilt)
        try:
            CrossModalAligner.load(tmp_path / "bad")
        except DiptychError:
            continue
