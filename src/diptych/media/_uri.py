"""Strings that stand for a picture: paths, ``data:`` URIs (RFC 2397), ``file:`` URIs (RFC 8089), base64."""

from __future__ import annotations

import binascii
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from diptych.checks import cut, shown
from diptych.errors import MediaError
from diptych.media._file import MAX_BYTES
from diptych.media._sniff import format_of, sniff

__all__ = ["parse_data_uri", "source_of"]

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/(?:/|(?<=http:/)|(?<=https:/))", re.I)
"""Of any scheme. ``Path`` leaves one slash of two; a scheme has two letters, a drive of Windows one."""

_DRIVE = re.compile(r"/[a-z][:|](?:/|$)", re.I)
_LEAST_BASE64 = 40
"""Characters; the smallest picture that can be seen, a GIF of one pixel, takes 48."""

_MAX_CHARACTERS = MAX_BYTES * 4 // 3 + 1024


def source_of(source: str | os.PathLike[str]) -> bytes | Path:
    """Return what a string stands for: the bytes of a picture, or the path of a file.

    A ``data:`` URI, a ``file:`` URI of this machine, or a path. What is not the path of anything, but base64
    of something that begins as a picture does, is that picture. A ``Path`` is a path and nothing else.

    Raises:
        MediaError: Empty, a URL, a ``file:`` URI of another machine, or a ``data:`` URI without a picture.
    """
    text = os.fsdecode(source)
    if not text or "\0" in text:
        raise MediaError(f"{cut(text)} is no path of a picture. Pass a path or bytes.")
    is_text = isinstance(source, str)
    scheme = text[:5].lower() if is_text else ""
    if scheme == "data:":
        return parse_data_uri(text)
    if scheme == "file:" and text[5:6] == "/":
        return _path_of(text)
    if _URL.match(text):
        raise MediaError(
            f"{cut(text)} is a URL, and diptych never fetches one by itself. Download it and pass its path "
            "or its bytes, or let an adapter fetch it from hosts that you allow: remote=RemotePictures(...)."
        )
    data = _bare_base64(text) if is_text else None
    return Path(text) if data is None or os.path.lexists(text) else data


def _path_of(uri: str) -> Path:
    """Return the path that a ``file:`` URI names."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise MediaError(
            f"{cut(uri)} is no file URI: {error}. Expected 'file:///' and a path."
        ) from error
    if parts.netloc.lower() not in ("", "localhost"):
        raise MediaError(
            f"{cut(uri)} names a file of the machine {cut(parts.netloc)}; expected 'file:///' and a path of "
            "this one. Copy it here, and pass its path."
        )
    if "?" in uri or "#" in uri:
        raise MediaError(
            f"{cut(uri)} is a file URI with a '?' or '#', which end its path; expected a path alone. Write "
            "them as %3F and %23, as Path.as_uri does, or pass the path itself."
        )
    path = os.fsdecode(unquote_to_bytes(parts.path.encode("utf-8", "surrogateescape")))
    if os.name == "nt" and _DRIVE.match(path):  # file:///C:/a.png
        path = f"{path[1]}:{path[3:]}"
    if "\0" in path:
        raise MediaError(f"{cut(uri)} is a file URI with NUL in its path. Pass a path or bytes.")
    return Path(path)


def _bare_base64(text: str) -> bytes | None:
    """Return the picture that a string is as base64, or None; what is decoded is not a whole check of it."""
    if not _LEAST_BASE64 <= len(text) <= _MAX_CHARACTERS or not text.isascii():
        return None
    begin = b"".join(text[:_LEAST_BASE64].encode().split())
    begin = begin[: len(begin) // 4 * 4].translate(_STANDARD)
    try:
        if format_of(binascii.a2b_base64(begin, strict_mode=True)) is None:
            return None
        return _decoded(text.encode())
    except binascii.Error:
        return None


def parse_data_uri(uri: str) -> bytes:
    """Return the encoded picture that a ``data:`` URI holds.

    Base64 (white space and missing padding are forgiven, as browsers do) or percent-encoded.

    Raises:
        MediaError: Not a data URI, not of an image type, too long, not decodable, or its content
            is no picture of a supported format.
    """
    given = cut(uri)
    if uri[:5].lower() != "data:" or "," not in uri[:1024]:
        raise MediaError(f"{given} is no data URI; expected 'data:image/png;base64,' and the data.")
    if len(uri) > _MAX_CHARACTERS:
        raise MediaError(
            f"The data URI {given} has {len(uri) / 1e6:,.1f} million characters; expected at most "
            f"{_MAX_CHARACTERS / 1e6:,.1f}. Scale the picture down first."
        )
    head, _, body = uri[5:].partition(",")
    mime, *parameters = (part.strip().lower() for part in head.split(";"))
    if not mime.startswith("image/"):
        raise MediaError(
            f"The data URI {given} is of type {shown(mime or 'text/plain', 40)}; expected an image type, as "
            "in 'data:image/png;base64,...'."
        )
    data = unquote_to_bytes(body.encode("utf-8", "replace"))
    if "base64" in parameters:
        data = _base64(data, given)
    if not data:
        raise MediaError(f"The data URI {given} is empty. Put the whole picture after the comma.")
    sniff(data, f"in the data URI {given}")
    return data


def _base64(text: bytes, given: str) -> bytes:
    try:
        return _decoded(text)
    except binascii.Error as error:
        raise MediaError(
            f"The data URI {given} is not valid base64: {error}. Was it cut off, or encoded in "
            "another way?"
        ) from error


_STANDARD = bytes.maketrans(b"-_", b"+/")
"""From the alphabet for URLs (RFC 4648, section 5) to the standard one."""


def _decoded(text: bytes) -> bytes:
    text = b"".join(text.split()).rstrip(b"=").translate(_STANDARD)
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
