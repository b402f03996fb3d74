"""A LangChain document that knows its pictures, and is the same whatever query found it."""

from __future__ import annotations

from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from pydantic import BaseModel, PrivateAttr

from diptych.cards import cards
from diptych.errors import DiptychError
from diptych.types import FusedDocument

__all__ = ["PER_QUERY", "UNIT_KEYS", "RetrievedDocument", "plain", "retrieved"]

PER_QUERY = ("score", "evidence")
"""What the metadata of a retrieved unit says of the query, and not of the documents."""

D = TypeVar("D", bound=Document)

UNIT_KEYS = (*PER_QUERY, "images", "document_ids", "sources")
"""What a retriever puts into the metadata of a unit."""


class RetrievedDocument(Document):
    """A LangChain document that still knows its pictures, for the step that builds the prompt.

    ``page_content`` and ``metadata`` hold text and references only, so nothing large reaches traces
    or stored chat histories. The pictures themselves do not survive serialization; what is left
    then is a plain ``Document`` with the references, which ``to_content_blocks`` resolves (with
    ``index=`` in all cases). Pickles and copies keep the pictures.

    Score and evidence differ from query to query, and which part of a unit is found first does too.
    They are in the metadata, but neither ``==`` nor ``langchain_core.load.dumps`` looks at them, so
    that what merges the answers to several queries sees one document. What is dumped has the id and
    the metadata of the part that comes first in reading order.
    """

    _fused: FusedDocument | None = PrivateAttr(default=None)
    _is_unit: bool = PrivateAttr(default=False)

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the id of ``Document``, as which it is loaded again."""
        return Document.lc_id()

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return what ``dumps`` writes: a plain document, without score and evidence."""
        told = super().to_json()
        if self._is_unit and told["type"] == "constructor":
            identity, metadata = _lasting(self)
            told["kwargs"] |= {"id": identity, "metadata": metadata}
        return told

    def __eq__(self, other: object) -> bool:
        """Return whether the other is the same document, found by this query or by another one."""
        if not isinstance(other, Document):
            return NotImplemented
        if self.page_content != other.page_content or not _are_same(self, other):
            return False
        theirs = other._fused if isinstance(other, RetrievedDocument) else None
        return _equal_pictures(self._fused, theirs)

    __hash__ = None  # type: ignore[assignment]  # it can be changed, as any LangChain document

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the object: by a function, because of the name of the class."""
        return _unpickled, (self.__getstate__(),)

    def __repr_name__(self) -> str:
        """Return the name of the class in the code, which is not the one that serializers read."""
        return "RetrievedDocument"

    def _repr_html_(self) -> str | None:
        return None if self._fused is None else cards([self._fused])

    @property
    def fused(self) -> FusedDocument | None:
        """What diptych retrieved; None after serialization."""
        return self._fused


# LangGraph writes module and name of an object's class into its checkpoints, and in its strict mode reads
# back only what is on its list, such as LangChain's own Document; of any other class there comes a dict. What
# is written of this class are the fields of a Document, so that is the name it is written under, here as in
# lc_id above.
RetrievedDocument.__module__ = Document.__module__
RetrievedDocument.__name__ = Document.__name__


def retrieved(
    content: str, metadata: dict[str, Any], identity: str, fused: FusedDocument, *, is_unit: bool
) -> RetrievedDocument:
    """Return a document of values that are known to be of the right types; see :func:`plain`."""
    private = {"_fused": fused, "_is_unit": is_unit}
    return _filled(RetrievedDocument, content, metadata, identity, private)


def plain(content: str, metadata: dict[str, Any], identity: str) -> Document:
    """Return a document of LangChain of values that are known to be of the right types."""
    return _filled(Document, content, metadata, identity, None)


def _filled(
    kind: type[D],
    content: str,
    metadata: dict[str, Any],
    identity: str,
    private: dict[str, Any] | None,
) -> D:
    """Return a document that pydantic does not check.

    Ten are made for every query, and validating them takes longer than all the rest; so their state is
    set as pydantic sets that of a pickle.
    """
    document = _new(kind)
    fields = _DEFAULTS.copy()
    fields["page_content"], fields["metadata"], fields["id"] = content, metadata, identity
    _set_dict(document, fields)
    _set_given(document, {"id", "metadata", "page_content"})
    _set_extra(document, None)
    _set_private(document, private)
    return document


def _unpickled(state: dict[Any, Any]) -> RetrievedDocument:
    document = RetrievedDocument.__new__(RetrievedDocument)
    document.__setstate__(state)
    return document


_new = object.__new__
_set_dict, _set_given, _set_extra, _set_private = (
    BaseModel.__dict__[slot].__set__
    for slot in (
        "__dict__",
        "__pydantic_fields_set__",
        "__pydantic_extra__",
        "__pydantic_private__",
    )
)

_DEFAULTS = dict(Document(page_content=""))
"""All fields, also those that another version of LangChain may have."""


def _are_same(one: RetrievedDocument, other: Document) -> bool:
    """Return whether id and metadata are equal, but for what differs from query to query."""
    if one._is_unit and not isinstance(other, RetrievedDocument):
        # What is left of a unit after a checkpoint or JSON says of another part that it was found first.
        left = {key: value for key, value in other.metadata.items() if key not in PER_QUERY}
        return _lasting(one, other.id) == (other.id, left)
    return _lasting(one) == _lasting(other)


def _lasting(document: Document, first: str | None = None) -> tuple[str | None, dict[Any, Any]]:
    """Return id and metadata of a document without what differs from query to query.

    Those of a unit are of the part with the id ``first``, where it has one, else of its first part.
    """
    if not isinstance(document, RetrievedDocument) or not document._is_unit:
        return document.id, document.metadata
    now, fused = document.metadata, document._fused
    unit = {key: now[key] for key in UNIT_KEYS if key in now and key not in PER_QUERY}
    own = {key: value for key, value in now.items() if key not in UNIT_KEYS}
    identity = document.id
    parts = () if fused is None else fused.documents
    leading = next((part for part in parts if part.id == first), parts[0] if parts else None)
    if fused is not None and leading is not None and leading.id != fused.id:
        # Another query finds another part of the unit first. What the user has changed stays.
        before = fused.metadata
        changed = {k: v for k, v in own.items() if k not in before or before[k] != v}
        own = {k: v for k, v in leading.metadata.items() if k not in UNIT_KEYS} | changed
        identity = leading.id if identity == fused.id else identity
    return identity, own | unit


def _equal_pictures(one: FusedDocument | None, other: FusedDocument | None) -> bool:
    """Return whether two documents have equal pictures, as far as both know theirs."""
    if one is None or other is None or one is other:
        return True
    try:
        return one.images == other.images
    except (DiptychError, OSError):  # a file that is gone, and whose hash nobody knows
        return False
