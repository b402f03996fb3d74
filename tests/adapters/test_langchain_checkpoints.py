"""What is retrieved goes through checkpoints of LangGraph, pickles and dicts, and stays usable."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import checkpointed
import pytest
from checkpointed import NONCE, pictures, without_ids, words
from langchain_core.documents import Document
from langchain_core.load import dumpd, dumps
from manual import RED

from diptych import Image
from diptych.errors import InvalidArgument
from diptych.langchain import DiptychRetriever, multimodal_prompt, to_content_blocks, to_messages
from diptych.langchain.retrieved import RetrievedDocument


def test_documents_survive_a_checkpoint(tmp_path):
    checkpointed.main(tmp_path)


def test_documents_survive_a_strict_checkpoint(tmp_path):
    here = Path(__file__).resolve().parent
    environment = {
        **os.environ,
        "LANGGRAPH_STRICT_MSGPACK": "true",
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), *filter(None, sys.path)]),
    }
    done = subprocess.run(
        [sys.executable, str(here / "checkpointed.py"), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "as before\n"


def blocks(documents, **options):
    return without_ids(to_content_blocks(documents, nonce=NONCE, **options))


class TestRetrievedDocument:
    @pytest.fixture
    def found(self, index):
        return DiptychRetriever(index=index, k=2).invoke("a red pump")

    @pytest.mark.parametrize(
        "copied", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))]
    )
    def test_copies_keep_their_pictures(self, found, copied):
        for document in found:
            again = copied(document)
            assert type(again) is RetrievedDocument
            assert again == document
            assert again.metadata == document.metadata
            assert blocks([again]) == blocks([document])

    def test_class_is_known_by_its_own_name_where_people_look(self, found):
        assert repr(found[0]).startswith("RetrievedDocument(")
        assert RetrievedDocument.__qualname__ == "RetrievedDocument"
        assert isinstance(found[0], Document)


class TestDicts:
    FORMS = (
        lambda d: d.model_dump(),
        lambda d: d.model_dump(mode="json"),
        dumpd,
        lambda d: json.loads(dumps(d)),
        lambda d: {"page_content": d.page_content, "metadata": d.metadata, "id": d.id},
    )

    @pytest.mark.parametrize("form", FORMS)
    def test_are_taken_for_the_documents_they_were(self, index, form):
        found = DiptychRetriever(index=index, k=2).invoke("a red pump")
        dicts = [form(document) for document in found]
        again = blocks(dicts, index=index)
        assert words(again) == words(blocks(found))
        assert pictures(again) == pictures(blocks(found)) != []
        if "lc" not in dicts[0]:  # what is dumped is called after its first part, in reading order
            assert again == blocks(found)
        prompt = multimodal_prompt(index=index, nonce=NONCE)
        *_, asked = prompt.invoke({"question": "?", "context": dicts})
        *_, expected = to_messages("?", found, nonce=NONCE)
        assert words(asked.content_blocks) == words(expected.content_blocks)
        assert pictures(asked.content_blocks) == pictures(expected.content_blocks)

    def test_name_no_picture_without_its_hash(self, tmp_path, monkeypatch):
        secret = tmp_path / "secret.png"
        secret.write_bytes(RED)
        opened = []
        monkeypatch.setattr(Image, "read", lambda image: opened.append(image) or RED)
        monkeypatch.setattr(Image, "encoded", lambda image, **_: opened.append(image))
        path, name = str(secret), "secret.png"
        for reference in (
            {"path": path, "name": name},
            {"path": path, "sha256": None},
            {"path": path, "sha256": ""},
            {"path": path, "sha256": "0" * 63},
            {"path": f"file://{path}", "sha256": 7},
            path,
        ):
            hostile = {"page_content": "words", "metadata": {"images": [reference]}, "id": "x"}
            for dumped in (
                hostile,
                {"lc": 1, "type": "constructor", "id": ["Document"], "kwargs": hostile},
            ):
                assert {block["type"] for block in blocks([dumped])} == {"text"}
        assert not opened

    def test_picture_that_is_not_the_one_named_is_not_shown(self, tmp_path):
        secret = tmp_path / "secret.png"
        secret.write_bytes(RED)
        reference = {"path": str(secret), "sha256": "0" * 64}
        hostile = {"page_content": "words", "metadata": {"images": [reference]}}
        assert all(block["type"] == "text" for block in to_content_blocks([hostile]))
        reference["sha256"] = Image(RED).sha256
        assert any(block["type"] == "image" for block in to_content_blocks([hostile]))

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            ({}, "its page_content is None"),
            ({"page_content": 7}, "its page_content is 7"),
            ({"page_content": "x", "metadata": [1]}, r"its metadata is \[1\]"),
            ({"page_content": "x", "id": {"a": 1}}, "its id is"),
            ({"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}, "'os'"),
            ({"lc": 1, "type": "not_implemented", "id": ["x", "Document"], "repr": "x"}, "'Document'"),
            ({"lc": 1, "type": "constructor", "id": 7, "kwargs": {"page_content": "x"}}, "it is 7"),
            ({"lc": 1, "type": "constructor", "id": ["Document"], "kwargs": "x"}, "'Document'"),
        ],
    )  # fmt: skip
    def test_that_are_no_documents_are_refused_in_words(self, bad, why):
        with pytest.raises(InvalidArgument, match=rf"{why}.*Expected what document.model_dump"):
            to_content_blocks([{"page_content": "good"}, bad])
        with pytest.raises(InvalidArgument, match="expected a list of documents"):
            to_content_blocks({"page_content": "one"})
