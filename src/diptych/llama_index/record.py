"""What is kept of a node beside its text, picture and metadata, and how it is read again.

An index may come from somebody else, so what is read is not trusted. Only the fields named here are
taken, each by itself, when it has the type and the size that it can have; anything else counts as
missing. None of them names a file, a URL or an object: the text and the picture of a node are those of
its document alone. LlamaIndex formats templates with ``str.format``, so that one is taken only when it
holds nothing but the plain names that LlamaIndex fills in.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)

from diptych.errors import DocumentError
from diptych.metadata import checked_metadata, checked_string
from diptych.reserved import SOURCE_HASH, Place, without_reserved

__all__ = ["Record", "read_record", "record_of"]

_LONGEST_NAME = 8_192
_LONGEST_TEMPLATE = 1 << 20
"""The most characters that the templates of a node may come to, before anything is filled in."""
_FORMATTER = string.Formatter()
_INT64 = 2**63
_NODE_TYPES = frozenset(str(kind.value) for kind in ObjectType)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of the node that a document was.

    Attributes:
        kind: The name of its class; "" when it was none.
        ref_doc_id: Its source document.
        source_hash: What that was made of; "" when nobody said.
        text: Its own text when that was white space, else None: the text is the document's.
        is_inline: Whether its picture was in the node, and not in a file.
        has_text: Whether a ``Node`` had a resource for its text.
        fields: Arguments for its class.
    """

    kind: str = ""
    ref_doc_id: str | None = None
    source_hash: str = ""
    text: str | None = None
    is_inline: bool = False
    has_text: bool = False
    fields: dict[str, Any] = field(default_factory=dict)


def record_of(node: BaseNode, own_text: str, place: Place) -> dict[str, Any]:
    """Return what is to be kept of a node.

    Args:
        node: The node.
        own_text: Its text, without metadata.
        place: What its metadata says of the document that it was made of.
    """
    dump = _dump(node)
    if isinstance(node, Node):
        dump |= {"text_resource": {} if node.text_resource is not None else None}
    if isinstance(node, IndexNode) and isinstance(node.obj, BaseNode):
        inner = node.obj
        values = {
            "id_": inner.node_id,
            "text": inner.get_content(),
            "metadata": checked_metadata(inner.metadata, inner.node_id),
        }
        dump["obj"] = {"__data__": {**_dump(inner), **values}}
    record: dict[str, Any] = {
        "ref_doc_id": node.ref_doc_id,
        "type": node.class_name(),
        "node": json.dumps(dump, ensure_ascii=False),
    }
    if not own_text.strip():  # a document has words or no text at all
        record["text"] = own_text
    resource = node.image_resource if isinstance(node, Node) else None
    if (resource is not None and resource.data) or (isinstance(node, ImageNode) and node.image):
        record["inline"] = "image"
    if place.source_hash:
        record[SOURCE_HASH] = place.source_hash
    return record


def read_record(reserved: Mapping[str, Any], names: int) -> Record:
    """Return what is kept of a node, piece by piece; what is malformed counts as missing.

    Args:
        reserved: What is kept with the document.
        names: How many metadata keys it has; so often are two of the templates filled in.
    """
    dump = _parsed(reserved.get("node"))
    if dump is None:
        return Record()
    text = reserved.get("text")
    return Record(
        kind=_text(reserved.get("type")) or "",
        ref_doc_id=_text(reserved.get("ref_doc_id")),
        source_hash=_text(reserved.get(SOURCE_HASH)) or "",
        text=text if isinstance(text, str) and not text.strip() else None,
        is_inline="inline" in reserved,
        has_text=dump.get("text_resource") is not None,
        fields=_fields(dump, names, is_inner=False),
    )


def _dump(node: BaseNode) -> dict[str, Any]:
    """Return the fields of a node that it alone knows."""
    plain = [name for name in _CHECKS if name != "relationships" and hasattr(node, name)]
    related = {
        kind.value: [_related(one) for one in info] if isinstance(info, list) else _related(info)
        for kind, info in node.relationships.items()
    }
    return {"relationships": related, **{name: getattr(node, name) for name in plain}}


def _related(info: RelatedNodeInfo) -> dict[str, Any]:
    dump = info.model_dump(mode="json")
    return {**dump, "metadata": without_reserved(dump["metadata"])}


