"""Options of the index: each counts or is refused, and a store has its own."""

import asyncio
import base64
import inspect
import subprocess
import sys
import threading

import numpy as np
import pytest
from llama_index.core import Document as LlamaDocument
from llama_index.core import (
    MockEmbedding,
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
    load_indices_from_storage,
)
from llama_index.core.data_structs.data_structs import IndexDict
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.indices.multi_modal.retriever import MultiModalVectorIndexRetriever
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageDocument, ImageNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_stubs import RecordingLLM
from manual import BLUE, RED

from diptych import ToyEncoder
from diptych.cards import Results
from diptych.errors import (
    DocumentError,
    EncoderMismatch,
    InvalidArgument,
    MediaError,
    VectorError,
)
from diptych.llama_index import (
    DiptychMultiModalEmbedding,
    DiptychMultiModalIndex,
    DiptychRetriever,
    DiptychVectorStore,
)
from diptych.llama_index.modes import RetrieverInModes
from diptych.llama_index.options import INSTEAD, INSTEAD_ASKED

TOY = ToyEncoder()
MODEL = DiptychMultiModalEmbedding(TOY)
RED64, BLUE64 = (base64.b64encode(picture).decode() for picture in (RED, BLUE))


def new_index(nodes=None, **options):
    return DiptychMultiModalIndex(nodes, embed_model=TOY, transformations=[], **options)


def ids(found):
    return [one.node_id for one in found]


