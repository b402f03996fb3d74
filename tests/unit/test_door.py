"""The door of an index: no vector is compared before the models that made both sides are (SEAM, L1 to L4)."""

import asyncio
import threading

import numpy as np
import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery

from diptych import CrossModalAligner, Document, MultimodalIndex, MultimodalRetriever
from diptych.errors import (
    Conflict,
    DiptychError,
    EncoderMismatch,
    InvalidArgument,
    NotFitted,
    StorageError,
)
from diptych.image import Image
from diptych.langchain import DiptychVectorStore as LangChainStore
from diptych.llama_index import DiptychVectorStore as LlamaStore
from diptych.maintenance import copy_index, export_index, import_index, reembed
from diptych.storage import LocalStorage
from pace import join
from stubs import StubImage, StubText, hashed_rows, png

CORPUS = [
    Document("a red pump", id="t"),
    Document("a blue wall", Image(png("blue")), id="b"),
    Document(image=Image(png("green")), id="i"),
]
ROW = np.eye(1, 16, dtype=np.float32)
PICTURE_ROW = np.eye(1, 12, dtype=np.float32)


class Drifted(StubText):
    """Calls itself what ``StubText`` calls itself, and makes other vectors."""

    def encode_query(self, texts):
        return hashed_rows(texts, self.dim, "another model")

    encode_document = encode_query


class DriftedImage(StubImage):
    def encode_image(self, images):
        return hashed_rows([image.read() for image in images], self.dim, "another model")


@pytest.fixture
def folder(tmp_path):
    with MultimodalIndex(StubText(), StubImage(), path=tmp_path / "index") as index:
        index.add(CORPUS)
    return tmp_path / "index"


def by_vector(view, row):
    return lambda index: getattr(index, view).search(row, 2)


def langchain(ask):
    return lambda index: ask(LangChainStore(index=index))


def llama(mode, **options):
    query = VectorStoreQuery(
        query_embedding=ROW[0].tolist(),
        query_str="red pump",
        mode=mode,
        similarity_top_k=2,
        **options,
    )
    return lambda index: LlamaStore(index).query(query)


TEXT_SEARCHES = {
    "search": lambda index: index.search("red pump"),
    "search with vectors": lambda index: index.search("red pump", vectors={"text": ROW}),
    "query vectors": lambda index: index.query_vectors("red pump"),
    "retriever": lambda index: MultimodalRetriever.from_index(index).retrieve("red pump"),
    "retriever with vectors": lambda index: MultimodalRetriever.from_index(index).retrieve(
        "red pump", vectors={"text": ROW}
    ),
    "text view": by_vector("text_index", ROW),
    "cross-modal view": by_vector("cross_modal_index", np.eye(1, 30, dtype=np.float32)),
    "vectors of the view": lambda index: index.text_index.vectors(["t"]),
    "vectors of the cross-modal view": lambda index: index.cross_modal_index.vectors(["t"]),
    **{
        f"LangChain {mode}": langchain(
            lambda store, mode=mode: store.similarity_search("red pump", 2, mode=mode)
        )
        for mode in ("text", "cross_modal", "fused")
    },
    "LangChain async": langchain(
        lambda store: asyncio.run(store.asimilarity_search("red pump", 2, mode="text"))
    ),
    "LangChain by vector": langchain(lambda store: store.similarity_search_by_vector(ROW[0], 2)),
    "LangChain MMR": langchain(
        lambda store: store.max_marginal_relevance_search("red pump", 2, space="text")
    ),
    "LangChain MMR by vector": langchain(
        lambda store: store.max_marginal_relevance_search_by_vector(ROW[0], 2)
    ),
    "LlamaIndex default": llama("default"),
    "LlamaIndex hybrid": llama("hybrid", alpha=0.5),
    "LlamaIndex mmr": llama("mmr"),
}  # fmt: skip

