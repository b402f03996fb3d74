"""The parts of LangChain that merge answers, and published code that does, tell our documents apart."""

import json

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps, loads
from manual import BLUE, RED

from diptych import Document as Stored
from diptych import Image, MultimodalIndex, Query, ToyEncoder
from diptych.errors import DocumentError
from diptych.langchain import (
    DiptychLoader,
    DiptychRetriever,
    DiptychVectorStore,
    RetrievedDocument,
    image_document,
    to_content_blocks,
)
from diptych.langchain.convert import is_placeholder, placeholder
from stubs import png

GREEN = png("green")

pytestmark = pytest.mark.filterwarnings("ignore:The function `loads` is in beta")


def a_hash(data):
    return Image(data).sha256[:8]


@pytest.fixture
def index(tmp_path):
    """Pictures without words, of which two have one name and one has none, and a text with a figure."""
    index = MultimodalIndex(ToyEncoder(), ToyEncoder())
    index.add([
        Stored(image=Image(RED, name="a/scan.png"), id="red", metadata={"key": 1}),
        Stored(image=Image(BLUE, name="b/scan.png"), id="blue", metadata={"key": 2}),
        Stored(image=GREEN, id="green", metadata={"key": 3, "score": "A"}),
        Stored("Text about a yellow pump.", id="p", group="g", metadata={"key": 4, "page": 3}),
        Stored(image=png("yellow"), id="f", group="g", order=1, metadata={"key": 4, "score": 1}),
        Stored("Words about spare parts.", id="w", metadata={"key": 5}),
    ])  # fmt: skip
    return index


@pytest.fixture
def store(index):
    return DiptychVectorStore(index=index)


KINDS = ["fused", "similarity", "image", "base64"]


def retriever_of(kind, index, **options):
    if kind == "fused":
        return DiptychRetriever(index=index, k=9, **options)
    store = DiptychVectorStore(index=index, images_as="base64" if kind == "base64" else "caption")
    search_type = "fused" if kind == "base64" else kind
    return store.as_retriever(search_type=search_type, search_kwargs={"k": 9, **options})


def reciprocal_rank_fusion(results, k=60):
    """Merge ranked lists as published notebooks do: a score for each dumped document."""
    scores = {}
    for documents in results:
        for rank, document in enumerate(documents):
            key = dumps(document)
            scores[key] = scores.get(key, 0) + 1 / (rank + k)
    ordered = sorted(scores.items(), key=lambda one: one[1], reverse=True)
    return [(loads(key, allowed_objects=[Document]), score) for key, score in ordered]


