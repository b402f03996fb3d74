"""What becomes of nodes that an index is given: those stored, the blank ones, those that failed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_index.core.schema import BaseNode, MetadataMode

from diptych.llama_index.adding import Added
from diptych.llama_index.node import has_picture
from diptych.llama_index.node_vectors import vectors_of
from diptych.report import AddReport, Failure

__all__ = ["Kept", "has_words", "usable"]

logger = logging.getLogger(__name__)

_BLANK = "It has neither text nor a picture, and was left out."


@dataclass
class Kept:
    """What became of the nodes of a call.

    Attributes:
        added: What the store says of them.
        blank: Those without words, picture and vector, by their ids.
    """

    added: Added = field(default_factory=Added)
    blank: dict[str, Failure] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """All that are not stored, or not whole."""
        return (*self.added.report.failed, *self.blank.values())

    def add(self, added: Added) -> None:
        """Take what the store says of some nodes."""
        self.added.report += added.report
        self.added.errors += added.errors

    def refuse(self, node: BaseNode, error: Exception) -> None:
        """Note a document of which no nodes could be made."""
        failure = _failure(node, str(error))
        self.added.report += AddReport(failed=(failure,))
        self.added.errors.append(error)
        logger.warning("Not stored: %s", failure)

    def leave_out(self, nodes: Sequence[BaseNode]) -> None:
        """Note nodes that are just blank."""
        for node in nodes:
            self.blank[node.node_id] = _failure(node, _BLANK)
        if nodes:
            names = ", ".join(_failure(node, "").name for node in nodes[:5])
            logger.warning("%d nodes have neither text nor a picture: %.200s", len(nodes), names)


def usable(nodes: Sequence[BaseNode], kept: Kept) -> list[BaseNode]:
    """Return the nodes with words, a picture or a vector, and note the others."""
    found = [node for node in nodes if has_words(node) or has_picture(node) or vectors_of(node)]
    there = {id(node) for node in found}
    kept.leave_out([node for node in nodes if id(node) not in there])
    return found


def has_words(node: BaseNode) -> bool:
    """Whether a node has a text to embed; of one without a picture its metadata are one, too."""
    mode = MetadataMode.NONE if has_picture(node) else MetadataMode.EMBED
    return bool(node.get_content(mode).strip())


def _failure(node: BaseNode, reason: str) -> Failure:
    source = node.metadata.get("source", "")
    return Failure(node.node_id, source if isinstance(source, str) else "", reason)
