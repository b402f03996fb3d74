"""Pictures that cost far more than their size says, each made by the test."""

import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from diptych import Document, Image, MultimodalIndex, media, read
from diptych.errors import MediaError
from diptych.media import _bands, _colour
from pace import cpu_within
from stubs import StubJoint, StubText

NAME = "'test.img'"


def encode(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(width, height, mode="RGB", seed=0):
    bands = len(mode) if mode in ("L", "RGB", "RGBA", "CMYK") else 3
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return PIL.Image.fromarray(values.squeeze(), mode if bands == 4 else None)


def png_chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width, height, packed, *, depth=8, colour=2, more=()):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *more, *((b"IDAT", part) for part in packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def with_scans(data, count):
    """Repeat the last scan of a progressive JPEG."""
    last = [at.start() for at in re.finditer(rb"\xff\xda", data)][-1]
    return data[:last] + data[last:-2] * count + data[-2:]


def refused(data, why):
    """Check that a picture is refused by its header, by every way in, at once."""
    with cpu_within(10):
        for decode in (media.read_header, media.decode):
            with pytest.raises(
                MediaError, match=rf"^The picture '{NAME[1:-1]}'.*{why}.*\. \w.*\.$"
            ) as caught:
                decode(data, name=NAME)
            assert len(str(caught.value)) < 500
        with pytest.raises(MediaError, match=why):
            media.fit(data, max_edge=64, max_bytes=10_000, name=NAME)


# -- JPEG -----------------------------------------------------------------------------------


def test_a_jpeg_of_3000_scans_is_refused():
    picture = PIL.Image.new("RGB", (2000, 1500), "red")
    data = with_scans(encode(picture, "JPEG", progressive=True), 3000)
    refused(data, "has more than 100 scans.*expected at most 100, and usually 1 to 20")


def test_scans_are_counted_against_the_pixels_they_go_over():
    data = with_scans(encode(noise(64, 48), "JPEG", progressive=True), 60)
    assert media.decode(data, name=NAME).size == (64, 48)
    large = encode(PIL.Image.new("L", (6000, 6000)), "JPEG", progressive=True)
    refused(with_scans(large, 70), "7[0-9] scans.*expected at most 55")


@pytest.mark.parametrize("progressive", [False, True])
def test_scans_of_metadata_and_of_what_follows_are_not_counted(progressive):
    data = encode(noise(64, 48), "JPEG", progressive=progressive)
    segment = b"\xff\xe5\x10\x02" + b"\xff\xda" * 0x800
    inside = data[:2] + segment + data[2:]
    for changed in (inside, data + b"\xff\xda\0\x08" * 1000, data + data * 200):
        assert media.decode(changed, name=NAME).tobytes() == media.decode(data, name=NAME).tobytes()
    last = data.rindex(b"\xff\xda")
    between = data[:last] + segment * 20 + data[last:]
    assert media.decode(between, name=NAME).tobytes() == media.decode(data, name=NAME).tobytes()


def test_scans_cannot_be_hidden():
    data = encode(noise(64, 48), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    for cover in (
        b"\xff\xff\xff",
        b"\0\0",
        b"\xff\xd0",
        b"\xff\xfe\0\x02",
        b"\xff\x00",
        b"\xff\x01",
    ):
        many = data[:last] + (cover + data[last:-2]) * 200 + data[-2:]
        refused(many, "more than 100 scans")


def test_a_jpeg_in_many_pieces_is_refused():
    data = encode(noise(8, 8), "JPEG")
    refused(data[:2] + b"\xff\xdd\0\4\0\0" * 100_001 + data[2:], "more than 100,000 pieces")


@pytest.mark.parametrize(("side", "is_taken"), [(4000, True), (7000, False)])
def test_a_progressive_jpeg_is_refused_when_its_numbers_do_not_fit_into_memory(side, is_taken):
    data = encode(PIL.Image.new("L", (16, 16)), "JPEG", progressive=True)
    at = data.index(b"\xff\xc2") + 5
    large = data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]
    if is_taken:
        assert media.read_header(large, name=NAME).width == side
    else:
        large = encode(PIL.Image.new("RGB", (7000, 7000)), "JPEG", progressive=True)
        refused(large, r"\(7000 x 7000 pixels, mode RGB\) would take 34\d MB.*at most 275 MB")


# -- PNG, GIF, BMP, WEBP --------------------------------------------------------------------


def test_pixels_behind_the_last_row_of_a_png_are_not_unpacked():
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(50)) + packer.flush()
    with cpu_within(1):
        assert media.decode(png(1, 1, [packed]), name=NAME).size == (1, 1)


def test_a_png_in_many_pieces_is_refused():
    refused(png(1, 1, [b""] * 100_001), "more than 100,000 pieces")
    refused(
        png(1, 1, [zlib.compress(bytes(4))], more=[(b"tEXt", b"a\0b")] * 100_001),
        "more than 100,000",
    )


