"""From a picture to pictures like it, and a question about them. Runs offline.

    pip install "diptych[llama-index]"
    python examples/llama_index_image_to_image.py

As LlamaIndex's notebook does it (``docs/examples/multi_modal/image_to_image_retrieval``): the index is
asked with the path of a picture, the pictures that come back go to a model beside the first one, and
``image_query`` of the query engine does both, with an ``image_qa_template``. Only the imports and the
constructors have changed. ``image_query`` works in a process that has asked nothing before.

The model is LlamaIndex's own mock, which keeps what it was sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core import PromptTemplate, SimpleDirectoryReader, StorageContext
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.schema import ImageDocument, ImageNode

from diptych import ToyEncoder
from diptych.llama_index import DiptychMultiModalIndex, DiptychReader, DiptychVectorStore
from material import lamp_in, mix
from recording import main, shown
from recording_llama_index import RecordingLLM

ANSWER = "They show the same lamp."
QA_TMPL = "Given the images provided, answer the query.\nQuery: {query_str}\nAnswer: "
QUESTION = "What do these pictures have in common?"


def as_message(documents: list[ImageDocument], prompt: str) -> ChatMessage:
    """Return a message of pictures and words, as model classes that take documents make it."""
    pictures = [ImageBlock(path=Path(str(document.image_path))) for document in documents]
    return ChatMessage(role="user", blocks=[*pictures, TextBlock(text=prompt)])


def run(folder: Path) -> dict[str, Any]:
    """Do what the notebook does."""
    material = mix(folder / "mixed_wiki")
    # Were: two QdrantVectorStore(client=client, collection_name=…)
    store = DiptychVectorStore(embed_model=ToyEncoder(), image_encoder=ToyEncoder())
    storage_context = StorageContext.from_defaults(vector_store=store, image_store=store)
    documents = SimpleDirectoryReader(
        str(material), file_extractor={".png": DiptychReader()}
    ).load_data()
    # Was: MultiModalVectorStoreIndex.from_documents(…)
    index = DiptychMultiModalIndex.from_documents(documents, storage_context=storage_context)
    input_image = str(material / "2.png")
    llm = RecordingLLM(ANSWER)

    query_engine = index.as_query_engine(
        llm=llm,
        image_qa_template=PromptTemplate(QA_TMPL),
        similarity_top_k=2,
        image_similarity_top_k=2,
    )
    response = query_engine.image_query(input_image, QUESTION)
    print(response)

    retriever_engine = index.as_retriever(image_similarity_top_k=4)
    retrieval_results = retriever_engine.image_to_image_retrieve(input_image)
    retrieved_images = [res.node.metadata["file_path"] for res in retrieval_results]
    image_documents = [ImageDocument(image_path=input_image)]
    # The first is the picture itself.
    image_documents += [ImageDocument(image_path=path) for path in retrieved_images[1:]]
    print(llm.chat([as_message(image_documents, "What do the other images show?")]).message.content)

    shown(llm.calls)
    return {
        "calls": llm.calls,
        "retrieved": [lamp_in(Path(path).read_bytes()) for path in retrieved_images],
        "first": Path(retrieved_images[0]).name,
        "used": [
            lamp_in(Path(source.node.metadata["file_path"]).read_bytes())
            for source in (response.metadata or {})["image_nodes"]
            if isinstance(source.node, ImageNode)
        ],
    }


if __name__ == "__main__":
    main(run)
