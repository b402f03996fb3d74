"""Pictures in ``data:`` URIs (RFC 2397)."""

from __future__ import annotations

import binascii
from urllib.parse import unquote_to_bytes

from diptych.errors import MediaError
from diptych.media._file import MAX_BYTES
from diptych.media._sniff import sniff

__all__ = ["parse_data_uri"]

_MAX_CHARACTERS = MAX_BYTES * 4 // 3 + 1024


def parse_data_uri(uri: str) -> bytes:
    """Return the encoded picture that a ``data:`` URI holds.

    Base64 (white space and missing padding are forgiven, as browsers do) or percent-encoded.

    Raises:
        MediaError: Not a data URI, not of an image type, too long, not decodable, or its content
            is no picture of a supported format.
    """
    shown = repr(uri[:40] + ("..." if len(uri) > 40 else ""))
    if uri[:5].lower() != "data:" or "," not in uri[:1024]:
        raise MediaError(f"{shown} is no data URI; expected 'data:image/png;base64,' and the data.")
    if len(uri) > _MAX_CHARACTERS:
        raise MediaError(
            f"The data URI {shown} has {len(uri) / 1e6:,.1f} million characters; expected at most "
            f"{_MAX_CHARACTERS / 1e6:,.1f}. Scale the picture down first."
        )
    head, _, body = uri[5:].partition(",")
    mime, *parameters = (part.strip().lower() for part in head.split(";"))
    if not mime.startswith("image/"):
        raise MediaError(
            f"The data URI {shown} is of type {mime or 'text/plain'!r}; expected an image type, as "
            "in 'data:image/png;base64,...'."
        )
    data = unquote_to_bytes(body.encode("utf-8", "replace"))
    if "base64" in parameters:
        data = _base64(data, shown)
    if not data:
        raise MediaError(f"The data URI {shown} is empty. Put the whole picture after the comma.")
    sniff(data, f"in the data URI {shown}")
    return data


def _base64(text: bytes, shown: str) -> bytes:
    text = b"".join(text.split()).rstrip(b"=")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error as error:
        raise MediaError(
            f"The data URI {shown} is not valid base64: {error}. Was it cut off, or encoded in "
            "another way?"
        ) from error
