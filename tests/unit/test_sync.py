import os

import pytest

from diptych import MultimodalIndex, read
from diptych.errors import InvalidArgument
from stubs import StubJoint, StubText, png


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "one.md").write_text("# One\n\nThe first page.\n\n![a pump](pump.png)\n")
    (folder / "pump.png").write_bytes(png("red"))
    (folder / "two.txt").write_text("The second page.")
    (folder / "sea.png").write_bytes(png("blue"))
    return folder


@pytest.fixture
def index(tmp_path):
    with MultimodalIndex(StubText(), StubJoint(), path=tmp_path / "index") as index:
        yield index


def sources(index):
    return sorted({document.source for document in index.get()})


def test_folder_and_index_agree_afterwards(folder, index):
    index.add(read(folder))
    (folder / "two.txt").unlink()
    (folder / "one.md").write_text("# One\n\nThe first page, rewritten.\n")
    (folder / "three.txt").write_text("The third page.")
    report = index.sync(read(folder))
    fresh = MultimodalIndex(StubText(), StubJoint())
    fresh.add(read(folder))
    assert {d.id: (d.text, d.metadata) for d in index.get()} == {
        d.id: (d.text, d.metadata) for d in fresh.get()
    }
    assert report.stored.added >= 1
    assert any(i.startswith("two.txt") for i in report.removed)
    assert index.sync(read(folder)).removed == ()
    assert index.sync(read(folder)).stored.updated == 0


def test_dry_run_says_what_would_be_done_and_does_nothing(folder, index):
    index.add(read(folder))
    before = {d.id: d.text for d in index.get()}
    calls = len(index.text_encoder.calls)
    (folder / "two.txt").unlink()
    (folder / "three.txt").write_text("The third page.")
    planned = index.sync(read(folder), dry_run=True)
    assert {d.id: d.text for d in index.get()} == before
    assert len(index.text_encoder.calls) == calls
    done = index.sync(read(folder))
    assert (planned.stored, planned.removed) == (done.stored, done.removed)
    assert str(planned).startswith("Nothing was changed; it would be: 1 removed · 1 added")


def test_unchanged_files_are_not_encoded_again(folder, index):
    index.add(read(folder))
    texts = sum(len(call) for call in index.text_encoder.calls)
    (folder / "three.txt").write_text("The third page.")
    index.sync(read(folder))
    assert sum(len(call) for call in index.text_encoder.calls) == texts + 1


def test_file_that_cannot_be_read_any_more_keeps_its_documents(folder, index):
    index.add(read(folder))
    (folder / "sea.png").write_bytes(b"torn")
    (folder / "two.txt").write_bytes(b"\xff\xfe\x00")
    os.truncate(folder / "pump.png", 20)
    before = sources(index)
    report = index.sync(read(folder))
    assert "sea.png" in {failure.source for failure in report.stored.failed}
    assert report.removed == ()
    assert sources(index) == before


def test_documents_of_other_folders_stay(folder, index, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "far.txt").write_text("From elsewhere.")
    index.add(read(folder))
    index.add(read(other))
    (folder / "two.txt").unlink()
    index.sync(read(folder))
    assert "far.txt" in sources(index)
    assert "two.txt" not in sources(index)


def test_folder_that_is_empty_is_not_believed(folder, index):
    index.add(read(folder))
    count = len(index)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(InvalidArgument, match=r"Nothing was read from .*mounted"):
        index.sync(read(folder))
    assert len(index) == count
    assert len(index.sync(read(folder), allow_empty=True).removed) == count
    assert len(index) == 0


def test_documents_that_were_added_one_by_one_are_taken_over(folder, index):
    index.add(list(read(folder)))
    report = index.sync(read(folder))
    assert report.stored.skipped == len(index)
    (folder / "two.txt").unlink()
    assert len(index.sync(read(folder)).removed) == 1


def test_prefixes_are_kept_apart(folder, index):
    index.add(read(folder, prefix="a"))
    index.add(read(folder, prefix="b"))
    (folder / "two.txt").unlink()
    assert all(i.startswith("a/") for i in index.sync(read(folder, prefix="a")).removed)
    assert any(s.startswith("b/two") for s in sources(index))


def test_interrupted_add_of_a_folder_goes_on_where_it_was(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i:02}.txt").write_text(f"The text of file {i}.")

    class Killed(StubText):
        limit, encoded = 11, 0

        def encode_document(self, texts):
            self.encoded += len(texts)
            if self.encoded > self.limit:
                raise KeyboardInterrupt
            return super().encode_document(texts)

    first = Killed()
    with (
        MultimodalIndex(first, path=tmp_path / "index") as index,
        pytest.raises(KeyboardInterrupt),
    ):
        index.add(read(folder), batch_size=4)
    again = Killed()
    again.limit = 10**6
    with MultimodalIndex(again, path=tmp_path / "index") as index:
        stored = len(index)
        assert stored >= 4
        report = index.add(read(folder), batch_size=4)
        assert (report.added, report.skipped) == (20 - stored, stored)
    assert again.encoded == 20 - stored + 1  # and the probe
