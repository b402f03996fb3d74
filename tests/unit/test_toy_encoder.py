"""The toy encoder means what it says: colours, and words."""

import io

import numpy as np
import PIL.Image
import pytest

from diptych.encoders import ToyEncoder
from diptych.encoders._colours import COLOURS, colour_of_word, colour_shares
from diptych.errors import InvalidArgument
from diptych.types import Image


def picture(colour, size=(40, 30)):
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, "PNG")
    return Image(file.getvalue())


@pytest.fixture(scope="module")
def encoder():
    return ToyEncoder()


def test_each_colour_word_finds_its_picture_first(encoder):
    css = {"grey": "gray", "brown": "saddlebrown"}  # CSS "brown" is a red
    pictures = encoder.encode_image([picture(css.get(name, name)) for name in COLOURS])
    queries = encoder.encode_query([f"a {name} thing, please" for name in COLOURS])
    assert (queries @ pictures.T).argmax(axis=1).tolist() == list(range(len(COLOURS)))


@pytest.mark.parametrize(
    ("css", "colour"),
    [
        ("darkred", "red"), ("crimson", "red"), ("tomato", "orange"), ("gold", "yellow"),
        ("khaki", "yellow"), ("forestgreen", "green"), ("lime", "green"), ("olivedrab", "green"),
        ("navy", "blue"), ("skyblue", "blue"), ("royalblue", "blue"), ("indigo", "purple"),
        ("orchid", "purple"), ("hotpink", "pink"), ("lightpink", "pink"), ("saddlebrown", "brown"),
        ("sienna", "brown"), ("tan", "brown"), ("ivory", "white"), ("dimgray", "grey"),
        ("silver", "grey"), ("#101010", "black"), ("#ff8000", "orange"),
    ],
)  # fmt: skip
def test_shades_belong_to_the_colour_that_people_name(css, colour):
    shares = colour_shares(PIL.Image.new("RGB", (5, 5), css))
    assert COLOURS[int(shares.argmax())] == colour


def test_picture_vector_is_the_root_of_the_shares(encoder):
    half = PIL.Image.new("RGB", (96, 96), "white")
    half.paste((255, 0, 0), (0, 0, 24, 96))  # a quarter
    file = io.BytesIO()
    half.save(file, "PNG")
    row = encoder.encode_image([Image(file.getvalue())])[0]
    expected = np.zeros(128)
    expected[[COLOURS.index("red"), COLOURS.index("white")]] = [0.5, 0.75**0.5]
    assert np.allclose(row, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 15), (97, 61), (640, 480)])
def test_resizing_hardly_changes_the_vector(encoder, size):
    rng = np.random.default_rng(3)
    blocks = PIL.Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    large = blocks.resize((320, 240), PIL.Image.Resampling.NEAREST)
    files = []
    for shown in (large, large.resize(size, PIL.Image.Resampling.LANCZOS)):
        file = io.BytesIO()
        shown.save(file, "PNG")
        files.append(Image(file.getvalue()))
    first, second = encoder.encode_image(files)
    assert first @ second > 0.95


def test_synonyms_and_typical_things_have_the_colour(encoder):
    red, sky, blue, unknown = encoder.encode_query(["red", "the sky", "blue", "xylophone"])
    crimson = encoder.encode_query(["crimson"])[0]
    assert crimson @ red == pytest.approx(1)
    assert sky @ blue > 0.3 > abs(sky @ red)
    assert abs(unknown @ red) < 1e-6


def test_texts_that_share_words_are_nearer(encoder):
    query = encoder.encode_query(["how to clean a filter"])[0]
    same, other = encoder.encode_document(
        ["Cleaning: the filters are clean when ...", "Opening hours of the museum"]
    )
    assert query @ same > query @ other + 0.2


def test_case_plural_and_little_words_do_not_matter(encoder):
    first, second = encoder.encode_document(["The DOGS of a house", "dog house"])
    assert first @ second == pytest.approx(1)


def test_texts_without_words_share_one_direction(encoder):
    rows = encoder.encode_document(["", "?!", " \n"])
    assert np.allclose(rows @ rows.T, 1)
    assert np.allclose(rows[:, : len(COLOURS)], 0)


def test_no_text_is_the_zero_vector(encoder, rng):
    words = [" ".join(chr(97 + i) * 3 for i in rng.integers(0, 26, 40)) for _ in range(200)]
    assert np.allclose(np.linalg.norm(encoder.encode_document(words), axis=1), 1, atol=1e-6)


def test_values_are_the_same_on_every_machine_and_version():
    row = ToyEncoder(dim=32).encode_document(["a red bicycle"])[0]
    assert row[COLOURS.index("red")] == pytest.approx(2**-0.5)
    assert "".join("+" if value > 0 else "-" for value in row[11:]) == "+-+++-+--+-+-+-+-+---"
    assert ToyEncoder(dim=32).fingerprint == "toy-32-v1"


def test_dimensions_are_another_space():
    assert ToyEncoder().dim == 128
    assert ToyEncoder(64).space != ToyEncoder().space
    assert ToyEncoder(64).fingerprint != ToyEncoder().fingerprint
    with pytest.raises(InvalidArgument, match="dim=8; expected at least 32"):
        ToyEncoder(8)


def test_every_colour_word_is_lower_case_and_singular():
    from diptych.encoders import _colours, toy

    for word in _colours._WORDS:
        assert toy._words(word) == [word]
        assert colour_of_word(word) is not None
