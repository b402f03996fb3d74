"""What a LangChain document says of itself opens no file and no URL, and becomes no record."""

import json
import logging

import pytest
from attacks import connections, records, shows
from langchain_core.documents import Document
from langchain_core.load import dumpd, load
from langchain_core.messages import HumanMessage
from manual import BLUE, RED

from diptych import Document as Stored
from diptych import Image, ToyEncoder
from diptych.errors import FilterError
from diptych.langchain import (
    DiptychLoader,
    DiptychRetriever,
    DiptychVectorStore,
    image_document,
    multimodal_prompt,
    to_content_blocks,
)
from stubs import png

__all__ = ["connections"]

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta")

SECRET = b"the key of the safe is 0451 and of the door 1984"
SECRET_PICTURE = png("purple", (31, 17))
URL = "http://127.0.0.1:9/a.png"
ANY = "0" * 64


@pytest.fixture
def secrets(tmp_path):
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "secret.png").write_bytes(SECRET_PICTURE)
    return str(tmp_path / "secret.txt"), str(tmp_path / "secret.png")


@pytest.fixture
def store():
    return DiptychVectorStore(ToyEncoder(), image_encoder=ToyEncoder())


def loaded(document):
    return load(dumpd(document), allowed_objects=[Document])


def check(content):
    assert not shows(content, SECRET)
    assert not shows(content, SECRET_PICTURE)


def test_records_that_documents_bring_are_dropped(store, secrets, connections, caplog):
    given = records(*secrets)
    with caplog.at_level(logging.INFO, "diptych.reserved"):
        store.add_documents([
            *(Document("the red pump", id=name, metadata={"a": 1, "_diptych": record})
              for name, record in given.items()),
            Document("a green hose", id="other", metadata={"_diptych.node": "{}"}),
        ])  # fmt: skip
    *hostile, other = store.index.get()
    assert hostile == [Stored("the red pump", id=name, metadata={"a": 1}) for name in given]
    assert other == Stored("a green hose", id="other")
    assert "_diptych.node" in caplog.text
    shown = store.get_by_ids([*given, "other"])
    assert [d.metadata for d in shown] == [{"a": 1}] * len(given) + [{}]
    assert connections == []


def test_records_in_the_index_are_not_shown(store, secrets, connections):
    given = records(*secrets)
    store.index.add(
        Stored("the red pump", Image(RED), id=name, reserved=record)
        for name, record in given.items()
    )
    documents = [
        *store.similarity_search("red pump", k=len(given)),
        *DiptychRetriever(index=store.index).invoke("red pump", k=len(given)),
    ]
    assert [d.metadata.get("_diptych") for d in documents] == [None] * 2 * len(given)
    content = json.dumps([to_content_blocks(documents), [dumpd(d) for d in documents]])
    check(content)
    assert "forged" not in content
    # Changed and added again, a document keeps what the other adapter knows of it.
    changed = store.get_by_ids(list(given))
    for document in changed:
        document.metadata["b"] = 2
    store.add_documents(changed)
    for stored in store.index.get():
        assert (stored.metadata, stored.reserved) == ({"b": 2}, given[stored.id])
    assert connections == []


def references(secrets):
    secret, picture = secrets
    one = {"path": picture, "sha256": ANY}
    return [
        {"images": [one]},
        {"images": [{"path": secret, "sha256": ANY}]},
        {"images": [{"path": picture}]},
        {"images": [{"path": picture, "sha256": ""}]},
        {"images": [{"path": picture, "sha256": None}]},
        {"images": [{"path": picture, "sha256": 5}]},
        {"images": [{"path": URL, "sha256": ANY}]},
        {"images": [{"path": f"file://{picture}", "sha256": ANY}]},
        {"images": [{"path": "/dev/zero", "sha256": ANY}]},
        {"images": [{"path": "a\0b", "sha256": ANY}]},
        {"images": [{"path": "\ud800", "sha256": ANY}]},
        {"images": [{"path": "x" * 100_000, "sha256": ANY}]},
        {"images": [{"path": 5, "sha256": ANY}]},
        {"images": [{"path": [picture], "sha256": [ANY]}]},
        {"images": [{"path": picture, "sha256": ANY, "name": {"a": 1}}]},
        {"images": [None, 1, "x", [], picture, URL]},
        {"images": picture},
        {"images": 5},
        {"images": {"path": picture, "sha256": ANY}},
        {"images": [one] * 10_000},
        {"image_path": picture, "image_sha256": ANY},
        {"image_path": secret, "image_sha256": ANY},
        {"image_path": URL, "image_sha256": ANY},
        {"image_path": picture},
        {"image_path": 5, "image_sha256": 5},
        {"image_path": "a\0b", "image_sha256": ANY},
        {"image_url": URL, "file_path": picture, "source": picture},
        {"document_ids": 5},
        {"document_ids": [5, None, ["h"]]},
        {"document_ids": {"h": 1}},
        {"document_ids": ["h", "\ud800", "\0"]},
        {"source": ["x"], "page": {"a": 1}},
        {"source": "\ud800", "page": 10**5000},
        {"_diptych": {"type": "ImageNode", "node": json.dumps({"image_path": picture})}},
    ]


