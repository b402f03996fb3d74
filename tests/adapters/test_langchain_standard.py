"""The suites that LangChain publishes, unmodified."""

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests, ToolsUnitTests

from diptych import Document, MultimodalIndex, ToyEncoder
from diptych.langchain import (
    DiptychEmbeddings,
    DiptychRetriever,
    DiptychVectorStore,
    DiptychVectorStoreRetriever,
    create_multimodal_retriever_tool,
)


class TestVectorStoreInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        return DiptychVectorStore(self.get_embeddings())


class TestVectorStoreInFolder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        store = DiptychVectorStore(self.get_embeddings(), path=tmp_path / "index")
        yield store
        store.index.close()


class TestVectorStoreWithPictures(VectorStoreIntegrationTests):
    """The default mode is then "fused"."""

    @pytest.fixture
    def vectorstore(self):
        return DiptychVectorStore(self.get_embeddings(), image_encoder=ToyEncoder())


def filled_index():
    index = MultimodalIndex(ToyEncoder(), ToyEncoder())
    index.add(Document(text=f"a red car number {i}", id=str(i)) for i in range(5))
    return index


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        return DiptychRetriever

    @property
    def retriever_constructor_params(self):
        return {"index": filled_index()}

    @property
    def retriever_query_example(self):
        return "red car"


class TestVectorStoreRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self):
        def construct(k=4):
            store = DiptychVectorStore(index=filled_index())
            return DiptychVectorStoreRetriever(
                vectorstore=store, search_type="fused", search_kwargs={"k": k}
            )

        return construct

    @property
    def retriever_query_example(self):
        return "red car"


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self):
        return DiptychEmbeddings

    @property
    def embedding_model_params(self):
        return {"text_encoder": ToyEncoder()}


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return DiptychEmbeddings

    @property
    def embedding_model_params(self):
        return {"text_encoder": ToyEncoder()}


def retriever_tool():
    retriever = DiptychRetriever(index=filled_index())
    return create_multimodal_retriever_tool(retriever, "search_manual", "Searches the manual.")


class TestToolUnit(ToolsUnitTests):
    @property
    def tool_constructor(self):
        return retriever_tool()

    @property
    def tool_invoke_params_example(self):
        return {"query": "red car"}


class TestTool(ToolsIntegrationTests):
    @property
    def tool_constructor(self):
        return retriever_tool()

    @property
    def tool_invoke_params_example(self):
        return {"query": "red car"}


def test_the_fake_embedding_of_the_suite_has_no_model_name():
    # Space and fingerprint then come from what it returns, which must not vary between objects.
    one, two = (DiptychVectorStore(DeterministicFakeEmbedding(size=6)) for _ in range(2))
    assert one.index.text_encoder.fingerprint == two.index.text_encoder.fingerprint
