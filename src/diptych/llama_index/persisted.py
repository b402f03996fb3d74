"""A LlamaIndex vector store that is kept beside the file that LlamaIndex names for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding

from diptych.index import MultimodalIndex
from diptych.llama_index import persist
from diptych.llama_index.threaded import ThreadedVectorStore
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["PersistedVectorStore"]

_NAME = "{namespace}__vector_store.json"


class PersistedVectorStore(ThreadedVectorStore):
    """Writes its index where ``StorageContext.persist`` says, and is made of what was written."""

    @property
    def index(self) -> MultimodalIndex:
        """The index that is written."""
        raise NotImplementedError

    @classmethod
    def from_params(
        cls,
        persist_dir: str | os.PathLike[str] | None = None,
        collection_name: str | None = None,
        **options: Any,
    ) -> Self:
        """Return a store by the names that Chroma's store has for its arguments.

        Args:
            persist_dir: ``path`` of the class.
            collection_name: ``namespace`` of the class.
            options: The other arguments of the class.
        """
        if collection_name is not None:
            options["namespace"] = collection_name
        make: Any = cls
        store: Self = make(path=persist_dir, **options)
        return store

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Keep the store beside ``persist_path``, and write there how to load it.

        ``StorageContext.persist`` calls this. A store with a path of its own is on stable storage
        after every change; this copies it. One that was loaded from the same place is there already.

        Args:
            persist_path: A file; the index goes into a folder of nearly that name beside it.
            fs: A file system of fsspec; on another one than this machine's the index is one file.

        Raises:
            InvalidArgument: Nothing has been added yet.
            MediaError: A picture cannot be read, and the file system is another one.
        """
        if persist.is_local(fs):
            persist.write(self.index, persist_path)
        else:
            persist.upload(self.index, persist_path, fs)

    @classmethod
    def from_persist_path(
        cls,
        persist_path: str,
        fs: Any = None,
        *,
        embed_model: BaseEmbedding | TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
    ) -> Self:
        """Return the store that was persisted to a path.

        On this machine's file system changes to it are kept there. From another one it is copied
        into a temporary folder; persist it again after a change.

        Args:
            persist_path: What :meth:`persist` was given.
            fs: None, or a file system of fsspec.
            embed_model: As for the class; the one that the store was filled with. Without models,
                those that the index remembers are loaded.
            image_encoder: Likewise; without it no pictures can be added.

        Raises:
            FormatError: There is no such store.
            EncoderMismatch: The store was filled with other models.
        """
        make: Any = cls
        models = {"embed_model": embed_model, "image_encoder": image_encoder}
        if persist.is_local(fs):
            loaded: Self = make(path=persist.folder_of(persist_path), **models)
            return loaded
        with persist.fetched(persist_path, fs) as folder:
            store: Self = make(path=folder, **models)
        persist.remove_with(store.index, folder)
        return store

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str = "./storage",
        namespace: str = "default",
        fs: Any = None,
        **models: Any,
    ) -> Self:
        """Return the store that ``StorageContext.persist`` kept; see :meth:`from_persist_path`."""
        path = Path(persist_dir) / _NAME.format(namespace=namespace)
        return cls.from_persist_path(str(path), fs, **models)
