"""Tests of time that hold on any machine: CPU in units of this machine's own speed, waits with an end."""

import time
from contextlib import contextmanager

PATIENCE = 120.0
"""Seconds after which what has not happened will not happen, on the slowest machine."""

WORK = 100_000
IDLE = 0.004
"""Seconds of CPU that counting to ``WORK`` in steps takes on the machine that bounds are stated for."""


def slowness():
    """Return how many times slower this machine is at the moment than the one of ``IDLE``, at least 1."""
    start = time.process_time()
    total = 0
    for i in range(WORK):
        total += i
    return max((time.process_time() - start) / IDLE, 1.0)


@contextmanager
def cpu_within(seconds):
    """Fail if what is done within takes more CPU than so many seconds of an idle machine of today.

    How slow this machine is at the moment is measured only where it matters, in the second that follows.
    """
    start = time.process_time()
    yield
    used = time.process_time() - start
    if used < seconds:
        return
    bound = seconds * max(slowness() for _ in range(20))
    assert used < bound, f"took {used:.2f} s of CPU, more than {bound:.2f}"


def wait_until(condition, *threads):
    """Wait for what threads are to do; fail when one has ended without it, or nothing happens."""
    end = time.monotonic() + PATIENCE
    while True:
        alive = [
            thread.is_alive() for thread in threads
        ]  # before the condition: the last act counts
        if condition():
            return
        assert all(alive), "a thread ended before it happened"
        assert time.monotonic() < end, f"it did not happen within {PATIENCE:.0f} s"
        time.sleep(0.001)


def join(*threads):
    """Wait for threads to end; fail when one hangs."""
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    hanging = [thread.name for thread in threads if thread.is_alive()]
    assert not hanging, f"threads hang: {hanging}"
