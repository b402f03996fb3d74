"""Which models may work on which index: compared by space, dimension and fingerprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych.errors import EncoderMismatch, InvalidArgument
from diptych.index.embed import Models
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.storage import Space
from diptych.types import Document

__all__ = ["check_can_add", "check_encoders", "check_spaces", "spaces_of"]

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


def check_encoders(text: object, image: object) -> None:
    """Refuse at construction what could only fail later.

    Raises:
        InvalidArgument: An object that lacks what an encoder needs.
    """
    if text is not None and not isinstance(text, TextEncoder):
        raise InvalidArgument(_lacking("text_encoder", text, TextEncoder))
    if image is not None and not isinstance(image, ImageEncoder):
        raise InvalidArgument(_lacking("image_encoder", image, ImageEncoder))


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
        was = "without one" if before is None else f"with {_named(before)}"
        raise EncoderMismatch(
            f"The index {str(path)!r} was built {was} as its {_ROLE[name]}, and is opened with "
            f"{_named(space)}. Vectors of two models cannot be compared. Open it with the model that it "
            "was built with, or give its documents the vectors of this one: diptych.maintenance.reembed, "
            "or on the command line: diptych reembed."
        )


def check_can_add(
    stored: Mapping[str, Space], models: Models, documents: Sequence[Document]
) -> None:
    """Refuse documents that an index has a list for, but this object no encoder.

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
                f"It was built with {_named(stored[name])}; open it with that one."
            )
        if name == "image" and not any(document.has_text for document in documents):
            raise InvalidArgument(
                "Pictures without words were given to an index without an image encoder; nothing "
                "could ever find them. Pass image_encoder= when you create the index."
            )


def _named(space: Space) -> str:
    return f"{space.name!r} ({space.dim}-d, fingerprint {space.fingerprint[:12]})"


def _lacking(argument: str, value: object, protocol: type) -> str:
    needed = ("dim", "space", "fingerprint", *[m for m in dir(protocol) if m.startswith("encode_")])
    missing = ", ".join(name for name in needed if not hasattr(value, name))
    return (
        f"{argument} is a {type(value).__name__}, which lacks {missing}. Pass one of diptych's encoders, "
        "or wrap your own function with FunctionEncoder."
    )
