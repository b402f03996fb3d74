"""Pictures of every kind, whole and broken. Each case is generated; none is stored."""

import base64
import contextlib
import io
import os
import socket
import stat
import struct
import threading
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from diptych import media
from diptych.errors import InvalidArgument, MediaError
from pace import cpu_within, join

NAME = "'test.img'"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
LOSSLESS = {"WEBP": {"lossless": True}}


def encode(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def gradient(width=48, height=32):
    """Left to right red, top to bottom green: no symmetry, so every turn shows."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return PIL.Image.fromarray(np.stack([red, green, red * 0 + 40], axis=2).astype(np.uint8))


def pixel(data, at=(0, 0)):
    return media.decode(data, name=NAME).getpixel(at)


def png(width, height, *, depth=8, colour=2, pixels=b"", chunks=()):
    """A PNG with any header, whatever its pixels are."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def png_chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def jpeg_segment(marker, content):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


# ---- what is read ----


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_by_content(kind):
    picture = gradient()
    data = encode(picture, kind, **LOSSLESS.get(kind, {}))
    header = media.read_header(data, name=NAME)
    assert header == media.Header(kind, f"image/{kind.lower()}", 48, 32, 1)
    decoded = media.decode(data, name=NAME)
    assert decoded.mode == "RGB"
    assert type(decoded) is PIL.Image.Image
    tolerance = {"JPEG": 24, "GIF": 40}.get(kind, 0)
    difference = np.abs(np.asarray(decoded, int) - np.asarray(picture, int))
    assert difference.max() <= tolerance


def grey(*values, dtype):
    return PIL.Image.fromarray(np.array([values], dtype))


def flat(mode, colour, side=1):
    return PIL.Image.new(mode, (side, side), colour)


BLACK, MIDDLE, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
RAMP = [BLACK, MIDDLE, WHITE]
MODES = {  # name: (format, picture, expected pixels from the left)
    "1": ("PNG", grey(0, 1, dtype=bool), [BLACK, WHITE]),
    "L": ("PNG", flat("L", 77), [(77, 77, 77)]),
    "LA, half black": ("PNG", flat("LA", (0, 128)), [(127, 127, 127)]),
    "RGBA, clear red": ("PNG", flat("RGBA", (255, 0, 0, 0)), [WHITE]),
    "RGBA, half red": ("PNG", flat("RGBA", (255, 0, 0, 128)), [(255, 127, 127)]),
    "RGBA, webp": ("WEBP", flat("RGBA", (0, 0, 0, 0)), [WHITE]),
    "I;16, png": ("PNG", grey(0, 32768, 65535, dtype=np.uint16), RAMP),
    "I;16, tiff": ("TIFF", grey(0, 32768, 65535, dtype=np.uint16), RAMP),
    "I;16, dark": ("PNG", grey(0, 257, 2570, dtype=np.uint16), [BLACK, (1, 1, 1), (10, 10, 10)]),
    "I of 8 bits": ("TIFF", grey(0, 128, 255, dtype=np.int32), RAMP),
    "I of 16 bits": ("TIFF", grey(0, 32768, 65535, dtype=np.int32), RAMP),
    "I, stretched": ("TIFF", grey(-100, 0, 100, dtype=np.int32), RAMP),
    "I, flat": ("TIFF", grey(99_999, dtype=np.int32), [BLACK]),
    "F of 0..1": ("TIFF", grey(0, 0.5, 1, dtype=np.float32), RAMP),
    "F of 0..255": ("TIFF", grey(0, 128, 255, dtype=np.float32), RAMP),
    "F, huge": ("TIFF", grey(-1e38, 0, 1e38, dtype=np.float32), RAMP),
    "F with NaN": ("TIFF", grey(np.nan, 0.5, np.inf, 1, dtype=np.float32), [MIDDLE] * 3 + [WHITE]),
    "F, all NaN": ("TIFF", grey(np.nan, dtype=np.float32), [BLACK]),
    "CMYK, tiff": ("TIFF", flat("CMYK", (255, 0, 0, 0)), [(0, 255, 255)]),
    "CMYK, jpeg": ("JPEG", flat("CMYK", (0, 255, 255, 0), 8), [(254, 0, 0)]),
    "YCbCr": ("TIFF", flat("RGB", "red").convert("YCbCr"), [(254, 0, 0)]),
    "LAB": ("TIFF", flat("LAB", (138, 81 + 128, 70 + 128)), [(255, 0, 0)]),
}


@pytest.mark.parametrize(("kind", "picture", "expected"), MODES.values(), ids=MODES)
def test_every_colour_mode_becomes_rgb_on_white(kind, picture, expected):
    decoded = media.decode(encode(picture, kind, **LOSSLESS.get(kind, {})), name=NAME)
    got = [decoded.getpixel((x, 0)) for x in range(len(expected))]
    assert np.abs(np.subtract(got, expected)).max() <= 6


def test_palette_with_transparent_entry_shows_white():
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        decoded = media.decode(encode(picture, kind, transparency=0), name=NAME)
        assert decoded.getpixel((0, 0)) == (255, 255, 255)
        assert decoded.getpixel((1, 0)) == (0, 0, 255)


def test_palette_with_graded_alpha_is_composited():
    picture = PIL.Image.new("P", (1, 1))
    picture.putpalette([255, 0, 0])
    assert pixel(encode(picture, transparency=bytes([128]))) == (255, 127, 127)


def test_transparent_colour_of_an_rgb_png_shows_white():
    picture = PIL.Image.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 9, 9))
    data = encode(picture, transparency=(1, 2, 3))
    assert pixel(data) == (255, 255, 255)
    assert pixel(data, (1, 0)) == (9, 9, 9)


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa", "RGBX", "HSV", "I;16B"])
def test_pil_pictures_of_rare_modes_become_png(mode):
    sources = {"La": "LA", "RGBa": "RGBA", "PA": "P"}
    if mode == "I;16B":
        picture = PIL.Image.frombytes("I;16B", (1, 1), struct.pack(">H", 65535))
        expected = (255, 255, 255)
    else:
        source = PIL.Image.new("RGB", (1, 1), (0, 0, 255)).convert(sources.get(mode, "RGB"))
        picture = source if mode == source.mode else source.convert(mode)
        expected = {"La": (29, 29, 29)}.get(mode, (0, 0, 255))
    assert picture.mode == mode
    data = media.from_pil(picture)
    assert media.read_header(data, name=NAME).format == "PNG"
    assert pixel(data) == expected


