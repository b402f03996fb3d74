"""MultimodalIndex: documents in, three vector indexes and a lexical one kept in step."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from diptych.align.fusion_model import ConcatFusion
from diptych.checks import checked_path, checked_settings, list_of, seconds, shown, whole
from diptych.encoders.named import MODELS_SETTING, name_of, needs_word
from diptych.errors import EncoderMismatch, InvalidArgument
from diptych.filters import Filter
from diptych.index.add import Given, Readings, batches, store_batch
from diptych.index.compatible import (
    check_can_add,
    check_encoders,
    check_has_models,
    spaces_of,
)
from diptych.index.door import ENCODED, Door
from diptych.index.embed import Models
from diptych.index.opening import encoders_of
from diptych.index.pickled import again, lasting_options
from diptych.index.places import left_over, places, vanished
from diptych.index.prefixes import choose_prefixes
from diptych.index.probe import with_probes
from diptych.index.snapshot import Snapshot
from diptych.index.trust import trust
from diptych.index.views import IndexInfo, VectorView
from diptych.ingest import Reading
from diptych.ingest.origin import Origin
from diptych.protocols import Aligner, FusionModel, ImageEncoder, TextEncoder
from diptych.report import AddReport, SyncReport
from diptych.storage import Database, IndexKind, LocalStorage, PicturePolicy, Space
from diptych.storage.namespaces import namespace_folder
from diptych.types import Document, Hit, ListName, Query
from diptych.vectors import Vectors

__all__ = ["MultimodalIndex"]

EXIT_SECONDS = 1.0
"""How long an index that was not closed waits for its readers when the program ends."""

VectorsById = Mapping[str, ArrayLike] | None
Gone = Callable[[Database], dict[str, int]]
"""Says, by id and key, what a folder does not give any more."""


class MultimodalIndex:
    """Text, image and cross-modal vectors of one corpus, under one id for each document.

    Documents have text, a picture, or both. Their text goes into ``text_index`` and the lexical
    list, their picture into ``image_index``, and both together into ``cross_modal_index``; a
    deletion takes a document out of all of them in one commit.

    Args:
        text_encoder: Makes the vectors of texts. None: texts are found by their words only.
        image_encoder: Makes the vectors of pictures. When it also encodes texts into the same
            space, as CLIP does, a text query reaches the pictures through it.
        path: A folder. It is created by the first ``add`` and everything added is in it when
            ``add`` returns. None keeps the index in memory.
        fusion_model: Makes the cross-modal vectors; the exact concatenation by default.
        aligner: Maps between the two spaces where no encoder does.
        images: Whether pictures are copied into the folder ("copy"), so that the index is whole
            in itself, or stay where they are ("reference").
        settings: Words kept with the index from its first add. The names of its models are among them,
            under "models", when they have names.
        kind: How a list of more than 10,000 vectors is searched: "flat" exactly, "hnsw" through a graph,
            "ivf" in the nearest clusters. Scores are exact with each, and so is a search with a filter
            that admits little. It may differ each time that the index is opened.
        namespace: The name of one of several indexes in the folder, each with its own files and its
            own writer. None for the folder itself.
        lock_timeout: How many seconds the first write waits for another writer of the folder.

    Raises:
        EncoderMismatch: The folder was filled with other models than these.
        FormatError: The folder holds no index.

    Example:
        >>> from diptych import Document, MultimodalIndex, ToyEncoder
        >>> index = MultimodalIndex(ToyEncoder(), ToyEncoder())
        >>> print(index.add([Document(text="a red apple", id="apple")]))
        1 added
    """

    def __init__(
        self,
        text_encoder: TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        fusion_model: FusionModel | None = None,
        aligner: Aligner | None = None,
        images: PicturePolicy = "copy",
        settings: Mapping[str, str] | None = None,
        kind: IndexKind = "flat",
        namespace: str | None = None,
        lock_timeout: float = 0.5,
    ) -> None:
        check_encoders(text_encoder, image_encoder, fusion_model, aligner)
        if images not in ("copy", "reference"):
            raise InvalidArgument(
                f'images={shown(images)} is unknown; expected "copy" or "reference".'
            )
        lock_timeout = seconds("lock_timeout", lock_timeout)
        if namespace is not None and path is None:
            raise InvalidArgument("namespace= needs path=; an index in memory is apart already.")
        self.path = checked_path("path", path) if path is not None else None
        if self.path is not None and namespace is not None:
            self.path = namespace_folder(self.path, namespace)
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.fusion_model: FusionModel = fusion_model or ConcatFusion(
            text_encoder.dim if text_encoder else 0, image_encoder.dim if image_encoder else 0
        )
        self.aligner = aligner
        name = name_of(text_encoder, image_encoder)
        self._models_name = name
        self._settings = ({MODELS_SETTING: name} if name else {}) | checked_settings(settings)
        if kind not in ("flat", "hnsw", "ivf"):
            raise InvalidArgument(
                f'kind={shown(kind)} is unknown; expected "flat", "hnsw" or "ivf".'
            )
        self._options = {
            "path": None if path is None else Path(path).absolute(),
            "fusion_model": fusion_model,
            "aligner": aligner,
            "images": images,
            "settings": dict(settings) if settings else None,
            "kind": kind,
            "namespace": namespace,
            "lock_timeout": lock_timeout,
        }
        self._storage = LocalStorage(self.path, images, kind=kind, lock_timeout=lock_timeout)
        self._door = Door(self.path)
        try:
            self._door.enter(self._storage.spaces, self._models)
            self._trust_models()
        except EncoderMismatch:
            self._storage.close()
            raise
        weakref.finalize(self, self._storage.close, timeout=EXIT_SECONDS)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        models: str | None = None,
        fusion_model: FusionModel | None = None,
        aligner: Aligner | None = None,
        kind: IndexKind = "flat",
        namespace: str | None = None,
        lock_timeout: float = 0.5,
    ) -> Self:
        """Return the index in a folder, with the encoders that it was filled with.

        Encoders of diptych are loaded by the names that the index remembers. A folder or a model of a hub
        is loaded only when you have named it for this index before: by giving such an encoder to the
        class, by ``--models``, or by ``models`` here. One of a hub is fetched if it is not on this machine.
        Give encoders to the class instead when they are your own.

        Args:
            path: The folder.
            models: The names of the models, such as "open-clip:FOLDER"; by default those that the index
                remembers.
            fusion_model: As for the class.
            aligner: As for the class.
            kind: As for the class.
            namespace: As for the class.
            lock_timeout: As for the class.

        Raises:
            FormatError: There is no index.
            InvalidArgument: The index does not remember its encoders, or they are a folder or on a hub and
                you have not named them.
            MissingExtra: An encoder needs a package that is not installed.
            EncoderMismatch: What was loaded is not what the index was filled with.
        """
        folder = checked_path("path", path)
        if namespace is not None:
            folder = namespace_folder(folder, namespace)
        text_encoder, image_encoder = encoders_of(folder, models)
        return cls(
            text_encoder, image_encoder, path=path, fusion_model=fusion_model, aligner=aligner,
            kind=kind, namespace=namespace, lock_timeout=lock_timeout,
        )  # fmt: skip

    # -- changing ---------------------------------------------------------------------------

    def add(
        self,
        documents: Iterable[Document],
        *,
        batch_size: int = 64,
        show_progress: bool = False,
        text_vectors: VectorsById = None,
        image_vectors: VectorsById = None,
    ) -> AddReport:
        """Store new documents and skip those that are stored already, unchanged.

        Each batch is on stable storage before the next one is read, so an interrupted call can be
        repeated. A document whose picture cannot be read, or whose vector has no direction (NaN, infinite
        or zero), is reported and the others go on. Nothing is replaced or removed,
        also when a file that ``diptych.read`` reads has become shorter.

        Args:
            documents: Any iterable; read lazily.
            batch_size: How many are encoded and committed together.
            show_progress: Show a progress bar on standard error.
            text_vectors: Vectors of texts by document id, made elsewhere with the same model. A document
                without text is found by such a vector too.
            image_vectors: Vectors of pictures by document id, likewise.

        Returns:
            How many were added and skipped, which failed, and, of what ``diptych.read`` returned, also
            which files could not be read and which are of a kind that no reader takes.

        Raises:
            DocumentError: Two documents of a batch, or one here and one stored, share an id but not
                their content. Nothing of that batch is stored. ``upsert`` replaces.
            VectorError: An encoder returned no array of vectors, or none in this call that can be stored.
            LockedError: Another process is writing to the folder.
            Conflict: Others changed the same documents again and again meanwhile.
        """
        given = _given(text_vectors, image_vectors)
        return self._store(documents, batch_size, show_progress, given, replace=False)

    def upsert(
        self,
        documents: Iterable[Document],
        *,
        batch_size: int = 64,
        show_progress: bool = False,
        text_vectors: VectorsById = None,
        image_vectors: VectorsById = None,
    ) -> AddReport:
        """Store documents, replacing those that are stored under the same id with other content.

        Arguments and errors are those of :meth:`add`. A document of which only metadata, group or
        order changed is not encoded again. A vector that is given and differs from the stored one
        (1 − cosine ≥ 1e-4) replaces it.

        What ``diptych.read`` returned replaces its files as a whole: when everything is stored, the
        documents that a file gave before and does not give any more are removed. Files that could not
        be read, and files that are not there any more, keep theirs; :meth:`sync` removes the latter.
        A document is reported, and not stored, when its id is that of a document of another folder.
        A folder that was read before the one around it becomes a part of it: its old ids are removed,
        unless their prefix was chosen by hand.
        """
        given = _given(text_vectors, image_vectors)
        newest = self._newest()
        report = self._store(documents, batch_size, show_progress, given, replace=True)
        if isinstance(documents, Reading):
            gone = partial(left_over, reading=documents, report=report)
            report += AddReport(removed=len(self._remove(gone, newest)))
        return report

    def sync(
        self,
        reading: Reading,
        *,
        dry_run: bool = False,
        allow_empty: bool = False,
        batch_size: int = 64,
        show_progress: bool = False,
    ) -> SyncReport:
        """Make the documents of a folder what is in it now: add, replace, and remove what vanished.

        Only documents that were read from the same folder under the same prefix are removed, or from one
        within it that was read by itself before, and none of a file that is still there and could not
        be read. An interrupted call can be repeated;
        what was stored is not encoded again.

        Args:
            reading: What ``diptych.read`` returned for the folder or file.
            dry_run: Change nothing, and say what would be done.
            allow_empty: Remove everything when nothing is left in the folder; a folder that is not
                mounted looks like an empty one.
            batch_size: How many are encoded and committed together.
            show_progress: Show a progress bar on standard error.

        Raises:
            InvalidArgument: Nothing was read, and something is stored.
            LockedError: Another process is writing to the folder.
        """
        newest = self._newest()
        report = self._store(reading, batch_size, show_progress, {}, replace=True, dry_run=dry_run)
        gone = partial(vanished, reading=reading, report=report)
        removed = sorted(self._chosen(gone, newest))
        is_empty = not reading.ids and not reading.whole
        if removed and is_empty and not report.failed and not allow_empty:
            raise InvalidArgument(
                f"Nothing was read from {reading.origin.path!r}, and {len(removed):,} documents "
                "from there are stored. Is the folder there, and mounted? To remove them all, pass "
                "allow_empty=True (--allow-empty)."
            )
        if not dry_run:
            removed = self._remove(gone, newest)
        return SyncReport(report, tuple(removed), dry_run)

    def delete(self, ids: Iterable[str] | None = None, *, where: Filter | None = None) -> int:
        """Remove documents by id, by filter, or those that satisfy both, and return how many.

        An id that is not stored is ignored.

        Raises:
            InvalidArgument: Neither ids nor a filter is given; :meth:`clear` removes everything.
        """
        if ids is None and where is None:
            raise InvalidArgument(
                "delete needs ids, where=, or both. To remove everything use clear()."
            )
        return self._delete(ids, where)

    def clear(self) -> int:
        """Remove every document and return how many there were."""
        return self._delete(None, None)

    def compact(self) -> None:
        """Give the room of deleted and replaced documents back to the disk."""
        if not self._storage.is_new:
            self._storage.compact()

    def close(self) -> None:
        """Release the folder; everything is stored already. Closing twice is nothing."""
        self._storage.close()

    # -- looking ----------------------------------------------------------------------------

    @property
    def text_index(self) -> VectorView:
        """The vectors of the texts."""
        return self._view("text")

    @property
    def image_index(self) -> VectorView:
        """The vectors of the pictures."""
        return self._view("image")

    @property
    def cross_modal_index(self) -> VectorView:
        """The vectors of text and picture together."""
        return self._view("cross_modal")

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        modalities: Sequence[str] = ("text", "image"),
        where: Filter | None = None,
        vectors: Mapping[str, ArrayLike] | None = None,
    ) -> dict[ListName, list[Hit]]:
        """Return the best ``k`` of each ranked list, with the raw scores of the lists.

        To have one list on one scale, use ``MultimodalRetriever``.

        Args:
            query: A text, a picture, or a ``Query``.
            k: How many of each list.
            modalities: "text" stands for the text index and the lexical list, "image" for the image
                index, both together also for the cross-modal index, which can be named alone; "lexical"
                for words alone, with which nothing is encoded.
            where: Only documents that this filter admits; applied before the search.
            vectors: Query vectors by list, made elsewhere.

        Raises:
            InvalidArgument: An empty query, ``k`` below 1, or an unknown modality.
            FilterError: The filter is malformed.
        """
        with self.snapshot() as snapshot:
            (ranked,) = snapshot.rank([Query.of(query)], k, modalities, where, vectors)
            keys = {key for found, _ in ranked.lists.values() for key in found.tolist()}
            stubs = snapshot.stubs(sorted(keys))
        return {
            name: [
                Hit(stubs[key].id, float(score))
                for key, score in zip(found.tolist(), scores.tolist(), strict=True)
                if key in stubs
            ]
            for name, (found, scores) in ranked.lists.items()
        }

    def query_vectors(
        self, query: Any, *, vectors: Mapping[str, ArrayLike] | None = None
    ) -> dict[str, Vectors]:
        """Return the vectors of a query, ``(1, dim)`` each, for the lists that it can reach.

        Args:
            query: A text, a picture, or a ``Query``.
            vectors: Query vectors by list, made elsewhere; those are not made again.

        Raises:
            InvalidArgument: An empty query.
        """
        with self.snapshot() as snapshot:
            return snapshot.query_vectors(Query.of(query), vectors)

    def get(
        self,
        ids: Iterable[str] | None = None,
        *,
        where: Filter | None = None,
        limit: int | None = None,
    ) -> list[Document]:
        """Return documents by id, in the order asked for, or by filter, in the order of addition.

        An id that is not stored is left out.

        Raises:
            InvalidArgument: ``limit`` is negative or no integer.
        """
        limit = None if limit is None else whole("limit", limit)
        with self.snapshot() as snapshot:
            return snapshot.documents(snapshot.select(ids, where, limit))

    def ids(self, where: Filter | None = None) -> list[str]:
        """Return the ids of the documents that a filter admits, in the order of addition."""
        with self.snapshot() as snapshot:
            keys = snapshot.select(None, where, None)
            stubs = snapshot.stubs(keys)
        return [stubs[key].id for key in keys]

    def info(self) -> IndexInfo:
        """Return how many documents and vectors there are, and which models made them."""
        with self._storage.reading() as state:
            counts = Snapshot(state, self._models).counts()
            spaces = dict(state.spaces or self._spaces())
            vectors = {name: len(index) for name, index in state.indexes.items()}
        return IndexInfo(
            path=self.path,
            spaces=spaces,
            vectors=vectors,
            bytes=self._storage.bytes_on_disk(),
            **counts,
        )

    @property
    def settings(self) -> dict[str, str]:
        """The words that were given at the first add."""
        with self._storage.reading() as state:
            return state.database.settings() if state.database else dict(self._settings)

    def folders(self) -> list[Origin]:
        """Return the folders that documents were read from, each with the prefix of its ids."""
        with self._storage.reading() as state:
            return places(state.database) if state.database else []

    def prefixes_for(self, paths: Sequence[str | os.PathLike[str]]) -> list[str]:
        """Return with which prefix to read each of several folders or files into this index.

        It is the one with which the folder was read before, or "" for the first folder of an index.
        Any other one gets its name, with as many of its parents as make it unique. A folder within
        one that was read before has its path in there; one that was moved keeps its prefix.

        Raises:
            InvalidArgument: There is nothing at a path, or it was read before with several prefixes.

        Example:
            ``index.upsert(read(folder, prefix=index.prefixes_for([folder])[0]))``
        """
        with self._storage.reading() as state:
            return choose_prefixes(state.database, Snapshot(state, self._models), paths)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """See one state of the index throughout; changes by other threads wait."""
        with self._storage.reading() as state:
            yield Snapshot(state, self._models, self._door)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other writers out, so that what is read inside still holds when it is written.

        Raises:
            LockedError: Another process or object is writing to the folder.
        """
        if self._storage.is_new:  # there is nothing yet that could change
            yield
            return
        with self._storage.alone():
            yield

    def __len__(self) -> int:
        with self.snapshot() as snapshot:
            return snapshot.counts()["documents"]

    def __contains__(self, document_id: object) -> bool:
        with self.snapshot() as snapshot:
            return isinstance(document_id, str) and bool(snapshot.select([document_id], None, None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the index: the folder is opened again, with the same models.

        Raises:
            InvalidArgument: It is in memory.
        """
        models = self.text_encoder, self.image_encoder
        options, storage = lasting_options(self, self._options), self._storage
        stored_in = str(storage.path.absolute()) if storage.path and storage.is_there else ""
        return again, (type(self), models, options, stored_in)

    def __copy__(self) -> Self:
        """Return another index over the folder, with the same models; in memory there is none."""
        _, arguments = self.__reduce__()
        copied: Self = again(*arguments)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __repr__(self) -> str:
        return f"<MultimodalIndex {str(self.path) if self.path else 'in memory'}>"

    # -- helpers ----------------------------------------------------------------------------

    def _view(self, name: str) -> VectorView:
        space = self._storage.spaces.get(name) or self._spaces().get(name)
        return VectorView(name, self.snapshot, space)

    @property
    def _models(self) -> Models:
        return Models(self.text_encoder, self.image_encoder, self.fusion_model, self.aligner)

    def _spaces(self) -> dict[str, Space]:
        """Return which spaces the encoders of this object make."""
        return spaces_of(self._models)

    def _compare(
        self, spaces: Mapping[str, Space], *, with_probes: bool, are_given: bool = False
    ) -> None:
        """Compare the models with those of the vectors, before a batch is stored beside them."""
        if not self._storage.is_new:
            check_has_models(spaces, self._models, self.path)
        self._door.enter(spaces, self._models)
        if are_given:
            for name in spaces:
                self._door.compare(spaces, self._models, name)
        elif with_probes:
            self._door.probe(spaces, self._models, ENCODED)

    def _store(
        self,
        documents: Iterable[Document],
        batch_size: int,
        show_progress: bool,
        given: Given,
        *,
        replace: bool,
        dry_run: bool = False,
    ) -> AddReport:
        report = AddReport()
        reading = documents if isinstance(documents, Reading) else None
        readings = Readings(reading.origin_of) if reading is not None else None
        for batch in batches(documents, batch_size, show_progress=show_progress):
            check_can_add(self._storage.spaces, self._models, batch, given)
            if self._storage.is_new and not dry_run:
                spaces = self._spaces()
                if self.path is not None:
                    spaces = with_probes(spaces, self._models)
                self._storage.create(spaces, self._settings)
                self._trust_models()
            report += store_batch(
                self._storage, self._models, batch, given,
                replace=replace, readings=readings, dry_run=dry_run,
                check=partial(self._compare, with_probes=not dry_run, are_given=any(given.values())),
                some_are_good=bool(report.added or report.updated or report.skipped),
            )  # fmt: skip
        if reading is not None:
            report += AddReport(failed=tuple(reading.failed), not_read=reading.not_read)
        return report

    def _newest(self) -> int:
        """Return the key of the document that was stored last, 0 when there is none."""
        with self._storage.reading() as state:
            return state.database.newest() if state.database else 0

    def _chosen(self, gone: Gone, newest: int) -> dict[str, int]:
        """Return ids and keys of what a folder does not give any more.

        What was stored after ``newest`` and is not of this reading comes from another one that saw the
        folder later.
        """
        with self._storage.reading() as state:
            found = gone(state.database) if state.database else {}
        return {document_id: key for document_id, key in found.items() if key <= newest}

    def _remove(self, gone: Gone, newest: int) -> list[str]:
        """Remove what a folder does not give any more, in one commit, and return the ids."""
        if not self._chosen(gone, newest):
            return []
        # Chosen again by whoever holds the lock, so that what changed meanwhile is not removed.
        with self._storage.alone():
            chosen = self._chosen(gone, newest)
            if chosen:
                self._storage.delete(np.asarray(sorted(chosen.values()), np.int64))
        return sorted(chosen)

    def _trust_models(self) -> None:
        """Note that the user has named these models for this index, when it remembers the same ones."""
        if self.path is None or self._storage.is_new or not needs_word(self._models_name):
            return
        with self._storage.reading() as state:
            database = state.database
            if database and database.settings().get(MODELS_SETTING) == self._models_name:
                trust(database.identity(), self._models_name)

    def _delete(self, ids: Iterable[str] | None, where: Filter | None) -> int:
        wanted = None if ids is None else list_of("ids", ids, str, "ids")

        def chosen() -> list[int]:
            with self.snapshot() as snapshot:
                return sorted(snapshot.select(wanted, where, None))

        if not chosen():
            return 0
        # Chosen again by whoever holds the lock, so that what changed meanwhile is not removed.
        with self._storage.alone():
            return self._storage.delete(np.asarray(chosen(), np.int64))


def _given(text: VectorsById, image: VectorsById) -> Given:
    """Return the vectors that were made elsewhere, by list.

    Raises:
        InvalidArgument: Not mappings by document id.
    """
    for name, vectors in (("text_vectors", text), ("image_vectors", image)):
        if vectors is not None and not isinstance(vectors, Mapping):
            raise InvalidArgument(
                f"{name}= is a {type(vectors).__name__}; expected a mapping of document ids to vectors. "
                "Pass {document.id: vector}."
            )
    return {"text": text or {}, "image": image or {}}
