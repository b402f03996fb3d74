"""Kills writers at random moments, again and again on the same folder, and looks at what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import children
import numpy as np
import oracle
from scenario import Log, Step, random_steps, run_steps

STEPS = 25
"""How many steps a session has; it is killed long before the end."""


def run_kills(folder: Path, count: int, seed: int, fresh_every: int = 25) -> dict:
    """Kill ``count`` writers and return what was seen.

    Raises:
        AssertionError: An acknowledged document is lost, half there or risen again, or an index does
            not open; the message names seed and number.
    """
    rng = np.random.default_rng(seed)
    path, errors = folder / "index", folder / "errors"
    model: dict = {}
    seen: Counter[str] = Counter()
    number = 0
    while seen["kills"] < count:
        if number % fresh_every == 0:
            shutil.rmtree(path, ignore_errors=True)
            model = {}
        number += 1
        steps = list(random_steps(rng, model, STEPS, number * STEPS))
        log = Log(folder / "log")
        log.path.unlink(missing_ok=True)
        errors.unlink(missing_ok=True)
        child = children.start(lambda s=steps, w=log: run_steps(path, s, w), errors)
        # By words and not by time, so that a busy machine kills as far into a session as an idle one.
        _wait_for_words(log.path, int(rng.integers(1, 12)), errors)
        time.sleep(float(rng.uniform(0, 0.03)))
        os.kill(child, signal.SIGKILL)
        status = children.wait(child)
        said = log.read()
        if status == 1:
            raise AssertionError(f"seed {seed}, kill {number}: {errors.read_text()}")
        seen["kills" if status == -signal.SIGKILL else "ended before"] += 1
        states, during = allowed_states(model, steps, said)
        seen[f"during {during}"] += 1
        seen["acknowledged steps"] += said.count("end")
        model = _look(path, folder, states, f"seed {seed}, kill {number}")
        if number % 5 == 0:
            children.must_succeed(lambda m=model: oracle.check_goes_on(path, m), errors)
    return dict(seen)


def _wait_for_words(log: Path, count: int, errors: Path, seconds: float = 20.0) -> None:
    """Wait until a session has said so much, or has ended, or nothing comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not errors.exists():
        said = log.read_bytes() if log.exists() else b""
        if said.count(b"\n") >= count or b"closed" in said:
            return
        time.sleep(0.0005)


def allowed_states(model: dict, steps: list[Step], said: list[str]) -> tuple[list[dict], str]:
    """Return which states may be found, and during which kind of step the end came."""
    ended = said.count("end")
    for step in steps[:ended]:
        model = step.states(model)[-1]
    if said[-1] != "begin":
        return [model], "none"
    return steps[ended].states(model), steps[ended].kind


def _look(path: Path, folder: Path, states: list[dict], where: str) -> dict:
    """Check in a child of its own, and return which state was found."""
    found = folder / "found"

    def look() -> None:
        found.write_text(json.dumps(oracle.check(path, states)))

    try:
        children.must_succeed(look, folder / "errors")
    except (AssertionError, TimeoutError) as error:
        raise AssertionError(f"{where}: {error}") from error
    return json.loads(found.read_text())
