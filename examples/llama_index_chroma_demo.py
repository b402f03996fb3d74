"""A mixed folder behind LlamaIndex's plain ``VectorStoreIndex``, with another store. Runs offline.

    pip install "diptych[llama-index]"
    python examples/llama_index_chroma_demo.py

LlamaIndex's notebook (``docs/examples/multi_modal/ChromaMultiModalDemo``) fills a Chroma collection
through ``VectorStoreIndex.from_documents``, texts and pictures alike, and goes through the nodes that
``as_retriever(similarity_top_k=50)`` returns, showing texts and opening pictures by their path. With
diptych's store in place of Chroma's every document comes back, pictures without words too. One
argument is new: without ``store_nodes_override=True`` LlamaIndex's index asks any store that keeps
texts, Chroma's as well, for its pictures alone once it has some.

The model is LlamaIndex's own mock, which keeps what it was sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.schema import ImageNode

from diptych import ToyEncoder
from diptych.llama_index import DiptychMultiModalEmbedding, DiptychReader, DiptychVectorStore
from material import lamp_in, mix
from recording import main, shown
from recording_llama_index import RecordingLLM

QUESTION = "What does the red lamp mean?"
ANSWER = "The water tank is empty."


def run(folder: Path) -> dict[str, Any]:
    """Do what the notebook does, and ask."""
    material = mix(folder / "mixed_wiki")
    embedding_function = ToyEncoder()
    documents = SimpleDirectoryReader(
        str(material), file_extractor={".png": DiptychReader()}
    ).load_data()
    # Was: ChromaVectorStore(chroma_collection=chroma_client.create_collection(…))
    vector_store = DiptychVectorStore(
        embed_model=embedding_function, image_encoder=embedding_function
    )
    storage_context = StorageContext.from_defaults(vector_store=vector_store)
    index = VectorStoreIndex.from_documents(
        documents,
        storage_context=storage_context,
        embed_model=DiptychMultiModalEmbedding(embedding_function),
        store_nodes_override=True,
    )

    retriever = index.as_retriever(similarity_top_k=50)
    retrieval_results = retriever.retrieve(QUESTION)
    image_results, text_results = [], []
    for result in retrieval_results:
        if isinstance(result.node, ImageNode):
            image_results.append(lamp_in(Path(str(result.node.image_path)).read_bytes()))
        else:
            text_results.append(result.node.get_content())
    print(f"{len(text_results)} texts, {len(image_results)} pictures")

    llm = RecordingLLM(ANSWER)
    print(index.as_query_engine(llm=llm, similarity_top_k=4, multimodal=True).query(QUESTION))
    shown(llm.calls)
    return {"calls": llm.calls, "texts": text_results, "pictures": image_results}


if __name__ == "__main__":
    main(run)
