import base64
import json
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.load import dumps, loads
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from manual import BLUE, RED, run_beside
from PIL import Image as Pil

from diptych import Document as Stored
from diptych import FunctionEncoder, Image, MultimodalIndex, ToyEncoder
from diptych.errors import (
    DiptychError,
    FormatError,
    InvalidArgument,
    MediaError,
    VectorError,
)
from diptych.langchain import DiptychEmbeddings, DiptychVectorStore, RetrievedDocument
from diptych.langchain.search import diverse
from stubs import StubImage, StubText, png


def fake_store(size=6, **options):
    return DiptychVectorStore(DeterministicFakeEmbedding(size=size), **options)


def contents(documents):
    return [document.page_content for document in documents]


class TestInTheMannerOfTheInMemoryStore:
    """What langchain-core's own tests ask of its in-memory store."""

    TEXTS = ("foo", "bar", "baz", "fou", "foy")

    @pytest.fixture
    async def stores(self):
        embedding = DeterministicFakeEmbedding(size=6)
        return [
            await kind.afrom_texts(list(self.TEXTS), embedding)
            for kind in (DiptychVectorStore, InMemoryVectorStore)
        ]

    async def test_similarity_search_finds_the_same(self, stores):
        ours, theirs = stores
        (found,) = ours.similarity_search("foo", k=1)
        assert found == Document(page_content="foo", id=found.id)
        expected = contents(theirs.similarity_search("bar", k=4))
        assert contents(ours.similarity_search("bar", k=4)) == expected
        assert contents(await ours.asimilarity_search("bar", k=4)) == expected

    async def test_scores_are_the_same_cosines(self, stores):
        ours, theirs = stores
        expected = theirs.similarity_search_with_score("bar", k=5)
        for found in (
            ours.similarity_search_with_score("bar", k=5, mode="text"),
            await ours.asimilarity_search_with_score("bar", k=5, mode="text"),
        ):
            assert [d.page_content for d, _ in found] == [d.page_content for d, _ in expected]
            assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-6)

    async def test_mmr_chooses_the_same_and_k_may_exceed_the_number_of_documents(self, stores):
        ours, theirs = stores
        for lambda_mult in (0.1, 0.5, 0.9):
            for k in (2, 10):
                expected = theirs.max_marginal_relevance_search("qux", k, lambda_mult=lambda_mult)
                found = ours.max_marginal_relevance_search("qux", k, lambda_mult=lambda_mult)
                assert contents(found) == contents(expected)
                also = await ours.amax_marginal_relevance_search("qux", k, lambda_mult=lambda_mult)
                assert also == found

    async def test_adding_by_ids(self):
        store = fake_store()
        assert store.add_texts(["foo", "bar"], ids=["1", "2"]) == ["1", "2"]
        assert await store.aadd_texts(["foo", "bar"], ids=["3", "4"]) == ["3", "4"]
        assert store.index.ids() == ["1", "2", "3", "4"]

    async def test_filter_by_a_function(self):
        store = await DiptychVectorStore.afrom_texts(
            ["foo", "bar"], DeterministicFakeEmbedding(size=6), [{"id": 1}, {"id": 2}]
        )
        (found,) = store.similarity_search("fee", filter=lambda doc: doc.metadata["id"] == 1)
        assert found == Document(page_content="foo", metadata={"id": 1}, id=found.id)
        assert await store.asimilarity_search("baz", filter=lambda d: d.metadata["id"] == 3) == []

    async def test_update(self):
        store = fake_store(size=2)
        store.add_documents([Document(page_content="foo", id="1")])
        await store.aadd_documents([Document(page_content="bar", id="2")])
        changed = Document(page_content="baz", id="2", metadata={"metadata": "value"})
        await store.aadd_documents([changed])
        assert store.get_by_ids(["2"]) == [changed]
        baz = store.embeddings.embed_query("baz")
        assert store.index.text_index.vectors(["2"])[0] == pytest.approx(baz / np.linalg.norm(baz))

    async def test_get_by_ids_keeps_the_order_and_skips_what_is_missing(self):
        store = fake_store(size=3)
        documents = [
            Document(page_content=c, id=i, metadata={"m": i}) for c, i in ("a1", "b2", "c3")
        ]
        store.add_documents(documents)
        assert store.get_by_ids(["2", "1"]) == [documents[1], documents[0]]
        assert await store.aget_by_ids(["1", "5", "3"]) == [documents[0], documents[2]]

    async def test_the_asynchronous_methods_of_the_embeddings_are_awaited(self):
        model = DeterministicFakeEmbedding(size=3)
        embeddings = Mock(
            wraps=model,
            aembed_documents=AsyncMock(side_effect=model.embed_documents),
            aembed_query=AsyncMock(side_effect=model.embed_query),
        )
        store = DiptychVectorStore(embeddings)
        await store.aadd_texts(["foo", "bar"])
        calls = embeddings.embed_documents.call_count
        for search in (
            store.asimilarity_search,
            store.asimilarity_search_with_score,
            store.amax_marginal_relevance_search,
            store.asimilarity_search_with_relevance_scores,
        ):
            await search("foo", k=1)
        assert embeddings.aembed_documents.await_count == 1
        assert embeddings.aembed_query.await_count == 4
        assert embeddings.embed_query.call_count == 0
        assert embeddings.embed_documents.call_count == calls

    async def test_a_mock_that_embeds_nothing_is_replaced_by_the_synchronous_method(self):
        embeddings = Mock(
            wraps=DeterministicFakeEmbedding(size=3),
            aembed_documents=AsyncMock(),
            aembed_query=AsyncMock(),
        )
        store = DiptychVectorStore(embedding=embeddings)
        await store.aadd_texts("foo")
        assert contents(await store.asimilarity_search("f", k=1)) == ["f"]
        assert embeddings.aembed_documents.await_count == 1
        assert embeddings.aembed_query.await_count == 1


