"""One call that adds documents: what can be stored, what cannot and why, and storing it in batches.

One bad document never stops the others. What cannot be stored becomes a ``Failure``; an error is raised
only where nothing of a call could be stored.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from numpy.typing import ArrayLike

from diptych.checks import cut, shown
from diptych.errors import DiptychError, DocumentError, InvalidArgument, MediaError, VectorError
from diptych.index import MultimodalIndex, in_stored_groups
from diptych.index.probe import TEXT, picture
from diptych.report import Failure
from diptych.reserved import RESERVED_KEY
from diptych.types import Document as Stored

__all__ = ["Addition", "Candidate", "needs_trial", "store_batch"]

logger = logging.getLogger(__name__)

_NAMED = 20
"""How many failures an error names; ``store.failed`` has all of them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document to store, and the vectors of it that need not be made."""

    stored: Stored
    text_vector: ArrayLike | None = None
    image_vector: ArrayLike | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    at: int
    failure: Failure
    error: Exception
    is_blank: bool


@dataclass(slots=True)
class Addition:
    """What one call adds, and what of it failed.

    Attributes:
        candidates: What can be stored, by id, in the order given. Of several with one id the last counts.
    """

    candidates: dict[str, Candidate] = field(default_factory=dict)
    _dropped: dict[str, None] = field(default_factory=dict)
    _refusals: list[_Refusal] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)
    _lost: set[str] = field(default_factory=set)
    _count: int = 0

    def take(
        self,
        identity: object,
        source: object,
        make: Callable[[], Candidate],
        *,
        is_blank: bool = False,
    ) -> None:
        """Make one document, or note why it cannot be one.

        Args:
            identity: Its id.
            source: Where it comes from, as far as it is known.
            make: Makes it.
            is_blank: Whether there is just nothing in it.
        """
        at, self._count = self._count, self._count + 1
        try:
            candidate = make()
        # What is in a document is the user's: an object in it may raise anything when it is looked at.
        except Exception as error:
            name = identity if isinstance(identity, str) else shown(identity)
            self._refuse(at, Failure(name, _label(source) or name, _words(error)), error, is_blank)
            return
        self.candidates[candidate.stored.id] = candidate
        self._places[candidate.stored.id] = at

    def put(self, candidates: Iterable[Candidate]) -> None:
        """Take documents that are made already."""
        for candidate in candidates:
            self.take(candidate.stored.id, "", partial(_same, candidate))

    def drop(self, names: Iterable[str]) -> None:
        """Note which reserved keys of a document's metadata are not kept."""
        self._dropped.update(dict.fromkeys(names))

    def refuse(self, candidate: Candidate, error: Exception) -> None:
        """Note that a document could not be stored."""
        stored = candidate.stored
        failure = Failure(stored.id, _label(stored.source), _words(error))
        self._lose(failure, error)

    def note(self, failed: Sequence[Failure]) -> None:
        """Note what an index says that it could not store."""
        for failure in failed:
            short = dataclasses.replace(failure, source=_label(failure.source))
            self._lose(short, MediaError(failure.reason))

    def batches(self, size: int) -> Iterator[list[Candidate]]:
        """Yield what can be stored, ``size`` at a time."""
        candidates = list(self.candidates.values())
        for start in range(0, len(candidates), size):
            yield candidates[start : start + size]

    @property
    def failed(self) -> tuple[Failure, ...]:
        """What could not be stored, in the order given."""
        return tuple(refusal.failure for refusal in self._in_order())

    def log(self) -> None:
        """Say what could not be stored, and once what of the metadata was not."""
        if self._dropped:
            logger.warning(
                "Not kept, because %r is reserved in metadata: %s. The documents are stored without it.",
                RESERVED_KEY, ", ".join(list(self._dropped)[:10]),
            )  # fmt: skip
        for failure in self.failed:
            source = f", from {cut(failure.source)}" if failure.source != failure.id else ""
            logger.warning("Not stored: %s%s: %s", shown(failure.id), source, failure.reason)

    def check(self) -> None:
        """Raise an error when nothing of the call was stored, although something was to be.

        Raises:
            InvalidArgument: Or the class of the first failure; it names all of them.
        """
        refusals = self._in_order()
        faults = [refusal for refusal in refusals if not refusal.is_blank]
        if not faults or len(self.candidates) > len(self._lost):
            return
        first = faults[0].error
        if len(refusals) == 1:
            raise first
        named = "; ".join(f"{shown(r.failure.id)}: {r.failure.reason}" for r in refusals[:_NAMED])
        more = len(refusals) - _NAMED
        text = f"None of {len(refusals):,} documents was stored: {named}"
        text += f"; and {more:,} more, see the attribute failed of the store." if more > 0 else ""
        for kind in (MediaError, VectorError, DocumentError, InvalidArgument):
            if isinstance(first, kind):
                raise kind(text) from first
        first.add_note(text)
        raise first

    def _lose(self, failure: Failure, error: Exception) -> None:
        self._lost.add(failure.id)
        self._refuse(self._places[failure.id], failure, error, False)

    def _refuse(self, at: int, failure: Failure, error: Exception, is_blank: bool) -> None:
        self._refusals.append(_Refusal(at, failure, error, is_blank))

    def _in_order(self) -> list[_Refusal]:
        return sorted(self._refusals, key=lambda refusal: refusal.at)


