import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image as Pil

from diptych import (
    Document,
    Evidence,
    FusedDocument,
    Image,
    MultimodalRetriever,
    Results,
    ToyEncoder,
)
from diptych.cards import MAX_BYTES
from diptych.report import AddReport, Failure, SyncReport
from stubs import png

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><iframe src=javascript:alert(1)>",
    "'); --><svg onload=alert(1)>",
    "</style><style>body{display:none}",
]


class Parsed(HTMLParser):
    """Counts tags, and sees that every one is closed."""

    VOID = ("img",)

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def result(text, image=None, name="id", score=0.5):
    documents = [Document(text, id=name, metadata={"section": text, "source": text})]
    if image:
        documents.append(Document(text, image, id=f"{name}-figure"))
    return FusedDocument(tuple(documents), score, (Evidence(name, "text", 1, 0.25, 1.5),), name)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_the_corpus_becomes_markup(attack, tmp_path):
    gone = Image(tmp_path / "gone.png", name=attack)
    shown = [
        Results([result(attack, Image(png("red"), name=attack), attack), result(attack, gone)]),
        AddReport(failed=(Failure(attack, attack, attack),)),
        SyncReport(AddReport(failed=(Failure(attack, attack, attack),)), (attack,), False),
    ]
    for one in shown:
        parsed = Parsed(one._repr_html_())
        assert parsed.open == []
        assert not {"script", "iframe", "svg"} & set(parsed.tags)
        assert parsed.tags.count("style") == 1
        assert not [name for name, _ in parsed.attributes if name.startswith("on")]
        sources = [value for name, value in parsed.attributes if name == "src"]
        assert all(source.startswith("data:image/") for source in sources)
        assert not re.findall(r"https?://", one._repr_html_())


def test_thumbnail_caption_score_source_and_evidence_are_shown():
    html = Results([result("the red pump", Image(png("red")), score=0.834)])._repr_html_()
    assert ">0.83</span>" in html
    assert html.count("the red pump") >= 3
    assert "data:image/png;base64," in html
    assert "<td>id</td><td>text</td><td>1</td><td>0.250</td><td>+1.50</td>" in html


def test_an_output_stays_below_a_megabyte(rng, tmp_path):
    noise = rng.integers(0, 256, (90, 500, 700, 3), dtype=np.uint8)
    results = []
    for i, pixels in enumerate(noise):
        Pil.fromarray(pixels).save(tmp_path / f"{i}.jpg", quality=95)
        results.append(result("words " * 400, Image(tmp_path / f"{i}.jpg"), str(i)))
    html = Results(results)._repr_html_()
    assert MAX_BYTES / 2 < len(html.encode()) < 1_000_000
    assert "not shown: the output is large" in html
    assert re.search(r"\d+ more are not shown", html)


def test_folders_of_a_picture_are_not_shown(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    retriever = MultimodalRetriever(ToyEncoder(), ToyEncoder())
    retriever.index.add([Document(image=Image(tmp_path / "a.png"), id="a")])
    html = retriever.retrieve("red")._repr_html_()
    assert '<span class="source">a.png</span>' in html
    assert 'alt="a.png"' in html
    assert str(tmp_path) not in html


def test_a_bad_picture_is_said_in_words(tmp_path):
    html = result("words", Image(tmp_path / "gone.png"))._repr_html_()
    assert 'class="broken"' in html
    assert "words" in html


def test_what_a_retriever_returns_is_a_list_that_is_shown():
    retriever = MultimodalRetriever(ToyEncoder(), ToyEncoder())
    assert "Nothing was found." in retriever.retrieve("red")._repr_html_()
    retriever.index.add([Document("a red apple", Image(png("red")), id="apple")])
    found = retriever.retrieve("red")
    assert isinstance(found, list)
    assert found == [*found]
    assert "a red apple" in found._repr_html_()
    assert Parsed(found._repr_html_()).tags.count("img") == 1
    assert isinstance(retriever.retrieve_many(["red"])[0], Results)


def test_reports_show_counts_and_failures():
    failed = (Failure("a", "a.jpg", "truncated"),)
    html = AddReport(added=1234, updated=5, skipped=6, failed=failed)._repr_html_()
    assert "added <b>1,234</b>" in html
    assert "<td>a.jpg</td><td>truncated</td>" in html
    html = SyncReport(AddReport(added=2), ("x", "y"), True)._repr_html_()
    assert "Would be done" in html
    assert "removed <b>2</b>" in html


def test_results_of_the_adapters_are_shown():
    langchain = pytest.importorskip("diptych.langchain")
    index = MultimodalRetriever(ToyEncoder(), ToyEncoder()).index
    index.add([Document("a <red> apple", Image(png("red")), id="apple")])
    found = langchain.DiptychRetriever(index=index).invoke("red")
    assert "a &lt;red&gt; apple" in found._repr_html_()
    assert "data:image/png" in found[0]._repr_html_()
    plain = type(found[0])(**found[0].model_dump())
    assert plain._repr_html_() is None
    assert "a &lt;red&gt; apple" in Results([plain])._repr_html_()
    json.dumps([d.model_dump() for d in found])
    llama = pytest.importorskip("diptych.llama_index")
    nodes = llama.DiptychRetriever(index).retrieve("red")
    assert "data:image/png" in nodes[0]._repr_html_()
    assert "a &lt;red&gt; apple" in Results(nodes)._repr_html_()
