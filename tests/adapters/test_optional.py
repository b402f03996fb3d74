"""The adapters without their frameworks, and the package without the adapters."""

import subprocess
import sys

import pytest


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("adapter", "framework", "extra"),
    [("langchain", "langchain_core", "langchain"), ("llama_index", "llama_index", "llama-index")],
)
def test_without_its_framework_an_adapter_names_the_extra(adapter, framework, extra):
    code, output = run(f"""
import importlib, sys
sys.modules[{framework!r}] = None
for module in ("", ".convert", ".retriever"):
    try:
        importlib.import_module("diptych.{adapter}" + module)
    except ImportError as error:
        print(type(error).__name__, error)
""")
    assert code == 0, output
    assert len(output.splitlines()) == 3
    for line in output.splitlines():
        assert line.startswith(f"MissingExtra diptych.{adapter} needs the package '{framework}")
        assert f'pip install "diptych[{extra}]"' in line


def test_the_core_loads_no_framework():
    code, output = run(
        "import sys, diptych, diptych.context\n"
        "from diptych import MultimodalIndex, MultimodalRetriever\n"
        "assert not {'langchain_core', 'llama_index'} & set(sys.modules)"
    )
    assert code == 0, output


@pytest.mark.parametrize(
    ("adapter", "other"), [("langchain", "llama_index"), ("llama_index", "langchain_core")]
)
def test_one_framework_is_enough(adapter, other):
    code, output = run(f"import sys; sys.modules[{other!r}] = None\nimport diptych.{adapter}")
    assert code == 0, output


def test_both_adapters_reserve_the_same_key():
    langchain = pytest.importorskip("diptych.langchain.convert")
    llama_index = pytest.importorskip("diptych.llama_index.convert")
    assert langchain.RESERVED_KEY == llama_index.RESERVED_KEY
