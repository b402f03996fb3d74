"""The material of the demo is whole, is read without a failure, and answers its questions."""

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from diptych import MultimodalRetriever, ToyEncoder, read
from diptych.demo import PHOTOGRAPHS, lay_out, questions
from diptych.errors import MissingExtra

PAGES = {
    "astronaut.md",
    "camera.md",
    "cat.md",
    "deep-field.md",
    "espresso.md",
    "formats.md",
    "ground.md",
    "retina.md",
    "rocket.md",
}
needs_photographs = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="needs the extra 'demo'"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return lay_out(tmp_path_factory.mktemp("demo") / "new" / "material")


@pytest.fixture(scope="module")
def documents(folder):
    reading = read(folder)
    found = list(reading)
    assert (reading.failed, reading.skipped) == ([], [])
    return found


@needs_photographs
def test_pages_and_photographs_are_laid_out_as_they_are(folder):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == PAGES | {f"images/{name}" for name in PHOTOGRAPHS}
    origin = Path(importlib.util.find_spec("skimage").submodule_search_locations[0]) / "data"
    for name in PHOTOGRAPHS:
        assert (folder / "images" / name).read_bytes() == (origin / name).read_bytes()


@needs_photographs
def test_laying_out_again_changes_nothing(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "cat.md").write_text("spoilt")
    assert lay_out(folder) == folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@needs_photographs
def test_one_page_has_no_picture_and_one_photograph_no_words(documents):
    with_picture = {d.source for d in documents if d.has_image}
    assert PAGES - with_picture == {"formats.md"}
    assert [d.id for d in documents if not d.has_text] == ["images/gravel.png"]


@needs_photographs
def test_every_photograph_is_shown_once_with_its_author_and_licence(documents):
    shown = {d.image.name.removeprefix("images/"): d.text for d in documents if d.has_image}
    assert shown.keys() == PHOTOGRAPHS.keys()
    for name, credit in PHOTOGRAPHS.items():
        assert name == "gravel.png" or f"{credit}." in shown[name]
    assert all(credit.endswith((", CC0", ", public domain")) for credit in PHOTOGRAPHS.values())


@needs_photographs
def test_every_figure_has_a_text_in_its_section(documents):
    texts = {d.group for d in documents if not d.has_image}
    assert {d.group for d in documents if d.has_image and d.group} <= texts


@needs_photographs
def test_the_picture_that_is_asked_with_is_not_one_of_the_photographs(folder, documents):
    first, second = (questions(folder)[2].image for _ in range(2))
    assert first == second
    assert first.size == (210, 165)
    assert first.sha256 not in {d.image.sha256 for d in documents if d.image}


@needs_photographs
def test_the_questions_are_answered_by_text_and_picture_together(folder, documents):
    retriever = MultimodalRetriever(ToyEncoder(), ToyEncoder())
    retriever.index.add(documents)
    found = [retriever.retrieve(query, 1)[0] for query in questions(folder)]
    assert [(result.source, result.kind) for result in found] == [
        ("astronaut.md", "text+image"),
        ("retina.md", "text+image"),
        ("espresso.md", "text+image"),
    ]
    assert "command" in found[0].text
    assert "vessels" in found[1].text
    assert "bubbles" in found[2].text


def test_without_scikit_image_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtra, match=r'diptych demo needs .*pip install "diptych\[demo\]"'):
        lay_out(tmp_path / "material")
    assert not (tmp_path / "material").exists()


def test_photographs_that_are_not_there_are_named(tmp_path, monkeypatch):
    spec = ModuleSpec("skimage", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    (tmp_path / "data").mkdir()
    for name in PHOTOGRAPHS.keys() - {"coffee.png"}:
        (tmp_path / "data" / name).touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(MissingExtra, match=r"lacks the photographs coffee\.png; expected version"):
        lay_out(tmp_path / "material")


@needs_photographs
def test_scikit_image_is_not_imported(tmp_path):
    code = (
        "import sys, pathlib; from diptych.demo import lay_out;"
        "lay_out(pathlib.Path(sys.argv[1])); print('skimage' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
