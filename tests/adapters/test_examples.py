"""The public notebooks with our classes dropped in: each in a process of its own, calls recorded."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
sys.path.append(str(EXAMPLES))  # where examples find their material
import material  # noqa: E402

RED, BLUE, GREEN = material.SECTIONS.values()
QUESTION = "What does the red lamp mean?"
TWO_EACH = Counter(red=2, blue=2, green=2)
FRAMEWORKS = {
    "langchain": ("langchain.agents", "langchain_classic.retrievers", "diptych.langchain", "faiss"),
    # LlamaIndex imports LangChain when it is asked for a model, and its splitter these two.
    "llama_index": (
        "llama_index.core", "llama_index.core.bridge.langchain", "nltk", "tiktoken",
        "diptych.llama_index", "faiss",
    ),
}  # fmt: skip
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
}


class Fresh:
    """Starts examples in processes that have imported a framework and done nothing else."""

    def __init__(self):
        self._servers = {}

    def run(self, name, folder):
        """Run an example, and return what it wrote."""
        framework = next(one for one in FRAMEWORKS if name.startswith(one))
        if framework not in self._servers:
            command = [sys.executable, str(Path(__file__).with_name("fresh.py"))]
            self._servers[framework] = subprocess.Popen(
                [*command, *FRAMEWORKS[framework]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True,
            )  # fmt: skip
        server, seen = self._servers[framework], folder / "seen.json"
        server.stdin.write(json.dumps([str(EXAMPLES / f"{name}.py"), str(seen)]) + "\n")
        server.stdin.flush()
        status, printed = json.loads(server.stdout.readline())
        assert status == 0, printed
        return json.loads(seen.read_text())

    def close(self):
        for server in self._servers.values():
            server.stdin.close()
            server.stdout.close()
            server.wait(timeout=60)


@pytest.fixture(scope="module")
def fresh():
    processes = Fresh()
    yield processes
    processes.close()


@pytest.fixture
def seen(fresh, tmp_path, request):
    """What the example wrote that a test is named after, or asks for."""
    return fresh.run(request.param, tmp_path)


def example(name):
    return pytest.mark.parametrize("seen", [name], indirect=True, ids=[""])


def words(messages):
    return "\n".join(b for m in messages for b in m["blocks"] if isinstance(b, str))


def lamps(messages):
    return [b["lamp"] for m in messages for b in m["blocks"] if not isinstance(b, str)]


def hashes(messages):
    blocks = [b for m in messages for b in m["blocks"] if not isinstance(b, str)]
    return [hashlib.sha256(base64.b64decode(b["base64"])).hexdigest() for b in blocks]


def file_of(colour, folder, size=(160, 120)):
    """Return the hash of the file that an example draws."""
    path = folder / f"{colour}-{size[0]}.png"
    material.draw(colour, size).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
@pytest.mark.parametrize(
    "path",
    sorted(EXAMPLES.glob("lang*.py")) + sorted(EXAMPLES.glob("llama*.py")),
    ids=lambda path: path.stem,
)
def test_an_example_runs_by_its_command(path):
    command = [sys.executable, str(path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Call 1 of the model:" in done.stdout or "rag" in path.stem or "chat" in path.stem


# LangChain


@example("langchain_multi_modal_rag")
def test_code_written_for_chroma_works_with_our_store(seen, tmp_path):
    by_hand, made = seen["calls"]
    assert [m["role"] for m in by_hand] == ["human"]
    assert lamps(by_hand) == ["red"]
    assert all(text in words(by_hand) for text in (RED, BLUE, GREEN, QUESTION))
    assert [m["role"] for m in made] == ["system", "human"]
    assert hashes(made)[0] == file_of("red", tmp_path)
    assert f"[1] from: red-lamp.png>>\n{RED}" in words(made)
    texts = {RED, BLUE, GREEN}
    assert texts < set(seen["retrieved"])
    pictures = [base64.b64decode(c) for c in seen["retrieved"] if c not in texts]
    assert sorted(material.lamp_in(p) for p in pictures) == ["blue", "green", "red"]


@example("langchain_summaries")
def test_summaries_bring_their_originals(seen, tmp_path):
    two_stores, one_store = seen["calls"]
    red = file_of("red", tmp_path)
    assert lamps(two_stores)[0] == "red"
    assert hashes(two_stores)[0] == red
    assert "lamp | meaning" in words(two_stores)
    assert base64.b64encode((tmp_path / "red-160.png").read_bytes()).decode() in seen["two stores"]
    assert len(seen["two stores"]) == 4
    assert seen["one store"][0] == ["red", words_of_summary("red")]
    assert hashes(one_store)[0] == red
    assert words_of_summary("red") in words(one_store)


def words_of_summary(colour):
    text = (EXAMPLES / "langchain_summaries.py").read_text()
    return next(line for line in text.splitlines() if line.startswith(f'    "{colour}": ')).split(
        '"'
    )[3]


@example("langchain_semi_structured")
def test_a_page_taken_apart_is_answered_from_words_and_then_from_pictures(seen, tmp_path):
    by_words, with_pictures = seen["calls"]
    assert lamps(by_words) == []
    assert all(content in words(by_words) for content in seen["retrieved"])
    assert seen["retrieved"][0] == "A picture of a blue lamp on a white ground."
    assert BLUE in seen["retrieved"]
    assert seen["with pictures"][0] == "A picture of a blue lamp on a white ground."
    assert hashes(with_pictures)[0] == file_of("blue", tmp_path)


@example("langchain_fusion")
def test_fusing_retrievers_keep_every_picture_and_have_each_document_once(seen):
    names = [f"{number}.png" for number in range(1, 7)]
    for way in ("ensemble", "multi query"):
        assert len(seen[way]) == len(set(seen[way])) == 9, way
        assert {RED, BLUE, GREEN} < set(seen[way])
        assert all(any(name in content for content in seen[way]) for name in names)
    contents = [content for content, _ in seen["rag fusion"]]
    assert len(contents) == len(set(contents)) == 9
    # What all three wordings put first has three times the score of a first place.
    assert contents[0] == RED
    assert seen["rag fusion"][0][1] > 2.9 / 61
    (call,) = seen["calls"]
    assert lamps(call) == ["red", "red"]
    assert RED in words(call)


@example("langchain_agent")
def test_an_agent_sees_pictures_and_goes_on_from_a_checkpoint(seen, tmp_path):
    first, answering, _, last = seen["calls"]
    assert [m["role"] for m in first] == ["human"]
    assert [m["role"] for m in answering] == ["human", "ai", "tool"]
    assert hashes(answering) == [file_of("red", tmp_path)]
    assert RED in words(answering)
    assert [m["role"] for m in last] == ["human", "ai", "tool", "ai", "human", "ai", "tool"]
    assert last[-1]["blocks"]
    assert seen["found"] == [1, 0]
    assert seen["from the checkpoint"][0] == ["text", "image", "text"]
    assert "image" not in seen["from the checkpoint"][1]


@example("langchain_chat")
def test_a_chat_condenses_streams_and_shows_the_pictures_of_the_turn(seen, tmp_path):
    first, condensing, second = seen["calls"]
    assert "human: And the blue one?" in words(condensing)
    assert lamps(condensing) == []
    for messages, colour in ((first, "red"), (second, "blue")):
        assert material.SECTIONS[colour] in words(messages[-1:])
        assert lamps(messages) == [colour]
    assert [m["role"] for m in second] == ["system", "human", "ai", "human"]
    assert seen["answers"][1] == "The machine rinses itself; wait until it goes out [1]."


# LlamaIndex


@example("llama_index_multi_modal")
def test_code_of_the_notebooks_works_with_our_index(seen):
    (call,) = seen["calls"]
    found, used = seen["found"], seen["used"]
    assert found["both"]["texts"][0] == RED
    assert sorted(found["both"]["texts"]) == sorted([RED, BLUE, GREEN])
    assert found["both"]["pictures"] == ["red", "red"]
    assert found["texts"]["texts"][0] == RED
    assert found["pictures"]["pictures"][:2] == ["red", "red"]
    assert found["like a picture"]["pictures"][:2] == ["red", "red"]
    assert len(found["pictures"]["pictures"]) == len(found["like a picture"]["pictures"]) == 3
    assert used == {
        "texts": found["both"]["texts"], "pictures": ["red", "red"], "paths": ["red", "red"],
    }  # fmt: skip
    assert lamps(call) == ["red", "red"]
    assert words(call).strip().startswith("Context information is below.")
    assert RED in words(call)
    assert QUESTION in words(call)


@example("llama_index_two_stores")
def test_pictures_with_given_vectors_are_found_without_words(seen):
    of_texts, together = seen["calls"]
    assert RED in words(of_texts)
    assert lamps(of_texts) == []
    assert seen["apart"]["asked"] == ["red", "red"]
    assert seen["apart"]["similarities"] == sorted(seen["apart"]["similarities"], reverse=True)
    assert sorted(seen["apart"]["through the index"]) == [f"{n}.png" for n in range(1, 7)]
    assert sorted(seen["together"]) == sorted([RED, BLUE, GREEN, "picture", "picture"])
    assert lamps(together) == ["red", "red"]
    assert RED in words(together)


@example("llama_index_image_to_image")
def test_a_picture_finds_pictures_and_a_question_about_them_is_answered(seen, tmp_path):
    asked, compared = seen["calls"]
    assert seen["first"] == "2.png"
    assert seen["retrieved"][:2] == ["blue", "blue"]
    assert len(seen["retrieved"]) == 4
    assert seen["used"] == ["blue", "blue"]
    # The picture of the question, and what was found with it.
    assert lamps(asked)[0] == "blue"
    assert set(lamps(asked)) == {"blue"}
    assert hashes(asked)[0] == file_of("blue", tmp_path)
    assert "Given the images provided" in words(asked)
    assert "What do these pictures have in common?" in words(asked)
    assert lamps(compared)[:2] == ["blue", "blue"]
    assert len(lamps(compared)) == 4


@example("llama_index_chroma_demo")
def test_a_plain_vector_store_index_finds_texts_and_pictures(seen):
    (call,) = seen["calls"]
    assert sorted(seen["texts"]) == sorted([RED, BLUE, GREEN])
    assert Counter(seen["pictures"]) == TWO_EACH
    assert RED in words(call)
    assert lamps(call)


@example("llama_index_fusion")
def test_every_mode_of_fusion_keeps_texts_and_pictures_once_each(seen):
    everything = {RED, BLUE, GREEN, *(f"{number}.png" for number in range(1, 7))}
    modes = ["reciprocal_rerank", "relative_score", "dist_based_score", "simple"]
    for mode in modes:
        assert len(seen["found"][mode]) == 9, mode
        assert set(seen["found"][mode]) == everything
        assert seen["found"][mode][0] == RED, mode
    assert set(seen["found"]["two indexes"]) > {RED, "1.png"}
    assert seen["rewordings"] == 6
    (call,) = seen["calls"]
    assert RED in words(call)
    assert "red" in lamps(call)
