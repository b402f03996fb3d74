"""``with`` and ``async with`` for whatever works on an index and closes it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, Self

__all__ = ["Closing"]


class _Closes(Protocol):
    def close(self) -> None: ...


class Closing:
    """Closes at the end of a ``with`` or ``async with`` block; its subclass has the method ``close``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self: _Closes,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self: _Closes,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)