def test_ycck_jpeg_is_converted_by_the_adobe_formula():
    stored = PIL.Image.new("CMYK", (8, 8), (105, 155, 55, 55))
    data = bytearray(encode(stored, "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = 2  # the components are now read as Y, Cb, Cr, K
    y, cb, cr, k = (255 - v for v in (105, 155, 55, 55))  # Adobe stores them inverted
    red = y + 1.402 * (cr - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    ink = np.clip([red, green, blue], 0, 255)
    # libjpeg gives 255 - rgb, Pillow inverts it back: those are C, M, Y; K is inverted likewise.
    expected = (255 - ink) * (255 - (255 - k)) / 255
    assert np.abs(np.subtract(pixel(bytes(data)), expected)).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(kind, turn):
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    data = encode(gradient(), kind, exif=exif, **LOSSLESS.get(kind, {}))
    with PIL.Image.open(io.BytesIO(data)) as opened:
        expected = PIL.ImageOps.exif_transpose(opened).convert("RGB")
    decoded = media.decode(data, name=NAME)
    assert np.array_equal(np.asarray(decoded), np.asarray(expected))
    header = media.read_header(data, name=NAME)
    assert (header.width, header.height) == decoded.size == ((48, 32) if turn < 5 else (32, 48))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0XX*\0\0\0\0\x08",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
    ],
    ids=["empty", "no byte order", "far offset", "many entries", "orientation 99"],
)
def test_broken_exif_means_upright(exif):
    data = encode(gradient(), "JPEG")
    data = data[:2] + jpeg_segment(0xE1, exif) + data[2:]
    assert media.read_header(data, name=NAME).width == 48
    assert media.decode(data, name=NAME).size == (48, 32)


# ---- metadata is neither parsed nor trusted ----


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_broken_colour_profile_is_ignored(kind):
    assert (
        pixel(encode(PIL.Image.new("RGB", (8, 8), "red"), kind, icc_profile=b"junk" * 999))[0]
        >= 250
    )


def test_text_bombs_in_a_png_are_not_unpacked():
    bomb = zlib.compress(bytes(50_000_000), 9)
    chunks = [
        (b"iCCP", b"x\0\0" + bomb),
        (b"zTXt", b"Raw profile type exif\0\0" + bomb),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        (b"eXIf", b"II*\0" + bytes(100_000)),
    ]
    data = png(1, 1, pixels=b"\0\xff\0\0", chunks=chunks)
    with cpu_within(1):
        assert pixel(data) == (255, 0, 0)


def test_large_metadata_of_a_jpeg_is_dropped():
    data = encode(PIL.Image.new("RGB", (8, 8), "red"), "JPEG")
    segments = b"".join(
        jpeg_segment(marker, bytes(65_000)) for marker in (0xE1, 0xE2, 0xED, 0xFE) * 50
    )
    assert pixel(data[:2] + segments + data[2:])[0] >= 250


def test_fill_bytes_between_jpeg_segments_are_skipped():
    data = encode(gradient(), "JPEG")
    padded = data[:2] + b"\xff\xff" + jpeg_segment(0xE1, b"Exif\0\0") + b"\xff" + data[2:]
    assert media.decode(padded, name=NAME).tobytes() == media.decode(data, name=NAME).tobytes()


def test_progressive_jpeg_and_interlaced_png_are_read():
    picture = gradient()
    progressive = media.decode(encode(picture, "JPEG", progressive=True), name=NAME)
    baseline = media.decode(encode(picture, "JPEG"), name=NAME)
    assert np.abs(np.asarray(progressive, int) - np.asarray(baseline, int)).max() <= 8
    interlaced = bytearray(png(1, 1, pixels=b"\0\1\2\3"))
    interlaced[28] = 1
    interlaced[29:33] = struct.pack(">I", zlib.crc32(bytes(interlaced[12:29])))
    assert pixel(bytes(interlaced)) == (1, 2, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_trailing_data_does_not_matter(kind):
    data = encode(gradient(), kind)
    whole = media.decode(data, name=NAME).tobytes()
    assert media.decode(data + b"<script>PK\x03\x04" * 99, name=NAME).tobytes() == whole


# ---- frames ----


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_is_decoded_and_frames_are_counted(kind):
    frames = [PIL.Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    data = encode(
        frames[0], kind, save_all=True, append_images=frames[1:], **LOSSLESS.get(kind, {})
    )
    assert media.read_header(data, name=NAME).frames == 3
    assert pixel(data) == (255, 0, 0)


def gif(frames, *, width=2, height=2, box=(0, 0, 2, 2)):
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\xff\0\0\0\xff\0"
    frame = b"!\xf9\4\0\1\0\0\0" + b"," + struct.pack("<HHHH", *box) + b"\0" + b"\2\2\x84\x51\0"
    return head + frame * frames + b";"


def test_counting_frames_stops_at_a_bound():
    data = gif(1_000_000)
    assert media.read_header(gif(10), name=NAME).frames == 10
    with cpu_within(0.15):  # of all frames, it would take 100 times as long
        assert media.read_header(data, name=NAME).frames == media.MAX_FRAMES
    assert pixel(data) == (255, 0, 0)


def test_tiff_whose_pages_form_a_loop_is_bounded():
    data = bytearray(encode(gradient(), "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    assert media.read_header(bytes(data), name=NAME).frames == 1
    assert media.decode(bytes(data), name=NAME).size == (48, 32)


def test_multi_picture_jpeg_is_its_first_picture():
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert media.read_header(data, name=NAME) == media.Header("JPEG", "image/jpeg", 8, 8, 1)
    assert pixel(data)[0] >= 250


# ---- what is refused, by its header ----


def patched(data, offset, values, form="<I"):
    changed = bytearray(data)
    for i, value in enumerate(values):
        struct.pack_into(form, changed, offset + i * struct.calcsize(form), value)
    return bytes(changed)


def sized(kind, width, height):
    """A small file whose header claims ``width`` x ``height`` pixels."""
    if kind == "PNG":
        return png(width, height, depth=1, colour=0, pixels=bytes(1000))
    if kind == "GIF":
        return gif(1, width=min(width, 65535), height=min(height, 65535))
    if kind == "GIF frame":
        return gif(1, box=(0, 0, min(width, 65535), min(height, 65535)))
    data = encode(PIL.Image.new("RGB", (8, 8)), kind, **LOSSLESS.get(kind, {}))
    if kind == "JPEG":
        return patched(
            data, data.index(b"\xff\xc0") + 5, [min(height, 65535), min(width, 65535)], ">H"
        )
    if kind == "BMP":
        return patched(data, 18, [width, height])
    if kind == "WEBP":
        bits = (min(width, 16384) - 1) | (min(height, 16384) - 1) << 14
        return patched(data, 21, [bits])
    (tags,) = struct.unpack_from("<I", data, 4)
    for at in range(tags + 2, tags + 2 + 12 * 2, 12):  # the first two tags: width and height
        (tag,) = struct.unpack_from("<H", data, at)
        data = patched(data, at + 2, [4], "<H")
        data = patched(data, at + 4, [1, {256: width, 257: height}[tag]])
    return data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "GIF frame", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("side", [9_000, 13_000, 20_000, 65_535, 2**31 - 1])
def test_bombs_are_refused_before_decoding(kind, side):
    data = sized(kind, side, side)
    assert len(data) < 20_000
    # A side of 31 bits is negative, or no valid tag, in some formats: damaged, as they say.
    why = "damaged|expected at most" if side > 65_535 else "expected at most"
    with cpu_within(1):
        with pytest.raises(MediaError, match=rf"'test\.img'.*({why})"):
            media.read_header(data, name=NAME)
        with pytest.raises(MediaError, match=rf"'test\.img'.*({why})"):
            media.decode(data, name=NAME)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 20_001), (20_001, 1), (1, 2**31 - 1), (7_072, 7_072)]
)
def test_one_more_than_the_limit_is_refused(width, height):
    with pytest.raises(MediaError, match="expected at most 50 million pixels, and 20,000 on a"):
        media.read_header(png(width, height), name=NAME)


def test_extreme_but_legal_shape_is_decoded():
    assert media.decode(encode(PIL.Image.new("L", (1, 20_000))), name=NAME).size == (1, 20_000)
    assert media.read_header(png(7_071, 7_071), name=NAME).width == 7_071


def test_size_limit_of_pillow_is_not_changed(monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        assert media.decode(encode(gradient(), kind), name=NAME).size == (48, 32)
    assert PIL.Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\n <html lang='en'>", "an HTML page"),
        (b"<html><body><svg></svg>", "an HTML page"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\x7fELF\2\1\1", "a program"),
        (b"MZ\x90\0", "a program"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing.*Export it as PNG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><svg></svg>", "an SVG drawing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer.*git lfs pull"),
        (bytes(5), "5 zero bytes"),
        (b"x", "of no known format"),
        (b"\xff\xd8", "of no known format"),
        (b"RIFF\0\0\0\0WAVE", "of no known format"),
        (b"RIFX\0\0\0\0WEBP", "of no known format"),
    ],
)
def test_other_content_is_named_and_refused(content, what):
    with pytest.raises(MediaError, match=f"'test.img' is {what}.*expected JPEG, PNG|{what}"):
        media.decode(content, name=NAME)


def test_empty_bytes_are_refused():
    with pytest.raises(MediaError, match=r"'test.img' is empty \(0 bytes\)"):
        media.read_header(b"", name=NAME)


def test_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr("diptych.media._file.MAX_BYTES", 100)
    with pytest.raises(MediaError, match="MB; expected at most"):
        media.decode(encode(gradient()), name=NAME)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("tenth", range(10))
def test_a_file_that_is_cut_off_is_never_half_decoded(kind, tenth):
    data = encode(noise(48, 32), kind)
    cut = data[: max(1, len(data) * tenth // 10)]
    with pytest.raises(MediaError, match=r"'test\.img'"):
        media.decode(cut, name=NAME)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_raise_nothing_but_media_errors(kind, rng):
    data = np.frombuffer(encode(gradient(), kind), np.uint8)
    with np.errstate(all="raise"):
        for _ in range(60):
            damaged = data.copy()
            damaged[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
            with contextlib.suppress(MediaError):
                assert media.decode(damaged.tobytes(), name=NAME).mode == "RGB"


# ---- files ----


def test_regular_file_is_read_through_a_link(tmp_path):
    (tmp_path / "a\nb ü.bin").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "a\nb ü.bin")
    assert media.read_file(tmp_path / "link") == b"content"
    assert media.read_file(str(tmp_path / "a\nb ü.bin")) == b"content"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match=r"pipe.png' is a named pipe; expected a regular file"):
        media.read_file(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match="is a directory; expected a regular file"):
        media.read_file(tmp_path)
    with pytest.raises(MediaError, match="is a device; expected a regular file"):
        media.read_file(os.devnull)


def test_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.png")
        with pytest.raises(MediaError, match="could not be opened: it is a socket"):
            media.read_file("s.png")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing.png", "No such file"),
        ("nul\0.png", "null"),
        ("surrogate\ud800.png", "surrogates"),
        ("", "No such file"),
        ("x" * 5000, "too long"),
    ],
    ids=["missing", "nul", "surrogate", "empty", "long"],
)
def test_impossible_paths_are_refused(tmp_path, monkeypatch, path, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=f"(?s)could not be opened.*{why}.*Expected the path"):
        media.read_file(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(tmp_path):
    file = tmp_path / "secret.png"
    file.write_bytes(b"x")
    file.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        media.read_file(file)


def test_size_is_checked_before_reading(tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(10**12)  # sparse: takes no space
    with pytest.raises(MediaError, match=r"1,000,000.0 MB; expected at most 50 MB"):
        media.read_file(tmp_path / "huge.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(MediaError, match="is empty"):
        media.read_file(tmp_path / "empty.png")


def test_reading_leaves_no_descriptor_open(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"a")
    before = os.dup(0)
    os.close(before)
    for path in (tmp_path / "a.bin", tmp_path):
        try:
            media.read_file(path)
        except MediaError:
            assert stat.S_ISDIR(path.stat().st_mode)
    after = os.dup(0)
    os.close(after)
    assert after == before


# ---- fit ----


def fit(data, max_edge=1568, max_bytes=3_500_000):
    return media.fit(data, max_edge=max_edge, max_bytes=max_bytes, name=NAME)


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(values)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_picture_that_fits_is_passed_through(kind):
    data = encode(gradient(), kind)
    assert fit(data) == (data, f"image/{kind.lower()}")


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_formats_that_models_refuse_are_encoded_again(kind):
    data, mime = fit(encode(gradient(), kind))
    assert mime in ("image/png", "image/jpeg")
    assert media.read_header(data, name=NAME).mime == mime
    assert media.decode(data, name=NAME).size == (48, 32)


def test_cmyk_animated_and_turned_pictures_are_encoded_again():
    cmyk = encode(PIL.Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG")
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 0.0)  # GPS latitude
    turned = encode(gradient(), "JPEG", exif=exif)
    assert fit(cmyk)[0] != cmyk
    assert pixel(fit(cmyk)[0]) == (0, 255, 255)
    assert media.read_header(fit(animated)[0], name=NAME).frames == 1
    upright, mime = fit(turned)
    header = media.read_header(upright, name=NAME)
    assert (header.width, header.height, header.mime) == (32, 48, mime)
    with PIL.Image.open(io.BytesIO(upright)) as opened:
        assert not opened.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_picture_is_scaled_to_the_longest_side(kind):
    data, _ = fit(encode(gradient(900, 300), kind), max_edge=450)
    assert media.decode(data, name=NAME).size == (450, 150)
    oracle = gradient(900, 300).resize((450, 150), PIL.Image.Resampling.BOX)
    difference = np.abs(np.asarray(media.decode(data, name=NAME), int) - np.asarray(oracle, int))
    assert difference.mean() < 3


@pytest.mark.parametrize("max_bytes", [200_000, 50_000, 10_000, 2_000, 700])
def test_result_is_never_larger_than_asked(max_bytes):
    data, mime = fit(encode(noise(600, 400)), max_bytes=max_bytes)
    assert len(data) <= max_bytes
    assert mime == "image/jpeg"
    assert media.decode(data, name=NAME).width / media.decode(
        data, name=NAME
    ).height == pytest.approx(1.5, rel=0.2)


def test_quality_is_lowered_before_size():
    data, _ = fit(encode(noise(300, 200)), max_bytes=45_000)
    assert media.decode(data, name=NAME).size == (300, 200)


def test_drawing_stays_lossless():
    drawing = PIL.Image.new("RGB", (2000, 1000), "white")
    drawing.paste((200, 0, 0), (100, 100, 900, 900))
    data, mime = fit(encode(drawing))
    assert mime == "image/png"
    assert media.decode(data, name=NAME).getpixel((200, 400)) == (200, 0, 0)


def test_impossible_limits_are_refused():
    with pytest.raises(MediaError, match="cannot be made as small as 20 bytes"):
        fit(encode(noise(64, 64)), max_bytes=20)
    with pytest.raises(InvalidArgument, match="limits of 1 or more"):
        fit(encode(gradient()), max_edge=0)


def test_picture_that_is_cut_off_is_not_passed_through():
    data = encode(noise(64, 64), "JPEG")
    with pytest.raises(MediaError, match="damaged"):
        fit(data[: len(data) // 2])


def test_extreme_shape_keeps_one_pixel():
    data, _ = fit(encode(PIL.Image.new("L", (1, 20_000))))
    assert media.decode(data, name=NAME).size == (1, 1568)


# ---- data URIs ----

PNG = encode(PIL.Image.new("RGB", (1, 1), "red"))
B64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "uri",
    [
        f"data:image/png;base64,{B64}",
        f"DATA:Image/PNG;charset=utf-8;BASE64,{B64}",
        f"data:image/jpeg;base64,{B64}",
        f"data:image/png;base64,{B64.rstrip('=')}",
        f"data:image/png;base64,{B64[:20]}\n  {B64[20:]}\n",
        "data:image/png;base64," + B64.replace("+", "%2B").replace("=", "%3D"),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
    ids=["plain", "case", "wrong subtype", "no padding", "white space", "escaped", "percent"],
)
def test_data_uri_gives_the_bytes(uri):
    assert media.parse_data_uri(uri) == PNG


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("data:image/png;base64", "is no data URI"),
        ("http://x/a.png,", "is no data URI"),
        ("data:," + B64, "of type 'text/plain'; expected an image type"),
        ("data:text/html;base64,PGh0bWw+", "of type 'text/html'"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64,@@@@", "not valid base64"),
        ("data:image/png;base64,AAAAA", "not valid base64"),
        (f"data:image/png;base64,{B64[:9]}=={B64[9:]}", "not valid base64"),
        ("data:image/svg+xml,<svg xmlns='x'/>", "an SVG drawing"),
        ("data:image/png;base64,PGh0bWw+", "an HTML page"),
        ("data:image/png;base64,AAAA\ud800", "not valid base64"),
    ],
)
def test_broken_data_uri_is_refused(uri, why):
    with pytest.raises(MediaError, match=why):
        media.parse_data_uri(uri)


def test_data_uri_is_bounded_and_never_quoted_whole(monkeypatch):
    monkeypatch.setattr("diptych.media._uri._MAX_CHARACTERS", 1000)
    with pytest.raises(MediaError, match="million characters; expected at most") as caught:
        media.parse_data_uri("data:image/png;base64," + "A" * 2000)
    assert len(str(caught.value)) < 300


# ---- PIL pictures ----


def test_pil_picture_keeps_its_pixels_and_is_not_changed():
    picture = gradient()
    before = picture.tobytes()
    data = media.from_pil(picture)
    assert np.array_equal(np.asarray(media.decode(data, name=NAME)), np.asarray(picture))
    assert picture.tobytes() == before
    assert media.from_pil(picture) == data


def test_pil_picture_is_turned_upright():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    with PIL.Image.open(io.BytesIO(encode(gradient(), "JPEG", exif=exif))) as opened:
        data = media.from_pil(opened)
    assert media.read_header(data, name=NAME).width == 32


def test_unusable_pil_pictures_are_refused():
    with pytest.raises(MediaError, match="0 x 0 pixels"):
        media.from_pil(PIL.Image.new("RGB", (0, 0)))
    with pytest.raises(MediaError, match="expected at most 50 million"):
        media.from_pil(PIL.Image.new("1", (20_000, 3_000)))
    with (
        PIL.Image.open(io.BytesIO(encode(noise(64, 64), "JPEG")[:900])) as cut,
        pytest.raises(MediaError, match=r"could not be read: .*truncated"),
    ):
        media.from_pil(cut)


# ---- threads ----


def test_decoding_in_threads_gives_the_same_pixels():
    pictures = [encode(noise(120, 90, seed), kind) for seed, kind in enumerate(FORMATS * 4)]
    expected = [media.decode(data, name=NAME).tobytes() for data in pictures]
    results = {}

    def work(first):
        for i in range(first, len(pictures), 4):
            results[i] = media.decode(pictures[i], name=NAME).tobytes()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert [results[i] for i in range(len(pictures))] == expected
