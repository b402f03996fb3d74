"""What every encoder has to keep to, as tests.

Subclass the class that fits, and give it a fixture called ``encoder``::

    class TestMyEncoder(TextEncoderContract):
        @pytest.fixture(scope="class")
        @classmethod
        def encoder(cls):
            return MyEncoder()

A rule that your encoder cannot keep is overridden with ``@pytest.mark.xfail(reason=...)``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.errors import MediaError
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.testing import _pictures
from diptych.types import Image
from diptych.vectors import Vectors

__all__ = ["ImageEncoderContract", "JointEncoderContract", "TextEncoderContract"]

TEXTS = (
    "A red car stands in front of a white house.",
    "Where is the filter?",
    "Two dogs play in the snow, and a child in a yellow coat watches them from the window.",
    "lemon",
    "The blue sea under a grey sky: 20 km of sand, and nobody there.",
)

ODD_TEXTS = {
    "empty": "",
    "white space": " \t\n\u2003 ",
    "punctuation": "?!... --- ()",
    "NUL": "a\0b",
    "lone surrogate": "a \ud800 b",
    "byte order mark": "\ufeffhello",
    "combining marks": "e" + "\u0301" * 500,
    "right to left": "\u202eשלום עולם مرحبا",
    "ideographs": "赤い車が家の前に止まっている。" * 20,
    "emoji": "👩‍👩‍👧‍👦 🚗 🏠",
    "control characters": "\x07\x1b[31mred\x1b[0m",
    "ten thousand characters": "the quick brown fox jumps over the lazy dog. " * 222,
    "no spaces": "abcdefghij" * 300,
    "special tokens": "<|endoftext|> [CLS] </s> <start_of_text>",
}


_Encoder = TextEncoder | ImageEncoder


class _Contract:
    """What holds for encoders of texts and of pictures.

    Attributes:
        tolerance: How much a value may depend on what else is in the batch.
    """

    tolerance: float = 1e-5

    def _rows(self, encoder: _Encoder, rows: Vectors, count: int) -> Vectors:
        """Return ``rows`` after checking that they have the shape that crosses a seam."""
        assert isinstance(rows, np.ndarray), f"expected an array, got {type(rows).__name__}"
        assert rows.dtype == np.float32, f"expected float32, got {rows.dtype}"
        assert rows.shape == (count, encoder.dim), f"got {rows.shape} for {count} inputs"
        assert rows.flags.c_contiguous, "rows are not contiguous"
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
        assert np.allclose(norms, 1, atol=1e-5), f"norms are {norms.tolist()}, expected 1"
        return rows

    def _same(self, got: Vectors, expected: Vectors, what: str) -> None:
        difference = float(np.abs(got - expected).max(initial=0.0))
        assert difference <= self.tolerance, f"{what}: values differ by {difference:.2e}"

    def _in_threads(
        self, encode: Callable[[Sequence[Any]], Vectors], items: Sequence[Any]
    ) -> list[Vectors | BaseException]:
        results: list[Vectors | BaseException] = []

        def work() -> None:
            try:
                results.append(encode(items))
            except BaseException as error:  # reported by the caller
                results.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


def _check_description(encoder: _Encoder) -> None:
    assert isinstance(encoder.dim, int), "dim is not an int"
    assert encoder.dim > 0, "dim is not positive"
    for name in ("space", "fingerprint"):
        value = getattr(encoder, name)
        assert isinstance(value, str), f"{name} is not a string"
        assert value, f"{name} is empty"
        assert getattr(encoder, name) == value, f"{name} changes"


class TextEncoderContract(_Contract):
    """Needs a fixture ``encoder`` that gives a :class:`~diptych.protocols.TextEncoder`."""

    def test_text_encoder_satisfies_the_protocol(self, encoder: TextEncoder) -> None:
        """It has dim, space and fingerprint, which stay, and both methods."""
        assert isinstance(encoder, TextEncoder)
        _check_description(encoder)

    def test_texts_become_unit_rows(self, encoder: TextEncoder) -> None:
        """One float32 row of unit length comes back for each text."""
        self._rows(encoder, encoder.encode_document(TEXTS), len(TEXTS))
        self._rows(encoder, encoder.encode_query(TEXTS), len(TEXTS))

    def test_no_texts_give_no_rows(self, encoder: TextEncoder) -> None:
        """An empty list gives an array of shape (0, dim)."""
        self._rows(encoder, encoder.encode_document([]), 0)
        self._rows(encoder, encoder.encode_query([]), 0)

    def test_texts_keep_their_order(self, encoder: TextEncoder) -> None:
        """The rows stand in the order of the texts."""
        forward = encoder.encode_document(TEXTS)
        self._same(encoder.encode_document(TEXTS[::-1])[::-1], forward, "in reverse order")

    def test_texts_do_not_depend_on_their_batch(self, encoder: TextEncoder) -> None:
        """A text has one vector, whatever else is encoded with it."""
        texts = [*TEXTS, TEXTS[2] * 20, ""]
        for encode in (encoder.encode_document, encoder.encode_query):
            alone = np.concatenate([encode([text]) for text in texts])
            self._same(encode(texts), alone, "alone and in a batch")

    def test_encoding_texts_twice_gives_the_same(self, encoder: TextEncoder) -> None:
        """Nothing is random."""
        self._same(encoder.encode_query(TEXTS), encoder.encode_query(TEXTS), "twice")

    def test_different_texts_get_different_vectors(self, encoder: TextEncoder) -> None:
        """No two of five unlike texts coincide."""
        similarities = encoder.encode_document(TEXTS) @ encoder.encode_document(TEXTS).T
        np.fill_diagonal(similarities, -1)
        assert similarities.max() < 1 - 1e-4, "two different texts have one vector"

    def test_text_as_a_query_finds_itself(self, encoder: TextEncoder) -> None:
        """Questions and passages lie in the same space."""
        similarities = encoder.encode_query(TEXTS) @ encoder.encode_document(TEXTS).T
        assert similarities.argmax(axis=1).tolist() == list(range(len(TEXTS)))

    def test_odd_texts_become_unit_rows(self, encoder: TextEncoder) -> None:
        """No text fails: empty, very long, in any script, with any code point."""
        for name, text in ODD_TEXTS.items():
            try:
                self._rows(encoder, encoder.encode_document([text]), 1)
                self._rows(encoder, encoder.encode_query([text]), 1)
            except Exception as error:
                raise AssertionError(f"a text that is odd ({name}) failed: {error!r}") from error

    def test_end_of_a_long_text_is_read(self, encoder: TextEncoder) -> None:
        """A long text is not cut off silently."""
        start = ODD_TEXTS["ten thousand characters"]
        tails = [start + tail for tail in ("", "A green parrot on a violin.")]
        without, with_tail = encoder.encode_document(tails)
        assert np.abs(without - with_tail).max() > 1e-5, "the end of a long text is cut off"

    def test_texts_are_not_changed(self, encoder: TextEncoder) -> None:
        """The caller's list stays as it is."""
        texts = list(TEXTS)
        encoder.encode_document(texts)
        assert texts == list(TEXTS)

    def test_texts_may_be_encoded_in_threads(self, encoder: TextEncoder) -> None:
        """Four threads at once get what one gets."""
        expected = encoder.encode_document(TEXTS)
        for result in self._in_threads(encoder.encode_document, TEXTS):
            assert not isinstance(result, BaseException), f"a thread failed: {result!r}"
            self._same(result, expected, "in a thread")


