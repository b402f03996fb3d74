"""HTML to the blocks of a page: headings, passages and figures in reading order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from diptych.ingest.blocks import Block, Figure, Heading, Page, Passage
from diptych.ingest.bounds import bounded
from diptych.ingest.paths import is_remote

__all__ = ["LINE", "parse_html"]

LINE = "data-line"
"""The attribute that says in which line of the file an element begins."""

_DROPPED_TAGS = (
    "script style nav template noscript head svg iframe object embed select datalist textarea "
    "button audio video canvas"
)
_BREAKING_TAGS = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main menu ol p pre "
    "search section summary table tbody td tfoot th thead tr ul"
)
_DROPPED = frozenset(_DROPPED_TAGS.split())
_BREAKING = frozenset(_BREAKING_TAGS.split())
_TIGHT = frozenset({"li", "tr", "dt", "dd", "summary", "legend"})
_EMPHASIS = frozenset({"em", "i", "cite"})
_LAYOUT = "table, h1, h2, h3, h4, h5, h6, figure, ul, ol, dl, pre, p + p"
_BREAK = "\0"
"""A forced line break in running text; a page cannot hold this character."""

_LATE = (
    "data-src", "src", "href", "xlink:href", "poster", "srcset", "data-srcset", "data-lazy-src",
    "data-original", "data",
)  # fmt: skip
"""The attributes that hold the link of a picture, the best first."""

_SHOWING = (
    'img, picture > source, svg image, input, video, object[type^="image/"], embed[type^="image/"]'
)
"""What shows a picture; only ``<img>`` becomes a figure."""

_SPACE = re.compile(r"[ \t\n\r\f]+")


def parse_html(html: str) -> Page:
    """Return the blocks of a page: what is seen, without navigation, scripts and forms.

    Raises:
        InvalidArgument: The page is built to stop a parser.
    """
    parser = LexborHTMLParser(bounded(html))
    title = parser.css_first("head > title")
    reader = _Reader()
    if parser.body is not None:
        for node, is_entered in _walk(parser.body):
            if not is_entered:
                reader.leave(str(node.tag))
            elif node.is_text_node:
                reader.text(node.text_content or "")
            elif node.is_element_node:
                reader.enter(str(node.tag), node)
        reader.flush()
    return Page(
        _SPACE.sub(" ", title.text()).strip() if title is not None else "",
        reader.blocks,
        _elsewhere(parser, reader.seen),
    )


def _elsewhere(parser: LexborHTMLParser, seen: Set[int]) -> tuple[str, ...]:
    """Return the links of pictures on the web that are in no figure: nothing is lost in silence.

    The sources of a ``<picture>`` whose ``<img>`` is a figure are other sizes of it.

    Args:
        parser: The page.
        seen: The elements that became figures.
    """
    found: list[str] = []
    for node in parser.css(_SHOWING):
        if node.mem_id in seen or (node.tag == "source" and _has_figure(node, seen)):
            continue
        links = _links(node)
        found += [link for link in links if is_remote(link)][:1]
    return tuple(found)


def _has_figure(source: LexborNode, seen: Set[int]) -> bool:
    picture = source.parent
    return picture is not None and any(node.mem_id in seen for node in picture.css("img"))


def _links(node: LexborNode) -> list[str]:
    """Return the links of the picture that an element shows, the best first.

    Pages that load pictures late put a placeholder into ``src``.
    """
    given = {name: value.strip() for name, value in node.attributes.items() if value}
    late = [name for name in given if name.startswith("data-") and name not in _LATE]
    links = []
    for name in (*_LATE, *late):
        value = given.get(name, "")
        if name.endswith("srcset"):
            value = value.partition(" ")[0].rstrip(",")
        if value and (name in _LATE or is_remote(value)):
            links.append(value)
    return links


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Yield ``(node, True)`` on the way in and ``(node, False)`` on the way out, in order."""
    node: LexborNode | None = root
    depth = 0
    while node is not None:
        dropped = node.tag in _DROPPED
        if not dropped:
            yield node, True
            if node.first_child is not None:
                node, depth = node.first_child, depth + 1
                continue
            yield node, False
        while node is not None and node.next is None and depth:
            node, depth = node.parent, depth - 1
            if node is not None:
                yield node, False
        node = node.next if node is not None and depth else None


@dataclass(slots=True)
class _Piece:
    """A bit of running text, or the place of a picture with its alternative text."""

    text: str
    is_italic: bool = False
    figure: Figure | None = None


@dataclass(slots=True)
class _FigureElement:
    """A ``<figure>`` that is being read."""

    figures: list[Figure] = field(default_factory=list)
    caption: str = ""


