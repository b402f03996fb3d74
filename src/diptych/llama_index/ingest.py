"""Pictures through LlamaIndex's ingestion, which is made for texts and loses them."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.ingestion import run_transformations
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    NodeRelationship,
    RelatedNodeType,
    TextNode,
    TransformComponent,
)
from pydantic import PrivateAttr
from pydantic_core import to_jsonable_python

from diptych.errors import DiptychError, InvalidArgument
from diptych.ingest import read
from diptych.llama_index.convert import grouped
from diptych.llama_index.node import DiptychNode, LostPictureNode, has_picture, shared_fields
from diptych.metadata import checked_metadata
from diptych.report import Failure
from diptych.reserved import place_of
from diptych.types import Document as Stored

__all__ = ["DiptychReader", "KeepPictures"]

logger = logging.getLogger(__name__)


class KeepPictures(TransformComponent):
    """Lets transformations have the texts, and keeps the pictures that they would drop or repeat.

    A splitter of LlamaIndex drops a picture without words, and gives every chunk of a text its own
    copy of the document's picture. With this, a document with a picture becomes one ``DiptychNode``
    when its text is one chunk, and else its chunks and one node of the picture, in one group, so
    that each of them brings the picture::

        steps = [KeepPictures(SentenceSplitter()), embed_model]
        IngestionPipeline(transformations=steps, vector_store=store)

    Args:
        transformations: What is done with the texts: a splitter, mostly.
    """

    _transformations: list[TransformComponent] = PrivateAttr(default_factory=list)

    def __init__(self, *transformations: TransformComponent) -> None:
        super().__init__()
        for one in transformations:
            if not callable(one) or isinstance(one, type):
                raise InvalidArgument(
                    f"KeepPictures was given {one!r}; expected transformations of LlamaIndex."
                )
        self._transformations = list(transformations)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex refers to the class."""
        return "KeepPictures"

    def to_dict(self, **_: Any) -> dict[str, Any]:
        """Return a description that is another one each time.

        The cache of ``IngestionPipeline`` takes documents without words for one and the same, and
        would give one picture for another.
        """
        return {"class_name": self.class_name(), "not cached": uuid4().hex}

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Return the nodes that the documents become, those of texts first."""
        nodes = [_serializable(node) for node in nodes]
        with_pictures = [node for node in nodes if has_picture(node)]
        texts = [node for node in nodes if not has_picture(node)]
        made = self._transform(texts, kwargs) if texts else []
        for node in with_pictures:
            made += self._split(node, kwargs)
        return made

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Do what a call does, in a thread: splitting and reading pictures take long."""
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)

    def _transform(self, nodes: Sequence[BaseNode], options: dict[str, Any]) -> list[BaseNode]:
        return list(run_transformations(nodes, self._transformations, **options))

    def _split(self, node: BaseNode, options: dict[str, Any]) -> list[BaseNode]:
        text = node.get_content(MetadataMode.NONE)
        chunks = self._transform([_words_of(node, text)], options) if text.strip() else []
        if len(chunks) < 2:
            return [_with_picture(node, chunks[0] if chunks else None)]
        place = place_of(node.metadata)
        group, first = place.group or node.node_id, place.order
        return [
            *(grouped(c, group=group, order=first + at) for at, c in enumerate(chunks)),
            grouped(_with_picture(node, None), group=group, order=first),
        ]


