"""Lets every call of a session on its files fail once, or the process end there, and looks at what is left.

The calls are struck in C, below Python and SQLite (``shim.c``), so that every write, sync, rename and
removal has its turn, and every byte that is read.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import children
import numpy as np
import oracle
from kills import allowed_states
from scenario import KINDS, Log, Step, open_index, random_steps, run_steps

from diptych.errors import DiptychError

COUNT, EXIT_BEFORE, EXIT_AFTER, FAIL = 1, 2, 3, 4
SESSION = 16


@dataclass(frozen=True)
class Fault:
    """What happens at one call."""

    name: str
    mode: int
    error: int = 0
    reads: bool = False


FAULTS = (
    Fault("exit before", EXIT_BEFORE),
    Fault("exit after", EXIT_AFTER),
    Fault("EIO", FAIL, errno.EIO),
    Fault("ENOSPC", FAIL, errno.ENOSPC),
    Fault("EACCES", FAIL, errno.EACCES),
    Fault("EIO, reads too", FAIL, errno.EIO, reads=True),
)


def build_shim(folder: Path) -> Path:
    """Compile the shim.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise FileNotFoundError("needs Linux and a C compiler (cc)")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Shim:
    """The shim of this process, which was started with it in LD_PRELOAD."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.shim_disarm.restype = ctypes.c_long
        self._library.shim_last.restype = ctypes.c_char_p

    def arm(self, folder: Path, fault: Fault, at: int) -> None:
        self._library.shim_arm(
            os.fsencode(folder), fault.mode, ctypes.c_long(at), fault.error, int(fault.reads)
        )

    def disarm(self) -> int:
        """Fall asleep, and return how many calls there were."""
        return int(self._library.shim_disarm())

    def last(self) -> str:
        """Return which call was struck."""
        return self._library.shim_last().decode(errors="replace")


def session(seed: int) -> list[Step]:
    """Return steps in which every kind of step occurs."""
    rng = np.random.default_rng(seed)
    while True:
        steps = list(random_steps(rng, {}, SESSION, 0))
        if {step.kind for step in steps} >= set(KINDS) - {"delete where"}:
            return steps


def run_faults(folder: Path, fault: Fault, *, seed: int, every: int = 1) -> dict:
    """Strike every ``every``-th call of a session and return what was seen.

    Raises:
        AssertionError: What is left is wrong; the message names the call.
    """
    shim, steps = Shim(), session(seed)
    path, errors, log = folder / "index", folder / "errors", Log(folder / "log")
    seen: Counter[str] = Counter()
    total = _count_calls(shim, folder, steps, fault)
    for at in range(1 + seed % every, total + 1, every):
        shutil.rmtree(path, ignore_errors=True)
        log.path.unlink(missing_ok=True)
        where = f"{fault.name}, seed {seed}, call {at} of {total}"
        try:
            if fault.mode == FAIL:
                children.must_succeed(
                    lambda at=at: _go_through(shim, path, steps, fault, at, folder), errors
                )
                report = json.loads((folder / "report").read_text())
                seen[report["raised"] or "survived"] += 1
            else:
                code = children.run(
                    lambda at=at: _until_struck(shim, path, steps, fault, at, log), errors
                )
                if code != 137:
                    raise AssertionError(
                        f"ended with {code}: {errors.read_text() if errors.exists() else ''}"
                    )
                states, during = (
                    allowed_states({}, steps, log.read()) if log.path.exists() else ([{}], "open")
                )
                seen[f"during {during}"] += 1
                children.must_succeed(lambda s=states: _look(path, s), errors)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"{where}: {error}") from error
        seen["calls"] += 1
    return dict(seen)


def _count_calls(shim: Shim, folder: Path, steps: list[Step], fault: Fault) -> int:
    def count() -> None:
        shim.arm(folder / "counted", Fault("count", COUNT, reads=fault.reads), 0)
        run_steps(folder / "counted", steps, Log(folder / "log"))
        (folder / "count").write_text(str(shim.disarm()))

    shutil.rmtree(folder / "counted", ignore_errors=True)
    children.must_succeed(count, folder / "errors")
    return int((folder / "count").read_text())


def _until_struck(
    shim: Shim, path: Path, steps: list[Step], fault: Fault, at: int, log: Log
) -> None:
    shim.arm(path, fault, at)
    run_steps(path, steps, log)


def _look(path: Path, states: list[dict]) -> None:
    oracle.check_goes_on(path, oracle.check(path, states))


def _go_through(
    shim: Shim, path: Path, steps: list[Step], fault: Fault, at: int, folder: Path
) -> None:
    """Run a session in which one call fails: the step may fail, the index must go on."""
    shim.arm(path, fault, at)
    model: dict = {}
    index, raised, step = None, "", None
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
    (folder / "report").write_text(json.dumps({"raised": raised}))
