"""Damages one file of an index in one way, and sees what a user is told.

Allowed are the same answers as before, or an error that names a file of the index and the command
that repairs it; of a lost database, which nothing repairs, that the folder is to be restored.
A wrong answer is not, nor is a crash, nor waiting.
"""

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
from scenario import open_index, random_steps

from diptych.errors import DiptychError

KINDS = (
    "flip a bit", "flip a byte", "truncate", "zero the tail", "zero a block", "swap blocks",
    "repeat a block", "append", "empty", "remove", "put another file there", "random bytes",
)  # fmt: skip

DATABASE = "store.sqlite3"

MEMORY = 256 << 20


def build(folder: Path, seed: int) -> dict:
    """Make an index of some size, closed well, and return its answers."""
    rng = np.random.default_rng(seed)
    model: dict = {}
    with open_index(folder) as index:
        for step in random_steps(rng, model, 40, 0):
            if step.kind not in ("reopen", "reembed", "repair", "backup"):
                step.run(index, folder)
            model = step.states(model)[-1]
    return answers(folder)


def answers(folder: Path) -> dict:
    """Return everything that can be asked: documents with pictures, lists, words, filters."""
    with open_index(folder) as index:
        model = oracle.observe(index)
        ids = sorted(model)
        queries = ["words of d1", "more", *(f"word {model[i]['meta']['word']}" for i in ids[:5])]
        return {
            "model": model,
            "lists": [
                {
                    name: [(h.id, h.score) for h in hits]
                    for name, hits in index.search(q, 50).items()
                }
                for q in queries
            ],
            "vectors": [
                np.nan_to_num(view.vectors(ids), nan=9.0).tolist()
                for view in (index.text_index, index.image_index, index.cross_modal_index)
            ],
            "filters": [index.ids({"n": n}) for n in range(10)]
            + [index.ids({"tags": {"$contains": "a"}})],
        }


def mutate(path: Path, kind: str, rng: np.random.Generator, others: list[Path]) -> None:
    """Damage a file."""
    data = bytearray(path.read_bytes())
    size = len(data)
    if kind == "remove":
        path.unlink()
        return
    if kind in ("empty", "append") or not size:
        path.write_bytes(b"" if kind == "empty" else data + rng.bytes(int(rng.integers(1, 5000))))
        return
    at = int(rng.integers(size))
    block = int(min(size, rng.choice([16, 512, 4096])))
    start = int(rng.integers(max(size - block, 0) + 1))
    other = int(rng.integers(max(size - block, 0) + 1))
    if kind == "flip a bit":
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "flip a byte":
        data[at] ^= int(rng.integers(1, 256))
    elif kind == "truncate":
        del data[at:]
    elif kind == "zero the tail":
        data[at:] = bytes(size - at)
    elif kind == "zero a block":
        data[start : start + block] = bytes(block)
    elif kind == "swap blocks":
        data[start : start + block], data[other : other + block] = (
            data[other : other + block],
            data[start : start + block],
        )
    elif kind == "repeat a block":
        data[other : other + block] = data[start : start + block]
    elif kind == "put another file there":
        data = bytearray(others[int(rng.integers(len(others)))].read_bytes())
    else:
        data[start : start + block] = rng.bytes(block)
    path.write_bytes(data)


def run_sealed(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Damage ``count`` copies of an index that was closed well, and return what came of it."""
    return _run_mutations(folder, count, seed, findings, sealed=True)


def run_unsealed(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Damage ``count`` copies of an index whose writer was killed, and return what came of it."""
    return _run_mutations(folder, count, seed, findings, sealed=False)


def _run_mutations(
    folder: Path, count: int, seed: int, findings: Findings, *, sealed: bool
) -> dict:
    """Damage a file at a time; a wrong answer, a crash, an unclear error, or waiting is a violation."""
    rng = np.random.default_rng(seed)
    original, copy, errors = folder / "original", folder / "copy", folder / "errors"
    expected = json.loads(json.dumps(build(original, seed)))
    files = sorted(p for p in original.rglob("*") if p.is_file() and p.name != "lock")
    kinds_of_file = sorted({_kind(p, original) for p in files})
    seen: Counter[str] = Counter()
    result = folder / "result"
    for number in range(1, 20 * count):  # some change nothing and do not count
        if seen["damaged files"] == count or findings.enough:
            break
        # Every kind of file has its turn, however many there are of it.
        kind_of_file = kinds_of_file[number % len(kinds_of_file)]
        chosen = [p for p in files if _kind(p, original) == kind_of_file]
        path = chosen[int(rng.integers(len(chosen)))]
        kind = KINDS[int(rng.integers(len(KINDS)))]
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy)
        if not sealed:
            (copy / "store.seal").unlink()
        target = copy / path.relative_to(original)
        if not target.exists():
            continue
        before = target.read_bytes()
        mutate(target, kind, rng, files)
        if target.exists() and target.read_bytes() == before:
            continue
        where = f"seed {seed}, mutation {number}: {kind}, {path.relative_to(original)}"
        seen["damaged files"] += 1
        with findings.at(where):
            children.must_succeed(lambda: _ask(copy, expected, result), errors)
            seen[f"{kind_of_file}: {result.read_text()}"] += 1
    return dict(sorted(seen.items()))


def _kind(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    return name.split("/")[0] if "/" in name else name


def _ask(folder: Path, expected: dict, result: Path) -> None:
    soft = int(Path("/proc/self/statm").read_text().split()[0]) * 4096 + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    try:
        found = json.loads(json.dumps(answers(folder)))
    except DiptychError as error:
        message = str(error)
        lost = f"{folder / DATABASE}' is missing or empty" in message
        remedy = "Restore the folder from a backup" if lost else f"diptych verify {folder}"
        assert remedy in message, message
        result.write_text(f"{type(error).__name__}")
        return
    for part in expected:
        assert found[part] == expected[part], f"a wrong answer: {part}"
    result.write_text("same answers")
