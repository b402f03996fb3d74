"""HTML made harmless for the parser, whose time grows with the square of depth and attributes."""

from __future__ import annotations

import re

from diptych.errors import InvalidArgument

__all__ = ["MAX_NESTING", "bounded"]

MAX_NESTING = 256
"""Tags that are open at the same time; deeper ones are dropped, their text stays."""

MAX_ATTRIBUTES = 5000
"""Attributes of one tag."""

_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*)[^<>]*>?")
_LONG_TAG = re.compile(r"<[A-Za-z][^<>]{20000,}")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_CODE = re.compile(r"<(script|style)\b|<!--", re.I)
_CODE_ENDS = {
    "script": re.compile(r"</script[^>]*>", re.I),
    "style": re.compile(r"</style[^>]*>", re.I),
    "": re.compile(r"-->"),
}
_ENDLESS_TAGS = (
    "area base br col embed hr img input link meta param source track wbr "  # void
    "body colgroup dd dt head html li optgroup option p rp rt tbody td tfoot th thead tr"
)
_NOT_NESTING = frozenset(_ENDLESS_TAGS.split())
"""Tags that have no end, or need none."""


def bounded(html: str) -> str:
    """Return HTML whose tags nest at most ``MAX_NESTING`` deep.

    Raises:
        InvalidArgument: A tag has more than ``MAX_ATTRIBUTES`` attributes.
    """
    for match in _LONG_TAG.finditer(html):
        count = len(_QUOTED.sub("x", match[0]).split())
        if count > MAX_ATTRIBUTES:
            raise InvalidArgument(
                f"A tag of the page has {count:,} attributes; expected at most {MAX_ATTRIBUTES:,}. "
                "The page is damaged or hostile."
            )
    if _depth(html) <= MAX_NESTING:
        return html
    html = _without_code(html)
    return html if _depth(html) <= MAX_NESTING else _flattened(html)


def _depth(html: str) -> int:
    depth = deepest = 0
    for match in _TAG.finditer(html):
        if match[2].lower() not in _NOT_NESTING:
            depth = max(depth - 1, 0) if match[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


def _without_code(html: str) -> str:
    """Return HTML without scripts, styles and comments, where tags do not count."""
    kept = []
    at = 0
    while (begin := _CODE.search(html, at)) is not None:
        end = _CODE_ENDS[(begin[1] or "").lower()].search(html, begin.end())
        if end is None:
            break
        kept.append(html[at : begin.start()])
        at = end.end()
    return " ".join([*kept, html[at:]])


def _flattened(html: str) -> str:
    depth = 0

    def shallow(match: re.Match[str]) -> str:
        nonlocal depth
        if match[2].lower() in _NOT_NESTING:
            return match[0]
        if match[1]:
            depth = max(depth - 1, 0)
            return match[0] if depth < MAX_NESTING else " "
        depth += 1
        return match[0] if depth <= MAX_NESTING else " "

    return _TAG.sub(shallow, html)