class TestKnown:
    def test_namespaces_are_apart(self, tmp_path):
        for name, text in (("A", "a red pump"), ("B", "a blue valve")):
            index = new_index(path=tmp_path / "kb", namespace=name)
            index.insert(LlamaDocument(text=text, id_=name))
            index.vector_store.index.close()
        for name in ("A", "B"):
            index = DiptychMultiModalIndex(path=tmp_path / "kb", namespace=name)
            assert list(index.ref_doc_info) == [name]
            index.vector_store.index.close()

    def test_the_options_of_an_index_count(self, tmp_path):
        index = new_index(
            path=tmp_path / "kb", images="reference", settings={"a": "b"}, kind="hnsw",
            lock_timeout=0.1,
        )  # fmt: skip
        (tmp_path / "valve.png").write_bytes(BLUE)
        index.insert(ImageDocument(image_path=str(tmp_path / "valve.png"), id_="valve"))
        (stored,) = index.vector_store.index.get()
        assert stored.image.path == tmp_path / "valve.png"
        assert index.vector_store.index.settings["a"] == "b"
        index.vector_store.index.close()
        again = DiptychMultiModalIndex(
            path=tmp_path / "kb", images="reference", settings={"a": "b"}
        )
        assert list(again.ref_doc_info) == ["valve"]
        again.vector_store.index.close()
        with pytest.raises(InvalidArgument, match="kind='nonsense' is unknown"):
            new_index(path=tmp_path / "other", kind="nonsense")
        with pytest.raises(InvalidArgument, match="namespace= needs path="):
            new_index(namespace="A")

    @pytest.mark.parametrize("option", ["namespace", "kind", "settings", "images", "path"])
    def test_a_store_has_its_own(self, option):
        given = {option: {"a": "b"} if option == "settings" else "copy"}
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        for make in (
            lambda: DiptychMultiModalIndex.from_vector_store(store, **given),
            lambda: new_index(
                storage_context=StorageContext.from_defaults(vector_store=store), **given
            ),
        ):
            with pytest.raises(
                InvalidArgument, match=f"{option}= was given together with a storage"
            ):
                make()

    @pytest.mark.parametrize("name", sorted(INSTEAD))
    def test_the_class_says_what_to_use_instead_of_an_argument_of_others(self, name):
        with pytest.raises(TypeError, match=f"Instead of {name}= use "):
            new_index(**{name: object()})
        with pytest.raises(TypeError, match=f"Instead of {name}= use "):
            DiptychMultiModalIndex.from_documents([], embed_model=TOY, **{name: object()})

    def test_all_arguments_of_the_peers_are_known_or_named(self):
        known = set(inspect.signature(DiptychMultiModalIndex.__init__).parameters)
        known |= {"use_async", "show_progress", "index_struct", "objects", "callback_manager"}
        known |= {"transformations"} | set(INSTEAD)
        for peer in (MultiModalVectorStoreIndex, VectorStoreIndex):
            for method in (peer.__init__, peer.from_documents, peer.from_vector_store):
                names = set(inspect.signature(method).parameters)
                assert names - {"self", "cls", "kwargs", "args", "documents"} <= known
        asked = set(DiptychRetriever.OPTIONS) | {"embed_model", "callback_manager", "object_map"}
        for peer in (MultiModalVectorIndexRetriever, RetrieverInModes):
            names = set(inspect.signature(peer.__init__).parameters)
            assert names - {"self", "index", "kwargs"} <= asked

    def test_what_nobody_knows_is_refused_with_what_is_known(self, tmp_path):
        index = new_index()
        document = LlamaDocument(text="words")
        calls = {
            "DiptychMultiModalIndex": lambda: new_index(nonsense=1),
            "as_retriever": lambda: index.as_retriever(nonsense=1),
            "as_query_engine": lambda: index.as_query_engine(RecordingLLM(), nonsense=1),
            "as_chat_engine": lambda: index.as_chat_engine("context", RecordingLLM(), nonsense=1),
            "refresh_ref_docs": lambda: index.insert(document, nonsense=1),
            r"refresh_ref_docs\(delete_kwargs=…\)": lambda: index.update_ref_doc(
                document, delete_kwargs={"nonsense": 1}
            ),
            "insert_nodes": lambda: index.insert_nodes([], nonsense=1),
            "ainsert_nodes": lambda: asyncio.run(index.ainsert_nodes([], nonsense=1)),
            "delete_ref_doc": lambda: index.delete_ref_doc("x", nonsense=1),
        }
        for method, call in calls.items():
            with pytest.raises(TypeError, match=f"^{method} does not know nonsense; it knows "):
                call()
        for mode in ("context", "condense_plus_context", "condense_question", "simple"):
            for multimodal in (True, False):
                with pytest.raises(TypeError, match="as_chat_engine does not know nonsense"):
                    index.as_chat_engine(mode, RecordingLLM(), multimodal=multimodal, nonsense=1)
        for name in ("k", "top_k", "where", "search_kwargs", "image_filters"):
            with pytest.raises(TypeError, match=INSTEAD_ASKED[name].split("=")[0]):
                index.as_query_engine(RecordingLLM(), **{name: 1})
        with pytest.raises(TypeError, match="vector_store_kwargs holds where"):
            index.as_retriever(vector_store_kwargs={"where": {}})
        with pytest.raises(InvalidArgument, match="score_threshold"):
            index.as_retriever(vector_store_kwargs={"score_threshold": "x"})
        with pytest.raises(TypeError, match="Pass it to the class instead"):
            DiptychMultiModalIndex.from_vector_store(
                index.vector_store, storage_context=index.storage_context
            )

    def test_what_llama_indexs_guides_pass_to_updates_is_taken(self):
        index = new_index()
        document = LlamaDocument(text="words", id_="a")
        nested = {"delete_kwargs": {"delete_from_docstore": True}}
        assert index.refresh_ref_docs([document], update_kwargs=nested) == [True]
        index.update_ref_doc(LlamaDocument(text="more", id_="a"), update_kwargs=nested)
        index.update_ref_doc(LlamaDocument(text="most", id_="a"), **nested, insert_kwargs={})
        assert [node.text for node in index.vector_store.get_nodes()] == ["most"]
        index.delete_ref_doc("a", delete_from_docstore=True)
        assert len(index.vector_store.index) == 0


