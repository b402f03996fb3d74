"""Markdown to blocks, with lines."""

import pytest

from diptych.ingest.blocks import Figure, Heading, Passage
from diptych.ingest.captions import is_caption, with_captions
from diptych.ingest.markdown import MAX_MARKS, parse_markdown


def blocks(text):
    return list(parse_markdown(text).blocks)


def links(text):
    return [block.link for block in blocks(text) if isinstance(block, Figure)]


def test_blocks_know_their_lines():
    assert blocks("# A\n\ntext\nmore\n\n![x](x.png)\n\n- b\n- c\n\n```\ncode\n```\n") == [
        Heading(1, "A", 1),
        Passage("text more", 3),
        Figure("x.png", "x", "", 6),
        Passage("- b", 8, is_tight=True),
        Passage("- c", 9, is_tight=True),
        Passage("code", 11),
    ]


def test_front_matter_gives_the_title_and_no_text():
    page = parse_markdown('---\nlayout: page\ntitle: "A: page"\n---\n\nText\n')
    assert page.title == "A: page"
    assert page.blocks == [Passage("Text", 6)]


@pytest.mark.parametrize(
    "text", ["---\n\nA rule above, and one below.\n\n---\n\nEnd", "---\ntitle: never closed\n\nEnd"]
)
def test_a_rule_is_no_front_matter(text):
    assert blocks(text)[-1].text == "End"
    assert len(blocks(text)) == 2


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("![a](a.png)", Figure("a.png", "a", "", 1)),
        ('![a](a.png "The cap")', Figure("a.png", "a", "The cap", 1)),
        ("![a](<a b.png>)", Figure("a b.png", "a", "", 1)),
        ("![a](a%20b.png?raw=1)", Figure("a%20b.png?raw=1", "a", "", 1)),
        ("![a][r]\n\n[r]: a.png 'Cap'", Figure("a.png", "a", "Cap", 1)),
        ("![a]\n\n[a]: a.png", Figure("a.png", "a", "", 1)),
        ("[![a](a.png)](https://x.org)", Figure("a.png", "a", "", 1)),
        ("![*a* `b` [c](d)](a.png)", Figure("a.png", "a b c", "", 1)),
        ("![a](a.png){width=50% .x}", Figure("a.png", "a", "", 1)),
        ('<img src="a.png" alt="a">', Figure("a.png", "a", "", 1)),
        ("![a](file:///etc/passwd)", Figure("file:///etc/passwd", "a", "", 1)),
        ("![a](javascript:x)", Figure("javascript:x", "a", "", 1)),
        ("![a](../é.png)", Figure("../é.png", "a", "", 1)),
        ("![a](data:image/svg+xml;base64,AA)", Figure("data:image/svg+xml;base64,AA", "a", "", 1)),
    ],
)
def test_every_way_to_write_a_picture(text, figure):
    assert blocks(text) == [figure]


def test_html_in_a_paragraph_gives_pictures_and_nothing_else():
    assert blocks('Use a <script> tag, <b>bold</b> <img src="a.png" alt="A"> here.') == [
        Passage("Use a tag, bold A here.", 1),
        Figure("a.png", "A", "", 1),
    ]


def test_a_figure_in_html_around_markdown():
    text = "<figure>\n\n![a](a.png)\n\n<figcaption>The caption</figcaption>\n</figure>\n\nAfter"
    assert blocks(text) == [Figure("a.png", "a", "The caption", 3), Passage("After", 8)]


@pytest.mark.parametrize(
    "text",
    [
        "```\n![a](a.png)\n```",
        "    ![a](a.png)",
        "~~~html\n<img src='a.png'>\n~~~",
        "`![a](a.png)`",
        "\\![a](a.png)",
        "<!-- ![a](a.png) <img src='a.png'> -->",
        "<script>\n'<img src=a.png>'\n</script>",
    ],
)
def test_code_and_comments_have_no_pictures(text):
    assert links(text) == []


@pytest.mark.parametrize(
    "opening",
    ["<div> <!-- never closed", "<div><script>", "<div>\n<svg>", "<title>", "<nav>"],
)
def test_html_that_is_not_closed_swallows_nothing_after_it(opening):
    assert blocks(f"{opening}\n\nAfter ![a](a.png)")[-2:] == [
        Passage("After", opening.count("\n") + 3),
        Figure("a.png", "a", "", opening.count("\n") + 3),
    ]


def test_a_script_that_is_not_closed_is_shown():
    assert blocks("<script>\n\nAfter") == [Passage("<script> After", 1)]


def test_closed_navigation_in_html_is_left_out():
    assert blocks("<nav>\n<a href=x>Menu</a>\n</nav>\n\nAfter") == [Passage("After", 5)]


def test_tables_and_nested_lists_are_text():
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n\n1. x\n   - y\n\n     z\n2. w\n"
    assert [block.text for block in blocks(text)] == [
        "a | b",
        "1 | 2",
        "1. x",
        "  - y",
        "    z",
        "2. w",
    ]


def test_a_paragraph_of_marks_is_plain_text():
    text = "[" * (MAX_MARKS + 1)
    assert blocks(text + " ![a](a.png)") == [Passage(text + " ![a](a.png)", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "Figure 1: The rotor.",
        "Fig. 3a. The rotor",
        "figure 2 – rotor",
        "FIGURE 4",
        "Figure 3 The rotor",
        "Abbildung 2: Der Rotor",
        "Photo 7: Rotor",
        "図1 ローター",
        "图 2:转子",
    ],
)
def test_a_numbered_paragraph_is_a_caption(text):
    assert is_caption(Passage(text))


@pytest.mark.parametrize(
    "text",
    [
        "Figure 3 shows the rotor.",
        "The rotor.",
        "Figures matter.",
        "Table 1: Sizes",
        "Figure it out.",
    ],
)
def test_prose_is_no_caption(text):
    assert not is_caption(Passage(text))


def test_italics_are_a_caption_unless_long_or_in_a_list():
    assert is_caption(Passage("The rotor.", is_italic=True))
    assert not is_caption(Passage("x" * 601, is_italic=True))
    assert not is_caption(Passage("- The rotor.", is_italic=True, is_tight=True))


def captioned(text):
    return with_captions(blocks(text))


def test_a_caption_below_goes_into_the_figure():
    assert captioned("![a](a.png)\n*The rotor*\n\nText") == [
        Figure("a.png", "a", "The rotor", 1),
        Passage("Text", 4),
    ]
    assert captioned("![a](a.png)\n\nFigure 1: The rotor") == [
        Figure("a.png", "a", "Figure 1: The rotor", 1)
    ]


def test_a_figure_keeps_the_caption_that_it_has():
    assert captioned('![a](a.png "Title")\n\n*More*') == [
        Figure("a.png", "a", "Title", 1),
        Passage("More", 3, is_italic=True),
    ]


def test_pictures_of_one_paragraph_share_a_caption_others_do_not():
    assert captioned("![a](a.png)\n\n![b](b.png) ![c](c.png)\n*Both*") == [
        Figure("a.png", "a", "", 1),
        Figure("b.png", "b", "Both", 3),
        Figure("c.png", "c", "Both", 3),
    ]


def test_a_caption_above_or_further_below_is_text():
    text = "*Above*\n\n![a](a.png)\n\nText\n\n*Below*"
    assert captioned(text) == blocks(text)
