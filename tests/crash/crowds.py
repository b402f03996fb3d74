"""Many readers and one writer at a time, as threads and as processes, on one index.

The writer stores and replaces documents three at a time, all three with one number. Whoever sees one
without the others, or with another number, or with a vector that is not its own, has seen half a commit.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import children
import numpy as np
import numpy.testing
from findings import Findings
from scenario import COLOURS, open_index
from slices import READERS, THREADS

from diptych import Document, MultimodalIndex, MultimodalRetriever, Query
from diptych.image import Image
from stubs import StubText, hashed_rows, png

TRIPLES = 30

LEAST = 6
"""Everybody does so much at least, however slow the machine is."""

GRACE = 90.0
"""Seconds that a slow machine may take longer; who is not done then hangs."""


def triple(at: int, number: int) -> list[Document]:
    """Return three documents that are always stored together."""
    common = {"metadata": {"triple": at, "number": number}, "group": f"g{at}"}
    picture = Image(png(COLOURS[number % len(COLOURS)]))
    words = f"triple {at} in turn {number}"
    return [
        Document(f"text of {words}", id=f"{at}-text", **common),
        Document(None, picture, id=f"{at}-image", **common),
        Document(f"both of {words}", picture, id=f"{at}-both", **common),
    ]


def write_once(index: MultimodalIndex, rng: np.random.Generator, number: int) -> None:
    """Store, replace or remove one triple."""
    at = int(rng.integers(TRIPLES))
    if rng.random() < 0.15:
        index.delete(where={"triple": at})
    else:
        index.upsert(triple(at, number))


def read_once(index: MultimodalIndex, rng: np.random.Generator) -> None:
    """Look at one state from all sides."""
    with index.snapshot() as snapshot:
        keys = snapshot.select(None, None, None)
        documents = snapshot.documents(keys)
        counts = snapshot.counts()
        (ranked,) = snapshot.rank([Query(f"turn {rng.integers(50)}")], 20, ["text", "image"], None)
        exact = {
            name: snapshot.exact(ranked, name, found) for name, (found, _) in ranked.lists.items()
        }
    assert len(documents) == len(keys) == counts["documents"]
    seen: dict[int, set[int]] = {}
    for document in documents:
        seen.setdefault(document.metadata["triple"], set()).add(document.metadata["number"])
    assert all(len(numbers) == 1 for numbers in seen.values()), f"two commits at once: {seen}"
    assert len(documents) == 3 * len(seen), "half a commit"
    by_key = dict(zip(keys, documents, strict=True))
    for name, (found, scores) in ranked.lists.items():
        assert set(found.tolist()) <= set(keys), f"{name} found what is not there"
        np.testing.assert_allclose(scores, exact[name], rtol=1e-4, atol=1e-5)
        if name == "text":
            rows = hashed_rows([by_key[k].text for k in found.tolist()], 8, "stub-text")
            query = StubText(8).encode_query([ranked.query.text])[0]
            np.testing.assert_allclose(scores, rows @ query, rtol=1e-4, atol=1e-5)


def retrieve_once(index: MultimodalIndex, rng: np.random.Generator) -> None:
    """Ask as a user does."""
    retriever = MultimodalRetriever.from_index(index)
    where = {"triple": int(rng.integers(TRIPLES))} if rng.random() < 0.5 else None
    for result in retriever.retrieve(f"triple {rng.integers(TRIPLES)}", top_k=5, where=where):
        assert {d.group for d in result.documents} == {result.documents[0].group}
        assert len({d.metadata["number"] for d in result.documents}) == 1


class Crowd:
    """Those who work at the same time, until a time and until each kind of them has done enough."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.failures: list[str] = []
        self.done: Counter[str] = Counter()
        self.threads: list[threading.Thread] = []
        self.stopped = False

    def add(self, name: str, work: Callable[[int], None]) -> None:
        """Let a thread call ``work`` with 1, 2, 3, …; what it does counts as ``name``."""
        self.done[name] += 0
        self.threads.append(
            threading.Thread(target=self.repeat, args=(name, work), daemon=True, name=name)
        )

    def repeat(self, name: str, work: Callable[[int], None]) -> None:
        """Call ``work`` until it is enough, or somebody has failed."""
        number = 0
        while not self._enough():
            number += 1
            try:
                work(number)
            except BaseException:
                self.failures.append(f"{name}: {traceback.format_exc()}")
                return
            self.done[name] += 1

    def _enough(self) -> bool:
        now = time.monotonic()
        worked = min(self.done.values(), default=LEAST) >= LEAST or now > self.until + GRACE / 2
        return self.stopped or bool(self.failures) or (now > self.until and worked)

    def start(self) -> None:
        """Let the threads begin."""
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        """Wait for all.

        Raises:
            AssertionError: Somebody has failed.
            TimeoutError: Somebody hangs.
        """
        for thread in self.threads:
            thread.join(max(self.until + GRACE - time.monotonic(), 0.0))
        if self.failures:
            raise AssertionError(self.failures[0])
        hanging = [thread.name for thread in self.threads if thread.is_alive()]
        if hanging:
            children.show_stacks(os.getpid())
            raise TimeoutError(f"{len(hanging)} threads hang: {sorted(set(hanging))}")

    def stop(self) -> None:
        """Let everybody end what they do, and wait for all, see :meth:`join`."""
        self.stopped, self.until = True, time.monotonic()
        self.join()


