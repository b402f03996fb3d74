"""Encoders that go through a pickle: a model that has a name or a folder is loaded again from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from diptych.errors import EncoderMismatch

__all__ = ["again", "sharing"]

T = TypeVar("T")


def again(load: Callable[..., T], arguments: Mapping[str, Any], fingerprint: str) -> T:
    """Return an encoder that is loaded as another one was.

    Args:
        load: A class, or a function of one.
        arguments: What to call it with.
        fingerprint: Of the encoder that was pickled.

    Raises:
        EncoderMismatch: There is another model now.
    """
    encoder = load(**arguments)
    found = getattr(encoder, "fingerprint", "")
    if found != fingerprint:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value)
        raise EncoderMismatch(
            f"The {type(encoder).__name__} of a pickle ({given}) was loaded again and is another model: "
            f"its fingerprint is {found[:12]}, expected {fingerprint[:12]}. Put the files back that were "
            "there when it was pickled, or make the encoder anew and reembed what it has encoded."
        )
    return encoder


def sharing(encoder: T) -> T:
    """Return a copy of an encoder that uses the same loaded model, which encoding does not change."""
    copied: T = object.__new__(type(encoder))
    copied.__dict__.update(encoder.__dict__)
    return copied
