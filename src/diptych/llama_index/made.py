"""Nodes of fields that are checked already, made without pydantic's check of each of them.

A retrieval makes ten nodes and ten ``NodeWithScore`` around them, and what they hold has just been checked
by ``record`` and by ``Document``; to have pydantic check it again is half of what the adapter costs. This is
``BaseModel.model_construct`` for known names, without its loop over every field.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

__all__ = ["made"]

M = TypeVar("M", bound=BaseModel)

_new, _put = object.__new__, object.__setattr__

_PLAIN = (str, int, float, bool, type(None), tuple)


@cache
def _defaults(kind: type[BaseModel]) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Return what the fields of a class are when they are not given: values, and what makes them."""
    values: dict[str, Any] = {}
    factories: dict[str, Callable[[], Any]] = {}
    for name, info in kind.model_fields.items():
        if info.is_required():
            continue
        if info.default_factory is not None:
            factories[name] = info.default_factory  # type: ignore[assignment]
        elif isinstance(info.default, _PLAIN):
            values[name] = info.default
        else:
            factories[name] = lambda default=info.default: deepcopy(default)  # type: ignore[misc]
    return values, factories


def made(kind: type[M], fields: dict[str, Any], private: dict[str, Any] | None = None) -> M:
    """Return an instance of a model.

    Args:
        kind: Its class.
        fields: Values by the names of its fields, of the types that they have; all that it requires.
        private: Its private attributes, all that it has, which become those of the instance; None when it
            has none.
    """
    values, factories = _defaults(kind)
    held = values | fields
    for name, factory in factories.items():
        if name not in held:
            held[name] = factory()
    model = _new(kind)
    _put(model, "__dict__", held)
    _put(model, "__pydantic_fields_set__", set(fields))
    _put(model, "__pydantic_extra__", None)
    _put(model, "__pydantic_private__", private)
    return model