def _parsed(dump: Any) -> dict[str, Any] | None:
    if not isinstance(dump, str):
        return None
    try:
        parsed = json.loads(dump)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _fields(dump: Mapping[str, Any], names: int, *, is_inner: bool) -> dict[str, Any]:
    found = {name: check(dump.get(name)) for name, check in _CHECKS.items()}
    for name in ("metadata_template", "metadata_separator"):
        if found[name] is not None and len(found[name]) * (names + 1) > _LONGEST_TEMPLATE:
            found[name] = None
    fields = {name: value for name, value in found.items() if value is not None}
    if not is_inner and (inner := _inner(dump.get("obj"))) is not None:
        fields["obj"] = inner
    return fields


def _inner(obj: Any) -> TextNode | None:
    """Return the node that an ``IndexNode`` stands for, as a text and nothing else."""
    data = obj.get("__data__") if isinstance(obj, Mapping) else None
    if not isinstance(data, Mapping):
        return TextNode(text=obj) if isinstance(obj, str) and _is_text(obj) else None
    metadata = _metadata(data.get("metadata"))
    resource = data.get("text_resource")
    text = data.get("text") or (resource.get("text") if isinstance(resource, Mapping) else None)
    if not (isinstance(text, str) and _is_text(text)):
        return None
    fields = _fields(data, len(metadata), is_inner=True)
    fields.pop("index_id", None)
    if identity := _text(data.get("id_")):
        fields["id_"] = identity
    return TextNode(text=text, metadata=metadata, **fields)


# -- one check for each field: the value, or None ---------------------------------------------


def _is_text(value: str) -> bool:
    try:
        checked_string(value, "text", "")
    except DocumentError:
        return False
    return True


def _text(value: Any) -> str | None:
    is_text = isinstance(value, str) and len(value) <= _LONGEST_NAME and _is_text(value)
    return value if is_text else None


def _texts(value: Any) -> list[str] | None:
    return [one for one in value if _text(one)] if isinstance(value, list) else None


def _position(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and abs(value) < _INT64 else None


def _template(value: Any, *names: str) -> str | None:
    """Return a template that holds each name once at most, without attributes, items or formats."""
    text = _text(value)
    if text is None:
        return None
    try:
        parts = list(_FORMATTER.parse(text))
    except ValueError:
        return None
    asked = [name for _, name, _, _ in parts if name is not None]
    is_plain = all(not spec and conversion is None for _, _, spec, conversion in parts)
    is_known = len(set(asked)) == len(asked) and set(asked) <= set(names)
    return text if is_plain and is_known else None


def _metadata(value: Any) -> dict[str, Any]:
    try:
        return checked_metadata(without_reserved(value), "") if isinstance(value, Mapping) else {}
    except (DocumentError, ValueError):  # ValueError: a number with more digits than Python writes
        return {}


def _info(value: Any) -> RelatedNodeInfo | None:
    node_id = _text(value.get("node_id")) if isinstance(value, Mapping) else None
    if not node_id:
        return None
    kind = value.get("node_type")
    return RelatedNodeInfo(
        node_id=node_id,
        node_type=kind if isinstance(kind, str) and kind in _NODE_TYPES else None,
        metadata=_metadata(value.get("metadata")),
        hash=_text(value.get("hash")),
    )


def _relationships(value: Any) -> dict[NodeRelationship, Any] | None:
    """Return relationships: one node for each kind, and for the children a list, as LlamaIndex has it."""
    if not isinstance(value, Mapping):
        return None
    found: dict[NodeRelationship, Any] = {}
    for kind in NodeRelationship:
        said = value.get(kind.value)
        if kind == NodeRelationship.CHILD:
            children = [_info(one) for one in said] if isinstance(said, list) else []
            related: Any = [child for child in children if child is not None]
        else:
            related = _info(said)
        if related:
            found[kind] = related
    return found


_CHECKS: dict[str, Any] = {
    "relationships": _relationships,
    "excluded_embed_metadata_keys": _texts,
    "excluded_llm_metadata_keys": _texts,
    "metadata_template": lambda value: _template(value, "key", "value"),
    "metadata_separator": _text,
    "text_template": lambda value: _template(value, "metadata_str", "content"),
    "mimetype": _text,
    "start_char_idx": _position,
    "end_char_idx": _position,
    "index_id": _text,
}
"""The fields that are kept, and what makes of a value one that can be used, or None."""