def test_the_comments_of_a_gif_are_not_put_together():
    data = encode(PIL.Image.new("P", (4, 4), 1), "GIF")
    start = 13 + (3 << ((data[10] & 7) + 1))
    comments = data[:start] + b"!\xfe\x01a\0" * 200_000 + data[start:]
    with cpu_within(10):
        assert media.decode(comments, name=NAME).size == (4, 4)
    refused(data[:start] + b"!\xfe\x01a\0" * 260_000 + data[start:], "more than 500,000 pieces")


def test_a_run_length_encoded_bmp_is_bounded_by_its_bytes():
    runs = b"\x01\x01" * 2_100_000
    header = struct.pack("<IiiHHIIiiII", 40, 2048, 2048, 1, 8, 1, len(runs), 0, 0, 256, 0)
    file = struct.pack("<IHHI", 54 + 1024 + len(runs), 0, 0, 54 + 1024)
    refused(b"BM" + file + header + bytes(1024) + runs, "run-length encoded BMP.*at most 4,000,000")


def test_a_webp_whose_frames_do_not_fit_into_memory_is_refused():
    data = bytearray(encode(PIL.Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    data[21:25] = struct.pack("<I", 5999 | 5999 << 14)
    refused(bytes(data), "would take 576 MB")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_decoding_stops_when_its_processor_time_is_over(kind, monkeypatch):
    data = encode(noise(600, 400), kind)
    assert media.decode(data, name=NAME).size == (600, 400)
    monkeypatch.setattr("diptych.media._source.CPU_SECONDS", -1.0)
    with pytest.raises(MediaError, match=r"takes longer than -1 seconds of processor time"):
        media.decode(data, name=NAME)
    assert media.read_header(data, name=NAME).width == 600


# -- TIFF -----------------------------------------------------------------------------------


def tiff(tags, data=b"", *, after=0):
    """A little-endian TIFF; the value of a tag is a list of LONGs."""
    place = 8 + 2 + 12 * len(tags) + 4
    entries, more = b"", b""
    for tag, values in sorted(tags.items()):
        value = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            value, more = struct.pack("<I", place + len(more)), more + value
        entries += struct.pack("<HHI", tag, 4, len(values)) + value
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", len(tags))
        + entries
        + struct.pack("<I", after)
        + more
        + data
    )


def strips(width, height, compression, starts, sizes, **more):
    tags = {256: [width], 257: [height], 258: [8], 259: [compression], 262: [1], 273: starts, 277: [1],
            278: [1], 279: sizes}  # fmt: skip
    return tags | {int(k[1:]): v for k, v in more.items()}


def test_strips_of_a_tiff_that_share_their_bytes_are_refused():
    packed = zlib.compress(bytes(100_000)) + bytes(100_000)
    tags = strips(1000, 1000, 8, [50] * 1000, [len(packed)] * 1000)
    refused(tiff(tags, packed), "overlap: they have .* bytes, and the file")


def test_more_strips_than_a_tiff_needs_are_refused():
    refused(
        tiff(strips(100, 10, 1, [8] * 1000, [100] * 1000), bytes(99_000)),
        "has 1,000 strips.*expected 10 ",
    )
    refused(tiff(strips(1, 1, 1, [8] * 300_000, [1])), "entry 273 has 300,000 numbers")


def test_tiles_much_larger_than_a_tiff_are_refused():
    tags = {256: [1], 257: [1], 258: [8], 259: [8], 262: [1], 277: [1], 322: [60_000], 323: [60_000],
            324: [200], 325: [10]}  # fmt: skip
    refused(tiff(tags, bytes(100)), "not much larger than the picture")


def test_a_tiff_of_one_huge_strip_is_refused_by_what_it_takes():
    tags = strips(7000, 7000, 5, [200], [100], t278=[7000], t258=[8, 8, 8], t262=[2], t277=[3])
    refused(tiff(tags, bytes(1000)), "would take 343 MB")


def test_jpegs_in_a_tiff_are_counted_like_others():
    jpeg = with_scans(encode(PIL.Image.new("L", (16, 16)), "JPEG", progressive=True), 300)
    tags = strips(16, 16, 7, [200], [len(jpeg)], t278=[16])
    head = tiff(tags)
    refused(head + bytes(200 - len(head)) + jpeg, "the JPEGs in it have up to 101 scans")


@pytest.mark.parametrize("compression", [6, 34925, 32809, 50001])
def test_rare_compressions_of_a_tiff_are_refused(compression):
    refused(
        tiff(strips(8, 8, compression, [8], [8])),
        f"compressed by method {compression}; expected none, LZW",
    )


def test_a_tiff_with_a_directory_that_is_its_own_next_is_one_page():
    tags = strips(4, 4, 1, [200], [16], t278=[4])
    assert media.decode(tiff(tags, bytes(300), after=8), name=NAME).size == (4, 4)


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_honest_tiffs_pass(mode, compression):
    picture = noise(120, 90, mode)
    if mode == "RGBA" and compression == "jpeg":
        pytest.skip("JPEG has no alpha")
    data = encode(picture, "TIFF", compression=compression)
    assert media.decode(data, name=NAME).size == (120, 90)


# -- band by band ---------------------------------------------------------------------------

PICTURES = {
    "RGB": lambda: noise(70, 50), "L": lambda: noise(70, 50, "L"), "CMYK": lambda: noise(70, 50, "CMYK"),
    "RGBA": lambda: noise(70, 50, "RGBA"), "1": lambda: noise(70, 50, "L").convert("1"),
    "P": lambda: noise(70, 50).quantize(16), 
    "LAB": lambda: PIL.Image.frombytes("LAB", (70, 50), noise(70, 50).tobytes()),
    "LA": lambda: noise(70, 50, "RGBA").convert("LA"), "YCbCr": lambda: noise(70, 50).convert("YCbCr"),
    "I": lambda: PIL.Image.fromarray(np.random.default_rng(1).integers(-9999, 99999, (50, 70), np.int32)),
    "F": lambda: PIL.Image.fromarray(np.random.default_rng(1).random((50, 70), np.float32) * 3 - 1),
    "I;16": lambda: PIL.Image.fromarray(np.random.default_rng(1).integers(0, 65535, (50, 70), np.uint16)),
}  # fmt: skip


@pytest.mark.parametrize("mode", PICTURES)
def test_a_picture_in_bands_is_the_picture_as_a_whole(mode, monkeypatch):
    expected = _colour.to_rgb(PICTURES[mode]())
    monkeypatch.setattr(_bands, "_DIRECT_PIXELS", 0)
    monkeypatch.setattr(_bands, "_BAND_PIXELS", 70 * 17)
    for turn in [None, *PIL.Image.Transpose]:
        whole = expected if turn is None else expected.transpose(turn)
        for release in (False, True):
            made = _colour.to_rgb(PICTURES[mode](), turn, release=release)
            assert type(made) is PIL.Image.Image
            assert (made.mode, made.size) == ("RGB", whole.size)
            assert made.tobytes() == whole.tobytes(), (turn, release)


# -- memory ---------------------------------------------------------------------------------

MEASURE = """
import io, resource, sys
import PIL.Image
from diptych import media
from diptych.errors import MediaError
import PIL.ImageCms, PIL.JpegImagePlugin, PIL.PngImagePlugin, PIL.TiffImagePlugin, PIL.WebPImagePlugin
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = media.decode(data, name="x")
print(picture.size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6)
"""


def deep(side, depth, colour, channels):
    """A 16-bit PNG of noise-free rows."""
    row = b"\0" + bytes(range(256)) * (side * channels * depth // 8 // 256 + 1)
    row = row[: 1 + side * channels * depth // 8]
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, [packed], depth=depth, colour=colour)


LARGEST = {
    "png, 16-bit grey": lambda: deep(7000, 16, 0, 1),
    "png, 16-bit rgba": lambda: deep(7000, 16, 6, 4),
    "tiff, float": lambda: encode(
        PIL.Image.new("F", (7000, 7000), 0.5), "TIFF", compression="tiff_adobe_deflate"
    ),
    "jpeg, turned": lambda: encode(PIL.Image.new("RGB", (7000, 7000), "red"), "JPEG", exif=turned()),
}  # fmt: skip


def turned():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize(
    "kind",
    [
        kind
        if kind in ("png, 16-bit rgba", "tiff, float")
        else pytest.param(kind, marks=pytest.mark.long)
        for kind in LARGEST
    ],
)
def test_the_largest_pictures_take_at_most_300_mb(kind, tmp_path):
    (tmp_path / "x").write_bytes(LARGEST[kind]())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "x"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.rpartition(" ")[2]) < 300, done.stdout


# -- through the index ----------------------------------------------------------------------


def test_a_hostile_picture_in_a_page_is_one_failure_and_the_rest_is_stored(tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    bomb = with_scans(encode(noise(64, 48), "JPEG", progressive=True), 300)
    (folder / "bomb.jpg").write_bytes(bomb)
    names = ["a.png", "b.png", "bomb.jpg", "c.png"]
    for seed, name in enumerate(name for name in names if name != "bomb.jpg"):
        (folder / name).write_bytes(encode(noise(16, 16, seed=seed)))
    (folder / "page.md").write_text(
        "# Pumps\n\nSome words.\n\n" + "\n\n".join(f"![{n}]({n})" for n in names)
    )
    reading = read(folder)
    with MultimodalIndex(StubText(), StubJoint()) as index:
        report = index.add(reading)
        assert sum(d.has_image for d in index.get()) == 3
        assert sum(not d.has_image for d in index.get()) >= 1
        failed = [*reading.failed, *report.failed]
        assert {failure.source for failure in failed} <= {"page.md", "bomb.jpg"}
        assert any("more than 100 scans" in failure.reason for failure in failed)
        report = index.add(
            [
                Document(None, Image(bomb), id="bomb"),
                Document(None, Image(encode(noise(9, 9))), id="good"),
            ]
        )
        assert (report.added, [failure.id for failure in report.failed]) == (1, ["bomb"])