class TestAdding:
    def test_generators_are_read_once(self):
        store = fake_store()
        store.add_texts((t for t in ("foo", "bar")), [{"n": 1}, {"n": 2}])
        assert [(d.text, d.metadata) for d in store.index.get()] == [
            ("foo", {"n": 1}), ("bar", {"n": 2})
        ]  # fmt: skip

    @pytest.mark.parametrize("options", [{"metadatas": [{}]}, {"ids": ["1"]}])
    async def test_another_number_of_metadatas_or_ids_is_refused(self, options):
        store = fake_store()
        with pytest.raises(ValueError, match="1 (metadatas|ids) were given for 2 items"):
            store.add_texts(["foo", "bar"], **options)
        with pytest.raises(ValueError, match="1 (metadatas|ids) were given for 2 items"):
            await store.aadd_texts(["foo", "bar"], **options)
        assert len(store.index) == 0

    def test_ids_given_beat_those_of_the_documents_and_none_is_a_new_one(self):
        store = fake_store()
        documents = [Document(page_content="foo", id="own"), Document(page_content="bar", id="b")]
        first, second = store.add_documents(documents, ids=["given", None])
        assert first == "given"
        assert second not in ("b", None)
        assert [document.id for document in documents] == ["own", "b"]

    def test_of_two_documents_with_one_id_the_last_counts(self):
        store = fake_store()
        assert store.add_texts(["foo", "bar"], ids=["1", "1"]) == ["1", "1"]
        assert [d.text for d in store.index.get()] == ["bar"]

    def test_unknown_arguments_of_other_stores_are_accepted(self):
        store = fake_store()
        store.add_documents([Document(page_content="foo")], batch_size=1, vector_field="x")

    async def test_unchanged_texts_are_not_embedded_again(self):
        model = DeterministicFakeEmbedding(size=3)
        awaited = AsyncMock(side_effect=model.embed_documents)
        store = DiptychVectorStore(Mock(wraps=model, aembed_documents=awaited))
        await store.aadd_texts(["foo", "bar"], ids=["1", "2"])
        await store.aadd_texts(["foo", "new"], ids=["1", "2"])
        assert awaited.await_args_list[1].args == (["new"],)

    async def test_a_wrong_number_of_vectors_is_refused(self):
        model = DeterministicFakeEmbedding(size=3)
        awaited = AsyncMock(side_effect=lambda texts: model.embed_documents(texts[1:]))
        store = DiptychVectorStore(Mock(wraps=model, aembed_documents=awaited))
        with pytest.raises(VectorError, match="returned 0 vectors for 1 texts"):
            await store.aadd_texts(["foo", "bar"])

    async def test_batches_are_embedded_one_by_one(self):
        model = DeterministicFakeEmbedding(size=3)
        awaited = AsyncMock(side_effect=model.embed_documents)
        store = DiptychVectorStore(Mock(wraps=model, aembed_documents=awaited))
        await store.aadd_texts(list("abcde"), batch_size=2)
        assert [call.args[0] for call in awaited.await_args_list] == [["a", "b"], ["c", "d"], ["e"]]

    def test_metadata_comes_back_as_it_was_given(self):
        nested = {"a": {"b": [1, 2.5, None, True, {"c": "d"}]}, "é.$x": "y", "n": 2**60}
        store = fake_store()
        store.add_texts(["foo"], [nested], ids=["1"])
        assert store.get_by_ids(["1"])[0].metadata == nested

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_metadata_that_looks_like_a_secret_stays_data(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        metadata = {"x": {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}}
        store = fake_store()
        store.add_texts(["foo"], [metadata], ids=["1"])
        (document,) = store.get_by_ids(["1"])
        assert document.metadata == metadata
        assert loads(dumps(document), allowed_objects=[Document]).metadata == metadata

    def test_a_folder_keeps_everything(self, tmp_path):
        with fake_store(path=tmp_path / "i").index as index:
            DiptychVectorStore(index=index).add_texts(["foo", "bar"], ids=["1", "2"])
        with fake_store(path=tmp_path / "i").index as index:
            assert contents(DiptychVectorStore(index=index).similarity_search("foo", k=1)) == [
                "foo"
            ]


class TestDeleting:
    def test_missing_ids_are_ignored_and_the_answer_is_never_false(self):
        store = fake_store()
        store.add_texts(["foo", "bar"], ids=["1", "2"])
        assert store.delete(["1", "unknown"]) is True
        assert store.delete([]) is True
        assert store.index.ids() == ["2"]

    async def test_neither_ids_nor_filter_deletes_everything(self):
        store = fake_store()
        store.add_texts(["foo", "bar"])
        assert await store.adelete() is True
        assert len(store.index) == 0

    def test_ids_and_filter_must_both_hold(self):
        store = fake_store()
        store.add_texts(["a", "b", "c"], [{"n": 1}, {"n": 2}, {"n": 1}], ids=["a", "b", "c"])
        store.delete(["a", "b"], filter={"n": 1})
        assert store.index.ids() == ["b", "c"]
        store.delete(filter=lambda document: document.page_content == "b")
        assert store.index.ids() == ["c"]


class TestSearching:
    TEXTS = tuple(f"text {i}" for i in range(40))

    @pytest.fixture
    def store(self):
        store = fake_store(size=16)
        store.add_texts(self.TEXTS, [{"n": i} for i in range(40)], ids=[str(i) for i in range(40)])
        return store

    @pytest.mark.parametrize("where", [{"n": {"$gte": 36}}, lambda d: d.metadata["n"] >= 36])
    def test_a_filter_never_starves_a_search(self, store, where):
        for k in (3, 4, 10):
            found = store.similarity_search("text 1", k=k, filter=where)
            assert len(found) == min(k, 4)
            assert all(d.metadata["n"] >= 36 for d in found)
        diverse_ones = store.max_marginal_relevance_search("text 1", k=9, fetch_k=2, filter=where)
        assert len(diverse_ones) == 4

    def test_more_than_there_are_gives_all(self, store):
        assert len(store.similarity_search("x", k=10**9)) == 40

    @pytest.mark.parametrize("space", ["text", "cross_modal"])
    def test_search_by_vector_finds_the_document_of_the_vector(self, store, space):
        vector = getattr(store.index, f"{space}_index").vectors(["7"])[0]
        (found,) = store.similarity_search_by_vector((vector * 5).tolist(), k=1, space=space)
        assert found.id == "7"

    def test_a_vector_needs_the_name_of_a_space_that_is_there(self, store):
        with pytest.raises(InvalidArgument, match="space='fused' is unknown"):
            store.similarity_search_by_vector([0.0] * 16, space="fused")
        with pytest.raises(InvalidArgument, match="no image vectors"):
            store.similarity_search_by_vector([1.0] * 16, space="image")
        with pytest.raises(VectorError, match=r"shape \(1, 3\), expected \(1, 16\)"):
            store.similarity_search_by_vector([1.0] * 3)

    @given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**32 - 1))
    def test_mmr_agrees_with_langchain(self, k, lambda_mult, seed):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((9, 5)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        expected = maximal_marginal_relevance(rows[0], list(rows[1:]), lambda_mult, k)
        assert diverse(rows[0], rows[1:], k, lambda_mult) == expected

    async def test_mmr_of_a_fused_store_reaches_pictures(self, index):
        store = DiptychVectorStore(index=index)
        found = store.max_marginal_relevance_search("red", k=2, lambda_mult=1.0)
        vector = index.query_vectors("red")["cross_modal"]
        expected = [hit.id for hit in index.cross_modal_index.search(vector, 2)[0]]
        assert [d.id for d in found] == expected
        assert "pump.png" in expected
        of_pictures = await store.amax_marginal_relevance_search("red", k=9, space="image")
        assert {d.id for d in of_pictures} == {"pump.png", "valve.png"}
        by_picture = store.max_marginal_relevance_search(Image(RED), k=1, space="image")
        assert [d.id for d in by_picture] == ["pump.png"]

    def test_relevance_lies_between_0_and_1_in_every_mode(self, index):
        store = DiptychVectorStore(index=index)
        for mode in ("text", "image", "cross_modal", "fused", "lexical"):
            found = store.similarity_search_with_relevance_scores("red", k=9, mode=mode)
            assert found
            scores = [score for _, score in found]
            assert all(0 <= score <= 1 for score in scores)
            assert scores == sorted(scores, reverse=True)

    def test_relevance_of_a_cosine_is_half_of_one_more(self, store):
        (_, cosine), *_ = store.similarity_search_with_score("text 3", mode="text")
        (_, relevant), *_ = store.similarity_search_with_relevance_scores("text 3", mode="text")
        assert (cosine, relevant) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))
        last = store.similarity_search_with_score("text 3", k=40, mode="text")[-1][1]
        found = store.similarity_search_with_relevance_scores("text 3", k=40, mode="text")
        assert found[-1][1] == pytest.approx((last + 1) / 2)

    async def test_a_threshold_keeps_what_is_above(self, store):
        options = {"k": 40, "score_threshold": 0.7, "mode": "text"}
        found = store.similarity_search_with_relevance_scores("text 3", **options)
        assert 0 < len(found) < 40
        assert await store.asimilarity_search_with_relevance_scores("text 3", **options) == found
        retriever = store.as_retriever(
            search_type="similarity_score_threshold", search_kwargs=options
        )
        assert retriever.invoke("text 3", mode="text") == [document for document, _ in found]

    @pytest.mark.parametrize("argument", ["top_k", "n_results", "where"])
    async def test_an_argument_that_is_not_known_is_refused(self, store, argument):
        for search in (
            store.similarity_search,
            store.similarity_search_with_score,
            store.max_marginal_relevance_search,
        ):
            with pytest.raises(TypeError, match=f"{argument}.*expected k"):
                search("x", **{argument: 3})
        with pytest.raises(TypeError, match=argument):
            await store.asimilarity_search("x", **{argument: 3})

    def test_lists_are_weighted(self, index):
        store = DiptychVectorStore(index=index)
        only = {"text": 0.0, "image": 1.0, "lexical": 0.0}
        found = store.similarity_search("red pump", k=5, weights=only)
        alone = store.similarity_search("red pump", k=1, mode="image")
        assert found[0] == alone[0]
        retriever = store.as_retriever(search_kwargs={"weights": only, "k": 1})
        assert retriever.invoke("red pump") == alone
        with pytest.raises(InvalidArgument, match="which searches one list"):
            store.similarity_search("red", mode="text", weights=only)

    async def test_by_vector_with_score_agrees_with_numpy(self, store):
        vector = store.index.text_encoder.encode_query(["text 7"])[0]
        found = store.similarity_search_with_score_by_vector(vector * 3, k=40)
        matrix = store.index.text_index.vectors(store.index.ids())
        expected = np.sort(matrix @ vector)[::-1]
        np.testing.assert_allclose([score for _, score in found], expected, atol=1e-6)
        assert await store.asimilarity_search_with_score_by_vector(vector * 3, k=40) == found
        documents = [document for document, _ in found]
        assert await store.asimilarity_search_by_vector(vector * 3, k=40) == documents

    def test_an_unknown_mode_is_refused(self, store):
        with pytest.raises(InvalidArgument, match="mode='hybrid' is unknown"):
            store.similarity_search("x", mode="hybrid")

    async def test_the_event_loop_is_not_blocked(self, waiting_index):
        store = DiptychVectorStore(index=waiting_index)
        found = await run_beside(waiting_index.text_encoder, store.asimilarity_search("red", k=1))
        assert contents(found) == ["The red pump moves water."]


