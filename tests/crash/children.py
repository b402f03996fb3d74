"""Forked children: quick to start, because the parent has imported everything."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def start(work: Callable[[], None], errors: Path) -> int:
    """Run ``work`` in a child and return its process id. A failure is written to ``errors``."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def wait(child: int, seconds: float = 30.0) -> int:
    """Return the exit status of a child (negative: the signal that killed it).

    Raises:
        TimeoutError: It hangs; it is killed.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"a child did not end within {seconds} seconds")


def run(work: Callable[[], None], errors: Path, seconds: float = 30.0) -> int:
    """Run ``work`` in a child, wait, and return the exit status."""
    errors.unlink(missing_ok=True)
    return wait(start(work, errors), seconds)


def must_succeed(work: Callable[[], None], errors: Path, seconds: float = 30.0) -> None:
    """Run ``work`` in a child; its failure is ours."""
    if run(work, errors, seconds) != 0:
        raise AssertionError(errors.read_text() if errors.exists() else "the child died")
