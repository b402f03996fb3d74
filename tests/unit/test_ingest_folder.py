"""Folders: every kind in one, in a fixed order, whatever is wrong with a file."""

import os
import random

import pytest

from diptych import Document
from diptych.errors import InvalidArgument
from diptych.ingest import Reading, read
from diptych.report import Failure
from stubs import png


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


MIXED = {
    "b.md": "Text b.",
    "a/z.html": "<p>Text z.",
    "a/Z.htm": "<p>Text Z.",
    "a.txt": "Text a.",
    "a/é.markdown": "Text é.",
    "r.jsonl": '{"text": "record"}',
    "pics/2.png": png("red"),
    "pics/10.jpg": png("blue"),  # what counts is the content
    "PICS.PNG": png("green"),
    "a/x.pdf": b"%PDF-1.7",
    ".hidden/x.md": "no",
    "a/.hidden.md": "no",
    ".env": "no",
}
ORDER = [
    "a/Z.htm#1",
    "a/z.html#1",
    "a/é.markdown#1",
    "a.txt#1",
    "b.md#1",
    "r.jsonl#1",
    "PICS.PNG",
    "pics/10.jpg",
    "pics/2.png",
]


def test_a_folder_of_every_kind_is_read_in_the_order_of_its_paths(tmp_path):
    write(tmp_path, MIXED)
    reading = read(tmp_path)
    assert [document.id for document in reading] == ORDER
    assert reading.failed == []
    assert reading.skipped == [
        Failure("a/x.pdf", "a/x.pdf", "No reader takes files of the kind '.pdf'.")
    ]


def test_the_order_in_which_files_were_made_does_not_count(tmp_path):
    results = []
    for seed in range(4):
        names = list(MIXED)
        random.Random(seed).shuffle(names)
        write(tmp_path / str(seed), {name: MIXED[name] for name in names})
        results.append(list(read(tmp_path / str(seed))))
    assert results[0] == results[1] == results[2] == results[3]
    assert results[0]


