"""Between LlamaIndex's nodes and diptych's documents, with nothing lost on the way there and back.

A node is stored as a document with its text, its picture and its metadata, so that the same index
serves LangChain and diptych's own retriever. What only LlamaIndex knows (class, relationships,
templates, excluded keys) is kept under one metadata key, ``RESERVED_KEY``. A node may come with that
key: it then says what the document belongs to (``grouped``), which a node has no field for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)
from pydantic import PrivateAttr

from diptych.cards import cards
from diptych.errors import DiptychError, DocumentError
from diptych.llama_index.node import SHARED, DiptychNode, has_picture, picture_of
from diptych.types import Document as Stored
from diptych.types import Evidence, FusedDocument, Image

__all__ = [
    "REF_DOC_ID",
    "RESERVED_KEY",
    "SOURCE_HASH",
    "RetrievedNode",
    "grouped",
    "to_node",
    "to_node_with_score",
    "to_stored",
]

RESERVED_KEY = "_diptych"
"""The metadata key under which a document keeps what only LlamaIndex needs."""

REF_DOC_ID = f"{RESERVED_KEY}.ref_doc_id"
"""How a filter addresses the source document of a node."""

SOURCE_HASH = "source_hash"
"""What was in the source document of a node, so that a change is noticed."""

_CLASSES: dict[str, type[BaseNode]] = {
    "TextNode": TextNode,
    "IndexNode": IndexNode,
    "ImageNode": DiptychNode,
    "Node": Node,
    "Document": Document,
}
"""As which a node comes back, by its class name; any other as the first or third of these."""

_KEPT_ELSEWHERE = {"embedding": True, "metadata": True, "text": True, "image": True}


class RetrievedNode(NodeWithScore):
    """A retrieved node that knows why it was found."""

    _fused: FusedDocument | None = PrivateAttr(default=None)

    def _repr_html_(self) -> str | None:
        return None if self._fused is None else cards([self._fused])

    @property
    def fused(self) -> FusedDocument | None:
        """What diptych retrieved, with its evidence; None in a copy that went through JSON."""
        return self._fused

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Which list found which document, at which rank, with what raw score."""
        return self._fused.evidence if self._fused is not None else ()


N = TypeVar("N", bound=BaseNode)


def grouped(node: N, *, group: str | None, order: int = 0, source_hash: str = "") -> N:
    """Return a copy of a node that says which group it belongs to; see ``diptych.Document``."""
    said = {"group": group, "order": order, SOURCE_HASH: source_hash}
    copy = node.model_copy()
    copy.metadata = {**node.metadata, RESERVED_KEY: said}
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        keys = getattr(node, name)
        setattr(copy, name, keys if RESERVED_KEY in keys else [*keys, RESERVED_KEY])
    return copy


def to_stored(node: BaseNode) -> Stored:
    """Return a node as a document to store.

    A node of metadata alone that has a vector is stored with what the vector was made of: its
    metadata in words.

    Raises:
        DocumentError: Neither text nor picture, or metadata that is not JSON.
        MediaError: The picture is not base64.
    """
    dump = node.model_dump(mode="json", exclude=_KEPT_ELSEWHERE)
    text = own = node.get_content(MetadataMode.NONE)
    image = picture_of(node)
    if not own.strip() and node.embedding is not None and image is None:
        text = node.get_content(MetadataMode.EMBED)
    resource = dump.get("text_resource")
    if resource is not None:
        resource["text"] = None
    record = {
        "ref_doc_id": node.ref_doc_id,
        "type": node.class_name(),
        "node": json.dumps(dump, ensure_ascii=False),
    }
    if not own.strip():  # a document has words or no text at all
        record["text"] = own
    if isinstance(node, ImageNode) and node.image is not None:
        record["inline"] = "image"
    said = node.metadata.get(RESERVED_KEY)
    said = said if isinstance(said, Mapping) else {}
    if said.get(SOURCE_HASH):
        record[SOURCE_HASH] = said[SOURCE_HASH]
    text = text if text.strip() else ""
    if not text and image is None and has_picture(node):
        raise DocumentError(
            f"Node {node.node_id!r} has a picture at a URL and no text; diptych never fetches a URL. "
            "Download it and pass image_path= or image=, or give the node a text."
        )
    return Stored(
        text=text or None,
        image=image,
        id=node.node_id,
        metadata={**node.metadata, RESERVED_KEY: record},
        group=said.get("group"),
        order=said.get("order", 0),
    )


