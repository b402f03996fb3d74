"""Opening, searching, looking, checking and copying leave the folder of an index as it is."""

import os
import shutil
import sqlite3
import stat

import pytest

from diptych import Document, maintenance
from diptych.errors import DiptychError
from hostile import ASSET, make_index, open_index, tree

STRAYS = [
    ".tmp-1", "segments/.tmp-2", "segments/0123456789abcdef0123456789abcdef.safetensors", "cache/.tmp-3",
    f"{ASSET}/.tmp-4", f"{ASSET}/{'0' * 64}.png", "assets/zz/notes.txt", "quarantine/old", "notes.txt",
    "namespaces/inner/.tmp-5",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("whole") / "kb")


@pytest.fixture(params=["sealed", "unsealed"])
def path(whole, tmp_path, request):
    index = shutil.copytree(whole, tmp_path / "kb")
    if request.param == "unsealed":
        (index / "store.seal").unlink()
    (index / "lock").unlink()
    for place in STRAYS:
        (index / place).parent.mkdir(parents=True, exist_ok=True)
        (index / place).write_bytes(b"stray")
    return index


def read_all(path):
    for namespace in (None, "inner"):
        with open_index(path, namespace=namespace) as index:
            assert index.search("pump")["lexical"]
            assert len(index.get()) == 2
            for document in index.get():
                assert document.image is None or document.image.read()
            index.info()
    maintenance.verify(path)
    maintenance.verify(path, deep=True)
    maintenance.namespaces(path)
    maintenance.backup(path, path.with_name("copy"))
    maintenance.export_index(path, path.with_name("export.zip"))


def test_nothing_changes_for_readers(path):
    before = tree(path)
    read_all(path)
    assert tree(path) == before


def test_folder_that_may_not_be_written_is_read(path):
    folders = [path, *(p for p in path.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        read_all(path)
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)


def test_the_next_writer_tidies_up_after_one_that_was_killed(path):
    was_sealed = (path / "store.seal").exists()
    with open_index(path) as index:
        index.add([Document("another", id="c")])
    left = {place for place in STRAYS if (path / place).exists()}
    kept = {"quarantine/old", "notes.txt", "namespaces/inner/.tmp-5"}
    pictures = {place for place in STRAYS if place.startswith("assets/")}
    # Of a writer that closed well, only what a killed backup or cache may leave is looked for.
    assert left == (kept | pictures if was_sealed else kept)
    assert (path / "store.seal").exists()


def test_reader_beside_a_writer_takes_no_lock(path):
    with open_index(path) as writer:
        writer.add([Document("another", id="c")])
        before = os.stat(path / "lock")
        with open_index(path) as reader:
            assert len(reader) == 3
        assert os.stat(path / "lock").st_mtime_ns == before.st_mtime_ns
        writer.delete(["c"])


def test_damage_of_an_unsealed_index_is_found_by_a_reader(path):
    (path / "store.seal").unlink(missing_ok=True)
    connection = sqlite3.connect(path / "store.sqlite3")
    connection.execute("UPDATE documents SET text = 'other' WHERE id = 't1'")
    connection.commit()
    connection.close()
    before = tree(path)
    with pytest.raises(DiptychError, match="--repair"):
        open_index(path)
    assert tree(path) == before