class TestConstructing:
    def test_something_to_embed_with_is_needed(self):
        with pytest.raises(InvalidArgument, match="needs embedding="):
            DiptychVectorStore()

    def test_an_index_and_parts_of_one_are_refused(self, index):
        with pytest.raises(InvalidArgument, match="together with embedding="):
            DiptychVectorStore(ToyEncoder(), index=index)

    def test_the_path_alone_opens_what_is_there(self, tmp_path):
        with pytest.raises(FormatError, match="There is no index"):
            DiptychVectorStore(path=tmp_path / "kb")
        first = DiptychVectorStore(ToyEncoder(), path=tmp_path / "kb", namespace="a", kind="hnsw")
        first.add_texts(["a red apple"], ids=["1"])
        first.index.close()
        again = DiptychVectorStore(path=tmp_path / "kb", namespace="a")
        assert contents(again.similarity_search("red")) == ["a red apple"]
        again.index.close()
        with pytest.raises(InvalidArgument, match="or the like"):
            DiptychVectorStore(index=again.index, namespace="a")

    @pytest.mark.parametrize("kept", ["memory", "folder"])
    def test_saved_and_loaded_as_people_know_it(self, tmp_path, kept):
        own = {"path": tmp_path / "own"} if kept == "folder" else {}
        store = DiptychVectorStore(ToyEncoder(), **own)
        store.add_texts(["a red apple", "a blue sea"], [{"n": 1}, {}], ids=["1", "2"])
        store.add_images([RED], ids=["3"])
        store.save_local(tmp_path / "saved")
        for embeddings in (None, ToyEncoder()):
            loaded = DiptychVectorStore.load_local(tmp_path / "saved", embeddings)
            expected = store.similarity_search_with_score("red apple", 3, mode="text")
            assert loaded.similarity_search_with_score("red apple", 3, mode="text") == expected
            assert loaded.get_by_ids(["1", "3"]) == store.get_by_ids(["1", "3"])
            loaded.index.close()
        with pytest.raises(DiptychError, match="already"):
            store.save_local(tmp_path / "saved")
        with pytest.raises(FormatError, match="There is no index"):
            DiptychVectorStore.load_local(tmp_path / "elsewhere", ToyEncoder())
        assert not (tmp_path / "elsewhere").exists()
        (tmp_path / "elsewhere").mkdir()
        for folder, options in (("elsewhere", {}), ("saved", {"namespace": "other"})):
            for embeddings in (None, ToyEncoder()):
                with pytest.raises(FormatError, match="There is no index"):
                    DiptychVectorStore.load_local(tmp_path / folder, embeddings, **options)
        assert list((tmp_path / "elsewhere").iterdir()) == []

    async def test_from_images(self):
        options = {"metadatas": [{"n": 1}, {}], "ids": ["r", None], "texts": ["a pump", None]}
        store = DiptychVectorStore.from_images([RED, BLUE], ToyEncoder(), **options)
        again = await DiptychVectorStore.afrom_images([RED, BLUE], ToyEncoder(), **options)
        for one in (store, again):
            assert one.index.ids()[0] == "r"
            (found,) = one.get_by_ids(["r"])
            assert (found.page_content, found.metadata["n"]) == ("a pump", 1)
            assert [d.image.read() for d in one.index.get()] == [RED, BLUE]

    def test_an_empty_index_is_used_and_not_replaced(self):
        empty = MultimodalIndex(ToyEncoder())
        store = DiptychVectorStore(index=empty)
        assert store.index is empty
        assert store.retriever.index is empty

    def test_the_default_mode_is_the_fused_one_whatever_the_encoders(self, index):
        assert DiptychVectorStore(StubText()).mode == "fused"
        assert DiptychVectorStore(StubText(), image_encoder=StubImage()).mode == "fused"
        assert DiptychVectorStore(index=index, mode="image").mode == "image"

    def test_embeddings_are_those_given_or_the_encoders(self, index):
        model = DeterministicFakeEmbedding(size=3)
        assert DiptychVectorStore(model).embeddings is model
        assert isinstance(DiptychVectorStore(index=index).embeddings, DiptychEmbeddings)
        assert DiptychVectorStore(index=MultimodalIndex()).embeddings is None

    def test_tags_name_store_and_embeddings(self):
        retriever = fake_store().as_retriever()
        assert retriever.tags == ["DiptychVectorStore", "DeterministicFakeEmbedding"]

    def test_from_documents_keeps_ids_and_metadata(self):
        documents = [Document(page_content="foo", id="1", metadata={"n": 1})]
        store = DiptychVectorStore.from_documents(documents, DeterministicFakeEmbedding(size=3))
        assert store.get_by_ids(["1"]) == documents


