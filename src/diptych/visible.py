"""Text from elsewhere as a person may safely see it: what commands a terminal becomes a visible sign.

A file name, an id or a text may hold escape sequences that clear the screen, retitle the window or write
to the clipboard, and marks that turn the order of the letters around. Everything that is shown goes through
here: terminals by the console of ``diptych.cli``, notebooks and pages by :func:`as_html`, JSON by
:func:`as_json`. What a model gets is another matter: see ``diptych.context``.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

__all__ = ["as_html", "as_json", "in_one_line", "visible"]

_COMMANDS = (
    # C0 but for tab and line feed, DEL and C1; Arabic letter mark, left-to-right and right-to-left marks,
    # embeddings, overrides and isolates; line and paragraph separators; deprecated format characters;
    # interlinear annotations; halves of surrogate pairs.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]"
)
_UNSEEN = (
    # What has no width anywhere: fillers, joiners of words, invisible operators, tags, musical controls.
    "[\u034f\u115f\u1160\u17b4\u17b5\u180e\u2060-\u2065\u3164\ufeff\uffa0\U0001d173-\U0001d17a]",
    "[\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]",
    # What writing needs, where it does not: spaces without width beside other letters than those of
    # South-East Asia and China; joiners and choices of a variant that follow nothing that has any.
    "(?<![\u0e00-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7ff])\u200b",
    "(?<![^\0-\x7f\u200b-\u200d])[\u200c\u200d]",
    '(?<![^\0-"$-)+-/:-\x7f\u200b-\u200d\ufe00-\ufe0f])[\ufe00-\ufe0f]',
    "(?<![\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]",
    r"(?<!\w)\xad|\xad(?!\w)",
)
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
"""The flag of a region, such as Scotland: the only use of tags that is left. It stays."""
_UNSAFE = re.compile("|".join((_FLAG, _COMMANDS, *_UNSEEN)))
_BREAKS = str.maketrans({"\n": "␊", "\t": "␉"})


def visible(text: str) -> str:
    """Return text in which every character that a terminal obeys is a sign: "␛", "<U+202E>".

    So is what nobody can see, such as tags, but where writing needs it: the joiners of an emoji or of
    Persian, the variant of a sign. Line feeds and tabs stay.
    """
    return _UNSAFE.sub(_sign, text)


def in_one_line(text: object) -> str:
    """Return :func:`visible` text without line breaks, for names: a line break in one becomes "␊"."""
    return visible(str(text)).translate(_BREAKS)


def as_html(text: object) -> str:
    """Return text for a page: visible, and with nothing that is taken for markup."""
    return escape(visible(str(text)))


def as_json(value: Any) -> str:
    r"""Return JSON, indented, letters as they are and every unsafe character as "\uXXXX"."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return _UNSAFE.sub(lambda match: match[0] if len(match[0]) > 1 else _escape(match[0]), text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _sign(match: re.Match[str]) -> str:
    if len(match[0]) > 1:  # a flag
        return match[0]
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"
