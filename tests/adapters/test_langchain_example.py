import base64

import pytest
from manual import load_example

from diptych import ToyEncoder


@pytest.mark.parametrize("model", ["toy", pytest.param("as installed", marks=pytest.mark.slow)])
def test_question_text_and_picture_reach_the_model(tmp_path, monkeypatch, capsys, model):
    example = load_example("langchain_rag")
    if model == "toy":
        monkeypatch.setattr(example, "text_encoder", ToyEncoder)
    system, human = example.run(tmp_path)
    pictures = [
        base64.b64decode(block["base64"])
        for block in human.content_blocks
        if block["type"] == "image"
    ]
    assert system.type == "system"
    assert example.QUESTION in human.text
    assert example.SECTIONS["red"] in human.text
    assert pictures[0] == (tmp_path / "red-lamp.png").read_bytes()
    printed = capsys.readouterr().out
    assert "The water tank is empty; fill it up to the line [1]." in printed
    assert "red-lamp.png" in printed
