import base64
import json

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.load import dumps, loads
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from manual import BLUE, RED, run_beside
from pydantic import ValidationError

from diptych import Document as Stored
from diptych import Image, MultimodalRetriever, Query, ToyEncoder
from diptych.errors import InvalidArgument
from diptych.langchain import DiptychRetriever, DiptychVectorStore, RetrievedDocument
from diptych.langchain.convert import image_reference, to_fused_document, to_query
from stubs import png

URI = "data:image/png;base64," + base64.b64encode(RED).decode()


@pytest.fixture
def retriever(index):
    return DiptychRetriever(index=index, k=2)


class TestRetrieving:
    def test_a_text_brings_its_figure(self, retriever):
        first, second = retriever.invoke("The red pump moves water.")
        assert first.id == "pump"
        assert first.page_content == "The red pump moves water."
        assert [image.read() for image in first.fused.images] == [RED]
        assert type(first) is RetrievedDocument
        assert second.id != "pump"

    def test_metadata_holds_references_score_and_evidence(self, retriever, index):
        (fused, _) = MultimodalRetriever.from_index(index).retrieve("red pump", 2)
        document = retriever.invoke("red pump")[0]
        metadata = document.metadata
        assert metadata["source"] == "manual.md"
        assert metadata["page"] == 3
        assert metadata["images"] == [
            {
                "path": None,
                "mime_type": "image/png",
                "sha256": Image(RED).sha256,
                "name": "pump.png",
                "width": 32,
                "height": 24,
            }
        ]
        assert 0 <= metadata["score"] <= 1
        assert metadata["score"] == fused.score
        assert metadata["document_ids"] == ["pump", "pump.png"]
        assert metadata["sources"] == ["manual.md"]
        assert metadata["evidence"][0]["document_id"] in ("pump", "pump.png")
        assert set(metadata["evidence"][0]) == {
            "document_id", "list", "rank", "score", "contribution"
        }  # fmt: skip

    def test_no_base64_in_metadata(self, retriever):
        for document in retriever.invoke("red pump"):
            shown = json.dumps(document.metadata)
            assert "data:image" not in shown
            assert base64.b64encode(RED).decode()[:40] not in shown

    def test_a_picture_that_is_gone_keeps_its_reference(self, index, tmp_path):
        (tmp_path / "valve.png").unlink()
        retriever = DiptychRetriever(index=index)
        found = retriever.invoke("blue valve", k=5)
        (document,) = (d for d in found if "valve" in d.metadata["document_ids"])
        (reference,) = document.metadata["images"]
        assert reference["path"] == str(tmp_path / "valve.png")
        assert reference["sha256"] == Image(BLUE).sha256
        gone = image_reference(Image(tmp_path / "valve.png"))
        assert (gone["path"], gone["sha256"], gone["width"]) == (reference["path"], None, None)

    @pytest.mark.parametrize(
        "query",
        [
            URI,
            {"image": RED},
            {"image": URI},
            {"text": None, "image": Image(RED)},
            Image(RED),
            Query(image=Image(RED)),
            Blob.from_data(RED, mime_type="image/png"),
            RED,
        ],
        ids=lambda query: type(query).__name__,
    )
    def test_a_picture_finds_the_picture_and_its_text(self, retriever, query):
        (found,) = retriever.invoke(query, k=1)
        assert found.metadata["document_ids"] == ["pump", "pump.png"]

    def test_a_path_is_a_picture_and_a_string_is_a_text(self, retriever, tmp_path):
        path = tmp_path / "question.png"
        path.write_bytes(png("darkred"))
        assert retriever.invoke(path, k=1)[0].metadata["document_ids"] == ["pump", "pump.png"]
        assert to_query(path) == Query(image=Image(path))
        assert to_query(str(path)) == Query(text=str(path))

    def test_text_and_picture_together(self, retriever):
        found = retriever.invoke({"text": "spare parts", "image": RED}, k=3)
        assert {"service", "pump"} <= {i for d in found for i in d.metadata["document_ids"]}

    @pytest.mark.parametrize(
        "query", [{}, {"image": None}, {"picture": RED}, {"text": " ", "picture": 1}]
    )
    def test_an_unknown_query_is_refused(self, retriever, query):
        with pytest.raises(InvalidArgument, match="needs text|expected 'text'"):
            retriever.invoke(query)

    async def test_arguments_of_invoke_go_before_the_fields(self, index):
        retriever = DiptychRetriever(index=index, k=1, filter={"source": "faq.md"})
        assert [d.id for d in retriever.invoke("red pump")] == ["service"]
        found = retriever.invoke("red pump", k=2, filter={"source": "manual.md"})
        assert [d.metadata["document_ids"][0] for d in found] == ["pump", "valve"]
        texts = await retriever.ainvoke("red", k=9, filter={}, modalities=["text"])
        assert {"pump", "service"} <= {d.id for d in texts}
        evidence = {e["list"] for d in texts for e in d.metadata["evidence"]}
        assert evidence <= {"text", "lexical"}

    async def test_lists_are_weighted_at_construction_and_at_invoke(self, index):
        words = {"text": 0.0, "image": 0.0, "lexical": 1.0}
        pictures = {"text": 0.0, "image": 1.0, "lexical": 0.0}

        def counted(found):
            return {e["list"] for d in found for e in d.metadata["evidence"] if e["contribution"]}

        retriever = DiptychRetriever(index=index, weights=words)
        assert counted(retriever.invoke("red pump")) == {"lexical"}
        assert counted(retriever.invoke("red pump", weights=pictures)) == {"image"}
        assert counted(await retriever.ainvoke("red pump", weights=pictures)) == {"image"}
        asked = {"text": "red pump", "weights": pictures}
        assert counted(retriever.invoke(asked)) == {"image"}
        with pytest.raises(InvalidArgument, match="weights the list 'audio'"):
            retriever.invoke("red", weights={"audio": 1.0})

    def test_a_function_is_a_filter_too(self, retriever):
        found = retriever.invoke("red pump", k=9, filter=lambda d: d.metadata.get("page") == 4)
        assert [d.metadata["document_ids"] for d in found] == [["valve"]]

    def test_an_argument_that_is_not_known_is_refused(self, retriever):
        with pytest.raises(TypeError, match="top_k"):
            retriever.invoke("red", top_k=3)

    def test_a_retriever_or_an_index_is_needed(self, index):
        with pytest.raises(ValidationError, match="needs retriever= or index="):
            DiptychRetriever()
        other = MultimodalRetriever(ToyEncoder())
        with pytest.raises(ValidationError, match="an index of another one"):
            DiptychRetriever(retriever=other, index=index)
        own = MultimodalRetriever.from_index(index)
        assert DiptychRetriever(retriever=own).index is index

    async def test_the_event_loop_is_not_blocked(self, waiting_index):
        retriever = DiptychRetriever(index=waiting_index, k=1)
        (found,) = await run_beside(waiting_index.text_encoder, retriever.ainvoke("red pump"))
        assert found.id == "pump"

    async def test_batch_and_stream_come_with_it(self, retriever):
        one, two = await retriever.abatch(["red pump", URI])
        assert one[0].id == "pump"
        assert two[0].metadata["document_ids"] == ["pump", "pump.png"]
        assert [len(chunk) for chunk in retriever.stream("red pump")] == [2]


