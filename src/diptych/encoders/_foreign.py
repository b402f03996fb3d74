"""Models of other frameworks as plain functions, by duck typing: none of them is imported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from diptych.encoders.awaited import each_query
from diptych.errors import InvalidArgument
from diptych.types import Image

__all__ = [
    "Functions",
    "langchain_functions",
    "llama_index_functions",
    "qualified_name",
]


@dataclass(frozen=True, slots=True)
class Functions:
    """What a model of another framework can do; each takes a list and returns one row per item.

    ``name`` is its class; ``model`` is class and model, or None when it does not say which one.
    """

    name: str
    model: str | None
    text: Callable[[list[str]], ArrayLike]
    query: Callable[[list[str]], ArrayLike]
    image: Callable[[list[Image]], ArrayLike] | None


def langchain_functions(model: Any) -> Functions:
    """Return the functions of a LangChain ``Embeddings``."""
    _check(model, "LangChain Embeddings", "embed_documents", "embed_query")
    return Functions(
        name=type(model).__qualname__,
        model=_model_name(model),
        text=partial(_whole, model, "embed_documents"),
        query=partial(_one_by_one, model, "embed_query"),
        image=partial(_from_paths, model) if _has(model, "embed_image") else None,
    )


def llama_index_functions(model: Any) -> Functions:
    """Return the functions of a LlamaIndex embedding."""
    kind = "LlamaIndex embedding"
    _check(model, kind, "get_text_embedding_batch", "get_query_embedding")
    return Functions(
        name=type(model).__qualname__,
        model=_model_name(model),
        text=partial(_whole, model, "get_text_embedding_batch"),
        query=partial(_questions, model),
        image=partial(_from_files, model) if _has(model, "get_image_embedding_batch") else None,
    )


# Functions of a module and no closures, so that an encoder can be pickled when the model can.


def _has(model: Any, method: str) -> bool:
    return getattr(model, method, None) is not None


def _whole(model: Any, method: str, texts: list[str]) -> ArrayLike:
    rows: ArrayLike = getattr(model, method)(texts)
    return rows


def _one_by_one(model: Any, method: str, texts: list[str]) -> ArrayLike:
    rows: ArrayLike = [getattr(model, method)(text) for text in texts]
    return rows


def _questions(model: Any, texts: list[str]) -> ArrayLike:
    rows: ArrayLike = each_query(model, texts, model.get_query_embedding)
    return rows


def _from_paths(model: Any, images: list[Image]) -> ArrayLike:
    # embed_image takes paths, so pictures that are only bytes need a file for the moment.
    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        rows: ArrayLike = model.embed_image([_path_of(i, Path(folder)) for i in images])
        return rows


def _from_files(model: Any, images: list[Image]) -> ArrayLike:
    rows: ArrayLike = model.get_image_embedding_batch([_path_or_file(i) for i in images])
    return rows


def _model_name(model: Any) -> str | None:
    """Return class and model name, "OpenAIEmbeddings:text-embedding-3-small", or None."""
    for attribute in ("model_name", "model", "model_id", "deployment"):
        value = getattr(model, attribute, None)
        if isinstance(value, str) and value not in ("", "unknown"):
            return f"{type(model).__qualname__}:{value}"
    return None


def qualified_name(function: object) -> str:
    """Return the name of a function with its module, or of the class of another callable."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{getattr(named, '__qualname__', '')}"


def _check(model: Any, kind: str, *methods: str) -> None:
    missing = [method for method in methods if not callable(getattr(model, method, None))]
    if missing:
        raise InvalidArgument(
            f"{type(model).__name__} is no {kind}: it lacks {', '.join(missing)}. Pass a model of "
            "that kind, or your own functions to FunctionEncoder."
        )


def _path_of(image: Image, folder: Path) -> str:
    header = image.header  # refuses here what another library would have to cope with
    if image.path is not None:
        return str(image.path)
    path = folder / f"{image.sha256}.{header.format.lower()}"
    path.write_bytes(image.read())
    return str(path)


def _path_or_file(image: Image) -> str | BytesIO:
    _ = image.header  # as above
    return BytesIO(image.read()) if image.path is None else str(image.path)
