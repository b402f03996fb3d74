"""The long tier: kills, faults at every call, full disks, damaged files, crowds, with its figures.

    python tests/crash/run.py --minutes 20     as much as fits, a bit of everything first
    python tests/crash/run.py                  all that is still missing
    python tests/crash/run.py --list           the names of the slices

Each slice writes its figures to ``benchmarks/reliability/runs/COMMIT`` when it is done, and
``benchmarks/reliability/results.md`` and ``results.json`` are made anew from them. A run again does
only what is missing there. The exit status is 1 if a slice has found a violation or did not end.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from report import failures, summary, write_report  # noqa: E402  # the path is set above
from results import RELIABILITY, load, state_of_code  # noqa: E402
from runner import Runner  # noqa: E402
from shim import FAULTS, build_shim  # noqa: E402
from slices import Slice, all_slices  # noqa: E402


def main() -> int:
    """Run what the arguments say and return the exit status."""
    arguments = parse()
    if arguments.slice:
        from work import run_slice

        return run_slice(Slice(**json.loads(arguments.slice)), arguments.folder, arguments.into)
    chosen = [s for s in all_slices() if re.search(arguments.only, s.name)]
    if arguments.list:
        print("\n".join(slice.name for slice in chosen))
        return 0
    if not sys.platform.startswith("linux"):
        raise SystemExit(
            "The long tier needs Linux: it kills, limits and strikes processes as Linux does."
        )
    return run(chosen, arguments)


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so many")
    parser.add_argument("--processes", type=int, default=2, help="slices at the same time")
    parser.add_argument("--only", default="", help="only slices whose name matches this pattern")
    parser.add_argument("--list", action="store_true", help="name the slices and end")
    parser.add_argument("--into", type=Path, default=RELIABILITY, help="where the figures go")
    parser.add_argument("--slice", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error(f"--processes is {arguments.processes}; expected 1 or more")
    return arguments


def run(chosen: list[Slice], arguments: argparse.Namespace) -> int:
    """Run the slices that are missing, rebuild the report after each, and return the exit status."""
    until = time.monotonic() + 60 * arguments.minutes
    state = state_of_code()
    into = arguments.into / "runs" / state
    into.mkdir(parents=True, exist_ok=True)
    there = load(into)
    missing = [slice for slice in chosen if slice.name not in there]
    say(f"{len(missing)} of {len(chosen)} slices to run, into {into}")
    with tempfile.TemporaryDirectory(prefix="diptych-shim-") as folder:
        shim, why = "", ""
        try:
            shim = str(build_shim(Path(folder)))
        except FileNotFoundError as error:
            why = str(error)
            missing = [slice for slice in missing if slice.row not in FAULTS]
            say(f"No faults: {why}")

        def command(slice: Slice, work: Path) -> tuple[list[str | Path], dict[str, str]]:
            words = ["--slice", json.dumps(asdict(slice)), "--folder", work, "--into", into]
            # The shim also keeps fsync from the disk, so that every slice but the demo's has it.
            preload = {"LD_PRELOAD": shim} if shim and slice.index else {}
            return [sys.executable, __file__, *words], {
                "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                "TMPDIR": str(work), **preload,
            }  # fmt: skip

        runner = Runner(into, command, processes=arguments.processes, until=until)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: setattr(runner, "stopped", number))
        with closing(runner.run(missing)) as ended:
            for slice, what in ended:
                record = load(into)[slice.name]
                say(f"{slice.name}: {record['seconds']} s {what or outcome(record)}")
                write_report(arguments.into, summary(load(into), state, why))
    report = summary(load(into), state, why)
    write_report(arguments.into, report)
    for line in failures(report):
        say(line)
    if runner.stopped:
        return 128 + runner.stopped
    return 1 if failures(report) else 0


def outcome(record: dict) -> str:
    """Return in a few words what a slice has found."""
    return f"{len(record['violations'])} violations" if record["violations"] else "done"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