class TestPlaceholder:
    def test_it_names_the_picture_and_its_content(self):
        assert placeholder(Image(RED, name="a/b/scan 1.png")) == (
            f"[picture: scan 1.png {a_hash(RED)}]"
        )
        assert (
            placeholder(Image(RED, name="c:\\b\\scan.png")) == f"[picture: scan.png {a_hash(RED)}]"
        )
        assert placeholder(Image(RED)) == f"[picture: {a_hash(RED)}]"
        assert placeholder(Image(RED, name="a\n  b.png")) == f"[picture: a b.png {a_hash(RED)}]"

    def test_a_picture_that_is_gone_keeps_its_name(self, tmp_path):
        assert placeholder(Image(tmp_path / "gone.png")) == "[picture: gone.png]"

    @pytest.mark.parametrize("name", ["", "x.png", "a]b [picture: 1].png", "ü ネ.png", " \t "])
    def test_it_is_recognised(self, name):
        assert is_placeholder(placeholder(Image(RED, name=name)))
        both = [placeholder(Image(data, name=name)) for data in (RED, BLUE)]
        assert is_placeholder("\n\n".join(both))

    @pytest.mark.parametrize(
        "text",
        ["", "[picture]", "[picture: x.png]", "see [picture: x 12345678]", "[picture: 1234]"],
    )
    def test_other_texts_are_not(self, text):
        assert not is_placeholder(text)

    def test_every_method_gives_it(self, store):
        image = store.index.get(["red"])[0].image
        for found in (
            store.get_by_ids(["red"]),
            store.similarity_search(Query(image=image), 1),
            store.similarity_search_by_image(RED, 1),
            store.max_marginal_relevance_search(Query(image=image), 1, space="image"),
            DiptychRetriever(index=store.index).invoke(Query(image=image), k=1),
        ):
            assert [d.page_content for d in found] == [f"[picture: scan.png {a_hash(RED)}]"]

    def test_it_is_not_stored_as_words(self, store):
        store.add_documents(store.get_by_ids(["red"]))
        store.add_documents(
            DiptychRetriever(index=store.index).invoke(Query(image=Image(BLUE)), k=1)
        )
        for identity, picture in (("red", RED), ("blue", BLUE)):
            (stored,) = store.index.get([identity])
            assert (stored.text, stored.image) == (None, Image(picture))
            assert stored.metadata == {"key": 1 if identity == "red" else 2}

    def test_nor_is_that_of_a_copy_or_of_a_loaded_document(self, tmp_path):
        path = tmp_path / "scan.png"
        path.write_bytes(RED)
        store = DiptychVectorStore(ToyEncoder())
        document = image_document(path, id="1")
        assert document.page_content == f"[picture: scan.png {a_hash(RED)}]"
        store.add_documents(
            [Document(document.page_content, metadata=document.metadata, id="copy")]
        )
        store.add_images([path], ids=["2"])
        (unit,) = DiptychRetriever(index=store.index, k=1, filter={"$id": "2"}).invoke("red")
        loaded = loads(dumps(unit), allowed_objects=[Document])
        loaded.id = "loaded"
        store.add_documents([loaded])
        (loader,) = DiptychLoader(tmp_path).load()
        assert is_placeholder(loader.page_content)
        store.add_documents([Document(loader.page_content, metadata=loader.metadata, id="loader")])
        for stored in store.index.get():
            assert (stored.text, stored.image) == (None, Image(RED)), stored.id

    def test_words_that_look_like_it_stay_words(self, store):
        words = f"[picture: scan.png {a_hash(RED)}]"
        store.add_documents([Document(words, id="words")])
        store.add_images([BLUE], ids=["captioned"], texts=[words])
        stored = store.index.get(["words", "captioned"])
        assert [(d.text, d.has_image) for d in stored] == [(words, False), (words, True)]
        again = store.get_by_ids(["words", "captioned"])
        store.add_documents(again)
        assert store.index.get(["words", "captioned"]) == stored

    def test_a_copy_that_has_lost_its_picture_is_not_stored_as_words(self, store):
        lost = image_document(RED)
        copy = Document(lost.page_content, metadata=lost.metadata)
        with pytest.raises(DocumentError, match="is not at hand"):
            store.add_documents([copy])

    def test_it_does_not_reach_the_prompt(self, index):
        documents = DiptychRetriever(index=index, k=9).invoke(Query(image=Image(RED)))
        for given in (documents, [loads(dumps(d), allowed_objects=[Document]) for d in documents]):
            blocks = to_content_blocks(given, index=index)
            assert "[picture:" not in json.dumps([b for b in blocks if b["type"] == "text"])
            assert sum(block["type"] == "image" for block in blocks) == 4


class TestEquality:
    def test_the_same_documents_are_equal_whatever_found_them(self, index):
        retriever = DiptychRetriever(index=index, k=9)
        words = {"text": "Text about a pump.", "weights": {"image": 0.0}}
        asked = [words, Query(image=Image(png("yellow"))), "spare parts", {"image": RED}]
        answers = [{d.metadata["document_ids"][0]: d for d in retriever.invoke(q)} for q in asked]
        by_text, by_picture = answers[0]["p"], answers[1]["p"]
        assert (by_text.id, by_picture.id) == ("p", "f")
        assert by_text.metadata["score"] != by_picture.metadata["score"]
        assert by_text.metadata["evidence"] != by_picture.metadata["evidence"]
        for answer in answers[1:]:
            for identity, document in answer.items():
                assert document == answers[0][identity]
                assert dumps(document) == dumps(answers[0][identity])
        assert len({dumps(document) for document in answers[0].values()}) == len(answers[0]) == 5

    def test_what_is_loaded_again_is_equal_and_keeps_what_lasts(self, index):
        for document in DiptychRetriever(index=index, k=9).invoke(
            Query(image=Image(png("yellow")))
        ):
            loaded = loads(dumps(document), allowed_objects=[Document])
            assert document == loaded
            assert loaded == document
            assert not {"score", "evidence"} & set(loaded.metadata)
            assert loaded.metadata["document_ids"] == document.metadata["document_ids"]
            assert dumps(loaded) == dumps(document)

    def test_what_a_user_changes_counts(self, index):
        retriever = DiptychRetriever(index=index, k=1)
        one = retriever.invoke({"text": "Text about a pump.", "weights": {"image": 0.0}})[0]
        other = retriever.invoke(Query(image=Image(png("yellow"))))[0]
        other.metadata["seen"] = True
        assert (one.id, other.id) == ("p", "f")
        assert one != other
        one.metadata["seen"] = True
        assert one == other
        assert dumps(one) == dumps(other)
        other.page_content = "Other words."
        assert one != other

    def test_stored_documents_with_other_content_differ(self, store):
        (one,) = store.get_by_ids(["green"])
        store.index.upsert([Stored("x", id="x", metadata={})])
        assert one == store.get_by_ids(["green"])[0]
        assert one.metadata["score"] == "A"
        assert loads(dumps(one), allowed_objects=[Document]).metadata == one.metadata
        store.add_images([GREEN], ids=["green"], metadatas=[{"key": 3, "score": "B"}])
        assert one != store.get_by_ids(["green"])[0]
        assert one != "green"

    def test_pictures_with_one_caption_differ_by_their_content(self):
        made = []
        for data in (RED, BLUE):
            index = MultimodalIndex(ToyEncoder())
            index.add([Stored("a scan", image=data, id="1")])
            made.append(DiptychVectorStore(index=index).get_by_ids(["1"])[0])
        assert made[0] != made[1]
        assert isinstance(made[0], RetrievedDocument)


