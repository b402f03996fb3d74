"""What a store finds in which mode, with which score, and which models run for it."""

import asyncio
import base64
import threading

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from manual import BLUE, RED

from diptych import (
    Document,
    Image,
    MultimodalIndex,
    MultimodalRetriever,
    ToyEncoder,
)
from diptych.errors import DocumentError, InvalidArgument
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychRetriever,
    DiptychVectorStore,
)

TOY = ToyEncoder()
MODEL = DiptychMultiModalEmbedding(TOY)
RED64, BLUE64 = (base64.b64encode(data).decode() for data in (RED, BLUE))
QUESTION = "a red pump"


class Counting:
    """Counts the questions that an encoder is asked."""

    def __init__(self, encoder, space=""):
        self._encoder = encoder
        self.dim, self.space = encoder.dim, space or encoder.space
        self.fingerprint = encoder.fingerprint
        self.asked = 0
        self.encode_document = encoder.encode_document
        self.encode_image = encoder.encode_image

    def encode_query(self, texts):
        self.asked += len(texts)
        return self._encoder.encode_query(texts)


def nodes():
    made = [
        TextNode(id_="red", text="a red pump moves water", metadata={"n": 1}),
        TextNode(id_="blue", text="a blue valve", metadata={"n": 2}),
        TextNode(id_="grass", text="green grass grows", metadata={"n": 3}),
        ImageNode(id_="p", image=RED64),
        ImageNode(id_="q", image=BLUE64, text="the picture of a valve", metadata={"n": 2}),
    ]
    for node in made:
        if node.text:
            node.embedding = MODEL.get_text_embedding(node.text)
    return made


@pytest.fixture
def store():
    store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
    store.add(nodes())
    return store


def ask(words=QUESTION, **options):
    vector = TOY.encode_query([words])[0].tolist()
    return VectorStoreQuery(
        **{"query_embedding": vector, "query_str": words, "similarity_top_k": 5, **options}
    )


def scored(found):
    return {node.node_id: node.score for node in found}


class TestOneScore:
    @pytest.mark.parametrize("question", [QUESTION, "the picture of a valve", "blue"])
    async def test_every_door_gives_the_same_nodes_with_the_same_score(self, store, question):
        core = MultimodalRetriever(index=store.index).retrieve_documents(question, 5)
        expected = {one.document.id: one.score for one in core}
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        own = index.as_retriever(similarity_top_k=5)
        for found in (
            own.retrieve(question),
            await own.aretrieve(question),
            DiptychRetriever(store.index, similarity_top_k=5).retrieve(question),
        ):
            assert scored(found) == pytest.approx(expected, abs=1e-6)
            assert [node.node_id for node in found] == [one.document.id for one in core]
        direct = store.query(ask(question))
        assert dict(zip(direct.ids, direct.similarities, strict=True)) == pytest.approx(
            expected, abs=1e-6
        )

    def test_related_documents_come_one_by_one_under_one_score(self):
        index = MultimodalIndex(TOY, TOY)
        index.add([
            Document("a red pump moves water", id="t", group="g"),
            Document(image=Image(BLUE), id="figure", group="g", order=1),
            Document("green grass", id="other"),
        ])  # fmt: skip
        found = DiptychVectorStore(index).query(ask(similarity_top_k=2))
        assert found.ids == ["t", "figure"]
        assert found.similarities[0] == found.similarities[1]

    def test_without_words_or_in_a_field_it_is_the_cosine_of_the_vector(self, store):
        vector = TOY.encode_query([QUESTION])[0]
        cosines = {n.node_id: float(vector @ n.embedding) for n in nodes() if n.embedding}
        for options in ({"query_str": None}, {"query_str": ""}, {"embedding_field": "text"}):
            found = store.query(ask(**options))
            assert dict(zip(found.ids, found.similarities, strict=True)) == pytest.approx(
                cosines, abs=1e-5
            )


