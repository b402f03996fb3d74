"""Long texts in pieces: cut between paragraphs, else sentences, else lines, else words."""

from __future__ import annotations

import re

from diptych.checks import at_least_one

__all__ = ["MAX_CHARS", "split"]

MAX_CHARS = 1000
"""About 200 to 250 tokens of English, what small sentence encoders read at once."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE = re.compile(
    r"[.!?…]['\")\]»”’]*\s++(?![a-z])"  # "e.g. this" is no end
    r"|[。！？｡．]['\"」』）】”’]*\s*"  # CJK sentences have no space between them
)
_LINE = re.compile(r"\n")
_WORD = re.compile(r"\s+")


def split(text: str, max_chars: int = MAX_CHARS) -> list[str]:
    """Return consecutive pieces of a text; joined, they are the text.

    A piece ends after a paragraph where that leaves it at least a quarter full, else after a
    sentence, a line, a word. A word is cut only when it is longer than ``max_chars``. White space
    stays at the end of a piece, so pieces that are shown want stripping.

    Args:
        text: Any text; "" has no pieces.
        max_chars: The most characters of a piece.

    Raises:
        InvalidArgument: ``max_chars`` is below 1.

    Example:
        >>> split("One sentence. Another one.", max_chars=20)
        ['One sentence. ', 'Another one.']
    """
    at_least_one("max_chars", max_chars)
    pieces = []
    start = 0
    while len(text) - start > max_chars:
        end = _cut(text, start, start + max_chars)
        pieces.append(text[start:end])
        start = end
    if start < len(text):
        pieces.append(text[start:])
    return pieces


def _cut(text: str, start: int, limit: int) -> int:
    """Return where to end the piece that starts at ``start``, at ``limit`` at the latest."""
    enough = start + (limit - start) // 4
    for boundary in (_PARAGRAPH, _SENTENCE, _LINE):
        end = _last_end(boundary, text, start, limit)
        if end > max(enough, start):
            return end
    if text[limit].isspace():
        return limit
    return _last_end(_WORD, text, start, limit) or limit


def _last_end(boundary: re.Pattern[str], text: str, start: int, limit: int) -> int:
    end = 0
    for match in boundary.finditer(text, start, limit):
        end = match.end()
    return end
