"""What the database holds of a document, of a list of vectors, and what ranking needs of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row", "Space", "Stub"]


@dataclass(frozen=True, slots=True)
class Space:
    """Which model a list of vectors was made with."""

    dim: int
    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Row:
    """A document as the table holds it."""

    id: str
    text: str | None
    image: str | None
    image_path: str | None
    image_name: str | None
    metadata: str
    group: str | None
    order: int
    content: str


@dataclass(frozen=True, slots=True)
class Stub:
    """What ranking and joining need to know of a document."""

    key: int
    id: str
    group: str | None
    order: int
    has_text: bool
    has_image: bool
