"""Results and reports as HTML that a notebook shows: small cards, escaped, no script, nothing loaded.

What is shown is given by its attributes, so that every layer above can be shown by it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

from diptych.errors import DiptychError
from diptych.visible import as_html

__all__ = ["MAX_BYTES", "STYLE", "Budget", "Results", "card", "cards", "picture", "report"]

MAX_BYTES = 900_000
"""After how many bytes of HTML no card is added. Notebooks are stored with their outputs."""

PICTURE_BYTES = 800_000
"""How many of them are pictures at most."""

THUMBNAIL, THUMBNAIL_BYTES = 256, 40_000
"""The longest side of a picture in pixels, and the size of its file."""

SNIPPET = 600
SHOWN = 50
"""How many cards one output has, and how many failures."""

T = TypeVar("T")


class Results(list[T]):
    """A list of results that a notebook shows as cards.

    Its items are fused documents, or documents and nodes of an adapter that were made of some.
    """

    def _repr_html_(self) -> str:
        return cards(self)


class Budget:
    """How many bytes of pictures still fit into an output."""

    def __init__(self, left: int = PICTURE_BYTES) -> None:
        self._left = left

    def takes(self, size: int) -> bool:
        """Whether so many bytes still fit; they are then spent."""
        fits = size <= self._left
        self._left -= size if fits else 0
        return fits


def cards(results: Iterable[Any]) -> str:
    """Return cards for fused documents, or for what was made of them, with their style.

    Args:
        results: Best first. Only the first 50 are shown.
    """
    shown = list(results)
    budget = Budget()
    made: list[str] = []
    size = 0
    for rank, one in enumerate(shown[:SHOWN], 1):
        if size > MAX_BYTES:
            break
        made.append(_card(rank, one, budget))
        size += len(made[-1].encode())
    if len(made) < len(shown):
        made.append(f'<p class="nothing">{len(shown) - len(made):,} more are not shown.</p>')
    return _framed("\n".join(made) or '<p class="nothing">Nothing was found.</p>')


def _card(rank: int, result: Any, budget: Budget) -> str:
    fused = getattr(result, "fused", result)
    if hasattr(fused, "documents"):
        return card(rank, fused, budget)
    # A copy that went through JSON does not know its pictures any more.
    return f'<article><span class="rank">{rank}</span> {as_html(_snippet(str(result)))}</article>'


def card(rank: int, result: Any, budget: Budget) -> str:
    """Return one fused document: score, source, words, pictures and the evidence for it."""
    pictures = "".join(
        f"<figure>{picture(d.image, d.text or PurePath(d.image.name).name, budget)}"
        f"<figcaption>{as_html(_snippet(d.text))}</figcaption></figure>"
        for d in result.documents
        if d.image is not None
    )
    words = "".join(
        f"<p>{as_html(_snippet(d.text))}</p>"
        for d in result.documents
        if d.text and d.image is None
    )
    evidence = "".join(_evidence_row(item) for item in result.evidence)
    kind = as_html(result.kind)
    return f"""<article>
