"""Forked children: quick to start, because the parent has imported everything.

No wait is without an end, and every wait notices that the child has ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0
"""Seconds after which a child counts as hanging: a machine ten times slower needs less."""

STACKS = signal.SIGUSR1
"""The signal at which a slice and its children write the stacks of their threads, see ``work.py``."""


def die_with_parent() -> None:
    """Let the kernel end this process when its parent ends, however that ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def start(work: Callable[[], None], errors: Path) -> int:
    """Run ``work`` in a child and return its process id. A failure is written to ``errors``."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        die_with_parent()
        if os.getppid() == parent:
            work()
            code = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def has_ended(child: int) -> bool:
    """Return whether a child has ended; its status is left for :func:`wait`."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait(child: int, seconds: float = PATIENCE) -> int:
    """Return the exit status of a child (negative: the signal that killed it).

    Raises:
        TimeoutError: It hangs; it has written its stacks and is killed.
    """
    end = time.monotonic() + seconds
    while not has_ended(child):
        if time.monotonic() >= end:
            show_stacks(child)
            kill(child)
            raise TimeoutError(f"a child did not end within {seconds} seconds")
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_until(
    condition: Callable[[], bool], child: int, errors: Path, seconds: float = PATIENCE
) -> None:
    """Wait until a child has made a condition true.

    Raises:
        AssertionError: The child has ended without it.
        TimeoutError: The time is over.

    With either, the child is left to the caller.
    """
    end = time.monotonic() + seconds
    while True:
        ended = has_ended(child)  # before the condition: the last act of a child counts
        if condition():
            return
        if ended:
            raise AssertionError(f"the child ended too early: {said(errors)}")
        if time.monotonic() >= end:
            show_stacks(child)
            raise TimeoutError(f"what a child should do did not happen within {seconds} seconds")
        time.sleep(0.0005)


def kill(child: int) -> int:
    """Kill a child, whether it has ended or not, and return its exit status."""
    os.kill(child, signal.SIGKILL)  # one that has ended is there until it is waited for
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def show_stacks(child: int) -> None:
    """Let a child write its stacks, if it is set up for that: otherwise the signal ends it."""
    os.kill(child, STACKS)
    time.sleep(0.5)


def run(work: Callable[[], None], errors: Path, seconds: float = PATIENCE) -> int:
    """Run ``work`` in a child, wait, and return the exit status."""
    errors.unlink(missing_ok=True)
    return wait(start(work, errors), seconds)


def must_succeed(work: Callable[[], None], errors: Path, seconds: float = PATIENCE) -> None:
    """Run ``work`` in a child; its failure is ours."""
    code = run(work, errors, seconds)
    if code != 0:
        raise AssertionError(f"the child ended with {code}: {said(errors)}")


def said(errors: Path) -> str:
    """Return the traceback that a child left."""
    return errors.read_text() if errors.exists() else "it said nothing"
