"""The long tier: kills, faults at every call, full disks and damaged files, with its figures.

    python tests/crash/run.py                 all of it, about half an hour on two cores
    python tests/crash/run.py --share 0.02    a taste

Any violation ends the run with the seed and the step. Otherwise the figures are written to
``benchmarks/reliability/results.json`` and ``results.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

KILLS, KILL_RUNS = 600, 6
FILLS, FILL_RUNS = 50, 2
SEALED, UNSEALED, MUTATION_RUNS = 8_400, 2_400, 6
FAULT_SEEDS = (1,)
THREADS, READERS, CROWD_SECONDS = 24, 6, 120.0
DEAD_WRITERS, FORKS, BACKUPS = 100, 50, 50
SESSIONS, SESSION_RUNS = 2_000, 4


def tasks(share: float) -> list[dict]:
    """Return what is to be run, a process each."""
    from faults import FAULTS

    def part(count: int, runs: int) -> int:
        return max(int(count * share / runs), 1)

    every = max(round(1 / share), 1)
    return [
        {"what": "threads", "seed": 1, "count": THREADS, "seconds": CROWD_SECONDS * share},
        {"what": "processes", "seed": 1, "count": READERS, "seconds": CROWD_SECONDS * share},
        {"what": "dead writers", "seed": 1, "count": part(DEAD_WRITERS, 1)},
        {"what": "forks", "seed": 1, "count": part(FORKS, 1)},
        {"what": "backups", "seed": 1, "count": part(BACKUPS, 1)},
        *({"what": "model", "seed": s, "count": part(SESSIONS, SESSION_RUNS)} for s in range(SESSION_RUNS)),
        *(
            {"what": "faults", "seed": seed, "fault": at, "every": every}
            for seed in FAULT_SEEDS
            for at in range(len(FAULTS))
        ),
        *({"what": "kills", "seed": s, "count": part(KILLS, KILL_RUNS)} for s in range(KILL_RUNS)),
        *({"what": "fills", "seed": s, "count": part(FILLS, FILL_RUNS)} for s in range(FILL_RUNS)),
        *(
            {"what": what, "seed": s, "count": part(count, MUTATION_RUNS)}
            for what, count in (("sealed", SEALED), ("unsealed", UNSEALED))
            for s in range(MUTATION_RUNS)
        ),
    ]  # fmt: skip


def perform(task: dict, folder: Path) -> dict:
    """Run one task in this process and return its figures."""
    from crowds import run_backups, run_dead_writers, run_forks, run_processes, run_threads
    from faults import FAULTS, run_faults
    from full import run_fills
    from kills import run_kills
    from mutations import run_mutations
    from scenario import use_kind

    use_kind(("flat", "hnsw", "ivf")[task["seed"] % 3], folder)
    match task["what"]:
        case "threads":
            return run_threads(folder, task["count"], task["seconds"], task["seed"])
        case "processes":
            return run_processes(folder, task["count"], task["seconds"], task["seed"])
        case "dead writers":
            return run_dead_writers(folder, task["count"])
        case "backups":
            return run_backups(folder, task["count"])
        case "forks":
            return run_forks(folder, task["count"])
        case "model":
            return run_sessions(task["count"], task["seed"])
        case "faults":
            return run_faults(folder, FAULTS[task["fault"]], seed=task["seed"], every=task["every"])
        case "kills":
            return run_kills(folder, task["count"], task["seed"])
        case "fills":
            return run_fills(folder, task["count"], task["seed"])
        case what:
            return run_mutations(folder, task["count"], task["seed"], sealed=what == "sealed")


def run_sessions(count: int, seed: int) -> dict:
    """Compare the index with a dict and numpy, step by step."""
    import hypothesis
    from hypothesis.stateful import run_state_machine_as_test

    from stateful import IndexMachine

    settings = hypothesis.settings(
        max_examples=count,
        stateful_step_count=50,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(hypothesis.seed(seed)(IndexMachine), settings=settings)
    return {"sessions": count, "steps": IndexMachine.steps}


def in_process_of_its_own(task: dict, shim: Path | None) -> tuple[dict, dict]:
    """Run a task in a new process: quick to fork, and with the shim where it needs it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if task["what"] == "faults":
        if shim is None:
            return task, {}
        environment["LD_PRELOAD"] = str(shim)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-6000:]}")
    print(f"{task} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return task, json.loads(done.stdout.splitlines()[-1])


def summary(results: list[tuple[dict, dict]], seconds: float) -> dict:
    """Add up the figures of the tasks."""
    from faults import FAULTS

    totals: dict[str, Counter[str]] = {}
    for task, figures in results:
        name = f"fault: {FAULTS[task['fault']].name}" if "fault" in task else task["what"]
        totals.setdefault(name, Counter()).update(figures)
    return {
        "minutes": round(seconds / 60, 1),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()}, {os.cpu_count()} cores",
        "violations": 0,
        "figures": {name: dict(sorted(c.items())) for name, c in totals.items()},
    }


