"""Options of the index by name: none is swallowed, and those of others say what to use here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from diptych.errors import InvalidArgument

__all__ = [
    "INDEX_OPTIONS",
    "check_known",
    "check_only_one",
    "check_update",
    "named_arguments",
    "taken",
]

INDEX_OPTIONS = frozenset(
    {"aligner", "fusion_model", "images", "kind", "lock_timeout", "namespace", "settings"}
)
"""The options of ``MultimodalIndex`` that the store passes on."""

_ONE_STORE = (
    "nothing, as one store keeps texts and pictures; for a store of your own use "
    "storage_context=StorageContext.from_defaults(vector_store=DiptychVectorStore(…))"
)
_FOLDER = "path=, a folder"
_IN_FOLDER = "namespace=, with path="
_KNOWS = "nothing, as the index knows by itself"
_EMBEDDING = "embed_model="
_RETRIEVER = "as_retriever(…), as_query_engine(…) or as_chat_engine(…), which take it"

INSTEAD: Mapping[str, str] = {
    "batch_size": "insert_batch_size=",
    "chroma_collection": _FOLDER,
    "client": _FOLDER,
    "collection": _IN_FOLDER,
    "collection_name": _IN_FOLDER,
    "dim": "nothing, as it is found from the model",
    "docstore": "storage_context=; no docstore is needed",
    "embed_batch_size": "embed_model=, an embedding that was made with embed_batch_size=",
    "embedding": _EMBEDDING,
    "embedding_function": _EMBEDDING,
    "embeddings": _EMBEDDING,
    "filters": _RETRIEVER,
    "host": _FOLDER,
    "image_encoder": "image_embed_model=",
    "image_namespace": "nothing, or namespace=: texts and pictures are in one store",
    "image_similarity_top_k": _RETRIEVER,
    "image_store": _ONE_STORE,
    "image_vector_store": _ONE_STORE,
    "index_name": _IN_FOLDER,
    "index_store": "storage_context=",
    "is_image_to_text": "nothing, as the words of a picture are always embedded as a text",
    "is_image_vector_store_empty": _KNOWS,
    "is_text_vector_store_empty": _KNOWS,
    "llm": "as_query_engine(llm=…) or as_chat_engine(llm=…)",
    "location": _FOLDER,
    "multi_modal_llm": "as_query_engine(llm=…) or as_chat_engine(llm=…)",
    "persist_dir": _FOLDER,
    "persist_directory": _FOLDER,
    "persist_path": _FOLDER,
    "qdrant_client": _FOLDER,
    "service_context": "embed_model= here, and llm= of as_query_engine",
    "similarity_top_k": _RETRIEVER,
    "store_nodes_override": "nothing, as the store keeps every node as it is",
    "table_name": _IN_FOLDER,
    "text_embed_model": _EMBEDDING,
    "text_encoder": _EMBEDDING,
    "text_vector_store": _ONE_STORE,
    "uri": _FOLDER,
    "url": _FOLDER,
    "vector_store": "from_vector_store(store), or storage_context=",
    "vector_store_query_mode": _RETRIEVER,
}
"""What other indexes and stores call an argument of theirs, and what stands for it here."""

INSTEAD_ASKED: Mapping[str, str] = {
    **INSTEAD,
    "embedding_field": "modalities=",
    "fetch_k": "similarity_top_k=",
    "filter": "filters=",
    "image_filters": "filters=, which hold for texts and pictures",
    "image_node_ids": "node_ids=",
    "image_qa_template": "as_query_engine(image_qa_template=…)",
    "image_top_k": "image_similarity_top_k=",
    "k": "similarity_top_k=",
    "mode": "vector_store_query_mode=",
    "query_mode": "vector_store_query_mode=",
    "retriever_mode": "vector_store_query_mode=",
    "score_threshold": "node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=…)]",
    "search_kwargs": "the arguments themselves",
    "search_type": "vector_store_query_mode=",
    "service_context": "embed_model= of the index, and llm=",
    "similarity_cutoff": "node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=…)]",
    "text_filters": "filters=, which hold for texts and pictures",
    "top_k": "similarity_top_k=",
    "where": "filters=",
}
"""The same for what is asked of an index."""

_UPDATE = frozenset({"insert_kwargs", "delete_kwargs", "update_kwargs"})


def check_known(
    method: str,
    given: Iterable[str],
    known: Collection[str],
    instead: Mapping[str, str] = INSTEAD,
) -> None:
    """Refuse options that a method does not know.

    Raises:
        TypeError: One is not known. It names what stands for it here, or everything that is known.
    """
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return
    advice = "".join(
        f" Instead of {name}= use {instead[name]}." for name in unknown if name in instead
    )
    raise TypeError(
        f"{method} does not know {', '.join(unknown)}; it knows {', '.join(sorted(known)) or 'no options'}."
        f"{advice}"
    )


def check_update(method: str, given: Mapping[str, Any]) -> None:
    """Refuse options of LlamaIndex's updating methods that would count for nothing here.

    ``insert_kwargs`` and ``delete_kwargs`` are taken where they hold what needs no heed: a docstore is not
    used, so that ``delete_from_docstore`` changes nothing.

    Raises:
        TypeError: One is not known.
    """
    check_known(method, given, _UPDATE)
    for name, inner in given.items():
        known = _UPDATE if name == "update_kwargs" else {"delete_from_docstore"}
        check_known(f"{method}({name}=…)", inner or {}, known)


def check_only_one(of_the_store: str, given: Mapping[str, Any]) -> None:
    """Refuse options of a store together with a store that has its own.

    Raises:
        InvalidArgument: One was given.
    """
    if options := sorted(name for name, value in given.items() if value is not None):
        names = ", ".join(f"{name}=" for name in options)
        raise InvalidArgument(
            f"{names} was given together with {of_the_store}, whose store has its own. Pass one or the "
            "other: make the DiptychVectorStore with these options, or leave out the store."
        )


def named_arguments(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names of the arguments of a function, without those that it takes by any name."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return frozenset(p.name for p in parameters if p.kind not in kinds and p.name != "self")


def taken(options: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Take some options out of others."""
    return {name: options.pop(name) for name in list(options) if name in names}
