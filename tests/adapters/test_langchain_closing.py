"""Stores and retrievers of LangChain: closed, used in ``with``, pickled and copied."""

import copy
import pickle

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from manual import RED, manual

from diptych import MultimodalIndex, MultimodalRetriever, ToyEncoder
from diptych.errors import ClosedError, InvalidArgument
from diptych.langchain import DiptychRetriever, DiptychVectorStore, create_multimodal_retriever_tool

COPIES = [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy]


def new_store(path):
    return DiptychVectorStore(ToyEncoder(), image_encoder=ToyEncoder(), path=path)


def contents(documents):
    return [(d.page_content, d.id, d.metadata) for d in documents]


class TestClosing:
    def test_store_closes_its_index_at_the_end_of_the_block(self, tmp_path):
        with new_store(tmp_path / "kb") as store:
            store.add_texts(["a red wall"], ids=["r"])
        store.close()
        for use in (
            lambda: store.similarity_search("red"),
            lambda: store.add_texts(["x"]),
            lambda: store.get_by_ids(["r"]),
            lambda: store.delete(["r"]),
            lambda: store.as_retriever().invoke("red"),
        ):
            with pytest.raises(ClosedError, match="has been closed"):
                use()
        assert (tmp_path / "kb" / "store.seal").exists()

    def test_block_that_fails_closes_too(self, tmp_path):
        with (
            pytest.raises(ZeroDivisionError, match="division"),
            new_store(tmp_path / "kb") as store,
        ):
            _ = 1 / 0
        with pytest.raises(ClosedError, match="has been closed"):
            store.add_texts(["x"])

    async def test_async_block(self, tmp_path):
        async with new_store(tmp_path / "kb") as store:
            await store.aadd_texts(["a red wall"], ids=["r"])
        with pytest.raises(ClosedError, match="has been closed"):
            await store.asimilarity_search("red")
        async with DiptychRetriever(index=new_store(tmp_path / "kb").index) as retriever:
            assert [d.id for d in await retriever.ainvoke("red")] == ["r"]
        with pytest.raises(ClosedError, match="has been closed"):
            await retriever.ainvoke("red")

    def test_retriever_and_tool(self, index):
        with DiptychRetriever(index=index) as retriever:
            tool = create_multimodal_retriever_tool(retriever, "look", "Looks.")
            assert tool.invoke({"query": "red"})
        retriever.close()
        with pytest.raises(ClosedError, match="has been closed"):
            retriever.invoke("red")

    def test_cell_that_is_run_twice(self, tmp_path):
        kept = []
        for _ in range(3):
            store = new_store(tmp_path / "kb")
            store.add_texts(["a red wall"], ids=["r"])
            kept.append(store)
        kept[0].add_texts(["the blue sea"], ids=["b"])
        kept[1].close()
        assert [len(s.index) for s in (kept[0], kept[2])] == [2, 2]

    def test_store_index_and_retriever_over_one_folder(self, tmp_path):
        store, index = new_store(tmp_path / "kb"), MultimodalIndex(
            ToyEncoder(), ToyEncoder(), path=tmp_path / "kb"
        )  # fmt: skip
        store.add_texts(["a red wall"], ids=["r"])
        index.add(manual(tmp_path))
        store.delete(["pump"])
        found = DiptychRetriever(index=index, k=9).invoke("red")
        assert {d.id for d in found} >= {"r"}
        assert "pump" not in index
        assert len(store.index) == len(index) == 5


class TestCopies:
    @pytest.mark.parametrize("copied", COPIES)
    def test_store_in_a_folder(self, tmp_path, copied):
        store = new_store(tmp_path / "kb")
        (tmp_path / "red.png").write_bytes(RED)
        store.add_images([str(tmp_path / "red.png")], ids=["p"])
        store.add_texts(["a red wall", "the blue sea"], [{"n": 1}, {"n": 2}], ids=["r", "b"])
        _ = store.embeddings
        again = copied(store)
        assert contents(again.similarity_search("red")) == contents(store.similarity_search("red"))
        again.add_texts(["more"], ids=["m"])
        assert store.get_by_ids(["m"])[0].page_content == "more"
        assert again.embeddings.embed_query("red") == store.embeddings.embed_query("red")

    @pytest.mark.parametrize("copied", COPIES)
    def test_store_with_embeddings_of_langchain(self, tmp_path, copied):
        store = DiptychVectorStore(
            DeterministicFakeEmbedding(size=32), path=tmp_path / "kb", namespace="a", kind="ivf",
            lock_timeout=2, mode="text",
        )  # fmt: skip
        store.add_texts(["a red wall"], ids=["r"])
        again = copied(store)
        assert contents(again.similarity_search("a red wall")) == [("a red wall", "r", {})]
        again.add_texts(["more"])
        assert len(store.index) == 2

    @pytest.mark.parametrize("copied", COPIES)
    def test_retrievers(self, tmp_path, copied):
        store = new_store(tmp_path / "kb")
        store.add_texts(["a red wall", "the blue sea"])
        for retriever in (
            DiptychRetriever(index=store.index, k=1, filter={"n": {"$exists": False}}),
            DiptychRetriever(retriever=MultimodalRetriever(index=store.index, depth=5), k=2),
            store.as_retriever(search_type="text", search_kwargs={"k": 1}),
        ):
            again = copied(retriever)
            assert type(again) is type(retriever)
            assert contents(again.invoke("red")) == contents(retriever.invoke("red"))
        again = copied(DiptychRetriever(index=store.index))
        assert again.retriever.index is again.index

    @pytest.mark.parametrize("copied", COPIES[:2])
    def test_memory_is_refused_in_words(self, index, copied):
        for one in (
            DiptychRetriever(index=index),
            DiptychVectorStore(index=index),
            DiptychVectorStore(index=index).as_retriever(),
        ):
            with pytest.raises(InvalidArgument, match=r"in memory cannot be pickled.*copy_index"):
                copied(one)
