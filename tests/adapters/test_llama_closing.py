"""Stores, retrievers and indexes of LlamaIndex: closed, used in ``with``, pickled and copied."""

import copy
import pickle

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.schema import Document, TextNode

from diptych import MultimodalIndex, ToyEncoder
from diptych.errors import ClosedError, InvalidArgument
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychRetriever,
    DiptychVectorStore,
)

COPIES = [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy]
NODES = [TextNode(text="a red wall", id_="r"), TextNode(text="the blue sea", id_="b")]


def new_store(path, **options):
    return DiptychVectorStore(
        embed_model=ToyEncoder(), image_encoder=ToyEncoder(), path=path, **options
    )


def found(nodes):
    return [(n.node_id, n.text, pytest.approx(n.score)) for n in nodes]


class TestClosing:
    def test_store(self, tmp_path):
        with new_store(tmp_path / "kb") as store:
            store.add(NODES)
        store.close()
        for use in (lambda: store.add(NODES), store.get_nodes, store.clear):
            with pytest.raises(ClosedError, match="has been closed"):
                use()

    def test_retriever(self, tmp_path):
        store = new_store(tmp_path / "kb")
        store.add(NODES)
        with DiptychRetriever(store.index) as retriever:
            assert retriever.retrieve("red")
        with pytest.raises(ClosedError, match="has been closed"):
            retriever.retrieve("red")

    def test_index(self, tmp_path):
        documents = [Document(text="a red wall", id_="d")]
        with DiptychMultiModalIndex.from_documents(
            documents, embed_model=ToyEncoder(), path=tmp_path / "kb"
        ) as index:
            assert index.as_retriever().retrieve("red")
        index.close()
        with pytest.raises(ClosedError, match="has been closed"):
            index.as_retriever().retrieve("red")

    async def test_async_block(self, tmp_path):
        async with new_store(tmp_path / "kb") as store:
            await store.async_add(NODES)
        with pytest.raises(ClosedError, match="has been closed"):
            await store.aget_nodes()

    def test_store_without_an_index_yet(self):
        with DiptychVectorStore() as store:
            assert store.client is None

    def test_frameworks_and_the_plain_index_over_one_folder(self, tmp_path):
        plain = MultimodalIndex(ToyEncoder(), ToyEncoder(), path=tmp_path / "kb")
        store = new_store(tmp_path / "kb")
        index = DiptychMultiModalIndex(embed_model=ToyEncoder(), image_embed_model=ToyEncoder(),
                                       path=tmp_path / "kb")  # fmt: skip
        store.add(NODES)
        index.insert(Document(text="green grass", id_="g"))
        plain.delete(["r"])
        for one in (plain, store.index, index.vector_store.index):
            assert len(one) == 2
            assert "b" in one


class TestCopies:
    @pytest.mark.parametrize("copied", COPIES)
    def test_store_in_a_folder(self, tmp_path, copied, caplog):
        store = new_store(tmp_path / "kb", namespace="a", kind="hnsw", lock_timeout=2)
        store.add(NODES)
        again = copied(store)
        assert again.index.path == store.index.path
        assert [n.node_id for n in again.get_nodes()] == ["r", "b"]
        again.add([TextNode(text="more", id_="m")])
        assert len(store.index) == 3
        assert not caplog.records

    @pytest.mark.parametrize("copied", COPIES)
    def test_store_with_an_embedding_of_llama_index(self, tmp_path, copied):
        store = DiptychVectorStore(embed_model=MockEmbedding(embed_dim=8), path=tmp_path / "kb")
        store.add(NODES)
        again = copied(store)
        assert again.index.text_encoder.space == store.index.text_encoder.space
        assert [n.node_id for n in again.get_nodes()] == ["r", "b"]

    @pytest.mark.parametrize("copied", COPIES)
    def test_store_over_given_vectors(self, tmp_path, copied):
        store = DiptychVectorStore(path=tmp_path / "kb")
        assert copied(store).client is None
        store.add([TextNode(text="x", id_="x", embedding=[1.0, 0.0])])
        again = copied(store)
        again.add([TextNode(text="y", id_="y", embedding=[0.0, 1.0])])
        assert [n.node_id for n in store.get_nodes()] == ["x", "y"]

    @pytest.mark.parametrize("copied", COPIES)
    def test_retriever_embedding_and_indexes(self, tmp_path, copied):
        store = new_store(tmp_path / "kb")
        store.add(NODES)
        retriever = DiptychRetriever(store.index, similarity_top_k=1, weights={"lexical": 0.5})
        assert found(copied(retriever).retrieve("red")) == found(retriever.retrieve("red"))
        embedding = DiptychMultiModalEmbedding(ToyEncoder(), ToyEncoder())
        again = copied(embedding)
        assert again.get_query_embedding("red") == embedding.get_query_embedding("red")
        plain = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
        expected = found(plain.as_retriever().retrieve("red"))
        assert found(copied(plain).as_retriever().retrieve("red")) == expected

    @pytest.mark.parametrize("copied", COPIES)
    def test_multi_modal_index(self, tmp_path, copied):
        index = DiptychMultiModalIndex.from_documents(
            [Document(text="a red wall", id_="d")], embed_model=ToyEncoder(), path=tmp_path / "kb"
        )
        again = copied(index)
        assert type(again) is DiptychMultiModalIndex
        assert found(again.as_retriever().retrieve("red")) == found(
            index.as_retriever().retrieve("red")
        )
        again.insert(Document(text="more", id_="m"))
        assert len(index.vector_store.index) == 2
        assert again.vector_store.index is again.storage_context.vector_store.index

    @pytest.mark.parametrize("copied", COPIES[:2])
    def test_memory_is_refused_in_words(self, copied):
        store = new_store(None)
        index = DiptychMultiModalIndex(embed_model=ToyEncoder())
        for one in (store, DiptychRetriever(store.index), index):
            with pytest.raises(InvalidArgument, match=r"in memory cannot be pickled.*copy_index"):
                copied(one)
