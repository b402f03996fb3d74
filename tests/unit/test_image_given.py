"""Every form in which people have a picture, and messages that never print one."""

import base64
import io
import os
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import PIL.Image
import pytest

from diptych import Document, MultimodalIndex, Query
from diptych.checks import cut
from diptych.encoders import ToyEncoder
from diptych.errors import DiptychError, MediaError
from diptych.types import Image
from stubs import png


def encoded(kind="PNG", size=(16, 12)):
    values = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(values).save(file, kind)
    return file.getvalue()


PNG = encoded()
B64 = base64.b64encode(PNG).decode()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "ein Bild #1.png"
    file.write_bytes(PNG)
    return file


# ---- open files ----


@pytest.mark.parametrize("at", [0, 7, len(PNG), len(PNG) + 9])
def test_file_in_memory_is_read_from_its_start_and_left_as_it_was(at):
    file = io.BytesIO(PNG)
    file.seek(at)
    assert Image.of(file).read() == PNG
    assert file.tell() == at
    assert not file.closed
    assert Image.of(file) == Image.of(PNG)


def test_open_file_is_named_by_its_path(path):
    with path.open("rb") as file:
        file.seek(5)
        image = Image.of(file)
        assert (image.read(), image.name, file.tell()) == (PNG, str(path), 5)


def test_other_binary_files(path):
    with tempfile.SpooledTemporaryFile() as spooled, path.open("rb", buffering=0) as raw:
        spooled.write(PNG)
        assert Image.of(spooled).read() == PNG
        assert Image.of(raw).read() == PNG


class Pieces:
    """A response of a server: no seeking, and a few bytes at a time."""

    def __init__(self, data):
        self.rest = data

    def read(self, count):
        piece, self.rest = self.rest[: min(count, 100)], self.rest[min(count, 100) :]
        return piece


def test_file_that_cannot_be_wound_back_is_read_from_where_it_stands():
    file = Pieces(PNG)
    assert Image.of(file).read() == PNG
    assert file.rest == b""


class Asynchronous:
    async def read(self, count):
        return PNG


class Failing(io.BytesIO):
    def read(self, *_):
        raise RuntimeError("the line is dead")


def closed():
    file = io.BytesIO(PNG)
    file.close()
    return file


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: io.StringIO("x"), r"\(StringIO\) is open as text; expected a binary file"),
        (closed, r"\(BytesIO\) could not be read: I/O operation on closed file"),
        (io.BytesIO, r"\(BytesIO\) is empty \(0 bytes\)"),
        (Asynchronous, "is read asynchronously; expected a binary file. Read it with await"),
        (lambda: Failing(PNG), "could not be read: the line is dead"),
    ],
)
def test_file_that_gives_no_bytes_is_refused(make, message):
    with pytest.raises(MediaError, match=message):
        Image.of(make())


def test_file_is_read_no_further_than_a_picture_may_be_long(monkeypatch):
    monkeypatch.setattr("diptych.media._given.MAX_BYTES", 300)
    monkeypatch.setattr("diptych.media._file.MAX_BYTES", 300)
    file = Pieces(b"x" * 1000)
    with pytest.raises(MediaError, match="expected at most"):
        Image.of(file)
    assert len(file.rest) == 1000 - 301


# ---- arrays ----

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def pixels(value):
    return np.asarray(Image.of(value).pil())


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, np.stack([GREY] * 3, 2)),
        (GREY[:, :, None], np.stack([GREY] * 3, 2)),
        (np.stack([GREY, GREY * 0, GREY], 2), np.stack([GREY, GREY * 0, GREY], 2)),
        (np.stack([GREY] * 3 + [GREY * 0], 2), np.full((3, 4, 3), 255)),
        (np.stack([GREY] * 3 + [GREY * 0 + 255], 2), np.stack([GREY] * 3, 2)),
        (GREY[::-1, ::2], np.stack([GREY[::-1, ::2]] * 3, 2)),
        (np.asfortranarray(GREY), np.stack([GREY] * 3, 2)),
        (GREY > 100, np.stack([(GREY > 100) * 255] * 3, 2)),
        (GREY / 255, np.stack([GREY] * 3, 2)),
        ((GREY / 255).astype(np.float16), np.stack([GREY] * 3, 2)),
        ((GREY / 255).astype(">f4"), np.stack([GREY] * 3, 2)),
        (np.array([[-1e-7, 1 + 1e-7]]), [[[0] * 3, [255] * 3]]),
    ],
)
def test_array_keeps_its_pixels(array, expected):
    assert np.array_equal(pixels(array), expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((3, 40, 50), np.uint8),
            r"Put the channels last, as with array.transpose\(1, 2, 0\)",
        ),
        (np.zeros((2, 4, 5, 3), np.uint8), "Pass one picture at a time"),
        (np.zeros((4, 5, 2), np.uint8), "with 1, 3 or 4 channels"),
        (np.zeros(5, np.uint8), r"of shape \(5,\) and type uint8 has no shape of one picture"),
        (np.zeros((0, 5), np.uint8), "has no pixels"),
        (np.zeros((4, 5), np.int64), r"expected uint8 \(0 to 255\), bool, or floats"),
        (np.zeros((4, 5), np.uint16), r"expected uint8 \(0 to 255\), bool, or floats"),
        (np.zeros((4, 5), complex), r"expected uint8 \(0 to 255\), bool, or floats"),
        (np.array([["a", "b"]]), r"expected uint8 \(0 to 255\), bool, or floats"),
        (np.full((4, 5), 200.0), r"values from 200 to 200; expected floats from 0 \(black\) to 1"),
        (np.array([[0.5, np.nan]]), "values from nan to nan"),
        (np.array([[0.5, np.inf]]), "values from 0.5 to inf"),
        (np.array([[-0.1, 0.5]]), "values from -0.1 to 0.5"),
        (np.zeros((1, 20_001), np.uint8), "is too large"),
    ],
)
def test_array_that_is_no_picture_is_refused_in_words(array, message):
    with pytest.raises(MediaError, match=message) as caught:
        Image.of(array)
    assert len(str(caught.value)) < 400


