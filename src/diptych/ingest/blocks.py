"""What a page consists of, before it becomes documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Figure", "Heading", "Page", "Passage"]


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section. ``level``: 1 to 6. ``line``: from 1, 0 when it is not known."""

    level: int
    text: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph, an item of a list, a row of a table, a piece of code.

    Attributes:
        text: The words.
        line: Where it begins in the file, from 1; 0 when it is not known.
        is_tight: Whether it follows the one before on the next line, without a blank one.
        is_italic: Whether all of it is emphasised, as captions often are.
    """

    text: str
    line: int = 0
    is_tight: bool = False
    is_italic: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture in a page, as the page names it."""

    link: str
    alt: str = ""
    caption: str = ""
    line: int = 0


Block = Heading | Passage | Figure


@dataclass(frozen=True, slots=True)
class Page:
    """A page in reading order.

    Attributes:
        title: "" when the page says none.
        blocks: What it shows.
        elsewhere: Links of pictures on the web that are in none of the blocks: within navigation and
            buttons, and other sizes of a picture that has no link of its own.
    """

    title: str
    blocks: Sequence[Block]
    elsewhere: Sequence[str] = ()
