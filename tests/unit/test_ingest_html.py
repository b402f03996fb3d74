"""HTML to blocks: what is seen, in reading order."""

import pytest

from diptych.errors import InvalidArgument
from diptych.ingest.blocks import Figure, Heading, Page, Passage
from diptych.ingest.bounds import MAX_NESTING, bounded
from diptych.ingest.html import parse_html


def blocks(html):
    return list(parse_html(html).blocks)


def texts(html):
    return [block.text for block in blocks(html) if not isinstance(block, Figure)]


def test_a_whole_page():
    page = parse_html(
        """<!doctype html><html><head><title> A
        pump </title><style>p{}</style></head><body>
        <nav><a href="/">Home</a></nav>
        <h1>Pumps<a class="headerlink" href="#p">¶</a></h1>
        <p>A pump <em>moves</em>
           water.</p>
        <figure><img src="a.png" alt="A rotor"><figcaption><b>Figure 1.</b> The rotor.</figcaption>
        </figure>
        <script>var x = "<p>no</p>"</script><noscript><img src="n.png">no</noscript>
        <template><p>no</p></template>
        </body></html>"""
    )
    assert page == Page(
        "A pump",
        [
            Heading(1, "Pumps"),
            Passage("A pump moves water."),
            Figure("a.png", "A rotor", "Figure 1. The rotor."),
        ],
    )


def test_a_picture_amid_words_leaves_its_alternative_text_in_them():
    assert blocks(
        '<p>Press <img src="s.png" alt="Stop"> now, see <img src="t.png" alt="T"></p>'
    ) == [
        Passage("Press Stop now, see"),
        Figure("s.png", "Stop"),
        Figure("t.png", "T"),
    ]


def test_a_picture_before_the_words_comes_before_them():
    assert blocks('<p><img src="s.png" alt="Stop"> <i>Press</i> <i>it.</i></p>') == [
        Figure("s.png", "Stop"),
        Passage("Press it.", is_italic=True),
    ]


@pytest.mark.parametrize(
    ("html", "link"),
    [
        ('<img src=" a.png ">', "a.png"),
        ('<picture><source srcset="b.webp"><img src="a.png"></picture>', "a.png"),
        ('<img srcset="a.png 1x, b.png 2x">', "a.png"),
        ('<img data-src="a.png" src="data:image/gif;base64,R0lGODlh">', "a.png"),
        ('<a href="x.html"><img src="a.png" onerror="alert(1)"></a>', "a.png"),
        ('<base href="http://evil.example/"><img src="a.png">', "a.png"),
    ],
)
def test_the_link_of_a_picture(html, link):
    assert blocks(html) == [Figure(link)]


def test_a_picture_without_a_link_is_its_alternative_text_amid_words_or_nothing():
    assert blocks('<img alt="x"><p>a <img alt="b"> c</p>') == [Passage("x"), Passage("a b c")]


def test_a_title_is_a_caption_unless_there_is_a_better_one():
    assert blocks(
        '<img src="a.png" title="A"><figure><img src="b.png" title="B">'
        "<figcaption>Better</figcaption></figure>"
    ) == [Figure("a.png", "", "A"), Figure("b.png", "", "Better")]


def test_an_outer_caption_is_for_the_pictures_that_have_none():
    assert blocks(
        "<figure><figure><img src=a><figcaption>own</figcaption></figure>"
        "<figure><img src=b></figure><figcaption><p>all</p><p>of them</p></figcaption></figure>"
    ) == [Figure("a", "", "own"), Figure("b", "", "all of them")]


def test_a_caption_without_a_picture_is_text():
    assert blocks("<figure><pre>x = 1</pre><figcaption>Listing</figcaption></figure>") == [
        Passage("x = 1"),
        Passage("Listing"),
    ]


def test_lists_keep_their_marks_and_depth():
    html = "<ul><li>a<ol start=3><li><p>b</p><p>c</p><li>d</ol><li>e <img src=e.png></ul><p>f</p>"
    assert blocks(html) == [
        Passage("- a", is_tight=True),
        Passage("  3. b", is_tight=True),
        Passage("    c", is_tight=True),
        Passage("  4. d", is_tight=True),
        Passage("- e", is_tight=True),
        Figure("e.png"),
        Passage("f"),
    ]


def test_a_table_is_one_line_a_row():
    html = """<table><caption>Sizes</caption><tr><th>size</th> <th>flow</th></tr>
      <tr> <td><p>1</p></td><td><p>2 <img src="t.png" alt="T"></p></td></tr></table>"""
    assert blocks(html) == [
        Passage("Sizes"),
        Passage("size | flow", is_tight=True),
        Passage("1 | 2", is_tight=True),
        Figure("t.png", "T"),
    ]


def test_a_table_that_lays_out_a_page_is_no_table():
    html = "<table><tr><td><h2>News</h2><p>a</p><p>b</p><td><table><tr><td>1<td>2</table></table>"
    assert blocks(html) == [
        Heading(2, "News"),
        Passage("a"),
        Passage("b"),
        Passage("1 | 2", is_tight=True),
    ]


def test_code_keeps_its_lines_and_text_its_breaks():
    assert texts("<pre>\n\na\n  b\n</pre><p>a   <br> b\n c</p>") == ["a\n  b", "a\nb c"]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", []),
        ("just text", ["just text"]),
        ("<p>a<p>b", ["a", "b"]),
        ("<frameset><frame src=x></frameset>", []),
        ("<dl><dt>Term<dd>Means</dl>", ["Term", "Means"]),
        ("a &amp; b &lt;c&gt; &#xD800; &#0;", ["a & b <c> \ufffd \ufffd"]),
        ("<p>a<!-- b --> c</p>", ["a c"]),
        ("<h1><div>a</div><div>b</div></h1>", ["a b"]),
        ("<svg><text>s</text></svg><button>Copy</button>x", ["x"]),
    ],
)
def test_odd_pages(html, expected):
    assert texts(html) == expected


def test_shallow_html_is_left_as_it_is():
    html = "<div><p>a</div>" * 1000 + "<b>" * MAX_NESTING
    assert bounded(html) is html


def test_deep_html_is_flattened_and_its_text_stays():
    html = "<div>" * 5000 + "deep" + "</div>" * 5000 + "<h2>after</h2>"
    assert blocks(html) == [Passage("deep"), Heading(2, "after")]
    assert bounded(html).count("<div>") == bounded(html).count("</div>") == MAX_NESTING


def test_tags_within_scripts_and_comments_do_not_nest():
    html = "<script>'" + "<div>" * 300 + "'</script><!--" + "<div>" * 300 + "--><div>a</div>"
    assert bounded(html) == "  <div>a</div>"


def test_a_tag_with_too_many_attributes_is_refused():
    html = "<a " + " ".join(f"b{n}" for n in range(100_000)) + ">"
    with pytest.raises(InvalidArgument, match="has 100,001 attributes; expected at most 5,000"):
        parse_html(html)


def test_a_long_value_is_no_sign_of_many_attributes():
    link = "data:image/png;base64," + "QUJD\n" * 20_000
    (figure,) = blocks(f'<img src="{link}">')
    assert figure.link == link.strip()
