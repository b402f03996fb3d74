"""Copies an index and forks with it while threads work on it: the copy and the child see one commit."""

from __future__ import annotations

import shutil
from pathlib import Path

import children
import numpy as np
from crowds import TRIPLES, Crowd, fill, read_once, triple, write_once
from findings import Findings
from scenario import open_index

from diptych import Document, MultimodalIndex
from diptych.errors import LockedError
from diptych.maintenance import backup, verify
from stubs import hashed_rows

LONGEST = 170.0
"""Seconds after which the threads would end by themselves; the slice is ended soon after."""


def run_backups(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Copy an index ``count`` times while a thread writes to it; each copy must be one commit."""
    rng, own = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    crowd, done = Crowd(LONGEST), 0
    with open_index(folder / "source") as index:
        fill(index)

        def write(number: int) -> None:
            write_once(index, rng, number)
            if number % 25 == 0:
                index.compact()

        crowd.add("writes meanwhile", write)
        crowd.start()
        for done in range(1, count + 1):
            with findings.at(f"seed {seed}, backup {done}"):
                copy = folder / f"copy-{done}"
                backup(folder / "source", copy)
                with open_index(copy) as copied:
                    read_once(copied, own)
                assert verify(copy, deep=True).problems == ()
                shutil.rmtree(copy)
            if findings.enough or crowd.failures:
                break
        with findings.at(f"seed {seed}, the writer"):
            crowd.stop()
    return {"backups": done, **crowd.done}


def run_forks(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Fork while threads search: the child can read, and its own writing is refused."""
    crowd, done = Crowd(LONGEST), 0
    with open_index(folder / "forks") as index:
        fill(index)
        for which in range(3):
            rng = np.random.default_rng([seed, which])
            crowd.add("reads meanwhile", lambda n, r=rng: read_once(index, r))
        crowd.start()
        for done in range(1, count + 1):
            with findings.at(f"seed {seed}, fork {done}"):
                children.must_succeed(lambda: _be_forked(index), folder / "errors")
                index.upsert(triple(done % TRIPLES, done))
            if findings.enough or crowd.failures:
                break
        with findings.at(f"seed {seed}, the readers"):
            crowd.stop()
    return {"forks": done, **crowd.done}


def _be_forked(index: MultimodalIndex) -> None:
    read_once(index, np.random.default_rng(1))
    queries = hashed_rows([str(i) for i in range(64)], 8, "q")
    assert len(index.text_index.search(queries, 3)) == 64
    try:
        index.add([Document("from the child", id="child")])
    except LockedError:
        return
    raise AssertionError("a forked child wrote beside its parent")
