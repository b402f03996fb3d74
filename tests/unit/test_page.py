import re
from html.parser import HTMLParser

import pytest

from diptych import Document, Evidence, FusedDocument, Image, Query
from diptych.page import Section, render_page
from stubs import png

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</q></h2><iframe src=javascript:alert(1)>",
    "'); --><svg onload=alert(1)>",
]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def result(text, image=None, name="id", score=0.5):
    documents = [Document(text, id=name, metadata={"section": text, "source": text})]
    if image:
        documents.append(Document(text, image, id=f"{name}-figure"))
    evidence = (Evidence(name, "text", 1, 0.25, 1.5),)
    return FusedDocument(tuple(documents), score, evidence, name)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_the_corpus_becomes_markup(attack):
    picture = Image(png("red"), name=attack)
    page = render_page(
        attack, [Section(Query(attack, picture), [result(attack, picture, attack)])], note=attack
    )
    parsed = Tags()
    parsed.feed(page)
    assert not {"script", "iframe", "svg"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    sources = [value for name, value in parsed.attributes if name == "src"]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


def test_page_loads_nothing_from_elsewhere():
    page = render_page("t", [Section(Query("q"), [result("words", Image(png("red")))])])
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://", page)


def test_score_rank_and_evidence_are_shown():
    page = render_page("t", [Section(Query("q"), [result("words", score=0.834)])])
    assert '<span class="rank">1</span><span class="score"' in page
    assert ">0.83</span>" in page
    assert "<td>id</td><td>text</td><td>1</td><td>0.250</td><td>+1.50</td>" in page


def test_vanished_picture_is_said_and_the_page_is_written(tmp_path):
    page = render_page("t", [Section(Query("q"), [result("words", Image(tmp_path / "gone.png"))])])
    assert 'class="broken"' in page
    assert "words" in page


def test_question_without_results_says_so():
    assert "Nothing was found." in render_page("t", [Section(Query("q"), [])])
