"""Bytes to text, whatever the encoding; never an exception for what a file holds."""

from __future__ import annotations

import codecs
import re

from diptych.errors import InvalidArgument

__all__ = ["MAX_TEXT_BYTES", "check_is_text", "decode", "is_wide"]

MAX_TEXT_BYTES = 50_000_000
"""The largest page or text file, in bytes."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins in the same way
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:\-]{1,40})""", re.I)
_LATIN = {"ascii", "iso8859-1"}  # browsers read both as cp1252, and so do we
_CHARSETS = re.compile(r"(cp\d|iso8859|iso2022|koi8|euc|gb|big5|shift_jis|mac|utf-8$)")


def decode(data: bytes, *, declared: bool = False) -> str:
    """Return the text of a file, its lines ended by a line feed alone, and no NUL.

    By the byte-order mark; else UTF-8 if it is valid; else the declared charset; else UTF-8 with
    some damage, or cp1252, whichever fits better. What cannot be decoded becomes U+FFFD.

    Args:
        data: The whole file.
        declared: Whether to look for a charset in its first bytes, as HTML has it.
    """
    text = _decoded(data, declared)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _decoded(data: bytes, declared: bool) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        charset = _declared(data) if declared else None
    if charset is not None:
        return data.decode(charset, "replace")
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return text if bad < beyond_ascii - bad else data.decode("cp1252", "replace")


def _declared(data: bytes) -> str | None:
    """Return the charset that the first bytes name, if it is one."""
    match = _DECLARED.search(data[:4096])
    if match is None:
        return None
    try:
        name = codecs.lookup(match[1].decode("ascii")).name
    except LookupError:
        return None
    if name in _LATIN:
        return "cp1252"
    return name if _CHARSETS.match(name) else None


def is_wide(head: bytes) -> bool:
    """Whether a file begins with the mark of UTF-16 or UTF-32, so that its lines are not bytes."""
    return any(head.startswith(mark) for mark, _ in _MARKS[1:])


def check_is_text(data: bytes, path: str) -> None:
    """Refuse binary data, of which decoding would make nonsense.

    Raises:
        InvalidArgument: More than a tenth of the first bytes is NUL, without a byte-order mark.
    """
    head = data[:8192]
    if head.count(0) > len(head) / 10 and not is_wide(head):
        raise InvalidArgument(
            f"The file {path!r} holds binary data; expected text. Is it UTF-16 without a "
            "byte-order mark? Save it as UTF-8."
        )
