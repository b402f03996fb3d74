"""A page of results that a person can open: one HTML file, nothing loaded from elsewhere, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diptych import cards
from diptych.types import FusedDocument, Query
from diptych.visible import as_html

__all__ = ["Section", "render_page"]

PAGE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Section:
    """A question and what was found for it."""

    query: Query
    results: Sequence[FusedDocument]


def render_page(title: str, sections: Sequence[Section], *, note: str = "") -> str:
    """Return a whole HTML document. Everything from the corpus is escaped.

    Args:
        title: The heading.
        sections: Questions with their results.
        note: A sentence below the heading.
    """
    budget = cards.Budget(PAGE_BYTES)
    body = "\n".join(
        _section(number, section, budget) for number, section in enumerate(sections, 1)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{as_html(title)}</title>
<style>{cards.STYLE}{STYLE}</style>
</head>
<body class="diptych">
<header><h1>{as_html(title)}</h1><p>{as_html(note)}</p></header>
<main>
{body}
</main>
</body>
</html>
"""


def _section(number: int, section: Section, budget: cards.Budget) -> str:
    asked = []
    if section.query.text:
        asked.append(f"<q>{as_html(section.query.text)}</q>")
    if section.query.image is not None:
        image = section.query.image
        asked.append(cards.picture(image, "the picture that was asked with", budget))
    found = "\n".join(
        cards.card(rank, result, budget) for rank, result in enumerate(section.results, 1)
    )
    nothing = '<p class="nothing">Nothing was found.</p>'
    return f"""<section>
<h2><span class="number">{number}</span> {" ".join(asked)}</h2>
{found or nothing}
</section>"""


STYLE = """
.diptych { --ground: #f5f6f8 }
@media (prefers-color-scheme: dark) { .diptych { --ink: #e6e9ee; --soft: #9aa5b5; --line: #343c49;
  --ground: #14181f; --card: #1c222b; --accent: #7fabf2 } }
* { box-sizing: border-box }
body.diptych { margin: 0; max-width: none; background: var(--ground); font-size: 16px }
header, main { max-width: 62rem; margin: 0 auto; padding: 1.2rem }
h1 { margin: 1rem 0 .2rem; font-size: 1.6rem } header p { margin: 0; color: var(--soft) }
section { margin-bottom: 2.4rem }
h2 { font-size: 1.15rem; display: flex; gap: .7rem; align-items: center; flex-wrap: wrap }
h2 img { height: 5rem; border-radius: .3rem }
.number { background: var(--accent); color: var(--card); border-radius: 50%; width: 1.8rem; height: 1.8rem;
  display: inline-grid; place-items: center; font-size: .95rem }
"""
