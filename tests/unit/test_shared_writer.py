"""Several objects of one process write to one folder; other processes stay out."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import numpy as np
import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import ClosedError, EncoderMismatch, LockedError, StorageError
from diptych.image import Image
from diptych.maintenance import (
    copy_index,
    drop_namespace,
    export_index,
    import_index,
    reembed,
    verify,
)
from diptych.storage.writer_lock import HELD
from stubs import StubImage, StubJoint, StubText, png


def opened(path, **options):
    return MultimodalIndex(StubText(), StubJoint(), path=path, **options)


def doc(name):
    return Document(f"text of {name}", Image(png((len(name), 1, 2))), id=name)


def is_locked(path):
    """Whether another process would be refused: the lock of the kernel is one of descriptors."""
    lock = filelock.FileLock(path / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def test_another_process_is_refused(tmp_path):
    one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
    one.add([doc("a")])
    two.add([doc("b")])
    one.close()
    script = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from diptych import Document, MultimodalIndex
        from diptych.errors import LockedError
        from stubs import StubJoint, StubText
        index = MultimodalIndex(StubText(), StubJoint(), path={str(tmp_path / "kb")!r}, lock_timeout=0)
        assert index.ids() == ["a", "b"]
        try:
            index.add([Document("other", id="other")])
        except LockedError as error:
            assert "written by another process" in str(error), error
            sys.exit(7)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr[-2000:]


def test_cell_that_is_run_twice_goes_on(tmp_path):
    index = opened(tmp_path / "kb")
    index.add([doc("a")])
    first = index  # as a notebook keeps it
    index = opened(tmp_path / "kb")
    assert index.add([doc("a")]).skipped == 1
    index.add([doc("b")])
    first.add([doc("c")])
    assert first.ids() == index.ids() == ["a", "b", "c"]
    assert first.search("text of b")["text"][0].id == "b"


def test_one_folder_is_known_by_whatever_path(tmp_path, monkeypatch):
    real = tmp_path / "real" / "kb"
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real").mkdir()
    monkeypatch.chdir(tmp_path)
    paths = [real, "real/kb", f"{real}/", Path("real/../real/kb"), tmp_path / "link" / "kb"]
    indexes = [opened(path, lock_timeout=0) for path in paths]
    for number, index in enumerate(indexes):
        index.add([doc(f"d{number}")])
    for index in indexes:
        assert index.ids() == [f"d{number}" for number in range(len(paths))]
        index.close()
    assert verify(real, deep=True).problems == ()


def test_lock_is_given_back_by_the_last_writer_only(tmp_path):
    one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
    one.add([doc("a")])
    two.add([doc("b")])
    one.close()
    one.close()
    with pytest.raises(ClosedError, match="has been closed"):
        one.add([doc("c")])
    assert is_locked(tmp_path / "kb")
    two.add([doc("d")])
    two.close()
    assert not is_locked(tmp_path / "kb")


def test_object_that_is_collected_later_takes_nothing_away(tmp_path):
    index = opened(tmp_path / "kb")
    index.add([doc("a")])
    cycle = [index]
    cycle.append(cycle)  # only the collector finds it
    index = opened(tmp_path / "kb")
    index.add([doc("b")])
    del cycle
    gc.collect()
    index.add([doc("c")])
    assert index.ids() == ["a", "b", "c"]
    assert HELD.is_ours(tmp_path / "kb")
    assert is_locked(tmp_path / "kb")
    del index
    gc.collect()
    assert not HELD.is_ours(tmp_path / "kb")


def test_last_one_seals_the_index(tmp_path):
    one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
    one.add([doc("a")])
    two.add([doc("b")])
    two.close()
    assert not (tmp_path / "kb" / "store.seal").exists()
    one.close()
    assert (tmp_path / "kb" / "store.seal").exists()
    assert verify(tmp_path / "kb", deep=True).problems == ()


def test_threads_of_several_objects_lose_nothing(tmp_path):
    indexes = [opened(tmp_path / "kb", lock_timeout=0) for _ in range(3)]
    start = threading.Barrier(6)

    def work(number):
        index = indexes[number % 3]
        start.wait(100)
        for turn in range(4):
            index.add([doc(f"{number}-{turn}"), doc(f"{number}-{turn}-gone")])
            assert f"{number}-{turn}" in index
            index.delete([f"{number}-{turn}-gone"])
        index.compact()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    expected = {f"{number}-{turn}" for number in range(6) for turn in range(4)}
    for index in indexes:
        assert set(index.ids()) == expected
        found = {hit.id for hit in index.search("text of 3-2", 24)["text"]}
        assert found == expected
        index.close()
    assert verify(tmp_path / "kb", deep=True).problems == ()


def test_threads_of_several_objects_change_the_same_documents(tmp_path):
    indexes = [opened(tmp_path / "kb") for _ in range(2)]

    def work(number):
        for turn in range(4):
            indexes[number % 2].upsert([Document(f"{number} {turn}", id="same")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    (one,), (two,) = (index.get() for index in indexes)
    assert one.text == two.text
    assert one.text.endswith(" 3")
    assert len(indexes[0].text_index) == len(indexes[1].text_index) == 1


def test_namespaces_have_writers_of_their_own(tmp_path):
    a, b, again = (opened(tmp_path / "kb", namespace=name) for name in ("a", "b", "a"))
    a.add([doc("one")])
    b.add([doc("two")])
    again.add([doc("three")])
    assert a.ids() == ["one", "three"]
    assert b.ids() == ["two"]
    a.close()
    with pytest.raises(LockedError, match=r"another object of this process.*Call close\(\)"):
        drop_namespace(tmp_path / "kb", "a", lock_timeout=0)
    again.close()
    assert drop_namespace(tmp_path / "kb", "a")


def test_other_models_are_still_refused(tmp_path):
    one = opened(tmp_path / "kb")
    two = MultimodalIndex(StubText(8, "other", "o"), StubJoint(), path=tmp_path / "kb")
    one.add([doc("a")])
    with pytest.raises(EncoderMismatch, match="'other'"):
        two.add([doc("b")])
    one.add([doc("c")])
    assert one.ids() == ["a", "c"]


def test_kinds_and_pictures_of_each_object_are_its_own(tmp_path):
    one = opened(tmp_path / "kb", kind="hnsw")
    two = opened(tmp_path / "kb", images="reference")
    one.add([doc("a")])
    (tmp_path / "p.png").write_bytes(png("red"))
    two.add([Document(image=Image(tmp_path / "p.png"), id="b")])
    assert one.get(["b"])[0].image.path == tmp_path / "p.png"
    assert one.ids() == two.ids() == ["a", "b"]


class TestUpkeep:
    def test_reembed_is_another_writer(self, tmp_path):
        index = opened(tmp_path / "kb")
        index.add([doc("a"), doc("b")])
        text, image = StubText(24, "new", "n"), StubImage(6, "new-image", "n")
        assert reembed(tmp_path / "kb", text, image).documents == 2
        with pytest.raises(EncoderMismatch, match="reembed"):
            index.search("text of a")
        with pytest.raises(EncoderMismatch, match="'new'"):
            index.add([doc("c")])
        with MultimodalIndex(text, image, path=tmp_path / "kb") as new:
            new.add([doc("c")])
            assert new.ids() == ["a", "b", "c"]
            assert len(new.text_index) == 3

    def test_documents_that_come_while_vectors_are_made_get_theirs(self, tmp_path):
        index = opened(tmp_path / "kb")
        index.add([doc(f"d{i}") for i in range(4)])

        class Meanwhile(StubText):
            def encode_document(self, texts):
                if "late" not in index:
                    index.add([doc("late")])
                return super().encode_document(texts)

        new = Meanwhile(24, "new", "n")
        assert reembed(tmp_path / "kb", new, StubJoint(), batch_size=1).documents == 5
        with MultimodalIndex(new, StubJoint(), path=tmp_path / "kb") as again:
            assert again.ids() == ["d0", "d1", "d2", "d3", "late"]
            assert len(again.text_index) == len(again.image_index) == 5

    def test_compaction_and_import_are_writers_too(self, tmp_path):
        one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
        one.add([doc("a"), doc("b")])
        two.delete(["a"])
        one.compact()
        two.compact()
        export_index(tmp_path / "kb", tmp_path / "file.zip")
        one.clear()
        assert import_index(tmp_path / "file.zip", tmp_path / "kb", lock_timeout=0).added == 1
        assert one.ids() == two.ids() == ["b"]
        memory = MultimodalIndex(StubText(), StubJoint())
        memory.add([doc("m")])
        copy_index(memory, tmp_path / "kb")
        assert one.ids() == two.ids() == ["m"]

    def test_repair_needs_the_folder_for_itself(self, tmp_path):
        index = opened(tmp_path / "kb")
        index.add([doc("a")])
        with pytest.raises(LockedError, match=r"another object of this process.*Call close\(\)"):
            verify(tmp_path / "kb", repair=True, lock_timeout=0)
        index.add([doc("b")])
        index.close()
        assert verify(tmp_path / "kb", repair=True).documents == 2

    def test_change_inside_of_a_snapshot_of_another_object_is_refused(self, tmp_path):
        one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
        one.add([doc("a")])
        other = opened(tmp_path / "other")
        with one.snapshot():
            with pytest.raises(StorageError, match="inside of a snapshot"):
                two.add([doc("b")])
            other.add([doc("c")])
        two.add([doc("b")])
        assert one.ids() == ["a", "b"]


def test_database_that_was_written_over_is_noticed_by_each_writer(tmp_path):
    one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
    one.add([doc("a")])
    two.add([doc("b")])
    before = (tmp_path / "kb" / "store.sqlite3").read_bytes()
    one.add([doc("c")])
    with open(tmp_path / "kb" / "store.sqlite3", "r+b") as file:  # a backup, copied over it
        file.write(before)
        file.truncate()
    one.add([doc("d")])
    two.add([doc("e")])
    one.add([doc("f")])
    assert one.ids() == two.ids() == ["a", "b", "d", "e", "f"]
    one.close()
    two.close()
    assert verify(tmp_path / "kb", deep=True).problems == ()


def test_folder_that_was_removed_and_made_again_is_another_one(tmp_path):
    first = opened(tmp_path / "kb")
    first.add([doc("a")])
    (tmp_path / "kb").rename(tmp_path / "moved")
    index = opened(tmp_path / "kb", lock_timeout=0)
    index.add([doc("b")])
    with pytest.raises(StorageError, match="replaced"):
        first.add([doc("c")])
    assert index.ids() == ["b"]


def test_first_write_that_fails_lets_the_other_object_be_first(tmp_path, monkeypatch):
    one, two = opened(tmp_path / "kb"), opened(tmp_path / "kb")
    from diptych.storage.writer import Writer

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "create", lambda *_: (_ for _ in ()).throw(StorageError("full")))
        with pytest.raises(StorageError, match="full"):
            one.add([doc("a")])
    assert not HELD.is_ours(tmp_path / "kb")
    two.add([doc("b")])
    one.add([doc("a")])
    assert one.ids() == two.ids() == ["b", "a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_is_another_process(tmp_path):
    one, two = opened(tmp_path / "kb", lock_timeout=0), opened(tmp_path / "kb", lock_timeout=0)
    one.add([doc("a")])
    two.add([doc("b")])
    child = os.fork()
    if not child:
        code = 1
        try:
            assert two.ids() == ["a", "b"]
            for index in (one, two, opened(tmp_path / "kb", lock_timeout=0)):
                with pytest.raises(LockedError, match="written by another process"):
                    index.add([doc("c")])
                index.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    one.add([doc("d")])
    two.add([doc("e")])
    assert two.ids() == ["a", "b", "d", "e"]
    assert is_locked(tmp_path / "kb")


def test_vectors_stay_those_of_their_documents(tmp_path):
    """Whoever wrote them, also after segments were merged and written again."""
    indexes = [opened(tmp_path / "kb") for _ in range(2)]
    for number in range(24):
        indexes[number % 2].add([doc(f"d{number}")])
        if number % 3 == 0:
            indexes[(number + 1) % 2].delete([f"d{number}"])
    left = [f"d{number}" for number in range(24) if number % 3]
    for index in indexes:
        assert index.ids() == left
        np.testing.assert_allclose(
            index.text_index.vectors(left),
            StubText().encode_query([f"text of {name}" for name in left]),
            atol=1e-6,
        )
