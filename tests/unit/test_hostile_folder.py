"""Whatever stands in place of a file of an index: nothing outside changes, and nothing waits."""

import itertools
import os
import shutil
import signal

import pytest

import hostile
from diptych import maintenance
from diptych.errors import DiptychError
from hostile import make_docs, make_index, open_index, place_of, plant, tree
from stubs import StubJoint, StubText

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")

SECONDS = 60
PLACES = [
    "assets", hostile.ASSET, "PICTURE", "segments", "SEGMENT", "cache", "quarantine", "namespaces",
    "namespaces/inner", "namespaces/inner/store.sqlite3", "namespaces/inner/assets", "store.sqlite3",
    "store.sqlite3-journal", "store.sqlite3-wal", "store.sqlite3-shm", "store.seal", "lock", "assets/zz",
    "segments/stray.safetensors", ".tmp-1", "cache/.tmp-1",
]  # fmt: skip
KINDS = [
    "link to a folder", "link to a file", "link to nothing", "link inside", "pipe", "socket", "folder",
    "giant",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("whole") / "kb")


@pytest.fixture
def limit():
    """End a test that waits for something."""

    def stop(*_):
        raise TimeoutError(f"nothing came back within {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def search(path):
    with open_index(path) as index:
        index.search("pump")
        index.get()
        index.info()


def add(path):
    with open_index(path) as index:
        index.upsert([hostile.Document("another", hostile.Image(hostile.png("red")), id="b1")])
        index.delete(["t1"])
        index.compact()


def of_namespace(path):
    with open_index(path, namespace="inner") as index:
        index.search("pump")
        index.upsert([hostile.Document("another", id="t1")])


COMMANDS = {
    "search": search,
    "verify": lambda path: maintenance.verify(path, deep=True),
    "add": add,
    "repair": lambda path: maintenance.verify(path, repair=True),
    "backup": lambda path: maintenance.backup(path, path.with_name("copy")),
    "export": lambda path: maintenance.export_index(path, path.with_name("export.zip")),
    "namespace": of_namespace,
    "reembed": lambda path: maintenance.reembed(path, StubText(8), StubJoint(8)),
    "drop": lambda path: maintenance.drop_namespace(path, "inner"),
}


def run_all(path):
    """Run every command, and return what was refused."""
    refused = {}
    for name, command in COMMANDS.items():
        try:
            command(path)
        except DiptychError as error:
            refused[name] = str(error)
    return refused


SEALS = ["sealed", "unsealed"]

EVERY_DAY = {
    ("assets", "link to a folder", "unsealed"), (hostile.ASSET, "link to a folder", "unsealed"),
    ("segments", "link to a folder", "sealed"), ("namespaces", "link to a folder", "sealed"),
    ("cache", "link inside", "sealed"), ("quarantine", "link to a folder", "unsealed"),
    ("store.sqlite3", "link to nothing", "sealed"), ("lock", "link to a file", "unsealed"),
    ("store.sqlite3-journal", "link to a file", "unsealed"), ("store.seal", "pipe", "sealed"),
    ("SEGMENT", "pipe", "sealed"), ("PICTURE", "giant", "unsealed"), ("store.sqlite3", "giant", "sealed"),
    ("store.seal", "giant", "sealed"),
}  # fmt: skip
"""What is tried in every run; the rest of the matrix belongs to the long tier."""


@pytest.mark.parametrize(
    ("place", "kind", "seal"),
    [
        pytest.param(*case, marks=[] if case in EVERY_DAY else pytest.mark.long)
        for case in itertools.product(PLACES, KINDS, SEALS)
    ],
)
def test_nothing_outside_changes_and_nothing_waits(whole, tmp_path, limit, place, kind, seal):
    index = shutil.copytree(whole, tmp_path / "kb")
    if seal == "unsealed":
        (index / "store.seal").unlink()
    docs = make_docs(tmp_path)
    plant(place_of(index, place), kind, docs)
    before = tree(docs)
    refused = run_all(index)
    assert tree(docs) == before
    if "link" in kind or kind in ("pipe", "socket"):
        part = "namespace" if place.startswith("namespaces") else "add"
        assert refused, (place, kind)
        assert part in refused or place in ("store.seal", "namespaces/inner"), refused
