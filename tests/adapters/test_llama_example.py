import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_stubs import pictures, words
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


def test_code_of_the_notebooks_works_with_our_index(tmp_path, capsys):
    example = load_example("llama_index_multi_modal")
    done = example.run(tmp_path)
    found, (asked, by_picture) = done["found"], done["sent"]
    for nodes in found.values():
        assert nodes[0].node.metadata["source"] == "red-lamp.png"
        assert nodes[0].node.text.startswith("A red lamp")
    assert {title: len(nodes) for title, nodes in found.items()} == {
        "both": 3, "pictures": 2, "like a picture": 2, "an arm of a fusion": 3,
    }  # fmt: skip
    red = (tmp_path / "mixed_wiki" / "red-lamp.png").read_bytes()
    assert pictures(asked)[0] == red
    assert words(asked).strip().startswith("Use this material:")
    assert "caption:" not in words(asked)
    assert pictures(by_picture)[0] == (tmp_path / "question.png").read_bytes()
    assert "Which lamp is this like?" in words(by_picture)
    assert "The water tank is empty." in capsys.readouterr().out
