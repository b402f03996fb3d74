"""What the database holds of a document, of a list of vectors, and what ranking needs of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import xxhash

__all__ = ["Row", "Space", "Stub"]


@dataclass(frozen=True, slots=True)
class Space:
    """Which model a list of vectors was made with."""

    dim: int
    name: str
    fingerprint: str
    probe: bytes | None = field(default=None, compare=False, repr=False)
    """What the model makes of a known input, float32; None when it was never asked."""


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
    origin: str | None = None

    def checksum(self, key: int) -> int:
        """Return a number by which damage to the row with this key is noticed."""
        values = (
            key, self.id, self.text, self.image, self.image_path, self.image_name,
            self.metadata, self.group, self.order, self.content, self.origin,
        )  # fmt: skip
        return xxhash.xxh3_64_intdigest(json.dumps(values, default=repr).encode()) - (1 << 63)


@dataclass(frozen=True, slots=True)
class Stub:
    """What ranking and joining need to know of a document."""

    key: int
    id: str
    group: str | None
    order: int
    has_text: bool
    has_image: bool
