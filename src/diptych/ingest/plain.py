"""Plain text to documents: chunks in order, one group for the file."""

from __future__ import annotations

from collections.abc import Iterator

from diptych.ingest.chunk import split
from diptych.ingest.source import Source
from diptych.types import Document

__all__ = ["read_text"]


def read_text(source: Source) -> Iterator[Document]:
    """Yield the chunks of a text file. A file of white space has none."""
    line = 1
    number = 0
    for chunk in split(source.text(), source.max_chars):
        leading = len(chunk) - len(chunk.lstrip())
        if chunk.strip():
            number += 1
            yield Document(
                text=chunk.strip(),
                id=f"{source.name}#{number}",
                metadata={
                    "source": source.name,
                    "kind": "text",
                    "line": line + chunk.count("\n", 0, leading),
                },
                group=source.name,
                order=number,
            )
        line += chunk.count("\n")
