"""Pictures by themselves, with the words that lie beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from diptych.errors import DiptychError, InvalidArgument
from diptych.ingest.records import json_objects
from diptych.ingest.source import Source, label, portable
from diptych.report import Failure
from diptych.types import Document

__all__ = ["CAPTION_FILES", "Words", "read_captions", "read_picture"]

CAPTION_FILES = ("captions.csv", "captions.jsonl", "metadata.jsonl")
"""Files that describe the pictures of their folder, one a line."""

_FILE_FIELDS = ("file", "file_name", "image")
_CAPTION_FIELDS = ("caption", "text")
_DELIMITERS = ",;\t|"


@dataclass(slots=True)
class Words:
    """What is said of one picture.

    Attributes:
        captions: Each is said once; they are joined by line breaks.
        metadata: The other fields.
    """

    captions: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        """Take a line of a caption file; what was said before goes first."""
        for name in _CAPTION_FIELDS:
            caption = record.get(name)
            if isinstance(caption, str) and caption.strip():
                self.captions.append(caption.strip())
        used = {*_FILE_FIELDS, *_CAPTION_FIELDS}
        self.metadata = {k: v for k, v in record.items() if k not in used} | self.metadata


def read_captions(source: Source, words: dict[str, Words]) -> Iterator[Failure]:
    """Add to ``words``, by the path of the picture, what a caption file says.

    A line names the picture in ``file``, ``file_name`` or ``image``, relative to the caption file,
    and has a ``caption`` or ``text``; other fields become metadata.
    """
    for line, record in _rows(source):
        try:
            if isinstance(record, DiptychError):
                raise record
            named = next((record[name] for name in _FILE_FIELDS if record.get(name)), None)
            if not isinstance(named, str):
                raise InvalidArgument(
                    f"It names no picture; expected one of the fields {', '.join(_FILE_FIELDS)}."
                )
            path = portable(source.folder.locate(source.path, named))
            words.setdefault(path, Words()).add(record)
        except DiptychError as error:
            yield Failure(f"{source.name}#{line}", source.name, f"line {line}: {error}")


def read_picture(
    source: Source, words: Words | None, sidecar: Source | None
) -> Iterator[Document | Failure]:
    """Yield the document of a picture: its caption, if there is one, and itself."""
    words = words or Words()
    captions = list(words.captions)
    if sidecar is not None:
        try:
            captions.insert(0, sidecar.text().strip())
        except DiptychError as error:
            yield Failure(source.name, sidecar.name, str(error))
    text = "\n".join(dict.fromkeys(caption for caption in captions if caption)) or None
    metadata: dict[str, Any] = {"source": source.name, "kind": "picture"}
    if text is not None:
        metadata["caption"] = label(text)
    try:
        image = source.folder.picture(source.path)
        yield Document(text=text, image=image, id=source.name, metadata=metadata | words.metadata)
    except DiptychError as error:
        yield Failure(source.name, source.name, str(error))


def _rows(source: Source) -> Iterator[tuple[int, dict[str, Any] | DiptychError]]:
    if not source.path.lower().endswith(".csv"):
        yield from json_objects(source.lines())
        return
    text = source.text()
    delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = [name.strip().lower() for name in next(rows, [])]
    if not set(header) & set(_FILE_FIELDS):
        raise InvalidArgument(
            f"The first line of {source.name!r} names the columns {json.dumps(header)[:200]}; "
            f"expected one of {', '.join(_FILE_FIELDS)}, and caption."
        )
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield rows.line_num, InvalidArgument(f"It is no CSV: {error}.")
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            cells = zip(header, row, strict=False)
            yield rows.line_num, {name: cell.strip() for name, cell in cells if name and cell}
