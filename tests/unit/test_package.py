"""The package as a whole: what it exports, what importing it costs, what its extras are."""

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import diptych
from diptych.errors import DiptychError, MissingExtra
from diptych.optional import EXTRA_OF_MODULE, require

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = ("torch", "faiss", "langchain_core", "llama_index", "open_clip", "transformers", "pandas")


def test_public_names_are_these():
    assert diptych.__all__ == [
        "CrossModalAligner",
        "DiptychError",
        "Document",
        "Evidence",
        "FunctionEncoder",
        "FusedDocument",
        "Hit",
        "Image",
        "MultimodalIndex",
        "MultimodalRetriever",
        "OfflineTextEncoder",
        "OpenClipEncoder",
        "Query",
        "Results",
        "SentenceTransformerEncoder",
        "ToyEncoder",
        "read",
    ]
    assert all(getattr(diptych, name).__module__.startswith("diptych.") for name in diptych.__all__)
    assert set(diptych.__all__) <= set(dir(diptych))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Retriver'"):
        _ = diptych.Retriver


def test_import_is_light_and_fast():
    code = (
        "import sys, json; before = len(sys.modules); import diptych;"
        "print(json.dumps([len(sys.modules) - before, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, modules = json.loads(done.stdout)
    assert not [name for name in HEAVY if name in modules]
    assert loaded < 60  # about 30: to count them does not depend on the machine, as the clock does


def test_core_types_and_readers_load_nothing_heavy():
    code = (
        "import diptych, sys; diptych.Document, diptych.Query, diptych.read, diptych.FunctionEncoder;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_extra_that_a_message_names_exists():
    extras = PROJECT["optional-dependencies"]
    assert set(EXTRA_OF_MODULE.values()) <= set(extras)
    assert {
        "open-clip",
        "sentence-transformers",
        "offline",
        "langchain",
        "llama-index",
        "all",
        "dev",
    } <= set(extras)


def test_all_names_every_extra_but_dev():
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.removeprefix("diptych[").removesuffix("]").split(","))
    assert named == set(extras) - {"all", "dev"}


@pytest.mark.parametrize(("module", "extra"), sorted(EXTRA_OF_MODULE.items()))
def test_missing_package_names_its_extra(module, extra, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("diptych.optional.importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=rf'pip install "diptych\[{extra}\]"') as caught:
        require(module, needed_by="This test")
    assert isinstance(caught.value, ImportError)
    assert "This test needs" in str(caught.value)


def test_failure_inside_an_installed_package_is_not_hidden(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'numba'", name="numba")

    monkeypatch.setattr("diptych.optional.importlib.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="numba") as caught:
        require("torch", needed_by="This test")
    assert not isinstance(caught.value, MissingExtra)


def test_every_error_has_one_root_and_a_builtin():
    errors = importlib.import_module("diptych.errors")
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, DiptychError)
        assert name in errors.__doc__ or error is DiptychError
        assert error is DiptychError or any(
            base in (ValueError, ImportError, RuntimeError, OSError) for base in error.__mro__
        )


def test_version_has_one_home():
    assert PROJECT["version"] == diptych.__version__


def test_nothing_in_the_package_can_run_what_it_loads():
    import ast

    banned = {
        "pickle", "dill", "marshal", "shelve", "cloudpickle", "joblib", "yaml",
        "eval", "exec", "read_index", "write_index", "deserialize_index", "os.system",
        "torch.load", "load_extension", "enable_load_extension",
    }  # fmt: skip
    flags = {"allow_pickle", "shell", "trust_remote_code", "allow_dangerous_deserialization"}
    found = []
    for path in sorted(Path(diptych.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").split(".")[0]]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                method = called.rpartition(".")[2]
                names = [called] if method in ("eval", "exec") else [called, method]
                names += [k.arg for k in node.keywords if k.arg in flags and not _is_false(k.value)]
            found += [f"{path.name}: {name}" for name in names if name in banned | flags]
    assert found == []


def _is_false(value):
    import ast

    return isinstance(value, ast.Constant) and value.value is False
