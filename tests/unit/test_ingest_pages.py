"""Pages to documents: exact ids, texts, groups, orders and metadata."""

import base64

import pytest

from diptych import Document
from diptych.ingest import read
from stubs import png

ROTOR = png("red")
PAGE = """---
title: Pump manual
---
# Pumps

Intro.

## Startup

Open the valve.

Then wait.

![A rotor](images/rotor.png)
*Figure 1: The rotor.*

Close it.

## Care

See [care](care.html).
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "guide" / "images").mkdir(parents=True)
    (tmp_path / "guide" / "images" / "rotor.png").write_bytes(ROTOR)
    return tmp_path


def page(folder, text, name="guide/pumps.md", **options):
    """Return the documents of a page by the end of their id, and the reading."""
    (folder / name).write_text(text, encoding="utf-8")
    reading = read(folder, **options)
    return {d.id.removeprefix(f"{name}#"): d for d in reading}, reading


def text_document(number, text, section, line, order):
    return Document(
        text,
        id=f"guide/pumps.md#{number}",
        metadata={
            "source": "guide/pumps.md",
            "kind": "text",
            "title": "Pump manual",
            "section": section,
            "line": line,
        },
        group=f"guide/pumps.md#{section}",
        order=order,
    )


def test_a_page_becomes_exactly_these_documents(folder):
    found, reading = page(folder, PAGE)
    startup = "Pumps > Startup"
    assert list(found.values()) == [
        text_document(1, "Pumps\n\nIntro.", "Pumps", 4, 1),
        text_document(2, "Startup\n\nOpen the valve.\n\nThen wait.", startup, 8, 2),
        Document(
            "Figure 1: The rotor.\nA rotor",
            ROTOR,
            "guide/pumps.md#figure-1",
            {
                "source": "guide/pumps.md",
                "kind": "figure",
                "title": "Pump manual",
                "section": startup,
                "line": 14,
                "alt": "A rotor",
                "caption": "Figure 1: The rotor.",
            },
            f"guide/pumps.md#{startup}",
            3,
        ),
        text_document(3, "Close it.", startup, 17, 4),
        text_document(4, "Care\n\nSee care.", "Pumps > Care", 19, 5),
    ]
    assert (reading.failed, reading.skipped) == ([], [])


def test_html_gives_the_same_documents_without_lines(folder):
    html = """<title>Pump manual</title><h1>Pumps</h1><p>Intro.<h2>Startup</h2><p>Open the valve.
        <p>Then wait.<figure><img src="images/rotor.png" alt="A rotor"><figcaption>Figure 1: The
        rotor.</figcaption></figure><p>Close it.<h2>Care</h2><p>See <a href="care.html">care</a>."""
    from_markdown = page(folder, PAGE)[0].values()
    (folder / "guide/pumps.md").unlink()
    from_html = page(folder, html, "guide/pumps.html")[0].values()

    def plain(document):
        metadata = {k: v for k, v in document.metadata.items() if k not in ("line", "source")}
        return (document.text, document.image, document.order, metadata)

    assert [plain(d) for d in from_html] == [plain(d) for d in from_markdown]


def test_a_section_that_comes_twice_is_two_groups(folder):
    found, _ = page(folder, "# A\n## Example\none\n## Example\ntwo\n## B\n### Example\nthree\n")
    assert [(d.group, d.text) for d in found.values() if d.text] == [
        ("guide/pumps.md#A > Example", "Example\n\none"),
        ("guide/pumps.md#A > Example (2)", "Example\n\ntwo"),
        ("guide/pumps.md#A > B > Example", "Example\n\nthree"),
    ]


def test_text_before_the_first_heading_belongs_to_the_page(folder):
    found, _ = page(folder, "Before.\n\n# A\n\nAfter.")
    assert found["1"].group == "guide/pumps.md"
    assert "section" not in found["1"].metadata
    assert found["1"].metadata["title"] == "A"


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("# A\n## B\ntext", ["B\n\ntext"]),  # A is in the metadata of what is below
        ("# A\n# B\ntext", ["A", "B\n\ntext"]),
        ("# A", ["A"]),
        ("# A\n\n![](images/rotor.png)", ["A", None]),
        ("", []),
        ("   \n\n\t\n", []),
    ],
)
def test_a_heading_is_part_of_its_text(folder, text, texts):
    found, _ = page(folder, text)
    assert [d.text for d in found.values() if d.metadata["kind"] != "picture"] == texts


def test_long_sections_are_split_and_lines_point_to_each_part(folder):
    first, second = "First sentence. " * 5, "Second sentence. " * 5
    found, _ = page(folder, f"# A\n\n{first}\n\n{second}\n\n- x\n- y\n", max_chars=100)
    assert [(d.text, d.metadata["line"]) for d in found.values() if d.text] == [
        (f"A\n\n{first.strip()}", 1),
        (f"{second.strip()}\n- x\n- y", 5),
    ]


def test_a_caption_that_says_what_the_alternative_says_is_said_once(folder):
    found, _ = page(folder, '![Same](images/rotor.png "Same")')
    assert found["figure-1"].text == "Same"


def test_a_picture_without_words_is_a_document_without_text(folder):
    found, _ = page(folder, "![](images/rotor.png)")
    assert found["figure-1"].text is None
    assert found["figure-1"].image.read() == ROTOR


def test_a_figure_whose_picture_cannot_be_had_fails_and_keeps_its_words(folder):
    (folder / "guide" / "images" / "broken.png").write_bytes(ROTOR[:20])
    (folder / "guide" / "images" / "page.png").write_bytes(b"<html></html>")
    (folder / "secret.png").write_bytes(ROTOR)
    links = ["gone.png", "images/broken.png", "images/page.png", "../../x.png", "/x.png"]
    text = "\n\n".join(f"Text {n}. ![alt {n}]({link})" for n, link in enumerate(links, 1))
    found, reading = page(folder, text + "\n\n![](images/rotor.png)")
    assert [d.text for d in found.values() if d.metadata["kind"] == "text"] == [
        f"Text {n}." for n in range(1, 6)
    ]
    figures = {key: d for key, d in found.items() if d.metadata["kind"] == "figure"}
    assert {key: d.text for key, d in figures.items()} == {
        **{f"figure-{n}": f"alt {n}" for n in range(1, 6)},
        "figure-6": None,
    }
    assert [d.has_image for d in figures.values()] == [False] * 5 + [True]
    assert [(f.id, f.source) for f in reading.failed] == [
        (f"guide/pumps.md#figure-{n}", "guide/pumps.md") for n in range(1, 6)
    ]
    for failure, reason in zip(
        reading.failed,
        [
            "There is no file 'guide/gone.png'",
            "'guide/images/broken.png' is damaged",
            "'guide/images/page.png' is an HTML page",
            "'../../x.png' leaves the folder",
            "'/x.png' is absolute",
        ],
        strict=True,
    ):
        assert reason in failure.reason


def test_a_picture_on_a_server_is_noted_and_is_no_failure(folder):
    found, reading = page(
        folder, "![A cat](https://x.org/c.png)\n\n![](//x.org/d.png)\n\n![e](e.png)"
    )
    assert list(found) == ["figure-1", "figure-3", "guide/images/rotor.png"]
    figure = found["figure-1"]
    assert (figure.text, figure.image) == ("A cat", None)
    assert figure.metadata["image_url"] == "https://x.org/c.png"
    assert [failure.id for failure in reading.failed] == ["guide/pumps.md#figure-3"]


def test_a_picture_within_the_page_is_bytes_and_never_metadata(folder):
    encoded = base64.b64encode(ROTOR).decode()
    found, _ = page(folder, f"![dot](data:image/png;base64,{encoded})")
    figure = found["figure-1"]
    assert figure.image.data == ROTOR
    assert figure.image.name == "guide/pumps.md#figure-1"
    assert encoded not in str(figure.metadata)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("data:image/png;base64,!!!!", "not valid base64"),
        ("data:text/html,b", "is of type 'text/html'; expected an image type"),
        ("data:image/png;base64,QUJD", "of no known format"),
        (f"data:image/png;base64,{base64.b64encode(ROTOR[:20]).decode()}", "is damaged"),
        ("data:image/png;base64," + "A" * 14_000_000, "has about 10.5 MB; expected at most 10 MB"),
    ],
)
def test_bad_pictures_within_a_page_fail(folder, uri, reason):
    found, reading = page(folder, f'Text\n\n<p><img alt="alt" src="{uri}"></p>')
    assert [found["1"].text, found["figure-1"].text] == ["Text", "alt"]
    (failure,) = reading.failed
    assert reason in failure.reason
    assert len(failure.reason) < 500


def test_one_paragraph_more_changes_only_its_own_page(folder):
    (folder / "other.md").write_text("# B\n\nText.")
    _, before = page(folder, PAGE)
    before = {d.id: d.text for d in read(folder)}
    (folder / "guide" / "pumps.md").write_text(PAGE.replace("Intro.", f"{'Intro. ' * 300}"))
    after = {d.id: d.text for d in read(folder)}
    assert after["other.md#1"] == before["other.md#1"]
    assert after["guide/pumps.md#figure-1"] == before["guide/pumps.md#figure-1"]
    assert after["guide/pumps.md#4"] == before["guide/pumps.md#2"]  # moved by two chunks


def test_long_headings_and_captions_are_shortened_in_metadata_only(folder):
    long = "x" * 400_000
    found, reading = page(folder, f'# {long}\n\n![{long}](images/rotor.png "y{long}")')
    assert reading.failed == []
    metadata = found["figure-1"].metadata
    assert {len(metadata[key]) for key in ("title", "section", "alt", "caption")} == {300}
    assert found["figure-1"].text == f"y{long}\n{long}"
