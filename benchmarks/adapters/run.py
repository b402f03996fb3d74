"""What the adapters add to a query of diptych's own retriever, in microseconds.

    python benchmarks/adapters/run.py

The answer of the core is prepared once and given to the adapter in place of a search, so what is
timed is the adapter alone: the framework's own calls around it, the translation of the query, and
ten documents or nodes made of the answer. All are timed in turns, in one process, and compared with a
retriever of the framework that does nothing, and with making ten of its documents or nodes. Writes
``results.json`` and ``results.md`` beside this file.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever as LangChainBase
from llama_index.core.base.base_retriever import BaseRetriever as LlamaIndexBase
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from PIL import Image as Pil

from diptych import Document, Image, MultimodalIndex, MultimodalRetriever, ToyEncoder
from diptych.langchain import DiptychRetriever as LangChainRetriever
from diptych.langchain import DiptychVectorStore
from diptych.llama_index import DiptychRetriever as LlamaIndexRetriever

HERE = Path(__file__).parent
K, DOCUMENTS, ROUNDS, CALLS = 10, 1_000, 60, 10
TARGETS = {"LangChain": 80, "LlamaIndex": 250}
QUERY = "a red pump moves water"


class IdleLangChain(LangChainBase):
    """Finds nothing."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
        return []


class IdleLlamaIndex(LlamaIndexBase):
    """Finds nothing."""

    def _retrieve(self, query_bundle: Any) -> list[Any]:
        return []


def corpus(*, pictures: bool) -> list[Document]:
    """Return documents of words, with a figure each when there are pictures."""
    rng = np.random.default_rng(0)
    words = "red blue green pump valve hose water air oil moves closes opens a the".split()
    documents = []
    for at in range(DOCUMENTS):
        text = " ".join(rng.choice(words, 40))
        metadata = {"source": f"manual-{at % 20}.md", "page": at, "tags": ["a", "b"]}
        documents.append(Document(text, id=f"t{at}", group=f"g{at}", metadata=metadata))
        if pictures:
            buffer = io.BytesIO()
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            Pil.new("RGB", (24, 24), colour).save(buffer, "PNG")
            picture = Image(buffer.getvalue(), name=f"{at}.png")
            documents.append(Document(image=picture, id=f"p{at}", group=f"g{at}", order=1))
    return documents


def prepared(index: MultimodalIndex) -> MultimodalRetriever:
    """Return a retriever that gives the same answer at once, whatever it is asked."""
    retriever = MultimodalRetriever.from_index(index)
    answer = retriever.retrieve(QUERY, K)
    for image in (image for fused in answer for image in fused.images):
        _ = image.sha256, image.size  # as after the first time
    retriever.retrieve = lambda *_, **__: answer  # type: ignore[method-assign]
    return retriever


def contestants(index: MultimodalIndex) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    core = MultimodalRetriever.from_index(index)
    langchain = LangChainRetriever(retriever=prepared(index), k=K)
    store = DiptychVectorStore(index=index)
    store.retriever = prepared(index)
    from_store = store.as_retriever(search_kwargs={"k": K})
    llama = LlamaIndexRetriever(retriever=prepared(index), similarity_top_k=K)
    idle_langchain, idle_llama = IdleLangChain(), IdleLlamaIndex()
    answer = core.retrieve(QUERY, K)
    plain = [(one.id, one.text, one.metadata) for one in answer]
    kind = ImageNode if answer[0].images else TextNode
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return {
        "core, whole query": lambda: core.retrieve(QUERY, K),
        "LangChain: DiptychRetriever.invoke": lambda: langchain.invoke(QUERY),
        "LangChain: DiptychVectorStore.as_retriever().invoke": lambda: from_store.invoke(QUERY),
        "LangChain: DiptychRetriever.ainvoke": lambda: loop.run_until_complete(
            langchain.ainvoke(QUERY)
        ),
        "LangChain: a retriever that does nothing": lambda: idle_langchain.invoke(QUERY),
        "LangChain: ten plain documents": lambda: [
            LangChainDocument(page_content=text, metadata=dict(metadata), id=identity)
            for identity, text, metadata in plain
        ],
        "LlamaIndex: DiptychRetriever.retrieve": lambda: llama.retrieve(QUERY),
        "LlamaIndex: DiptychRetriever.aretrieve": lambda: loop.run_until_complete(
            llama.aretrieve(QUERY)
        ),
        "LlamaIndex: a retriever that does nothing": lambda: idle_llama.retrieve(QUERY),
        "LlamaIndex: ten plain nodes with scores": lambda: [
            NodeWithScore(node=kind(id_=identity, text=text, metadata=dict(metadata)), score=0.5)
            for identity, text, metadata in plain
        ],
    }


def measure(calls: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Time all in turns; return the medians of the quietest slice and of all, in microseconds.

    A slice is ``CALLS`` calls one after the other. What other processes take is in the median of all,
    and hardly in that of the quietest slice.
    """
    slices: dict[str, list[list[float]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times = []
            for _ in range(CALLS):
                start = time.perf_counter_ns()
                call()
                times.append((time.perf_counter_ns() - start) / 1000)
            slices[name].append(times)
    return {
        name: {
            "quietest": round(min(map(statistics.median, measured)), 1),
            "p50": round(statistics.median(value for times in measured for value in times), 1),
        }
        for name, measured in slices.items()
    }


def main() -> None:
    """Measure both corpora and write the table."""
    report: dict[str, Any] = {
        "k": K,
        "python": platform.python_version(),
        "machine": f"{platform.system()}, {os.cpu_count()} cores",
        "versions": {p: version(p) for p in ("langchain-core", "llama-index-core", "pydantic")},
        "microseconds": {},
    }
    for name, pictures in (("texts", False), ("texts with a figure each", True)):
        index = MultimodalIndex(ToyEncoder(), ToyEncoder())
        index.add(corpus(pictures=pictures))
        report["microseconds"][name] = measure(contestants(index))
    report["load"] = round(os.getloadavg()[0], 1)
    (HERE / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (HERE / "results.md").write_text(as_markdown(report))
    print(as_markdown(report))


def as_markdown(report: dict[str, Any]) -> str:
    """Return the table for people."""
    measured = report["microseconds"]
    names = list(next(iter(measured.values())))
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    targets = ", ".join(f"{name} {value} µs" for name, value in TARGETS.items())
    return "\n".join([
        "# What the adapters add to a query",
        "",
        "Made by `python benchmarks/adapters/run.py`: microseconds a call for ten documents, the "
        "median of the quietest of 60 slices of 10 calls (that of all calls). The answer of the core is "
        "prepared, except in the first row.",
        "",
        f"Python {report['python']}, {versions}; {report['machine']}, {report['load']} processes running or "
        "waiting to run at the end.",
        "",
        "| | " + " | ".join(measured) + " |",
        "|---|" + "---|" * len(measured),
        *(
            f"| {name} | "
            + " | ".join(f"{m[name]['quietest']:,.0f} ({m[name]['p50']:,.0f})" for m in measured.values())
            + " |"
            for name in names
        ),
        "",
        f"The targets are, above the core: {targets}. A retriever that does nothing and ten plain "
        "documents or nodes are what the framework itself takes; the rest is ours: the translation of "
        "the query, metadata with references and evidence, and the pictures that a document holds on to.",
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
