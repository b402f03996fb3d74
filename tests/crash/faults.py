"""Lets every call of a session on its files fail once, or the process end there, and looks at what is left.

The calls are struck in C, below Python and SQLite (``shim.c``), so that every write, sync, rename and
removal has its turn, and every byte that is read.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections import Counter
from pathlib import Path

import children
import numpy as np
import oracle
from findings import Findings
from kills import allowed_states
from scenario import KINDS, Log, Step, open_index, random_steps, run_steps
from shim import FAIL, Fault, Shim

from diptych.errors import DiptychError

SESSION = 16


def session(seed: int) -> list[Step]:
    """Return steps in which every kind of step occurs."""
    rng = np.random.default_rng(seed)
    for _ in range(10_000):
        steps = list(random_steps(rng, {}, SESSION, 0))
        if {step.kind for step in steps} >= set(KINDS) - {"delete where"}:
            return steps
    raise AssertionError(f"no session of {SESSION} steps has a step of every kind")


def chosen_calls(every: int, offset: int, total: int, last: list[int]) -> list[int]:
    """Return which of the calls 1 to ``total`` are struck.

    Args:
        every: Every how manieth. Where the choice begins moves by one from group to group, so that the beat
            of a commit does not hide one of its calls: of every 4th from 0, 1, 6, 11, 16, 17, 22, …
            With 0 only the last call of each step: to end after any other is to end before the next.
        offset: Where the choice begins, from 0.
        total: How many calls the session has.
        last: The number of the last call of each step.
    """
    if every == 0:
        return sorted({call for call in last if 1 <= call <= total})
    return [at + 1 for at in range(total) if at % every == (at // every + offset) % every]


def run_faults(
    folder: Path,
    fault: Fault,
    findings: Findings,
    *,
    seed: int,
    every: int = 1,
    offset: int = 0,
    part: int = 0,
    parts: int = 1,
) -> dict:
    """Strike every ``parts``-th of the chosen calls, beginning with number ``part``, and say what was seen.

    The parts together strike each chosen call once, whatever their number is.
    """
    shim, steps = Shim(), session(seed)
    run_steps(folder / "warm", steps, Log(folder / "log"))  # what is imported late, is now
    gc.freeze()
    total, last = _count_calls(shim, folder, steps, fault)
    chosen = chosen_calls(every, offset, total, last)
    seen: Counter[str] = Counter({"calls": 0, "of": len(chosen), "calls of the session": total})
    strike = _strike_and_go_on if fault.mode == FAIL else _strike_and_look
    for at in chosen[part::parts]:
        shutil.rmtree(folder / "index", ignore_errors=True)
        (folder / "log").unlink(missing_ok=True)
        with findings.at(f"{fault.name}, seed {seed}, call {at} of {total}"):
            seen[strike(shim, folder, steps, fault, at)] += 1
        seen["calls"] += 1
        if findings.enough:
            break
    return dict(seen)


def _count_calls(
    shim: Shim, folder: Path, steps: list[Step], fault: Fault
) -> tuple[int, list[int]]:
    """Return how many calls a session has, and the number of the last one of each step."""

    def count() -> None:
        last: list[int] = []
        shim.arm(folder / "index", fault, 0)
        run_steps(folder / "index", steps, Log(folder / "log", lambda: last.append(shim.seen())))
        total = shim.disarm()
        (folder / "count").write_text(json.dumps([total, sorted({*last, total})]))

    children.must_succeed(count, folder / "errors")
    total, last = json.loads((folder / "count").read_text())
    return total, last


def _strike_and_look(shim: Shim, folder: Path, steps: list[Step], fault: Fault, at: int) -> str:
    """End a session at a call, look at what is left, and return in which kind of step it was."""
    path, errors, log = folder / "index", folder / "errors", Log(folder / "log")

    def until_struck() -> None:
        shim.arm(path, fault, at)
        run_steps(path, steps, log)

    code = children.run(until_struck, errors)
    if code != 137:
        raise AssertionError(f"ended with {code}: {errors.read_text() if errors.exists() else ''}")
    said = log.read() if log.path.exists() else []
    states, during = allowed_states({}, steps, said) if said else ([{}], "open")
    children.must_succeed(lambda: oracle.check_goes_on(path, oracle.check(path, states)), errors)
    return f"during {during}"


def _strike_and_go_on(shim: Shim, folder: Path, steps: list[Step], fault: Fault, at: int) -> str:
    """Run a session in which one call fails, and return which error came of it, if one did."""
    report = folder / "report"
    children.must_succeed(
        lambda: report.write_text(_go_through(shim, folder / "index", steps, fault, at)),
        folder / "errors",
    )
    return report.read_text()


def _go_through(shim: Shim, path: Path, steps: list[Step], fault: Fault, at: int) -> str:
    """Run a session in which one call fails: the step may fail, the index must go on."""
    shim.arm(path, fault, at)
    model: dict = {}
    index, raised = None, ""
    for step in [Step("reopen"), *steps]:
        states = step.states(model)
        try:
            index = open_index(path) if index is None else step.run(index, path)
        except DiptychError as error:
            raised = raised or f"{type(error).__name__} in {step.kind}"
            if index is None or step.kind in ("reopen", "reembed", "repair", "backup"):
                index = open_index(path)
            found = oracle.observe(index)
            if found not in states:
                raise AssertionError(
                    f"after {shim.last()} failed in {step.kind}: held {sorted(found)}, allowed "
                    f"{[sorted(s) for s in states]}"
                ) from error
            model = found
            continue
        model = states[-1]
    index.close()
    shim.disarm()
    try:
        oracle.check_goes_on(path, oracle.check(path, [model]))
    except AssertionError as error:
        raise AssertionError(f"after {shim.last()} failed: {error}") from error
    return raised or "survived"
