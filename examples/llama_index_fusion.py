"""diptych's retrievers as arms of LlamaIndex's ``QueryFusionRetriever``. Runs offline.

    pip install "diptych[llama-index]"
    python examples/llama_index_fusion.py

As LlamaIndex's notebooks do it (``docs/examples/retrievers/reciprocal_rerank_fusion`` and
``simple_fusion``): one index searched in two ways, or two indexes, each question in several wordings,
fused by rank or by score, behind a query engine. The arm of words, BM25 in the notebook, is the same
index asked for its words alone; it needs no second package, and no second copy.

The model is LlamaIndex's own mock, which rewords as it is told to and keeps what it was sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import ImageNode, NodeWithScore

from diptych import ToyEncoder
from diptych.llama_index import DiptychMultiModalIndex, DiptychReader
from material import mix
from recording import main, shown
from recording_llama_index import RecordingLLM

QUESTION = "What does the red lamp mean?"
WORDINGS = ("Why is the red light on?", "red lamp meaning", "Which lamp is red?")
ANSWER = "The water tank is empty."


def titles(nodes: list[NodeWithScore]) -> list[str]:
    """Name what was found."""
    return [
        Path(n.node.metadata["file_path"]).name if isinstance(n.node, ImageNode) else n.text
        for n in nodes
    ]


def reciprocal_rerank(
    index: DiptychMultiModalIndex, llm: RecordingLLM, mode: FUSION_MODES
) -> QueryFusionRetriever:
    """Fuse a search by meaning and one by words over one index."""
    vector_retriever = index.as_retriever(similarity_top_k=9)
    bm25_retriever = index.as_retriever(similarity_top_k=9, modalities=("lexical",))
    return QueryFusionRetriever(
        [vector_retriever, bm25_retriever],
        llm=llm,
        similarity_top_k=9,
        num_queries=4,  # the question and three wordings
        mode=mode,
        use_async=False,
        verbose=False,
    )


def run(folder: Path) -> dict[str, Any]:
    """Fuse in every mode, over one index and over two."""
    material = mix(folder / "manual")
    documents = SimpleDirectoryReader(
        str(material), file_extractor={".png": DiptychReader()}
    ).load_data()
    index = DiptychMultiModalIndex.from_documents(documents, embed_model=ToyEncoder())
    rewording = RecordingLLM("\n".join(WORDINGS))
    found = {
        mode.value: titles(reciprocal_rerank(index, rewording, mode).retrieve(QUESTION))
        for mode in FUSION_MODES
    }

    pictures = [d for d in documents if d.metadata["file_path"].endswith(".png")]
    texts = [d for d in documents if d not in pictures]
    index_1 = DiptychMultiModalIndex.from_documents(texts, embed_model=ToyEncoder())
    index_2 = DiptychMultiModalIndex.from_documents(pictures, embed_model=ToyEncoder())
    simple = QueryFusionRetriever(
        [index_1.as_retriever(), index_2.as_retriever()],
        llm=rewording,
        similarity_top_k=4,
        num_queries=4,
        use_async=False,
        verbose=False,
    )
    found["two indexes"] = titles(simple.retrieve(QUESTION))

    llm = RecordingLLM(ANSWER)
    fused = reciprocal_rerank(index, rewording, FUSION_MODES.RECIPROCAL_RANK)
    fused.similarity_top_k = 5
    query_engine = RetrieverQueryEngine.from_args(fused, llm=llm, multimodal=True)
    print(query_engine.query(QUESTION))
    shown(llm.calls)
    return {"calls": llm.calls, "found": found, "rewordings": len(rewording.calls)}


if __name__ == "__main__":
    main(run)
