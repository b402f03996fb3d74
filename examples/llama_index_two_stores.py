"""Pictures with vectors of one's own beside a store of texts, in one index. Runs offline.

    pip install "diptych[llama-index]"
    python examples/llama_index_two_stores.py

LlamaIndex's notebook for this (``docs/examples/multi_modal/multi_modal_retrieval``) embeds pictures
with CLIP in a loop, gives each ``ImageDocument`` its vector, puts texts and pictures into two Qdrant
collections with a ``VectorStoreIndex`` each, and asks the picture store with a ``VectorStoreQuery``.
``as_the_notebook`` does so over diptych's stores, whose pictures need no words. ``one_index`` is what
it becomes: pictures and texts in one index, and one question for both.

The model is LlamaIndex's own mock, which keeps what it was sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.schema import ImageDocument, ImageNode
from llama_index.core.vector_stores import VectorStoreQuery, VectorStoreQueryResult

from diptych import Image, ToyEncoder
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychVectorStore,
)
from material import lamp_in, mix
from recording import main, shown
from recording_llama_index import RecordingLLM

QUESTION = "What does the red lamp mean?"
ANSWER = "The water tank is empty."


def pictures_of(folder: Path, model: ToyEncoder) -> list[ImageDocument]:
    """Return the pictures of a folder, each with its vector and its path, without a word."""
    documents = []
    for path in sorted(folder.glob("*.png")):
        document = ImageDocument(image_path=str(path), metadata={"filepath": str(path)})
        document.embedding = model.encode_image([Image(path)])[0].tolist()
        documents.append(document)
    return documents


def retrieve_results_from_image_index(
    store: DiptychVectorStore, model: ToyEncoder, query: str
) -> VectorStoreQueryResult:
    """Ask a store of pictures with the vector of a text."""
    query_embedding = model.encode_query([query])[0].tolist()
    return store.query(
        VectorStoreQuery(query_embedding=query_embedding, similarity_top_k=2, mode="default")  # type: ignore[arg-type]
    )


def as_the_notebook(folder: Path, llm: RecordingLLM) -> dict[str, Any]:
    """Keep texts and pictures apart, and ask twice."""
    model = ToyEncoder()
    embed_model = DiptychMultiModalEmbedding(model)
    texts = SimpleDirectoryReader(str(folder), required_exts=[".txt"]).load_data()
    # Was: QdrantVectorStore(client=client, collection_name="wikipedia_text")
    text_store = DiptychVectorStore(embed_model=model)
    text_index = VectorStoreIndex.from_documents(
        texts,
        storage_context=StorageContext.from_defaults(vector_store=text_store),
        embed_model=embed_model,
    )
    # Was: QdrantVectorStore(client=client, collection_name="wikipedia_img")
    image_vector_store = DiptychVectorStore(embed_model=model)
    image_index = VectorStoreIndex.from_documents(
        pictures_of(folder, model),
        storage_context=StorageContext.from_defaults(vector_store=image_vector_store),
        embed_model=embed_model,
    )
    print(text_index.as_query_engine(llm=llm).query(QUESTION))
    result = retrieve_results_from_image_index(image_vector_store, model, "a red lamp")
    through_index = image_index.as_retriever(similarity_top_k=6).retrieve("a red lamp")
    return {
        "asked": [lamp_in(Path(n.metadata["filepath"]).read_bytes()) for n in result.nodes or ()],
        "similarities": [float(similarity) for similarity in result.similarities or ()],
        "through the index": [Path(n.metadata["filepath"]).name for n in through_index],
    }


def one_index(folder: Path, llm: RecordingLLM) -> list[str]:
    """Keep texts and pictures together, and ask once."""
    model = ToyEncoder()
    texts = SimpleDirectoryReader(str(folder), required_exts=[".txt"]).load_data()
    index = DiptychMultiModalIndex.from_documents(
        [*texts, *pictures_of(folder, model)], embed_model=model
    )
    engine = index.as_query_engine(llm=llm, similarity_top_k=5)
    response = engine.query(QUESTION)
    print(response)
    return [
        "picture" if isinstance(source.node, ImageNode) else source.node.get_content()
        for source in response.source_nodes
    ]


def run(folder: Path) -> dict[str, Any]:
    """Ask both ways."""
    material = mix(folder / "data_wiki")
    llm = RecordingLLM(ANSWER)
    apart = as_the_notebook(material, llm)
    together = one_index(material, llm)
    shown(llm.calls)
    return {"calls": llm.calls, "apart": apart, "together": together}


if __name__ == "__main__":
    main(run)
