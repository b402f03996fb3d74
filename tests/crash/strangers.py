"""Folders and exports of somebody else: the tests of the everyday suite, with all of their cases."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

from findings import Findings

ROOT = Path(__file__).resolve().parents[2]
MATRIX = ROOT / "tests" / "unit" / "test_hostile_folder.py"

FOLDERS, EXPORTS = 12, 300
"""How many of them are tried in a slice."""


def folders() -> list[str]:
    """Return the names of all cases of a link, pipe or giant in each place of an index."""
    sys.path.insert(0, str(MATRIX.parent))
    from test_hostile_folder import KINDS, PLACES, SEALS

    return ["-".join(case) for case in itertools.product(PLACES, KINDS, SEALS)]


def run_folders(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Plant something in an index and run every command, ``count`` times."""
    chosen = folders()[seed * FOLDERS :][:count]
    test = f"{MATRIX}::test_nothing_outside_changes_and_nothing_waits"
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", "--basetemp",
            folder / "folders", *(f"{test}[{name}]" for name in chosen),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        findings.append(f"hostile folders, seed {seed}: {done.stdout[-4000:]}{done.stderr[-1000:]}")
    return {"folders": count if not done.returncode else 0}


def run_exports(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Import ``count`` exports that are damaged or lie."""
    from hostile_exports import base, check

    first = seed * EXPORTS
    refused, taken = check(folder, base(folder), range(first, first + count))
    return {"exports": refused + taken, "refused": refused, "taken": taken}
