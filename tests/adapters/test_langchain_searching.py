"""What every searching method takes and gives: options, pages, thresholds, blank queries, threads."""

import asyncio
import threading
from unittest.mock import AsyncMock, Mock

import numpy as np
import pytest
from langchain_core.documents.base import Blob
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStoreRetriever
from manual import BLUE, RED
from PIL import Image as Pil

from diptych import Document as Stored
from diptych import Image, MultimodalIndex, MultimodalRetriever, Query, ToyEncoder
from diptych.errors import InvalidArgument
from diptych.langchain import (
    DiptychEmbeddings,
    DiptychRetriever,
    DiptychVectorStore,
    create_multimodal_retriever_tool,
)
from diptych.langchain.search import MODES, relevance
from stubs import png

BLANK = ["", " ", "\n\t\u3000", {"text": ""}, {"text": " ", "image": None}]
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "orange", "purple")
TYPES = (*MODES, "similarity", "mmr", "similarity_score_threshold")


@pytest.fixture(scope="module")
def store():
    """Eight texts, of which two pairs are equal, eight pictures, and a text with a picture."""
    index = MultimodalIndex(ToyEncoder(), ToyEncoder())
    texts = [f"A {c} pump moves water." for c in COLOURS[:6]] + ["A red pump moves water."] * 2
    index.add(Stored(text, id=f"t{n}", metadata={"n": n}) for n, text in enumerate(texts))
    index.add(Stored(image=png(c), id=f"p{n}", metadata={"n": n}) for n, c in enumerate(COLOURS))
    index.add([Stored("A red hose.", png("crimson"), id="both", metadata={"n": 99})])
    return DiptychVectorStore(index=index)


def ids(found):
    return [(one[0] if isinstance(one, tuple) else one).id for one in found]


class TestBlank:
    @pytest.mark.parametrize("value", BLANK)
    async def test_every_method_finds_nothing(self, store, value):
        for name in (
            "similarity_search",
            "similarity_search_with_score",
            "similarity_search_with_relevance_scores",
            "similarity_search_with_vectors",
            "max_marginal_relevance_search",
            "max_marginal_relevance_search_with_score",
        ):
            assert getattr(store, name)(value) == [], name
            assert await getattr(store, f"a{name}")(value) == [], name
        for mode in MODES:
            assert store.similarity_search(value, mode=mode) == []

    @pytest.mark.parametrize("value", BLANK)
    @pytest.mark.parametrize("kind", ["fused", *TYPES])
    async def test_every_retriever_finds_nothing(self, store, value, kind):
        options = {"score_threshold": 0.0} if kind == "similarity_score_threshold" else {}
        retriever = store.as_retriever(search_type=kind, search_kwargs=options)
        for one in (retriever, DiptychRetriever(index=store.index)):
            assert one.invoke(value) == []
            assert await one.ainvoke(value) == []
            assert one.batch([value, "red"])[0] == []
            assert (await one.abatch([value]))[0] == []
            assert list(one.stream(value)) == [[]]
            assert len(one.invoke("red")) > 0

    async def test_a_tool_says_so_in_words(self, store):
        for retriever in (DiptychRetriever(index=store.index), store.as_retriever()):
            tool = create_multimodal_retriever_tool(retriever, "find", "Finds.")
            call = {"name": "find", "args": {"query": " "}, "id": "1", "type": "tool_call"}
            for message in (tool.invoke(call), await tool.ainvoke(call)):
                assert message.text == "No reference material was found."
                assert message.artifact == []

    async def test_an_agent_goes_on(self, store):
        agents = pytest.importorskip("langchain.agents")
        from langchain_core.language_models import GenericFakeChatModel
        from langchain_core.messages import AIMessage

        class Model(GenericFakeChatModel):
            def bind_tools(self, tools, **options):
                return self

        tool = create_multimodal_retriever_tool(
            DiptychRetriever(index=store.index), "find", "Finds."
        )
        call = {"name": "find", "args": {"query": ""}, "id": "1", "type": "tool_call"}
        answers = [AIMessage("", tool_calls=[call]), AIMessage("I do not know.")]
        asked = {"messages": [("user", "?")]}
        for run in ("invoke", "ainvoke"):
            agent = agents.create_agent(Model(messages=iter(answers)), [tool])
            done = getattr(agent, run)(asked)
            done = await done if run == "ainvoke" else done
            assert done["messages"][-1].text == "I do not know."
            assert done["messages"][-2].status == "success"

    @pytest.mark.parametrize("value", ["a", "\u200b", {"text": "", "image": RED}])
    def test_what_is_not_blank_is_searched(self, store, value):
        assert store.similarity_search(value)


