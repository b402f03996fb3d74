"""Nodes are made without pydantic's checks and are the same, and a picture's file is read once."""

import copy
import os
import pickle

import pytest
from llama_index.core.schema import ImageNode, NodeRelationship, RelatedNodeInfo, TextNode
from manual import BLUE, RED

from diptych import Document, FusedDocument, Image, MultimodalIndex, MultimodalRetriever, ToyEncoder
from diptych.llama_index import DiptychNode, DiptychVectorStore, readable
from diptych.llama_index.convert import RetrievedNode
from diptych.llama_index.made import made
from diptych.llama_index.node import LostPictureNode
from diptych.llama_index.readable import is_readable

TOY = ToyEncoder()
FIELDS = {
    "id_": "n", "text": "words", "metadata": {"a": [1]}, "excluded_llm_metadata_keys": ["a"],
    "relationships": {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")},
}  # fmt: skip


@pytest.mark.parametrize("kind", [TextNode, DiptychNode, LostPictureNode])
@pytest.mark.parametrize("fields", [{"id_": "n"}, FIELDS])
def test_it_is_what_the_constructor_makes(kind, fields):
    private = {"_pictures": ()} if kind is not TextNode else None
    ours, theirs = made(kind, copy.deepcopy(fields), private), kind(**copy.deepcopy(fields))
    assert ours == theirs
    assert ours.to_dict() == theirs.to_dict()
    assert ours.model_dump(exclude_unset=True) == theirs.model_dump(exclude_unset=True)
    assert ours.model_fields_set == theirs.model_fields_set
    assert set(vars(ours)) == set(vars(theirs)) == set(kind.model_fields)
    assert ours.__pydantic_private__ == theirs.__pydantic_private__
    for same in (copy.deepcopy(ours), ours.model_copy(deep=True), pickle.loads(pickle.dumps(ours))):
        assert same.to_dict() == theirs.to_dict()
    ours.text = "other"
    with pytest.raises(ValueError, match="valid string"):
        ours.text = 3


def test_two_share_nothing():
    one, two = made(TextNode, {"id_": "1"}), made(TextNode, {"id_": "2"})
    one.metadata["a"] = 1
    one.excluded_embed_metadata_keys.append("a")
    assert (two.metadata, two.excluded_embed_metadata_keys) == ({}, [])


def test_a_retrieved_node_is_one(tmp_path):
    fused = FusedDocument((Document("a", id="x"),), 0.5, (), "x")
    node = TextNode(id_="x", text="a")
    ours = made(RetrievedNode, {"node": node, "score": 0.5}, {"_fused": fused})
    theirs = RetrievedNode(node=node, score=0.5)
    assert ours.to_dict() == theirs.to_dict()
    assert ours.fused is fused
    assert copy.deepcopy(ours).score == 0.5
    ours.score = 0.25


@pytest.fixture
def reads(monkeypatch):
    """Which files are read."""
    seen = []
    real = Image.read

    def read(image):
        if image.path is not None:
            seen.append(str(image.path))
        return real(image)

    monkeypatch.setattr(Image, "read", read)
    monkeypatch.setattr(readable, "_SEEN", {})
    monkeypatch.setattr(readable, "_SETTLED_NS", 0)
    return seen


class TestReadOnce:
    def make(self, path):
        return Image(path, sha256=Image(RED).sha256)

    def test_a_file_that_stays_is_read_once(self, tmp_path, reads):
        path = tmp_path / "a.png"
        path.write_bytes(RED)
        assert all(is_readable(self.make(path)) for _ in range(5))
        assert len(reads) == 1
        image = self.make(path)
        assert is_readable(image)
        assert image.mime == "image/png"
        assert len(reads) == 1
        assert image.read() == RED  # and is compared when it is read

    @pytest.mark.parametrize(
        "change", ["rewritten", "replaced", "same size and time", "gone", "a folder"]
    )
    def test_a_file_that_changed_is_looked_at_again(self, tmp_path, reads, change):
        path = tmp_path / "a.png"
        path.write_bytes(RED)
        before = path.stat()
        assert is_readable(self.make(path))
        other = RED[:-1] + bytes([RED[-1] ^ 1])
        if change == "replaced":
            (tmp_path / "b.png").write_bytes(BLUE)
            os.replace(tmp_path / "b.png", path)
        elif change in ("rewritten", "same size and time"):
            for _ in range(100_000):  # until the clock of the file system has gone on
                path.write_bytes(BLUE if change == "rewritten" else other)
                if change != "rewritten":
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                if path.stat().st_ctime_ns != before.st_ctime_ns:
                    break
        else:
            path.unlink()
            if change == "a folder":
                path.mkdir()
        if change == "same size and time":
            after = path.stat()
            assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        assert not is_readable(self.make(path))

    def test_a_fresh_file_is_read_each_time(self, tmp_path, reads, monkeypatch):
        monkeypatch.setattr(readable, "_SETTLED_NS", 10**15)
        path = tmp_path / "a.png"
        path.write_bytes(RED)
        assert all(is_readable(self.make(path)) for _ in range(3))
        assert len(reads) == 3

    def test_another_hash_is_another_question(self, tmp_path, reads):
        path = tmp_path / "a.png"
        path.write_bytes(RED)
        assert is_readable(self.make(path))
        assert not is_readable(Image(path, sha256="0" * 64))

    def test_only_so_many_are_remembered(self, tmp_path, reads, monkeypatch):
        monkeypatch.setattr(readable, "_MOST", 2)
        for at in range(5):
            path = tmp_path / f"{at}.png"
            path.write_bytes(RED)
            assert is_readable(self.make(path))
        assert len(readable._SEEN) <= 2

    def test_a_store_reads_a_picture_once_for_many_queries(self, tmp_path, reads):
        index = MultimodalIndex(TOY, TOY, path=tmp_path / "kb")
        index.add(
            [Document("a red pump", Image(RED), id="p"), Document("a valve", Image(BLUE), id="q")]
        )
        store = DiptychVectorStore(index)
        reads.clear()
        for _ in range(3):
            nodes = store.get_nodes()
            assert [type(node) for node in nodes] == [DiptychNode, DiptychNode]
        assert len(reads) == 2
        found = MultimodalRetriever(index=index).retrieve("pump", 1)
        assert found[0].images[0].path is not None
        assert isinstance(nodes[0], ImageNode)
        index.close()
