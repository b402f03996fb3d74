"""Tells what bytes are by how they begin, so that a refusal can say what was found."""

from __future__ import annotations

from diptych.errors import MediaError

__all__ = ["FORMATS", "format_of", "sniff"]

FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
"""The formats that are decoded, and their MIME types."""

_PREFIXES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)

_CONVERT = "Convert it to PNG or JPEG."
_OTHERS = (
    (b"%PDF", "a PDF document", "Render its pages, or extract its pictures, first."),
    (b"PK\x03\x04", "a ZIP archive (or an office document)", "Extract its pictures first."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"\x7fELF", "a program", "Check the path."),
    (b"MZ", "a program", "Check the path."),
    (b"version https://git-lfs", "a Git LFS pointer", "Fetch the file with: git lfs pull"),
    (b"8BPS", "a Photoshop document", _CONVERT),
    (b"\0\0\1\0", "an icon (ICO)", _CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
)
_SVG = "It is never rasterised here, because it can hold scripts and links. Export it as PNG."


def format_of(data: bytes) -> str | None:
    """Return the format of a picture by how it begins: a key of ``FORMATS``, or None."""
    for prefix, found in _PREFIXES:
        if data.startswith(prefix):
            return found
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def sniff(data: bytes, name: str) -> str:
    """Return the format of a picture: a key of ``FORMATS``.

    Raises:
        MediaError: Something else; the message says what, and what to do about it.
    """
    if found := format_of(data):
        return found
    what, advice = _other(data)
    raise MediaError(
        f"The picture {name} is {what}; expected {', '.join(FORMATS)} (by content, not by file "
        f"name). {advice}"
    )


def _other(data: bytes) -> tuple[str, str]:
    for prefix, what, advice in _OTHERS:
        if data.startswith(prefix):
            return what, advice
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand == b"avif":
            return "an AVIF picture", _CONVERT
        if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
            return "a HEIC picture", _CONVERT
        return "a video", "Extract a frame as JPEG."
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<svg", b"<?xml", b"<!--")) and b"<svg" in start:
        return "an SVG drawing", _SVG
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page (often what a failed download leaves)", "Download the picture itself."
    if not data.strip(b"\0"):
        return f"{len(data)} zero bytes", "Copy or download it again."
    return f"of no known format (it begins with {data[:8]!r})", _CONVERT