class _Reader:
    """Turns the events of a walk into blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.seen: set[int] = set()
        """The elements that are in a figure."""
        self._pieces: list[_Piece] = []
        self._line = 0
        self._italic = 0
        self._pre = 0
        self._held: list[str] = []  # elements within which blocks do not break the text
        self._tables: list[bool] = []  # whether each open table only lays out the page
        self._cells = 0
        self._lists: list[int] = []  # the number of the next item, 0 in a list with bullets
        self._marker = ""
        self._figures: list[_FigureElement] = []

    def enter(self, tag: str, node: LexborNode) -> None:
        """Begin an element."""
        if tag == "img":
            self._picture(node)
        elif tag == "br":
            self._pieces.append(_Piece(_BREAK))
        elif tag in _EMPHASIS:
            self._italic += 1
        if tag in _BREAKING or tag in ("code", "wbr"):
            line = node.attributes.get(LINE) or ""
            if tag in _BREAKING:
                self._break(tag)
            if line.isascii() and line.isdigit():
                self._line = int(line[:9])
        if tag in _BREAKING:
            self._begin(tag, node)

    def _begin(self, tag: str, node: LexborNode) -> None:
        match tag:
            case "pre":
                self._pre += 1
            case "ul" | "ol":
                start = (node.attributes.get("start") or "1") if tag == "ol" else "0"
                self._lists.append(int(start[:9]) if start.isascii() and start.isdigit() else 1)
            case "li":
                self._marker = self._next_marker()
            case "table":
                # A selector also matches the node that it is asked of, hence its children.
                self._tables.append(any(part.css_first(_LAYOUT) for part in node.iter()))
            case "figure":
                self._figures.append(_FigureElement())
            case "td" | "th" if self._held:
                self._pieces += [_Piece(" | ")] if self._cells else []
                self._cells += 1
            case "tr":
                self._cells = 0
        if tag == "figcaption" or _level(tag) or (tag == "tr" and not any(self._tables[-1:])):
            self._held.append(tag)

    def leave(self, tag: str) -> None:
        """End an element."""
        if tag in _EMPHASIS:
            self._italic -= 1
        if tag not in _BREAKING:
            return
        if self._held and self._held[-1] == tag:
            self._held.pop()
            if not self._held:
                self._end_held(tag)
        else:
            self._break(tag)
        match tag:
            case "pre":
                self._pre -= 1
            case "ul" | "ol":
                self._lists.pop()
            case "li":
                self._marker = ""
            case "table":
                self._tables.pop()
            case "figure":
                self._end_figure()

    def text(self, text: str) -> None:
        """Take running text."""
        if not self._pre or self._held:
            text = _SPACE.sub(" ", text)
        self._pieces.append(_Piece(text, self._italic > 0))

    def flush(self, *, is_tight: bool = False) -> None:
        """End the running text, so that what follows is a block of its own."""
        before, text, is_italic, after = self._take()
        self._add_figures(before)
        if text:
            indent = "  " * min(len(self._lists) - 1, 8)
            if self._marker:
                text, self._marker = f"{indent}{self._marker}{text}", "  "
            is_tight = is_tight or bool(self._lists)
            self.blocks.append(Passage(text, self._line, is_tight, is_italic))
        self._add_figures(after)

    def _break(self, tag: str) -> None:
        if not self._held:
            self.flush(is_tight=tag in _TIGHT)
        elif tag not in ("td", "th"):
            self._pieces.append(_Piece(" "))

    def _end_held(self, tag: str) -> None:
        """End a heading, a caption or a row of a table."""
        if tag == "tr":
            self.flush(is_tight=True)
            return
        before, text, _, after = self._take()
        text = text.replace("\n", " ").rstrip("¶ ")  # the sign by which generators link a heading
        if tag == "figcaption" and self._figures:
            element = self._figures[-1]
            element.caption = f"{element.caption} {text}".strip()
        elif text and tag == "figcaption":
            self.blocks.append(Passage(text, self._line))
        elif text:
            self.blocks.append(Heading(_level(tag), text, self._line))
        self._add_figures(before + after)

    def _end_figure(self) -> None:
        element = self._figures.pop()
        if element.figures and not element.caption:
            self._add_figures(element.figures)
        for figure in element.figures if element.caption else ():
            self.blocks.append(replace(figure, caption=element.caption))
        if element.caption and not element.figures:
            self.blocks.append(Passage(element.caption, self._line))

    def _picture(self, node: LexborNode) -> None:
        read = node.attributes.get
        link = next(iter(_links(node)), "")
        alt = _SPACE.sub(" ", read("alt") or "").strip()
        caption = _SPACE.sub(" ", read("title") or "").strip()
        figure = Figure(link, alt, caption, self._line) if link else None
        if figure is not None:
            self.seen.add(node.mem_id)
        self._pieces.append(_Piece(alt, self._italic > 0, figure))

    def _next_marker(self) -> str:
        number = self._lists[-1] if self._lists else 0
        if not number:
            return "- "
        self._lists[-1] += 1
        return f"{number}. "

    def _add_figures(self, figures: list[Figure]) -> None:
        if self._figures:
            self._figures[-1].figures += figures
        else:
            self.blocks += figures

    def _take(self) -> tuple[list[Figure], str, bool, list[Figure]]:
        """Return the running text, with the pictures at its beginning and the others.

        A picture amid the words is replaced by its alternative text, one beside them is not.
        """
        pieces, self._pieces = self._pieces, []
        words = [at for at, piece in enumerate(pieces) if piece.figure is None and _seen(piece)]
        if not words:
            return [piece.figure for piece in pieces if piece.figure is not None], "", False, []
        first, last = words[0], words[-1]
        before = [piece.figure for piece in pieces[:first] if piece.figure is not None]
        after = [piece.figure for piece in pieces[first:] if piece.figure is not None]
        text = "".join(piece.text for piece in pieces[first : last + 1])
        if self._pre and not self._held:
            text = text.replace(_BREAK, "\n").strip("\n")
        else:
            text = re.sub(f" *{_BREAK} *", "\n", re.sub(" {2,}", " ", text)).strip()
        return before, text, all(pieces[at].is_italic for at in words), after


def _seen(piece: _Piece) -> bool:
    return bool(piece.text.strip().strip(_BREAK))


def _level(tag: str) -> int:
    """Return 1 to 6 for a heading, else 0."""
    return int(tag[1]) if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456" else 0
