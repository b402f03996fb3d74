"""A node of text and pictures, of which both reach the model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from copy import copy
from hashlib import sha256
from io import BytesIO
from pathlib import PurePath
from typing import Any

from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    ImageType,
    MediaResource,
    MetadataMode,
    Node,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from pydantic import PrivateAttr

from diptych.checks import shown
from diptych.errors import DiptychError, MediaError
from diptych.remote import RemotePictures, is_url
from diptych.types import Image

__all__ = [
    "SHARED",
    "DiptychNode",
    "LostPictureNode",
    "StoredDocument",
    "StoredNode",
    "has_picture",
    "path_of",
    "picture_of",
    "read_pictures",
    "shared_fields",
    "url_of",
]

SHARED = frozenset(
    {
        "id_",
        "metadata",
        "relationships",
        "excluded_embed_metadata_keys",
        "excluded_llm_metadata_keys",
        "metadata_template",
        "metadata_separator",
        "text_template",
    }
)
"""The fields that nodes of every class have."""

_READ = "_picture_blocks"

READ_AHEAD = 8
"""So many pictures of what an asynchronous search finds are read in its thread. A prompt shows few."""


class DiptychNode(ImageNode):
    """An ``ImageNode`` whose text, and all of whose pictures, are shown to the model.

    LlamaIndex's own shows its picture only. It goes by the same class name, so that every engine
    treats it as an image node. The fields ``image`` or ``image_path`` hold the first picture; a
    copy that went through JSON is an ``ImageNode`` with that one.
    """

    _pictures: tuple[Image, ...] = PrivateAttr(default=())

    def as_related_node_info(self) -> RelatedNodeInfo:
        """Return how other nodes refer to this one: as to a text, when it comes out of an index.

        ``VectorIndexRetriever`` exchanges what a store returns for the docstore's copy, unless it is a
        text; the copy would be an ``ImageNode``, of which the model sees no words.
        """
        return _as_text(self) if self._pictures else super().as_related_node_info()

    @property
    def hash(self) -> str:
        """What changes with text, metadata or pictures; also when a file gets another content.

        Of a retrieved node the metadata does not count: retrievers that find the same words and
        pictures by different parts of them have found the same, which a fusion then adds up.
        """
        parts = [self.text, *(_identity(picture) for picture in self.pictures)]
        if not self._pictures:
            parts += [str(self.metadata), str(self.image_url)]
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def pictures(self) -> tuple[Image, ...]:
        """The pictures in reading order; opened when they are needed."""
        if self._pictures:
            return self._pictures
        try:
            own = picture_of(self)
        except MediaError:  # a store says what is wrong with it, when the node is added
            return ()
        return () if own is None else (own,)

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        """Return text and metadata as ``TextNode`` does.

        Where everything is asked for (``MetadataMode.ALL``) and there are no words, it tells
        pictures apart: LlamaIndex's ingestion cache goes by it.
        """
        content: str = super().get_content(metadata_mode)
        if metadata_mode == MetadataMode.ALL and not self.text.strip():
            return "\n".join([content, *(_identity(picture) for picture in self.pictures)])
        return content

    def resolve_image(self) -> ImageType:
        """Return the first picture as LlamaIndex's engines expect it: a stream, or a path."""
        if self.image is None and self.image_path is None and self._pictures:
            return BytesIO(self._pictures[0].read())
        return super().resolve_image()

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[Any]:
        """Return blocks of metadata, text, and each picture, made to fit what models accept.

        A picture that can no longer be read is mentioned in words.
        """
        blocks = list(self.get_metadata_content_blocks(metadata_mode))
        if self.text.strip():
            blocks.append(TextBlock(text=self.text))
        pictures, read = self.__dict__.get(_READ, (None, ()))
        blocks += read if pictures is self._pictures else map(_block, self.pictures)
        if not self.pictures and self.image_url:
            blocks.append(ImageBlock(url=self.image_url, image_mimetype=self.image_mimetype))
        return blocks

    def read_pictures(self) -> None:
        """Make the blocks of its pictures now, so that :meth:`get_content_blocks` reads nothing."""
        # Beside the fields, as a cached property is kept: it counts neither in == nor in a dump.
        self.__dict__[_READ] = self._pictures, tuple(map(_block, self.pictures))


class StoredNode(Node):
    """A ``Node`` with a picture, out of an index; see ``DiptychNode.as_related_node_info``."""

    def as_related_node_info(self) -> RelatedNodeInfo:
        """Return how other nodes refer to this one: as to a text."""
        return _as_text(self)


class StoredDocument(Document):
    """A ``Document`` with a picture, out of an index; see ``DiptychNode.as_related_node_info``."""

    def as_related_node_info(self) -> RelatedNodeInfo:
        """Return how other nodes refer to this one: as to a text."""
        return _as_text(self)


