"""How LlamaIndex finds the class of a persisted index, so that it gives back a DiptychMultiModalIndex.

``StorageContext.persist`` writes the type of every index into ``index_store.json``, and
``load_index_from_storage`` looks a class up by it, in two tables of LlamaIndex that have an entry for each
of its own indexes. diptych adds an entry under a name of its own and leaves the others alone; so an index
that was persisted as a ``VectorStoreIndex`` still comes back as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.data_structs.registry import INDEX_STRUCT_TYPE_TO_INDEX_STRUCT_CLASS
from llama_index.core.indices.registry import INDEX_STRUCT_TYPE_TO_INDEX_CLASS

__all__ = ["TYPE", "DiptychIndexDict", "as_own", "register"]

TYPE: Any = "diptych_multi_modal"
"""The type of the index in ``index_store.json``; LlamaIndex's own types are strings as well."""


@dataclass
class DiptychIndexDict(IndexDict):
    """What LlamaIndex keeps of the index beside its store: an id and a summary."""

    @classmethod
    def get_type(cls) -> Any:
        """Return the type by which LlamaIndex finds the class."""
        return TYPE


def as_own(struct: IndexDict | None) -> DiptychIndexDict | None:
    """Return what was kept of an index, also of one that was persisted as a ``VectorStoreIndex``."""
    if struct is None or isinstance(struct, DiptychIndexDict):
        return struct
    return DiptychIndexDict(index_id=struct.index_id, summary=struct.summary)


def register(index_class: type[Any]) -> None:
    """Add the class to LlamaIndex's tables."""
    INDEX_STRUCT_TYPE_TO_INDEX_STRUCT_CLASS[TYPE] = DiptychIndexDict
    INDEX_STRUCT_TYPE_TO_INDEX_CLASS[TYPE] = index_class
