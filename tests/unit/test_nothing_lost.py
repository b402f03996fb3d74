"""A reading says what it did not read, and replaces what a file gave before as a whole."""

import os
import shutil

import pytest

from diptych import MultimodalIndex, read
from diptych.report import AddReport, Failure, NotRead
from stubs import StubJoint, StubText, png

REMOTE = "https://pictures.example/valve.png"


@pytest.fixture
def index():
    return MultimodalIndex(StubText(), StubJoint())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    return folder


def page(parts, words="Old torque of valve"):
    return "# Pump\n\n" + "".join(f"## Part {i}\n\n{words} {i}.\n\n" for i in range(parts))


def names(index):
    return sorted(index.ids())


class TestWhatIsNotRead:
    def test_every_kind_is_counted_with_examples(self, folder, index):
        for name in (
            "a.md",
            "b.rst",
            "c.PDF",
            "d.pdf",
            "README",
            "e.DocX",
            ".hidden",
            "x.backup of it all",
        ):
            (folder / name).write_text("Text.")
        (folder / ".git").mkdir()
        (folder / "link.md").symlink_to("a.md")
        os.mkfifo(folder / "pipe.md")
        report = index.add(read(folder))
        assert {part.kind: (part.count, set(part.examples)) for part in report.not_read} == {
            ".rst": (1, {"b.rst"}),
            ".pdf": (2, {"c.PDF", "d.pdf"}),
            ".docx": (1, {"e.DocX"}),
            "of no kind": (1, {"README"}),
            ".backup of it all": (1, {"x.backup of it all"}),
            "hidden": (2, {".git", ".hidden"}),
            "link": (1, {"link.md"}),
            "pipe, socket or device": (1, {"pipe.md"}),
        }
        assert "10 not read: " in str(report)
        assert "2 .pdf (c.PDF, d.pdf)" in str(report)
        assert "c.PDF" in report._repr_html_()
        assert index.sync(read(folder)).stored.not_read == report.not_read
        assert "10 not read" in str(index.sync(read(folder)))

    def test_an_index_within_the_folder_is_not_read(self, folder, tmp_path):
        (folder / "p.png").write_bytes(png("red"))
        with MultimodalIndex(StubText(), StubJoint(), path=folder / "kb" / "index") as index:
            index.upsert(read(folder))
            report = index.upsert(read(folder))
            assert (report.added, report.skipped) == (0, 1)
            assert report.not_read == (NotRead("index", 1, ("kb/index",)),)
        reading = read(folder / "kb" / "index")
        assert list(reading) == []
        assert reading.skipped == [Failure(".", ".", "It is an index of diptych.")]

    def test_reports_of_two_folders_add_up(self):
        first = AddReport(
            not_read=(NotRead(".pdf", 4, ("a", "b", "c", "d")), NotRead("link", 1, ("l",)))
        )
        second = AddReport(not_read=(NotRead(".pdf", 9, ("e", "a", "f")),), removed=2)
        total = first + second
        assert total.not_read == (
            NotRead(".pdf", 13, ("a", "b", "c", "d", "e")),
            NotRead("link", 1, ("l",)),
        )
        assert total.removed == 2
        assert str(total) == (
            "0 added · 2 removed · 14 not read: 13 .pdf (a, b, c, d, e, …), 1 link (l)"
        )

    def test_what_failed_is_in_the_report_of_add(self, folder, index):
        (folder / "broken.png").write_bytes(b"no picture")
        assert [failure.source for failure in index.add(read(folder)).failed] == ["broken.png"]

    @pytest.mark.parametrize(
        "written",
        [
            f"![]({REMOTE})",
            f"![The valve]({REMOTE})",
            f"![][1]\n\n[1]: {REMOTE}",
            f"<img src='{REMOTE}'>",
            f"Close <img src='{REMOTE}'> it.",
            f"<div>\n<img data-src='{REMOTE}'>\n</div>",
            f"<img srcset='{REMOTE} 2x, https://pictures.example/small.png'>",
            f"<picture><source srcset='{REMOTE}'><img alt='valve'></picture>",
            f"| a |\n|---|\n| ![]({REMOTE}) |",
            f"- ![]({REMOTE})",
            f"# A ![]({REMOTE})",
            f"[![]({REMOTE})](https://elsewhere.example)",
            f"<nav><img src='{REMOTE}'></nav>",
            f"<figure><img src='{REMOTE}'><figcaption>The valve</figcaption></figure>",
            f"<svg><image href='{REMOTE}'/></svg>",
            f"Close <svg><image xlink:href='{REMOTE}'></image></svg> it.",
            f"Close <video poster='{REMOTE}'></video> it.",
            f"Close <input type=image src='{REMOTE}'> it.",
            f"<object data='{REMOTE}' type='image/png'></object>",
            f"<embed src='{REMOTE}' type='image/png'>",
        ],
    )
    @pytest.mark.parametrize("suffix", ["md", "html"])
    def test_a_picture_on_the_web_is_always_named(self, folder, written, suffix):
        if suffix == "html" and not written.startswith("<"):
            pytest.skip("Markdown")
        (folder / f"a.{suffix}").write_text(f"Close it.\n\n{written}\n")
        reading = read(folder)
        list(reading)
        assert [f.reason for f in reading.skipped] == [
            f"Its picture {REMOTE} is on a server; pictures are never fetched."
        ]
        assert reading.not_read == (NotRead("picture on the web", 1, (REMOTE,)),)
        assert reading.failed == []

    @pytest.mark.parametrize("link", ["//pictures.example/v.png", "HTTP://P.example/?a=1&b=2"])
    def test_other_ways_to_name_a_server(self, folder, link):
        (folder / "a.md").write_text(f"![]({link})")
        (folder / "r.jsonl").write_text(
            f'{{"text": "x", "image": "{link}"}}\n{{"image": "{link}"}}'
        )
        reading = read(folder)
        assert [document.metadata["image_url"] for document in reading] == [link]
        assert sum(link in failure.reason for failure in reading.skipped) == 3
        assert len(reading.failed) == 1

    def test_each_occurrence_counts_and_long_links_are_whole(self, folder):
        link = f"{REMOTE}?signature={'x' * 1500}"
        (folder / "a.md").write_text(f"![]({link})\n\n![A valve]({link})\n")
        reading = read(folder)
        (document,) = reading
        assert document.metadata["image_url"] == link
        assert reading.not_read == (NotRead("picture on the web", 2, (link,)),)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_that_may_not_be_listed_fails(self, folder, index):
        self.unlisted(folder, index, lambda inner: inner.chmod(0), lambda inner: inner.chmod(0o700))

    def test_a_folder_that_cannot_be_listed_fails_and_keeps_its_documents(
        self, folder, index, monkeypatch
    ):
        scandir = os.scandir

        def broken(path):
            if str(path).rstrip("/").endswith("inner"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        self.unlisted(
            folder, index, lambda _: monkeypatch.setattr(os, "scandir", broken), lambda _: None
        )

    def unlisted(self, folder, index, close, reopen):
        (folder / "inner").mkdir()
        (folder / "inner" / "a.txt").write_text("A.")
        (folder / "b.txt").write_text("B.")
        index.upsert(read(folder))
        (folder / "b.txt").unlink()
        close(folder / "inner")
        try:
            report = index.sync(read(folder))
        finally:
            reopen(folder / "inner")
        assert report.removed == ("b.txt#1",)
        assert [failure.source for failure in report.stored.failed] == ["inner"]
        assert "Permission denied" in report.stored.failed[0].reason


class TestWhatAFileDoesNotGiveAnyMore:
    def test_a_page_that_became_shorter(self, folder, index):
        (folder / "a.md").write_text(page(4))
        (folder / "b.md").write_text(page(2, "Another pump, valve"))
        index.upsert(read(folder))
        (folder / "a.md").write_text("# Pump\n\n## Part 0\n\nNew torque: 99 Nm.\n")
        report = index.upsert(read(folder))
        assert (report.updated, report.removed) == (1, 3)
        assert str(report) == "0 added · 1 updated · 3 removed · 2 skipped (unchanged)"
        fresh = MultimodalIndex(StubText(), StubJoint())
        fresh.add(read(folder))
        assert names(index) == names(fresh)
        hits = index.search("old torque of valve", 10)
        assert {hit.id for hit in hits["lexical"]} <= set(names(fresh))

    def test_one_page_alone(self, folder, index):
        (folder / "a.md").write_text(page(4))
        (folder / "b.md").write_text(page(2))
        index.upsert(read(folder))
        (folder / "a.md").write_text(page(3))
        assert index.upsert(read(folder / "a.md")).removed == 1
        (folder / "b.md").unlink()
        assert index.upsert(read(folder)).removed == 0
        assert len(index) == 5

    @pytest.mark.parametrize("name", ["a.md", "a.txt", "a.html", "a.jsonl"])
    def test_a_file_that_became_blank(self, folder, index, name):
        (folder / name).write_text('{"id": 7, "text": "x", "source": "the web"}\n')
        (folder / "b.txt").write_text("B.")
        index.upsert(read(folder))
        (folder / name).write_text(" \n")
        assert index.upsert(read(folder)).removed == 1
        assert names(index) == ["b.txt#1"]

    def test_records_that_are_gone_and_a_line_that_is_broken(self, folder, index):
        lines = [f'{{"id": "r{i}", "text": "record {i}", "source": "s{i}"}}' for i in range(4)]
        (folder / "a.jsonl").write_text("\n".join(lines))
        index.upsert(read(folder))
        (folder / "a.jsonl").write_text("\n".join([lines[0], "{broken", lines[3]]))
        report = index.upsert(read(folder))
        assert (report.removed, len(report.failed)) == (0, 1)  # which one is broken, nobody knows
        (folder / "a.jsonl").write_text("\n".join([lines[0], lines[3]]))
        assert index.upsert(read(folder)).removed == 2
        assert names(index) == ["r0", "r3"]

    def test_a_file_that_cannot_be_read_keeps_everything(self, folder, index):
        (folder / "a.md").write_text(page(4))
        (folder / "b.png").write_bytes(png("red"))
        index.upsert(read(folder))
        before = names(index)
        (folder / "a.md").write_bytes(b"\0\1\2\0" * 100)
        (folder / "b.png").write_bytes(b"torn")
        report = index.upsert(read(folder))
        assert (report.removed, len(report.failed)) == (0, 2)
        assert names(index) == before

    def test_a_broken_figure_does_not_keep_the_old_words(self, folder, index):
        (folder / "p.png").write_bytes(png("red"))
        (folder / "a.md").write_text(page(4) + "![](p.png)\n")
        index.upsert(read(folder))
        (folder / "p.png").write_bytes(b"torn")
        (folder / "a.md").write_text(page(1) + "![](p.png)\n")
        report = index.upsert(read(folder))
        assert report.removed == 3
        assert names(index) == ["a.md#1", "a.md#figure-1"]

    def test_a_picture_that_a_page_shows_now_is_not_there_twice(self, folder, index):
        (folder / "p.png").write_bytes(png("red"))
        (folder / "a.md").write_text("Words.")
        index.upsert(read(folder))
        (folder / "a.md").write_text("Words.\n\n![](p.png)")
        assert index.upsert(read(folder)).removed == 1
        assert names(index) == ["a.md#1", "a.md#figure-1"]

    def test_captions_that_changed_change_the_picture_only(self, folder, index):
        (folder / "p.png").write_bytes(png("red"))
        (folder / "captions.csv").write_text("file,caption\np.png,an old pump")
        index.upsert(read(folder))
        (folder / "captions.csv").write_text("file,caption\np.png,a new pump")
        report = index.upsert(read(folder))
        assert (report.updated, report.removed) == (1, 0)
        assert index.get()[0].text == "a new pump"

    def test_a_page_that_was_renamed_goes_with_sync(self, folder, index):
        (folder / "a.md").write_text(page(2))
        index.upsert(read(folder))
        (folder / "a.md").rename(folder / "b.md")
        report = index.upsert(read(folder))
        assert (report.added, report.removed, len(index)) == (2, 0, 4)
        assert index.sync(read(folder)).removed == ("a.md#1", "a.md#2")

    def test_add_removes_nothing(self, folder, index):
        (folder / "a.md").write_text(page(4))
        index.add(read(folder))
        (folder / "a.md").write_text(page(3))
        assert index.add(read(folder)).removed == 0
        assert len(index) == 4

    def test_other_folders_and_documents_by_hand_stay(self, folder, index, tmp_path):
        (folder / "a.md").write_text(page(4))
        index.upsert(read(folder))
        index.upsert(read(folder, prefix="p"))
        shutil.copytree(folder, tmp_path / "other")
        index.upsert(read(tmp_path / "other", prefix="other"))
        index.add([document for document in read(folder, prefix="hand")])
        (folder / "a.md").write_text(page(1))
        assert index.upsert(read(folder)).removed == 3
        assert len(index) == 1 + 4 + 4 + 4

    def test_a_crash_before_the_removal_is_mended_by_the_next_run(self, folder, index, monkeypatch):
        (folder / "a.md").write_text(page(4))
        index.upsert(read(folder))
        (folder / "a.md").write_text(page(2, "New torque of valve"))

        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(index._storage, "delete", killed)
            with pytest.raises(KeyboardInterrupt):
                index.upsert(read(folder))
        assert len(index) == 4  # the new text, and what is not replaced yet
        assert index.upsert(read(folder)).removed == 2

    def test_sync_believes_a_folder_whose_only_file_is_blank(self, folder, index):
        (folder / "a.md").write_text(page(2))
        index.upsert(read(folder))
        (folder / "a.md").write_text("")
        assert index.sync(read(folder)).removed == ("a.md#1", "a.md#2")


def test_a_part_that_failed_is_named_and_not_its_file():
    assert str(Failure("a.md#figure-2", "a.md", "torn")) == "a.md#figure-2 (torn)"
    assert str(Failure("a.md", "a.md", "torn")) == "a.md (torn)"
