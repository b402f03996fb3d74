"""Bytes of an encoded picture out of what people hold in memory: an open file, an array."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from diptych.checks import shown
from diptych.errors import MediaError
from diptych.media._decode import from_pil
from diptych.media._file import MAX_BYTES, check_bytes

__all__ = ["from_array", "from_open_file", "is_array", "is_open_file"]

_ROUNDING = 1e-6
"""How far beyond 0 and 1 a float may be; resizing in single precision leaves as much."""
_CHANNELS = (1, 3, 4)


def is_open_file(value: object) -> bool:
    """Whether a value is read like a file: ``io.BytesIO``, what ``open`` returns, and the like."""
    return callable(getattr(value, "read", None))


def is_array(value: object) -> bool:
    """Whether a value is an array of numpy, or of a library whose arrays numpy can read, such as torch."""
    return hasattr(value, "__array_interface__") or hasattr(value, "__dlpack__")


def from_open_file(file: Any) -> bytes:
    """Return the whole content of an open binary file, which stays open and at its place.

    It is read from its start, wherever it stands; one that cannot be wound back, such as a response of a
    server, from where it stands, and is used up.

    Raises:
        MediaError: Closed, opened as text, asynchronous, empty, or over ``MAX_BYTES``.
    """
    name = f"given as an open file ({type(file).__name__})"
    try:
        at = file.tell() if _is_seekable(file) else None
        if at is not None:
            file.seek(0)
        try:
            data = _read_all(file, name)
        finally:
            if at is not None:
                file.seek(at)
    except MediaError:
        raise
    except Exception as error:  # a file may be anybody's object
        raise MediaError(
            f"The picture {name} could not be read: {error}. Expected an open binary file. Pass its path "
            "or its bytes."
        ) from error
    check_bytes(len(data), name)
    return data


def from_array(array: Any) -> bytes:
    """Return an array as a PNG file.

    Args:
        array: ``(height, width)``, or with 1 (grey), 3 (RGB) or 4 channels (RGBA) as a third dimension;
            ``uint8``, ``bool``, or floats from 0 (black) to 1.

    Raises:
        MediaError: Another shape or type, or floats that are not from 0 to 1.
    """
    name = f"given as {type(array).__name__}"
    try:
        values: NDArray[Any] = np.asarray(array)
    except Exception as error:  # torch refuses tensors on a GPU, and those with a gradient
        raise MediaError(
            f"The picture {name} could not be read as an array of numpy: {error}. Expected an array "
            "(height, width, channels). Convert it, as with tensor.detach().cpu().numpy()."
        ) from error
    name = f"{name} of shape {values.shape} and type {shown(str(values.dtype))[1:-1]}"
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in _CHANNELS)):
        advice = "Pass one picture at a time."
        if values.ndim == 3 and values.shape[0] in _CHANNELS and values.shape[2] > max(_CHANNELS):
            advice = "Put the channels last, as with array.transpose(1, 2, 0)."
        raise MediaError(
            f"The picture {name} has no shape of one picture; expected (height, width), or (height, width, "
            f"channels) with 1, 3 or 4 channels. {advice}"
        )
    if 0 in values.shape:
        raise MediaError(f"The picture {name} has no pixels. Pass at least one row and one column.")
    return from_pil(PIL.Image.fromarray(_bytes_of(values, name)), name)


def _bytes_of(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return the values from 0 to 255, in one piece of memory.

    Raises:
        MediaError: They are no bytes, truth values or floats from 0 to 1.
    """
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype == np.bool_:
        return np.where(values, np.uint8(255), np.uint8(0))
    if values.dtype.kind != "f":
        raise MediaError(
            f"The picture {name} has values of a type without a defined white; expected uint8 (0 to 255), "
            "bool, or floats from 0 to 1. Convert it, as with array.astype('uint8')."
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN is neither
        raise MediaError(
            f"The picture {name} has values from {low:g} to {high:g}; expected floats from 0 (black) to 1. "
            "Scale them, or convert those from 0 to 255 with array.astype('uint8')."
        )
    return np.rint(values.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    found = seekable() if callable(seekable) else hasattr(file, "seek") and hasattr(file, "tell")
    if inspect.isawaitable(found):
        _refuse_awaitable(found)
    return bool(found)


def _read_all(file: Any, name: str) -> bytes:
    pieces, left = [], MAX_BYTES + 1
    while left > 0:
        piece = file.read(left)
        if inspect.isawaitable(piece):
            _refuse_awaitable(piece)
        if isinstance(piece, str):
            raise MediaError(
                f"The picture {name} is open as text; expected a binary file. Open it with mode 'rb'."
            )
        if not piece:
            break
        pieces.append(bytes(piece))
        left -= len(piece)
    return b"".join(pieces)


def _refuse_awaitable(found: Any) -> None:
    """Raise a ``MediaError`` that says so; the coroutine is closed, so that Python does not warn of it."""
    if inspect.iscoroutine(found):
        found.close()
    raise MediaError(
        "The picture given as an open file is read asynchronously; expected a binary file. Read it with "
        "await, and pass the bytes."
    )
