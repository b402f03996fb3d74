"""Installs diptych with one extra at a time into fresh environments, and uses it there.

    python tests/environments/run.py            all of them, about ten minutes on two cores
    python tests/environments/run.py langchain  one

"core" has neither framework, "langchain" and "llama-index" have one, also in the oldest version that is
allowed; "peers" has both and the stores that docs/comparison.md compares with, so that no test of the
table is skipped.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

CORE = """
import importlib.util
from diptych import Document, MultimodalRetriever, ToyEncoder
from diptych.errors import MissingExtra
for module in ("torch", "langchain_core", "llama_index"):
    assert importlib.util.find_spec(module) is None, module
for adapter in ("langchain", "llama_index"):
    try:
        importlib.import_module(f"diptych.{adapter}")
    except MissingExtra as error:
        assert "pip install" in str(error), error
    else:
        raise AssertionError(adapter)
retriever = MultimodalRetriever(ToyEncoder(), ToyEncoder())
retriever.index.add([Document("a red apple"), Document("the blue sea")])
assert retriever.retrieve("apple", 1)[0].text == "a red apple"
"""

ALONE = """
import importlib.util
for module in {absent!r}:
    assert importlib.util.find_spec(module) is None, module
"""


@dataclass(frozen=True)
class Environment:
    """What is installed, and what is run there."""

    extras: str = ""
    packages: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    code: str = ""
    examples: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    constrained: bool = field(default=True)


def oldest(package: str) -> str:
    """Return the oldest version of a package that ``pyproject.toml`` allows, as a requirement."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for extra in project["optional-dependencies"].values() for line in extra]
    (line,) = [line for line in lines if line.startswith(f"{package}>=")]
    version = re.search(r">=([\d.]+)", line)
    assert version is not None, line
    full = version[1] if version[1].count(".") == 2 else f"{version[1]}.0"
    return f"{package}=={full}"


LANGCHAIN = ("langchain_rag", "langchain_multi_modal_rag", "langchain_chat")
LLAMA = ("llama_index_rag", "llama_index_multi_modal")

ENVIRONMENTS = {
    "core": Environment(code=CORE),
    "langchain": Environment("langchain", absent=("torch", "llama_index"), examples=LANGCHAIN),
    "llama-index": Environment(
        "llama-index", absent=("torch", "langchain_core"), examples=LLAMA
    ),
    "oldest langchain": Environment(
        "langchain", (oldest("langchain-core"),), examples=LANGCHAIN, constrained=False
    ),
    "oldest llama-index": Environment(
        "llama-index", (oldest("llama-index-core"),), examples=LLAMA, constrained=False
    ),
    "peers": Environment(
        "langchain,llama-index",
        (
            "pytest", "pytest-asyncio", "langchain", "langchain-classic", "langchain-chroma",
            "langchain-community", "llama-index-vector-stores-faiss", "llama-index-readers-file",
        ),
        tests=(
            "tests/adapters/test_langchain_faults.py",
            "tests/adapters/test_llama_faults.py",
            "tests/environments/check_peers.py",
        ),
    ),
}  # fmt: skip


def run(name: str, environment: Environment, folder: Path) -> str:
    """Make one environment, use it, and return in words what was done."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    target = f"{ROOT}[{environment.extras}]" if environment.extras else str(ROOT)
    pins = ["-c", str(ROOT / "constraints.txt")] if environment.constrained else []
    command = [python, "-m", "pip", "install", "-q", *pins, target, *environment.packages]
    _call(command, folder)
    code = environment.code + ALONE.format(absent=environment.absent)
    _call([python, "-W", "error", "-c", code], folder)
    for example in environment.examples:
        _call([python, ROOT / "examples" / f"{example}.py"], folder)
    done = [f"{len(environment.examples)} examples"] if environment.examples else []
    if environment.tests:
        command = [python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", "/dev/null"]
        command += ["--rootdir", str(ROOT), "-o", "asyncio_mode=auto", "-o", "pythonpath=tests"]
        output = _call([*command, *environment.tests], ROOT)
        if "skipped" in output:
            sys.exit(f"{name}: tests were skipped, and every peer should be here:\n{output}")
        done.append(output.strip().splitlines()[-1])
    installed = _call([python, "-m", "pip", "list", "--format=freeze"], folder)
    versions = re.findall(r"^(?:langchain-core|llama-index-core)==.*$", installed, re.MULTILINE)
    return f"{name}: {', '.join([*versions, *done, 'ok'])}"


def _call(command: list, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        shown = " ".join(map(str, command))[:300]
        sys.exit(f"failed: {shown}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def main() -> None:
    chosen = sys.argv[1:] or list(ENVIRONMENTS)
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            print(run(name, ENVIRONMENTS[name], Path(folder)), flush=True)


if __name__ == "__main__":
    main()