class TestModes:
    @pytest.fixture
    def index(self):
        nodes = [TextNode(text=text, id_=text) for text in ("a red pump", "a red hose", "blue sea")]
        return new_index([*nodes, ImageNode(image=BLUE64, id_="blue picture")])

    @pytest.mark.parametrize("mode", ["text_search", "sparse", "hybrid", "mmr"])
    async def test_a_mode_is_that_of_the_store(self, index, mode):
        options = {"alpha": 0.3, "sparse_top_k": 3, "hybrid_top_k": 2, "mmr_threshold": 0.2}
        retriever = index.as_retriever(similarity_top_k=2, vector_store_query_mode=mode, **options)
        query = VectorStoreQuery(
            TOY.encode_query(["red hose"])[0].tolist(), 2, query_str="red hose",
            mode="text_search" if mode == "sparse" else mode, alpha=0.3, sparse_top_k=3, hybrid_top_k=2,
        )  # fmt: skip
        expected = index.vector_store.query(query, mmr_threshold=0.2)
        for found in (retriever.retrieve("red hose"), await retriever.aretrieve("red hose")):
            assert ids(found) == expected.ids
            assert [one.score for one in found] == pytest.approx(expected.similarities)

    def test_the_default_mode_fuses(self, index):
        plain = index.as_retriever(similarity_top_k=4).retrieve("red hose")
        named = index.as_retriever(similarity_top_k=4, vector_store_query_mode="default")
        assert named.retrieve("red hose") == plain
        assert len(plain) == 4

    def test_the_options_of_the_store_count_in_the_default_mode_too(self, index):
        def find(**options):
            retriever = index.as_retriever(similarity_top_k=2, vector_store_kwargs=options)
            return ids(retriever.retrieve("red hose"))

        first, second, third = ids(index.as_retriever(similarity_top_k=3).retrieve("red hose"))
        assert find() == [first, second]
        assert find(offset=1) == [second, third]
        assert find(where_document={"$contains": "pump"}) == ["a red pump"]
        assert find(score_threshold=1.0) == []

    def test_a_mode_that_is_not_served_is_refused(self, index, tmp_path):
        for mode in ("svm", "semantic_hybrid", "x", None):
            with pytest.raises(
                InvalidArgument, match="is not served; expected one of default, text"
            ):
                index.as_retriever(vector_store_query_mode=mode)
        (tmp_path / "q.png").write_bytes(RED)
        retriever = index.as_retriever(vector_store_query_mode="hybrid")
        from llama_index.core.schema import QueryBundle

        with pytest.raises(InvalidArgument, match="which is for words"):
            retriever.retrieve(QueryBundle("red", image_path=str(tmp_path / "q.png")))
        assert ids(retriever.image_to_image_retrieve(str(tmp_path / "q.png"))) == ["blue picture"]

    def test_it_is_the_retriever_that_others_ask_for_and_inherits_none_of_it(self, index):
        retriever = index.as_retriever(similarity_top_k=3)
        assert isinstance(retriever, MultiModalVectorIndexRetriever)
        own = {**vars(RetrieverInModes), **vars(DiptychRetriever)}
        theirs = {n for n, v in vars(MultiModalVectorIndexRetriever).items() if callable(v)}
        theirs |= {
            n for n, v in vars(MultiModalVectorIndexRetriever).items() if isinstance(v, property)
        }
        assert theirs <= own.keys()
        retriever.similarity_top_k = 1
        assert len(retriever.retrieve("red")) == 1
        assert retriever.image_similarity_top_k == 1
        retriever.image_similarity_top_k = 2
        assert retriever.image_similarity_top_k == 2

    async def test_a_notebook_shows_what_is_retrieved_as_cards(self, index):
        for mode in ("default", "hybrid"):
            retriever = index.as_retriever(vector_store_query_mode=mode)
            for found in (retriever.retrieve("red hose"), await retriever.aretrieve("red hose")):
                assert isinstance(found, Results)
                assert "a red hose" in found._repr_html_()
        assert "Nothing was found." in index.as_retriever().retrieve(" ")._repr_html_()


