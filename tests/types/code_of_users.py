"""Code as users write it, which type checkers have to accept without a cast; it is not run."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import VectorStore
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import QueryBundle, TextNode
from numpy.typing import NDArray
from PIL import Image as Picture

from diptych import (
    Document,
    FunctionEncoder,
    FusedDocument,
    Image,
    MultimodalIndex,
    MultimodalRetriever,
    Query,
    Results,
    ToyEncoder,
)
from diptych import langchain as for_langchain
from diptych import llama_index as for_llama_index


class Mine:
    """An encoder with properties, and with names of arguments of its own."""

    @property
    def dim(self) -> int:
        return 8

    @property
    def space(self) -> str:
        return "mine"

    fingerprint = "mine-1"

    def encode_query(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(sentences), 8), dtype=np.float32)

    def encode_document(self, passages: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(passages), 8), dtype=np.float32)

    def encode_image(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        return np.ones((len(pictures), 8), dtype=np.float32)


class Backwards:
    """A reranker."""

    def rerank(self, query: Query, found: Sequence[FusedDocument]) -> list[FusedDocument]:
        return list(reversed(found))


def pictures() -> list[Document]:
    array = np.zeros((8, 8, 3), dtype=np.uint8)
    opened = Picture.new("RGB", (8, 8))
    return [
        Document("a path", "a.png"),
        Document("a path", Path("a.png")),
        Document("bytes", b"...", metadata={"n": 1}),
        Document("a file", io.BytesIO(b"...")),
        Document("PIL", opened, "id", group="g", order=1),
        Document("numpy", array),
        Document(image=Image("a.png")),
    ]


def core() -> Results[FusedDocument] | None:
    index = MultimodalIndex(Mine(), Mine())
    index.add(pictures())
    MultimodalIndex(FunctionEncoder(lambda texts: [[1.0, 2.0] for _ in texts]))
    retriever = MultimodalRetriever(index=index, reranker=Backwards())
    found = retriever.retrieve(Query("a", Picture.new("L", (8, 8)), weights={"text": 2}), top_k=3)
    words: str = found[0].text
    seen: list[Image] = [image for one in found for image in one.images]
    assert words or seen
    return found if isinstance(found, Results) else None


def with_langchain(index: MultimodalIndex) -> list[LangChainDocument]:
    store: VectorStore = for_langchain.DiptychVectorStore(index=index)
    plain: BaseRetriever = for_langchain.DiptychRetriever(index=index, k=2)
    chain = {
        "context": plain,
        "question": RunnablePassthrough(),
    } | for_langchain.multimodal_prompt()
    chain.invoke("a question")
    ours = for_langchain.DiptychVectorStore(ToyEncoder(), path="kb", namespace="a")
    ours.add_images(uris=["a.png"], metadatas=[{"n": 1}], ids=["a"])
    ours.add_images([Path("a.png"), b"..."], texts=["a", None])
    ours.similarity_search("a", k=2, filter={"n": {"$gt": 1}})
    ours.similarity_search("a", filter=lambda document: document.metadata["n"] > 1)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 2})
    blocks = for_langchain.to_content_blocks(plain.invoke("a"), max_images=2)
    assert blocks
    return retriever.invoke("a")


def with_llama_index(index: MultimodalIndex) -> str:
    store = for_llama_index.DiptychVectorStore(embed_model=ToyEncoder(), image_encoder=ToyEncoder())
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex([TextNode(text="a")], storage_context=context)
    ours = for_llama_index.DiptychMultiModalIndex(embed_model=ToyEncoder(), path="kb")
    retriever = ours.as_retriever(similarity_top_k=2, modalities=["text"])
    fusion = QueryFusionRetriever([retriever, for_llama_index.DiptychRetriever(index)])
    RetrieverQueryEngine.from_args(fusion, multimodal=True)
    retriever.retrieve(QueryBundle("a", image_path="a.png"))
    return str(ours.as_query_engine().image_query("a.png", "What is it?"))
