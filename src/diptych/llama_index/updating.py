"""Replacing documents of an index as a whole, one after another where they are the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from weakref import WeakValueDictionary

from llama_index.core.schema import BaseNode, Document

from diptych.errors import DiptychError
from diptych.index import MultimodalIndex
from diptych.llama_index.convert import REF_DOC_ID, grouped, recorded
from diptych.llama_index.keeping import Kept
from diptych.llama_index.node import picture_of
from diptych.llama_index.vector_store import DiptychVectorStore
from diptych.reserved import place_of

__all__ = ["changed_documents", "replaced", "stored_nodes", "writing"]


class _Lock:
    """A lock that threads hold, and weak references refer to."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


_LOCKS: WeakValueDictionary[str, _Lock] = WeakValueDictionary()
_GUARD = threading.Lock()


@contextmanager
def writing(store: DiptychVectorStore) -> Iterator[None]:
    """Let one thread at a time compare what is stored with what is given, and replace it.

    It holds for every index object of this process over the same store or the same folder. Without it
    two that find a document missing both add it, under other ids of nodes.
    """
    index = store.client
    path = None if index is None else index.path
    name = f"id {id(store if index is None else index)}" if path is None else str(path.resolve())
    with _GUARD:
        lock = _LOCKS.setdefault(name, _Lock())
    with lock.lock:
        yield


def _state(document: Document) -> str:
    """Return a hash of a document and of the content of its picture."""
    try:
        picture = picture_of(document)
        content = "" if picture is None else picture.sha256
    except (DiptychError, OSError):
        content = "unreadable"
    return sha256(f"{document.hash}\0{content}".encode()).hexdigest()[:32]


def changed_documents(
    documents: Sequence[Document],
    stored: Mapping[str, Mapping[str, str]],
    make: Callable[[Document], Sequence[BaseNode]],
    kept: Kept,
) -> tuple[list[bool], dict[str, list[BaseNode]]]:
    """Return which documents are new or changed, and the nodes of these by their ids.

    Args:
        documents: What is given.
        stored: Of the documents that are stored, what their nodes say of them.
        make: Makes the nodes of a document. Where it refuses one, the others go on.
        kept: Takes what could not be made.
    """
    changed: list[bool] = []
    made: dict[str, list[BaseNode]] = {}
    for document in documents:
        state = _state(document)
        before = stored.get(document.id_, {})
        changed.append(not before or set(before.values()) != {f"{state}/{len(before)}"})
        if not changed[-1]:
            made.pop(document.id_, None)  # given twice, at first another one
            continue
        try:
            made[document.id_] = _marked(make(document), state)
        except (DiptychError, OSError, TypeError, ValueError) as error:
            kept.refuse(document, error)
            continue
        if not made[document.id_]:
            kept.leave_out([document])
    return changed, made


def replaced(
    made: Mapping[str, Sequence[BaseNode]], stored: Mapping[str, Mapping[str, str]], kept: Kept
) -> list[str]:
    """Return the nodes that are to go, so that one version of each document is left.

    They are the old ones; where what replaced a document could not be stored whole, the new ones.
    """
    failed = {failure.id for failure in kept.added.report.failed}
    stale: set[str] = set()
    for identity, nodes in made.items():
        new = {node.node_id for node in nodes}
        old = stored.get(identity, {}).keys()
        if not new & failed:
            stale |= old - new
        elif old:
            stale |= new - old
    return sorted(stale)


def _marked(nodes: Sequence[BaseNode], state: str) -> list[BaseNode]:
    """Return the nodes of a document, which say what it was when they were made, and how many they are."""
    made = []
    for node in nodes:
        place = place_of(node.metadata)
        mark = f"{state}/{len(nodes)}"
        made.append(grouped(node, group=place.group, order=place.order, source_hash=mark))
    return made


def stored_nodes(
    index: MultimodalIndex | None, ref_doc_ids: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return, for documents that are stored, the ids of their nodes with what these say of them."""
    if index is None or not ref_doc_ids:
        return {}
    found: dict[str, dict[str, str]] = {}
    for stored in index.get(where={REF_DOC_ID: {"$in": list(ref_doc_ids)}}):
        record = recorded(stored)
        if record.ref_doc_id is not None:
            found.setdefault(record.ref_doc_id, {})[stored.id] = record.source_hash
    return found