class TestModels:
    """A store that was made without a model takes that of the index."""

    def given_nodes(self):
        texts = ["a red pump", "a blue valve"]
        vectors = TOY.encode_document(texts)
        return [
            TextNode(text=text, id_=text, embedding=vector.tolist())
            for text, vector in zip(texts, vectors, strict=True)
        ]

    @pytest.mark.parametrize("filled", [False, True])
    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("by_context", [False, True])
    def test_the_store_takes_the_model(self, tmp_path, filled, stored, by_context):
        store = DiptychVectorStore(path=tmp_path / "kb") if stored else DiptychVectorStore()
        if filled:
            store.add(self.given_nodes())
        if by_context:
            context = StorageContext.from_defaults(vector_store=store)
            index = DiptychMultiModalIndex(embed_model=MODEL, storage_context=context)
        else:
            index = DiptychMultiModalIndex.from_vector_store(store, embed_model=MODEL)
        index.insert_nodes([TextNode(text="a green hose", id_="hose")])
        assert ids(index.as_retriever(similarity_top_k=1).retrieve("green hose")) == ["hose"]
        if not (filled and stored):  # then the folder has no list for pictures
            index.insert_nodes([ImageNode(image=RED64, id_="picture")])
            assert ids(index.as_retriever().text_to_image_retrieve("red")) == ["picture"]
        if filled:
            assert ids(index.as_retriever(similarity_top_k=1).retrieve("blue valve")) == [
                "a blue valve"
            ]
        store.index.close()

    def test_with_a_model_for_pictures(self):
        store = DiptychVectorStore()
        model = MockEmbedding(embed_dim=8)
        index = DiptychMultiModalIndex.from_vector_store(
            store, embed_model=model, image_embed_model=MODEL
        )
        index.insert_nodes([ImageNode(text="words", image=RED64, id_="a")])
        assert ids(index.as_retriever().text_to_image_retrieve("red")) == ["a"]

    def test_vectors_of_another_model_are_refused(self, tmp_path):
        for store in (DiptychVectorStore(), DiptychVectorStore(path=tmp_path / "kb")):
            store.add(self.given_nodes())
            with pytest.raises(EncoderMismatch, match=r"128 columns.*8 columns"):
                DiptychMultiModalIndex.from_vector_store(
                    store, embed_model=MockEmbedding(embed_dim=8)
                )
            store.index.close()
        other = ToyEncoder(64)
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        with pytest.raises(EncoderMismatch, match=r"embed_model= is 'toy-64' .* has 'toy-128'"):
            DiptychMultiModalIndex.from_vector_store(store, embed_model=other)
        with pytest.raises(EncoderMismatch, match=r"image_embed_model= is 'toy-64'"):
            DiptychMultiModalIndex.from_vector_store(store, image_embed_model=other)
        index = DiptychMultiModalIndex.from_vector_store(store, embed_model=MODEL)
        with pytest.raises(EncoderMismatch, match=r"embed_model= is 'toy-64'"):
            index.as_retriever(embed_model=other)
        assert index.as_retriever(embed_model=MODEL).retrieve("x") == []

    def test_without_one_that_of_the_settings_is_taken(self, monkeypatch):
        monkeypatch.setattr(Settings, "_embed_model", MODEL)
        store = DiptychVectorStore()
        store.add(self.given_nodes())
        index = DiptychMultiModalIndex.from_vector_store(store)
        assert ids(index.as_retriever(similarity_top_k=1).retrieve("pump")) == ["a red pump"]


