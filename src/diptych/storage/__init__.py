"""Durable storage of documents and vectors on one machine."""

from diptych.errors import Conflict
from diptych.storage.approximate import IndexKind
from diptych.storage.database import Database
from diptych.storage.local import LocalStorage, State
from diptych.storage.network import NetworkFolderWarning
from diptych.storage.pictures import PicturePolicy
from diptych.storage.rows import Row, Space, Stub
from diptych.storage.writer import VectorRows

__all__ = [
    "Conflict",
    "Database",
    "IndexKind",
    "LocalStorage",
    "NetworkFolderWarning",
    "PicturePolicy",
    "Row",
    "Space",
    "State",
    "Stub",
    "VectorRows",
]
