"""Multimodal retrieval for RAG: text and pictures in one index, fused context out.

Every public name is loaded when it is first used, so that importing the package is fast and pulls
in none of torch, faiss, LangChain or LlamaIndex.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.align import CrossModalAligner
    from diptych.cards import Results
    from diptych.encoders import (
        FunctionEncoder,
        OfflineTextEncoder,
        OpenClipEncoder,
        SentenceTransformerEncoder,
        ToyEncoder,
    )
    from diptych.errors import DiptychError
    from diptych.index import MultimodalIndex
    from diptych.ingest import read
    from diptych.retriever import MultimodalRetriever
    from diptych.types import Document, Evidence, FusedDocument, Hit, Image, Query

__version__ = "0.1.0"

_HOME = {
    "CrossModalAligner": "diptych.align",
    "DiptychError": "diptych.errors",
    "Document": "diptych.types",
    "Evidence": "diptych.types",
    "FunctionEncoder": "diptych.encoders",
    "FusedDocument": "diptych.types",
    "Hit": "diptych.types",
    "Image": "diptych.types",
    "MultimodalIndex": "diptych.index",
    "MultimodalRetriever": "diptych.retriever",
    "OfflineTextEncoder": "diptych.encoders",
    "OpenClipEncoder": "diptych.encoders",
    "Query": "diptych.types",
    "Results": "diptych.cards",
    "SentenceTransformerEncoder": "diptych.encoders",
    "ToyEncoder": "diptych.encoders",
    "read": "diptych.ingest",
}

__all__ = [
    "CrossModalAligner",
    "DiptychError",
    "Document",
    "Evidence",
    "FunctionEncoder",
    "FusedDocument",
    "Hit",
    "Image",
    "MultimodalIndex",
    "MultimodalRetriever",
    "OfflineTextEncoder",
    "OpenClipEncoder",
    "Query",
    "Results",
    "SentenceTransformerEncoder",
    "ToyEncoder",
    "read",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'diptych' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