class LostPictureNode(TextNode):
    """The text of a stored node whose pictures can no longer be read, which it says to the model.

    It is not an image node: of one without a picture LlamaIndex would open whatever file the metadata
    names as ``file_path``. Added again, it still refers to its pictures, so that none is forgotten.
    """

    _pictures: tuple[Image, ...] = PrivateAttr(default=())

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[Any]:
        """Return blocks of metadata and text, and say in words that pictures are missing."""
        blocks = list(self.get_metadata_content_blocks(metadata_mode))
        if self.text.strip():
            blocks.append(TextBlock(text=self.text))
        return blocks + [_block(picture) for picture in self._pictures]


def _as_text(node: BaseNode) -> RelatedNodeInfo:
    return RelatedNodeInfo(
        node_id=node.node_id, node_type=ObjectType.TEXT, metadata=node.metadata, hash=node.hash
    )


def read_pictures(nodes: Iterable[BaseNode]) -> None:
    """Read the pictures of the first nodes, :data:`READ_AHEAD` or so, in the thread of the caller.

    LlamaIndex's synthesizers ask nodes for their blocks on the event loop, which waits for the files.
    """
    room = READ_AHEAD
    for node in nodes:
        if isinstance(node, DiptychNode) and room > 0:
            node.read_pictures()
            room -= len(node.pictures)


def shared_fields(node: BaseNode) -> dict[str, Any]:
    """Return what a node of another class needs to stand for a node: all but its content."""
    return {name: copy(getattr(node, name)) for name in SHARED if hasattr(node, name)}


def has_picture(node: BaseNode) -> bool:
    """Whether a node refers to a picture, which need not be readable."""
    if isinstance(node, LostPictureNode):
        return True
    if isinstance(node, ImageNode):
        fields = (node.image, node.image_path, node.image_url)
        return any(fields) or (isinstance(node, DiptychNode) and bool(node.pictures))
    resource = node.image_resource if isinstance(node, Node) else None
    return resource is not None and any((resource.data, resource.path, resource.url))


def picture_of(node: BaseNode, remote: RemotePictures | None = None) -> Image | None:
    """Return the picture that a node carries: its bytes, else its file, else what is at its URL.

    Args:
        node: Any node.
        remote: Fetches a URL; without it none is fetched. ``data:`` and ``file:`` URIs need no fetching.

    Raises:
        MediaError: The node holds something else than base64, or its URL is not allowed or gives no picture.
    """
    if isinstance(node, DiptychNode | LostPictureNode) and node._pictures:
        return node._pictures[0]
    resource = node.image_resource if isinstance(node, Node) else None
    if isinstance(node, ImageNode):
        picture = _picture(node.image, node.image_path, node.image_url, node.node_id)
    elif isinstance(resource, MediaResource):
        path = str(resource.path) if resource.path else None
        picture = _picture(resource.data, path, str(resource.url or ""), node.node_id)
    else:
        return None
    if picture is None and remote is not None and is_url(url := url_of(node)):
        return remote.fetch(url)
    return picture


def path_of(node: BaseNode) -> str:
    """Return the path of a node's picture; "" without one."""
    resource = node.image_resource if isinstance(node, Node) else None
    path = node.image_path if isinstance(node, ImageNode) else getattr(resource, "path", None)
    return str(path or "")


def url_of(node: BaseNode) -> str:
    """Return the URL of a node's picture; "" without one, and where the picture is in it."""
    resource = node.image_resource if isinstance(node, Node) else None
    url = node.image_url if isinstance(node, ImageNode) else getattr(resource, "url", None)
    return "" if url is None or str(url)[:5].lower() == "data:" else str(url)


def _picture(
    data: str | bytes | None, path: str | None, url: str | None, node_id: str
) -> Image | None:
    if isinstance(data, str) and data[:5].lower() == "data:":
        return Image.of(data)
    if data:
        raw = data.encode() if isinstance(data, str) else data
        try:
            return Image(base64.b64decode(b"".join(raw.split()), validate=True))
        except binascii.Error as error:
            raise MediaError(
                f"Node {shown(node_id)} has an image that is not base64: {error}. Pass the base64 of its "
                "file, or image_path=."
            ) from error
    if path:
        return Image(path)
    return Image.of(url) if url and url[:5].lower() in ("data:", "file:") else None


def _identity(picture: Image) -> str:
    try:
        return picture.sha256
    except (DiptychError, OSError):
        return picture.name


def _block(picture: Image) -> ImageBlock | TextBlock:
    try:
        data, mime = picture.encoded()
    except (DiptychError, OSError):
        name = PurePath(picture.name).name or "without a name"
        return TextBlock(text=f"(A picture, {name}, is omitted: it can no longer be read.)")
    return ImageBlock(image=data, image_mimetype=mime)
