"""Runs tests that LangChain wrote for its own stores, with diptych's store in place of theirs.

    python tests/upstream/run.py

They come with the source distribution of the langchain-core that is installed, which is fetched from
the package registry; nothing of it is kept. The tests are not changed: ``standin.py`` puts our class
where they look for ``InMemoryVectorStore``, once in memory and once in a folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = (
    "tests/unit_tests/vectorstores/test_in_memory.py",
    "tests/unit_tests/indexing/test_indexing.py",
)


def fetch(folder: Path) -> Path:
    """Return the unpacked source distribution of the installed langchain-core."""
    wanted = f"langchain-core=={version('langchain-core')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
    subprocess.run([*command, "--no-binary", ":all:", "-d", folder, wanted], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def run(root: Path, kept: str) -> int:
    """Run the tests with the store kept in memory or in a folder, and return how many passed."""
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "standin"]
    command += ["-c", os.devnull, "--rootdir", root, "-o", "asyncio_mode=auto", *FILES]
    path = os.pathsep.join([str(HERE), str(root)])
    environment = {**os.environ, "PYTHONPATH": path, "DIPTYCH_STANDIN": kept}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    passed = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or not passed:
        sys.exit(f"{done.stdout}\n{done.stderr}")
    return int(passed[1])


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = fetch(Path(temporary))
        for kept in ("memory", "folder"):
            passed = run(root, kept)
            print(f"{root.name}: {passed} tests passed with DiptychVectorStore in {kept}")


if __name__ == "__main__":
    main()
