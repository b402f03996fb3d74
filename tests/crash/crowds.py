"""Many readers and one writer at a time, as threads and as processes, on one index.

The writer stores and replaces documents three at a time, all three with one number. Whoever sees one
without the others, or with another number, or with a vector that is not its own, has seen half a commit.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import children
import numpy as np
import numpy.testing
from scenario import COLOURS, open_index

from diptych import Document, MultimodalIndex, MultimodalRetriever, Query
from diptych.errors import LockedError
from diptych.image import Image
from diptych.maintenance import backup, verify
from stubs import StubText, hashed_rows, png

TRIPLES = 30


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


def repeat(
    work: Callable[[int], None], until: float, failures: list[str], counts: Counter, name: str
) -> None:
    """Call ``work`` with ascending numbers until a time, or somebody's failure."""
    number = 0
    while time.monotonic() < until and not failures:
        number += 1
        try:
            work(number)
        except BaseException as error:
            import traceback

            failures.append(f"{name}: {traceback.format_exc()}")
            raise SystemExit from error
        counts[name] += 1


def run_threads(folder: Path, count: int, seconds: float, seed: int) -> dict:
    """Let ``count`` threads work on one index: a sixth of them writes.

    Raises:
        AssertionError: Somebody saw an error or half a commit.
    """
    faulthandler.dump_traceback_later(seconds + 60, exit=True)
    sys.setswitchinterval(1e-4)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with open_index(folder / "threads") as index:
        for at in range(TRIPLES):
            index.add(triple(at, 0))
        until = time.monotonic() + seconds
        threads = []
        for which in range(count):
            rng = np.random.default_rng([seed, which])
            name, work = (
                ("writes", lambda n, r=rng: write_once(index, r, n)),
                ("reads", lambda n, r=rng: read_once(index, r)),
                ("retrievals", lambda n, r=rng: retrieve_once(index, r)),
            )[0 if which % 6 == 0 else 1 + which % 2]
            threads.append(
                threading.Thread(target=repeat, args=(work, until, failures, counts, name))
            )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    faulthandler.cancel_dump_traceback_later()
    assert not failures, failures[0]
    return {"threads": count, **counts}


def run_processes(folder: Path, readers: int, seconds: float, seed: int) -> dict:
    """Let one process write and others read, each with an index of its own.

    Raises:
        AssertionError: Somebody saw an error or half a commit.
    """
    path = folder / "processes"
    with open_index(path) as index:
        for at in range(TRIPLES):
            index.add(triple(at, 0))
    until = time.monotonic() + seconds

    def work(which: int) -> None:
        rng = np.random.default_rng([seed, which])
        counts: Counter[str] = Counter()
        failures: list[str] = []
        with open_index(path) as index:
            if which == 0:
                repeat(lambda n: write_once(index, rng, n), until, failures, counts, "writes")
            else:
                repeat(lambda n: read_once(index, rng), until, failures, counts, "reads")
        (folder / f"counts-{which}").write_text(str(sum(counts.values())))

    started = [
        children.start(lambda w=which: work(w), folder / f"errors-{which}")
        for which in range(readers + 1)
    ]
    codes = [children.wait(child, seconds + 60) for child in started]
    for which, code in enumerate(codes):
        assert code == 0, (folder / f"errors-{which}").read_text()
    done = [int((folder / f"counts-{which}").read_text()) for which in range(readers + 1)]
    return {"readers": readers, "writes": done[0], "reads": sum(done[1:])}


def run_dead_writers(folder: Path, count: int) -> dict:
    """Kill a writer that holds the lock, and write at once, ``count`` times.

    Raises:
        AssertionError: The next writer had to wait for more than a second.
    """
    path, ready, slowest = folder / "dead", folder / "ready", 0.0
    for number in range(count):
        ready.unlink(missing_ok=True)

        def hold(number: int = number) -> None:
            index = open_index(path)
            index.add([Document(f"by child {number}", id=f"c{number}")])
            ready.touch()
            time.sleep(60)

        child = children.start(hold, folder / "errors")
        while not ready.exists():
            time.sleep(0.001)
        with open_index(path, lock_timeout=0) as index:
            try:
                index.add([Document("too early", id="early")])
            except LockedError:
                pass
            else:
                raise AssertionError("two writers at once")
        os.kill(child, signal.SIGKILL)
        children.wait(child)
        start = time.monotonic()
        with open_index(path) as index:
            index.add([Document(f"by parent {number}", id=f"p{number}")])
            slowest = max(slowest, time.monotonic() - start)
            assert len(index) == 2 * (number + 1)
    assert slowest < 1, f"waited for {slowest:.2f} s"
    return {"dead writers": count, "slowest takeover, ms": round(1000 * slowest)}


def run_backups(folder: Path, count: int) -> dict:
    """Copy an index ``count`` times while a thread writes to it, and check every copy.

    Raises:
        AssertionError: A copy is not one committed state.
    """
    rng = np.random.default_rng(0)
    failures: list[str] = []
    counts: Counter[str] = Counter()
    with open_index(folder / "source") as index:
        for at in range(TRIPLES):
            index.add(triple(at, 0))

        def write(number: int) -> None:
            write_once(index, rng, number)
            if number % 25 == 0:
                index.compact()

        until = time.monotonic() + 600
        thread = threading.Thread(target=repeat, args=(write, until, failures, counts, "writes"))
        thread.start()
        try:
            for number in range(count):
                copy = folder / f"copy-{number}"
                backup(folder / "source", copy)
                with open_index(copy) as copied:
                    read_once(copied, rng)
                assert verify(copy, deep=True).problems == ()
                shutil.rmtree(copy)
        finally:
            stopped = list(failures)
            failures.append("enough")
            thread.join()
    assert not stopped, stopped[0]
    return {"backups": count, "writes meanwhile": counts["writes"]}


def run_forks(folder: Path, count: int) -> dict:
    """Fork with an open index, while threads search: the child can read and its own writing is refused.

    Raises:
        AssertionError: A child hangs or fails.
    """
    with open_index(folder / "forks") as index:
        for at in range(TRIPLES):
            index.add(triple(at, 0))
        rng = np.random.default_rng(0)
        until = time.monotonic() + 600
        stop: list[str] = []
        counts: Counter[str] = Counter()
        threads = [
            threading.Thread(
                target=repeat, args=(lambda n: read_once(index, rng), until, stop, counts, "reads")
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()

        def child() -> None:
            own = np.random.default_rng(1)
            read_once(index, own)
            queries = hashed_rows([str(i) for i in range(64)], 8, "q")
            assert len(index.text_index.search(queries, 3)) == 64
            try:
                index.add([Document("from the child", id="child")])
            except LockedError:
                return
            raise AssertionError("a forked child wrote beside its parent")

        try:
            for number in range(count):
                children.must_succeed(child, folder / "errors", 20.0)
                index.upsert(triple(number % TRIPLES, number + 1))
        finally:
            stop.append("enough")
            for thread in threads:
                thread.join()
        assert stop == ["enough"], stop[0]
    return {"forks": count}
