"""The page of names in other stores: every name of ours is there, and none of theirs is left out."""

import ast
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest

from diptych.index import IndexOptions
from diptych.langchain.options import SearchOptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-other-stores.md"
SECTION = re.compile(
    r"^`([\w.]+)` [\d.]+ → `([\w.]+)`$\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)
ROW = re.compile(r"^\| (`.*?) \| (.*?) \|$", re.MULTILINE)
SECTIONS = {theirs: (ours, table) for theirs, ours, table in SECTION.findall(PAGE.read_text())}
NAME = re.compile(r"`([A-Za-z][\w.]*)(\(\)|=|)`")
# Arguments that reach LlamaIndex's own classes, which take them.
PASSED_ON = {
    "show_progress",
    "use_async",
    "index_struct",
    "delete_from_docstore",
    "callback_manager",
}
FILES = {
    "langchain_chroma.Chroma": "langchain_chroma/vectorstores.py",
    "langchain_qdrant.QdrantVectorStore": "langchain_qdrant/qdrant.py",
    "langchain_community.vectorstores.FAISS": "langchain_community/vectorstores/faiss.py",
    "llama_index.vector_stores.qdrant.QdrantVectorStore": "llama_index/vector_stores/qdrant/base.py",
    "llama_index.vector_stores.chroma.ChromaVectorStore": "llama_index/vector_stores/chroma/base.py",
    "llama_index.vector_stores.faiss.FaissVectorStore": "llama_index/vector_stores/faiss/base.py",
    "llama_index.core.indices.MultiModalVectorStoreIndex": "llama_index/core/indices/multi_modal/base.py",
    "llama_index.core.indices.multi_modal.MultiModalVectorIndexRetriever":
        "llama_index/core/indices/multi_modal/retriever.py",
}  # fmt: skip


def arguments_of(owner):
    """Return the names of the arguments of a class and of all its methods, and of its options."""
    names = {*IndexOptions.__annotations__, *PASSED_ON}
    for base in SearchOptions.__mro__ + tuple(getattr(SearchOptions, "__orig_bases__", ())):
        names |= set(getattr(base, "__annotations__", {}))
    names |= set(SearchOptions.__annotations__)
    for name in dir(owner):
        if name == "__init__" or not name.startswith("_"):
            member = inspect.getattr_static(owner, name)
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function):
                names |= set(inspect.signature(function).parameters)
    return names | set(getattr(owner, "OPTIONS", ()))


def exists(name, kind, owner):
    if "." in name:
        try:
            pkgutil.resolve_name(name)
        except (AttributeError, ImportError):
            return name.startswith("models.")  # of Qdrant
        return True
    if kind == "=":
        return name in arguments_of(owner)
    if name in vars(owner) or hasattr(owner, name):
        return True
    # Attributes that are set when an object is made.
    return (not kind and f"self.{name}" in inspect.getsource(owner)) or name in {
        "embedding_field",
        "alpha",
    }


@pytest.mark.parametrize("theirs", SECTIONS)
def test_every_name_of_ours_is_there(theirs):
    ours, table = SECTIONS[theirs]
    owner = pkgutil.resolve_name(ours)
    rows = ROW.findall(table)
    assert rows
    for left, right in rows:
        names = NAME.findall(right)
        if right.startswith("the same"):
            names += NAME.findall(left)
        assert names or right.startswith("not there: "), right
        for name, kind in names:
            assert exists(name, kind, owner), (right, name)


@pytest.mark.parametrize("theirs", SECTIONS)
def test_no_name_of_theirs_is_left_out(theirs):
    found = [Path(folder) / FILES[theirs] for folder in sys.path]
    source = next((path for path in found if path.exists()), None)
    if source is None:
        pytest.skip(f"{theirs} is not installed")
    (owner,) = [
        node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == theirs.rpartition(".")[2]
    ]
    named = {
        f"{n}{k}" for left, _ in ROW.findall(SECTIONS[theirs][1]) for n, k in NAME.findall(left)
    }
    for member in owner.body:
        if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if member.name.startswith("_") and member.name != "__init__":
            continue
        decorators = [ast.unparse(one) for one in member.decorator_list]
        if any(one.endswith(".setter") for one in decorators):
            continue
        if member.name != "__init__":
            name = member.name if "property" in decorators else f"{member.name}()"
            assert name in named
        given = [*member.args.posonlyargs, *member.args.args, *member.args.kwonlyargs]
        for argument in given[0 if "staticmethod" in decorators else 1 :]:
            assert f"{argument.arg}=" in named, (member.name, argument.arg)


def test_every_store_of_the_page_is_compared():
    assert set(SECTIONS) == set(FILES)