PICTURE_SEARCHES = {
    "search": lambda index: index.search(Image(png("green"))),
    "image view": by_vector("image_index", PICTURE_ROW),
    "vectors of the view": lambda index: index.image_index.vectors(["i"]),
    "retriever": lambda index: MultimodalRetriever.from_index(index).retrieve(Image(png("green"))),
    "LangChain by image": langchain(
        lambda store: store.similarity_search_by_image(png("green"), 2)
    ),
    "LangChain by vector": langchain(
        lambda store: store.similarity_search_by_vector(PICTURE_ROW[0], 2, space="image")
    ),
}


@pytest.mark.parametrize("name", TEXT_SEARCHES)
def test_text_model_that_only_calls_itself_the_same_is_refused(folder, name):
    with (
        MultimodalIndex(Drifted(), StubImage(), path=folder) as index,
        pytest.raises(EncoderMismatch, match=r"calls itself 'stub-text'.*other vectors"),
    ):
        TEXT_SEARCHES[name](index)


@pytest.mark.parametrize("name", PICTURE_SEARCHES)
def test_picture_model_that_only_calls_itself_the_same_is_refused(folder, name):
    with (
        MultimodalIndex(StubText(), DriftedImage(), path=folder) as index,
        pytest.raises(EncoderMismatch, match=r"calls itself 'stub-image'.*other vectors"),
    ):
        PICTURE_SEARCHES[name](index)


def test_copy_does_not_take_vectors_of_another_model(folder, tmp_path):
    with (
        MultimodalIndex(Drifted(), StubImage(), path=folder) as index,
        pytest.raises(EncoderMismatch, match="calls itself"),
    ):
        copy_index(index, tmp_path / "copy")


OTHERS = {
    "another name": lambda: StubText(space="other", fingerprint="other-1"),
    "the same name": Drifted,
    "another dimension": lambda: StubText(dim=20, space="other", fingerprint="other-1"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", TEXT_SEARCHES)
def test_after_a_reembed_elsewhere_the_old_model_is_refused(folder, name, other):
    with MultimodalIndex(StubText(), StubImage(), path=folder) as index:
        TEXT_SEARCHES[name](index)
        reembed(folder, OTHERS[other](), StubImage())
        with pytest.raises(EncoderMismatch, match="built with|calls itself"):
            TEXT_SEARCHES[name](index)


def test_view_that_was_kept_over_a_reembed_is_refused(folder):
    with MultimodalIndex(StubText(), StubImage(), path=folder) as index:
        view = index.text_index
        reembed(folder, OTHERS["another name"](), StubImage())
        with pytest.raises(EncoderMismatch, match="built with 'other'"):
            view.search(ROW, 2)


def test_vectors_by_hand_are_compared_with_the_space_that_was_opened(folder):
    with MultimodalIndex(path=folder) as index:
        assert len(index.text_index.search(ROW, 2)[0]) == 2
        reembed(folder, OTHERS["another name"](), StubImage())
        for _ in range(2):
            with pytest.raises(EncoderMismatch, match=r"'stub-text'.*'other'.*Open it again"):
                index.text_index.search(ROW, 2)
        assert len(index.image_index.search(PICTURE_ROW, 2)[0]) == 2
        assert [hit.id for hit in index.search("red pump")["lexical"]] == ["t"]
    with MultimodalIndex(path=folder) as index:
        assert len(index.text_index.search(ROW, 2)[0]) == 2


@pytest.mark.parametrize("other", OTHERS)
def test_after_a_reembed_elsewhere_nothing_of_the_old_model_is_stored(folder, other):
    with MultimodalIndex(StubText(), StubImage(), path=folder) as index:
        assert index.search("red pump")
        reembed(folder, OTHERS[other](), StubImage())
        with pytest.raises(EncoderMismatch, match="built with|calls itself"):
            index.add([Document("more", id="m")])
    with MultimodalIndex(path=folder) as index:
        assert index.ids() == ["t", "b", "i"]


def test_reembed_between_the_look_and_the_lock_is_noticed(folder):
    """The batch is encoded before the lock is taken; meanwhile another process gives other vectors."""

    class Slow(StubText):
        def encode_document(self, texts):
            if "more" in texts:
                reembed(folder, OTHERS["another name"](), StubImage())
            return super().encode_document(texts)

    with (
        MultimodalIndex(Slow(), StubImage(), path=folder) as index,
        pytest.raises(EncoderMismatch, match="built with 'other'"),
    ):
        index.add([Document("more", id="m")])
    with MultimodalIndex(path=folder) as index:
        assert index.ids() == ["t", "b", "i"]


def test_model_is_asked_for_its_probe_once(folder):
    text = StubText()
    with MultimodalIndex(text, StubImage(), path=folder) as index:
        for _ in range(3):
            index.text_index.search(ROW, 2)
            index.search("red pump")
            index.text_index.vectors(["t"])
    assert len(text.calls) == 1


def test_vectors_can_be_searched_where_the_model_cannot_encode(folder):
    class Silent(StubText):
        def encode_document(self, texts):
            raise ConnectionError("no network")

    with MultimodalIndex(Silent(), StubImage(), path=folder) as index:
        assert len(index.text_index.search(ROW, 2)[0]) == 2


# -- L3: aligners ---------------------------------------------------------------------------


def aligner(text="stub-text", image="stub-image", dims=(16, 12), *, fitted=True):
    made = CrossModalAligner(text_space=text, image_space=image)
    if fitted:
        rng = np.random.default_rng(0)
        topic = rng.standard_normal((80, 8))
        made.fit(*(topic @ rng.standard_normal((8, dim)) for dim in dims), allow_few=True)
    return made


class Foreign:
    """Somebody else's aligner, as the Protocol asks for it."""

    text_space, image_space, fingerprint = "stub-text", "stub-image", "foreign"

    def text_to_image(self, vectors):
        return np.eye(len(vectors), 12, dtype=np.float32)

    def image_to_text(self, vectors):
        return None


def retriever_with(**options):
    return MultimodalRetriever(StubText(), StubImage(), **options)


def index_with(**options):
    return MultimodalIndex(StubText(), StubImage(), **options)


@pytest.mark.parametrize("made", [index_with, retriever_with])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: aligner(text="other"), r"'other'.*'stub-text'"),
        (lambda: aligner(image="other"), r"'other'.*'stub-image'"),
        (lambda: aligner("stub-image", "stub-text", (12, 16)), r"'stub-image'.*'stub-text'"),
        (lambda: aligner(fitted=False, text="other"), r"'other'.*'stub-text'"),
        (lambda: aligner(dims=(20, 12)), "16"),
        (lambda: aligner(dims=(16, 20)), "12"),
        (CrossModalAligner, r"'text'.*'stub-text'"),
    ],
)
def test_aligner_for_other_spaces_is_refused(made, given, message):
    with pytest.raises(EncoderMismatch, match=rf"(?s)aligner.*{message}.*[Ff]it"):
        made(aligner=given())