class TestModels:
    def test_no_text_model_runs_when_the_embedding_comes_with_the_words(self):
        text, image = Counting(TOY), Counting(TOY)
        store = DiptychVectorStore(embed_model=text, image_encoder=image)
        store.add(nodes())
        store.query(ask())
        assert (text.asked, image.asked) == (0, 0)  # one space: the embedding serves for both
        other = Counting(TOY, "another")
        store = DiptychVectorStore(embed_model=text, image_encoder=other)
        store.add(nodes())
        store.query(ask())
        assert (text.asked, other.asked) == (0, 1)

    def test_an_aligner_takes_the_embedding_too(self):
        class Pictures:
            dim, space, fingerprint = TOY.dim, "pictures", "pictures"

            def encode_image(self, images):
                return TOY.encode_image(images)

        class Same:
            text_space, image_space, fingerprint = TOY.space, "pictures", "same"

            def text_to_image(self, vectors):
                return vectors

            image_to_text = text_to_image

        text, aligner = Counting(TOY), Same()
        store = DiptychVectorStore(embed_model=text, image_encoder=Pictures(), aligner=aligner)
        store.add(nodes())
        found = store.query(ask("red"))
        assert text.asked == 0
        assert "p" in found.ids

    def test_a_store_without_a_model_searches_its_words_too(self):
        store = DiptychVectorStore()
        store.add([
            TextNode(id_="a", text="apples", embedding=[1.0, 0.1]),
            TextNode(id_="b", text="bananas", embedding=[1.0, 0.0]),
        ])  # fmt: skip
        found = store.query(VectorStoreQuery([1.0, 0.0], 2, query_str="apples"))
        assert set(found.ids) == {"a", "b"}
        assert all(0 <= score <= 1 for score in found.similarities)

    async def test_a_query_does_not_wait_on_the_event_loop(self, store, monkeypatch):
        threads = set()
        real = MultimodalRetriever.retrieve_documents

        def noted(*args, **kwargs):
            threads.add(threading.get_ident())
            return real(*args, **kwargs)

        monkeypatch.setattr(MultimodalRetriever, "retrieve_documents", noted)
        await asyncio.gather(*(store.aquery(ask()) for _ in range(3)))
        assert threads
        assert threading.get_ident() not in threads


class TestWordsOnly:
    @pytest.mark.parametrize(
        "mode", [VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE]
    )
    def test_nothing_is_encoded_and_the_score_is_bm25(self, mode):
        text, image = Counting(TOY), Counting(TOY, "another")
        store = DiptychVectorStore(embed_model=text, image_encoder=image)
        store.add(nodes())
        found = store.query(VectorStoreQuery(query_str="valve", mode=mode, similarity_top_k=5))
        expected = store.index.search("valve", 5, modalities=("lexical",))["lexical"]
        assert (text.asked, image.asked) == (0, 0)
        assert list(zip(found.ids, found.similarities, strict=True)) == [
            (h.id, h.score) for h in expected
        ]
        assert set(found.ids) == {"blue", "q"}
        assert min(found.similarities) > 0

    @pytest.mark.parametrize("mode", ["text_search", "sparse"])
    async def test_through_an_index(self, store, mode):
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        retriever = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=5)
        assert {node.node_id for node in retriever.retrieve("valve")} == {"blue", "q"}
        assert {node.node_id for node in await retriever.aretrieve("valve")} == {"blue", "q"}
        assert retriever.retrieve("unheard") == []


class TestBlank:
    @pytest.mark.parametrize("mode", ["default", "text_search", "sparse", "hybrid", "mmr"])
    @pytest.mark.parametrize("question", ["", "  \n"])
    async def test_a_blank_question_finds_nothing(self, store, mode, question):
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        retriever = index.as_retriever(vector_store_query_mode=mode)
        assert retriever.retrieve(question) == []
        assert await retriever.aretrieve(question) == []

    def test_a_vector_without_words_finds(self, store):
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        bundle = QueryBundle("", embedding=TOY.encode_query([QUESTION])[0].tolist())
        assert index.as_retriever(similarity_top_k=1).retrieve(bundle)[0].node_id == "red"


class TestOptionsOfAQuery:
    def test_offset_and_threshold(self, store):
        whole = store.query(ask())
        assert len(whole.ids) == 5
        page = store.query(ask(similarity_top_k=2), offset=2)
        assert (page.ids, page.similarities) == (whole.ids[2:4], whole.similarities[2:4])
        assert store.query(ask(), offset=9).ids == []
        least = whole.similarities[1]
        assert store.query(ask(), score_threshold=least).ids == whole.ids[:2]
        assert store.query(ask(), score_threshold=2).ids == []

    def test_conditions_on_the_text(self, store):
        only = {"where_document": {"$contains": "valve"}}
        assert set(store.query(ask(), **only).ids) == {"blue", "q"}
        filters = MetadataFilters(filters=[MetadataFilter(key="n", value=2)])
        assert set(store.query(ask(filters=filters, node_ids=["q", "red"]), **only).ids) == {"q"}
        index = VectorStoreIndex.from_vector_store(store, embed_model=MODEL)
        retriever = index.as_retriever(similarity_top_k=5, vector_store_kwargs=only)
        assert set(scored(retriever.retrieve(QUESTION))) == {"blue", "q"}

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"offset": -1}, "offset=-1"),
            ({"offset": "x"}, "offset='x'"),
            ({"score_threshold": "x"}, "score_threshold='x'"),
            ({"score_threshold": True}, "score_threshold=True"),
            ({"where_document": "x"}, "text"),
            ({"where_document": {"$x": "a"}}, r"\$x"),
        ],
    )
    def test_bad_ones_are_refused(self, store, options, words):
        with pytest.raises(InvalidArgument, match=words):
            store.query(ask(), **options)