def store_batch(index: MultimodalIndex, addition: Addition, batch: Sequence[Candidate]) -> None:
    """Store a batch in one commit, or, when something in it stops that, its documents one by one.

    Raises:
        Exception: What is not the fault of a document: of the storage, of an index that lacks a model,
            or of a model that fails with everything.
    """
    if not batch:
        return
    try:
        report = index.upsert(
            in_stored_groups(index, [candidate.stored for candidate in batch]),
            batch_size=len(batch),
            text_vectors=_vectors(batch, "text_vector"),
            image_vectors=_vectors(batch, "image_vector"),
        )
    except Exception as error:
        _check_is_of_documents(error, index, batch)
        if len(batch) == 1:
            addition.refuse(batch[0], error)
        for one in batch if len(batch) > 1 else ():
            store_batch(index, addition, [one])
    else:
        addition.note(report.failed)


def needs_trial(error: Exception) -> bool:
    """Whether only a trial tells if a model failed with its input, or fails with all of them.

    A model that cannot be reached would otherwise look like a batch of bad documents. An error that says
    itself that it is about an input needs none.

    Raises:
        Exception: ``error``, where it is that of a disk, a network, a lock or memory.
    """
    if isinstance(error, InvalidArgument):
        return False
    if isinstance(error, DiptychError | OSError | MemoryError):
        raise error
    return True


def _check_is_of_documents(
    error: Exception, index: MultimodalIndex, batch: Sequence[Candidate]
) -> None:
    """Raise an error that is not the fault of a document of the batch."""
    if needs_trial(error):
        text, image = index.text_encoder, index.image_encoder
        try:
            if text is not None and any(c.stored.has_text and c.text_vector is None for c in batch):
                text.encode_document([TEXT])
            if image is not None and any(
                c.stored.has_image and c.image_vector is None for c in batch
            ):
                image.encode_image([picture()])
        except Exception:
            raise error from None
    # Errors of documents are of a subclass. This one says that the index lacks a model, which is the
    # fault of a document only where it is a picture in an index of texts.
    has_words = any(candidate.stored.has_text for candidate in batch)
    if type(error) is InvalidArgument and (index.image_index.dim or has_words):
        raise error


def _same(candidate: Candidate) -> Candidate:
    return candidate


def _vectors(batch: Sequence[Candidate], name: str) -> Mapping[str, ArrayLike]:
    given = {candidate.stored.id: getattr(candidate, name) for candidate in batch}
    return {identity: vector for identity, vector in given.items() if vector is not None}


def _words(error: Exception) -> str:
    """Return what an error says; that of others with its kind, which often says more."""
    if isinstance(error, DiptychError):
        return str(error)
    return f"{type(error).__name__}: {shown(str(error), 300)[1:-1]}"


def _label(source: object) -> str:
    """Return a source as one short name; a picture that is given as a ``data:`` URI has none."""
    if not isinstance(source, str) or source[:5].lower() == "data:":
        return ""
    return shown(source, 200)[1:-1]
