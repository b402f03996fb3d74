import json
import sqlite3

import numpy as np
import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import ClosedError, CorruptionError, FormatError, StorageError
from diptych.image import Image
from diptych.storage import Conflict, LocalStorage, Row, Space
from diptych.storage.faiss_index import VectorIndex
from diptych.storage.locks import ReadWriteLock
from diptych.storage.pictures import Pictures
from diptych.storage.schema import journal_mode
from pace import PATIENCE, join, wait_until
from stubs import StubImage, StubText, png

DIM = 8
SPACES = {"text": Space(DIM, "t", "f1"), "image": Space(DIM, "i", "f2")}


def row(name, text="words", group=None, order=0, **metadata):
    return Row(
        name, text, None, None, None, json.dumps(metadata), group, order, f"content of {name}"
    )


def unit(rng, n):
    vectors = rng.standard_normal((n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def new_store(path, spaces=SPACES):
    storage = LocalStorage(path)
    storage.create(spaces, {})
    return storage


def write(storage, names, vectors, text_at=None, replaced=()):
    at = np.arange(len(names)) if text_at is None else np.asarray(text_at)
    storage.write([row(n) for n in names], [None] * len(names), {"text": (at, vectors)}, replaced)


def keys_by_id(storage):
    with storage.reading() as state:
        return {
            stub.id: key
            for key, stub in state.database.stubs(state.database.keys().tolist()).items()
        }


def brute_force(matrix, keys, query, k):
    scores = matrix @ query
    order = np.argsort(-scores, kind="stable")[:k]
    return keys[order], scores[order]


@pytest.fixture(params=["memory", "folder"])
def path_or_memory(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "index"


class TestVectorIndex:
    def filled(self, rng, n=500):
        index = VectorIndex(DIM)
        keys = np.arange(10, 10 + 2 * n, 2)
        vectors = unit(rng, n)
        index.add(keys[: n // 2], vectors[: n // 2])
        index.add(keys[n // 2 :], vectors[n // 2 :])
        return index, keys, vectors

    def test_search_equals_brute_force(self, rng):
        index, keys, vectors = self.filled(rng)
        query = unit(rng, 1)
        scores, found = index.search(query, 7)
        expected_keys, expected_scores = brute_force(vectors, keys, query[0], 7)
        np.testing.assert_array_equal(found[0], expected_keys)
        np.testing.assert_allclose(scores[0], expected_scores, rtol=1e-5)

    @pytest.mark.parametrize("share", [0.004, 0.01, 0.1, 0.6])
    def test_filtered_search_after_deletes_equals_brute_force(self, rng, share):
        index, keys, vectors = self.filled(rng)
        deleted = rng.choice(keys, 60, replace=False)
        index.remove(deleted)
        allowed = np.sort(rng.choice(keys, int(share * len(keys)), replace=False))
        query = unit(rng, 1)
        kept = np.isin(keys, allowed) & ~np.isin(keys, deleted)
        expected, _ = brute_force(vectors[kept], keys[kept], query[0], 10)
        _, found = index.search(query, 10, allowed)
        np.testing.assert_array_equal(found[0], expected)

    def test_every_match_comes_back_when_k_is_larger(self, rng):
        index, keys, _ = self.filled(rng)
        _, found = index.search(unit(rng, 1), 1000, keys[[3, 9]])
        assert sorted(found[0].tolist()) == keys[[3, 9]].tolist()

    def test_packing_after_many_deletes_keeps_answers(self, rng):
        index, keys, vectors = self.filled(rng)
        index.remove(keys[:300])
        assert len(index) == 200
        query = unit(rng, 1)
        expected, _ = brute_force(vectors[300:], keys[300:], query[0], 5)
        np.testing.assert_array_equal(index.search(query, 5)[1][0], expected)
        np.testing.assert_array_equal(index.vectors(keys[[300, 0]])[0], vectors[300])
        assert np.isnan(index.vectors(keys[[0]])).all()

    def test_removing_unknown_keys_changes_nothing(self, rng):
        index, _, _ = self.filled(rng)
        index.remove(np.asarray([1, 3, 5]))
        assert len(index) == 500

    def test_empty_index_and_empty_filter_find_nothing(self, rng):
        index = VectorIndex(DIM)
        assert index.search(unit(rng, 2), 5)[1].shape == (2, 0)
        index, _, _ = self.filled(rng)
        assert index.search(unit(rng, 1), 5, np.empty(0, np.int64))[1].shape == (1, 0)

    def test_sample_scores_are_those_of_evenly_spread_rows(self, rng):
        index = VectorIndex(DIM)
        vectors = unit(rng, 5000)
        index.add(np.arange(1, 5001), vectors)
        query = unit(rng, 1)
        rows = np.linspace(0, 4999, 1024).astype(int)
        np.testing.assert_allclose(
            index.sample_scores(query), vectors[rows] @ query[0], rtol=1e-5, atol=1e-6
        )

    def test_thread_setting_of_the_caller_is_left_as_it_was(self, rng):
        import faiss

        index, _, _ = self.filled(rng)
        before = faiss.omp_get_max_threads()
        index.search(unit(rng, 1), 3)
        assert faiss.omp_get_max_threads() == before


class TestLocalStorage:
    @pytest.fixture(params=["memory", "folder"])
    def path(self, request, tmp_path):
        return None if request.param == "memory" else tmp_path / "index"

    def test_deleted_document_leaves_every_list(self, path, rng):
        storage = new_store(path)
        vectors = unit(rng, 3)
        write(storage, ["a", "b", "c"], vectors)
        keys = keys_by_id(storage)
        storage.delete(np.asarray([keys["b"]]))
        with storage.reading() as state:
            assert state.indexes["text"].search(vectors[1:2], 3)[1][0].tolist() != [keys["b"]]
            assert keys["b"] not in state.indexes["text"].search(vectors[1:2], 3)[1][0]
            assert keys["b"] not in state.database.match('"words"', 10)[0]
            assert state.database.rows([keys["b"]]) == {}

    def test_key_of_a_deleted_document_is_never_given_again(self, path, rng):
        storage = new_store(path)
        write(storage, ["a"], unit(rng, 1))
        first = keys_by_id(storage)["a"]
        storage.delete(np.asarray([first]))
        write(storage, ["a"], unit(rng, 1))
        assert keys_by_id(storage)["a"] > first

    def test_replacing_is_one_commit(self, path, rng):
        storage = new_store(path)
        vectors = unit(rng, 2)
        write(storage, ["a"], vectors[:1])
        old = keys_by_id(storage)["a"]
        write(storage, ["a"], vectors[1:], replaced=[old])
        keys = keys_by_id(storage)
        with storage.reading() as state:
            np.testing.assert_array_equal(
                state.indexes["text"].vectors(np.asarray([keys["a"]])), vectors[1:]
            )
            assert len(state.indexes["text"]) == 1

    def test_reopened_store_gives_bit_equal_scores(self, tmp_path, rng):
        storage = new_store(tmp_path / "index")
        vectors = unit(rng, 50)
        write(storage, [f"d{i}" for i in range(50)], vectors)
        keys = keys_by_id(storage)
        storage.delete(np.asarray([keys["d7"]]))
        query = unit(rng, 1)
        with storage.reading() as state:
            before = state.indexes["text"].search(query, 20)
        storage.close()
        again = LocalStorage(tmp_path / "index")
        with again.reading() as state:
            after = state.indexes["text"].search(query, 20)
        np.testing.assert_array_equal(before[0], after[0])
        np.testing.assert_array_equal(before[1], after[1])
        assert again.spaces == SPACES

    def test_many_small_commits_end_in_few_segments(self, tmp_path, rng):
        storage = new_store(tmp_path / "index")
        vectors = unit(rng, 150)
        for i in range(150):
            write(storage, [f"d{i}"], vectors[i : i + 1])
        assert len(list((tmp_path / "index" / "segments").iterdir())) < 70
        storage.close()
        again = LocalStorage(tmp_path / "index")
        keys = keys_by_id(again)
        with again.reading() as state:
            stored = state.indexes["text"].vectors(np.asarray([keys[f"d{i}"] for i in range(150)]))
        np.testing.assert_array_equal(stored, vectors)

    def test_compact_keeps_what_counts_and_frees_the_rest(self, tmp_path, rng):
        storage = new_store(tmp_path / "index")
        vectors = unit(rng, 400)
        for start in range(0, 400, 100):
            write(
                storage, [f"d{i}" for i in range(start, start + 100)], vectors[start : start + 100]
            )
        keys = keys_by_id(storage)
        storage.delete(np.asarray([keys[f"d{i}"] for i in range(300)]))
        before = storage.bytes_on_disk()
        storage.compact()
        assert storage.bytes_on_disk() < before
        (segment,) = (tmp_path / "index" / "segments").iterdir()
        assert segment.stat().st_size < 100 * (4 * DIM + 8) + 500
        storage.close()
        again = LocalStorage(tmp_path / "index")
        keys = keys_by_id(again)
        assert sorted(keys) == sorted(f"d{i}" for i in range(300, 400))
        with again.reading() as state:
            np.testing.assert_array_equal(
                state.indexes["text"].vectors(np.asarray([keys["d350"]]))[0], vectors[350]
            )

    def test_second_store_of_the_process_writes_in_turn(self, tmp_path, rng):
        one = new_store(tmp_path / "index")
        write(one, ["a"], unit(rng, 1))
        two = LocalStorage(tmp_path / "index")
        write(two, ["b"], unit(rng, 1))
        assert set(keys_by_id(one)) == set(keys_by_id(two)) == {"a", "b"}
        one.close()
        write(two, ["c"], unit(rng, 1))
        assert set(keys_by_id(two)) == {"a", "b", "c"}

    def test_reader_sees_what_another_object_commits(self, tmp_path, rng):
        writer = new_store(tmp_path / "index")
        vectors = unit(rng, 3)
        write(writer, ["a"], vectors[:1])
        reader = LocalStorage(tmp_path / "index")
        write(writer, ["b"], vectors[1:2])
        keys = keys_by_id(reader)
        writer.delete(np.asarray([keys["a"]]))
        with reader.reading() as state:
            assert state.indexes["text"].search(vectors[:1], 5)[1][0].tolist() == [keys["b"]]
        writer.compact()
        write(writer, ["c"], vectors[2:])
        assert set(keys_by_id(reader)) == {"b", "c"}
        with reader.reading() as state:
            assert len(state.indexes["text"]) == 2

    def test_damaged_segment_is_named(self, tmp_path, rng):
        storage = new_store(tmp_path / "index")
        write(storage, ["a"], unit(rng, 1))
        storage.close()
        (segment,) = (tmp_path / "index" / "segments").iterdir()
        data = bytearray(segment.read_bytes())
        data[-1] ^= 1
        segment.write_bytes(data)
        with pytest.raises(CorruptionError, match=segment.name):
            LocalStorage(tmp_path / "index")
        segment.unlink()
        with pytest.raises(StorageError, match=segment.name):
            LocalStorage(tmp_path / "index")

    def test_stray_files_are_swept_and_never_read(self, tmp_path, rng):
        storage = new_store(tmp_path / "index")
        write(storage, ["a"], unit(rng, 1))
        storage.close()
        stray = tmp_path / "index" / "segments" / ".tmp-0123"
        stray.write_bytes(b"half a segment")
        again = LocalStorage(tmp_path / "index")
        assert set(keys_by_id(again)) == {"a"}
        write(again, ["b"], unit(rng, 1))
        assert not stray.exists()

    def test_other_folders_are_refused(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(FormatError, match="holds no diptych index"):
            LocalStorage(tmp_path)

    def test_other_databases_are_refused(self, tmp_path):
        connection = sqlite3.connect(tmp_path / "store.sqlite3")
        connection.execute("CREATE TABLE t (x)")
        connection.close()
        with pytest.raises(FormatError, match="no diptych index"):
            LocalStorage(tmp_path)

    def test_newer_format_is_refused_politely(self, tmp_path):
        new_store(tmp_path / "index").close()
        connection = sqlite3.connect(tmp_path / "index" / "store.sqlite3")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        (tmp_path / "index" / "store.seal").unlink()
        with pytest.raises(FormatError, match="format 99.*newer diptych"):
            LocalStorage(tmp_path / "index")

    def test_first_write_cut_off_leaves_an_empty_index(self, tmp_path, rng):
        folder = tmp_path / "index"
        folder.mkdir()
        (folder / "lock").touch()
        (folder / "store.sqlite3").touch()
        storage = LocalStorage(folder)
        storage.create(SPACES, {})
        write(storage, ["a"], unit(rng, 1))
        assert set(keys_by_id(storage)) == {"a"}

    def test_closed_store_says_so(self, path, rng):
        storage = new_store(path)
        storage.close()
        storage.close()
        with pytest.raises(ClosedError, match="has been closed"), storage.reading():
            pass
        with pytest.raises(ClosedError, match="has been closed"):
            write(storage, ["a"], unit(rng, 1))

    def test_failed_commit_leaves_nothing(self, path, rng):
        storage = new_store(path)
        write(storage, ["a"], unit(rng, 1))
        with pytest.raises(StorageError, match="UNIQUE"):
            write(storage, ["b", "b"], unit(rng, 2))
        assert set(keys_by_id(storage)) == {"a"}
        with storage.reading() as state:
            assert len(state.indexes["text"]) == 1
        write(storage, ["c"], unit(rng, 1))
        assert set(keys_by_id(storage)) == {"a", "c"}


def test_bm25_of_candidates_equals_bm25_of_the_list(rng):
    storage = new_store(None)
    texts = ["red pump", "red red wall", "blue pump pump", "nothing here"]
    storage.write(
        [row(f"d{i}", text) for i, text in enumerate(texts)],
        [None] * 4,
        {"text": (np.arange(4), unit(rng, 4))},
    )
    with storage.reading() as state:
        keys, scores = state.database.match('"red" OR "pump"', 10)
        among, again = state.database.match_among('"red" OR "pump"', state.database.keys())
    assert len(keys) == 3
    assert all(score > 0 for score in scores)
    assert dict(zip(keys.tolist(), scores.tolist(), strict=True)) == dict(
        zip(among.tolist(), again.tolist(), strict=True)
    )


def test_moments_of_bm25_are_those_of_all_documents_with_words(rng):
    storage = new_store(None)
    texts = ["red pump", "red red wall", "blue pump pump", "nothing here", None]
    storage.write(
        [row(f"d{i}", text) for i, text in enumerate(texts)],
        [None] * 5,
        {"text": (np.arange(4), unit(rng, 4))},
    )
    with storage.reading() as state:
        _, scores = state.database.match('"red"', 10)
        count, matching, mean, std = state.database.match_moments('"red"')
    values = np.concatenate([scores, [0, 0]])
    assert (count, matching) == (4, 2)
    assert mean == pytest.approx(values.mean(), rel=1e-5)
    assert std == pytest.approx(values.std(), rel=1e-4)


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 50, 6), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_journal_mode_avoids_versions_that_lose_commits(version, mode):
    assert journal_mode(version) == mode


def test_store_uses_the_journal_mode_of_the_linked_engine(tmp_path):
    new_store(tmp_path / "index").close()
    connection = sqlite3.connect(tmp_path / "index" / "store.sqlite3")
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0].upper()
    connection.close()
    # TRUNCATE is no property of the file: a new connection reports the default.
    assert (mode == "WAL") == (journal_mode(sqlite3.sqlite_version_info) == "WAL")


def test_waiting_writer_goes_before_later_readers():
    import threading

    lock, order = ReadWriteLock(), []
    reading, release = threading.Event(), threading.Event()

    def first_reader():
        with lock.reading():
            reading.set()
            release.wait(PATIENCE)

    def writer():
        with lock.writing():
            order.append("writer")

    def late_reader():
        with lock.reading():
            order.append("reader")

    threads = [threading.Thread(target=first_reader)]
    threads[0].start()
    wait_until(reading.is_set, threads[0])
    threads.append(threading.Thread(target=writer))
    threads[1].start()
    wait_until(lambda: lock._waiting_writers, *threads)
    threads.append(threading.Thread(target=late_reader))
    threads[2].start()
    release.set()
    join(*threads)
    assert order == ["writer", "reader"]


def test_writer_waits_for_another_as_long_as_it_is_told(tmp_path, rng):
    import threading

    one = new_store(tmp_path / "index")
    two = LocalStorage(tmp_path / "index", lock_timeout=PATIENCE)
    timer = threading.Timer(0.2, one.close)
    timer.start()
    write(two, ["b"], unit(rng, 1))
    join(timer)
    assert set(keys_by_id(two)) == {"b"}


def test_closed_index_is_sealed_and_an_open_one_is_not(tmp_path, rng):
    storage = new_store(tmp_path / "index")
    write(storage, ["a"], unit(rng, 1))
    seal = tmp_path / "index" / "store.seal"
    assert not seal.exists()
    storage.close()
    assert seal.exists()
    reader = LocalStorage(tmp_path / "index")
    assert set(keys_by_id(reader)) == {"a"}
    assert seal.exists()
    write(reader, ["b"], unit(rng, 1))
    assert not seal.exists()


def test_folder_that_cannot_be_written_is_still_read(tmp_path, rng, monkeypatch):
    storage = new_store(tmp_path / "index")
    write(storage, ["a"], unit(rng, 1))
    storage.close()
    monkeypatch.setattr("os.access", lambda *_: False)
    again = LocalStorage(tmp_path / "index")
    assert set(keys_by_id(again)) == {"a"}


def test_foreign_triggers_are_refused(tmp_path, rng):
    storage = new_store(tmp_path / "index")
    write(storage, ["a"], unit(rng, 1))
    storage.close()
    (tmp_path / "index" / "store.seal").unlink()
    connection = sqlite3.connect(tmp_path / "index" / "store.sqlite3")
    connection.execute("CREATE TRIGGER evil AFTER INSERT ON documents BEGIN SELECT 1; END")
    connection.commit()
    connection.close()
    with pytest.raises(FormatError, match="holds the trigger 'evil'"):
        LocalStorage(tmp_path / "index")


def test_change_prepared_on_an_old_state_is_a_conflict(path_or_memory, rng):
    storage = new_store(path_or_memory)
    write(storage, ["a"], unit(rng, 1))
    with pytest.raises(Conflict):
        write(storage, ["a"], unit(rng, 1))
    with pytest.raises(Conflict):
        write(storage, ["a"], unit(rng, 1), replaced=[99])
    assert set(keys_by_id(storage)) == {"a"}


def test_removed_picture_stays_for_those_who_found_it_and_goes_later(tmp_path, monkeypatch):
    from diptych import Document, MultimodalIndex
    from stubs import StubImage, png

    index = MultimodalIndex(image_encoder=StubImage(), path=tmp_path / "index")
    index.add([Document(image=png("red"), id="red"), Document(image=png("blue"), id="blue")])
    (found,) = index.get(["red"])
    index.delete(["red"])
    assert found.image.read() == png("red")
    monkeypatch.setattr("diptych.storage.writer.GARBAGE_SECONDS", 0.0)
    index.add([Document(image=png("green"), id="green")])
    assert len(list((tmp_path / "index" / "assets").glob("*/*"))) == 2


def test_picture_that_comes_back_is_no_garbage(tmp_path, monkeypatch):
    from diptych import Document, MultimodalIndex
    from stubs import StubImage, png

    index = MultimodalIndex(image_encoder=StubImage(), path=tmp_path / "index")
    for _ in range(3):
        index.add([Document(image=png("red"), id="red")])
        index.delete(["red"])
    index.add([Document(image=png("red"), id="again")])
    monkeypatch.setattr("diptych.storage.writer.GARBAGE_SECONDS", 0.0)
    index.add([Document(image=png("green"), id="green")])
    assert index.get(["again"])[0].image.read() == png("red")


def test_churn_does_not_grow_the_folder(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("diptych.storage.writer.GARBAGE_SECONDS", 0.0)
    storage = new_store(tmp_path / "index")
    sizes = []
    for _ in range(30):
        write(storage, [f"d{i}" for i in range(400)], unit(rng, 400))
        sizes.append(storage.bytes_on_disk())
        storage.delete(np.asarray(sorted(keys_by_id(storage).values())))
    assert max(sizes) < 3 * sizes[0]
    write(storage, [f"d{i}" for i in range(400)], unit(rng, 400))
    storage.compact()
    assert storage.bytes_on_disk() < 1.2 * sizes[0]


def test_threads_that_replace_one_document_leave_one(tmp_path):
    import threading

    from diptych import Document, MultimodalIndex
    from stubs import StubText

    index = MultimodalIndex(StubText(), path=tmp_path / "index")
    failures = []

    def work(thread):
        try:
            for i in range(15):
                index.upsert([Document(f"text {thread} {i}", id="same")])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert failures == []
    (document,) = index.get()
    assert len(index.text_index) == 1
    np.testing.assert_allclose(
        index.text_index.vectors(["same"]), StubText().encode_query([document.text]), atol=1e-6
    )


def test_thread_inside_a_snapshot_stays_in_it_and_cannot_wait_for_itself(path_or_memory, rng):
    import threading

    storage = new_store(path_or_memory)
    write(storage, ["a"], unit(rng, 1))
    with storage.reading() as outer:
        other = threading.Thread(target=write, args=(storage, ["b"], unit(rng, 1)))
        other.start()
        wait_until(lambda: storage._lock._waiting_writers, other)
        with storage.reading() as inner:  # would wait for the writer, which waits for us
            assert inner is outer
            assert inner.database.counts()["documents"] == 1
        with pytest.raises(StorageError, match="inside of a snapshot"):
            write(storage, ["c"], unit(rng, 1))
    join(other)
    assert set(keys_by_id(storage)) == {"a", "b"}


def test_program_ends_although_a_thread_is_inside_a_snapshot(tmp_path):
    import subprocess
    import sys
    import textwrap

    script = f"""
        import threading, time
        from diptych import Document, MultimodalIndex, ToyEncoder
        index = MultimodalIndex(ToyEncoder(), path={str(tmp_path / "index")!r})
        index.add([Document(text="red", id="a")])
        inside = threading.Event()
        def sit():
            with index.snapshot():
                inside.set()
                time.sleep(1000)
        threading.Thread(target=sit, daemon=True).start()
        assert inside.wait(100)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=300, check=True)
    assert set(keys_by_id(LocalStorage(tmp_path / "index"))) == {"a"}


def test_index_that_is_forgotten_is_closed(tmp_path):
    import gc

    from diptych import Document, MultimodalIndex
    from stubs import StubText

    index = MultimodalIndex(StubText(), path=tmp_path / "index")
    index.add([Document("a text", id="a")])
    del index
    gc.collect()
    assert (tmp_path / "index" / "store.seal").exists()


def test_a_picture_of_many_documents_is_kept_once(tmp_path, monkeypatch):
    kept = []
    keep = Pictures.keep
    monkeypatch.setattr(
        Pictures, "keep", lambda self, image: kept.append(image) or keep(self, image)
    )
    with MultimodalIndex(StubText(), StubImage(), path=tmp_path / "index") as index:
        index.add([Document(image=Image(png("red")), id=str(n)) for n in range(20)])
        assert len(kept) == 1
        assert {d.image.read() for d in index.get()} == {png("red")}