@pytest.mark.parametrize("kind", KINDS)
class TestMerging:
    def test_reciprocal_rank_fusion_of_dumped_documents(self, index, kind):
        retriever = retriever_of(kind, index)
        asked = ["a yellow pump", Query(image=Image(RED)), "green"]
        answers = retriever.batch(asked)
        merged = reciprocal_rank_fusion(answers)
        expected = {}
        for answer in answers:
            for rank, document in enumerate(answer):
                name = "p" if kind == "fused" and document.id == "f" else document.id
                expected[name] = expected.get(name, 0) + 1 / (rank + 60)
        assert {"red", "blue", "green"} <= set(expected)
        assert len(merged) == len(expected)
        assert {d.id: score for d, score in merged} == pytest.approx(expected)
        if kind != "base64":
            blocks = to_content_blocks([d for d, _ in merged], index=index)
            assert sum(block["type"] == "image" for block in blocks) == 4

    @pytest.mark.parametrize("id_key", [None, "key"])
    async def test_ensemble_retriever(self, index, kind, id_key):
        ensemble = pytest.importorskip("langchain_classic.retrievers").EnsembleRetriever
        retriever = retriever_of(kind, index)
        words = retriever_of(kind, index)
        merged = ensemble(retrievers=[retriever, words], id_key=id_key)
        single = {d.metadata["key"] for d in retriever.invoke("green")}
        for found in (merged.invoke("green"), await merged.ainvoke("green")):
            assert {d.metadata["key"] for d in found} == single
            assert {1, 2, 3} <= single
            if kind == "fused" or id_key:
                assert len(found) == len(single)

    async def test_multi_query_retriever(self, index, kind):
        classic = pytest.importorskip("langchain_classic.retrievers.multi_query")
        model = FakeListChatModel(responses=["a yellow pump\nred\nspare parts\ngreen"])
        retriever = retriever_of(kind, index)
        asked = classic.MultiQueryRetriever.from_llm(retriever, llm=model)
        alone = {json.dumps(d.metadata.get("document_ids", d.id)) for d in retriever.invoke("red")}
        for found in (asked.invoke("colours"), await asked.ainvoke("colours")):
            names = [json.dumps(d.metadata.get("document_ids", d.id)) for d in found]
            assert len(names) == len(set(names))
            assert alone <= set(names)

    async def test_compression_and_merger_keep_pictures(self, index, kind):
        classic = pytest.importorskip("langchain_classic.retrievers")
        compressors = pytest.importorskip("langchain_classic.retrievers.document_compressors")
        keeps = compressors.LLMChainFilter.from_llm(FakeListChatModel(responses=["YES"] * 30))
        retriever = retriever_of(kind, index)
        compressed = classic.ContextualCompressionRetriever(
            base_compressor=keeps, base_retriever=retriever
        )
        merger = classic.MergerRetriever(retrievers=[retriever, retriever])
        alone = retriever.invoke("red")
        assert compressed.invoke("red") == alone
        assert await compressed.ainvoke("red") == alone
        merged = merger.invoke("red")
        assert merged[::2] == merged[1::2] == alone
        assert await merger.ainvoke("red") == merged
        if kind != "base64":
            blocks = to_content_blocks(compressed.invoke("red"))
            assert any(block["type"] == "image" for block in blocks)


def test_a_document_is_made_as_its_constructor_makes_it(index):
    (unit,) = DiptychRetriever(index=index, k=1).invoke("a yellow pump")
    (stored,) = DiptychVectorStore(index=index).get_by_ids(["red"])
    for made in (unit, stored):
        own = {"page_content": made.page_content, "metadata": made.metadata, "id": made.id}
        validated = RetrievedDocument(**own)
        validated._fused, validated._is_unit = made._fused, made._is_unit
        assert made.__getstate__() == validated.__getstate__()
        assert made.model_dump() == validated.model_dump()
        assert repr(made) == repr(validated)
        made.metadata["more"] = 1
        made.page_content = "Other words."
        assert made.model_copy(deep=True) == made != validated
    (text,) = DiptychVectorStore(index=index).get_by_ids(["w"])
    own = {"page_content": text.page_content, "metadata": text.metadata, "id": text.id}
    assert type(text) is Document
    assert text.__getstate__() == Document(**own).__getstate__()
    assert text == Document(**own)