def fill(index: MultimodalIndex) -> None:
    """Store every triple once."""
    for at in range(TRIPLES):
        index.add(triple(at, 0))


def run_threads(folder: Path, seconds: float, seed: int, findings: Findings) -> dict:
    """Let threads work on two objects over one index for so many seconds: a sixth of them writes.

    It is a violation if somebody sees an error or half a commit, or hangs.
    """
    sys.setswitchinterval(1e-4)
    with open_index(folder / "threads") as index, open_index(folder / "threads") as other:
        fill(index)
        crowd = Crowd(seconds)
        for which in range(THREADS):
            rng = np.random.default_rng([seed, which])
            own = (index, other)[which // 3 % 2]
            name, work = (
                ("writes", lambda n, r=rng, i=index if which % 12 else other: write_once(i, r, n)),
                ("reads", lambda n, r=rng, i=own: read_once(i, r)),
                ("retrievals", lambda n, r=rng, i=own: retrieve_once(i, r)),
            )[0 if which % 6 == 0 else 1 + which % 2]
            crowd.add(name, work)
        crowd.start()
        with findings.at(f"threads, seed {seed}"):
            crowd.join()
    return {"seconds": seconds, **crowd.done}


def run_processes(folder: Path, seconds: float, seed: int, findings: Findings) -> dict:
    """Let one process write and others read for so many seconds, each with an index of its own.

    It is a violation if somebody sees an error or half a commit, or hangs.
    """
    path = folder / "processes"
    with open_index(path) as index:
        fill(index)

    def work(which: int) -> None:
        rng = np.random.default_rng([seed, which])
        crowd = Crowd(seconds)
        with open_index(path) as index:
            if which == 0:
                crowd.add("writes", lambda n: write_once(index, rng, n))
            else:
                crowd.add("reads", lambda n: read_once(index, rng))
            crowd.start()
            crowd.join()
        (folder / f"done-{which}").write_text(json.dumps(crowd.done))

    started = [
        children.start(lambda w=which: work(w), folder / f"errors-{which}")
        for which in range(1 + READERS)
    ]
    end = time.monotonic() + seconds + GRACE + 10
    done: Counter[str] = Counter()
    for which, child in enumerate(started):
        with findings.at(f"processes, seed {seed}, process {which}"):
            errors = folder / f"errors-{which}"
            code = children.wait(child, max(end - time.monotonic(), 0.1))
            assert code == 0, f"ended with {code}: {children.said(errors)}"
            done.update(json.loads((folder / f"done-{which}").read_text()))
    return {"seconds": seconds, **done}
