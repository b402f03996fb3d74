"""What pages and docstrings cite is there: files, headings, commands, and names of the code."""

import importlib
import operator
import pkgutil
import re
from pathlib import Path

import pytest

import diptych

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(diptych.__file__).parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
    if "runs" not in path.parts
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CITED = re.compile(
    r"`((?:src|tests|docs|benchmarks|scripts|examples)/[\w./-]+|[\w/]+/\w+\.(?:py|md))`"
)
RUN = re.compile(r"python ((?:\w+/)+\w+\.py)")
ROLE = re.compile(r":(?:class|func|meth|data|mod):`~?([\w.]+)`")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def anchors(page):
    """Return the anchors of the headings of a page, made as code hosts make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_a_file_and_a_heading(page):
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for cited in {*CITED.findall(text), *RUN.findall(text)}:
        places = (ROOT, page.parent, SOURCE, SOURCE.parent)
        assert any((place / cited).exists() for place in places), cited


def exists(name, module):
    """Whether a role in the docstring of a module means something: a full name, or one near by."""
    if name != "diptych" and not name.startswith("diptych."):
        near = [module, *(value for value in vars(module).values() if isinstance(value, type))]
        return any(has(place, name) for place in near)
    owner, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return exists(owner, module) and has(pkgutil.resolve_name(owner), attribute)
    return True


def has(owner, name):
    try:
        operator.attrgetter(name)(owner)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix()
)
def test_names_in_docstrings_exist(path):
    cited = set(ROLE.findall(path.read_text(encoding="utf-8")))
    if not cited:
        return
    dotted = path.relative_to(SOURCE.parent).with_suffix("").as_posix().replace("/", ".")
    module = importlib.import_module(dotted.removesuffix(".__init__"))
    for name in sorted(cited):
        assert exists(name, module), name