class TestPictures:
    @pytest.fixture
    def store(self):
        return DiptychVectorStore(ToyEncoder())

    def test_every_way_to_give_a_picture(self, store, tmp_path):
        path = tmp_path / "red.png"
        path.write_bytes(RED)
        uris = [
            str(path),
            path,
            RED,
            "data:image/png;base64," + base64.b64encode(RED).decode(),
            Blob.from_path(path),
            Blob.from_data(RED, mime_type="image/png"),
            Image(RED),
        ]
        ids = store.add_images(uris)
        assert len(set(ids)) == len(uris)
        assert [d.image.read() for d in store.index.get(ids)] == [RED] * len(uris)
        (pil,) = store.index.get(store.add_images([Pil.new("RGB", (3, 2), "red")]))
        assert pil.image.size == (3, 2)

    def test_metadata_gains_references_and_no_base64(self, store, tmp_path):
        path = tmp_path / "red.png"
        path.write_bytes(RED)
        store.add_images([str(path)], [{"source": "me"}], ["1"], texts=["a caption"])
        (found,) = store.get_by_ids(["1"])
        assert found.page_content == "a caption"
        assert found.metadata == {
            "source": "me",
            "image_path": str(path),
            "image_mime_type": "image/png",
            "image_sha256": Image(RED).sha256,
            "image_name": str(path),
            "image_width": 32,
            "image_height": 24,
        }
        json.dumps(found.metadata)

    async def test_what_was_added_first_by_chroma_s_arguments(self, store):
        assert await store.aadd_images([RED], [{"n": 1}], ["1"]) == ["1"]
        assert store.index.get(["1"])[0].metadata["n"] == 1

    async def test_search_by_a_picture(self, store):
        store.add_images([RED, BLUE], ids=["red", "blue"])
        assert [d.id for d in store.similarity_search_by_image(png("darkred"), k=1)] == ["red"]
        (found,) = await store.asimilarity_search_by_image(png("navy"), 1)
        assert found.id == "blue"
        assert store.similarity_search_by_image(RED, filter={"image_width": 16})[0].id == "blue"

    def test_a_text_finds_pictures_and_texts(self, store):
        store.add_images([RED, BLUE], ids=["red", "blue"])
        store.add_texts(["a red thing", "something else"], ids=["t", "u"])
        assert {d.id for d in store.similarity_search("red", k=2)} == {"red", "t"}
        assert [d.id for d in store.similarity_search("red", k=1, mode="image")] == ["red"]
        assert [d.id for d in store.similarity_search("red", k=1, mode="text")] == ["t"]

    def test_a_picture_finds_pictures_and_texts(self, store):
        store.add_images([RED, BLUE], ids=["red", "blue"])
        store.add_texts(["a red thing", "something else"], ids=["t", "u"])
        query = {"image": png("darkred")}
        assert {d.id for d in store.similarity_search(query, k=2)} == {"red", "t"}
        assert store.max_marginal_relevance_search(query, k=1)[0].id == "red"

    async def test_by_picture_with_scores(self, index):
        store = DiptychVectorStore(index=index)
        encoder = index.image_encoder
        cosines = (
            encoder.encode_image([Image(RED), Image(BLUE)]) @ encoder.encode_image([Image(RED)])[0]
        )
        found = store.similarity_search_by_image_with_score(RED, k=2)
        assert [d.id for d, _ in found] == ["pump.png", "valve.png"]
        np.testing.assert_allclose([score for _, score in found], cosines, atol=1e-6)
        relevant = store.similarity_search_by_image_with_relevance_score(RED, k=2)
        np.testing.assert_allclose([s for _, s in relevant], (cosines + 1) / 2, atol=1e-6)
        assert await store.asimilarity_search_by_image_with_score(RED, k=2) == found
        assert await store.asimilarity_search_by_image_with_relevance_score(RED, k=2) == relevant
        restricted = store.similarity_search_by_image_with_score(RED, 2, {"$id": ["valve.png"]})
        assert [d.id for d, _ in restricted] == ["valve.png"]

    async def test_base64_as_content_for_code_that_expects_it(self, index, tmp_path):
        store = DiptychVectorStore(index=index, images_as="base64", mode="image")
        searches = [
            store.similarity_search("blue", 2),
            await store.asimilarity_search("blue", 2),
            store.max_marginal_relevance_search("blue", 2),
            store.similarity_search_by_vector(
                index.query_vectors("blue")["image"], 2, space="image"
            ),
        ]
        for found in searches:
            assert [base64.b64decode(d.page_content) for d in found] == [BLUE, RED]
            assert found[0].metadata["caption"] == "Fig. 2: a valve"
        assert contents(store.similarity_search("service", 1, mode="text")) == [
            "Call the service for spare parts."
        ]
        (tmp_path / "valve.png").unlink()
        assert store.similarity_search("blue", 1)[0].page_content == "Fig. 2: a valve"
        with pytest.raises(InvalidArgument, match="images_as='pixels'"):
            DiptychVectorStore(index=index, images_as="pixels")

    def test_related_documents_follow_the_one_that_was_found(self, index):
        store = DiptychVectorStore(index=index, mode="fused")
        found = store.similarity_search("The red pump moves water.", k=2)
        assert [d.id for d in found] == ["pump", "pump.png"]
        assert type(found[0]) is Document
        assert isinstance(found[1], RetrievedDocument)

    def test_one_bad_picture_does_not_lose_the_others(self, store, tmp_path):
        uris = [RED, tmp_path / "missing.png", b"no picture", BLUE]
        assert store.add_images(uris, ids=list("abcd")) == list("abcd")
        assert store.index.ids() == ["a", "d"]
        assert [failure.id for failure in store.failed] == ["b", "c"]
        assert "missing.png" in store.failed[0].reason

    def test_a_url_is_refused(self, store):
        with pytest.raises(MediaError, match="never fetches"):
            store.add_images(["https://example.org/a.png"])

    @pytest.mark.parametrize("name", ["metadatas", "ids", "texts"])
    def test_another_number_is_refused(self, store, name):
        with pytest.raises(InvalidArgument, match=f"1 {name} were given for 2 items"):
            store.add_images([RED, BLUE], **{name: ["x"]})

    def test_a_picture_that_is_added_again_stays_a_picture(self, index):
        store = DiptychVectorStore(index=index)
        (found,) = store.get_by_ids(["pump.png"])
        found.metadata["seen"] = True
        store.add_documents([found])
        (stored,) = index.get(["pump.png"])
        assert stored.image.read() == RED
        assert (stored.group, stored.order, stored.metadata["seen"]) == ("1", 1, True)

    async def test_a_text_that_is_changed_and_added_again_keeps_its_figure(self, index):
        store = DiptychVectorStore(index=index)
        for text in ("The red pump moves oil.", "The red pump moves air."):
            (document,) = store.get_by_ids(["pump"])
            changed = Document(text, metadata=document.metadata, id=document.id)
            if "oil" in text:
                store.add_documents([changed])
            else:
                await store.aadd_documents([changed])
            (found,) = store.retriever.retrieve(text, 1)
            assert [d.id for d in found.documents] == ["pump", "pump.png"]

    def test_a_text_cannot_reach_pictures_without_a_joint_encoder(self):
        store = DiptychVectorStore(StubText(), image_encoder=StubImage())
        store.add_images([RED])
        with pytest.raises(InvalidArgument, match="cannot reach the image vectors"):
            store.similarity_search("red", mode="image")

    def test_embeddings_of_langchain_with_embed_image_serve_for_both(self, store):
        toy = DiptychEmbeddings(ToyEncoder())

        class Clip(Embeddings):
            embed_documents, embed_query = toy.embed_documents, toy.embed_query
            embed_image = toy.embed_image

        store = DiptychVectorStore(Clip())
        assert isinstance(store.index.image_encoder, FunctionEncoder)
        store.add_images([RED, BLUE], ids=["red", "blue"])
        assert store.similarity_search("red", k=1)[0].id == "red"

    async def test_the_vector_of_a_joint_model_is_made_once(self):
        toy = DiptychEmbeddings(ToyEncoder())
        clip = Mock(wraps=toy, aembed_query=AsyncMock(side_effect=toy.embed_query))
        store = DiptychVectorStore(clip)
        store.add_images([RED, BLUE], ids=["red", "blue"])
        (found,) = await store.asimilarity_search("red", k=1)
        assert found.id == "red"
        assert (clip.aembed_query.await_count, clip.embed_query.call_count) == (1, 0)

    def test_documents_of_the_other_adapter_hide_what_is_its_own(self, index):
        index.upsert([Stored("x", id="n", metadata={"a": 1}, reserved={"node": "{}"})])
        store = DiptychVectorStore(index=index)
        (found,) = store.get_by_ids(["n"])
        assert found.metadata == {"a": 1}


