"""Retrieved nodes as what a model and a notebook are shown, made where nothing waits for it.

Reading a picture, making it smaller and writing it as base64 takes milliseconds, in which an event loop
can do nothing else. LlamaIndex's synthesizers ask nodes for their blocks on the loop; so the blocks are
made before, in a thread.
"""

from __future__ import annotations

import atexit
import mimetypes
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, TextNode
from pydantic import PrivateAttr

from diptych.cards import Results
from diptych.errors import DiptychError
from diptych.llama_index.convert import RetrievedNode
from diptych.llama_index.node import DiptychNode
from diptych.types import Document, Image

__all__ = ["file_of", "image_nodes", "naming", "prepared", "text_nodes"]


class _PreparedNode(TextNode):
    """A node whose blocks have been made."""

    _blocks: list[Any] = PrivateAttr(default_factory=list)

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[Any]:
        """Return the blocks for the model; another mode was not asked for."""
        return list(self._blocks)


def prepared(nodes: Iterable[NodeWithScore]) -> list[NodeWithScore]:
    """Return nodes that stand for others in a prompt, with their pictures read. Call it in a thread."""
    made = []
    for found in nodes:
        node = found.node
        ready = _PreparedNode(id_=node.node_id)
        ready.metadata = node.metadata
        ready._blocks = [_read(one) for one in node.get_content_blocks(MetadataMode.LLM)]
        made.append(NodeWithScore(node=ready, score=found.score))
    return made


def _read(block: Any) -> Any:
    """Return an image block of a file with what is in the file."""
    if isinstance(block, ImageBlock) and block.image is None and block.path is not None:
        return ImageBlock(image=block.path.read_bytes(), image_mimetype=block.image_mimetype)
    return block


def text_nodes(nodes: Iterable[NodeWithScore]) -> Results[NodeWithScore]:
    """Return those that have words."""
    return Results(found for found in nodes if found.node.get_content(MetadataMode.NONE).strip())


def image_nodes(nodes: Iterable[NodeWithScore]) -> Results[NodeWithScore]:
    """Return one node for each picture, as LlamaIndex's functions for notebooks read it.

    Those open ``node.image_path`` or ``node.metadata["file_path"]``. A picture that lies in no file gets
    one in a temporary folder, which goes when the program ends. Words and score are those of the node
    that was found, the metadata is that of the document of the picture.
    """
    made: Results[NodeWithScore] = Results()
    for found in nodes:
        node = found.node
        if isinstance(node, DiptychNode):
            made += _of_each_picture(found, node)
        elif isinstance(node, ImageNode):
            made.append(found)
    return made


def _of_each_picture(found: NodeWithScore, node: DiptychNode) -> list[NodeWithScore]:
    made: list[NodeWithScore] = []
    for picture, document in _pictures(found, node):
        path = file_of(picture)
        if path is None:
            continue
        metadata = naming(path, node.metadata if document is None else document.metadata)
        one = node.model_copy(
            update={
                "id_": f"{node.node_id}#{len(made)}" if made else node.node_id,
                "image_path": path,
                "image_mimetype": picture.mime,
                "metadata": metadata,
            }
        )
        one._pictures = (picture,)
        copy = found.model_copy()
        copy.node = one
        made.append(copy)
    if not made and not node.pictures and node.image_url:
        made.append(found)
    return made


def _pictures(found: NodeWithScore, node: DiptychNode) -> Sequence[tuple[Image, Document | None]]:
    """Return the pictures of a node, each with its document where that is known."""
    fused = found.fused if isinstance(found, RetrievedNode) else None
    if fused is None:
        return [(picture, None) for picture in node.pictures]
    return [(one.image, one) for one in fused.documents if one.image is not None]


def file_of(picture: Image) -> str | None:
    """Return a file that holds a picture; None when it cannot be read any more."""
    try:
        header = picture.header
        if picture.path is not None:
            return str(picture.path)
        path = _folder() / f"{picture.sha256}.{header.format.lower()}"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(picture.read())
            part.replace(path)
    except (DiptychError, OSError):
        return None
    return str(path)


def naming(path: str | None, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata that name the file of a picture under "file_path", their own where that is one."""
    if path is None or _is_picture_file(metadata.get("file_path")):
        return dict(metadata)
    return {**metadata, "file_path": path}


def _is_picture_file(path: Any) -> bool:
    """Whether metadata name a picture that is there, and not the page that it stands on."""
    kind = mimetypes.guess_type(path)[0] if isinstance(path, str) and "\0" not in path else None
    return (kind or "").startswith("image/") and os.path.isfile(path)


@cache
def _folder() -> Path:
    """Return a folder of this process for pictures that lie in no file."""
    folder = tempfile.TemporaryDirectory(prefix="diptych-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
