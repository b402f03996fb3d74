"""LangChain: a vector store, a retriever, embeddings, and the way of pictures into a prompt."""

from diptych.langchain import _installed as _installed
from diptych.langchain.convert import RetrievedDocument
from diptych.langchain.embeddings import DiptychEmbeddings
from diptych.langchain.loader import DiptychLoader, image_document
from diptych.langchain.messages import (
    condense_question,
    multimodal_prompt,
    to_content_blocks,
    to_messages,
)
from diptych.langchain.retriever import DiptychRetriever, DiptychVectorStoreRetriever
from diptych.langchain.tool import create_multimodal_retriever_tool
from diptych.langchain.translator import DiptychTranslator
from diptych.langchain.vectorstore import DiptychVectorStore

__all__ = [
    "DiptychEmbeddings",
    "DiptychLoader",
    "DiptychRetriever",
    "DiptychTranslator",
    "DiptychVectorStore",
    "DiptychVectorStoreRetriever",
    "RetrievedDocument",
    "condense_question",
    "create_multimodal_retriever_tool",
    "image_document",
    "multimodal_prompt",
    "to_content_blocks",
    "to_messages",
]
