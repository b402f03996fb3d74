"""Which hits belong together: a paragraph and its figure become one fused document.

Documents of one group are related. Within a group a picture belongs to the text that is nearest in
reading order (the one before it when two are equally near), because authors place a figure at the
paragraph that speaks of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["MAX_PARTS", "Part", "Unit", "join", "owners"]

MAX_PARTS = 4
"""How many documents one fused document holds at most: a paragraph and three figures."""


class Part(Protocol):
    """What joining needs to know of a document."""

    @property
    def key(self) -> int:
        """A number that is its own."""
        ...

    @property
    def group(self) -> str | None:
        """What it belongs to."""
        ...

    @property
    def order(self) -> int:
        """Where it stands in its group."""
        ...

    @property
    def has_text(self) -> bool:
        """Whether it has words."""
        ...

    @property
    def has_image(self) -> bool:
        """Whether it has a picture."""
        ...


P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True)
class Unit(Generic[P]):
    """Related parts in reading order, and the one that was found first."""

    parts: tuple[P, ...]
    first: P


def join(
    ranked: Iterable[P],
    members: Callable[[str], Sequence[P]],
    *,
    limit: int,
    max_parts: int = MAX_PARTS,
) -> list[Unit[P]]:
    """Return up to ``limit`` units: each hit with what belongs to it, best hit first.

    A hit without a partner is a unit of one part. A document is in one unit only, that of the best
    hit it belongs to. The cost is one pass over the hits and one over the groups that they touch.

    Args:
        ranked: Hits, best first.
        members: Returns the documents of a group in reading order, hits or not.
        limit: How many units.
        max_parts: The most parts of one unit.
    """
    units: list[Unit[P]] = []
    taken: set[int] = set()
    owned: dict[str, dict[int, int]] = {}
    for hit in ranked:
        if len(units) == limit:
            break
        if hit.key in taken:
            continue
        parts = [hit]
        if hit.group is not None:
            group = members(hit.group)
            if hit.group not in owned:
                owned[hit.group] = owners(group)
            rest = [part for part in group if part.key not in taken]
            partners = _partners(hit, rest, owned[hit.group])
            parts += partners[: max_parts - 1]
        taken.update(part.key for part in parts)
        units.append(Unit(tuple(sorted(parts, key=_reading_order)), hit))
    return units


def owners(group: Sequence[Part]) -> dict[int, int]:
    """Return, for each part with a picture, the key of the text that it belongs to.

    Args:
        group: The parts of one group in reading order.
    """
    texts = [part for part in group if _is_words(part)]
    owner: dict[int, int] = {}
    at = 0
    for part in group:
        if not part.has_image or not texts:
            continue
        while at + 1 < len(texts) and _is_nearer(texts[at + 1], texts[at], part):
            at += 1
        owner[part.key] = texts[at].key
    return owner


def _partners(hit: P, group: Sequence[P], owner_of: dict[int, int]) -> list[P]:
    if hit.has_image:
        return [part for part in group if part.key == owner_of.get(hit.key)]
    pictures = [part for part in group if part.has_image]
    own = [part for part in pictures if owner_of.get(part.key) == hit.key]
    if own or not pictures:
        return own
    return [min(pictures, key=lambda part: (_distance(part, hit), _reading_order(part)))]


def _is_nearer(later: Part, earlier: Part, part: Part) -> bool:
    if later.order <= part.order:
        return True
    return _distance(later, part) < _distance(earlier, part)


def _is_words(part: Part) -> bool:
    return part.has_text and not part.has_image


def _distance(part: Part, other: Part) -> int:
    return abs(part.order - other.order)


def _reading_order(part: Part) -> tuple[int, int]:
    return part.order, part.key
