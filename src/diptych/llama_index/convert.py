"""Between LlamaIndex's nodes and diptych's documents, with nothing lost on the way there and back.

A node is stored as a document with its text, its picture and its metadata, so that the same index
serves LangChain and diptych's own retriever. What only LlamaIndex knows (class, relationships,
templates, excluded keys) is kept apart from that, in ``Document.reserved``; see ``record``. A node may
come with the metadata key ``RESERVED_KEY``: it then says what the document belongs to (``grouped``),
which a node has no field for.
"""

from __future__ import annotations

import base64
from typing import Any, TypeVar

from llama_index.core.schema import (
    BaseNode,
    Document,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)
from pydantic import PrivateAttr

from diptych.cards import cards
from diptych.errors import DocumentError
from diptych.llama_index.made import made
from diptych.llama_index.node import (
    SHARED,
    DiptychNode,
    LostPictureNode,
    StoredDocument,
    StoredNode,
    has_picture,
    path_of,
    picture_of,
    url_of,
)
from diptych.llama_index.readable import is_readable
from diptych.llama_index.record import Record, read_record, record_of
from diptych.remote import RemotePictures
from diptych.reserved import REF_DOC_ID, RESERVED_KEY, SOURCE_HASH, place_of, without_reserved
from diptych.types import Document as Stored
from diptych.types import Evidence, FusedDocument, Image

__all__ = [
    "REF_DOC_ID",
    "RESERVED_KEY",
    "SOURCE_HASH",
    "RetrievedNode",
    "grouped",
    "recorded",
    "text_of",
    "to_node",
    "to_node_with_score",
    "to_stored",
]

_MULTIMODAL: dict[str, tuple[type[Node], type[Node]]] = {
    "Node": (Node, StoredNode),
    "Document": (Document, StoredDocument),
}
"""The classes with resources, as which a node comes back that was of one of them: without a picture, and
with one."""


_NO_RECORD = Record()


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


def to_stored(
    node: BaseNode,
    *,
    has_vector: bool = False,
    is_lost: bool = False,
    remote: RemotePictures | None = None,
) -> Stored:
    """Return a node as a document to store.

    A node that a vector finds, and that has neither words nor a picture of its own, is stored with what
    the vector was made of, its metadata in words, else with the URL or the path of its picture as its
    words. That URL or path is kept as a word of its metadata too (``image_url``, ``image_path``), where
    nothing asks for it.

    Under ``RESERVED_KEY`` its metadata may say ``group``, ``order`` and ``source_hash``; nothing else
    that stands there is taken, and nothing of it is stored as metadata.

    Args:
        node: The node.
        has_vector: Whether a vector comes with it.
        is_lost: Whether its picture cannot be read, so that it is stored without.
        remote: Fetches its picture when it is given by a URL.

    Raises:
        DocumentError: Neither text nor picture, or metadata that is not JSON.
        MediaError: The picture is not base64.
    """
    own = node.get_content(MetadataMode.NONE)
    image = None if is_lost else picture_of(node, remote)
    url, path = url_of(node), path_of(node) if is_lost else ""
    text = own if own.strip() else ""
    if not text and image is None and has_vector:
        said = node.get_content(MetadataMode.EMBED) or node.get_metadata_str(MetadataMode.EMBED)
        text = said if said.strip() else url or path or ("a picture" if is_lost else "")
    if not text and image is None and has_picture(node):
        raise DocumentError(
            f"Node {node.node_id!r} has a picture at a URL, no text and no vector; diptych never fetches a "
            "URL by itself. Download it and pass image_path= or image=, give the store "
            "remote=RemotePictures(...), or give the node a text or an embedding."
        )
    place = place_of(node.metadata)
    metadata = without_reserved(node.metadata)
    for name, value in (("image_url", url), ("image_path", path)):
        if value:
            metadata.setdefault(name, value)
    return Stored(
        text=text or None,
        image=image,
        id=node.node_id,
        metadata=metadata,
        group=place.group,
        order=place.order,
        reserved=record_of(node, own, place),
    )