def test_aligner_is_compared_with_the_stored_spaces_where_an_encoder_is_missing(folder):
    with pytest.raises(EncoderMismatch, match=r"'other'.*'stub-image'"):
        MultimodalIndex(StubText(), path=folder, aligner=aligner(image="other"))
    MultimodalIndex(StubText(), path=folder, aligner=aligner()).close()


def test_aligner_that_is_exchanged_later_is_compared_too():
    index = index_with(aligner=aligner())
    index.add(CORPUS)
    assert "image" in index.search("red pump")
    index.aligner = aligner(text="other")
    with pytest.raises(EncoderMismatch, match="'other'"):
        index.search("red pump")


def test_aligner_that_fits_is_taken():
    for made in (aligner(), Foreign()):
        index = index_with(aligner=made)
        index.add(CORPUS)
        assert len(index.search("red pump")["image"]) == 2
    assert "text" not in index.search(Image(png("green")))  # Foreign knows no way back


def test_aligner_that_is_not_fitted_yet_says_so_when_it_is_asked():
    index = index_with(aligner=aligner(fitted=False))
    index.add(CORPUS)
    with pytest.raises(NotFitted):
        index.search("red pump")


@pytest.mark.parametrize("thing", ["x", 7, object(), StubText()])
def test_what_is_no_aligner_or_fusion_model_is_refused(thing):
    with pytest.raises(InvalidArgument, match=r"aligner is a .*lacks"):
        index_with(aligner=thing)
    with pytest.raises(InvalidArgument, match=r"fusion_model is a .*lacks"):
        index_with(fusion_model=thing)


