"""Text as it is shown to a model: without what a reader could not see."""

from __future__ import annotations

import re

__all__ = ["displayed"]

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    # OSC, DCS and kin, up to their terminator
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_LINE_BREAK = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    # Controls, half surrogates, and what Unicode calls Default_Ignorable_Code_Point: soft hyphen,
    # zero-width and bidirectional marks, fillers, variation selectors, tags.
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def displayed(text: str) -> str:
    """Return text without what a model sees and a reader does not.

    That is escape sequences, controls, bidirectional overrides, and characters of no width.
    """
    text = _LINE_BREAK.sub("\n", _ESCAPE_SEQUENCE.sub("", text))
    return _INVISIBLE.sub("", text)