class TestVectorStoreRetriever:
    @pytest.mark.parametrize("mode", ["text", "image", "cross_modal", "fused"])
    async def test_a_mode_is_a_search_type(self, index, mode):
        store = DiptychVectorStore(index=index)
        retriever = store.as_retriever(search_type=mode, search_kwargs={"k": 2})
        expected = store.similarity_search("red pump", k=2, mode=mode)
        assert retriever.invoke("red pump") == expected
        assert await retriever.ainvoke("red pump") == expected
        assert len(retriever.invoke("red pump", k=1)) == 1

    async def test_search_types_of_langchain_stay(self, index):
        store = DiptychVectorStore(index=index)
        for kind in ("similarity", "mmr"):
            retriever = store.as_retriever(search_type=kind, search_kwargs={"k": 2})
            assert len(retriever.invoke("red pump")) == 2
            assert len(await retriever.ainvoke("red pump")) == 2

    def test_an_unknown_search_type_is_refused(self, index):
        with pytest.raises(ValueError, match="search_type of hybrid not allowed"):
            DiptychVectorStore(index=index).as_retriever(search_type="hybrid")

    def test_it_takes_a_picture(self, index):
        retriever = DiptychVectorStore(index=index).as_retriever(search_type="image")
        assert retriever.invoke(URI, k=1)[0].id == "pump.png"


class FakeTracer(BaseTracer):
    def __init__(self):
        super().__init__()
        self.runs = []

    def _persist_run(self, run):
        self.runs.append(run)


