"""Which models may work on which index: compared by space, dimension and fingerprint."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.errors import EncoderMismatch, InvalidArgument, NotFitted
from diptych.index.embed import Models
from diptych.protocols import Aligner, FusionModel, ImageEncoder, TextEncoder
from diptych.storage import Space
from diptych.types import Document
from diptych.vectors import Vectors

__all__ = [
    "check_aligner",
    "check_can_add",
    "check_encoders",
    "check_has_models",
    "check_spaces",
    "named",
    "spaces_of",
]

_ROLE = {"text": "text encoder", "image": "image encoder", "cross_modal": "fusion model"}


def spaces_of(models: Models) -> dict[str, Space]:
    """Return the space of each list that the models can fill."""
    spaces = {}
    for name, encoder in (("text", models.text), ("image", models.image)):
        if encoder is not None:
            spaces[name] = Space(int(encoder.dim), str(encoder.space), str(encoder.fingerprint))
    if spaces:
        joined = " + ".join(space.name for space in spaces.values())
        spaces["cross_modal"] = Space(
            int(models.fusion.dim), joined, str(models.fusion.fingerprint)
        )
    return spaces


def check_encoders(
    text: object, image: object, fusion: object = None, aligner: object = None
) -> None:
    """Refuse at construction what could only fail later.

    Raises:
        InvalidArgument: An object that lacks what its part needs.
    """
    if text is not None and not isinstance(text, TextEncoder):
        raise InvalidArgument(_lacking("text_encoder", text, TextEncoder))
    if image is not None and not isinstance(image, ImageEncoder):
        raise InvalidArgument(_lacking("image_encoder", image, ImageEncoder))
    if fusion is not None and not isinstance(fusion, FusionModel):
        raise InvalidArgument(_lacking("fusion_model", fusion, FusionModel))
    if aligner is not None and not isinstance(aligner, Aligner):
        raise InvalidArgument(_lacking("aligner", aligner, Aligner))


def check_spaces(stored: Mapping[str, Space], models: Models, path: Path | None) -> None:
    """Compare the models with those that an index was filled with.

    An encoder that is not given is not compared: such an index can be read, not added to.

    Raises:
        EncoderMismatch: A model differs, also when its dimension does not.
    """
    if not stored:
        return
    given = spaces_of(models)
    if given.keys() != stored.keys():
        given.pop("cross_modal", None)
    for name, space in given.items():
        before = stored.get(name)
        if before == space:
            continue
        was = "without one" if before is None else f"with {named(before)}"
        raise EncoderMismatch(
            f"The index {str(path)!r} was built {was} as its {_ROLE[name]}, and is opened with "
            f"{named(space)}. Vectors of two models cannot be compared. Open it with the model that it "
            "was built with, or give its documents the vectors of this one: diptych.maintenance.reembed, "
            "or on the command line: diptych reembed."
        )


def check_has_models(stored: Mapping[str, Space], models: Models, path: Path | None) -> None:
    """Refuse to store vectors in an index that was made without models, and so without lists for them.

    Raises:
        EncoderMismatch: It was, and there is an encoder now.
    """
    given = spaces_of(models)
    if given and not stored:
        raise EncoderMismatch(
            f"The index {str(path)!r} was made without models, and is added to with "
            f"{', '.join(named(space) for space in given.values())}. Open it without encoders, or give its "
            "documents the vectors of these first: diptych.maintenance.reembed, or on the command line: "
            "diptych reembed."
        )


def check_aligner(stored: Mapping[str, Space], models: Models) -> None:
    """Compare the spaces that an aligner maps between with those that it is to map between.

    Its dimensions are seen from what it makes of one vector; one that is not fitted yet has none.

    Raises:
        EncoderMismatch: It was made for other spaces, or for other dimensions.
    """
    aligner = models.aligner
    if aligner is None:
        return
    spaces = {**stored, **spaces_of(models)}
    for name, space in (("text", aligner.text_space), ("image", aligner.image_space)):
        if name in spaces and space != spaces[name].name:
            raise EncoderMismatch(
                f"The aligner was made for the {name} space {space!r}, and is given to an index whose "
                f"{name} space is {named(spaces[name])}. It maps between the spaces that it was fitted "
                f"for only. Fit one on vectors of these models, with {name}_space={spaces[name].name!r}."
            )
    if "text" in spaces and "image" in spaces:
        text, image = spaces["text"].dim, spaces["image"].dim
        _check_dimensions("text_to_image", aligner.text_to_image, text, image)
        _check_dimensions("image_to_text", aligner.image_to_text, image, text)


def _check_dimensions(name: str, way: Callable[[Vectors], Any], start: int, end: int) -> None:
    reason: Exception | None = None
    try:
        made = way(np.full((1, start), start**-0.5, np.float32))
        if made is None or np.shape(made) == (1, end):
            return
        found = f"it made an array of shape {np.shape(made)}"
    except NotFitted:
        return
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        found, reason = str(error).rstrip("."), error
    raise EncoderMismatch(
        f"The aligner cannot map between the spaces of this index: {name} was given a vector of {start} "
        f"dimensions and should make one of {end}; {found}. Fit an aligner on vectors of these models."
    ) from reason


def check_can_add(
    stored: Mapping[str, Space],
    models: Models,
    documents: Sequence[Document],
    given: Mapping[str, Container[str]],
) -> None:
    """Refuse documents that an index has a list for, but this object no encoder.

    Args:
        stored: The models of the vectors of the index.
        models: Those of this object.
        documents: What is to be added.
        given: For "text" and "image", the ids of documents that come with a vector.

    Raises:
        InvalidArgument: An encoder is missing.
    """
    for name, encoder, has in (
        ("text", models.text, "has_text"),
        ("image", models.image, "has_image"),
    ):
        if encoder is not None or not any(getattr(document, has) for document in documents):
            continue
        if name in stored:
            raise InvalidArgument(
                f"Documents with {name} cannot be added: the index was opened without a {_ROLE[name]}. "
                f"It was built with {named(stored[name])}; open it with that one."
            )
        words = given.get("text", ()) if models.text is not None else ()
        if name == "image" and not any(d.has_text or d.id in words for d in documents):
            raise InvalidArgument(
                "Pictures without words were given to an index without an image encoder; nothing "
                "could ever find them. Pass image_encoder= when you create the index."
            )


def named(space: Space) -> str:
    """Return what messages call the model of a list."""
    return f"{space.name!r} ({space.dim}-d, fingerprint {space.fingerprint[:12]})"


def _lacking(argument: str, value: object, protocol: type) -> str:
    attributes = sorted(name for part in protocol.__mro__ for name in inspect.get_annotations(part))
    methods = [name for name in vars(protocol) if not name.startswith("_")]
    needed = dict.fromkeys((*attributes, *methods))
    missing = ", ".join(name for name in needed if not hasattr(value, name))
    advice = (
        "Pass one of diptych's encoders, or wrap your own function with FunctionEncoder."
        if argument.endswith("encoder")
        else f"Pass one of diptych.align, or an object as diptych.protocols.{protocol.__name__} asks for."
    )
    return f"{argument} is a {type(value).__name__}, which lacks {missing}. {advice}"
