"""An open index whose folder is removed, renamed or replaced says so, and answers and writes nothing."""

import os
import shutil

import pytest

from diptych import Document, MultimodalIndex, MultimodalRetriever
from diptych.errors import CorruptionError, StorageError
from diptych.image import Image
from diptych.maintenance import backup, verify
from diptych.storage import anchor
from stubs import StubJoint, StubText, png


def open_index(path):
    return MultimodalIndex(StubText(), StubJoint(), path=path)


def fill(path, name, count=3):
    with open_index(path) as index:
        index.add([Document(f"{name} {i}", id=f"{name}{i}") for i in range(count)])
        index.add([Document(name, Image(png("red")), id=f"{name} picture")])
    return path


@pytest.fixture
def path(tmp_path):
    return fill(tmp_path / "index", "old")


@pytest.fixture
def other(tmp_path):
    """Another index, of as many commits, documents and bytes."""
    return fill(tmp_path / "other", "new")


def remove(path, other):
    shutil.rmtree(path)


def rename(path, other):
    path.rename(path.with_name("elsewhere"))


def replace(path, other):
    shutil.rmtree(path)
    shutil.copytree(other, path)


def exchange(path, other):
    path.rename(path.with_name("elsewhere"))
    other.rename(path)


def write_over(path, other):
    shutil.copytree(other, path, dirs_exist_ok=True)


def database_alone(path, other):
    os.replace(other / "store.sqlite3", path / "store.sqlite3")


def empty(path, other):
    shutil.rmtree(path)
    path.mkdir()


ACTS = [remove, rename, replace, exchange, write_over, database_alone, empty]
CALLS = {
    "search": lambda index: index.search("old 1"),
    "retrieve": lambda index: MultimodalRetriever.from_index(index).retrieve("old 1", 2),
    "get": lambda index: index.get(["old1"]),
    "len": len,
    "info": lambda index: index.info(),
    "ids": lambda index: index.ids(),
    "text_index": lambda index: index.text_index.search(StubText().encode_query(["old 1"]), 1),
    "add": lambda index: index.add([Document("more", id="more")]),
    "upsert": lambda index: index.upsert([Document("more", id="old1")]),
    "delete": lambda index: index.delete(["old1"]),
    "compact": lambda index: index.compact(),
}


def content(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in ("lock", "store.seal")
    }


@pytest.mark.parametrize("role", ["fresh", "reader", "writer"])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_every_call_notices_that_the_folder_is_another(path, other, act, role):
    index = open_index(path)
    if role != "fresh":
        assert index.search("old 1", modalities=["text"])["text"]
    if role == "writer":
        index.add([Document("own", id="own")])
    act(path, other)
    before = content(path.parent)
    for call in CALLS.values():
        with pytest.raises(StorageError, match=r"since it was opened.*close this index") as caught:
            call(index)
        assert not isinstance(caught.value, CorruptionError)
        assert "--repair" not in str(caught.value)
    index.close()
    index.close()
    assert content(path.parent) == before
    if act in (replace, exchange):
        assert verify(path, deep=True).problems == ()
        with open_index(path) as again:
            assert again.ids() == ["new0", "new1", "new2", "new picture"]
            again.add([Document("own", id="own")])


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_backup_that_is_restored_over_an_open_index_is_noticed(path, tmp_path, role):
    backup(path, tmp_path / "copy")
    index = open_index(path)
    assert len(index) == 4
    if role == "writer":
        index.add([Document("own", id="own")])
    shutil.rmtree(path)
    (tmp_path / "copy").rename(path)
    for call in CALLS.values():
        with pytest.raises(StorageError, match="has been replaced since it was opened"):
            call(index)
    index.close()
    with open_index(path) as again:
        assert len(again) == 4
    assert verify(path, deep=True).problems == ()


def test_older_state_written_over_an_open_index_is_what_is_read_then(path, tmp_path):
    backup(path, tmp_path / "copy")
    with open_index(path) as writer:
        writer.add([Document("more", id="more")])
    with open_index(path) as reader:
        assert len(reader) == 5
        shutil.copytree(tmp_path / "copy", path, dirs_exist_ok=True)
        assert len(reader) == 4
        assert reader.search("old 1", modalities=["text"])["text"][0].id == "old1"


def test_folder_that_comes_back_is_the_same_index(path):
    with open_index(path) as index:
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(StorageError, match="has been removed or renamed"):
            index.search("old")
        path.with_name("elsewhere").rename(path)
        assert len(index) == 4
        index.add([Document("more", id="more")])
        assert len(index) == 5
    assert verify(path, deep=True).problems == ()


def test_link_to_an_index_that_is_turned_is_noticed(path, other, tmp_path):
    current = tmp_path / "current"
    current.symlink_to(path, target_is_directory=True)
    with open_index(current) as index:
        assert len(index) == 4
        current.unlink()
        current.symlink_to(other, target_is_directory=True)
        with pytest.raises(StorageError, match="has been replaced"):
            index.search("old")


def test_commits_of_others_are_no_replacement(path):
    with open_index(path) as reader, open_index(path) as writer:
        for i in range(5):
            writer.add([Document(f"more {i}", id=f"more{i}")])
            assert len(reader) == 5 + i
        writer.delete(["old1"])
        writer.compact()
        assert len(reader) == 8


def test_query_looks_at_the_folder_once(path, monkeypatch):
    with open_index(path) as index:
        assert len(index) == 4
        looks, look = [], anchor.Anchor._look
        monkeypatch.setattr(anchor.Anchor, "_look", lambda self: looks.append(1) or look(self))
        MultimodalRetriever.from_index(index).retrieve("old 1", 2)
    assert len(looks) <= 3  # one for each snapshot, and closing


def test_index_in_which_nothing_was_stored_begins_anew_in_a_folder_that_was_removed(tmp_path):
    (tmp_path / "new").mkdir()
    with open_index(tmp_path / "new") as index:
        assert index.ids() == []
        shutil.rmtree(tmp_path / "new")
        assert index.ids() == []
        index.add([Document("one", id="1")])
    with open_index(tmp_path / "new") as again:
        assert again.ids() == ["1"]
