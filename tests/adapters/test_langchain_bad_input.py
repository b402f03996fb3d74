"""Wrong use of the LangChain classes: a clear error, and the store is as it was."""

import pytest
from langchain_core.documents import Document
from manual import RED
from pydantic import ValidationError

from diptych import ToyEncoder
from diptych.errors import (
    DocumentError,
    FilterError,
    InvalidArgument,
    MediaError,
    VectorError,
)
from diptych.langchain import (
    DiptychEmbeddings,
    DiptychLoader,
    DiptychRetriever,
    DiptychVectorStore,
    create_multimodal_retriever_tool,
    image_document,
    multimodal_prompt,
    to_content_blocks,
)
from diptych.maintenance import verify

TOY = ToyEncoder()


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    store = DiptychVectorStore(TOY, path=tmp_path_factory.mktemp("bad") / "index")
    store.add_texts(["a red pump", "a blue valve"], [{"n": 1}, {"n": 2}], ids=["1", "2"])
    store.add_images([RED], ids=["3"], texts=["the pump"])
    yield store
    store.index.close()


@pytest.fixture
def store(shared_store):
    before = shared_store.get_by_ids(shared_store.index.ids())
    yield shared_store
    assert shared_store.get_by_ids(shared_store.index.ids()) == before
    assert verify(shared_store.index.path, deep=True).problems == ()


