"""A plugin of pytest that puts DiptychVectorStore in the place of LangChain's InMemoryVectorStore."""

import os
import tempfile
from collections.abc import Iterator, Mapping

import langchain_core.vectorstores
import langchain_core.vectorstores.in_memory
import numpy as np

from diptych.langchain import DiptychVectorStore

KEPT = os.environ.get("DIPTYCH_STANDIN", "memory")
FOLDERS = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


class Direction(list):
    """A vector that is equal to every other one of its direction: diptych keeps unit vectors."""

    def __eq__(self, other: object) -> bool:
        ours, theirs = np.asarray(self), np.asarray(other)
        cosine = ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))
        return bool(cosine > 1 - 1e-6)

    __hash__ = None


class Contents(Mapping):
    """What ``InMemoryVectorStore.store`` gives: ids to what is stored."""

    def __init__(self, store: DiptychVectorStore) -> None:
        self._index = store.index

    def __getitem__(self, identity: str) -> dict:
        found = self._index.get([identity])
        if not found:
            raise KeyError(identity)
        vector = self._index.text_index.vectors([identity])[0]
        return {
            "id": identity,
            "text": found[0].text,
            "vector": Direction(vector.tolist()),
            "metadata": dict(found[0].metadata),
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.ids())

    def __len__(self) -> int:
        return len(self._index)


class StandIn(DiptychVectorStore):
    """DiptychVectorStore with the names that only InMemoryVectorStore has."""

    def __init__(self, embedding=None, **options) -> None:
        if KEPT == "folder" and "path" not in options:
            options["path"] = tempfile.mkdtemp(dir=FOLDERS.name)
        super().__init__(embedding, **options)

    @property
    def store(self) -> Contents:
        return Contents(self)

    def dump(self, path: str) -> None:
        self.save_local(path)

    @classmethod
    def load(cls, path: str, embedding) -> "StandIn":
        return cls.load_local(path, embedding)


langchain_core.vectorstores.InMemoryVectorStore = StandIn
langchain_core.vectorstores.in_memory.InMemoryVectorStore = StandIn
