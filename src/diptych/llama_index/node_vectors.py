"""The vectors that come with a node, and into which list of an index each of them goes.

A vector that comes with a node finds it, whatever else the node has. ``node.embedding`` goes into the
text list, the one that the queries of a ``VectorStoreIndex`` search, also where the node has no words. So
does ``ImageNode.text_embedding`` or ``text_resource.embeddings["dense"]``; an ``embedding`` beside it is
that of the picture, when the image list has its dimension. ``image_resource.embeddings["dense"]`` goes into
the image list. A vector of a node with a picture that fits the other list only, or for which there is no
list of its own, goes into the other one. A list takes one vector of a node: the first of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode, ImageNode, MediaResource, Node

from diptych.errors import VectorError
from diptych.llama_index.node import has_picture
from diptych.vectors import as_row, unit_rows

__all__ = ["NodeVectors", "Placed", "fault", "place", "vectors_of"]

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class NodeVectors:
    """The vectors of a node: its own, that of its words, that of its picture."""

    own: Vector | None = None
    words: Vector | None = None
    picture: Vector | None = None

    def __bool__(self) -> bool:
        return any(one is not None for one in (self.own, self.words, self.picture))


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the vectors of a node go.

    Attributes:
        text: The vector for the text list, or None.
        image: The vector for the image list, or None: then that of the encoder.
        left_out: How many found no place, because another one is there.
    """

    text: Vector | None = None
    image: Vector | None = None
    left_out: int = 0


def vectors_of(node: BaseNode) -> NodeVectors:
    """Return the vectors that come with a node."""
    if isinstance(node, ImageNode):
        return NodeVectors(_given(node.embedding), _given(node.text_embedding))
    if isinstance(node, Node):
        return NodeVectors(
            _given(node.embedding), _dense(node.text_resource), _dense(node.image_resource)
        )
    return NodeVectors(_given(node.embedding))


def place(node: BaseNode, vectors: NodeVectors, text_dim: int, image_dim: int) -> Placed:
    """Return which vector of a node goes into which list.

    Args:
        node: The node.
        vectors: Its vectors.
        text_dim: The dimension of the text list; 0 when there is none.
        image_dim: The dimension of the image list, likewise.
    """
    own, words, picture = vectors.own, vectors.words, vectors.picture
    if words is not None and _fits(own, image_dim):
        wanted = [("text", words), ("image", own), ("image", picture)]
    else:
        wanted = [("text", own), ("text", words), ("image", picture)]
    dims = {"text": text_dim, "image": image_dim}
    placed: dict[str, Vector] = {}
    left_out = 0
    for name, vector in wanted:
        if vector is None:
            continue
        other = "image" if name == "text" else "text"
        moves = not _fits(vector, dims[name]) and _fits(vector, dims[other]) and has_picture(node)
        at = other if moves else name
        if at in placed or not dims[at]:
            left_out += 1
        else:
            placed[at] = vector
    return Placed(placed.get("text"), placed.get("image"), left_out)


def fault(vector: Vector, dim: int, node_id: str) -> VectorError | None:
    """Return what is wrong with a vector, when it is not one of ``dim`` columns that has a direction."""
    origin = f"The embedding of node {node_id[:80]!r}"
    try:
        unit_rows(as_row(vector, dim=dim, origin=origin), rows=1, dim=dim, origin=origin)
    except VectorError as error:
        return VectorError(str(error))
    return None


def _fits(vector: Vector | None, dim: int) -> bool:
    return vector is not None and bool(dim) and len(vector) == dim


def _given(vector: Vector | None) -> Vector | None:
    """Return a vector; one of no columns is none."""
    return vector if vector is not None and len(vector) else None


def _dense(resource: object) -> Vector | None:
    embeddings = resource.embeddings if isinstance(resource, MediaResource) else None
    return _given((embeddings or {}).get("dense"))
