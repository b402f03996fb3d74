"""Durable storage of documents and vectors on one machine."""

from diptych.storage.local import LocalStorage, VectorRows
from diptych.storage.pictures import PicturePolicy
from diptych.storage.rows import Row, Space, Stub

__all__ = ["LocalStorage", "PicturePolicy", "Row", "Space", "Stub", "VectorRows"]
