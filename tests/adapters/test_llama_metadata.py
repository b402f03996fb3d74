"""How metadata and the fields of a node come back: the table in docs/llama-index.md, row by row."""

import base64
import datetime
import decimal
import enum
import logging
import pathlib
import uuid

import numpy as np
import pytest
from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from manual import RED

from diptych import ToyEncoder
from diptych.llama_index import DiptychVectorStore

TOY = ToyEncoder()
B64 = base64.b64encode(RED).decode()


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture
def store():
    return DiptychVectorStore(embed_model=TOY, image_encoder=TOY)


def make(kind, metadata):
    if kind == "image":
        return ImageNode(id_="n", image=B64, metadata=metadata)
    return TextNode(id_="n", text="a", metadata=metadata)


ROWS = {
    "text": ("a", "a"),
    "numbers": ([1, -0.5, 2**70], [1, -0.5, 2**70]),
    "truth": ([True, False, None], [True, False, None]),
    "nested": ({"a": [{"b": {"c": []}}]}, {"a": [{"b": {"c": []}}]}),
    "signs": ({"": 1, "a.b": 2, "$x": 3, "ü": "ñ\u2028"}, {"": 1, "a.b": 2, "$x": 3, "ü": "ñ\u2028"}),
    "tuples": ((1, (2, "x")), [1, [2, "x"]]),
    "dates": (datetime.date(2024, 2, 29), "2024-02-29"),
    "times": (datetime.time(1, 2), "01:02:00"),
    "moments": (
        [datetime.datetime(2024, 2, 29, 1, tzinfo=datetime.UTC), datetime.datetime(2024, 1, 1)],
        ["2024-02-29T01:00:00+00:00", "2024-01-01T00:00:00"],
    ),
    "paths": (pathlib.PurePosixPath("a/b"), "a/b"),
    "uuids": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "enums": (Colour.RED, "red"),
    "numpy": ([np.int64(3), np.float32(0.5), np.bool_(True), np.str_("x")], [3, 0.5, True, "x"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("row", ROWS)
def test_a_value_comes_back(store, row, kind):
    given, expected = ROWS[row]
    store.add([make(kind, {"x": given, "y": {"z": [given]}})])
    assert store.failed == ()
    (back,) = store.get_nodes(["n"])
    assert back.metadata == {"x": expected, "y": {"z": [expected]}}
    flat = back.metadata["x"] if isinstance(back.metadata["x"], list) else [back.metadata["x"]]
    assert all(type(value) in (str, int, float, bool, list, dict, type(None)) for value in flat)


REFUSED = {
    "sets": {1}, "bytes": b"x", "arrays": np.arange(3), "decimals": decimal.Decimal(1),
    "keys": {1: 2}, "nan": float("nan"), "infinity": float("inf"), "objects": object(),
    "timedeltas": datetime.timedelta(1),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_what_has_no_form_in_json_is_said_and_the_others_are_stored(store, row):
    store.add([make("text", {"x": REFUSED[row]}), TextNode(id_="other", text="b")])
    assert [failure.id for failure in store.failed] == ["n"]
    assert store.index.ids() == ["other"]


@pytest.mark.parametrize("said", ["words", 3, None, ["x"], {"x": 1, "group": "g"}, {"group": 7}])
def test_a_key_that_is_reserved_is_dropped_and_said_once(store, said, caplog):
    nodes = [
        TextNode(id_=str(i), text="a", metadata={"_diptych": said, "_diptych.x": 1, "kept": i})
        for i in range(3)
    ]
    store.add(nodes)
    assert store.failed == ()
    assert [node.metadata for node in store.get_nodes()] == [{"kept": i} for i in range(3)]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "'_diptych' is reserved" in warnings[0]
    assert "_diptych.x" in warnings[0]
    assert nodes[0].metadata["_diptych"] == said


def test_the_fields_of_a_node_come_back(store):
    relations = {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"m": (1,)}, hash="h"),
        NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c")],
    }
    shared = {
        "id_": "n", "text": "a text", "metadata": {"a": 1, "b": 2}, "relationships": relations,
        "excluded_embed_metadata_keys": ["a"], "excluded_llm_metadata_keys": ["b"],
        "metadata_template": "{key}={value}", "metadata_separator": "; ",
        "text_template": "{metadata_str} | {content}",
        "start_char_idx": 3, "end_char_idx": 9, "mimetype": "text/markdown",
    }  # fmt: skip
    for node in (TextNode(**shared), ImageNode(**shared, image=B64)):
        store.add([node])
        (back,) = store.get_nodes(["n"])
        for name in set(shared) - {"relationships"}:
            assert getattr(back, name) == getattr(node, name)
        source = back.source_node
        assert (source.node_id, source.metadata, source.hash) == ("d", {"m": [1]}, "h")
        assert back.child_nodes == node.child_nodes
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert back.get_content(mode) == node.get_content(mode)
    assert TextNode(**shared).hash == store_hash(store, TextNode(**shared))


def store_hash(store, node):
    store.add([node])
    return store.get_nodes([node.node_id])[0].hash


def test_the_hash_of_a_picture_goes_by_its_content(store, tmp_path):
    (tmp_path / "a.png").write_bytes(RED)
    by_path = store_hash(store, ImageNode(id_="a", image_path=str(tmp_path / "a.png")))
    by_bytes = store_hash(store, ImageNode(id_="b", image=B64))
    assert by_path == by_bytes