class TestLoading:
    def test_llama_index_gives_back_the_class(self, tmp_path):
        index = new_index(path=tmp_path / "kb")
        index.insert(ImageDocument(text="a red pump", image=RED64, id_="pump"))
        index.set_index_id("mine")
        index.storage_context.persist(str(tmp_path / "kept"))
        index.vector_store.index.close()
        context = StorageContext.from_defaults(
            vector_store=DiptychVectorStore(path=tmp_path / "kb"),
            persist_dir=str(tmp_path / "kept"),
        )
        for again in (
            load_index_from_storage(context),
            load_index_from_storage(context, index_id="mine", embed_model=TOY),
            *load_indices_from_storage(context),
        ):
            assert type(again) is DiptychMultiModalIndex
            assert again.index_id == "mine"
            assert [n.node.ref_doc_id for n in again.as_retriever().retrieve("pump")] == ["pump"]
        again.insert(LlamaDocument(text="a hose", id_="hose"))
        again.vector_store.index.close()

    def test_in_another_process(self, tmp_path):
        index = new_index([ImageNode(text="a red pump", image=RED64, id_="pump")])
        index.storage_context.persist(str(tmp_path))
        code = (
            "import sys\n"
            "from llama_index.core import StorageContext, load_index_from_storage\n"
            "from diptych.llama_index import DiptychVectorStore\n"
            "store = DiptychVectorStore.from_persist_dir(sys.argv[1])\n"
            "context = StorageContext.from_defaults(vector_store=store, persist_dir=sys.argv[1])\n"
            "index = load_index_from_storage(context)\n"
            "print(type(index).__name__, [n.node_id for n in index.as_retriever().retrieve('red')])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=600
        )
        assert done.stdout.strip() == "DiptychMultiModalIndex ['pump']", done.stderr

    def test_what_was_kept_of_another_index_is_taken_and_those_of_others_stay_theirs(self):
        store = DiptychVectorStore(embed_model=TOY, image_encoder=TOY)
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex([TextNode(text="x")], storage_context=context, embed_model=MODEL)
        assert type(load_index_from_storage(context, embed_model=MODEL)) is VectorStoreIndex
        struct = IndexDict(index_id="old", summary="of pumps")
        index = DiptychMultiModalIndex(index_struct=struct, storage_context=context)
        assert (index.index_id, index.summary) == ("old", "of pumps")


class TestAtOnce:
    """What threads and tasks give at once leaves one version of each document."""

    LONG = " ".join(f"Sentence {i} of the manual." for i in range(40))

    def index(self, **options):
        splitter = SentenceSplitter(chunk_size=64, chunk_overlap=0)
        return DiptychMultiModalIndex(embed_model=TOY, transformations=[splitter], **options)

    def check(self, index, versions):
        """The nodes of each document are all of one version."""
        for identity in versions:
            texts = [n.text for n in index.vector_store.get_nodes() if n.ref_doc_id == identity]
            assert len({text.split()[0] for text in texts}) == 1
            again = self.index()
            word = texts[0].split()[0]
            again.insert(LlamaDocument(text=self.text(word), id_=identity))
            assert sorted(texts) == sorted(n.text for n in again.vector_store.get_nodes())

    def text(self, word):
        return " ".join(f"{word} is sentence {i} of the manual.\n\n" for i in range(40))

    async def test_tasks(self, tmp_path):
        for options in ({}, {"path": tmp_path / "kb"}):
            index = self.index(**options)
            documents = [LlamaDocument(text=self.text(f"v{i}"), id_="doc") for i in range(6)]
            await asyncio.gather(*(index.ainsert(document) for document in documents))
            self.check(index, ["doc"])
            calls = [index.aupdate_ref_doc(documents[0]), index.arefresh_ref_docs(documents[1:3])]
            await asyncio.gather(*calls, index.ainsert(LlamaDocument(text="other", id_="other")))
            self.check(index, ["doc"])
            assert sorted(index.ref_doc_info) == ["doc", "other"]
            index.vector_store.index.close()

    def test_threads_and_several_objects_over_one_folder(self, tmp_path):
        first = self.index(path=tmp_path / "kb")
        second = DiptychMultiModalIndex.from_vector_store(first.vector_store)
        second._transformations = first._transformations
        errors = []

        def insert(index, number):
            try:
                index.insert(LlamaDocument(text=self.text(f"v{number}"), id_="doc"))
                index.insert(LlamaDocument(text=f"text {number}", id_=f"own {number}"))
            except Exception as error:  # shown by the assertion below
                errors.append(error)

        threads = [
            threading.Thread(target=insert, args=((first, second)[number % 2], number))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(first.ref_doc_info) == ["doc", *(f"own {number}" for number in range(6))]
        self.check(first, ["doc"])
        first.vector_store.index.close()


class _Bad(MockEmbedding):
    """Makes NaN of some texts, and the zero vector of others."""

    def _get_text_embeddings(self, texts):
        wrong = {"nan": [np.nan] * 4, "zero": [0.0] * 4}
        return [wrong.get(text, [1.0, 0.0, 0.0, 0.0]) for text in texts]

    def _get_text_embedding(self, text):
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text):
        return self._get_text_embedding(text)


