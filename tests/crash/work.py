"""One slice, in this process: its figures and violations go to a file as soon as it is done."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import children
from findings import Findings
from results import write_whole
from slices import Slice

ROOT = Path(__file__).resolve().parents[2]


def run_slice(slice: Slice, folder: Path, into: Path) -> int:
    """Run a slice with its indexes in a folder, write ``into/NAME.json``, and return the exit status."""
    children.die_with_parent()
    stacks = (into / f"{slice.name}.stacks").open("a")
    faulthandler.register(children.STACKS, file=stacks, all_threads=True)
    tempfile.tempdir = str(folder)
    start, findings = time.monotonic(), Findings()
    figures: dict = {}
    try:
        figures = perform(slice, folder, findings)
    except BaseException:
        findings.append(f"{slice.name}, seed {slice.seed}: {traceback.format_exc()}")
    record = {
        "name": slice.name,
        "seconds": round(time.monotonic() - start, 1),
        "seconds of CPU": round(sum(os.times()[:4]), 1),
        "figures": figures,
        # Without the paths of this machine: the report is committed.
        "violations": [
            what.replace(str(folder), "WORK").replace(f"{ROOT}/", "") for what in findings
        ],
    }
    write_whole(into / f"{slice.name}.json", json.dumps(record, indent=1))
    return 1 if findings else 0


def perform(slice: Slice, folder: Path, findings: Findings) -> dict:
    """Do the work of a slice and return its figures."""
    if slice.row == "demo picture":
        return draw_demo()
    import crowds
    import faiss  # noqa: F401  # imported once, before children are forked
    import full
    import kills
    import model
    import mutations
    import strangers
    import takeover
    import witnesses
    from scenario import use_kind
    from shim import FAULTS

    use_kind(slice.index, folder)
    if slice.row in FAULTS:
        from faults import run_faults

        return run_faults(
            folder, FAULTS[slice.row], findings, seed=1, every=slice.every,
            offset=slice.offset, part=slice.part, parts=slice.parts,
        )  # fmt: skip
    run = {
        "kills": kills.run_kills,
        "sealed": mutations.run_sealed,
        "unsealed": mutations.run_unsealed,
        "model": model.run_sessions,
        "threads": crowds.run_threads,
        "processes": crowds.run_processes,
        "dead writers": takeover.run_dead_writers,
        "backups": witnesses.run_backups,
        "forks": witnesses.run_forks,
        "fills": full.run_fills,
        "hostile folders": strangers.run_folders,
        "hostile exports": strangers.run_exports,
    }[slice.row]
    return run(folder, slice.count, slice.seed, findings)


def draw_demo() -> dict:
    """Make the picture of the demo again."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo_picture.py", "--json"],
        capture_output=True, text=True, timeout=150, check=False,
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the picture of the demo was not made: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