class ImageEncoderContract(_Contract):
    """Needs a fixture ``encoder`` that gives an :class:`~diptych.protocols.ImageEncoder`."""

    def test_image_encoder_satisfies_the_protocol(self, encoder: ImageEncoder) -> None:
        """It has dim, space and fingerprint, which stay, and the method."""
        assert isinstance(encoder, ImageEncoder)
        _check_description(encoder)

    def test_pictures_become_unit_rows(self, encoder: ImageEncoder) -> None:
        """One float32 row of unit length comes back for each picture."""
        images = _pictures.scenes()
        self._rows(encoder, encoder.encode_image(images), len(images))

    def test_no_pictures_give_no_rows(self, encoder: ImageEncoder) -> None:
        """An empty list gives an array of shape (0, dim)."""
        self._rows(encoder, encoder.encode_image([]), 0)

    def test_pictures_keep_their_order(self, encoder: ImageEncoder) -> None:
        """The rows stand in the order of the pictures."""
        images = _pictures.scenes()
        forward = encoder.encode_image(images)
        self._same(encoder.encode_image(images[::-1])[::-1], forward, "in reverse order")

    def test_pictures_do_not_depend_on_their_batch(self, encoder: ImageEncoder) -> None:
        """A picture has one vector, whatever else is encoded with it."""
        images = _pictures.scenes()
        alone = np.concatenate([encoder.encode_image([image]) for image in images])
        self._same(encoder.encode_image(images), alone, "alone and in a batch")

    def test_different_pictures_get_different_vectors(self, encoder: ImageEncoder) -> None:
        """No two of four unlike pictures coincide."""
        images = _pictures.scenes()
        similarities = encoder.encode_image(images) @ encoder.encode_image(images).T
        np.fill_diagonal(similarities, -1)
        assert similarities.max() < 1 - 1e-6, "two different pictures have one vector"

    def test_path_and_bytes_are_the_same_picture(
        self, encoder: ImageEncoder, tmp_path: Path
    ) -> None:
        """Neither how a picture is given nor its file name matters."""
        image = _pictures.scenes()[0]
        path = tmp_path / "wrong-extension.txt"
        path.write_bytes(image.read())
        rows = encoder.encode_image([image, Image(path)])
        self._same(rows[:1], rows[1:], "by path and by bytes")

    def test_same_pixels_in_another_file_are_the_same_picture(self, encoder: ImageEncoder) -> None:
        """Format, opaque alpha and EXIF orientation do not matter."""
        images = _pictures.same_pixels()
        rows = encoder.encode_image(list(images.values()))
        for name, row in zip(images, rows, strict=True):
            self._same(row[None], rows[:1], f"the same pixels, {name}")

    def test_pictures_of_every_mode_and_shape_become_unit_rows(self, encoder: ImageEncoder) -> None:
        """No picture fails that diptych can decode."""
        for name, image in _pictures.odd().items():
            try:
                self._rows(encoder, encoder.encode_image([image]), 1)
            except Exception as error:
                raise AssertionError(f"a picture ({name}) failed: {error!r}") from error

    def test_broken_picture_is_an_error_that_names_it(self, encoder: ImageEncoder) -> None:
        """A picture that is cut off is a MediaError, and not skipped."""
        broken = Image(_pictures.scenes()[3].read()[:-200], name="broken.png")
        message = ""
        try:
            encoder.encode_image([_pictures.scenes()[1], broken])
        except MediaError as error:
            message = str(error)
        assert message, "a broken picture was encoded"
        assert "broken.png" in message, f"the message does not name the picture: {message}"

    def test_pictures_may_be_encoded_in_threads(self, encoder: ImageEncoder) -> None:
        """Four threads at once get what one gets."""
        images = _pictures.scenes()
        expected = encoder.encode_image(images)
        for result in self._in_threads(encoder.encode_image, images):
            assert not isinstance(result, BaseException), f"a thread failed: {result!r}"
            self._same(result, expected, "in a thread")


class _Joint(TextEncoder, ImageEncoder, Protocol):
    """An encoder of both."""


class JointEncoderContract(TextEncoderContract, ImageEncoderContract):
    """Needs a fixture ``encoder`` that gives an encoder of texts and pictures in one space."""

    def test_texts_and_pictures_can_be_compared(self, encoder: _Joint) -> None:
        """Rows of texts and pictures have the same columns."""
        images = _pictures.scenes()
        similarities = encoder.encode_query(TEXTS) @ encoder.encode_image(images).T
        assert similarities.shape == (len(TEXTS), len(images))
        assert np.abs(similarities).max() <= 1 + 1e-5
