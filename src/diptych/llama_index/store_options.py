"""The options of a store, looked at when it is made and not when its first nodes come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych.checks import shown
from diptych.errors import InvalidArgument
from diptych.index import MultimodalIndex
from diptych.llama_index.given import StoreOptions
from diptych.remote import RemotePictures

__all__ = ["check_index", "check_options", "check_remote"]

_INSTEAD = {
    "chroma_collection": "path",
    "client": "path",
    "collection": "namespace",
    "collection_name": "namespace",
    "dim": "nothing: the first nodes say it",
    "embedding": "embed_model",
    "embedding_function": "embed_model",
    "image_embed_model": "image_encoder",
    "index_name": "namespace",
    "persist_dir": "path",
    "persist_path": "from_persist_path",
    "table_name": "namespace",
    "text_encoder": "embed_model",
    "uri": "path",
    "url": "path",
}
"""What other stores call an argument of theirs, and what it is called here."""


def check_options(options: Mapping[str, Any], path: object) -> None:
    """Refuse options that the index of a store would not take.

    Raises:
        TypeError: One is unknown.
        InvalidArgument: One has a value that cannot be, or a namespace has no path.
    """
    known = StoreOptions.__annotations__
    for name in options:
        if name not in known:
            arguments = ", ".join(
                ("index", "embed_model", "image_encoder", "path", "remote", *sorted(known))
            )
            instead = f"Use {_INSTEAD[name]}. " if name in _INSTEAD else ""
            raise TypeError(
                f"DiptychVectorStore has no argument {name}=. {instead}Its arguments are {arguments}."
            )
    if options.get("namespace") is not None and path is None:
        raise InvalidArgument("namespace= needs path=; an index in memory is apart already.")
    own = {
        name: options[name]
        for name in ("kind", "lock_timeout", "images", "settings")
        if name in options
    }
    if own:
        MultimodalIndex(**own).close()  # which looks at the values


def check_index(index: Any) -> None:
    """Refuse something else in the place of an index, such as a path or a model.

    Raises:
        InvalidArgument: It is not an index.
    """
    if index is not None and not isinstance(index, MultimodalIndex):
        raise InvalidArgument(
            f"index= is {shown(index)}, of type {type(index).__name__}; expected a MultimodalIndex. Pass a "
            "folder as path=, a model as embed_model=."
        )


def check_remote(remote: Any) -> None:
    """Refuse what fetches nothing, which would be noticed when the first URL comes.

    Raises:
        InvalidArgument: It is something else than ``RemotePictures``.
    """
    if remote is not None and not isinstance(remote, RemotePictures):
        raise InvalidArgument(
            f"remote= is {shown(remote)}, of type {type(remote).__name__}; expected a RemotePictures, which "
            "says what may be fetched. Pass RemotePictures(hosts)."
        )
