"""Run by run.py where other stores are installed: what the examples say of them."""

import base64
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests" / "adapters")]

from diptych import ToyEncoder  # noqa: E402
from diptych.langchain import DiptychEmbeddings, DiptychVectorStore  # noqa: E402
from diptych.llama_index import DiptychMultiModalIndex  # noqa: E402


@pytest.mark.parametrize("store", ["chroma", "diptych"])
def test_the_code_of_the_cookbook_runs_with_either_store(tmp_path, store):
    from langchain_chroma import Chroma

    import langchain_multi_modal_rag as example

    folder = example.lay_out(tmp_path)
    vectorstore = (
        Chroma("cookbook", DiptychEmbeddings(ToyEncoder()))
        if store == "chroma"
        else DiptychVectorStore(ToyEncoder(), images_as="base64")
    )
    model = example.RecordingModel.new()
    assert example.answer(vectorstore, folder, model) == "The water tank is empty."
    blocks = model.seen[0][-1].content_blocks
    pictures = [base64.b64decode(b["base64"]) for b in blocks if b["type"] == "image"]
    assert set(pictures) <= {path.read_bytes() for path in folder.glob("*.png")}
    assert "Question: What does the red lamp mean?" in blocks[-1]["text"]


def test_what_llama_index_reads_from_a_folder_is_indexed(tmp_path):
    from llama_index.core import SimpleDirectoryReader

    from material import SECTIONS, lay_out

    documents = SimpleDirectoryReader(lay_out(tmp_path)).load_data()
    index = DiptychMultiModalIndex.from_documents(documents, embed_model=ToyEncoder())
    assert len(index.vector_store.index.image_index) == 3
    (found,) = index.as_retriever(similarity_top_k=1).text_to_image_retrieve("a red lamp")
    assert [p.read() for p in found.node.pictures] == [(tmp_path / "red-lamp.png").read_bytes()]
    (text,) = index.as_retriever(similarity_top_k=1).text_retrieve("water tank is empty")
    assert SECTIONS["red"] in text.node.get_content()
