"""What users pass to be added, as documents to store, each made by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.documents import Document
from numpy.typing import ArrayLike

from diptych.checks import is_single, shown
from diptych.errors import InvalidArgument
from diptych.langchain.addition import Addition, Candidate
from diptych.langchain.convert import RetrievedDocument, picture_metadata, to_image, to_stored
from diptych.langchain.placeholder import is_placeholder, stands_for
from diptych.remote import RemotePictures, is_url
from diptych.reserved import dropped_from, place_of, without_reserved
from diptych.types import Document as Stored
from diptych.types import Image

__all__ = [
    "Pairs",
    "as_mapping",
    "from_documents",
    "from_embeddings",
    "from_images",
    "from_texts",
    "is_blank",
    "listed",
    "one_each",
    "with_mapping",
    "wrong",
]

Pairs = Iterable[tuple[Any, ArrayLike | None]]
"""Texts or pictures, each with its vector, or None where the model of the index makes it."""


def from_texts(texts: Any, metadatas: Any, ids: Any) -> tuple[Addition, list[str]]:
    """Return what texts become, and an id for each.

    Raises:
        InvalidArgument: Not lists of one length.
    """
    # One string stands for its characters, as in langchain-core's own stores.
    given = list(texts) if isinstance(texts, str) else listed("texts", texts, "strings")
    metadatas, identities = beside(given, None if _is_left_out(metadatas) else metadatas, ids)
    addition = Addition()
    for at, text in enumerate(given):
        addition.take(
            identities[at],
            _source(metadatas[at]),
            partial(_text, addition, at, text, metadatas[at], identities[at]),
            is_blank=_is_white(text),
        )
    return addition, identities


def from_documents(documents: Any, ids: Any) -> tuple[Addition, list[str]]:
    """Return what LangChain documents become, and an id for each: those given, or their own.

    Raises:
        InvalidArgument: Not lists of one length.
    """
    given = listed("documents", documents, "LangChain documents")
    own = [getattr(document, "id", None) for document in given]
    _, identities = beside(given, None, own if _is_left_out(ids) else ids)
    addition = Addition()
    for at, document in enumerate(given):
        addition.take(
            identities[at],
            _source(getattr(document, "metadata", None)),
            partial(_document, addition, at, document, identities[at]),
            is_blank=is_blank(document),
        )
    return addition, identities


def from_images(
    uris: Any, metadatas: Any, ids: Any, texts: Any, remote: RemotePictures | None = None
) -> tuple[Addition, list[str]]:
    """Return what pictures become, with their captions, and an id for each; ``remote`` fetches URLs.

    Raises:
        InvalidArgument: Not lists of one length.
    """
    if Image.takes(uris):  # an array could be taken for its rows
        raise wrong("uris", uris, "pictures")
    given = listed("uris", uris, "pictures")
    captions = one_each(given, texts, "texts")
    metadatas, identities = beside(given, metadatas, ids)
    addition = Addition()
    for at, uri in enumerate(given):
        addition.take(
            identities[at],
            _source(metadatas[at]) or uri,
            partial(_picture, addition, captions[at], uri, metadatas[at], identities[at], remote),
        )
    return addition, identities


def from_embeddings(
    text_embeddings: Pairs | None,
    image_embeddings: Pairs | None,
    metadatas: Any,
    ids: Any,
    remote: RemotePictures | None = None,
) -> tuple[Addition, list[str]]:
    """Return what texts and pictures with their vectors become, and an id for each.

    Raises:
        InvalidArgument: Neither texts nor pictures, or not lists of one length.
    """
    if text_embeddings is None and image_embeddings is None:
        raise InvalidArgument(
            "Nothing was given to add; expected text_embeddings=, image_embeddings=, or both. Pass pairs "
            "such as [('a text', vector)]."
        )
    given = [
        None if pairs is None else listed(name, pairs, "pairs of content and vector")
        for name, pairs in (
            ("text_embeddings", text_embeddings),
            ("image_embeddings", image_embeddings),
        )
    ]
    counts = {len(pairs) for pairs in given if pairs is not None}
    if len(counts) > 1:
        raise InvalidArgument(
            f"{len(given[0] or [])} text_embeddings and {len(given[1] or [])} image_embeddings were given; "
            "expected one of each for each document. Add what does not belong together in two calls."
        )
    texts, images = ([None] * counts.copy().pop() if pairs is None else pairs for pairs in given)
    metadatas, identities = beside(texts, None if _is_left_out(metadatas) else metadatas, ids)
    addition = Addition()
    for at, (text, image) in enumerate(zip(texts, images, strict=True)):
        addition.take(
            identities[at],
            _source(metadatas[at]),
            partial(_with_vectors, addition, text, image, metadatas[at], identities[at], remote),
            is_blank=image is None and isinstance(text, tuple | list) and _is_white(*text[:1]),
        )
    return addition, identities


def is_blank(document: object) -> bool:
    """Whether a LangChain document has neither words nor a picture at hand."""
    fused = document.fused if isinstance(document, RetrievedDocument) else None
    metadata = getattr(document, "metadata", None)
    names_picture = isinstance(metadata, Mapping) and metadata.get("image_path")
    has_picture = bool(names_picture or (fused is not None and fused.images))
    return not has_picture and _is_white(getattr(document, "page_content", None))


def _text(addition: Addition, at: int, text: object, metadata: object, identity: str) -> Candidate:
    if not isinstance(text, str):
        raise wrong(f"texts[{at}]", text, "strings")
    said = dict(as_mapping(metadata))
    if _is_white(text):  # before LangChain looks at it
        return Candidate(Stored(text=text, id=identity))
    return _document(addition, at, Document(page_content=text, metadata=said), identity)


def _document(addition: Addition, at: int, document: object, identity: str) -> Candidate:
    if not isinstance(document, Document):
        raise wrong(f"documents[{at}]", document, "LangChain documents")
    document = with_mapping(document)
    addition.drop(dropped_from(document.metadata))
    return Candidate(to_stored(document, identity))


def _picture(
    addition: Addition,
    caption: Any,
    uri: object,
    metadata: object,
    identity: str,
    remote: RemotePictures | None,
) -> Candidate:
    image = to_image(uri, remote)
    return Candidate(_stored(addition, caption, image, _with_url(metadata, uri), identity))


def _with_url(metadata: object, uri: object) -> object:
    """Return the metadata of a picture that says where it was fetched from, if it was."""
    return {"image_url": uri, **as_mapping(metadata)} if is_url(uri) else metadata


def _stored(
    addition: Addition, text: Any, image: Image | None, metadata: object, identity: str
) -> Stored:
    said = as_mapping(metadata)
    addition.drop(dropped_from(said))
    place = place_of(said)
    # What stands for a picture without words comes back as its caption from code that copies.
    if image is not None and isinstance(text, str) and is_placeholder(text):
        text = None if stands_for(text, image.sha256) else text
    described = {} if image is None else picture_metadata(image)
    return Stored(
        text=text,
        image=image,
        metadata={**described, **without_reserved(said)},
        id=identity,
        group=place.group,
        order=place.order,
    )


def _with_vectors(
    addition: Addition,
    text: object,
    image: object,
    metadata: object,
    identity: str,
    remote: RemotePictures | None,
) -> Candidate:
    words, text_vector = _pair("text_embeddings", text)
    uri, image_vector = _pair("image_embeddings", image)
    if words is not None and not isinstance(words, str):
        raise wrong("The text of text_embeddings", words, "pairs of a string and its vector")
    picture = None if uri is None else to_image(uri, remote)
    stored = _stored(addition, words, picture, _with_url(metadata, uri), identity)
    return Candidate(stored, text_vector, image_vector)


def _pair(name: str, value: object) -> tuple[Any, Any]:
    """Return content and vector; None for both where there is neither."""
    if value is None:
        return None, None
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise wrong(f"An item of {name}", value, "pairs of content and vector")
    return value[0], value[1]


def wrong(what: str, value: object, expected: str) -> InvalidArgument:
    """Return the error about an item of a list that is of a wrong type."""
    return InvalidArgument(
        f"{what} is {shown(value)}, of type {type(value).__name__}; expected a list of {expected}."
    )


def as_mapping(metadata: object) -> Mapping[str, Any]:
    """Return metadata; {} for None.

    Raises:
        InvalidArgument: It is something else.
    """
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidArgument(
            f"A metadata was given as {type(metadata).__name__}; expected a dict, or None."
        )
    return metadata or {}


def with_mapping(document: Document) -> Document:
    """Return a document whose metadata is a mapping: {} for None, which assignment allows."""
    said = as_mapping(document.metadata)
    return document if said is document.metadata else document.model_copy(update={"metadata": said})


def _source(metadata: object) -> object:
    return metadata.get("source") if isinstance(metadata, Mapping) else None


def _is_white(text: object) -> bool:
    return isinstance(text, str) and not text.strip()


def beside(items: Sequence[Any], metadatas: Any, ids: Any) -> tuple[list[Any], list[str]]:
    """Return a metadata and an id for each item; an id that is left out is a new one."""
    given = one_each(items, None if _is_left_out(ids) else ids, "ids")
    identities = [identity or str(uuid.uuid4()) for identity in given]
    return one_each(items, metadatas, "metadatas"), identities


def _is_left_out(values: Any) -> bool:
    return values is None or (isinstance(values, list | tuple | Mapping) and not values)


def listed(name: str, values: Any, what: str) -> list[Any]:
    """Return the values of an argument; a bad one among them is not yet an error."""
    is_one = is_single(values) or isinstance(values, Mapping | Document)
    if is_one or not isinstance(values, Iterable):
        given = "string" if isinstance(values, str) else type(values).__name__
        raise InvalidArgument(f"{name}={shown(values)} is one {given}; expected a list of {what}.")
    return list(values)


def one_each(items: Sequence[Any], values: Any, name: str) -> list[Any]:
    """Return one value for each item; None for each where none are given.

    Raises:
        InvalidArgument: There is another number of them.
    """
    if values is None:
        return [None] * len(items)
    given = listed(name, values, "one for each")
    if len(given) != len(items):
        raise InvalidArgument(
            f"{len(given)} {name} were given for {len(items)} items; expected one for each."
        )
    return given
