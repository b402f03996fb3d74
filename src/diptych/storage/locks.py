"""Readers and a writer among the threads that use one object."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ReadWriteLock"]


class ReadWriteLock:
    """Readers share, a writer is alone; a waiting writer goes before readers that come later."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting_writers = 0

    @property
    def is_writing(self) -> bool:
        """Whether a writer is inside."""
        return self._writing

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers. Not reentrant."""
        with self._condition:
            while self._writing or self._waiting_writers:
                self._condition.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                if not self._readers:
                    self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone. Not reentrant."""
        self.acquire_writing()
        try:
            yield
        finally:
            self.release_writing()

    def acquire_writing(self, timeout: float | None = None) -> bool:
        """Take the lock alone, and tell whether that was possible within ``timeout`` seconds."""
        with self._condition:
            self._waiting_writers += 1
            try:
                is_free = self._condition.wait_for(
                    lambda: not self._writing and not self._readers, timeout
                )
                self._writing = self._writing or is_free
            finally:
                self._waiting_writers -= 1
                if not self._writing:
                    self._condition.notify_all()
        return is_free

    def release_writing(self) -> None:
        """Let others in again."""
        with self._condition:
            self._writing = False
            self._condition.notify_all()
