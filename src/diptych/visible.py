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

_UNSAFE = re.compile(
    # C0 but for tab and line feed, DEL and C1; Arabic letter mark, left-to-right and right-to-left marks,
    # embeddings, overrides and isolates; line and paragraph separators; deprecated format characters;
    # interlinear annotations; halves of surrogate pairs.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]"
)
_BREAKS = str.maketrans({"\n": "␊", "\t": "␉"})


def visible(text: str) -> str:
    """Return text in which every character that a terminal obeys is a sign: "␛", "<U+202E>".

    Line feeds and tabs stay.
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
    return _UNSAFE.sub(
        lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text
    )


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"
