"""Whatever a file holds: no exception, ids once each, and the words of the page in its documents."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.ingest import read
from diptych.ingest.blocks import Passage
from diptych.ingest.html import parse_html
from stubs import png

FRAGMENTS = st.sampled_from(
    """# |## |\n|\n\n|- |1. |> |```\n|    |![a](p.png)|![b](p.png "t")|![|](|[|]|<p>|</p>|<div>|</div>
    |<img src=p.png alt=c>|<figure>|</figure>|<figcaption>|</figcaption>|<table>|<tr>|<td>|</table>
    |<ul>|<li>|</ul>|<h1>|</h1>|<h2>|<pre>|</pre>|<br>|<em>|</em>|*|_|`|~|<!--|-->|<script>|</script>
    |---\n|title: x\n|word|Figure 1: y|\ud7ff|é|漢字。|\0|\r\n|\t| |&amp;|&#0;|&#xD800;|\\|<|>|{x}|\u2028
    |http://x/y.png|![r](http://x/y.png)|![d](data:image/png;base64,AA)|../|<nav>|</nav>|<svg>|<template>
    """.replace("\n    |", "|")
    .rstrip()
    .split("|")
)
PAGES = st.lists(FRAGMENTS, max_size=40).map("".join)


def read_file(name, data):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "p.png").write_bytes(png("red"))
        (Path(folder) / name).write_bytes(data)
        reading = read(Path(folder) / name)
        return list(reading), reading.failed


@settings(deadline=None)
@given(st.sampled_from(["a.md", "a.html", "a.txt", "a.jsonl"]), st.one_of(PAGES, st.text()))
def test_any_text_is_read_in_order_without_an_exception(name, text):
    documents, failed = read_file(name, text.encode("utf-8", "surrogatepass"))
    assert len({document.id for document in documents}) == len(documents)
    orders = [document.order for document in documents]
    assert orders == sorted(set(orders))
    assert not [f for f in failed if f.reason.startswith("It could not be read")]


@settings(deadline=None)
@given(st.sampled_from(["a.md", "a.html", "a.txt", "a.jsonl"]), st.binary(max_size=400))
def test_any_bytes_are_read_without_an_exception(name, data):
    _, failed = read_file(name, data)
    assert not [f for f in failed if f.reason.startswith("It could not be read")]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["one", "two.", "three!", "漢字。", "*x*", "- item"]), max_size=60))
def test_every_word_of_a_page_is_in_its_documents(words):
    text = "\n\n".join(f"{word} w{n}" for n, word in enumerate(words))
    documents, _ = read_file("a.md", text.encode())
    found = " ".join(document.text for document in documents).split()
    assert [word for word in found if word.startswith("w")] == [f"w{n}" for n in range(len(words))]


@given(PAGES)
def test_a_passage_is_never_blank(html):
    passages = [block for block in parse_html(html).blocks if isinstance(block, Passage)]
    assert all(passage.text.strip() for passage in passages)
