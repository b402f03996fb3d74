"""Fills the disk: the size of a file is limited, so that writing fails as on a full one."""

from __future__ import annotations

import json
import resource
import shutil
from collections import Counter
from pathlib import Path

import children
import numpy as np
import oracle
from findings import Findings
from scenario import document, open_index, spec

from diptych.errors import StorageError


def run_fills(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Add until the disk is full, make room, and go on, ``count`` times.

    It is a violation if a stored document is lost, the failed batch is half there, or left-overs stay.
    """
    rng = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    errors = folder / "errors"
    for number in range(count):
        path = folder / "index"
        shutil.rmtree(path, ignore_errors=True)
        limit = int(rng.integers(30_000, 600_000))
        seen["fill-ups"] += 1
        with findings.at(f"seed {seed}, fill-up {number}, at {limit} bytes"):
            children.must_succeed(
                lambda s=seed * 1000 + number, at=limit, p=path: _fill(p, s, at, folder), errors
            )
            report = json.loads((folder / "report").read_text())
            seen["acknowledged documents"] += report["documents"]
            seen[report["error"]] += 1
        if findings.enough:
            break
    return dict(seen)


def _fill(path: Path, seed: int, limit: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    model: dict = {}
    index = open_index(path)
    for number in range(10_000):
        specs = [spec(rng, f"d{number}i{i}", number) for i in range(int(rng.integers(1, 30)))]
        try:
            index.add([document(s) for s in specs])
        except StorageError as error:
            said = type(error).__name__
            break
        model.update({s["id"]: s for s in specs})
    else:
        raise AssertionError("the disk never became full")
    assert oracle.observe(index) == model
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    index.add([document(s) for s in specs])
    model.update({s["id"]: s for s in specs})
    index.close()
    oracle.check_goes_on(path, oracle.check(path, [model]))
    (folder / "report").write_text(json.dumps({"documents": len(model), "error": said}))
