"""The options of a store that are those of its index: what other stores call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych.checks import shown
from diptych.index import IndexOptions

__all__ = ["check_options"]

_INSTEAD = {
    "client": "path",
    "collection_configuration": "kind",
    "collection_name": "namespace, with path",
    "docstore": "index",
    "embedding_function": "embedding",
    "embeddings": "embedding",
    "folder_path": "path",
    "index_name": "namespace, with path",
    "location": "path",
    "persist_directory": "path",
    "retrieval_mode": "mode",
    "uri": "path",
    "url": "path",
}
"""What other stores call an argument of theirs, and what it is called here."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no index takes, and name the argument that is meant.

    Raises:
        TypeError: One is unknown.
    """
    known = IndexOptions.__annotations__
    for name in options:
        if name not in known:
            own = ("embedding", "index", "image_encoder", "path", "mode", "images_as")
            instead = f"Use {_INSTEAD[name]}. " if name in _INSTEAD else ""
            raise TypeError(
                f"DiptychVectorStore has no argument {shown(name)[1:-1]}=. {instead}Its arguments are "
                f"{', '.join((*own, *sorted(known)))}."
            )
