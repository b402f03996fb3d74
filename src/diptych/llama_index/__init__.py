"""LlamaIndex: a vector store, a multimodal retriever, embeddings, and a node with its pictures."""

from diptych.llama_index import _installed as _installed
from diptych.llama_index.embedding import DiptychEmbedding
from diptych.llama_index.filters import to_filter
from diptych.llama_index.node import DiptychNode
from diptych.llama_index.retriever import DiptychRetriever
from diptych.llama_index.vector_store import DiptychVectorStore

__all__ = [
    "DiptychEmbedding",
    "DiptychNode",
    "DiptychRetriever",
    "DiptychVectorStore",
    "to_filter",
]