<div class="head"><span class="rank">{rank}</span><span class="score" title="probability-like, 0 to 1">{result.score:.2f}</span>
<span class="kind">{kind}</span><span class="source">{as_html(_where(result))}</span></div>
<div class="meter"><div style="width:{100 * min(max(result.score, 0.0), 1.0):.0f}%"></div></div>
<div class="parts"><div class="words">{words}</div>{pictures}</div>
<details><summary>Why: {len(result.evidence)} pieces of evidence</summary>
<table><tr><th>document</th><th>list</th><th>rank</th><th>raw score</th><th>contribution</th></tr>{evidence}</table></details>
</article>"""


def report(
    title: str,
    counts: Sequence[tuple[str, int]],
    failures: Sequence[Any],
    not_read: Sequence[Any] = (),
) -> str:
    """Return counts in a row, and below them what failed with its reason, and what was not read."""
    numbers = "".join(
        f'<span class="kind">{as_html(name)} <b>{count:,}</b></span>' for name, count in counts
    )
    rows = "".join(
        f"<tr><td>{as_html(failure.name)}</td><td>{as_html(_snippet(failure.reason))}</td></tr>"
        for failure in failures[:SHOWN]
    )
    more = f"<p>{len(failures) - SHOWN:,} more</p>" if len(failures) > SHOWN else ""
    table = f"<table><tr><th>failed</th><th>why</th></tr>{rows}</table>{more}" if rows else ""
    kinds = "".join(f"<li>{as_html(_snippet(str(part)))}</li>" for part in not_read[:SHOWN])
    table += f"<p>Not read:</p><ul>{kinds}</ul>" if kinds else ""
    return _framed(
        f'<article><div class="head"><span class="score">{as_html(title)}</span>{numbers}</div>{table}</article>'
    )


def picture(image: Any, alternative: str, budget: Budget) -> str:
    """Return a thumbnail, or words when it cannot be read or there is no room for it."""
    try:
        data, mime = image.encoded(max_edge=THUMBNAIL, max_bytes=THUMBNAIL_BYTES)
    except (DiptychError, OSError) as error:
        return f'<span class="broken">{as_html(str(error))}</span>'
    text = base64.b64encode(data).decode("ascii")
    if not budget.takes(len(text)):
        return (
            f'<span class="broken">{as_html(image.label)} (not shown: the output is large)</span>'
        )
    return f'<img alt="{as_html(alternative[:200])}" src="data:{mime};base64,{text}">'


def _framed(body: str) -> str:
    return f'<div class="diptych"><style>{STYLE}</style>\n{body}\n</div>'


def _evidence_row(item: Any) -> str:
    rank = str(item.rank) if item.rank else "–"
    return (
        f"<tr><td>{as_html(_snippet(item.document_id))}</td><td>{as_html(item.list)}</td><td>{rank}</td>"
        f"<td>{item.score:.3f}</td><td>{item.contribution:+.2f}</td></tr>"
    )


def _where(result: Any) -> str:
    """Return where a result comes from; of a picture's own path only the file name: outputs travel."""
    section = result.metadata.get("section")
    source = result.source if result.metadata.get("source") else PurePath(result.source).name
    return _snippet(f"{source} › {section}" if isinstance(section, str) and section else source)


def _snippet(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET - 1].rsplit(' ', 1)[0]}…"


STYLE = """
.diptych { --ink: var(--jp-content-font-color1, #1d2430); --soft: var(--jp-content-font-color2, #5c6675);
  --line: var(--jp-border-color2, #d9dee6); --card: var(--jp-layout-color0, #fff); --accent: #2a6fd0;
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem }
.diptych article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: .6rem 0 }
.diptych .head { display: flex; gap: .7rem; align-items: baseline; flex-wrap: wrap }
.diptych .rank { color: var(--soft) } .diptych .score { font-weight: 600; font-variant-numeric: tabular-nums }
.diptych .kind { font-size: .8rem; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem }
.diptych .source { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere }
.diptych .meter { height: 3px; background: var(--line); border-radius: 2px; margin: .4rem 0 .6rem }
.diptych .meter div { height: 100%; background: var(--accent); border-radius: 2px }
.diptych .parts { display: flex; gap: 1rem; flex-wrap: wrap } .diptych .words { flex: 1 1 22rem }
.diptych .words p { margin: 0 0 .6rem } .diptych .words:empty { display: none }
.diptych figure { margin: 0; flex: 0 1 16rem } .diptych figure img { max-width: 100%; border-radius: .3rem; display: block }
.diptych figcaption { color: var(--soft); font-size: .88rem; margin-top: .3rem }
.diptych details { margin-top: .6rem; color: var(--soft); font-size: .88rem } .diptych summary { cursor: pointer }
.diptych table { border-collapse: collapse; margin-top: .4rem; color: var(--soft); font-size: .88rem }
.diptych th, .diptych td { text-align: left; padding: .1rem .9rem .1rem 0; background: none; border: 0; white-space: normal }
.diptych td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere } .diptych .broken, .diptych .nothing { color: var(--soft) }
"""
