"""JSONL to documents: one JSON object a line, with a text, the path of a picture, or both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from diptych.errors import DiptychError, InvalidArgument
from diptych.ingest.paths import is_remote
from diptych.ingest.source import Omitted, Source, on_the_web, shortened_link
from diptych.report import Failure
from diptych.types import Document

__all__ = ["json_objects", "read_records"]

_FIELDS = {"id", "text", "image", "metadata", "group", "order"}


def read_records(source: Source) -> Iterator[Document | Failure | Omitted]:
    """Yield one document for each line, and what failed.

    A line has the fields ``id`` (by default the name of the file and the line), ``text``,
    ``image`` (a path relative to the file, or a ``data:`` URI), ``metadata``, ``group`` and
    ``order``; any other field becomes metadata. The prefix of the reading goes before ids and
    groups, so that records of two folders differ. The metadata that a line gives goes before what
    the reader adds ("source", "kind", "line").
    """
    for line, record in json_objects(source.lines()):
        default_id = f"{source.name}#{line}"
        try:
            if isinstance(record, DiptychError):
                raise record
            document_id = _id(record, source.start, default_id)
            link = record.get("image")
            if isinstance(link, str) and is_remote(link):
                yield on_the_web(link, document_id, source.name)
            yield _document(record, source, line, document_id)
        except DiptychError as error:
            document_id = _id(record, source.start, default_id)
            yield Failure(document_id, source.name, f"line {line}: {error}")


def json_objects(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | DiptychError]]:
    """Yield the number of each line that is not blank with its object, or with what is wrong."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = str(error) or "it is nested too deep"
            yield (
                number,
                InvalidArgument(f"It is no JSON: {reason[:200]}. Write one object a line."),
            )
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            kind = type(value).__name__
            yield number, InvalidArgument(f"It is a JSON {kind}; expected an object: {{…}}.")


def _document(record: dict[str, Any], source: Source, line: int, document_id: str) -> Document:
    text = _field(record, "text", str)
    link = _field(record, "image", str)
    metadata: dict[str, Any] = {"source": source.name, "kind": "text", "line": line}
    image = None
    if link and is_remote(link):
        metadata["image_url"] = shortened_link(link)
        if not (text and text.strip()):
            raise InvalidArgument(
                f"Its picture {link[:200]!r} is on a server, and it has no text. Pictures are "
                "never fetched: download it and give its path."
            )
    elif link:
        metadata["kind"] = "picture"
        is_inline = link[:5].lower() == "data:"
        image = (
            source.inline_picture(link, document_id) if is_inline else source.named_picture(link)
        )
    order = _field(record, "order", int)
    group = _field(record, "group", str)
    return Document(
        text=text,
        image=image,
        id=document_id,
        metadata=metadata
        | {key: value for key, value in record.items() if key not in _FIELDS}
        | (_field(record, "metadata", dict) or {}),
        group=source.start + group if group is not None else None,
        order=line if order is None else order,
    )


def _id(record: object, start: str, default: str) -> str:
    """Return the id of a record with the prefix of the reading; numbers are ids too."""
    given = record.get("id") if isinstance(record, dict) else None
    if isinstance(given, bool) or not isinstance(given, str | int):
        return default
    return f"{start}{given}" if given != "" else default


def _field(record: dict[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise InvalidArgument(
        f"Its field {name!r} is of type {type(value).__name__}; expected {kind.__name__}."
    )
