"""From retrieved nodes to what a model is shown: LlamaIndex's content blocks, text and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)

from diptych.checks import list_of
from diptych.context import ContextOptions, ImagePart, TextPart, build_context, check_options
from diptych.errors import DiptychError
from diptych.llama_index.convert import RetrievedNode
from diptych.llama_index.node import DiptychNode, picture_of, shared_fields
from diptych.llama_index.shown import file_of, naming
from diptych.metadata import source_label, storable
from diptych.types import Document, FusedDocument, Image

__all__ = ["SeparatePictures", "to_content_blocks"]

Block = TextBlock | ImageBlock


def to_content_blocks(
    nodes: Iterable[NodeWithScore], **options: Unpack[ContextOptions]
) -> list[Block]:
    """Return text and image blocks, in reading order, numbered and fenced.

    Args:
        nodes: What a retriever returned, best first; of diptych or of any other.
        options: The budget, as for :func:`diptych.context.build_context`.
    """
    check_options(**options)
    given = list_of("nodes", nodes, NodeWithScore, "nodes with scores")
    context = build_context([fused for node in given for fused in _fused(node)], **options)
    return [_block(part) for part in context.parts]


class SeparatePictures(BaseNodePostprocessor):
    """Takes pictures and words apart, for engines that show of an image node nothing but a picture.

    LlamaIndex's multi-modal chat engines and its deprecated ``SimpleMultiModalQueryEngine`` put the
    text of text nodes into the prompt, and one picture for each image node. After this, each text is
    a text node and each picture an image node of its own, made to fit what models accept. Give it to
    them as the last of ``node_postprocessors``; ``RetrieverQueryEngine(multimodal=True)`` needs it
    not. ``DiptychMultiModalIndex.as_chat_engine`` has it.

    Attributes:
        max_images: How many pictures altogether; those of the best nodes.
    """

    max_images: int = Field(default=4, ge=0, description="How many pictures altogether.")

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex refers to the class."""
        return "SeparatePictures"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        room = self.max_images
        apart: list[NodeWithScore] = []
        for found in nodes:
            if not isinstance(found.node, DiptychNode):
                apart.append(found)
                continue
            made = _pictures(found.node)[:room]
            room -= len(made)
            apart += [NodeWithScore(node=one, score=found.score) for one in made]
            if found.node.text.strip():
                apart.append(NodeWithScore(node=_words(found.node), score=found.score))
        return apart


def _fused(found: NodeWithScore) -> list[FusedDocument]:
    """Return what is shown of a node; of one that was not retrieved by diptych, what it holds."""
    if isinstance(found, RetrievedNode) and found.fused is not None:
        return [found.fused]
    node = found.node
    text = node.get_content(MetadataMode.NONE)
    identity = storable(node.node_id) or "node"
    parts = [Document(storable(text), id=identity, metadata=_origin(node))] if text.strip() else []
    parts += [
        Document(image=picture, id=f"{identity}#{at}", metadata=_origin(node))
        for at, picture in enumerate(_shown(node))
    ]
    return [FusedDocument(tuple(parts), found.score or 0.0, (), parts[0].id)] if parts else []


def _shown(node: BaseNode) -> tuple[Image, ...]:
    if isinstance(node, DiptychNode):
        return node.pictures
    try:
        picture = picture_of(node)
    except DiptychError:  # not base64
        return ()
    return () if picture is None else (picture,)


def _origin(node: BaseNode) -> dict[str, Any]:
    """Return source and page, under whatever name LlamaIndex's readers give them."""
    found = (node.metadata.get(name) for name in ("source", "file_name", "file_path", "url"))
    source = next((value for value in found if isinstance(value, str) and value), None)
    page = node.metadata.get("page", node.metadata.get("page_label"))
    kept = {"source": source_label(source), "page": source_label(page)}
    return {key: value for key, value in kept.items() if value is not None}


def _block(part: TextPart | ImagePart) -> Block:
    if isinstance(part, TextPart):
        return TextBlock(text=part.text)
    return ImageBlock(image=part.data, image_mimetype=part.mime)


def _pictures(node: DiptychNode) -> list[ImageNode]:
    """Return a node for each picture that can be read."""
    made = []
    for at, picture in enumerate(node.pictures):
        try:
            text, mime = picture.base64()
        except (DiptychError, OSError):
            continue
        path = file_of(picture)
        made.append(
            ImageNode(
                id_=node.node_id if not at else f"{node.node_id}#{at}",
                image=text,
                image_path=path,
                image_mimetype=mime,
                metadata=naming(path, node.metadata),
                relationships=node.relationships,
            )
        )
    if not node.pictures and node.image_url:
        made.append(ImageNode(id_=node.node_id, image_url=node.image_url, metadata=node.metadata))
    return made


def _words(node: DiptychNode) -> TextNode:
    fields = {**shared_fields(node), "id_": f"{node.node_id}#text"}
    return TextNode(text=node.text, **fields)
