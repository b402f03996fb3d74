"""Pages made to stop a parser: no exception, no hang, and a document or a reason."""

import pytest

from diptych.ingest import read
from pace import cpu_within

MB = 1_000_000
MARKDOWN = {
    "brackets": "[" * MB,
    "image brackets": "![" * (MB // 2),
    "stars": "*" * MB,
    "star words": "a**b " * (MB // 5),
    "underscores": "_a" * (MB // 2),
    "backticks": "`" * MB,
    "rising backticks": "".join("`" * n + " " for n in range(1400)),
    "link openings": "[a](" * (MB // 4),
    "image openings": "![a](<" * (MB // 6),
    "references": "[a][" * (MB // 4),
    "less than": "<" * MB,
    "comments": "a <!-- " * (MB // 7),
    "ampersands": "&" * MB,
    "tildes": "~" * MB,
    "backslashes": "\\" * MB,
    "quotes 10,000 deep": ">" * 10_000 + " deep",
    "lists 10,000 deep": "- " * 10_000 + "deep",
    "indented lists": "".join("  " * n + "- x\n" for n in range(1000)),
    "div 10,000 deep": "<div>" * 10_000 + "deep",
    "one line": "word " * (2 * MB),
    "no space": "x" * (10 * MB),
    "base64 wall": "QUJD" * (2 * MB),
    "title of spaces": "---\ntitle: " + " " * MB + "x\n---\n",
    "front matter never closed": "---\n" + "a: b\n" * 40_000,
    "rules": "---\n" * 30_000,
    "line feeds": "\n" * MB,
    "table of bars": "| " * 100_000 + "\n" + "|-" * 100_000,
    "combining": "a" + "\u0301" * 100_000,
    "bidi": "\u202e\u2066" * 100_000,
    "templates": "{{ x }} {x.__class__} %s ${jndi:ldap://x}" * 1000,
}
HTML = {
    "div 10,000 deep": "<div>" * 10_000 + "deep",
    "div 100,000 deep": "<div>" * 100_000 + "deep",
    "lists 10,000 deep": "<ul><li>x" * 10_000,
    "tables 10,000 deep": "<table><tr><td>y" * 10_000,
    "figures 10,000 deep": "<figure>" * 10_000 + "<img alt=x>",
    "headings 10,000 deep": "<h1>" * 10_000 + "x",
    "bold 100,000 deep": "<b>" * 100_000 + "x",
    "links 10,000 deep": "<a>" * 10_000 + "x",
    "forms": "<form>" * 10_000,
    "misnested": "<b><p>" * 20_000,
    "entities": "&amp;" * 200_000,
    "entity bomb": "<!DOCTYPE x [<!ENTITY a 'aaaa'>" + "<!ENTITY b '&a;&a;'>" * 10_000 + "]>&b;",
    "attributes": "<a " + " ".join(f"b{n}" for n in range(100_000)) + ">",
    "scripts": "<script>" * 100_000,
    "open tags": "<a " * 300_000,
    "open quotes": '<a "' * 200_000,
    "comments": "<!--" * 200_000,
    "spaces": "<p>" + " " * MB + "x",
    "breaks": "<br> " * 100_000,
    "nul": "<p>a\0b</p>" * 1000,
    "less than": "<" * MB,
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(pytest.param("a.md", text, id=f"markdown: {name}") for name, text in MARKDOWN.items()),
        *(pytest.param("a.html", text, id=f"html: {name}") for name, text in HTML.items()),
        pytest.param("a.txt", "x" * (10 * MB), id="text: no space"),
        pytest.param("a.txt", "\n" * (10 * MB), id="text: line feeds"),
        pytest.param("a.jsonl", "[" * (10 * MB), id="records: brackets"),
    ],
)
def test_it_ends_soon_without_an_exception(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    with cpu_within(4):  # below 1.5 on an idle machine
        reading = read(tmp_path)
        documents = list(reading)
    assert all(len(document.text) <= 1000 for document in documents)
    assert [f.reason for f in reading.failed if f.reason.startswith("It could not be read")] == []


@pytest.mark.parametrize("name", ["div 10,000 deep", "div 100,000 deep"])
def test_the_text_of_a_deep_page_is_read(tmp_path, name):
    (tmp_path / "a.html").write_text(HTML[name])
    assert [document.text for document in read(tmp_path)] == ["deep"]


def test_ten_thousand_pictures_that_are_not_there_are_reported(tmp_path):
    (tmp_path / "a.html").write_text("<img src=x.png>" * 10_000)
    reading = read(tmp_path)
    assert list(reading) == []
    assert len(reading.failed) == 10_000
