"""A picture by reference."""

import base64
import hashlib
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from diptych import media
from diptych.errors import MediaError
from diptych.types import Image


def encoded(colour="red", size=(6, 4), kind="PNG"):
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "red.jpg"  # named wrongly on purpose
    file.write_bytes(encoded())
    return file


def test_path_and_bytes_of_one_file_are_equal(path):
    by_path, by_text, by_bytes = Image(path), Image(str(path)), Image(encoded())
    assert by_path == by_text == by_bytes
    assert len({by_path, by_text, by_bytes}) == 1
    assert by_path != Image(encoded("blue"))
    assert by_path != str(path)
    assert by_path.sha256 == hashlib.sha256(encoded()).hexdigest()


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_bytes_are_copied(wrap):
    buffer = wrap(encoded())
    image = Image(buffer)
    if wrap is bytearray:
        buffer[:] = b"x" * len(buffer)
    assert image.read() == encoded()
    assert image.path is None


def test_nothing_is_read_before_it_is_needed(tmp_path):
    image = Image(tmp_path / "later.png")
    with pytest.raises(MediaError, match=r"later.png' could not be opened: No such file"):
        image.read()
    (tmp_path / "later.png").write_bytes(encoded())
    assert image.size == (6, 4)


def test_name_is_the_path_unless_it_is_given(path):
    assert Image(path).name == str(path)
    assert Image(path, name="figure 3").name == "figure 3"
    assert Image(encoded()).name == ""
    assert repr(Image(encoded(), name="figure 3")) == "Image('figure 3')"
    assert f"of {len(encoded())} bytes" in repr(Image(encoded()))


def test_header_comes_from_the_content(path):
    image = Image(path)
    assert image.header == media.Header("PNG", "image/png", 6, 4, 1)
    assert (image.mime, image.size) == ("image/png", (6, 4))


def test_size_is_that_of_the_upright_picture():
    exif = PIL.Image.Exif()
    exif[0x0112] = 8
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 4)).save(file, "JPEG", exif=exif)
    image = Image(file.getvalue())
    assert image.size == image.pil().size == (4, 6)


def test_pixels_are_rgb(path):
    picture = Image(path).pil()
    assert picture.mode == "RGB"
    assert picture.getpixel((5, 3)) == (255, 0, 0)


def test_file_that_was_replaced_is_noticed(path):
    expected = Image(path).sha256
    image = Image(path, sha256=expected)
    path.write_bytes(encoded("blue"))
    with pytest.raises(MediaError, match=r"red.jpg' has changed since it was indexed"):
        image.read()
    assert image.sha256 == expected


@pytest.mark.parametrize("source", [b"", bytearray()])
def test_no_bytes_are_refused(source):
    with pytest.raises(MediaError, match="0 bytes was given"):
        Image(source)


@pytest.mark.parametrize("url", ["http://a/b.png", "HTTPS://a/b.png"])
def test_urls_are_never_fetched(url):
    with pytest.raises(MediaError, match="never fetches one by itself"):
        Image(url)


@pytest.mark.parametrize("source", ["", "a\0b"])
def test_impossible_paths_are_refused(source):
    with pytest.raises(MediaError, match="is no path of a picture"):
        Image(source)


@pytest.mark.parametrize("source", [None, 3, ["a.png"], object()])
def test_other_types_are_refused(source):
    with pytest.raises(MediaError, match=f"given as {type(source).__name__}; expected a path"):
        Image.of(source)


def test_of_takes_what_people_have(path):
    uri = "data:image/png;base64," + base64.b64encode(encoded()).decode()
    image = Image(path)
    assert Image.of(image) is image
    assert Image.of(path) == Image.of(str(path)) == Image.of(encoded()) == Image.of(uri) == image
    pixels = np.asarray(Image.of(PIL.Image.new("RGB", (6, 4), "red")).pil())
    assert np.array_equal(pixels, np.asarray(image.pil()))


def test_picture_that_fits_is_handed_on_unchanged():
    image = Image(encoded())
    assert image.encoded() == (encoded(), "image/png")
    text, mime = image.base64()
    assert base64.b64decode(text) == encoded()
    assert image.data_uri() == f"data:{mime};base64,{text}"


def test_picture_that_does_not_fit_is_scaled():
    image = Image(encoded(size=(60, 30)))
    data, _ = image.encoded(max_edge=20)
    assert Image(data).size == (20, 10)
    assert Image.of(image.data_uri(max_edge=20)).size == (20, 10)


def test_broken_picture_is_named_by_its_label(path):
    path.write_bytes(b"<html>")
    with pytest.raises(MediaError, match=r"red.jpg' is an HTML page"):
        Image(path).pil()
    with pytest.raises(MediaError, match="The picture of 6 bytes is an HTML page"):
        _ = Image(b"<html>").header


def test_relative_path_stays_relative(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert Image("red.jpg").path == Path("red.jpg")
    assert Image("red.jpg") == Image(path)
