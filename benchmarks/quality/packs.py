"""The evaluation packs as documents and queries, the way a user would index them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych import Document, Image

__all__ = ["Pack", "load_packs"]


@dataclass(frozen=True)
class Pack:
    """Documents, queries by id, and for each query the units that answer it."""

    name: str
    documents: list[Document]
    queries: dict[str, str]
    types: dict[str, str]
    qrels: dict[str, dict[str, int]]

    def unit(self, document: Document) -> str:
        """Return the passage that a document is judged as: itself, or the one it is a figure of."""
        return document.group or document.id


def load_packs(data: Path) -> Iterator[Pack]:
    """Yield the three columns of the table: flickr8k both, flickr8k hetero, openstax."""
    flickr = data / "flickr8k" / "dev"
    for name, hetero in (("flickr8k both", False), ("flickr8k hetero", True)):
        rows = _lines(flickr / "corpus.jsonl")
        yield _pack(name, flickr, [_photo(flickr, row, hetero) for row in rows])
    openstax = data / "openstax" / "dev"
    documents = [d for row in _lines(openstax / "corpus.jsonl") for d in _passage(openstax, row)]
    yield _pack("openstax", openstax, documents)


def _photo(folder: Path, row: dict[str, Any], hetero: bool) -> Document:
    kept = row["hetero"] if hetero else "both"
    return Document(
        text=row["text"] if kept in ("text", "both") else None,
        image=Image(folder / row["image"]) if kept in ("image", "both") else None,
        id=row["id"],
    )


def _passage(folder: Path, row: dict[str, Any]) -> Iterator[Document]:
    heading = " > ".join(part for part in (row["title"], row["section"]) if part)
    metadata = {"book": row["book"], "section": heading}
    yield Document(
        text=f"{heading}\n\n{row['text']}", id=row["id"], group=row["id"], metadata=metadata
    )
    for number, figure in enumerate(row["images"], 1):
        yield Document(
            text=figure["caption"] or None,
            image=Image(folder / figure["image"]),
            id=f"{row['id']}#figure-{number}",
            group=row["id"],
            order=number,
            metadata=metadata,
        )


def _pack(name: str, folder: Path, documents: list[Document]) -> Pack:
    rows = _lines(folder / "queries.jsonl")
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    return Pack(
        name,
        documents,
        {row["id"]: row["text"] for row in rows},
        {row["id"]: row.get("type", "") for row in rows},
        qrels,
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
