"""Indexes that go through a pickle or are copied: the folder is opened again, by the same models.

A pickle holds the path and the models, and nothing of what is stored. It is made and read by the user, with
the user's own objects; nothing of an index is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from diptych.checks import shown
from diptych.errors import InvalidArgument, StorageError
from diptych.storage.failures import is_there

__all__ = ["again", "lasting_options"]

T = TypeVar("T")


def again(
    cls: Callable[..., T],
    models: tuple[Any, Any],
    options: Mapping[str, Any],
    stored_in: str = "",
) -> T:
    """Return the index in a folder, opened with a pair of encoders and the options of the class.

    Args:
        cls: The class of the index.
        models: Text encoder and image encoder.
        options: What else it is opened with.
        stored_in: The folder in which something was stored by then; "" when nothing was.

    Raises:
        StorageError: There is nothing in that folder any more.
    """
    if stored_in and not (is_there(Path(stored_in)) and any(Path(stored_in).iterdir())):
        raise StorageError(
            f"The index {shown(stored_in, 200)} was pickled or copied, and is not there any more: a copy is "
            "made by opening the folder again, and an empty index would find nothing. Put the folder back, "
            "or open the index where it is now, with the same models and path=."
        )
    return cls(*models, **options)


def lasting_options(index: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which an index can be opened again from any working folder.

    Args:
        index: For the message.
        options: What it was opened with.

    Raises:
        InvalidArgument: It is in memory.
    """
    path = options["path"]
    if path is None:
        raise InvalidArgument(
            f"{type(index).__name__} in memory cannot be pickled or copied: a copy is made by opening the "
            "folder again, and this index was made without path=. Expected an index in a folder. Make it "
            'with path=, or write it into one first: diptych.maintenance.copy_index(index, "folder"), and '
            "open that."
        )
    return {**options, "path": Path(path).absolute()}
