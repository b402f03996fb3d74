"""Your own functions, or a model of LangChain or LlamaIndex, as an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diptych.encoders import _fingerprint, _foreign
from diptych.errors import InvalidArgument, VectorError
from diptych.types import Image
from diptych.vectors import Vectors, unit_rows

if TYPE_CHECKING:
    # Type checkers take nothing else for the attribute of a protocol.
    from builtins import property as cached_property
else:
    from functools import cached_property

__all__ = ["FunctionEncoder"]

TextFunction = Callable[[list[str]], ArrayLike]
ImageFunction = Callable[[list[Image]], ArrayLike]

_PROBE_TEXTS = [
    "a photograph of a red car",
    "The quick brown fox jumps over the lazy dog.",
    "How do I replace the filter?",
    "42 kilometres north of the city",
    "import numpy as np",
    "Die Katze schläft auf dem Sofa.",
    "chapter 3: thermodynamics",
    "yes",
]

E = TypeVar("E", bound="FunctionEncoder")


class FunctionEncoder:
    """Makes an encoder out of functions that take a list and return one vector for each item.

    It has the methods that it was given functions for, and no others: without ``encode_image`` it
    is no :class:`~diptych.protocols.ImageEncoder`, also to ``isinstance``. Given both, it claims
    that a text vector and a picture vector may be compared. Rows are scaled to unit length.

    Attributes:
        encode_document: ``(len(texts), dim)`` float32 unit rows for passages. Absent without
            ``encode_text``.
        encode_query: The same for questions.
        encode_image: The same for pictures. Absent without a function for it.
        langchain_model: The LangChain ``Embeddings`` that it was made of, whose asynchronous methods the
            adapter awaits; None otherwise.
        llama_index_model: Likewise, the LlamaIndex embedding.

    Args:
        encode_text: Takes a list of strings; returns an array or lists of shape ``(n, dim)``.
        encode_query: Likewise, for questions; ``encode_text`` by default.
        encode_image: Takes a list of :class:`~diptych.types.Image`; ``image.pil()`` decodes one.
        dim: The number of columns; found by calling a function once when it is left out.
        space: The name of the vector space. Encoders whose vectors may be compared with each other
            need the same name; by default it is made of the functions' names and their output.
        fingerprint: Changes when the model does. By default it is made of the functions' names and
            of which components are strongest for a few fixed inputs. Give one when the function
            is not reproducible, as some web services are not.

    Raises:
        InvalidArgument: No function, or ``encode_query`` without ``encode_text``.

    Example:
        >>> from diptych.encoders import FunctionEncoder
        >>> encoder = FunctionEncoder(lambda texts: [[len(text), 1.0] for text in texts])
        >>> encoder.encode_document(["a", "abc"]).shape
        (2, 2)
    """

    langchain_model: Any = None
    llama_index_model: Any = None

    if TYPE_CHECKING:
        # Said as methods, which is what the protocols ask for; set in __init__, see there.
        def encode_document(self, texts: Sequence[str], /) -> Vectors: ...  # noqa: D102
        def encode_query(self, texts: Sequence[str], /) -> Vectors: ...  # noqa: D102
        def encode_image(self, images: Sequence[Image], /) -> Vectors: ...  # noqa: D102

    def __init__(
        self,
        encode_text: TextFunction | None = None,
        *,
        encode_query: TextFunction | None = None,
        encode_image: ImageFunction | None = None,
        dim: int | None = None,
        space: str | None = None,
        fingerprint: str | None = None,
    ) -> None:
        if encode_text is None and (encode_image is None or encode_query is not None):
            raise InvalidArgument(
                "FunctionEncoder got no encode_text"
                + (" to go with encode_query" if encode_query is not None else "")
                + "; expected a function for texts, for pictures, or both. Pass encode_text= or "
                "encode_image=."
            )
        self._text, self._image = encode_text, encode_image
        self._query = encode_query or encode_text
        functions = [function for function in (encode_text, encode_image) if function is not None]
        self._name = " + ".join(map(_foreign.qualified_name, functions))
        self._offer_methods()
        said = {"dim": dim, "space": space, "fingerprint": fingerprint}
        vars(self).update({name: value for name, value in said.items() if value is not None})

    def _offer_methods(self) -> None:
        """Let only what can be done be there: protocols are checked by the presence of methods."""
        if self._text is not None:
            vars(self).update(
                encode_document=self._encode_document, encode_query=self._encode_query
            )
        if self._image is not None:
            vars(self).update(encode_image=self._encode_image)

    @classmethod
    def from_langchain(
        cls,
        embeddings: Any,
        *,
        dim: int | None = None,
        space: str | None = None,
        fingerprint: str | None = None,
    ) -> FunctionEncoder:
        """Return an encoder for LangChain ``Embeddings``; of pictures if it has ``embed_image``.

        Args:
            embeddings: The model. Its class and model name are space and fingerprint by default.
            dim: As for the class.
            space: As for the class.
            fingerprint: As for the class.

        Raises:
            InvalidArgument: ``embeddings`` lacks ``embed_documents`` or ``embed_query``.
        """
        functions = _foreign.langchain_functions(embeddings)
        encoder = cls._of(functions, dim=dim, space=space, fingerprint=fingerprint)
        encoder.langchain_model = embeddings
        return encoder

    @classmethod
    def from_llama_index(
        cls,
        embed_model: Any,
        *,
        dim: int | None = None,
        space: str | None = None,
        fingerprint: str | None = None,
    ) -> FunctionEncoder:
        """Return an encoder for a LlamaIndex ``BaseEmbedding`` or ``MultiModalEmbedding``.

        Args:
            embed_model: The model. Its class and model name are space and fingerprint by default.
            dim: As for the class.
            space: As for the class.
            fingerprint: As for the class.

        Raises:
            InvalidArgument: ``embed_model`` lacks ``get_text_embedding_batch`` or
                ``get_query_embedding``.
        """
        functions = _foreign.llama_index_functions(embed_model)
        encoder = cls._of(functions, dim=dim, space=space, fingerprint=fingerprint)
        encoder.llama_index_model = embed_model
        return encoder

    @classmethod
    def _of(
        cls,
        functions: _foreign.Functions,
        *,
        dim: int | None,
        space: str | None,
        fingerprint: str | None,
    ) -> FunctionEncoder:
        encoder = cls(
            functions.text,
            encode_query=functions.query,
            encode_image=functions.image,
            dim=dim,
            space=space or functions.model,
            fingerprint=fingerprint or functions.model,
        )
        encoder._name = functions.model or functions.name
        return encoder

    @cached_property
    def dim(self) -> int:
        """The number of columns of the vectors."""
        return len(self._probe)

    @cached_property
    def space(self) -> str:
        """The name of the vector space."""
        return self.fingerprint

    @cached_property
    def fingerprint(self) -> str:
        """What changes when the model does."""
        return f"{self._name} ({len(self._probe)}{_fingerprint.strongest(self._probe)})"

    @cached_property
    def _probe(self) -> NDArray[np.float64]:
        """The sum of what the functions return for fixed inputs, ``(dim,)``."""
        parts = []
        if self._text is not None:
            parts.append(self._call("text", self._text, list(_PROBE_TEXTS)))
        if self._image is not None:
            parts.append(self._call("picture", self._image, [_fingerprint.probe_picture()]))
        if len({part.shape[1] for part in parts}) > 1:
            dims = " and ".join(str(part.shape[1]) for part in parts)
            raise VectorError(
                f"FunctionEncoder {self._name}: texts and pictures get vectors of {dims} columns; "
                "expected one space for both. Make two encoders, one with encode_text and one with "
                "encode_image."
            )
        total: NDArray[np.float64] = np.concatenate(parts).sum(axis=0)
        return total

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the encoder: with its functions, which must have a name to be found by.

        Raises:
            InvalidArgument: One of them is a lambda, or was made inside of another function.
        """
        for function in (self._text, self._query, self._image):
            if "<" in getattr(function, "__qualname__", ""):
                raise InvalidArgument(
                    f"FunctionEncoder {self._name} cannot be pickled: {_foreign.qualified_name(function)} is "
                    "a lambda or was made inside of a function, and a pickle holds the names of functions "
                    "only. Expected functions of a module, or methods of an object that can be pickled. Move "
                    "it to the top of a module."
                )
        return _made_again, (type(self), self._state())

    def __copy__(self) -> Self:
        return _made_again(type(self), self._state())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _made_again(type(self), self._state())

    def _state(self) -> dict[str, Any]:
        """Return what the object has, but for the methods that it has because of its functions."""
        methods = ("encode_document", "encode_query", "encode_image")
        return {name: value for name, value in vars(self).items() if name not in methods}

    def _call(
        self, what: str, function: Callable[[list[Any]], ArrayLike], items: list[Any]
    ) -> NDArray[np.float64]:
        try:
            values = np.asarray(function(items), dtype=np.float64)
        except ValueError as error:
            raise VectorError(
                f"FunctionEncoder {self._name}: the {what} function returned something that is no "
                f"rectangular array of numbers: {error}. Return one vector for each item of the list."
            ) from error
        if values.ndim != 2 or len(values) != len(items) or not values.shape[1]:
            raise VectorError(
                f"FunctionEncoder {self._name}: the {what} function returned an array of shape "
                f"{values.shape} for {len(items)} items; expected ({len(items)}, dim). Return one "
                "vector for each item of the list."
            )
        return values

    def _encode_document(self, texts: Sequence[str]) -> Vectors:
        return self._encode(self._text, list(texts))

    def _encode_query(self, texts: Sequence[str]) -> Vectors:
        return self._encode(self._query, list(texts))

    def _encode_image(self, images: Sequence[Image]) -> Vectors:
        return self._encode(self._image, list(images))

    def _encode(
        self, function: Callable[[list[Any]], ArrayLike] | None, items: list[Any]
    ) -> Vectors:
        values: ArrayLike = function(items) if items and function is not None else []
        origin = f"FunctionEncoder {self._name}"
        return unit_rows(values, rows=len(items), dim=self.dim, origin=origin)


def _made_again(cls: type[E], state: dict[str, Any]) -> E:
    encoder = object.__new__(cls)
    vars(encoder).update(state)
    encoder._offer_methods()
    return encoder