def test_tensor_is_an_array():
    torch = pytest.importorskip("torch")
    assert np.array_equal(pixels(torch.from_numpy(GREY)), pixels(GREY))
    with pytest.raises(MediaError, match=r"tensor.detach\(\).cpu\(\).numpy\(\)"):
        Image.of(torch.ones(4, 5, requires_grad=True))


MODES = "1 L P RGB RGBA CMYK YCbCr LAB HSV I F LA PA RGBX RGBa La I;16 I;16L I;16B I;16N".split()


@pytest.mark.parametrize("mode", MODES)
def test_pil_picture_of_every_mode(mode):
    assert Image.of(PIL.Image.new(mode, (4, 3))).pil().size == (4, 3)


# ---- strings ----


def test_file_uri_is_the_path_that_it_names(path):
    uri = path.as_uri()
    assert "%20" in uri
    assert "%23" in uri
    for form in (
        uri,
        "FILE" + uri[4:],
        uri.replace("///", "//localhost/"),
        uri.replace("///", "/"),
    ):
        image = Image.of(form)
        assert (image.path, image.name, image.read()) == (path, str(path), PNG)
    assert Document(image=uri).image.read() == Query(image=uri).image.read() == PNG
    assert Image(uri).path == path


def test_file_uri_with_characters_that_are_not_escaped(tmp_path):
    file = tmp_path / "水泵 ü.png"
    file.write_bytes(PNG)
    assert Image.of(f"file://{file}").read() == Image.of(file.as_uri()).read() == PNG
    assert Image.of("file:///a/b%FFc.png").path == Path(os.fsdecode(b"/a/b\xffc.png"))


def test_file_uri_of_a_drive(monkeypatch):
    assert Image.of("file:///C:/a%20b.png").path == Path("/C:/a b.png")
    monkeypatch.setattr("diptych.media._uri.os.name", "nt")
    monkeypatch.setattr("diptych.media._uri.Path", PurePosixPath)  # there is no WindowsPath here
    assert str(Image.of("file:///C:/a%20b.png").path) == "C:/a b.png"
    assert str(Image.of("file:///c|/a.png").path) == "c:/a.png"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file://server/share/a.png", "names a file of the machine 'server'"),
        ("file://user@localhost/a.png", "names a file of the machine"),
        ("file:////server/share/a.png", None),
        ("file:///a.png?x=1", "%3F and %23"),
        ("file:///a.png#page", "%3F and %23"),
        ("file:///a%00.png", "with NUL in its path"),
        ("file://[::1/a.png", "is no file URI: Invalid IPv6 URL"),
    ],
)
def test_file_uri_of_something_else_is_refused(uri, message):
    if message is None:  # a path with two slashes, which is one path of this machine
        assert Image.of(uri).path == Path("//server/share/a.png")
        return
    with pytest.raises(MediaError, match=message):
        Image.of(uri)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_bare_base64_of_a_picture_is_that_picture(kind):
    data = encoded(kind)
    text = base64.b64encode(data).decode()
    folded = base64.encodebytes(data).decode()
    for form in (text, text.rstrip("="), folded, base64.urlsafe_b64encode(data).decode()):
        assert Image.of(form).read() == data
        assert Image.of(form).name == ""
    assert Document(image=text).image.mime == f"image/{kind.lower()}"


