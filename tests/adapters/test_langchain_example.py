import base64
import io

import pytest
from manual import load_example
from PIL import Image as Pil

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


def test_code_written_for_chroma_works_with_our_store(tmp_path, capsys):
    example = load_example("langchain_multi_modal_rag")
    (by_hand,), (_, made) = example.run(tmp_path)
    assert [b["type"] for b in by_hand.content_blocks][-1] == "text"
    assert any(b["type"] == "image" for b in by_hand.content_blocks)
    assert all(text in by_hand.text for text in example.SECTIONS.values())
    pictures = [b for b in made.content_blocks if b["type"] == "image"]
    red = (tmp_path / "manual" / "red-lamp.png").read_bytes()
    assert base64.b64decode(pictures[0]["base64"]) == red
    assert "[1] from: red-lamp.png" in made.text
    assert capsys.readouterr().out.count("The water tank is empty.") >= 2


def test_summaries_bring_their_pictures(tmp_path):
    example = load_example("langchain_summaries")
    (content,), (document,) = example.run(tmp_path)
    red = (tmp_path / "manual" / "red-lamp.png").read_bytes()
    assert base64.b64decode(content) == red
    assert [image.read() for image in document.fused.images] == [red]
    assert document.page_content == example.SUMMARIES["red"]


def test_a_chat_condenses_streams_and_shows_the_pictures_of_the_turn(capsys):
    example = load_example("langchain_chat")
    first, condensing, second = example.run()
    assert "human: And the blue one?" in condensing[-1].text
    assert not any(b["type"] == "image" for m in condensing for b in m.content_blocks)
    for messages, colour in ((first, "red"), (second, "blue")):
        assert example.SECTIONS[colour] in messages[-1].text
        (picture,) = [b for b in messages[-1].content_blocks if b["type"] == "image"]
        shown = Pil.open(io.BytesIO(base64.b64decode(picture["base64"])))
        assert shown.tobytes() == example.draw(colour).tobytes()
    assert [m.type for m in second] == ["system", "human", "ai", "human"]
    assert example.ANSWERS[2] in capsys.readouterr().out