class Recorder(BaseCallbackHandler):
    def __init__(self):
        self.queries, self.results, self.errors = [], [], []

    def on_retriever_start(self, serialized, query, **kwargs):
        self.queries.append(query)

    def on_retriever_end(self, documents, **kwargs):
        self.results.append(documents)

    def on_retriever_error(self, error, **kwargs):
        self.errors.append(error)


class TestTracing:
    @pytest.fixture(params=["retriever", "store"])
    def traced(self, request, index):
        if request.param == "retriever":
            return DiptychRetriever(index=index)
        return DiptychVectorStore(index=index).as_retriever()

    async def test_a_text_is_traced_as_it_is(self, traced):
        recorder = Recorder()
        found = traced.invoke("red pump", {"callbacks": [recorder]})
        await traced.ainvoke("red pump", {"callbacks": [recorder]})
        assert recorder.queries == ["red pump", "red pump"]
        assert recorder.results[0] == found

    @pytest.mark.parametrize("query", [URI, {"text": "red", "image": URI}, {"image": RED}])
    async def test_a_picture_is_traced_as_a_reference(self, traced, query):
        recorder = Recorder()
        traced.invoke(query, {"callbacks": [recorder]})
        await traced.ainvoke(query, {"callbacks": [recorder]})
        for shown in recorder.queries:
            assert len(repr(shown)) < 120
            assert "base64" not in repr(shown)

    def test_langsmith_is_told_names_and_ids_and_no_picture(self, index):
        params = DiptychRetriever(index=index)._get_ls_params()
        assert params == {
            "ls_retriever_name": "diptych",
            "ls_vector_store_provider": "diptych",
            "ls_embedding_provider": "ToyEncoder",
            "ls_embedding_model": "toy-128",
        }
        tracer = FakeTracer()
        found = DiptychRetriever(index=index).invoke({"image": RED}, {"callbacks": [tracer]})
        (run,) = tracer.runs
        assert run.extra["metadata"]["ls_retriever_name"] == "diptych"
        sent = json.dumps([run.inputs, run.outputs, run.extra], default=repr)
        assert "base64" not in sent
        assert repr(RED)[2:40] not in sent
        assert found[0].metadata["document_ids"][0] in sent
        assert str(found[0].metadata["score"]) in sent

    def test_an_error_is_traced(self, retriever):
        recorder = Recorder()
        with pytest.raises(InvalidArgument, match="at least 1"):
            retriever.invoke("red", {"callbacks": [recorder]}, k=0)
        assert len(recorder.errors) == 1

    async def test_events_of_a_chain_name_the_retriever(self, traced):
        chain = traced | RunnableLambda(len)
        names = [e["event"] async for e in chain.astream_events("red pump", version="v2")]
        assert "on_retriever_start" in names
        assert "on_retriever_end" in names

    def test_a_run_can_be_serialized(self, retriever):
        documents = retriever.invoke("red pump")
        assert "base64" not in dumps({"documents": documents})


class TestSerialization:
    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_a_retrieved_document_is_loaded_as_a_plain_one(self, retriever):
        document = retriever.invoke("red pump")[0]
        loaded = loads(dumps(document), allowed_objects=[Document])
        assert type(loaded) is Document
        assert (loaded.id, loaded.page_content) == (document.id, document.page_content)
        assert loaded == document
        lasting = {k: v for k, v in document.metadata.items() if k not in ("score", "evidence")}
        assert loaded.metadata == lasting

    def test_copies_keep_the_pictures(self, retriever):
        document = retriever.invoke("red pump")[0]
        for copy in (document.model_copy(), document.model_copy(deep=True)):
            assert [image.read() for image in copy.fused.images] == [RED]

    def test_a_fused_document_of_several_parts_is_not_stored_as_one(self, retriever, index):
        store = DiptychVectorStore(index=index)
        with pytest.raises(InvalidArgument, match="is 2 stored documents"):
            store.add_documents(retriever.invoke("red pump", k=1))

    def test_the_key_of_the_other_adapter_is_hidden(self):
        from diptych import FusedDocument

        stored = Stored("x", id="1", metadata={"a": 1}, reserved={"node": "{}"})
        document = to_fused_document(FusedDocument((stored,), 0.5, (), "1"))
        assert "_diptych" not in document.metadata
        assert document.metadata["a"] == 1
