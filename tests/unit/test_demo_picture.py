"""The picture of the demo is replaced when it looks different, and only then."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PATH = Path(__file__).resolve().parents[2] / "scripts" / "demo_picture.py"


pytestmark = pytest.mark.skipif(not PATH.exists(), reason="a source package has no scripts")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("demo_picture", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(lines=()):
    rows = np.full((100, 80, 3), 240, np.uint8)
    for at in lines:
        rows[at, 10:70] = 20
    return Image.fromarray(rows)


def test_a_picture_that_looks_the_same_is_left_alone(script, tmp_path):
    path = tmp_path / "demo.png"
    picture([10]).save(path)
    before = path.read_bytes()
    smoothed = Image.fromarray(np.asarray(picture([10])) - 3)
    assert script.replace(path, smoothed) == "unchanged"
    assert path.read_bytes() == before


def test_one_line_more_is_a_change(script, tmp_path):
    path = tmp_path / "demo.png"
    assert script.replace(path, picture([10])) == "written: there was none"
    # 60 of 8,000 pixels
    assert script.replace(path, picture([10, 20])).startswith("changed: 0.8% of its pixels")
    assert script.difference(Image.open(path), picture([10, 20])) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["demo.png"]


def test_another_size_is_a_change(script):
    assert script.difference(picture(), Image.new("RGB", (80, 101))) == 1


def test_without_a_browser_it_says_so(script, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = script.draw(tmp_path / "demo.png")
    assert said["skipped"].startswith("none of chromium, ")
    assert not (tmp_path / "demo.png").exists()


def test_the_picture_in_the_documentation_has_the_size_of_the_window(script):
    with Image.open(script.PICTURE) as image:
        assert image.size == tuple(round(side * script.SCALE) for side in script.SIZE)
    assert script.PICTURE.stat().st_size < 600_000