def to_node(stored: Stored) -> BaseNode:
    """Return a stored document as the node that it was, or as a new one if it was none."""
    record, metadata = _recorded(stored)
    if not record:
        fields: dict[str, Any] = {"id_": stored.id, "metadata": metadata, "text": stored.text or ""}
        if stored.image is None:
            return TextNode(**fields)
        return _with_pictures(fields, (stored.image,))
    dump: dict[str, Any] = {**json.loads(record["node"]), "metadata": metadata}
    text = record.get("text", stored.text or "")
    kind = _CLASSES.get(record["type"], DiptychNode if stored.image else TextNode)
    if issubclass(kind, Node):
        return _multimodal(kind, dump, text, stored.image)
    _flatten(dump, text)
    if stored.image is None or kind is not DiptychNode:
        return kind.from_dict(dump)
    return _with_pictures(dump, (stored.image,), inline="inline" in record)


def to_node_with_score(fused: FusedDocument) -> RetrievedNode:
    """Return one node for related documents: their texts, their pictures, and one score.

    Identity, metadata, relationships and templates are those of the document found first.
    """
    found = RetrievedNode(node=_to_one_node(fused), score=fused.score)
    found._fused = fused
    return found


def _to_one_node(fused: FusedDocument) -> BaseNode:
    documents = fused.documents
    if len(documents) == 1:
        return to_node(documents[0])
    first = next((document for document in documents if document.id == fused.id), documents[0])
    record, metadata = _recorded(first)
    dump = json.loads(record["node"]) if record else {"id_": first.id}
    fields = {key: value for key, value in dump.items() if key in SHARED}
    texts = [text for document in documents if (text := _text_of(document)).strip()]
    fields |= {"text": "\n\n".join(texts), "metadata": metadata}
    return _with_pictures(fields, fused.images) if fused.images else TextNode.from_dict(fields)


def _text_of(stored: Stored) -> str:
    """Return the text that the node of a document has."""
    record, _ = _recorded(stored)
    text: str = record.get("text", stored.text or "")
    return text


def _recorded(stored: Stored) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return what is known of the node that a document was, and the metadata without that."""
    record = stored.metadata.get(RESERVED_KEY)
    if record is None:
        return {}, dict(stored.metadata)
    metadata = {key: value for key, value in stored.metadata.items() if key != RESERVED_KEY}
    return (record if isinstance(record, Mapping) and "node" in record else {}), metadata


def _with_pictures(
    fields: dict[str, Any], pictures: tuple[Image, ...], *, inline: bool = False
) -> DiptychNode:
    """Return a node whose fields hold the first picture: its path, else its bytes."""
    first = pictures[0]
    given = fields.get("image_path")
    if not inline and not (given and Path(given).is_file()):
        is_there = first.path is not None and first.path.is_file()
        fields["image_path"] = str(first.path) if is_there else given
    if inline or not fields.get("image_path"):
        fields["image"] = _base64(first)
    if fields.get("image_mimetype") is None:
        fields["image_mimetype"] = _mime(first)
    node: DiptychNode = DiptychNode.from_dict(fields)
    node._pictures = pictures
    return node


def _flatten(dump: dict[str, Any], text: str) -> None:
    """Write text and picture into the fields of a ``TextNode``, also when they were resources."""
    dump.pop("text_resource", None)
    resource = dump.pop("image_resource", None) or {}
    dump["text"] = text
    if not dump.get("image_path"):
        dump["image_path"] = resource.get("path")


def _multimodal(
    kind: type[BaseNode], dump: dict[str, Any], text: str, image: Image | None
) -> BaseNode:
    if dump.get("text_resource") is not None:
        dump["text_resource"]["text"] = text
    resource = dump.get("image_resource")
    if resource is not None and image is not None and not resource.get("url"):
        path = resource.get("path")
        if not (path and Path(path).is_file()):
            resource["path"] = None
            resource["data"] = _base64(image)
    return kind.from_dict(dump)


def _base64(image: Image) -> str | None:
    try:
        return base64.b64encode(image.read()).decode("ascii")
    except (DiptychError, OSError):
        return None


def _mime(image: Image) -> str | None:
    try:
        return image.mime
    except (DiptychError, OSError):
        return None