def as_markdown(report: dict) -> str:
    """Return the figures for people."""
    figures = report["figures"]
    kills, fills = figures["kills"], figures["fills"]
    faults = {n: f for n, f in figures.items() if n.startswith("fault: ")}
    crowd = {n: figures[n] for n in ("threads", "processes", "dead writers", "forks", "backups")}
    mutated = {n: sum(figures[n].values()) for n in ("sealed", "unsealed")}
    lines = [
        "# What the index survived",
        "",
        "Made by `python tests/crash/run.py`. No acknowledged document was lost, none came back after",
        "its deletion, no half document was seen, no index failed to open after a kill, and no damaged",
        "file led to a wrong answer; the run ends at the first of these.",
        "",
        f"{report['minutes']} minutes; Python {report['python']}, SQLite {report['sqlite']}, "
        f"{report['machine']}.",
        "",
        "| what | how often |",
        "|---|---|",
        f"| `kill -9` of the writer at a random moment | {kills['kills']:,} |",
        f"| steps acknowledged before, all found again | {kills['acknowledged steps']:,} |",
        *(
            f"| {name.removeprefix('fault: ')}, at every call that touches a file | {f['calls']:,} |"
            for name, f in faults.items()
        ),
        f"| disk full, then room again | {fills['fill-ups']:,} |",
        f"| damaged files of an index that was closed well | {mutated['sealed']:,} |",
        f"| damaged files of an index whose writer was killed | {mutated['unsealed']:,} |",
        "",
        "## Many at once",
        "",
        "| what | figures |",
        "|---|---|",
        f"| {crowd['threads']['threads']} threads on one index, {CROWD_SECONDS:.0f} s | "
        f"{crowd['threads']['writes']:,} writes, {crowd['threads']['reads']:,} full looks, "
        f"{crowd['threads']['retrievals']:,} retrievals |",
        f"| 1 writing and {crowd['processes']['readers']} reading processes, {CROWD_SECONDS:.0f} s | "
        f"{crowd['processes']['writes']:,} writes, {crowd['processes']['reads']:,} full looks |",
        f"| writers killed while they held the lock | {crowd['dead writers']['dead writers']}; the next "
        f"one wrote after at most {crowd['dead writers']['slowest takeover, ms']} ms |",
        f"| backups while a thread was writing | {crowd['backups']['backups']}, each one committed state; "
        f"{crowd['backups']['writes meanwhile']:,} writes meanwhile |",
        f"| forks while threads were reading | {crowd['forks']['forks']} |",
        "",
        "Nobody saw an error, half a commit, or a hit without its document.",
        "",
        "## Against a model",
        "",
        f"{figures['model']['sessions']:,} random sessions of up to 50 steps "
        f"({figures['model']['steps']:,} steps: add, upsert, delete by id and by filter, search by text, "
        "picture and both, filter, reopen, compact, verify, back up, change the model) agreed with a dict, "
        "numpy and a filter written as a loop; scores after reopening were equal to the last bit.",
        "",
        "## What a damaged file led to",
        "",
        "| file | outcome | closed well | writer killed |",
        "|---|---|---|---|",
        *(
            f"| {name.split(': ')[0]} | {name.split(': ')[1]} "
            f"| {figures['sealed'].get(name, 0):,} | {figures['unsealed'].get(name, 0):,} |"
            for name in sorted({*figures["sealed"], *figures["unsealed"]})
        ),
        "",
        "An error names the file and the command that repairs the index.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="how much of it, up to 1")
    parser.add_argument("--task", help="for internal use: run one task and print its figures")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.task:
        import faiss  # noqa: F401  # imported once, before the children are forked

        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(perform(json.loads(arguments.task), Path(folder))))
        return
    from faults import build_shim

    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shim = build_shim(Path(folder))
        with ThreadPoolExecutor(arguments.processes) as pool:
            results = list(
                pool.map(lambda t: in_process_of_its_own(t, shim), tasks(arguments.share))
            )
    report = summary(results, time.monotonic() - start)
    print(as_markdown(report))
    if arguments.share == 1.0:
        target = ROOT / "benchmarks" / "reliability"
        target.mkdir(exist_ok=True)
        (target / "results.json").write_text(json.dumps(report, indent=1) + "\n")
        (target / "results.md").write_text(as_markdown(report))


if __name__ == "__main__":
    main()
