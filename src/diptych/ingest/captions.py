"""Captions that authors write as a paragraph below the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from diptych.ingest.blocks import Block, Figure, Passage

__all__ = ["is_caption", "with_captions"]

MAX_CAPTION = 600
"""A longer paragraph below a picture is no caption."""

_NUMBERED = re.compile(
    r"(?:fig(?:ure|\.)?|abb(?:ildung|\.)?|bild|photo(?:graph)?|picture|illustration)\s*\d+"
    r"(?:[.\-]\d+)*[a-z]?\s*(?:[:.|)—–-]|(?-i:[A-Z])|$)"  # "Figure 3 shows" speaks of a figure
    r"|[图圖図]\s*\d+",
    re.I,
)


def is_caption(passage: Passage) -> bool:
    """Whether a paragraph below a picture is its caption: in italics, or "Figure 3: …"."""
    if passage.is_tight or len(passage.text) > MAX_CAPTION:
        return False
    return passage.is_italic or _NUMBERED.match(passage.text) is not None


def with_captions(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks with each caption moved into the figure above it.

    A figure that has a caption keeps it. Pictures side by side in one paragraph share theirs.
    """
    result: list[Block] = []
    for block in blocks:
        above = result[-1] if result else None
        if (
            not isinstance(block, Passage)
            or not isinstance(above, Figure)
            or above.caption
            or not is_caption(block)
        ):
            result.append(block)
            continue
        result[-1] = replace(above, caption=block.text)
        for at in range(len(result) - 2, -1, -1):
            beside = result[at]
            if not isinstance(beside, Figure) or beside.caption or beside.line != above.line:
                break
            if not above.line:  # lines are not known
                break
            result[at] = replace(beside, caption=block.text)
    return result
