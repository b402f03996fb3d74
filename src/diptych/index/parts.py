"""A part of an export of unknown origin: documents line by line, vectors and pictures as needed."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from diptych.image import Image
from diptych.index.archive import CHUNK, NAMES, PART_BYTES, lists_with_vectors
from diptych.index.json_lines import LINE_BYTES, parse
from diptych.index.origin import Origin
from diptych.index.tensors import Tensors
from diptych.index.zipped import Zipped
from diptych.media import MAX_BYTES
from diptych.metadata import checked_string
from diptych.reserved import separated
from diptych.types import Document

__all__ = ["Batch", "batches"]

_BATCH_MEMORY = 96 << 20
"""About how many bytes the documents of one commit may take in memory."""

_VECTOR_COPIES = 6
"""Of a vector, while it is stored."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents of a part that follow each other, with their vectors by list."""

    documents: list[Document]
    vectors: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]


class _Packed(Image):
    """A picture inside an export, unpacked each time it is read."""

    __slots__ = ("_archive", "_entry", "_origin")

    def __init__(self, archive: Zipped, entry: str, name: str, origin: Origin) -> None:
        super().__init__(entry, name=name, sha256=entry.partition("/")[2].partition(".")[0])
        self.path = None
        self.name = name
        self._archive, self._entry, self._origin = archive, entry, origin

    def read(self) -> bytes:
        with self._origin.reading():
            data = self._archive.read(self._entry, MAX_BYTES)
            digest = hashlib.sha256(data).hexdigest()
            if digest != self.sha256:
                raise ValueError(
                    f"{self._entry} has changed since it was exported: its content hash is {digest[:12]}"
                )
        return data

    @property
    def label(self) -> str:
        """The name of its entry."""
        return repr(self._entry)


def batches(
    archive: Zipped, number: int, dims: Mapping[str, int], origin: Origin
) -> Generator[Batch, None, None]:
    """Yield the documents of one part with their vectors, as many as one commit may hold."""
    lines_name, vectors_name = f"documents-{number:05}.jsonl", f"vectors-{number:05}.safetensors"
    origin.place = f"{lines_name} (part {number})"
    with archive.unpacked(lines_name, PART_BYTES) as lines:
        count = _count_lines(lines)
        origin.place = f"{vectors_name} (part {number})"
        with archive.unpacked(vectors_name, PART_BYTES) as file:
            tensors = Tensors(file, dims, count)
            start = 0
            known: set[str] = set()
            pictures: dict[str, Image] = {}
            for described in _documents(
                lines, number, archive, sum(dims.values()), pictures, origin
            ):
                documents = [document for document, _ in described]
                known.update(document.id for document in documents)
                if len(known) < start + len(documents):
                    raise ValueError("two of its documents share an id")
                origin.place = f"{vectors_name} (part {number})"
                vectors = _vectors(tensors, documents, start)
                _check_complete(described, vectors, start)
                yield Batch(documents, vectors)
                start += len(documents)


def _count_lines(lines: IO[bytes]) -> int:
    """Return how many lines there are, after a look at how many and how long they are."""
    count = 0
    while line := lines.readline(LINE_BYTES + 1):
        count += 1
        if len(line) > LINE_BYTES:
            raise ValueError(f"line {count} has more than {LINE_BYTES:,} bytes")
        if count > CHUNK:
            raise ValueError(f"there are more than {CHUNK:,} documents in it")
    lines.seek(0)
    return count


def _documents(
    lines: IO[bytes],
    number: int,
    archive: Zipped,
    columns: int,
    pictures: dict[str, Image],
    origin: Origin,
) -> Iterator[list[tuple[Document, list[str]]]]:
    """Yield the documents of a part, with the lists that they lack, as many as one commit may hold."""
    documents: list[tuple[Document, list[str]]] = []
    at, memory = 0, 0
    while line := lines.readline(LINE_BYTES):
        at += 1
        origin.place = f"documents-{number:05}.jsonl (part {number}), line {at}"
        parsed = parse(line)
        memory += parsed.memory + _VECTOR_COPIES * 4 * columns
        if documents and memory > _BATCH_MEMORY:
            yield documents
            documents, memory = [], parsed.memory + _VECTOR_COPIES * 4 * columns
            origin.place = f"documents-{number:05}.jsonl (part {number}), line {at}"
        document = _document(parsed.value, archive, pictures, origin)
        lacks = parsed.value.get("lacks", [])
        if not isinstance(lacks, list):
            raise ValueError("the lists that it lacks are not a list")
        documents.append((document, lacks))
    origin.place = f"documents-{number:05}.jsonl (part {number})"
    if documents:
        yield documents


def _document(values: Any, archive: Zipped, pictures: dict[str, Image], origin: Origin) -> Document:
    if not isinstance(values, dict):
        raise ValueError("it is not an object")
    identity, order, picture = values["id"], values["order"], values["picture"]
    if not isinstance(identity, str) or not identity:
        raise ValueError("the id is not a text of at least one character")
    if type(order) is not int or not -(1 << 63) <= order < 1 << 63:
        raise ValueError("the order is not an integer of 64 bits")
    metadata, reserved = separated(values["metadata"])
    return Document(
        values["text"],
        None if picture is None else _picture(picture, values, archive, pictures, origin),
        id=identity,
        metadata=metadata,
        group=values["group"],
        order=order,
        reserved=reserved,
    )


def _picture(
    picture: Any,
    values: Mapping[str, Any],
    archive: Zipped,
    pictures: dict[str, Image],
    origin: Origin,
) -> Image:
    """Return the picture of a document, its content hash and its header checked."""
    entry = f"pictures/{picture}"
    if not isinstance(picture, str) or not NAMES.fullmatch(entry.encode("utf-8", "replace")):
        raise ValueError(f"{entry[:60]!r} is no picture of an export")
    name = values["picture_name"] or ""
    checked_string(name, "the name of a picture", values["id"])
    image = _Packed(archive, entry, name, origin)
    known = pictures.setdefault(entry, image)
    _ = known.header
    image._header = known._header
    return image


def _vectors(
    tensors: Tensors, documents: list[Document], start: int
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Return the vectors of some documents by list, with the places of these among them."""
    vectors = {}
    for name, lines in tensors.lines.items():
        first, last = np.searchsorted(lines, [start, start + len(documents)]).tolist()
        vectors[name] = lines[first:last] - start, tensors.vectors(name, first, last)
    return vectors


def _check_complete(
    described: list[tuple[Document, list[str]]],
    vectors: Mapping[str, tuple[NDArray[np.int64], Any]],
    start: int,
) -> None:
    """Refuse documents without a vector that they must have and do not say to lack."""
    there = {name: set(places.tolist()) for name, (places, _) in vectors.items()}
    for at, (document, lacks) in enumerate(described):
        for name in lists_with_vectors(document.has_text, document.has_image, there):
            if at not in there[name] and name not in lacks:
                raise ValueError(f"the document in line {start + at + 1} has no vector for {name}")