def test_file_that_exists_goes_before_base64(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "R0lGODlhAQABAIAAAAAAAP___yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"  # a GIF of one pixel
    assert Image.of(name).size == (1, 1)
    Path(name).write_bytes(PNG)
    assert Image.of(name).read() == PNG


def test_path_object_is_a_path_and_nothing_else(tmp_path):
    assert Image.of(Path(B64)).path == Path(B64)
    assert Image.of(Path("data:image/png,x")).path == Path("data:image/png,x")
    assert Image.of(Path("file:/a.png")).path == Path("file:/a.png")
    with pytest.raises(MediaError, match="is a URL"):
        Image.of(Path("https://example.org/a.png"))


@pytest.mark.parametrize("url", ["s3://bucket/a.png", "gs://b/a.png", "ftp://h/a.png", "HTTP://h"])
def test_urls_of_every_scheme_are_refused(url):
    with pytest.raises(MediaError, match="is a URL, and diptych never fetches one by itself"):
        Image.of(url)


# ---- messages ----

LONG = base64.b64encode(encoded(size=(90, 90))).decode()
STRINGS = {
    "cut base64": LONG[:-1001],
    "base64 of something else": base64.b64encode(os.urandom(9_000)).decode(),
    "data of something else": "data:image/png;base64,"
    + base64.b64encode(os.urandom(9_000)).decode(),
    "data that is cut": "data:image/png;base64," + LONG[:-1001],
    "data of no type": "data:;base64," + LONG,
    "data of a long type": "data:text/" + "x" * 900 + "," + LONG,
    "percent-encoded": "data:image/png," + "%00" * 900,
    "URL": "https://example.org/?q=" + LONG,
    "file URI": "file:///" + LONG,
    "file URI of a host": f"file://{'x' * 900}/a.png",
    "jpeg": "/9j/" + LONG,
    "damaged": base64.b64encode(encoded()[:40] + bytes(9_000)).decode(),
    "words": "a picture of a pump that stands beside a valve " * 99,
    "path": "/".join(["a folder"] * 400) + "/a.png",
    "characters": "水" * 5_000,
}


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
@pytest.mark.parametrize(
    "use",
    [
        lambda text: Image.of(text).pil(),
        lambda text: Image(text).pil(),
        lambda text: Document(image=text).image.pil(),
        lambda text: Query(image=text).image.pil(),
    ],
)
def test_message_never_prints_a_picture(use, text):
    with pytest.raises(DiptychError) as caught:
        use(text)
    message = str(caught.value)
    assert len(message) < 600
    assert not any(text[at : at + 100] in message for at in range(0, len(text) - 100, 50))


def test_failure_of_a_batch_never_prints_a_picture():
    encoder = ToyEncoder()
    with MultimodalIndex(encoder, encoder) as index:
        report = index.add([Document(image=PNG), Document(image=Image.of(Path(LONG)), id="bad")])
    (failure,) = report.failed
    assert len(str(failure)) < 600


def test_cut_shows_both_ends_of_a_path_and_the_beginning_of_base64():
    assert cut("a.png") == "'a.png'"
    assert cut(f"/assets/ab/{'0' * 64}.png").endswith("0.png'")
    long = cut("/home/somebody/" + "folder.d/" * 40 + "the picture.png")
    assert long.startswith("'/home/somebody/folder.d/")
    assert long.endswith("folder.d/the picture.png'")
    assert len(long) <= 160
    assert cut(LONG) == f"'{LONG[:38]}… ({len(LONG):,} characters)"


@pytest.mark.parametrize("in_memory", [True, False])
def test_one_picture_in_several_documents_keeps_the_name_and_file_of_each(in_memory, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png("red"))
    path = None if in_memory else tmp_path / "index"
    given = [Image(tmp_path / "a.png"), Image(png("red")), Image(tmp_path / "b.png")]
    names = [image.name for image in given]
    with MultimodalIndex(ToyEncoder(), ToyEncoder(), path=path) as index:
        for at, image in enumerate(given):
            index.add([Document(image=image, id=str(at))])
        assert [d.image.name for d in index.get(["0", "1", "2"])] == names
        if in_memory:
            (tmp_path / "b.png").unlink()
            assert index.get(["1"])[0].image.read() == png("red")
            assert [d.image.path for d in index.get(["0", "1"])] == [tmp_path / "a.png", None]
        renamed = Document(image=Image(png("red"), name="other"), id="0", metadata={"n": 1})
        index.upsert([renamed])
        assert [d.image.name for d in index.get(["0", "1", "2"])] == ["other", *names[1:]]
        index.delete(["0", "1"])
        index.compact()
        assert index.get(["2"])[0].image.name == names[2]
    assert [image.name for image in given] == names
