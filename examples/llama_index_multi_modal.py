"""Multi-modal retrieval as LlamaIndex's notebooks do it, with one index. Runs offline.

    pip install "diptych[llama-index]"
    python examples/llama_index_multi_modal.py

The notebooks (``docs/examples/multi_modal/gpt4v_multi_modal_retrieval`` and its siblings of other
vendors) put the texts of a folder into one vector store and its pictures into another, index them with
``MultiModalVectorStoreIndex``, retrieve, plot, and ask a query engine, whose response names the texts
and the pictures that it used. Here one ``DiptychVectorStore`` is both stores; only the imports and the
constructors have changed. What comes back is one list by one score.

The model is LlamaIndex's own mock, which keeps what it was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core import PromptTemplate, SimpleDirectoryReader, StorageContext
from llama_index.core.schema import ImageNode, NodeWithScore

from diptych import ToyEncoder
from diptych.llama_index import DiptychMultiModalIndex, DiptychReader, DiptychVectorStore
from material import lamp_in, mix
from recording import main, shown
from recording_llama_index import RecordingLLM

QUESTION = "What does the red lamp mean?"
ANSWER = "The water tank is empty."
QA_TMPL = (
    "Context information is below.\n---\n{context_str}\n---\n"
    "Answer from the context and nothing else.\nQuery: {query_str}\nAnswer: "
)


def plot_images(image_paths: Sequence[str]) -> list[str]:
    """Open the files of pictures, as code that plots them does, and say what they show."""
    return [lamp_in(Path(path).read_bytes()) for path in image_paths]


def retrieved(nodes: Sequence[NodeWithScore]) -> dict[str, list[str]]:
    """Tell the pictures from the texts, pictures by the file that the metadata names."""
    pictures = [n.node.metadata["file_path"] for n in nodes if isinstance(n.node, ImageNode)]
    texts = [n.node.get_content() for n in nodes if not isinstance(n.node, ImageNode)]
    return {"pictures": plot_images(pictures), "texts": texts}


def run(folder: Path) -> dict[str, Any]:
    """Do what the notebooks do."""
    material = mix(folder / "mixed_wiki")
    # Were: two QdrantVectorStore(client=client, collection_name=…)
    store = DiptychVectorStore(embed_model=ToyEncoder(), path=folder / "mm_db")
    storage_context = StorageContext.from_defaults(vector_store=store, image_store=store)
    # The notebooks have llama-index-readers-file read the pictures.
    documents = SimpleDirectoryReader(
        str(material), file_extractor={".png": DiptychReader()}
    ).load_data()
    # Was: MultiModalVectorStoreIndex.from_documents(…)
    index = DiptychMultiModalIndex.from_documents(
        documents, storage_context=storage_context, image_embed_model=ToyEncoder()
    )

    # One list of texts and pictures, so as many as the notebook's two lists have together.
    retriever_engine = index.as_retriever(similarity_top_k=5, image_similarity_top_k=3)
    found = {
        "both": retriever_engine.retrieve(QUESTION),
        "texts": retriever_engine.text_retrieve(QUESTION),
        "pictures": retriever_engine.text_to_image_retrieve("a red lamp"),
        "like a picture": retriever_engine.image_to_image_retrieve(str(material / "1.png")),
    }

    llm = RecordingLLM(ANSWER)
    query_engine = index.as_query_engine(
        llm=llm, text_qa_template=PromptTemplate(QA_TMPL), similarity_top_k=5
    )
    response = query_engine.query(QUESTION)
    print(response)
    metadata = response.metadata or {}
    used = {
        "texts": [node.node.get_content() for node in metadata["text_nodes"]],
        "pictures": plot_images([n.node.metadata["file_path"] for n in metadata["image_nodes"]]),
        "paths": plot_images([node.node.image_path for node in metadata["image_nodes"]]),
    }
    shown(llm.calls)
    return {
        "calls": llm.calls,
        "found": {title: retrieved(nodes) for title, nodes in found.items()},
        "used": used,
    }


if __name__ == "__main__":
    main(run)
