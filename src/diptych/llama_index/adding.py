"""Adding nodes to an index: the good ones are stored, and each bad one is reported with its reason."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.schema import BaseNode, MetadataMode
from numpy.typing import ArrayLike

from diptych.checks import list_of
from diptych.errors import DiptychError, DocumentError, InvalidArgument, MediaError, VectorError
from diptych.index import MultimodalIndex, in_stored_groups
from diptych.llama_index.convert import to_stored
from diptych.llama_index.given import GivenVectors
from diptych.llama_index.node import has_picture
from diptych.llama_index.node_vectors import NodeVectors, fault, place, vectors_of
from diptych.remote import RemotePictures
from diptych.report import AddReport, Failure
from diptych.reserved import RESERVED_KEY, dropped_from
from diptych.types import Document

__all__ = ["Added", "add_nodes"]

logger = logging.getLogger(__name__)

BATCH = 64
"""How many nodes are encoded and committed together."""

_KINDS = (MediaError, VectorError, DocumentError, InvalidArgument)
"""As which a call fails of which nothing could be stored."""


@dataclass(slots=True)
class Added:
    """What became of nodes.

    Attributes:
        report: What was stored, and what failed.
        errors: Why nodes failed; those that are just blank are not among them.
    """

    report: AddReport = field(default_factory=AddReport)
    errors: list[Exception] = field(default_factory=list)

    def refuse(self, identity: str, source: str, error: Exception | str) -> None:
        """Report a node that is not stored, with the error, or the words where it is just blank."""
        self.report += AddReport(failed=(Failure(identity, source, str(error)),))
        if isinstance(error, Exception):
            self.errors.append(error)
        logger.warning("Node %.200r (%.200s) was not stored: %s", identity, source, error)

    def say_lost(self, document: Document, error: Exception) -> None:
        """Report a node that is stored without its picture, which cannot be read."""
        reason = f"It is found by its vector, and its picture is missing: {error}"
        self.report += AddReport(failed=(Failure(document.id, document.source, reason),))
        logger.warning(
            "Node %.200r (%.200s) has no picture: %s", document.id, document.source, error
        )

    def check(self) -> None:
        """Raise when nothing could be stored, and something of it is more than blank.

        An ``IngestionPipeline`` goes on, because it would stop at the same nodes each time.

        Raises:
            InvalidArgument: Of the class of the first error, naming all that failed.
        """
        stored = self.report.added + self.report.updated + self.report.skipped
        if stored or not self.errors or "Pipeline." in (active_span_id.get() or ""):
            return
        kind = next((kind for kind in _KINDS if isinstance(self.errors[0], kind)), DocumentError)
        failed = self.report.failed
        reasons = "; ".join(str(failure) for failure in failed)
        raise kind(f"None of the nodes could be stored; not stored were {len(failed)}: {reasons}")


@dataclass(slots=True)
class _Given:
    """A node, its vectors, and the document that it becomes."""

    node: BaseNode
    vectors: NodeVectors
    document: Document
    lost: Exception | None
    """Why its picture cannot be read, when it is stored without."""


def add_nodes(
    nodes: Sequence[BaseNode],
    ready: Callable[[int], MultimodalIndex],
    remote: RemotePictures | None = None,
) -> Added:
    """Store nodes, replacing those with the same id, and report those that cannot be stored.

    Args:
        nodes: The nodes; of two with one id the later one counts.
        ready: Returns the index to store them in; it is told the dimension of most of their vectors, 0 when
            they have none.
        remote: Fetches the pictures that are given by their URL; without it none is fetched.

    Raises:
        InvalidArgument: Not nodes.
        StorageError: The folder cannot be written.
    """
    added = Added()
    known = list_of("nodes", nodes, BaseNode, "nodes")
    given: dict[str, _Given] = {}
    dropped: dict[str, None] = {}
    for node in known:
        if (one := _read(node, added, remote)) is not None:
            given[node.node_id] = one
            dropped.update(dict.fromkeys(dropped_from(node.metadata)))
    if dropped:
        logger.warning(
            "Not kept, because %r is reserved in metadata: %s. The nodes are stored without it.",
            RESERVED_KEY, ", ".join(list(dropped)[:10]),
        )  # fmt: skip
    if given:
        _store_given(list(given.values()), ready, added)
    place_of_id = {node.node_id: at for at, node in enumerate(known)}
    failed = sorted(added.report.failed, key=lambda failure: place_of_id.get(failure.id, 0))
    added.report = dataclasses.replace(added.report, failed=tuple(failed))
    return added


def _store_given(
    given: Sequence[_Given], ready: Callable[[int], MultimodalIndex], added: Added
) -> None:
    try:
        index = ready(_dimension(given))
    except InvalidArgument as error:
        for one in given:
            added.refuse(one.document.id, one.document.source, error)
    else:
        _store(index, _kept(index, given, added), added)


def _read(node: BaseNode, added: Added, remote: RemotePictures | None) -> _Given | None:
    """Return a node with the document that it becomes, or report what is wrong with it."""
    source = str(node.metadata.get("source", "")) if isinstance(node.metadata, dict) else ""
    try:
        vectors = vectors_of(node)
        if not has_picture(node) and not _has_words(node, vectors):
            added.refuse(
                node.node_id, source, "It has neither text nor an image, so it was left out."
            )
            return None
        try:
            document = to_stored(node, has_vector=bool(vectors), remote=remote)
            if document.image is not None:
                _ = document.image.header
            return _Given(node, vectors, document, None)
        except MediaError as error:
            if not vectors:
                raise
            lost = to_stored(node, has_vector=True, is_lost=True)
            return _Given(node, vectors, lost, error)
    # What is in a node is the user's: an object in it may raise anything when it is looked at.
    except Exception as error:
        added.refuse(node.node_id, source, error)
        return None


def _has_words(node: BaseNode, vectors: NodeVectors) -> bool:
    """Whether a node has text, or metadata that a vector was made of."""
    if node.get_content(MetadataMode.NONE).strip():
        return True
    return bool(vectors) and bool(node.get_metadata_str(MetadataMode.EMBED).strip())


def _dimension(given: Sequence[_Given]) -> int:
    """Return how many columns most of the vectors have that can be compared; 0 when there is none."""
    counts: Counter[int] = Counter()
    for one in given:
        for vector in (one.vectors.own, one.vectors.words, one.vectors.picture):
            if vector is not None:
                if fault(vector, len(vector), "") is None:
                    counts[len(vector)] += 1
                break
    return counts.most_common(1)[0][0] if counts else 0


@dataclass(slots=True)
class _Batch:
    documents: list[Document] = field(default_factory=list)
    text: dict[str, ArrayLike] = field(default_factory=dict)
    image: dict[str, ArrayLike] = field(default_factory=dict)


def _kept(index: MultimodalIndex, given: Sequence[_Given], added: Added) -> _Batch:
    """Return what can be stored, with its vectors by list; report the rest."""
    text_dim = index.text_encoder.dim if index.text_encoder is not None else 0
    image_dim = index.image_encoder.dim if index.image_encoder is not None else 0
    lost = [one.document.id for one in given if one.lost is not None]
    pictured = {one.id for one in index.get(lost) if one.has_image} if lost else set()
    batch, left_out = _Batch(), 0
    for one in given:
        document = one.document
        placed = place(one.node, one.vectors, text_dim, image_dim)
        text, image = placed.text, placed.image
        left_out += placed.left_out
        wrong = None if text is None else fault(text, text_dim, document.id)
        if image is not None and fault(image, image_dim, document.id) is not None:
            image = None  # the encoder of the index makes another one
            left_out += 1
        if wrong is not None and document.has_image and not document.has_text and image_dim:
            wrong, text = None, None  # it is found by the vector of its picture
            left_out += 1
        error: Exception | None = wrong or _unfindable(
            index, one, text is not None, image is not None
        )
        if one.lost is not None and (error is not None or document.id in pictured):
            error = one.lost  # what is stored under this id has its picture, so it stays
        if error is not None:
            added.refuse(document.id, document.source, error)
            continue
        if one.lost is not None:
            added.say_lost(document, one.lost)
        batch.documents.append(document)
        if text is not None:
            batch.text[document.id] = text
        if image is not None:
            batch.image[document.id] = image
    if left_out:
        logger.warning(
            "%d vectors of nodes found no place in the index and were left out", left_out
        )
    return batch


def _unfindable(
    index: MultimodalIndex, one: _Given, has_text_vector: bool, has_image_vector: bool
) -> DiptychError | None:
    """Return why nothing could find a document, if so."""
    document, encoder = one.document, index.text_encoder
    if (
        document.has_text
        and not has_text_vector
        and one.vectors.own is not None
        and encoder is None
    ):
        return InvalidArgument(
            "The index of this DiptychVectorStore has no text encoder, so it has no room for the embeddings "
            "of nodes. Create the index with one."
        )
    is_model = (
        not isinstance(encoder, GivenVectors) or getattr(encoder, "encoder", None) is not None
    )
    if document.has_text and not has_text_vector and encoder is not None and not is_model:
        return InvalidArgument(
            f"Node {document.id[:80]!r} was given without an embedding to a DiptychVectorStore without an "
            "embedding model. Embed the nodes first, as VectorStoreIndex and IngestionPipeline do, or pass "
            "embed_model= to the store."
        )
    is_alone = document.has_image and not document.has_text and document.group is None
    if is_alone and index.image_encoder is None and not has_text_vector and not has_image_vector:
        return InvalidArgument(
            f"Node {document.id[:80]!r} is a picture without words and without an embedding, and the store "
            "has no image encoder, so nothing could find it. Pass image_encoder= to the store."
        )
    return None


def _store(index: MultimodalIndex, batch: _Batch, added: Added) -> None:
    documents = in_stored_groups(index, batch.documents)
    for start in range(0, len(documents), BATCH):
        _upsert(index, documents[start : start + BATCH], batch, added)


def _upsert(
    index: MultimodalIndex, documents: Sequence[Document], batch: _Batch, added: Added
) -> None:
    """Store a batch; where a part of it cannot be encoded, find out which."""
    try:
        report = index.upsert(
            documents, batch_size=BATCH, text_vectors=batch.text, image_vectors=batch.image
        )
    except (InvalidArgument, VectorError) as error:
        if len(documents) == 1:
            added.refuse(documents[0].id, documents[0].source, error)
            return
        middle = len(documents) // 2
        _upsert(index, documents[:middle], batch, added)
        _upsert(index, documents[middle:], batch, added)
        return
    by_id = {document.id: document for document in documents}
    for failure in report.failed:
        logger.warning(
            "Node %.200r (%.200s) was not stored: %s", failure.id, failure.source, failure.reason
        )
        is_picture = by_id[failure.id].has_image
        added.errors.append((MediaError if is_picture else VectorError)(failure.reason))
    added.report += report
