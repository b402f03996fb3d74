"""The figures of all slices that have run: added up, with what is missing, for programs and for people."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections import Counter
from pathlib import Path

from results import write_whole
from slices import FAULT_ROWS, KINDS_OF_INDEX, PICTURE, ROWS, Slice, all_slices
from tables import as_markdown, in_short


def summary(records: dict[str, dict], state: str, no_faults: str = "") -> dict:
    """Add up the records of slices, see ``results.load``.

    Args:
        records: By name of the slice.
        state: The commit, see ``results.state_of_code``.
        no_faults: Why the calls of a session cannot be struck here, or "".

    Returns:
        The report: what ran where, its coverage and figures by row, and what went wrong.
    """
    slices = all_slices()
    ran = {s.name: (s, records[s.name]) for s in slices if s.name in records}
    slowest = max(ran.values(), key=lambda pair: pair[1]["seconds"], default=None)
    return {
        "commit": state,
        "complete": len(ran) == len(slices),
        "slices": {"run": len(ran), "of": len(slices)},
        "minutes of work": round(sum(r["seconds"] for _, r in ran.values()) / 60, 1),
        "minutes of CPU": round(sum(r.get("seconds of CPU", 0) for _, r in ran.values()) / 60, 1),
        "slowest slice": {"name": slowest[0].name, "seconds": slowest[1]["seconds"]} if slowest else {},
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()}, {os.cpu_count()} cores",
        "violations": [
            {"slice": name, "what": what} for name, (_, r) in ran.items() for what in r["violations"]
        ],
        "ended": [
            {"slice": name, "what": r["ended"]} for name, (_, r) in ran.items() if "ended" in r
        ],
        "no faults": no_faults,
        "coverage": {row.name: _covered(row, ran) for row in ROWS},
        "calls": {row.name: _covered_calls(row, ran) for row in FAULT_ROWS},
        "picture": ran[PICTURE.name][1]["figures"] if PICTURE.name in ran else {},
        "figures": {
            row.name: _add(r["figures"] for s, r in ran.values() if s.row == row.name)
            for row in (*FAULT_ROWS, *ROWS)
        },
    }  # fmt: skip


def _covered(row, ran: dict[str, tuple[Slice, dict]]) -> dict:
    done = sum(r["figures"].get(row.unit, 0) for s, r in ran.values() if s.row == row.name)
    return {"done": done, "of": row.total, "unit": row.unit}


def _covered_calls(row, ran: dict[str, tuple[Slice, dict]]) -> dict[str, dict]:
    """Return by kind of index how many of the chosen calls were struck; "of" is 0 if nobody has counted."""
    covered = {}
    for kind in KINDS_OF_INDEX:
        mine = [r["figures"] for s, r in ran.values() if (s.row, s.index) == (row.name, kind)]
        covered[kind] = {
            "every": row.cut[kind][0],
            "done": sum(figures.get("calls", 0) for figures in mine),
            "of": max((figures.get("of", 0) for figures in mine), default=0),
        }
    return covered


def _add(many) -> dict[str, int]:
    """Add figures up; of the slowest there is one."""
    total: Counter[str] = Counter()
    for figures in many:
        for name, value in figures.items():
            if name.startswith("slowest"):
                total[name] = max(total[name], value)
            elif name not in ("of", "calls of the session"):
                total[name] += value
    return dict(sorted(total.items()))


def failures(report: dict) -> list[str]:
    """Return a line for everything that went wrong."""
    return [
        f"{one['slice']}: {in_short(one['what'])}"
        for one in (*report["violations"], *report["ended"])
    ]


def write_report(folder: Path, report: dict) -> None:
    """Write ``results.json`` and ``results.md``."""
    write_whole(folder / "results.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_whole(folder / "results.md", as_markdown(report))
