"""Everything that a change must pass, in one command: format, lint, types, layers, tests.

Arguments go to pytest: ``python scripts/check.py -k storage``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
CHECKS = (
    ("format", [str(BIN / "ruff"), "format", "--check", "."]),
    ("lint", [str(BIN / "ruff"), "check", "."]),
    ("types", [sys.executable, "scripts/check_types.py"]),
    ("layers", [str(BIN / "lint-imports"), "--no-cache"]),
    # Tests are shared out among two processes.
    ("tests", [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *sys.argv[1:]]),
)


def main() -> int:
    """Run the checks in order and stop at the first that fails."""
    root = Path(__file__).resolve().parent.parent
    # Two threads of linear algebra on two busy cores are slower than one, and less repeatable.
    environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment |= os.environ
    # Two hundred processes import the package; without this each of them would compile it anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for name, command in CHECKS:
        print(f"--- {name}", flush=True)
        start = time.monotonic()
        done = subprocess.run(command, cwd=root, env=environment, check=False)
        if done.returncode:
            print(f"{name} failed", flush=True)
            return done.returncode
        print(f"{name} passed in {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