def to_node(stored: Stored) -> BaseNode:
    """Return a stored document as the node that it was, or as a new one if it was none.

    Text and picture are those of the document, never what is recorded of the node.
    """
    record = recorded(stored)
    fields = {**record.fields, "id_": stored.id, "metadata": dict(stored.metadata)}
    text = text_of(stored, record)
    if record.kind in _MULTIMODAL:
        return _multimodal(_MULTIMODAL[record.kind], fields, text, stored.image, record)
    fields["text"] = text
    if stored.image is not None:
        fields.pop("index_id", None)
        fields.pop("obj", None)
        return _with_pictures(fields, (stored.image,), inline=record.is_inline)
    if record.kind == "IndexNode" and "index_id" in fields:
        return IndexNode(**fields)
    fields.pop("index_id", None)
    fields.pop("obj", None)
    return made(TextNode, fields)


def to_node_with_score(fused: FusedDocument) -> RetrievedNode:
    """Return one node for related documents: their texts, their pictures, and one score.

    Identity, metadata, relationships and templates are those of the document found first.
    """
    fields = {"node": _to_one_node(fused), "score": fused.score}
    return made(RetrievedNode, fields, {"_fused": fused})


def recorded(stored: Stored) -> Record:
    """Return what is known of the node that a document was."""
    if not stored.reserved:  # it was none
        return _NO_RECORD
    return read_record(stored.reserved, len(stored.metadata))


def text_of(stored: Stored, record: Record) -> str:
    """Return the text that the node of a document has."""
    return (stored.text or "") if record.text is None else record.text


def _to_one_node(fused: FusedDocument) -> BaseNode:
    documents = fused.documents
    if len(documents) == 1:
        return to_node(documents[0])
    first, of_first = documents[0], _NO_RECORD
    texts, pictures = [], []
    for at, one in enumerate(documents):
        record = recorded(one)
        if one.id == fused.id or not at:
            first, of_first = one, record
        if (text := text_of(one, record)).strip():
            texts.append(text)
        if one.image is not None:
            pictures.append(one.image)
    fields = {key: value for key, value in of_first.fields.items() if key in SHARED}
    fields["id_"], fields["text"] = first.id, "\n\n".join(texts)
    fields["metadata"] = dict(first.metadata)
    return _with_pictures(fields, tuple(pictures)) if pictures else made(TextNode, fields)


def _with_pictures(
    fields: dict[str, Any], pictures: tuple[Image, ...], *, inline: bool = False
) -> TextNode:
    """Return a node whose fields hold the first picture that can be read: its path, else its bytes.

    LlamaIndex opens a path without a look at what is there, and of an image node without a picture
    the file that the metadata names. So a path is given only when the picture is there, and without
    any picture the node is none of an image.
    """
    for shown in pictures:
        if is_readable(shown):
            break
    else:
        return made(LostPictureNode, fields, {"_pictures": pictures})
    if inline or shown.path is None:
        fields["image"] = _base64(shown)
    else:
        fields["image_path"] = str(shown.path)
    fields["image_mimetype"] = shown.mime
    return made(DiptychNode, fields, {"_pictures": pictures})


def _multimodal(
    kinds: tuple[type[Node], type[Node]],
    fields: dict[str, Any],
    text: str,
    image: Image | None,
    record: Record,
) -> Node:
    kind, with_picture = kinds
    known = {name: value for name, value in fields.items() if name in kind.model_fields}
    if record.has_text or text.strip():
        known["text_resource"] = MediaResource(text=text, mimetype=fields.get("mimetype"))
    if image is not None and is_readable(image):
        in_file = image.path if not record.is_inline else None
        known["image_resource"] = MediaResource(
            path=in_file,
            data=image.read() if in_file is None else None,
            mimetype=image.mime,
        )
        return with_picture(**known)
    return kind(**known)


def _base64(image: Image) -> str:
    return base64.b64encode(image.read()).decode("ascii")