class TestStored:
    def test_the_vector_of_a_node(self, store):
        assert store.get("red") == pytest.approx(TOY.encode_document(["a red pump moves water"])[0])
        assert store.get("p") == pytest.approx(TOY.encode_image([Image(RED)])[0])
        for empty in (store, DiptychVectorStore()):
            with pytest.raises(InvalidArgument, match="No vector is stored for the node 'nobody'"):
                empty.get("nobody")

    async def test_some_of_the_nodes(self, store):
        ids = [node.node_id for node in store.get_nodes()]
        assert [n.node_id for n in store.get_nodes(limit=2, offset=1)] == ids[1:3]
        assert [n.node_id for n in await store.aget_nodes(limit=1)] == ids[:1]
        assert [n.node_id for n in store.get_nodes(["q", "red"], offset=1)] == ["red"]
        assert [n.node_id for n in store.get_nodes(where_document={"$icontains": "VALVE"})] == [
            "blue",
            "q",
        ]
        assert store.get_nodes(offset=99) == []
        with pytest.raises(InvalidArgument, match="limit=-1"):
            store.get_nodes(limit=-1)

    def test_metadata_is_changed_and_nothing_is_encoded(self, tmp_path):
        encoded = []

        class Noting(ToyEncoder):
            def encode_document(self, texts):
                encoded.extend(texts)
                return super().encode_document(texts)

            def encode_image(self, images):
                encoded.extend(images)
                return super().encode_image(images)

        store = DiptychVectorStore(
            embed_model=Noting(), image_encoder=Noting(), path=tmp_path / "kb"
        )
        store.add([*nodes()[:4], ImageNode(id_="v", image=BLUE64, embedding=[1.0] * TOY.dim)])
        vectors = {i: store.get(i) for i in ("red", "p", "v")}
        before = store.get_nodes(["red"])[0]
        encoded.clear()
        store.update_metadata(["red", "p", "v"], [{"m": [1]}, {"n": 7}, {"n": 8}])
        (red, picture, _) = store.get_nodes(["red", "p", "v"])
        assert (red.metadata, picture.metadata) == ({"n": 1, "m": [1]}, {"n": 7})
        assert (red.text, red.relationships) == (before.text, before.relationships)
        store.update_metadata(["red"], [{"k": 1}], replace=True)
        assert store.get_nodes(["red"])[0].metadata == {"k": 1}
        assert encoded == []
        assert {i: store.get(i) for i in vectors} == vectors
        store.update_metadata(["nobody", "red"], [{}, {"k": 2}])
        assert [failure.id for failure in store.failed] == ["nobody"]
        store.update_metadata(["blue", "red"], [{"x": object()}, {"k": 3}])
        assert [failure.id for failure in store.failed] == ["blue"]
        assert store.get_nodes(["red"])[0].metadata == {"k": 3}
        with pytest.raises(InvalidArgument, match="No node 'nobody' is stored"):
            store.update_metadata(["nobody"], [{}])
        with pytest.raises(DocumentError, match="type object"):
            store.update_metadata(["red"], [{"x": object()}])
        with pytest.raises(InvalidArgument, match="2 ids and 1 metadatas"):
            store.update_metadata(["red", "p"], [{}])
        store.index.close()

    def test_deleted_by_filters_and_cleared(self, store):
        store.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="n", value=2)]))
        assert {node.node_id for node in store.get_nodes()} == {"red", "grass", "p"}
        store.clear()
        assert store.get_nodes() == []
        store.add(nodes())
        assert len(store.index) == 5


class TestMaking:
    def test_by_the_names_of_chroma(self, tmp_path):
        store = DiptychVectorStore.from_params(str(tmp_path), "tenant", embed_model=TOY)
        store.add([TextNode(id_="a", text="a")])
        store.index.close()
        again = DiptychVectorStore(path=tmp_path, namespace="tenant")
        assert again.index.ids() == ["a"]
        again.index.close()

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            (
                {"persist_dir": "kb"},
                TypeError,
                "no argument persist_dir=. Use path. Its arguments are",
            ),
            ({"collection_name": "x"}, TypeError, "Use namespace"),
            (
                {"nonsense": 1},
                TypeError,
                "no argument nonsense=. Its arguments are index, embed_model",
            ),
            ({"kind": "nonsense"}, InvalidArgument, "kind='nonsense'"),
            ({"lock_timeout": "x"}, InvalidArgument, "lock_timeout"),
            ({"namespace": "x"}, InvalidArgument, "needs path="),
        ],
    )
    def test_options_that_mean_nothing_are_refused_at_once(self, options, error, words):
        with pytest.raises(error, match=words):
            DiptychVectorStore(**options)


def test_a_storage_context_made_from_the_store_keeps_it(store):
    context = StorageContext.from_defaults(vector_store=store)
    assert context.vector_store is store
