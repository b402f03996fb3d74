"""What a query costs beside FAISS alone, in CPU time: a search, a filter, a retrieval.

    python benchmarks/query/run.py --documents 10000 --out benchmarks/query/results.json

Vectors are random: what is measured is everything but the encoder. CPU time of all threads, the median of
``--repeat`` calls, and as a ratio to ``faiss.IndexFlatIP.search`` of the same vectors in the same run. The
threads of BLAS and OpenMP are left as they are, but for FAISS alone, which searches on one.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np

from diptych import Document, MultimodalIndex, MultimodalRetriever


class Random:
    """Unit vectors without meaning, at once."""

    def __init__(self, dim: int) -> None:
        self.dim, self.space, self.fingerprint = dim, "random", "random"
        self._made = np.random.default_rng(7)

    def encode_document(self, texts: Sequence[str]) -> np.ndarray:
        """Return any unit rows."""
        rows = self._made.standard_normal((len(texts), self.dim)).astype(np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    encode_query = encode_document


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    words = [f"word{n}" for n in range(500)]
    encoder = Random(options.dim)
    index = MultimodalIndex(encoder)
    index.add(
        (
            Document(
                f"pump {' '.join(rng.choice(words, 12))}",
                id=str(n),
                metadata={"half": n % 2, "n": n},
            )
            for n in range(options.documents)
        ),
        batch_size=2_000,
    )
    flat = faiss.IndexFlatIP(options.dim)
    flat.add(encoder.encode_document([""] * options.documents))
    row = encoder.encode_query([""])
    threads = faiss.omp_get_max_threads()
    retriever = MultimodalRetriever.from_index(index)
    calls: dict[str, Callable[[], object]] = {
        "faiss.IndexFlatIP.search": lambda: one_thread(lambda: flat.search(row, 100), threads),
        "text_index.search": lambda: index.text_index.search(row, 100),
        "search": lambda: index.search("pump word7", 100),
        "search, half admitted": lambda: index.search("pump word7", 100, where={"half": 1}),
        "search, one admitted": lambda: index.search("pump word7", 100, where={"n": 7}),
        "retrieve": lambda: retriever.retrieve("pump word7"),
        "retrieve, half admitted": lambda: retriever.retrieve("pump word7", where={"half": 1}),
    }
    spent = {name: cpu(call, options.repeat) for name, call in calls.items()}
    base = spent["faiss.IndexFlatIP.search"]
    results = {
        "documents": options.documents,
        "dim": options.dim,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "faiss": faiss.__version__,
        "numpy": np.__version__,
        "cpu_ms": {name: round(value * 1e3, 2) for name, value in spent.items()},
        "ratio": {name: round(value / base, 1) for name, value in spent.items()},
    }
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, value in spent.items():
        print(f"{name:28} {value * 1e3:8.2f} ms CPU  {value / base:6.1f} x")


def one_thread(call: Callable[[], object], threads: int) -> None:
    """Call with one thread of OpenMP, which is the cheapest way to search with one query."""
    faiss.omp_set_num_threads(1)
    call()
    faiss.omp_set_num_threads(threads)


def cpu(call: Callable[[], object], repeat: int) -> float:
    """Return the median CPU time of a call, in seconds, over all threads."""
    call()
    spent = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