class DiptychReader(BaseReader):
    """Reads what ``diptych.read`` does, as LlamaIndex documents: pages, texts, records, pictures.

    Their ids are stable, their metadata holds ``image_sha256``, so that a picture that changed
    behind its path is noticed by ``refresh_ref_docs`` and by a docstore; a figure stays with its
    paragraph. What cannot be read is logged and is in :attr:`failed`.

    LlamaIndex's own reader of folders takes it for some of its files, and passes on what it knows of
    them: ``SimpleDirectoryReader(folder, file_extractor={".png": DiptychReader()})``.

    Args:
        prefix: What goes before the ids.
    """

    def __init__(self, *, prefix: str = "") -> None:
        self._prefix = prefix
        self.failed: tuple[Failure, ...] = ()

    def lazy_load_data(
        self,
        path: str | os.PathLike[str],
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Iterable[Document]:
        """Yield the documents of a file or folder.

        Args:
            path: The file or folder.
            extra_info: More metadata of each document, as ``SimpleDirectoryReader`` passes it; what
                the reader itself says goes first.
        """
        reading = read(path, prefix=self._prefix)
        lost: list[Failure] = []
        for document in reading:
            try:
                made = _to_document(document)
            except (DiptychError, OSError) as error:  # its picture went while the folder was read
                lost.append(Failure(document.id, document.source, str(error)))
            else:
                made.metadata = {**(extra_info or {}), **made.metadata}
                yield made
        self.failed = (*reading.failed, *lost)
        for failure in self.failed:
            logger.warning("Not read: %s", failure)


def _serializable(node: BaseNode) -> BaseNode:
    """Return a node that LlamaIndex's splitters can write as JSON: numbers of numpy as numbers of Python.

    One that has no such form is left as it is, for the store to say what is wrong with it.
    """
    try:
        to_jsonable_python(node.metadata)
    except ValueError:
        try:
            metadata = checked_metadata(node.metadata, node.node_id)
        except DiptychError:
            return node
        node = node.model_copy()
        node.metadata = metadata
    return node


def _words_of(node: BaseNode, text: str) -> BaseNode:
    """Return a node of the text alone, of a class that splitters take."""
    return (Document if isinstance(node, Document) else TextNode)(text=text, **shared_fields(node))


def _with_picture(node: BaseNode, chunk: BaseNode | None) -> DiptychNode:
    """Return the picture of a node, with the words of a chunk or without."""
    fields = shared_fields(node if chunk is None else chunk)
    if isinstance(node, Document):
        # As a splitter does: its nodes are new, and a document is their source.
        source: RelatedNodeType = node.as_related_node_info()
        fields["relationships"] = {NodeRelationship.SOURCE: source}
        fields["id_"] = f"{node.node_id}#picture" if chunk is None else chunk.node_id
    elif chunk is not None:
        fields["id_"] = node.node_id
    resource = getattr(node, "image_resource", None)
    if isinstance(node, ImageNode):
        fields |= node.model_dump(include={"image", "image_path", "image_url", "image_mimetype"})
    elif isinstance(resource, MediaResource):
        fields |= {
            "image": resource.data.decode("ascii") if resource.data else None,
            "image_path": str(resource.path) if resource.path else None,
            "image_url": str(resource.url) if resource.url else None,
            "image_mimetype": resource.mimetype,
        }
    text = "" if chunk is None else chunk.get_content(MetadataMode.NONE)
    made = DiptychNode(text=text, **fields)
    if isinstance(node, DiptychNode | LostPictureNode):
        made._pictures = node._pictures
    return made


def _to_document(stored: Stored) -> Document:
    fields: dict[str, Any] = {
        "id_": stored.id,
        "text": stored.text or "",
        "metadata": dict(stored.metadata),
    }
    image = stored.image
    if image is not None:
        fields["metadata"]["image_sha256"] = image.sha256
        # The caption is the text already.
        fields["excluded_embed_metadata_keys"] = ["image_sha256", "kind", "caption"]
        fields["excluded_llm_metadata_keys"] = ["image_sha256", "kind", "caption"]
        fields["image_resource"] = (
            MediaResource(path=image.path)
            if image.path is not None
            else MediaResource(data=base64.b64encode(image.read()))
        )
    # Splitters of LlamaIndex keep the picture of an ImageDocument, and drop that of a Document.
    document: Document = Document(**fields) if image is None else ImageDocument(**fields)
    if stored.group is None:
        return document
    return grouped(document, group=stored.group, order=stored.order)
