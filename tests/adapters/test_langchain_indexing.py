"""LangChain's indexing API, which loads, updates and cleans up a store."""

import math

import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from diptych.langchain import DiptychVectorStore


@pytest.fixture
def store():
    return DiptychVectorStore(DeterministicFakeEmbedding(size=5))


@pytest.fixture
def records():
    manager = InMemoryRecordManager(namespace="test")
    manager.create_schema()
    return manager


def page(text, source="1"):
    return Document(text, metadata={"source": source})


async def run(asynchronous, documents, records, store, **options):
    options = {"key_encoder": "sha256", "source_id_key": "source", **options}
    if asynchronous:
        return await aindex(documents, records, store, **options)
    return index(documents, records, store, **options)


def counts(added=0, updated=0, skipped=0, deleted=0):
    return {
        "num_added": added,
        "num_updated": updated,
        "num_skipped": skipped,
        "num_deleted": deleted,
    }


@pytest.mark.parametrize("asynchronous", [False, True])
class TestIndexing:
    async def test_unchanged_documents_are_skipped(self, asynchronous, records, store):
        documents = [page("one"), page("two", "2")]
        assert await run(asynchronous, documents, records, store) == counts(added=2)
        assert await run(asynchronous, documents, records, store) == counts(skipped=2)

    async def test_incremental_cleanup_replaces_what_changed(self, asynchronous, records, store):
        options = {"cleanup": "incremental"}
        await run(asynchronous, [page("one"), page("two", "2")], records, store, **options)
        result = await run(asynchronous, [page("changed")], records, store, **options)
        assert result == counts(added=1, deleted=1)
        assert {d.text for d in store.index.get()} == {"changed", "two"}

    @pytest.mark.parametrize("cleanup", ["full", "scoped_full"])
    async def test_full_cleanup_removes_what_is_gone(self, asynchronous, records, store, cleanup):
        await run(asynchronous, [page("one"), page("two")], records, store, cleanup=cleanup)
        result = await run(asynchronous, [page("two")], records, store, cleanup=cleanup)
        assert result == counts(skipped=1, deleted=1)
        assert [d.text for d in store.index.get()] == ["two"]

    async def test_an_empty_source_with_full_cleanup_empties_the_store(
        self, asynchronous, records, store
    ):
        await run(asynchronous, [page("one")], records, store, cleanup="full")
        assert await run(asynchronous, [], records, store, cleanup="full") == counts(deleted=1)
        assert len(store.index) == 0

    async def test_forced_updates_and_small_batches(self, asynchronous, records, store):
        documents = [page(str(i)) for i in range(5)]
        await run(asynchronous, documents, records, store, batch_size=2)
        result = await run(asynchronous, documents, records, store, batch_size=2, force_update=True)
        assert result == counts(updated=5)
        assert len(store.index) == 5

    async def test_duplicates_are_stored_once(self, asynchronous, records, store):
        result = await run(asynchronous, [page("one"), page("one")], records, store)
        assert result == counts(added=1, skipped=1)

    async def test_loaders_and_ids_that_are_hashes(self, asynchronous, records, store):
        class Loader(BaseLoader):
            def lazy_load(self):
                yield page("one")

        await run(asynchronous, Loader(), records, store)
        (identity,) = store.index.ids()
        assert len(identity) == 64
        (found,) = store.get_by_ids([identity])
        assert found == Document("one", metadata={"source": "1"}, id=identity)

    async def test_a_picture_replaced_behind_its_path_is_a_change(
        self, asynchronous, records, store, tmp_path
    ):
        from manual import BLUE, RED

        from diptych import Image

        path = tmp_path / "figure.png"
        results = []
        for content in (RED, RED, BLUE):
            path.write_bytes(content)
            metadata = {"source": "1", "image_sha256": Image(path).sha256}
            document = Document("a figure", metadata=metadata)
            result = await run(asynchronous, [document], records, store, cleanup="incremental")
            results.append(result)
        assert results == [counts(added=1), counts(skipped=1), counts(added=1, deleted=1)]


def some_are_bad():
    """Return three pages that are good, and one between them of each kind that is not."""
    nan, long, nul = {"x": math.nan}, {"x": "y" * 300_000}, {"_diptych.x": 1}
    return [
        page("one"),
        page(" \n"),
        Document("not JSON for long", metadata={"source": "1", **nan}),
        page("nan"),
        page("two", "2"),
        Document("too much", metadata={"source": "2", **long}),
        page("zero", "2"),
        Document("", metadata={"source": "2", "image_path": "https://x.org/a.png"}),
        page("raise", "3"),
        Document("three", metadata={"source": "3", **nul}),
    ]


class Moody(DeterministicFakeEmbedding):
    """Makes no vector that can be compared, or none at all, of some texts."""

    def embed_documents(self, texts):
        if "raise" in texts:
            raise ValueError("an input was refused")
        made = super().embed_documents(texts)
        bad = {"nan": [math.nan] * 5, "zero": [0.0] * 5}
        return [bad.get(text, vector) for text, vector in zip(texts, made, strict=True)]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("cleanup", [None, "incremental", "full", "scoped_full"])
@pytest.mark.parametrize("asynchronous", [False, True])
class TestSomeAreBad:
    @pytest.fixture
    def store(self):
        return DiptychVectorStore(Moody(size=5))

    async def test_everything_good_is_stored_and_a_second_run_is_stable(
        self, asynchronous, cleanup, batch_size, records, store
    ):
        options = {"cleanup": cleanup, "batch_size": batch_size}
        documents = some_are_bad()
        # What LangChain counts for its own store, which takes everything.
        others = (
            InMemoryRecordManager(namespace="other"),
            InMemoryVectorStore(DeterministicFakeEmbedding(size=5)),
        )
        done = await run(asynchronous, documents, records, store, **options)
        for _ in range(2):
            expected = await run(asynchronous, documents, *others, **options)
            assert done == expected
            assert sorted(d.text for d in store.index.get()) == ["one", "three", "two"]
            done = await run(asynchronous, documents, records, store, **options)

    async def test_a_run_that_forces_updates_is_stable_too(
        self, asynchronous, cleanup, batch_size, records, store
    ):
        options = {"cleanup": cleanup, "batch_size": batch_size, "force_update": True}
        for _ in range(2):
            await run(asynchronous, some_are_bad(), records, store, **options)
            assert sorted(d.text for d in store.index.get()) == ["one", "three", "two"]

    async def test_cleanup_removes_what_is_gone_and_nothing_else(
        self, asynchronous, cleanup, batch_size, records, store
    ):
        options = {"cleanup": cleanup, "batch_size": batch_size}
        await run(asynchronous, some_are_bad(), records, store, **options)
        left = some_are_bad()[1:]
        await run(asynchronous, left, records, store, **options)
        gone = ["one"] if cleanup is None else []
        assert sorted(d.text for d in store.index.get()) == [*gone, "three", "two"]
