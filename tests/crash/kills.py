"""Kills writers at random moments, again and again on the same folder, and looks at what is left."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import children
import numpy as np
import oracle
from findings import Findings
from scenario import Log, Step, random_steps, run_steps

STEPS = 25
"""How many steps a session has; it is killed long before the end."""


FRESH_EVERY = 25
"""After so many kills in one folder, or a violation, a new folder is begun."""


def run_kills(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Kill ``count`` writers and return what was seen.

    It is a violation if an acknowledged document is lost, half there or risen again, or an index does
    not open.
    """
    rng = np.random.default_rng(seed)
    model: dict = {}
    seen: Counter[str] = Counter({"kills": 0, "acknowledged steps": 0})
    fresh = True
    for number in range(1, 3 * count + 1):  # a session may end before its kill
        if seen["kills"] == count or findings.enough:
            break
        if fresh or number % FRESH_EVERY == 0:
            shutil.rmtree(folder / "index", ignore_errors=True)
            model, fresh = {}, False
        before = len(findings)
        with findings.at(f"seed {seed}, kill {number}"):
            model = _kill_once(folder, model, rng, seen, number)
        fresh = len(findings) > before
    return dict(seen)


def _kill_once(
    folder: Path, model: dict, rng: np.random.Generator, seen: Counter[str], number: int
) -> dict:
    """Kill a writer in a session that begins with a model, and return the model that is left."""
    path, errors, log = folder / "index", folder / "errors", Log(folder / "log")
    steps = list(random_steps(rng, model, STEPS, number * STEPS))
    log.path.unlink(missing_ok=True)
    errors.unlink(missing_ok=True)
    child = children.start(lambda: run_steps(path, steps, log), errors)
    try:
        # By words and not by time, so that a busy machine kills as far into a session as an idle one.
        words = int(rng.integers(1, 12))
        children.wait_until(lambda: _has_said(log.path, words), child, errors)
        time.sleep(float(rng.uniform(0, 0.03)))
    finally:
        status = children.kill(child)
    assert status in (0, -signal.SIGKILL), (
        f"the writer ended with {status}: {children.said(errors)}"
    )
    said = log.read()
    seen["kills" if status == -signal.SIGKILL else "ended before"] += 1
    states, during = allowed_states(model, steps, said)
    seen[f"during {during}"] += 1
    seen["acknowledged steps"] += said.count("end")
    found = _look(path, folder, states)
    if number % 5 == 0:
        children.must_succeed(lambda: oracle.check_goes_on(path, found), errors)
    return found


def _has_said(log: Path, count: int) -> bool:
    """Return whether a session has said so much, or everything."""
    said = log.read_bytes() if log.exists() else b""
    return said.count(b"\n") >= count or b"closed" in said


def allowed_states(model: dict, steps: list[Step], said: list[str]) -> tuple[list[dict], str]:
    """Return which states may be found, and during which kind of step the end came."""
    ended = said.count("end")
    for step in steps[:ended]:
        model = step.states(model)[-1]
    if said[-1] != "begin":
        return [model], "none"
    return steps[ended].states(model), steps[ended].kind


def _look(path: Path, folder: Path, states: list[dict]) -> dict:
    """Check in a child of its own, and return which state was found."""
    found = folder / "found"
    children.must_succeed(
        lambda: found.write_text(json.dumps(oracle.check(path, states))), folder / "errors"
    )
    return json.loads(found.read_text())
