"""LlamaIndex: an index, a vector store, a retriever, embeddings, and pictures up to the model."""

from diptych.llama_index import _installed as _installed
from diptych.llama_index.content import SeparatePictures, to_content_blocks
from diptych.llama_index.convert import RetrievedNode
from diptych.llama_index.embedding import DiptychMultiModalEmbedding
from diptych.llama_index.engines import DiptychQueryEngine
from diptych.llama_index.filters import to_filter
from diptych.llama_index.ingest import DiptychReader, KeepPictures
from diptych.llama_index.multi_modal_index import DiptychMultiModalIndex
from diptych.llama_index.node import DiptychNode
from diptych.llama_index.retriever import DiptychRetriever
from diptych.llama_index.tool import DiptychRetrieverTool
from diptych.llama_index.vector_store import DiptychVectorStore

__all__ = [
    "DiptychMultiModalEmbedding",
    "DiptychMultiModalIndex",
    "DiptychNode",
    "DiptychQueryEngine",
    "DiptychReader",
    "DiptychRetriever",
    "DiptychRetrieverTool",
    "DiptychVectorStore",
    "KeepPictures",
    "RetrievedNode",
    "SeparatePictures",
    "to_content_blocks",
    "to_filter",
]