CASES = {
    "texts of numbers": (lambda s: s.add_texts([1, 2]), InvalidArgument, r"texts\[0\] is 1.*strings"),
    "no texts": (lambda s: s.add_texts(None), InvalidArgument, "texts=None"),
    "an object as metadata": (
        lambda s: s.add_texts(["a"], [{"x": object()}]), DocumentError, "metadata.x is of type object",
    ),
    "nan as metadata": (
        lambda s: s.add_texts(["a"], [{"x": float("nan")}]), DocumentError, "JSON cannot hold",
    ),
    "one metadata": (lambda s: s.add_texts(["a"], {"x": 1}), InvalidArgument, "metadatas=.*one dict"),
    "a number as metadata": (lambda s: s.add_texts(["a"], [3]), InvalidArgument, "expected a dict"),
    "too few metadatas": (
        lambda s: s.add_texts(["a", "b"], [{}]), InvalidArgument, "1 metadatas were given for 2",
    ),
    "one id": (lambda s: s.add_texts(["a"], ids="x"), InvalidArgument, "ids='x' is one str"),
    "a number as id": (lambda s: s.add_texts(["a"], ids=[3]), DocumentError, "id of type int"),
    "no documents": (lambda s: s.add_documents(["a"]), InvalidArgument, "LangChain documents"),
    "one document": (lambda s: s.add_documents(Document("a")), InvalidArgument, "is one Document"),
    "batches of nothing": (lambda s: s.add_texts(["a"], batch_size=0), InvalidArgument, "batch_size=0"),
    "one picture": (lambda s: s.add_images("a.png"), InvalidArgument, "uris='a.png' is one string"),
    "a number as picture": (lambda s: s.add_images([3]), MediaError, "given as int"),
    "a picture that is not there": (lambda s: s.add_images(["/no.png"]), MediaError, "could not be opened"),
    "a picture of another kind": (lambda s: s.add_images([b"no picture"]), MediaError, "no known format"),
    "a picture at a url": (lambda s: s.add_images(["https://x.org/y.png"]), MediaError, "never fetches"),
    "a picture with wrong metadata": (lambda s: s.add_images([RED], [3]), InvalidArgument, "a dict"),
    "a picture with one caption": (
        lambda s: s.add_images([RED], texts="abc"), InvalidArgument, "texts='abc' is one str",
    ),
    "a picture with a number as caption": (
        lambda s: s.add_images([RED], texts=[3]), DocumentError, "text of type int",
    ),
    "deleting bytes": (lambda s: s.delete(b"1"), InvalidArgument, "one bytes"),
    "deleting a number": (lambda s: s.delete([3]), InvalidArgument, r"ids\[0\] is 3"),
    "deleting by a wrong filter": (lambda s: s.delete(filter={"$x": 1}), FilterError, "Unknown"),
    "getting one id": (lambda s: s.get_by_ids("12"), InvalidArgument, "ids='12' is one string"),
    "a number as query": (lambda s: s.similarity_search(3), InvalidArgument, "given as int"),
    "a query of nothing": (lambda s: s.similarity_search({}), InvalidArgument, "neither"),
    "nothing of a blank query": (lambda s: s.similarity_search(" ", k=0), InvalidArgument, "at least 1"),
    "an offset below nothing": (
        lambda s: s.similarity_search("a", offset=-1), InvalidArgument, "offset=-1",
    ),
    "a condition on texts in words": (
        lambda s: s.similarity_search("a", where_document="pump"), FilterError, r"\$text was given 'pump'",
    ),
    "no query": (lambda s: s.similarity_search(None), InvalidArgument, "NoneType"),
    "k of nothing": (lambda s: s.similarity_search("a", k=0), InvalidArgument, "expected at least 1"),
    "k as a word": (lambda s: s.similarity_search("a", k="3"), InvalidArgument, "expected an integer"),
    "a number as filter": (lambda s: s.similarity_search("a", filter=3), FilterError, "a mapping"),
    "an unknown operator": (
        lambda s: s.similarity_search("a", filter={"n": {"$like": 1}}), FilterError, r"\$like",
    ),
    "an unknown mode": (lambda s: s.similarity_search("a", mode="x"), InvalidArgument, "mode='x'"),
    "an unknown list": (
        lambda s: s.similarity_search("a", weights={"x": 1}), InvalidArgument, "weights the list 'x'",
    ),
    "a word as vector": (lambda s: s.similarity_search_by_vector("abc"), VectorError, "no array"),
    "a vector of another model": (
        lambda s: s.similarity_search_by_vector([1, 2]), VectorError, r"expected \(1, 128\)",
    ),
    "a vector of nan": (
        lambda s: s.similarity_search_by_vector([float("nan")] * 128), VectorError, "NaN",
    ),
    "more than all diversity": (
        lambda s: s.max_marginal_relevance_search("a", lambda_mult=3), InvalidArgument, "lambda_mult=3",
    ),
    "diversity of a word": (
        lambda s: s.max_marginal_relevance_search("a", lambda_mult="3"), InvalidArgument, "lambda_mult='3'",
    ),
    "diversity of 16,610 bits": (
        lambda s: s.max_marginal_relevance_search("a", lambda_mult=10**5000), InvalidArgument, "bits>",
    ),
    "diversity of no count": (
        lambda s: s.max_marginal_relevance_search("a", k=None), InvalidArgument, "k=None",
    ),
    "a long mode": (lambda s: s.similarity_search("a", mode="x" * 9**6), InvalidArgument, "^.{,300}$"),
    "a space of 16,610 bits": (
        lambda s: s.similarity_search_by_vector([1.0] * 128, space=10**5000), InvalidArgument, "space=<16",
    ),
    "a word as threshold": (
        lambda s: s.similarity_search_with_relevance_scores("a", score_threshold="x"),
        InvalidArgument, "score_threshold='x'",
    ),
    "nan as threshold": (
        lambda s: s.similarity_search_with_relevance_scores("a", score_threshold=float("nan")),
        InvalidArgument, "score_threshold=nan",
    ),
    "diversity among nothing": (
        lambda s: s.max_marginal_relevance_search("a", fetch_k=0), InvalidArgument, "fetch_k=0",
    ),
    "diversity in no space": (
        lambda s: s.max_marginal_relevance_search("a", space="x"), InvalidArgument, "space='x'",
    ),
    "an unknown search type": (lambda s: s.as_retriever(search_type="x"), ValidationError, "not allowed"),
    "a path as a number": (lambda s: DiptychVectorStore(TOY, path=3), TypeError, "PathLike"),
    "a word as a model": (lambda s: DiptychVectorStore("clip"), InvalidArgument, "lacks embed_documents"),
    "an unknown modality": (
        lambda s: DiptychRetriever(index=s.index, modalities=["x"]).invoke("a"),
        InvalidArgument, "modalities=",
    ),
    "a number as index": (lambda s: DiptychRetriever(index=3), ValidationError, "MultimodalIndex"),
    "a query with a picture that is not there": (
        lambda s: DiptychRetriever(index=s.index).invoke({"image": "no.png"}), MediaError, "no.png",
    ),
    "a query of other keys": (
        lambda s: DiptychRetriever(index=s.index).invoke({"img": RED}), InvalidArgument, r"\['img'\]",
    ),
    "blocks of a word": (lambda s: to_content_blocks("abc"), InvalidArgument, "one string"),
    "blocks of numbers": (lambda s: to_content_blocks([3]), InvalidArgument, "list of documents"),
    "a budget in words": (lambda s: to_content_blocks([], max_images="x"), InvalidArgument, "max_images"),
    "a huge budget": (
        lambda s: to_content_blocks([], max_bytes=10**5000), InvalidArgument, "max_bytes=<16,610 bits>",
    ),
    "an unknown budget": (lambda s: multimodal_prompt(max_imags=3), InvalidArgument, "max_imags= is"),
    "a tool of no retriever": (
        lambda s: create_multimodal_retriever_tool(3, "a", "b"), InvalidArgument, "given int",
    ),
    "embedding one word": (
        lambda s: DiptychEmbeddings(TOY).embed_documents("abc"), InvalidArgument, "one string",
    ),
    "embedding one picture": (
        lambda s: DiptychEmbeddings(TOY).embed_image("a.png"), InvalidArgument, "one string",
    ),
    "a document of no picture": (lambda s: image_document("no.png"), MediaError, "could not be opened"),
    "loading nothing": (lambda s: DiptychLoader("no-folder").load(), InvalidArgument, "does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_use_is_refused_and_nothing_is_changed(store, case):
    call, error, words = CASES[case]
    with pytest.raises(error, match=words):
        call(store)


async def test_a_bad_picture_in_one_batch_does_not_stop_the_next_ones(tmp_path):
    (tmp_path / "a.png").write_bytes(RED)
    documents = [image_document(tmp_path / "a.png", str(i), id=str(i)) for i in range(6)]
    documents = [Document(d.page_content, metadata=d.metadata, id=d.id) for d in documents]
    documents[1].metadata["image_path"] = str(tmp_path / "gone.png")
    one, other = DiptychVectorStore(TOY), DiptychVectorStore(TOY)
    one.add_documents(documents, batch_size=2)
    await other.aadd_documents(documents, batch_size=2)
    for store in (one, other):
        assert [failure.id for failure in store.failed] == ["1"]
        assert store.index.ids() == ["0", "2", "3", "4", "5"]
