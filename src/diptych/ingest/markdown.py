"""Markdown to the blocks of a page: parsed to tokens, and read as the HTML that they stand for.

Figures are written in Markdown, in HTML inside Markdown, and in both at once (``<figure>`` around
``![…](…)``), so one reader of the resulting HTML sees what a reader of the page sees.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from diptych.ingest.blocks import Page
from diptych.ingest.html import LINE, parse_html

__all__ = ["parse_markdown"]

MAX_MARKS = 20_000
"""A paragraph with more brackets, stars and the like is taken as plain text: no person wrote it,
and looking for the pairs takes long."""

_MARKS = "[]*_`<&\\"
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$", re.S | re.M)
_YAML = re.compile(r"\s*(?:#.*\n\s*)*(?:[\w\"'-]+[ \t]*:|$)")
_TITLE = re.compile(r"^title:(.*)$", re.M)
_AFTER_PICTURE = re.compile(r"^\{[^{}\n]*\}")
_INLINE_TAG = re.compile(r"<(img|br|picture|source|/picture)\b", re.I)
_OTHER_PICTURE = re.compile(r"<(?:image|video|input|object|embed)\b", re.I)
"""Tags that may show a picture of a server, which is said; what they show is not read."""
_SWALLOWING = re.compile(
    r"<(?=(/?)(!--|(?:title|textarea|style|xmp|iframe|noembed|noframes|noscript|script|plaintext"
    r"|template|select|svg|math|object|nav|button|audio|video|canvas)\b))",
    re.I,
)


def parse_markdown(text: str) -> Page:
    """Return the blocks of a page, with the lines they begin in.

    YAML between ``---`` at the top is left out, but for a simple ``title: …``.

    Raises:
        InvalidArgument: HTML in the page is built to stop a parser.
    """
    title = ""
    front = _FRONT_MATTER.match(text)
    if front and _YAML.match(front[1]):  # else it is a rule, and another one further below
        if found := _TITLE.search(front[1]):
            title = found[1].strip().strip("\"'")
        text = "\n" * front[0].count("\n") + text[front.end() :]
    return replace(parse_html(_block_parser().render(text)), title=title)


@cache
def _block_parser() -> MarkdownIt:
    """Return the parser of whole pages."""
    parser = _parser(max_nesting=100)
    parser.core.ruler.at("inline", _parse_inline)
    parser.add_render_rule("html_inline", _html_inline)
    parser.add_render_rule("html_block", _html_block)
    return parser


@cache
def _inline_parser() -> MarkdownIt:
    """Return the parser of paragraphs: brackets nest less deep, each level costs time."""
    return _parser(max_nesting=20)


def _parser(max_nesting: int) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": max_nesting, "html": True})
    parser.enable(["table", "strikethrough"])
    # Links are judged later, where a refusal can be reported, and as the page writes them.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    return parser


def _parse_inline(state: StateCore) -> None:
    """Parse the content of paragraphs, and note the lines in which blocks begin."""
    parser = _inline_parser()
    for token in state.tokens:
        if token.map and token.nesting >= 0:
            token.attrSet(LINE, str(token.map[0] + 1))
        if token.type != "inline":
            continue
        children: list[Token] = []
        if sum(map(token.content.count, _MARKS)) > MAX_MARKS:
            children.append(Token("text", "", 0, content=token.content))
        else:
            parser.inline.parse(token.content, parser, state.env, children)
        for before, after in pairwise(children):
            if before.type == "image":  # "![…](…){width=50%}", as Pandoc and Kramdown have it
                after.content = _AFTER_PICTURE.sub("", after.content)
        token.children = children


def _html_inline(self: Any, tokens: Sequence[Token], at: int, *_: Any) -> str:
    """Keep pictures and line breaks; other tags have no meaning for the text.

    Of other elements with a picture the link stays, in one that has no content.
    """
    tag = tokens[at].content
    if _OTHER_PICTURE.match(tag):
        return _OTHER_PICTURE.sub("<input", tag)
    return tag if _INLINE_TAG.match(tag) else ""


def _html_block(self: Any, tokens: Sequence[Token], at: int, *_: Any) -> str:
    """Keep HTML, but show as text what would swallow the rest of the page."""
    html = tokens[at].content
    line = tokens[at].attrGet(LINE)
    opened: dict[str, int] = {}
    for match in _SWALLOWING.finditer(html):
        name = match[2].lower()
        opened[name] = opened.get(name, 0) + (-1 if match[1] else 1)
    opened["!--"] = html.count("<!--") - html.count("-->")
    unclosed = {name for name, count in opened.items() if count > 0}

    def shown(match: re.Match[str]) -> str:
        return "&lt;" if match[2].lower() in unclosed else "<"

    return f'<wbr {LINE}="{line}">{_SWALLOWING.sub(shown, html)}'
