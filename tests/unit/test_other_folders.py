"""Documents of one folder never replace those of another one, whatever the names are."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from diptych import Document, MultimodalIndex, read
from diptych.errors import InvalidArgument
from diptych.ingest.origin import Origin
from stubs import StubJoint, StubText, png


@pytest.fixture
def index():
    return MultimodalIndex(StubText(), StubJoint())


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def texts(index):
    return {document.id: document.text for document in index.get()}


@pytest.mark.parametrize("store", ["add", "upsert", "sync"])
def test_the_second_folder_of_one_file_name_is_refused_and_the_rest_goes_on(store, index, tmp_path):
    index.upsert(read(write(tmp_path / "A", notes__txt="Text of A.")))
    second = write(tmp_path / "B", notes__txt="Text of B.", other__txt="Another text.")
    report = getattr(index, store)(read(second))
    report = getattr(report, "stored", report)
    assert texts(index) == {"notes.txt#1": "Text of A.", "other.txt#1": "Another text."}
    (failure,) = report.failed
    assert failure.id == "notes.txt#1"
    assert str(tmp_path / "A" / "notes.txt") in failure.reason
    assert "prefix='B'" in failure.reason
    assert report.added == 1


def test_equal_content_of_two_folders_is_not_taken_for_one(index, tmp_path):
    index.upsert(read(write(tmp_path / "A", notes__txt="The same.")))
    assert len(index.upsert(read(write(tmp_path / "B", notes__txt="The same."))).failed) == 1
    shutil.rmtree(tmp_path / "B")
    assert index.get()[0].text == "The same."


def test_records_with_ids_of_their_own_get_the_prefix_too(index, tmp_path):
    record = '{"id": 1, "text": "from %s", "group": "g"}'
    index.upsert(read(write(tmp_path / "A", r__jsonl=record % "A")))
    (refused,) = index.upsert(read(write(tmp_path / "B", s__jsonl=record % "B"))).failed
    assert "r.jsonl" in refused.reason
    index.upsert(read(tmp_path / "B", prefix="B"))
    assert texts(index) == {"1": "from A", "B/1": "from B"}
    assert {document.group for document in index.get()} == {"g", "B/g"}


def test_pictures_and_figures_are_told_apart(index, tmp_path):
    page = "![A pump](p.png)"
    index.upsert(read(write(tmp_path / "A", a__md=page, p__png=png("red"), q__png=png("red"))))
    report = index.upsert(
        read(write(tmp_path / "B", a__md=page, p__png=png("blue"), q__png=png("blue")))
    )
    assert sorted(failure.id for failure in report.failed) == ["a.md#figure-1", "q.png"]
    assert len(index) == 2


def test_the_same_folder_is_the_same_however_it_is_spelt(index, tmp_path, monkeypatch):
    folder = write(tmp_path / "A", notes__txt="Text of A.")
    (tmp_path / "link").symlink_to(folder)
    index.upsert(read(folder))
    monkeypatch.chdir(folder)
    for spelt in (f"{folder}/", ".", "../A", tmp_path / "link", "notes.txt"):
        (folder / "notes.txt").write_text(f"Text by {spelt}.")
        report = index.upsert(read(spelt))
        assert (report.updated, report.failed) == (1, ()), spelt
    assert len(index) == 1


def test_a_file_that_is_read_alone_stays_a_part_of_its_folder(index, tmp_path):
    folder = write(tmp_path / "A", one__txt="One.", two__txt="Two.")
    index.upsert(read(folder))
    (folder / "one.txt").write_text("One again.")
    assert index.upsert(read(folder / "one.txt")).updated == 1
    assert index.sync(read(folder / "one.txt")).removed == ()
    (folder / "one.txt").unlink()
    assert index.sync(read(folder)).removed == ("one.txt#1",)


def test_a_folder_within_is_a_part_of_the_one_around_it(index, tmp_path):
    folder = write(tmp_path / "A", one__txt="One.")
    inner = write(folder / "sub", two__txt="Two.\n\n" * 400)
    index.upsert(read(folder))
    count = len(index)
    (inner / "two.txt").write_text("Short.")
    report = index.upsert(read(inner, prefix="sub"))
    assert (report.updated, report.removed, report.failed) == (1, count - 2, ())
    (inner / "two.txt").unlink()
    assert index.sync(read(folder)).removed == ("sub/two.txt#1",)


def test_a_folder_that_was_moved_is_recognised(index, tmp_path):
    folder = write(tmp_path / "A", one__txt="One.", two__txt="Two.", three__txt="Three.")
    index.upsert(read(folder))
    moved = folder.rename(tmp_path / "B")
    (moved / "two.txt").write_text("Two again.")
    report = index.upsert(read(moved))
    assert (report.updated, report.skipped, report.failed) == (1, 2, ())
    (moved / "one.txt").unlink()
    assert index.sync(read(moved)).removed == ("one.txt#1",)


def test_a_folder_that_is_gone_is_not_replaced_by_another_one(index, tmp_path):
    folder = write(tmp_path / "A", notes__txt="Text of A.")
    index.upsert(read(folder))
    shutil.rmtree(folder)
    report = index.upsert(read(write(tmp_path / "B", notes__txt="Text of B.")))
    assert len(report.failed) == 1
    assert texts(index) == {"notes.txt#1": "Text of A."}


def test_documents_by_hand_are_replaced_as_ever(index, tmp_path):
    index.add([Document(text="By hand.", id="notes.txt#1")])
    folder = write(tmp_path / "A", notes__txt="Text of A.")
    assert index.upsert(read(folder)).updated == 1
    assert index.upsert([Document(text="By hand again.", id="notes.txt#1")]).updated == 1


def test_an_origin_of_an_index_of_before_is_understood(tmp_path):
    folder = write(tmp_path / "A", one__txt="One.", two__txt="Two.\n\n" * 400)
    with MultimodalIndex(StubText(), path=tmp_path / "index") as index:
        index.upsert(read(folder, prefix="p"))
        writer = index._storage
        with writer.reading() as state:
            rows = state.database.rows(state.database.keys().tolist())
        old = {key: replace(row, origin=f"{folder}\np") for key, row in rows.items()}
        writer.write([], [], {}, replaced=[], updated=old)
        assert index.folders() == [Origin(str(folder), "p")]
        assert index.prefixes_for([folder]) == ["p"]
        (folder / "two.txt").write_text("Short.")
        (folder / "one.txt").unlink()
        assert index.upsert(read(folder, prefix="p")).removed == len(rows) - 2
        assert index.sync(read(folder, prefix="p")).removed == ("p/one.txt#1",)


@pytest.mark.parametrize(
    "folder", ["/a\nb", "/a\udcffb", '/a", "b', "/a~", "C:\\x", "/漢字", "/a\\n"]
)
def test_an_origin_comes_back_whatever_the_folder_is_called(folder):
    for origin in (Origin(folder), Origin(folder, "p"), Origin(folder, "p", 'f"\n.md')):
        assert Origin.parse(str(origin)) == origin
        str(origin).encode("ascii")
        first, end = Origin(folder, origin.prefix).bounds
        assert first <= str(origin) < end
        other, other_end = Origin(f"{folder}x", origin.prefix).bounds
        assert not other <= str(origin) < other_end


def test_folders_whose_names_hold_line_breaks_or_no_text_are_told_apart(index, tmp_path):
    strange = tmp_path / "a\nb"
    index.upsert(read(write(strange, n__txt="One.")))
    broken = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(broken)
    with open(broken + "/n.txt", "w") as file:
        file.write("Two.")
    assert len(index.upsert(read(broken)).failed) == 1
    assert index.prefixes_for([broken]) == ["?"]
    assert index.upsert(read(broken, prefix="?")).added == 1
    assert index.sync(read(broken, prefix="?")).stored.skipped == 1


class TestPrefixes:
    def test_the_first_folder_has_none_and_the_others_their_names(self, index, tmp_path):
        a = write(tmp_path / "x" / "docs", notes__txt="A")
        b = write(tmp_path / "y" / "docs", notes__txt="B")
        c = write(tmp_path / "z" / "y" / "docs", notes__txt="C")
        for folder, prefix in ((a, ""), (b, "docs"), (c, "y/docs"), (b, "docs"), (a, "")):
            assert index.prefixes_for([folder]) == [prefix]
            index.upsert(read(folder, prefix=prefix))
        assert set(texts(index)) == {"notes.txt#1", "docs/notes.txt#1", "y/docs/notes.txt#1"}
        assert [place.prefix for place in index.folders()] == ["", "docs", "y/docs"]

    def test_a_name_that_a_folder_within_the_first_has_is_not_taken(self, index, tmp_path):
        write(tmp_path / "A" / "B", notes__txt="A")
        index.upsert(read(tmp_path / "A"))
        other = write(tmp_path / "c" / "B", notes__txt="B")
        assert index.prefixes_for([other]) == ["c/B"]

    def test_files_of_one_folder_share_its_prefix(self, index, tmp_path):
        folder = write(tmp_path / "A", one__txt="One.", two__txt="Two.")
        index.upsert(read(folder / "one.txt"))
        assert index.prefixes_for([folder / "two.txt", folder]) == ["", ""]
        other = write(tmp_path / "B", one__txt="Another one.")
        assert index.prefixes_for([other / "one.txt"]) == ["B"]

    def test_several_at_once(self, index, tmp_path):
        for name in ("one", "two", "sub/one"):
            write(tmp_path / name, note__txt=name)
        paths = [tmp_path / "one", tmp_path / "two", tmp_path / "sub" / "one"]
        assert index.prefixes_for(paths) == ["one", "two", "sub/one"]
        assert index.prefixes_for([tmp_path, *paths]) == ["", "one", "two", "sub/one"]

    def test_a_moved_folder_keeps_its_prefix(self, index, tmp_path):
        write(tmp_path / "A", notes__txt="A")
        index.upsert(read(tmp_path / "A"))
        folder = write(tmp_path / "B", notes__txt="B")
        index.upsert(read(folder, prefix="B"))
        assert index.prefixes_for([folder.rename(tmp_path / "C")]) == ["B"]
        (tmp_path / "C" / "notes.txt").write_text("Another text.")
        assert index.prefixes_for([tmp_path / "C"]) == ["C"]

    def test_documents_without_a_folder_are_not_hit(self, index, tmp_path):
        index.add([Document(text="By hand.", id="notes.txt#1")])
        folder = write(tmp_path / "A", notes__txt="A")
        assert index.prefixes_for([folder]) == ["A"]
        (folder / "notes.txt").write_text("By hand.")
        assert index.prefixes_for([folder]) == [""]

    def test_which_of_several_is_asked(self, index, tmp_path):
        folder = write(tmp_path / "A", notes__txt="A")
        for prefix in ("p", "q"):
            index.upsert(read(folder, prefix=prefix))
        with pytest.raises(InvalidArgument, match="with the prefixes 'p', 'q'"):
            index.prefixes_for([folder])
        with pytest.raises(InvalidArgument, match="does not exist"):
            index.prefixes_for([tmp_path / "nowhere"])

    def test_an_index_in_a_folder_remembers_them(self, tmp_path):
        folder = write(tmp_path / "A", notes__txt="A")
        with MultimodalIndex(StubText(), path=tmp_path / "index") as index:
            assert index.folders() == []
            assert index.prefixes_for([folder]) == [""]
            index.upsert(read(folder))
        with MultimodalIndex(path=tmp_path / "index") as index:
            assert json.loads(str(index.folders()[0]))[0] == str(folder)


def test_a_folder_that_was_added_before_the_one_around_it_becomes_a_part_of_it(index, tmp_path):
    folder = write(tmp_path / "A", one__txt="One.")
    inner = write(folder / "sub", two__txt="Two.", three__md="# Three")
    write(folder / "own", four__txt="Four.")
    write(tmp_path / "elsewhere", five__txt="Five.")
    for path, prefix in ((inner, ""), (folder / "own", "mine"), (tmp_path / "elsewhere", "five")):
        index.upsert(read(path, prefix=prefix))
    (prefix,) = index.prefixes_for([folder])
    report = index.upsert(read(folder, prefix=prefix))
    assert (report.added, report.removed, report.failed) == (4, 2, ())
    kept = {"mine/four.txt#1", "five/five.txt#1"}
    files = ("one.txt#1", "sub/two.txt#1", "sub/three.md#1", "own/four.txt#1")
    assert set(index.ids()) == kept | {f"{prefix}/{name}" for name in files}
    assert index.prefixes_for([inner]) == [f"{prefix}/sub"]
    assert index.sync(read(inner, prefix=f"{prefix}/sub")).stored.skipped == 2


def test_what_cannot_be_stored_under_its_new_id_keeps_the_old_one(index, tmp_path):
    folder = tmp_path / "A"
    inner = write(folder / "sub", two__txt="Two.", three__txt="Three.", gone__txt="Gone.")
    index.upsert(read(inner))
    (inner / "three.txt").write_bytes(b"\0" * 100)
    (inner / "gone.txt").unlink()
    assert index.upsert(read(folder, prefix="A")).removed == 1
    assert sorted(index.ids()) == ["A/sub/two.txt#1", "gone.txt#1", "three.txt#1"]
    assert index.sync(read(folder, prefix="A")).removed == ("gone.txt#1",)


def test_a_vector_that_is_bad_under_the_new_id_leaves_the_old_one(tmp_path):
    class Once(StubText):
        is_bad = False

        def encode_document(self, texts):
            zeros = [[0.0 if self.is_bad and "bad" in text else 1.0] for text in texts]
            return super().encode_document(texts) * np.asarray(zeros, np.float32)

    encoder = Once()
    index = MultimodalIndex(encoder)
    folder = tmp_path / "A"
    inner = write(folder / "sub", two__txt="Two is bad.", three__txt="Three.")
    index.upsert(read(inner))
    encoder.is_bad = True
    report = index.sync(read(folder, prefix="A"))
    assert len(report.stored.failed) == 1
    assert report.removed == ("three.txt#1",)
    assert sorted(index.ids()) == ["A/sub/three.txt#1", "two.txt#1"]


@pytest.mark.parametrize("store", ["upsert", "sync"])
def test_what_another_reading_stored_meanwhile_is_not_removed(store, index, tmp_path):
    folder = write(tmp_path / "A", one__txt="One.\n\n" * 400, two__txt="Two.")
    index.upsert(read(folder))
    (folder / "one.txt").write_text("One.")
    early, late = read(folder), []
    items = early._items

    def grown():  # when this reading has come to its end, the page grows and another one stores it
        yield from items
        (folder / "one.txt").write_text("Longer by far.\n\n" * 400)
        index.upsert(read(folder))
        late.extend(set(index.ids()) - early.ids)

    early._items = grown()
    getattr(index, store)(early)
    assert len(late) > 1
    assert set(late) <= set(index.ids())