def test_ids_do_not_depend_on_how_the_folder_is_named(tmp_path, monkeypatch):
    write(tmp_path / "d", MIXED)
    (tmp_path / "alias").symlink_to(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    absolute = list(read(tmp_path / "d"))
    assert absolute == list(read("d")) == list(read("./d/../d/")) == list(read("alias"))
    assert absolute == list(read(b"d"))


def test_composed_and_decomposed_names_give_equal_ids(tmp_path):
    write(tmp_path / "one", {"caf\u00e9.md": "x"})
    write(tmp_path / "two", {"cafe\u0301.md": "x"})
    assert list(read(tmp_path / "one")) == list(read(tmp_path / "two"))


def test_a_file_alone_has_its_name_as_id(tmp_path):
    write(
        tmp_path, {"sub/b.md": "Text b.\n\n![x](x.png)", "sub/x.png": png("red"), "sub/y.md": "no"}
    )
    assert [d.id for d in read(tmp_path / "sub" / "b.md")] == ["b.md#1", "b.md#figure-1"]


def test_a_picture_alone_brings_the_words_beside_it(tmp_path):
    write(
        tmp_path,
        {
            "a.png": png("red"),
            "a.txt": "Red.",
            "b.png": png("blue"),
            "captions.csv": "file,caption,by\na.png,A square.,me\nb.png,Blue.,me",
        },
    )
    reading = read(tmp_path / "a.png")
    (document,) = reading
    assert (document.id, document.text) == ("a.png", "Red.\nA square.")
    assert reading.failed == []
    assert [d.text for d in read(tmp_path / "a.txt")] == ["Red."]


def test_a_prefix_tells_two_folders_apart(tmp_path):
    write(tmp_path, {"a.md": "x ![](p.png)", "p.png": png("red"), "q.png": b"bad"})
    reading = read(tmp_path, prefix="manuals/")
    documents = list(reading)
    assert [d.id for d in documents] == ["manuals/a.md#1", "manuals/a.md#figure-1"]
    assert documents[0].metadata["source"] == documents[0].group == "manuals/a.md"
    assert [(f.id, f.source) for f in reading.failed] == [("manuals/q.png", "manuals/q.png")]


def test_a_picture_that_a_page_shows_is_not_read_twice_unless_it_has_words(tmp_path):
    write(
        tmp_path,
        {
            "a.md": "![](p.png) ![](q.png)",
            "p.png": png("red"),
            "q.png": png("blue"),
            "q.txt": "Blue.",
            "r.jsonl": '{"image": "s.png"}',
            "s.png": png("green"),
            "t.png": png("black"),
        },
    )
    ids = [document.id for document in read(tmp_path)]
    assert ids == ["a.md#figure-1", "a.md#figure-2", "r.jsonl#1", "q.png", "t.png"]


def test_pictures_have_captions_from_every_place_and_their_other_fields(tmp_path):
    write(
        tmp_path,
        {
            "one.png": png("red"),
            "one.txt": " Red one.\n",
            "sub/two.png": png("green"),
            "sub/three.png": png("blue"),
            "four.png": png("black"),
            "captions.jsonl": '{"file": "sub/two.png", "caption": "Two.", "year": 2020, "tags": ["x"]}\n'
            '{"image": "one.png", "text": "Also red."}\n\n'
            '{"file_name": "sub/two.png", "caption": "Second.", "year": 1999}',
            "metadata.jsonl": '{"file_name": "sub/two.png", "text": "Two.", "by": "me"}',
            "sub/captions.csv": "file_name;caption;source\nthree.png;Three; so;flickr\n",
        },
    )
    reading = read(tmp_path)
    assert list(reading) == [
        Document(None, png("black"), "four.png", {"source": "four.png", "kind": "picture"}),
        Document(
            "Red one.\nAlso red.",
            png("red"),
            "one.png",
            {"source": "one.png", "kind": "picture", "caption": "Red one.\nAlso red."},
        ),
        Document(
            "Three",
            png("blue"),
            "sub/three.png",
            {"source": "so", "kind": "picture", "caption": "Three"},
        ),
        Document(
            "Two.\nSecond.",
            png("green"),
            "sub/two.png",
            {
                "source": "sub/two.png",
                "kind": "picture",
                "caption": "Two.\nSecond.",
                "year": 2020,
                "tags": ["x"],
                "by": "me",
            },
        ),
    ]
    assert reading.failed == []


def test_a_broken_line_of_captions_fails_alone(tmp_path):
    lines = [
        "nonsense",
        '{"caption": "of nothing"}',
        '["a.png", "list"]',
        '{"file": "../x.png", "caption": "x"}',
        '{"file": 3}',
        '{"file": "a.png", "caption": "Red."}',
        '{"file": "gone.png", "caption": "x"}',
    ]
    write(tmp_path, {"a.png": png("red"), "captions.jsonl": "\n".join(lines)})
    reading = read(tmp_path)
    assert [d.text for d in reading] == ["Red."]
    assert [failure.id for failure in reading.failed] == [
        *(f"captions.jsonl#{n}" for n in range(1, 6)),
        "gone.png",
    ]
    reasons = [failure.reason for failure in reading.failed]
    assert reasons[0].startswith("line 1: It is no JSON: Expecting value")
    assert reasons[1].startswith("line 2: It names no picture; expected one of the fields file,")
    assert reasons[2].startswith("line 3: It is a JSON list; expected an object")
    assert "leaves the folder" in reasons[3]
    assert "There is no file 'gone.png'" in reasons[5]


@pytest.mark.parametrize(
    ("csv", "text", "failure"),
    [
        ("file,caption\na.png,Red.", "Red.", None),
        ("\ufeffFile , Caption\na.png, Red. ", "Red.", None),
        ("image|caption\na.png|Red, square.", "Red, square.", None),
        ('file\tcaption\na.png\t"Two\nlines"', "Two\nlines", None),
        ("file,caption\n\na.png", None, None),
        ("caption,by\nRed.,me", None, "names the columns"),
        ("", None, "names the columns"),
        ("file,caption\nx.png," + "x" * 200_000 + "\na.png,Red.", "Red.", "It is no CSV"),
    ],
)
def test_captions_in_csv(tmp_path, csv, text, failure):
    write(tmp_path, {"a.png": png("red"), "captions.csv": csv})
    reading = read(tmp_path)
    assert [document.text for document in reading] == [text]
    assert [failure in found.reason for found in reading.failed] == ([True] if failure else [])


def test_what_captions_name_is_a_picture_whatever_its_suffix(tmp_path):
    write(
        tmp_path,
        {"scan.dat": png("red"), "captions.jsonl": '{"file": "scan.dat", "caption": "Red."}'},
    )
    assert [(d.id, d.text, d.has_image) for d in read(tmp_path)] == [("scan.dat", "Red.", True)]


BAD = {
    "bad/binary.md": b"\0\1\2" * 1000,
    "bad/cut.png": png("red")[:30],
    "bad/drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "bad/empty.png": b"",
    "bad/hostile.html": b"<a " + b" ".join(b"b%d" % n for n in range(50_000)) + b">",
    "bad/page.jpg": b"<html>",
    "bad/wide.txt": "no mark".encode("utf-16-le"),
    "bad/zeros.gif": b"\0" * 100,
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_file_never_stops_a_folder(tmp_path, name):
    write(tmp_path, {"a.md": "First.", name: BAD[name], "z.md": "Last.", "z.png": png("red")})
    reading = read(tmp_path)
    assert [document.id for document in reading] == ["a.md#1", "z.md#1", "z.png"]
    (failure,) = reading.failed
    assert (failure.id, failure.source) == (name, name)
    assert failure.reason


def test_an_error_of_a_parser_is_a_failure_of_its_file(tmp_path, monkeypatch):
    def explode(html):
        raise RecursionError("too deep")

    monkeypatch.setattr("diptych.ingest.pages.parse_html", explode)
    write(tmp_path, {"a.html": "x", "b.txt": "Text."})
    reading = read(tmp_path)
    assert [document.id for document in reading] == ["b.txt#1"]
    assert reading.failed[0].reason == "It could not be read: RecursionError: too deep"


def test_a_text_over_the_limit_fails(tmp_path):
    with (tmp_path / "big.txt").open("wb") as file:
        file.truncate(50_000_001)
    reading = read(tmp_path)
    assert list(reading) == []
    assert "'big.txt' has 50.0 MB; expected at most 50 MB" in reading.failed[0].reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_fails(tmp_path):
    write(tmp_path, {"a.md": "x", "b.md": "y", "c/d.md": "z"})
    (tmp_path / "a.md").chmod(0)
    (tmp_path / "c").chmod(0)
    reading = read(tmp_path)
    try:
        assert [document.id for document in reading] == ["b.md#1"]
    finally:
        (tmp_path / "c").chmod(0o700)
    assert "Permission denied" in reading.failed[0].reason
    assert "Permission denied" in reading.skipped[0].reason


def test_links_pipes_and_other_kinds_are_skipped_with_a_reason(tmp_path):
    write(tmp_path / "in", {"a.md": "x"})
    write(tmp_path / "out", {"secret.md": "secret"})
    (tmp_path / "in" / "file.md").symlink_to(tmp_path / "out" / "secret.md")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe.md")
    reading = read(tmp_path / "in")
    assert [document.id for document in reading] == ["a.md#1"]
    assert reading.failed == []
    assert {f.source: f.reason for f in reading.skipped} == {
        "file.md": "It is a symbolic link; links are not followed.",
        "folder": "It is a symbolic link; links are not followed.",
        "loop": "It is a symbolic link; links are not followed.",
        "pipe.md": "It is a pipe, socket or device.",
    }


def test_a_name_that_is_no_text_fails(tmp_path):
    for name in (b"a\xff.md", b"b\xff.png"):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(b"x")
    reading = read(tmp_path)
    assert list(reading) == []
    assert [failure.source for failure in reading.failed] == ["a?.md", "b?.png"]
    assert all("is not valid UTF-8" in failure.reason for failure in reading.failed)


def test_names_may_hold_anything_else(tmp_path):
    names = ["a b.md", "a#1.md", "a\nb.md", "a%20b.md", "漢字.md", "quote'\".md", "x" * 200 + ".md"]
    write(tmp_path, dict.fromkeys(names, "x"))
    assert {document.id for document in read(tmp_path)} == {f"{name}#1" for name in names}


def test_reading_is_lazy_and_calls_back_when_something_fails(tmp_path):
    write(tmp_path, {"a.md": "x", "b.html": BAD["bad/hostile.html"], "c.md": "y"})
    seen = []
    reading = read(tmp_path, on_failure=seen.append)
    assert isinstance(reading, Reading)
    assert next(reading).id == "a.md#1"
    assert (seen, reading.failed) == ([], [])
    (tmp_path / "c.md").write_text("changed meanwhile")
    assert [document.text for document in reading] == ["changed meanwhile"]
    assert [failure.id for failure in seen] == ["b.html"]
    assert seen == reading.failed
    assert list(reading) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", r"gone' does not exist; expected a file or a folder"),
        ("pipe.md", r"pipe\.md' is a pipe, socket or device"),
        ("x.pdf", r"No reader takes the file 'x\.pdf' by itself; expected a page"),
        (
            "captions.jsonl",
            r"No reader takes the file 'captions\.jsonl'.*Captions are read with their",
        ),
        ("nul\0", "is no path"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused_at_once(tmp_path, name, message):
    write(tmp_path, {"x.pdf": b"%PDF", "captions.jsonl": "{}"})
    os.mkfifo(tmp_path / "pipe.md")
    with pytest.raises(InvalidArgument, match=message):
        read(f"{tmp_path}/{name}")


@pytest.mark.parametrize("path", [None, 3, ["a"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InvalidArgument, match="is no path"):
        read(path)


def test_a_chunk_size_below_one_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="max_chars=0 was given"):
        read(tmp_path, max_chars=0)


def test_plain_text_is_chunked_in_one_group_with_lines(tmp_path):
    write(tmp_path, {"a.txt": "\n\nOne one.\n\nTwo two.\nThree.\n\n\nFour.\n"})
    assert list(read(tmp_path, max_chars=20)) == [
        Document(
            text,
            id=f"a.txt#{n}",
            metadata={"source": "a.txt", "kind": "text", "line": line},
            group="a.txt",
            order=n,
        )
        for n, (text, line) in enumerate(
            [("One one.", 3), ("Two two.\nThree.", 5), ("Four.", 9)], 1
        )
    ]