# -- L4: conflicts --------------------------------------------------------------------------


def test_conflict_is_an_error_of_diptych():
    from diptych import storage

    assert storage.Conflict is Conflict
    assert issubclass(Conflict, StorageError)
    assert issubclass(Conflict, DiptychError)


@pytest.fixture
def conflicts(monkeypatch):
    """Lets the next writes find that somebody else was quicker."""
    left = [0]
    write = LocalStorage.write

    def contested(self, *args, **kwargs):
        if left[0] > 0:
            left[0] -= 1
            raise Conflict("Somebody else was quicker.")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(LocalStorage, "write", contested)
    return left


CALLS = {
    "add": lambda index, folder, export: index.add([Document("more", id=folder.name)]),
    "upsert": lambda index, folder, export: index.upsert([Document(folder.name, id="t")]),
    "import": lambda index, folder, export: import_index(export, folder),
    "copy": lambda index, folder, export: copy_index(index, folder),
}


@pytest.mark.parametrize("name", CALLS)
def test_conflict_makes_a_writer_look_again_a_few_times(folder, tmp_path, conflicts, name):
    export_index(folder, tmp_path / "export")
    with MultimodalIndex(StubText(), StubImage(), path=folder) as index:
        conflicts[0] = 2
        CALLS[name](index, tmp_path / "new", tmp_path / "export")
        assert conflicts[0] == 0
        conflicts[0] = 10**6
        with pytest.raises(Conflict, match=r"(?s)stored.*\d+ times.*again"):
            CALLS[name](index, tmp_path / "newer", tmp_path / "export")
        assert conflicts[0] > 10**6 - 50
        conflicts[0] = 0
        assert len(index) in (3, 4)


def test_writer_that_always_comes_second_gets_the_lock_in_the_end(tmp_path):
    """Another thread changes the document whenever this one encodes; waiting for luck would never end."""
    others = []

    class Slow(StubText):
        def encode_document(self, texts):
            if "mine" in texts:
                other = threading.Thread(
                    target=lambda: index.upsert([Document(f"theirs {len(others)}", id="x")])
                )
                others.append(other)
                other.start()
                other.join(0.3)
            return super().encode_document(texts)

    with MultimodalIndex(Slow(), path=tmp_path / "index") as index:
        index.add([Document("first", id="x")])
        assert index.upsert([Document("mine", id="x")]).updated == 1
        join(*others)
        assert len(index) == 1
        assert len(others) < 20


def test_deleting_by_filter_leaves_what_was_changed_meanwhile(folder, monkeypatch):
    """What to delete is chosen by whoever holds the lock, so that nobody's change is lost."""
    with MultimodalIndex(StubText(), StubImage(), path=folder) as index:
        index.upsert([Document("a red pump", id="t", metadata={"old": True})])
        delete = LocalStorage.delete
        done = []

        def late(self, keys):
            if not done:
                done.append(True)
                other = threading.Thread(
                    target=lambda: index.upsert(
                        [Document("a red pump", id="t", metadata={"old": False})]
                    )
                )
                other.start()
                other.join(0.3)
                done.append(other)
            return delete(self, keys)

        monkeypatch.setattr(LocalStorage, "delete", late)
        assert index.delete(where={"old": True}) == 1
        join(done[1])
        assert index.get(["t"])[0].metadata == {"old": False}


def test_an_index_made_without_models_takes_no_vectors(tmp_path):
    """It has no lists for them; the batch used to fail after it was stored in part of the index."""
    with MultimodalIndex(path=tmp_path / "index") as index:
        index.add([Document("a red pump", id="t")])
    with MultimodalIndex(StubText(), path=tmp_path / "index") as index:
        with pytest.raises(EncoderMismatch, match="made without models.*diptych reembed"):
            index.add([Document("a blue pump", id="u")])
        assert [hit.id for hit in index.search("pump")["lexical"]] == ["t"]
    reembed(tmp_path / "index", StubText())
    with MultimodalIndex(StubText(), path=tmp_path / "index") as index:
        assert index.add([Document("a blue pump", id="u")]).added == 1
