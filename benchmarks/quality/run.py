"""Retrieval quality on the evaluation packs, through the public API.

    python benchmarks/quality/run.py --shared ../shared

Indexes the files of each pack, asks its queries, and writes ``results.json`` and ``results.md``
beside this file. Text by all-MiniLM-L6-v2 (the extra ``offline``), pictures by the checkpoint
``mnv2-minilm-512`` of the shared folder (a small joint model that is not CLIP).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from packs import Pack, load_packs

from diptych import (
    MultimodalIndex,
    MultimodalRetriever,
    OfflineTextEncoder,
    OpenClipEncoder,
    Query,
)
from diptych.index.snapshot import Snapshot
from diptych.metrics import evaluate

HERE = Path(__file__).parent
DEPTH = 50
COLUMNS = ("ndcg@10", "recall@1", "recall@5", "recall@10", "mrr")


def main() -> None:
    """Run every system on every pack and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=HERE.parents[2] / "shared")
    parser.add_argument("--only", help="a pack by name")
    arguments = parser.parse_args()
    checkpoint = arguments.shared / "models" / "mnv2-minilm-512"
    encoders = (
        Remembering(OfflineTextEncoder()),
        RememberingBoth(OpenClipEncoder.from_folder(checkpoint)),
    )
    results: dict[str, Any] = {}
    for pack in load_packs(arguments.shared / "data"):
        if arguments.only in (None, pack.name):
            results[pack.name] = measure(pack, *encoders)
    report = {
        "command": "python benchmarks/quality/run.py --shared ../shared",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("diptych", "faiss-cpu", "numpy", "torch")},
        "packs": results,
    }
    if arguments.only is None:
        (HERE / "results.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (HERE / "results.md").write_text(table(results), encoding="utf-8")
    print(table(results))


Run = dict[str, list[str]]


class Remembering:
    """A text encoder that encodes nothing twice: several systems ask the same queries."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.dim, self.space, self.fingerprint = encoder.dim, encoder.space, encoder.fingerprint
        self.known: dict[tuple[str, str], np.ndarray] = {}

    def encode_query(self, texts: Sequence[str]) -> np.ndarray:
        """Return rows for questions."""
        return self._rows("query", texts, texts, self.encoder.encode_query)

    def encode_document(self, texts: Sequence[str]) -> np.ndarray:
        """Return rows for passages."""
        return self._rows("document", texts, texts, self.encoder.encode_document)

    def _rows(
        self, kind: str, names: Sequence[str], inputs: Sequence[Any], encode: Any
    ) -> np.ndarray:
        new = {n: i for n, i in zip(names, inputs, strict=True) if (kind, n) not in self.known}
        for name, row in zip(new, encode(list(new.values())), strict=True):
            self.known[kind, name] = row
        rows = [self.known[kind, name] for name in names]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)


class RememberingBoth(Remembering):
    """The same for an encoder of texts and pictures."""

    def encode_image(self, images: Sequence[Any]) -> np.ndarray:
        """Return rows for pictures."""
        names = [image.sha256 for image in images]
        return self._rows("image", names, images, self.encoder.encode_image)


def measure(pack: Pack, text_encoder: Any, image_encoder: Any) -> dict[str, Any]:
    """Index one pack and return the figures of every system."""
    start = time.monotonic()
    index = MultimodalIndex(text_encoder, image_encoder)
    report = index.add(pack.documents, show_progress=True)
    seconds = {"index": time.monotonic() - start}
    units = {document.id: pack.unit(document) for document in pack.documents}
    start = time.monotonic()
    runs = by_list(index, pack, units)
    seconds["lists"] = time.monotonic() - start
    runs["RRF k=60, text + image"] = rrf(runs["text only"], runs["image only"])
    start = time.monotonic()
    runs["fused (default)"] = fused(index, pack, units)
    seconds["fused"] = time.monotonic() - start
    with every_picture_alike():
        runs["fused, control: every picture alike"] = fused(index, pack, units)
    systems = {name: scores(run, pack, pack.qrels) for name, run in runs.items()}
    return {
        "documents": len(pack.documents),
        "failed": len(report.failed),
        "queries": len(pack.qrels),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "systems": systems,
    }


def by_list(index: MultimodalIndex, pack: Pack, units: dict[str, str]) -> dict[str, Run]:
    """Return the ranking of each single list."""
    names = {"text": "text only", "image": "image only", "lexical": "BM25 only"}
    runs: dict[str, Run] = {name: {} for name in names.values()}
    for ids, queries in batches(pack):
        with index.snapshot() as snapshot:
            ranked = snapshot.rank([Query(q) for q in queries], DEPTH, ("text", "image"), None)
            for query_id, one in zip(ids, ranked, strict=True):
                for name, label in names.items():
                    keys = one.lists[name][0].tolist() if name in one.lists else []
                    stubs = snapshot.stubs(keys)
                    runs[label][query_id] = unique(units[stubs[key].id] for key in keys)
    return runs


def fused(index: MultimodalIndex, pack: Pack, units: dict[str, str]) -> Run:
    """Return the ranking of the retriever as it is."""
    retriever = MultimodalRetriever.from_index(index)
    run: Run = {}
    for ids, queries in batches(pack):
        for query_id, results in zip(ids, retriever.retrieve_many(queries, 20), strict=True):
            run[query_id] = unique(units[d.id] for r in results for d in first_of(r))
    return run


def first_of(result: Any) -> list[Any]:
    """Return the documents of a result, the one that was found first in front."""
    return sorted(result.documents, key=lambda document: document.id != result.id)


def rrf(*runs: Run, k: int = 60) -> Run:
    """Return what most libraries do by default: the sum of 1 / (k + rank)."""
    merged: Run = {}
    for query_id in runs[0]:
        score: dict[str, float] = defaultdict(float)
        for run in runs:
            for rank, unit in enumerate(run[query_id], 1):
                score[unit] += 1 / (k + rank)
        merged[query_id] = sorted(score, key=lambda unit: (-score[unit], unit))
    return merged


@contextmanager
def every_picture_alike() -> Iterator[None]:
    """Give every picture the query's mean picture score: what is left is the mere presence of one."""
    exact = Snapshot.exact

    def alike(self: Snapshot, ranked: Any, name: Any, keys: Any) -> Any:
        scores = exact(self, ranked, name, keys)
        if name == "image":
            mean = np.float32(self.null_scores(ranked, name).mean())
            return np.where(np.isnan(scores), scores, mean)
        return scores

    Snapshot.exact = alike  # type: ignore[method-assign]
    try:
        yield
    finally:
        Snapshot.exact = exact  # type: ignore[method-assign]


def scores(run: Run, pack: Pack, qrels: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Return the means over all queries, and nDCG@10 by type of query where there are types."""
    found = evaluate(run, qrels)
    rows: dict[str, Any] = {name: round(found.means[name], 4) for name in COLUMNS}
    kinds = sorted({kind for kind in pack.types.values() if kind})
    for kind in kinds:
        part = {q: d for q, d in qrels.items() if pack.types[q] == kind}
        rows[f"ndcg@10 {kind}"] = round(evaluate(run, part).means["ndcg@10"], 4)
    return rows


def batches(pack: Pack, size: int = 256) -> Iterator[tuple[list[str], list[str]]]:
    """Yield query ids and texts."""
    ids = sorted(pack.qrels)
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        yield part, [pack.queries[query_id] for query_id in part]


def unique(units: Iterable[str]) -> list[str]:
    """Return units in order, each once."""
    return list(dict.fromkeys(units))


def table(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = []
    for name, result in results.items():
        lines += [
            f"### {name}",
            "",
            f"{result['documents']:,} documents, {result['queries']:,} queries.",
            "",
            "| system | nDCG@10 | R@1 | R@5 | R@10 | MRR |",
            "|---|---|---|---|---|---|",
        ]
        for system, row in result["systems"].items():
            lines.append(f"| {system} | " + " | ".join(f"{row[c]:.3f}" for c in COLUMNS) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
