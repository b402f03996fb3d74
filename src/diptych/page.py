"""A page of results that a person can open: one HTML file, nothing loaded from elsewhere, no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from diptych.errors import MediaError
from diptych.image import Image
from diptych.types import Evidence, FusedDocument, Query

__all__ = ["Section", "render_page"]

THUMBNAIL = 320
"""The longest side of a picture on the page, in pixels."""

SNIPPET = 600


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
    body = "\n".join(_section(number, section) for number, section in enumerate(sections, 1))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p>{escape(note)}</p></header>
<main>
{body}
</main>
</body>
</html>
"""


def _section(number: int, section: Section) -> str:
    asked = []
    if section.query.text:
        asked.append(f"<q>{escape(section.query.text)}</q>")
    if section.query.image is not None:
        asked.append(_picture(section.query.image, "the picture that was asked with"))
    cards = "\n".join(_card(rank, result) for rank, result in enumerate(section.results, 1))
    nothing = '<p class="nothing">Nothing was found.</p>'
    return f"""<section>
<h2><span class="number">{number}</span> {" ".join(asked)}</h2>
{cards or nothing}
</section>"""


def _card(rank: int, result: FusedDocument) -> str:
    pictures = "".join(
        f"<figure>{_picture(d.image, d.text or d.image.name)}<figcaption>{escape(_snippet(d.text))}</figcaption></figure>"
        for d in result.documents
        if d.image is not None
    )
    words = "".join(
        f"<p>{escape(_snippet(d.text))}</p>" for d in result.documents if d.text and d.image is None
    )
    evidence = "".join(_evidence_row(item) for item in result.evidence)
    return f"""<article>
<div class="head"><span class="rank">{rank}</span><span class="score" title="probability-like, 0 to 1">{result.score:.2f}</span>
<span class="kind {escape(result.kind.replace("+", "-"))}">{escape(result.kind)}</span><span class="source">{escape(_where(result))}</span></div>
<div class="meter"><div style="width:{100 * result.score:.0f}%"></div></div>
<div class="parts"><div class="words">{words}</div>{pictures}</div>
<details><summary>Why: {len(result.evidence)} pieces of evidence</summary>
<table><tr><th>document</th><th>list</th><th>rank</th><th>raw score</th><th>contribution</th></tr>{evidence}</table></details>
</article>"""


def _evidence_row(item: Evidence) -> str:
    rank = str(item.rank) if item.rank else "–"
    return (
        f"<tr><td>{escape(item.document_id)}</td><td>{escape(item.list)}</td><td>{rank}</td>"
        f"<td>{item.score:.3f}</td><td>{item.contribution:+.2f}</td></tr>"
    )


def _picture(image: Image, alternative: str) -> str:
    try:
        data, mime = image.encoded(max_edge=THUMBNAIL, max_bytes=60_000)
    except MediaError as error:
        return f'<span class="broken">{escape(str(error))}</span>'
    text = base64.b64encode(data).decode("ascii")
    return f'<img alt="{escape(alternative[:200])}" src="data:{mime};base64,{text}">'


def _where(result: FusedDocument) -> str:
    section = result.metadata.get("section")
    return f"{result.source} › {section}" if isinstance(section, str) and section else result.source


def _snippet(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET - 1].rsplit(' ', 1)[0]}…"


STYLE = """
:root { --ink: #1d2430; --soft: #5c6675; --line: #d9dee6; --ground: #f5f6f8; --card: #fff; --accent: #2a5db0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa5b5; --line: #343c49; --ground: #14181f; --card: #1c222b; --accent: #7fabf2 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
header, main { max-width: 62rem; margin: 0 auto; padding: 1.2rem }
h1 { margin: 1rem 0 .2rem; font-size: 1.6rem } header p { margin: 0; color: var(--soft) }
section { margin-bottom: 2.4rem }
h2 { font-size: 1.15rem; display: flex; gap: .7rem; align-items: center; flex-wrap: wrap }
h2 img { height: 5rem; border-radius: .3rem }
.number { background: var(--accent); color: var(--card); border-radius: 50%; width: 1.8rem; height: 1.8rem;
  display: inline-grid; place-items: center; font-size: .95rem }
article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; margin: .7rem 0 }
.head { display: flex; gap: .7rem; align-items: baseline; flex-wrap: wrap }
.rank { color: var(--soft) } .score { font-weight: 600; font-variant-numeric: tabular-nums }
.kind { font-size: .8rem; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem }
.source { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere }
.meter { height: 3px; background: var(--line); border-radius: 2px; margin: .4rem 0 .6rem }
.meter div { height: 100%; background: var(--accent); border-radius: 2px }
.parts { display: flex; gap: 1rem; flex-wrap: wrap } .words { flex: 1 1 22rem } .words p { margin: 0 0 .6rem }
.words:empty { display: none }
figure { margin: 0; flex: 0 1 16rem } figure img { max-width: 100%; border-radius: .3rem; display: block }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .3rem }
details { margin-top: .6rem; color: var(--soft); font-size: .88rem } summary { cursor: pointer }
table { border-collapse: collapse; margin-top: .4rem } th, td { text-align: left; padding: .1rem .9rem .1rem 0 }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere } .broken, .nothing { color: var(--soft) }
"""
