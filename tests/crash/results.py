"""Where the figures of a run lie: a folder for each state of the code, a file for each slice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELIABILITY = ROOT / "benchmarks" / "reliability"

TESTED = ("src", "tests")
"""What a run tests: with changes in there, its figures are not those of the commit."""


def state_of_code(root: Path = ROOT) -> str:
    """Return the commit; with changes "-dirty-" and a hash of them, so that no stale figure is reused."""
    commit = _git(root, "rev-parse", "HEAD").decode().strip()
    if not commit:
        return "no-commit"
    changes = _git(root, "diff", "HEAD", "--binary", "--", *TESTED)
    fresh = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *TESTED)
    names = sorted(name for name in fresh.split(b"\0") if name)
    if not changes and not names:
        return commit
    digest = hashlib.sha256(changes)
    for name in names:
        digest.update(name + b"\0" + (root / os.fsdecode(name)).read_bytes())
    return f"{commit}-dirty-{digest.hexdigest()[:8]}"


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", root, *words], capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def load(folder: Path) -> dict[str, dict]:
    """Return what slices left in a folder, by name; each has name, seconds, figures, violations.

    One that was ended has ``ended`` in addition: what happened, and where its stacks are.
    """
    records = (
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    )
    return {record["name"]: record for record in records}
