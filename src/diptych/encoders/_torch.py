"""What the encoders that run torch share: the device, and batches that fit its memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from diptych import optional
from diptych.errors import InvalidArgument

__all__ = ["check_batch_size", "halving", "pick_device"]

T = TypeVar("T")


def pick_device(device: str, *, needed_by: str) -> str:
    """Return ``device``, or for "auto" the first of cuda, mps and cpu that is there.

    Raises:
        InvalidArgument: A device that this machine lacks, or that torch does not know.
    """
    torch: Any = optional.require("torch", needed_by=needed_by)
    _survive_forks()
    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InvalidArgument(
            f"{needed_by} got device={device!r}, which torch does not know. Expected 'auto', "
            "'cpu', 'cuda', 'cuda:0' or 'mps'."
        ) from error
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not has_mps):
        raise InvalidArgument(
            f"{needed_by} got device={device!r}, but torch {torch.__version__} finds no such "
            "device on this machine. Use device='auto', or install a torch that was built for it."
        )
    return device


@cache
def _survive_forks() -> None:
    """Let forked children encode on one thread: the others stay with the parent, and are waited for."""
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def check_batch_size(batch_size: int, *, needed_by: str) -> None:
    """Raise an ``InvalidArgument`` unless there is at least one item in a batch."""
    if batch_size < 1:
        raise InvalidArgument(
            f"{needed_by} got batch_size={batch_size}; expected 1 or more. Leave it out if unsure."
        )


def halving(
    items: Sequence[T], batch_size: int, run: Callable[[Sequence[T]], Any]
) -> Iterator[Any]:
    """Yield ``run(batch)`` for consecutive batches, in halves when the device runs out of memory.

    Raises:
        torch.OutOfMemoryError: Not even one item fits.
    """
    import torch

    start = 0
    while start < len(items):
        try:
            result = run(items[start : start + batch_size])
        except torch.cuda.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = batch_size // 2
        else:
            yield result
            start += batch_size
            continue
        # Outside of the handler, whose exception would keep the tensors of the batch alive.
        torch.cuda.empty_cache()