@pytest.mark.parametrize("with_index", [False, True])
def test_hostile_documents_are_shown_as_their_words(with_index, store, secrets, connections):
    store.index.add([Stored("a green hose", id="other")])
    for metadata in references(secrets):
        show(metadata, {"index": store.index} if with_index else {})
    assert connections == []


def show(metadata, options):
    given = [
        Document("the red pump", metadata=metadata, id="h"),
        Document("a blue valve", metadata=metadata),
        Document("half \ud800 of a pair", metadata=metadata, id="\ud800\0"),
        loaded(Document("a blue wall", id="w")),
        Document("the last one", id="z"),
    ]
    blocks = to_content_blocks(given, **options)
    content = json.dumps(blocks)
    check(content)
    for words in (
        "the red pump",
        "a blue valve",
        "half ? of a pair",
        "a blue wall",
        "the last one",
    ):
        assert words in content
    assert [block["type"] for block in blocks] == ["text"] * len(blocks)
    history = [HumanMessage([{"type": "image_url", "image_url": {"url": URL}}])]
    messages = multimodal_prompt(**options).invoke(
        {"question": "red?", "context": given, "history": history}
    )
    check(str([message.model_dump() for message in messages]))


def test_hostile_documents_do_not_stop_the_others(store, secrets, connections):
    for at, metadata in enumerate(references(secrets)):
        given = [
            Document("the red pump", metadata=metadata, id=f"h{at}"),
            Document("a hose", id=f"other{at}"),
        ]
        store.add_documents(given)
        # A picture of another content is a failure, and so is metadata that no store can hold.
        assert (f"h{at}" in store.index) != bool(store.failed)
        assert f"other{at}" in store.index
    assert [stored.image for stored in store.index.get()] == [None] * len(store.index)
    assert connections == []


def test_documents_that_name_others_bring_only_their_own(store, secrets):
    store.index.add([Stored("the private one", id="p"), Stored("the red pump", id="h")])
    document = Document("the red pump", id="h", metadata={"document_ids": ["p"]})
    assert "private" not in json.dumps(to_content_blocks([document], index=store.index))


def test_parts_are_those_of_the_group_of_the_document(store):
    store.index.add([
        Stored("the red pump", id="h", group="g"),
        Stored("its figure", id="f", group="g", order=1),
        Stored("the private one", id="p", group="other"),
        Stored("alone", id="a"),
        Stored("the secret one", id="s"),
    ])  # fmt: skip

    def shown(identity, ids):
        document = Document("words", id=identity, metadata={"document_ids": ids})
        return json.dumps(to_content_blocks([document], index=store.index))

    assert "its figure" in shown("h", ["h", "f", "p", "s"])
    for identity, ids in (
        ("h", ["h", "f", "p", "s"]),
        ("a", ["s", "a"]),
        ("a", ["p"]),
        ("no", ["p"]),
    ):
        assert "private" not in shown(identity, ids)
        assert "secret" not in shown(identity, ids)


def test_a_reference_with_the_right_hash_is_followed(tmp_path):
    (tmp_path / "a.png").write_bytes(RED)
    document = loaded(image_document(tmp_path / "a.png", "a red thing"))
    kinds = [block["type"] for block in to_content_blocks([document])]
    assert kinds.count("image") == 1
    (tmp_path / "a.png").write_bytes(BLUE)
    kinds = [block["type"] for block in to_content_blocks([document])]
    assert kinds.count("image") == 0


def test_what_a_document_says_of_its_place_is_kept(store, tmp_path):
    said = {"group": "g", "order": 4, "node": "{}", "type": "ImageNode"}
    store.add_documents([Document("a", id="a", metadata={"_diptych": said})])
    store.add_images([RED], [{"_diptych": said}], ["b"])
    store.add_documents([image_document(BLUE, metadata={"_diptych": said}, id="c")])
    for stored in store.index.get():
        assert (stored.group, stored.order, dict(stored.reserved)) == ("g", 4, {})
        assert "_diptych" not in stored.metadata
    for bad in ({"group": 1}, {"order": 2**63}, {"group": "x\0"}, [1], "g"):
        store.add_documents([Document("d", id="d", metadata={"_diptych": bad})])
    (stored,) = store.index.get(["d"])
    assert (stored.group, stored.order) == (None, 0)


def test_a_loaded_line_that_brings_a_record_is_one_failure(store, tmp_path):
    lines = [{"text": "x", "_diptych": {"node": "{}"}}, {"text": "good", "id": "good"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    loader = DiptychLoader(tmp_path)
    store.add_documents(loader.load())
    assert store.index.ids() == ["good"]
    assert [failure.source for failure in loader.failed] == ["a.jsonl"]


def test_a_filter_cannot_ask_for_what_is_reserved(store):
    store.add_texts(["a"])
    with pytest.raises(FilterError, match="reserved for the adapters"):
        store.similarity_search("a", filter={"$not": {"_diptych.node": {"$exists": True}}})