class TestEveryMethodOfTheInterface:
    """A method that LangChain adds to ``VectorStore`` fails here until it has a meaning of ours."""

    @staticmethod
    def calls(store):
        vector = store.index.text_encoder.encode_query(["red"])[0].tolist()
        document = Document("a green hose", id="hose")
        scored = {"score_threshold": 0.0}
        mmr = {"k": 2, "lambda_mult": 0.5}
        return {
            "add_texts": lambda: store.add_texts(["a green hose"], ids=["hose"]),
            "add_documents": lambda: store.add_documents([document]),
            "get_by_ids": lambda: store.get_by_ids(["1"]),
            "delete": lambda: store.delete(["hose"]),
            "search": lambda: store.search("red", "similarity"),
            "similarity_search": lambda: store.similarity_search("red", 2),
            "similarity_search_with_score": lambda: store.similarity_search_with_score("red", 2),
            "similarity_search_with_relevance_scores": lambda: (
                store.similarity_search_with_relevance_scores("red", **scored)
            ),
            "similarity_search_by_vector": lambda: store.similarity_search_by_vector(vector, 2),
            "max_marginal_relevance_search": lambda: store.max_marginal_relevance_search(
                "red", **mmr
            ),
            "max_marginal_relevance_search_by_vector": lambda: (
                store.max_marginal_relevance_search_by_vector(vector, **mmr)
            ),
            "aadd_texts": lambda: store.aadd_texts(["a green hose"], ids=["hose"]),
            "aadd_documents": lambda: store.aadd_documents([document]),
            "aget_by_ids": lambda: store.aget_by_ids(["1"]),
            "adelete": lambda: store.adelete(["hose"]),
            "asearch": lambda: store.asearch("red", "similarity"),
            "asimilarity_search": lambda: store.asimilarity_search("red", 2),
            "asimilarity_search_with_score": lambda: store.asimilarity_search_with_score("red", 2),
            "asimilarity_search_with_relevance_scores": lambda: (
                store.asimilarity_search_with_relevance_scores("red", **scored)
            ),
            "asimilarity_search_by_vector": lambda: store.asimilarity_search_by_vector(vector, 2),
            "amax_marginal_relevance_search": lambda: store.amax_marginal_relevance_search(
                "red", **mmr
            ),
            "amax_marginal_relevance_search_by_vector": lambda: (
                store.amax_marginal_relevance_search_by_vector(vector, **mmr)
            ),
        }

    @staticmethod
    def constructors():
        texts, documents = ["a red pump"], [Document("a red pump")]
        return {
            "from_texts": lambda: DiptychVectorStore.from_texts(texts, ToyEncoder()),
            "from_documents": lambda: DiptychVectorStore.from_documents(documents, ToyEncoder()),
            "afrom_texts": lambda: DiptychVectorStore.afrom_texts(texts, ToyEncoder()),
            "afrom_documents": lambda: DiptychVectorStore.afrom_documents(documents, ToyEncoder()),
        }

    def test_all_of_them_are_here(self):
        store = DiptychVectorStore(ToyEncoder())
        public = {name for name in dir(VectorStore) if not name.startswith("_")}
        assert public == {*self.calls(store), *self.constructors(), "embeddings", "as_retriever"}

    async def test_what_is_asynchronous_does_what_is_not(self):
        stores = [DiptychVectorStore(ToyEncoder(), mode="text") for _ in range(2)]
        for store in stores:
            store.add_texts(["a red pump", "a blue valve", "red paint"], ids=["1", "2", "3"])
        one, other = (self.calls(store) for store in stores)
        for name, call in one.items():
            if not name.startswith("a") or name.startswith("add"):
                assert await other[f"a{name}"]() == call(), name
        assert stores[0].index.get() == stores[1].index.get()
        made = self.constructors()
        for name in ("from_texts", "from_documents"):
            documents = [d.text for d in made[name]().index.get()]
            assert [d.text for d in (await made[f"a{name}"]()).index.get()] == documents