BAD = {
    "nan": TextNode(text="nan", id_="nan"),
    "zero": TextNode(text="zero", id_="zero"),
    "given": TextNode(text="x", id_="given", embedding=[0.0] * 4),
    "url": ImageNode(image_url="https://example.org/a.png", id_="url"),
    "base64": ImageNode(image="no base64", id_="base64"),
    "gone": ImageNode(image_path="gone.png", id_="gone"),
    "metadata": TextNode(text="x", id_="metadata", metadata={"a": {1, 2}}),
}


class TestBad:
    def index(self):
        return DiptychMultiModalIndex(
            embed_model=_Bad(embed_dim=4), image_embed_model=TOY, transformations=[]
        )

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_good_nodes_are_stored_and_the_others_said(self, asynchronous, caplog):
        index = self.index()
        blank = TextNode(text=" \n", id_="blank")
        good = [TextNode(text="first", id_="1"), ImageNode(image=RED64, id_="2")]
        nodes = [good[0], *BAD.values(), blank, good[1]]
        if asynchronous:
            asyncio.run(index.ainsert_nodes(nodes))
        else:
            index.insert_nodes(nodes)
        assert index.vector_store.index.ids() == ["1", "2"]
        assert {failure.id for failure in index.failed} == {*BAD, "blank"}
        assert all(identity in caplog.text for identity in BAD)
        index.insert_nodes(good)
        assert index.failed == ()  # of the last call

    @pytest.mark.parametrize("name", BAD)
    def test_nothing_but_bad_ones_raises(self, name):
        index = self.index()
        with pytest.raises((DocumentError, MediaError, VectorError), match=name):
            index.insert_nodes([BAD[name], TextNode(text=" ")])
        index.insert_nodes([TextNode(text=" ", id_="blank")])  # nothing but blank ones does not
        assert [failure.id for failure in index.failed] == ["blank"]

    def test_one_version_is_left_where_a_picture_of_the_new_one_is_bad(self):
        index = self.index()
        index.insert(ImageDocument(text="old words", image=RED64, id_="doc"))
        broken = ImageDocument(text="new words", image=RED64, id_="doc")
        broken.image_resource.data = base64.b64encode(b"no picture")
        for _ in range(2):
            assert index.refresh_ref_docs([broken]) == [True]
            assert [n.text for n in index.vector_store.get_nodes()] == ["old words"]
            assert len(index.failed) == 1
        index.insert(ImageDocument(text="new words", image=BLUE64, id_="doc"))
        assert [n.text for n in index.vector_store.get_nodes()] == ["new words"]
        assert index.failed == ()

    def test_documents_likewise(self, tmp_path):
        documents = [
            LlamaDocument(text="first", id_="1"),
            LlamaDocument(text="nan", id_="nan"),
            LlamaDocument(text="  ", id_="blank"),
            LlamaDocument(text="x", id_="metadata", metadata={"a": {1, 2}}),
            LlamaDocument(text="last", id_="2"),
        ]
        index = DiptychMultiModalIndex.from_documents(
            documents, embed_model=_Bad(embed_dim=4), image_embed_model=TOY
        )
        assert sorted(index.ref_doc_info) == ["1", "2"]
        assert len(index.failed) == 3
        assert index.refresh_ref_docs(documents) == [False, True, True, True, False]
        assert len(index.failed) == 3
        tight = SentenceSplitter(chunk_size=20, chunk_overlap=0)  # refuses metadata that are longer
        index = DiptychMultiModalIndex.from_documents(
            [LlamaDocument(text="x", metadata={"a": "long " * 40}, id_="long"), documents[0]],
            embed_model=_Bad(embed_dim=4), image_embed_model=TOY, transformations=[tight],
        )  # fmt: skip
        assert list(index.ref_doc_info) == ["1"]
        assert [failure.id for failure in index.failed] == ["long"]
