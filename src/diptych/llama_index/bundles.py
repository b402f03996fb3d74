"""Parts of LlamaIndex's questions, made anew: the caller's bundle is left as it is."""

from __future__ import annotations

from llama_index.core.indices.query.schema import QueryType
from llama_index.core.schema import QueryBundle

from diptych.types import Query

__all__ = ["is_blank", "of_picture", "picture_only", "text_only"]


def is_blank(bundle: QueryBundle) -> bool:
    """Whether nothing is asked: white space at most, and no picture."""
    if isinstance(bundle.query_str, str) and bundle.query_str.strip():
        return False
    texts = (bundle.query_str, *(bundle.custom_embedding_strs or ()))
    return not bundle.image_path and not any(
        text.strip() if isinstance(text, str) else text for text in texts
    )


def text_only(query: QueryType) -> QueryBundle:
    """Return a question without its picture."""
    if isinstance(query, str):
        return QueryBundle(query_str=query)
    return QueryBundle(query.query_str, custom_embedding_strs=query.custom_embedding_strs)


def of_picture(query: QueryType) -> QueryBundle:
    """Return a question about a picture; a string is its path, one of white space is none."""
    if not isinstance(query, str):
        return query
    return QueryBundle("", image_path=query if query.strip() else None)


def picture_only(bundle: QueryBundle) -> QueryBundle:
    """Return a question without its words.

    Raises:
        InvalidArgument: It has words and no picture.
    """
    if not bundle.image_path and not is_blank(bundle):
        Query()  # refuses words where a picture is needed
    return QueryBundle(query_str="", image_path=bundle.image_path)
