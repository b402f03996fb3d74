"""Kills writers that hold the lock: the next one writes at once."""

from __future__ import annotations

import time
from pathlib import Path

import children
from findings import Findings
from scenario import open_index

from diptych import Document
from diptych.errors import LockedError


def run_dead_writers(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Kill a writer that holds the lock, and write without waiting for it, ``count`` times."""
    slowest = 0.0
    for number in range(count):
        with findings.at(f"dead writer {number}"):
            slowest = max(slowest, _take_over(folder, number))
        if findings.enough:
            break
    return {"writers": count, "slowest takeover, ms": round(1000 * slowest)}


def _take_over(folder: Path, number: int) -> float:
    """Kill one writer, write, and return how many seconds that took."""
    path, ready, errors = folder / "dead", folder / "ready", folder / "errors"
    ready.unlink(missing_ok=True)
    errors.unlink(missing_ok=True)

    def hold() -> None:
        index = open_index(path)
        index.add([Document(f"by child {number}", id=f"c{number}")])
        ready.touch()
        time.sleep(2 * children.PATIENCE)

    child = children.start(hold, errors)
    try:
        children.wait_until(ready.exists, child, errors)
        with open_index(path, lock_timeout=0) as index:
            try:
                index.add([Document("too early", id="early")])
            except LockedError:
                pass
            else:
                raise AssertionError("two writers at once")
    finally:
        children.kill(child)
    start = time.monotonic()
    # The kernel gives the lock back before it says that the writer has died: there is nothing to wait for.
    with open_index(path, lock_timeout=0) as index:
        index.add([Document(f"by parent {number}", id=f"p{number}")])
        took = time.monotonic() - start
        assert len(index) == 2 * (number + 1), f"{len(index)} documents"
    return took
