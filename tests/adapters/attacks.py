"""What somebody else may have written where a document, a node or its record is read."""

import base64
import json
import socket

import pytest

DEEP = 100_000


def records(secret, picture):
    """Return hostile reserved data by name: what a record of a node must never lead to.

    Args:
        secret: The path of a file that no model may see.
        picture: The path of a picture that no model may see.
    """

    def node(kind="ImageNode", **fields):
        return {"type": kind, "ref_doc_id": "doc", "node": json.dumps(fields)}

    def resource(kind, name, **fields):
        return node(kind, **{f"{name}_resource": fields})

    url = "http://127.0.0.1:9/secret.png"
    index_node = {"index_id": "i", "text": "t"}
    deep: list = []
    for _ in range(300):
        deep = [deep]
    inner = {"id_": "inner", "text": "t", "image_path": picture, "class_name": "ImageNode"}
    return {
        "image_path": node(image_path=secret),
        "image_path of a picture": node(image_path=picture),
        "image_url": node(image_url=url),
        "file url": node(image_url=f"file://{picture}"),
        "image": node(image=base64.b64encode(b"forged").decode()),
        "image in the record": {**node(), "image_path": picture, "image_url": url},
        "inline": {**node(image_path=picture), "inline": {"a": 1}},
        "image resource of a node": resource("Node", "image", path=picture),
        "image resource of a document": resource("Document", "image", path=secret),
        "image resource by url": resource("Node", "image", url=url),
        "audio resource": resource("Node", "audio", path=secret, mimetype="audio/mpeg"),
        "video resource": resource("Node", "video", path=secret, mimetype="video/mp4"),
        "audio by url": resource("Document", "audio", url=url, mimetype="audio/mpeg"),
        "text resource": resource("Node", "text", text="forged", path=secret, url=url),
        "image resource of an image node": resource("ImageNode", "image", path=picture, url=url),
        "document of an image": node("ImageDocument", image_path=picture, image_url=url),
        "metadata": node(metadata={"file_path": picture, "image_path": picture}),
        "id": node(id_="other", text="forged", embedding=[1.0]),
        "unknown class": node("os.system", args=["true"]),
        "class of a dict": {"type": {"a": 1}, "node": "{}"},
        "object": node("IndexNode", **index_node, obj={"__data__": inner, "__type__": "2"}),
        "object without text": node(
            "IndexNode", **index_node, obj={"__data__": {"image_path": secret}, "__type__": "2"}
        ),
        "object of a word": node("IndexNode", **index_node, obj=12),
        "index node without an id": node("IndexNode", index_id=[1]),
        "attribute in a template": node("TextNode", text_template="{content.__class__.__mro__}"),
        "item in a template": node("TextNode", metadata_template="{value[0]}{key}"),
        "width in a template": node("TextNode", metadata_template="{value!r:>1000000000}"),
        "nested width in a template": node("TextNode", text_template="{content:>{metadata_str}}"),
        "other name in a template": node("TextNode", text_template="{secret}"),
        "number in a template": node("TextNode", text_template="{0}"),
        "unfinished template": node("TextNode", text_template="{content", metadata_template="}"),
        "repeated template": node("TextNode", metadata_template="{value}" * 100_000),
        "long separator": node("TextNode", metadata_separator="x" * 500_000),
        "templates of another type": node("TextNode", text_template=[1], metadata_separator={}),
        "relationships of a list": node("TextNode", relationships=[1]),
        "relationships of words": node("TextNode", relationships={"1": "x", "nine": {}, "2": 5}),
        "several sources": node("TextNode", relationships={"1": [{"node_id": "a"}]}),
        "one child": node("TextNode", relationships={"5": {"node_id": "a"}}),
        "children of all kinds": node(
            "TextNode", relationships={"5": [None, 1, {"node_id": 5}, {"node_id": "c", "hash": 1}]}
        ),
        "metadata of a relation": node(
            "TextNode", relationships={"1": {"node_id": "a", "metadata": "x", "node_type": {"a": 1}}}
        ),
        "bomb in a relation": {
            "type": "TextNode",
            "node": json.dumps({"relationships": {"1": {"node_id": "a", "metadata": {"a": deep}}}}),
        },
        "keys of another type": node("TextNode", excluded_llm_metadata_keys=[1, {"a": 2}]),
        "keys of a word": node("TextNode", excluded_embed_metadata_keys="source"),
        "positions": node("TextNode", start_char_idx="x", end_char_idx=2**70),
        "half a surrogate": {"type": "TextNode", "node": '{"mimetype": "\\ud800", "index_id": "\\udfff"}'},
        "number of 10,000 digits": {"type": "TextNode", "node": '{"start_char_idx": %s}' % ("9" * 10_000)},
        "bomb": {"type": "TextNode", "node": "[" * DEEP + "]" * DEEP},
        "bomb of objects": {"type": "TextNode", "node": '{"a":' * DEEP + "1" + "}" * DEEP},
        "no json": {"type": "TextNode", "node": "{"},
        "null": {"type": "TextNode", "node": "null"},
        "list": {"type": "Document", "node": "[]"},
        "string": {"type": "Document", "node": '"x"'},
        "node of an object": {"type": "Document", "node": {"image_path": secret}},
        "no node": {"type": "ImageNode"},
        "text of another type": {"type": "TextNode", "node": "{}", "text": {"a": 1}},
        "other text": {"type": "TextNode", "node": "{}", "text": "forged"},
        "source of another type": {"type": "TextNode", "node": "{}", "ref_doc_id": ["doc"]},
        "huge": {"type": "x" * 300_000, "node": "{}", "source_hash": "x" * 300_000},
    }  # fmt: skip


@pytest.fixture
def connections(monkeypatch):
    """Return what is asked of the network, which refuses it."""
    asked = []

    def refuse(*arguments, **_):
        asked.append(arguments)
        raise OSError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


def shows(content, secret):
    """Whether a text or bytes hold a secret: its bytes, or its base64 wherever that begins."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    forms = [secret, secret.hex().encode(), str(secret)[2:-1].encode()]
    for skipped in range(3):  # a multiple of three bytes has a base64 of its own
        part = secret[skipped : skipped + (len(secret) - skipped) // 3 * 3]
        forms += [base64.b64encode(part), base64.urlsafe_b64encode(part)]
    return any(form in data for form in forms)