class TestOptions:
    @pytest.mark.parametrize("kind", TYPES)
    async def test_search_kwargs_of_every_search_type(self, store, kind):
        where = {"n": {"$lt": 6}}
        options = {"k": 3, "score_threshold": 1e-9, "filter": where, "fetch_k": 10, "offset": 1}
        retriever = store.as_retriever(search_type=kind, search_kwargs=options)
        found = retriever.invoke("red pump")
        assert await retriever.ainvoke("red pump") == found
        assert store.search("red pump", kind, **options) == found
        assert await store.asearch("red pump", kind, **options) == found
        assert 0 < len(found) <= 3
        assert all(document.metadata["n"] < 6 for document in found)

    @pytest.mark.parametrize("mode", MODES)
    async def test_a_threshold_is_one_of_the_relevance(self, store, mode):
        scored = store.similarity_search_with_relevance_scores("red pump", k=17, mode=mode)
        values = sorted({score for _, score in scored})
        least = values[len(values) // 2]
        expected = [document for document, score in scored if score >= least]
        assert 0 < len(expected) < len(scored) or len(values) == 1
        options = {"k": 17, "score_threshold": least}
        for search_type in (mode, "similarity", "similarity_score_threshold"):
            own = options if search_type == mode else {**options, "mode": mode}
            retriever = store.as_retriever(search_type=search_type, search_kwargs=own)
            assert retriever.invoke("red pump") == expected
            assert await retriever.ainvoke("red pump") == expected
        assert store.similarity_search("red pump", mode=mode, **options) == expected

    @pytest.mark.parametrize("mode", MODES)
    def test_beside_a_score_a_threshold_is_one_of_that_score(self, store, mode):
        scored = store.similarity_search_with_score("red pump", k=17, mode=mode)
        least = scored[len(scored) // 2][1]
        found = store.similarity_search_with_score("red pump", 17, mode=mode, score_threshold=least)
        assert found == [(d, s) for d, s in scored if s >= least]

    @pytest.mark.parametrize("value", [0, 1, np.int64(0), np.float32(0.25), 0.5])
    def test_a_threshold_is_any_number(self, store, value):
        options = {"score_threshold": value}
        retriever = store.as_retriever(
            search_type="similarity_score_threshold", search_kwargs=options
        )
        scored = store.similarity_search_with_relevance_scores("red pump", score_threshold=value)
        assert retriever.invoke("red pump") == [document for document, _ in scored]
        assert options == {"score_threshold": value}
        with pytest.raises(ValueError, match="score_threshold"):
            store.as_retriever(
                search_type="similarity_score_threshold", search_kwargs={"score_threshold": "x"}
            )

    def test_counts_are_any_integers(self, store):
        expected = store.similarity_search("red pump", 3)
        assert store.similarity_search("red pump", np.int64(3)) == expected
        retriever = store.as_retriever(search_kwargs={"k": np.int32(3), "offset": np.uint8(0)})
        assert retriever.invoke("red pump") == expected
        assert len(DiptychRetriever(index=store.index).invoke("red", k=np.int64(2))) == 2

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("k", [1, 2, 3, 5])
    async def test_pages_follow_each_other(self, store, mode, k):
        def page(at, size=k):
            return store.similarity_search_with_score("red pump", size, mode=mode, offset=at)

        everything = page(0, 99)
        pages = [hit for at in range(0, len(everything), k) for hit in page(at)]
        assert pages == everything
        assert len(set(ids(everything))) == len(everything)
        assert page(len(everything)) == []
        assert await store.asimilarity_search("red pump", k, mode=mode, offset=k) == [
            document for document, _ in everything[k : 2 * k]
        ]

    async def test_pages_of_the_other_searches(self, store):
        vector = store.index.query_vectors("red")["image"][0]
        for search in (
            lambda **o: store.similarity_search_by_image(RED, **o),
            lambda **o: store.similarity_search_by_vector(vector, space="image", **o),
            lambda **o: store.max_marginal_relevance_search("red", **o),
            lambda **o: store.max_marginal_relevance_search_by_vector(vector, space="image", **o),
            lambda **o: DiptychRetriever(index=store.index).invoke("red pump", **o),
        ):  # fmt: skip
            both = [*search(k=3), *search(k=3, offset=3)]
            assert ids(both) == ids(search(k=6))
            assert len(set(ids(both))) == 6

    def test_equal_scores_do_not_change_places_between_pages(self):
        store = DiptychVectorStore(DeterministicFakeEmbedding(size=8))
        store.add_texts([f"text {n % 4}" for n in range(60)], ids=[f"{n:02}" for n in range(60)])
        for mode in ("text", "fused", "lexical", "cross_modal"):
            everything = ids(store.similarity_search("text 1", 60, mode=mode))
            for k in (1, 4, 7):
                pages = [
                    i
                    for at in range(0, 60, k)
                    for i in ids(store.similarity_search("text 1", k, mode=mode, offset=at))
                ]
                assert pages == everything, (mode, k)

    async def test_texts_are_conditions_in_every_search(self, store):
        of_text = {"$contains": "red"}
        expected = {"t0", "t6", "t7", "both"}
        vector = store.index.query_vectors("red")["text"][0]
        common = {"k": 17, "where_document": of_text}
        for mode in ("text", "fused", "cross_modal", "lexical"):
            assert set(ids(store.similarity_search("red", mode=mode, **common))) == expected
        assert set(ids(store.similarity_search_by_vector(vector, **common))) == expected
        assert set(ids(store.max_marginal_relevance_search("red", **common))) == expected
        assert ids(store.similarity_search_by_image(RED, **common)) == ["both"]
        assert set(ids(DiptychRetriever(index=store.index).invoke("red", **common))) == expected
        both = {"filter": {"n": {"$gt": 6}}, **common}
        assert set(ids(await store.asimilarity_search("red", **both))) == {"t7", "both"}
        of_function = {**both, "filter": lambda document: document.metadata["n"] == 99}
        assert ids(store.as_retriever(search_kwargs=of_function).invoke("red")) == ["both"]

    @pytest.mark.parametrize(
        ("name", "here"),
        [("where", "filter"), ("n_results", "k"), ("query_filter", "filter"), ("limit", "k"),
         ("expr", "filter"), ("top_k", "k"), ("min_score", "score_threshold"), ("skip", "offset"),
         ("search_params", r"DiptychVectorStore\(kind=\)")],
    )  # fmt: skip
    async def test_names_of_other_stores_get_the_name_to_use(self, store, name, here):
        words = f"{name}.*Here it is {here}"
        with pytest.raises(TypeError, match=words):
            store.similarity_search("red", **{name: 1})
        with pytest.raises(TypeError, match=words):
            await store.amax_marginal_relevance_search("red", **{name: 1})
        with pytest.raises(TypeError, match=words):
            store.as_retriever(search_kwargs={name: 1}).invoke(" ")
        with pytest.raises(TypeError, match="colour.*Leave it out"):
            store.similarity_search("red", colour=1)
        with pytest.raises(TypeError, match="mode.*Here it is space"):
            store.max_marginal_relevance_search("red", mode="text")


class TestScores:
    async def test_one_score_everywhere(self, store):
        for query in ("red pump", {"text": "pump", "image": RED}, Query(image=Image(BLUE))):
            asked = Query(**query) if isinstance(query, dict) else query
            core = MultimodalRetriever.from_index(store.index).retrieve_documents(asked, 9)
            expected = [(one.document.id, one.score) for one in core]
            for found in (
                store.similarity_search_with_score(query, 9),
                store.similarity_search_with_relevance_scores(query, 9),
                await store.asimilarity_search_with_score(query, 9),
                [
                    (d, d.metadata["score"])
                    for d in DiptychRetriever(index=store.index).invoke(query, k=9)
                ],  # in this store, every unit is one document
            ):
                assert len(found) == 9
                assert dict((d.id, s) for d, s in found) == pytest.approx(dict(expected), abs=1e-6)

    def test_words_alone(self, store):
        found = store.similarity_search_with_score("red hose", 17, mode="lexical")
        hits = store.index.search("red hose", 17, modalities=("lexical",))["lexical"]
        assert [(d.id, s) for d, s in found] == [(hit.id, hit.score) for hit in hits]
        assert found[0][0].id == "both"
        relevant = store.similarity_search_with_relevance_scores("red hose", 17, mode="lexical")
        assert [s for _, s in relevant] == pytest.approx([s / (1 + s) for _, s in found])
        assert relevance("lexical")(0.0) == 0.0
        assert store.similarity_search(Query(image=Image(RED)), mode="lexical") == []

    def test_words_alone_encode_nothing(self):
        model = Mock(wraps=DeterministicFakeEmbedding(size=6))
        store = DiptychVectorStore.from_texts(["a red pump", "a blue hose"], model)
        calls = model.embed_query.call_count
        assert len(store.similarity_search("pump", mode="lexical")) == 1
        assert len(DiptychRetriever(index=store.index, modalities=["lexical"]).invoke("hose")) == 1
        assert model.embed_query.call_count == calls

    def test_with_embeddings_of_langchain_alone(self):
        store = DiptychVectorStore(DiptychEmbeddings(ToyEncoder()))
        assert store.mode == "fused"
        texts = [f"A {c} pump moves water." for c in COLOURS] + ["The hose is old."] * 20
        store.add_texts(texts, ids=[str(n) for n in range(28)])
        found = store.similarity_search_with_relevance_scores("the red pump", 28)
        assert found[0][0].id == "0"
        assert set(ids(found[:8])) == {str(n) for n in range(8)}
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert 0 <= scores[-1] <= scores[8] < scores[7] < scores[0] <= 1
        options = {"k": 28, "score_threshold": (scores[7] + scores[8]) / 2}
        assert len(store.as_retriever(search_kwargs=options).invoke("the red pump")) == 8


class TestVectors:
    async def test_documents_come_with_their_vectors(self, store):
        for mode, space in (("text", "text"), ("image", "image"), ("fused", "cross_modal")):
            found = store.similarity_search_with_vectors(
                "red pump", 5, {"n": {"$lt": 9}}, mode=mode
            )
            rows = getattr(store.index, f"{space}_index").vectors(ids(found))
            np.testing.assert_array_equal([row for _, row in found], rows)
            expected = store.similarity_search("red pump", 5, {"n": {"$lt": 9}}, mode=mode)
            assert [document for document, _ in found] == expected
            again = await store.asimilarity_search_with_vectors(
                "red pump", 5, {"n": {"$lt": 9}}, mode=mode
            )
            assert ids(again) == ids(found)

    def test_they_are_those_of_the_embeddings(self):
        model = DeterministicFakeEmbedding(size=6)
        store = DiptychVectorStore.from_texts(["a", "b"], model)
        for document, row in store.similarity_search_with_vectors("a"):
            vector = np.asarray(model.embed_documents([document.page_content])[0])
            np.testing.assert_allclose(row, vector / np.linalg.norm(vector), atol=1e-6)

    async def test_diverse_ones_with_scores(self, store):
        vector = store.index.query_vectors("red pump")["text"][0]
        for lambda_mult in (0.0, 0.5, 1.0):
            options = {"lambda_mult": lambda_mult, "fetch_k": 9, "space": "text"}
            found = store.max_marginal_relevance_search_with_score("red pump", 4, **options)
            chosen = store.max_marginal_relevance_search("red pump", 4, **options)
            assert [document for document, _ in found] == chosen
            rows = store.index.text_index.vectors(ids(found))
            np.testing.assert_allclose([score for _, score in found], rows @ vector, atol=1e-6)
            for again in (
                store.max_marginal_relevance_search_with_score_by_vector(vector, 4, **options),
                await store.amax_marginal_relevance_search_with_score("red pump", 4, **options),
                await store.amax_marginal_relevance_search_with_score_by_vector(
                    vector, 4, **options
                ),
            ):
                assert ids(again) == ids(found)
        least = {"score_threshold": 0.8, "space": "text", "fetch_k": 17}
        scored = store.max_marginal_relevance_search_with_score("red pump", 17, **least)
        assert 0 < len(scored) < 9
        assert all((score + 1) / 2 >= 0.8 for _, score in scored)


class Watched(ToyEncoder):
    """Notes the threads on which it encodes."""

    def __init__(self, threads):
        super().__init__()
        self.threads = threads

    def encode_query(self, texts):
        self.threads.append(threading.get_ident())
        return super().encode_query(texts)

    def encode_image(self, images):
        if len(images):
            self.threads.append(threading.get_ident())
        return super().encode_image(images)


class TestEventLoop:
    """Nothing that reads or encodes a picture, and no encoder, runs on the event loop."""

    @pytest.fixture
    def threads(self, monkeypatch):
        threads = []
        from diptych import media

        for name in ("read_file", "from_pil", "parse_data_uri", "read_header", "decode"):
            original = getattr(media, name, None)
            if original is None:
                continue

            def noted(*args, _original=original, **kwargs):
                threads.append(threading.get_ident())
                return _original(*args, **kwargs)

            monkeypatch.setattr(media, name, noted)
        return threads

    @pytest.fixture
    def watched(self, threads, tmp_path):
        index = MultimodalIndex(Watched(threads), Watched(threads))
        (tmp_path / "a.png").write_bytes(RED)
        index.add([Stored("a pump", tmp_path / "a.png", id="a"), Stored(image=BLUE, id="b")])
        return index

    def queries(self, tmp_path):
        return [
            "red pump",
            tmp_path / "a.png",
            Pil.new("RGB", (64, 64), "red"),
            {"text": "pump", "image": Pil.new("RGB", (64, 64), "red")},
            Blob.from_path(tmp_path / "a.png"),
            "data:image/png;base64," + Image(RED).base64()[0],
        ]

    @pytest.mark.parametrize("at", range(6))
    async def test_no_search_runs_on_it(self, watched, threads, tmp_path, at):
        query = self.queries(tmp_path)[at]
        threads.clear()
        plain = DiptychVectorStore(index=watched)
        encoded = DiptychVectorStore(index=watched, images_as="base64")
        fused = DiptychRetriever(index=watched)
        tool = create_multimodal_retriever_tool(fused, "find", "Finds.")
        searches = [
            *(store.asimilarity_search(query) for store in (plain, encoded)),
            plain.asimilarity_search_with_score(query),
            plain.asimilarity_search_with_relevance_scores(query),
            plain.asimilarity_search_with_vectors(query),
            plain.amax_marginal_relevance_search(query),
            plain.asearch(query, "image"),
            plain.as_retriever().ainvoke(query),
            plain.as_retriever(search_type="mmr").ainvoke(query),
            encoded.as_retriever(search_type="image").ainvoke(query),
            fused.ainvoke(query),
            fused.abatch([query, "red"]),
        ]
        if isinstance(query, str):
            searches.append(tool.ainvoke({"query": query}))
        else:
            searches.append(plain.asimilarity_search_by_image(
                query["image"] if isinstance(query, dict) else query
            ))  # fmt: skip
        for search in searches:
            before = len(threads)
            assert await search
            assert len(threads) > before
        assert threading.get_ident() not in threads

    async def test_the_langchain_model_is_awaited(self):
        toy = DiptychEmbeddings(ToyEncoder())
        loop = []

        async def aembed_query(text):
            loop.append(threading.get_ident())
            await asyncio.sleep(0)
            return toy.embed_query(text)

        model = Mock(wraps=toy, aembed_query=AsyncMock(side_effect=aembed_query))
        store = DiptychVectorStore(model)
        store.add_texts(["a red pump", "the blue sea"])
        store.add_images([RED, BLUE])
        again = DiptychVectorStore(index=store.index)
        fused = DiptychRetriever(index=store.index)
        tool = create_multimodal_retriever_tool(fused, "find", "Finds.")
        calls = [
            lambda: store.asimilarity_search("red"),
            lambda: store.asimilarity_search("red", mode="image"),
            lambda: store.asimilarity_search_with_vectors("red"),
            lambda: store.amax_marginal_relevance_search("red"),
            lambda: store.amax_marginal_relevance_search_with_score("red", space="text"),
            lambda: store.as_retriever(search_type="mmr").ainvoke("red"),
            lambda: store.as_retriever(search_kwargs={"k": 1}).ainvoke("red"),
            lambda: again.asimilarity_search("red"),
            lambda: fused.ainvoke("red"),
            lambda: fused.ainvoke("red", modalities=["cross_modal"]),
            lambda: tool.ainvoke({"query": "red"}),
        ]
        before = model.embed_query.call_count
        for count, call in enumerate(calls, 1):
            assert await call()
            assert model.aembed_query.await_count == count
        assert model.embed_query.call_count == before
        assert set(loop) == {threading.get_ident()}

    async def test_both_ways_find_the_same(self):
        store = DiptychVectorStore(DiptychEmbeddings(ToyEncoder()))
        store.add_texts(["a red pump", "the blue sea", "red"], ids=["1", "2", "3"])
        store.add_images([RED, BLUE, png("green")], ids=["4", "5", "6"])
        fused = DiptychRetriever(index=store.index)
        for query in ("red", {"text": "a pump", "image": BLUE}, {"image": RED}):
            for mode in MODES:
                found = store.similarity_search_with_score(query, 6, mode=mode)
                again = await store.asimilarity_search_with_score(query, 6, mode=mode)
                assert ids(found) == ids(again)
                assert [s for _, s in found] == pytest.approx([s for _, s in again], abs=1e-6)
            found = store.max_marginal_relevance_search(query)
            assert await store.amax_marginal_relevance_search(query) == found
            assert await fused.ainvoke(query) == fused.invoke(query)


def test_the_retriever_is_one_of_langchain(store):
    assert isinstance(store.as_retriever(), VectorStoreRetriever)
    with pytest.raises(InvalidArgument, match="weights= was given in the mode 'text'"):
        store.as_retriever(search_type="text", search_kwargs={"weights": {"text": 1}}).invoke("red")
