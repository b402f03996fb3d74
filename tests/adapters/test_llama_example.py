import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from manual import load_example

from diptych import ToyEncoder


@pytest.mark.parametrize("model", ["toy", pytest.param("as installed", marks=pytest.mark.slow)])
def test_question_text_and_picture_reach_the_model(tmp_path, monkeypatch, capsys, model):
    example = load_example("llama_index_rag")
    if model == "toy":
        monkeypatch.setattr(example, "text_encoder", ToyEncoder)
    blocks = [block for message in example.run(tmp_path) for block in message.blocks]
    words = "\n".join(block.text for block in blocks if isinstance(block, TextBlock))
    pictures = [b.resolve_image().read() for b in blocks if isinstance(b, ImageBlock)]
    assert example.QUESTION in words
    assert example.CAPTIONS["red"] in words
    assert pictures[0] == (tmp_path / "red-lamp.png").read_bytes()
    assert "The water tank is empty; fill it up to the line." in capsys.readouterr().out
