"""Every file of a store is reached through ``storage/files.py``, which follows no link."""

import ast
from pathlib import Path

import pytest

import diptych

SOURCE = Path(diptych.__file__).parent
OWN = {"files.py"}
"""The one place."""

ALLOWED = {
    # Whether there is anything at the path that the user gave, and the resolved name of that.
    "failures.py": {"os.stat"},
    "anchor.py": {"os.stat"},
    "seal.py": {"os.path.realpath"},
    "unborn.py": {".is_dir"},
    # What SQLite may open, looked at by files.py before.
    "connection.py": {"os.access"},
    # The user's own folder, with the key.
    "cache.py": {".read_bytes", ".mkdir", ".exists", ".unlink", "os.open", "os.fdopen", "os.link",
                 "os.replace"},
    # Where a copy goes: a path that the user gave.
    "backup.py": {".exists", ".is_dir", ".is_symlink", ".iterdir", ".rmdir", ".resolve", "os.path.lexists",
                  "os.listdir", "os.replace", "shutil.rmtree"},
    # Pictures and pages that were left where they are.
    "pictures.py": {"os.stat"},
    # The descriptor of the lock, opened by files.py; which file it is, to be compared.
    "writer_lock.py": {"os.close", "os.stat"},
    "network.py": {".resolve", "os.path.realpath", "open", ".read_text", ".read_bytes"},
}  # fmt: skip
FUNCTIONS = {
    "os.access", "os.chmod", "os.close", "os.fdopen", "os.fsync", "os.link", "os.listdir", "os.lstat",
    "os.makedirs", "os.mkdir", "os.open", "os.readlink", "os.remove", "os.rename", "os.replace", "os.rmdir",
    "os.scandir", "os.stat", "os.symlink", "os.truncate", "os.unlink", "os.utime", "os.walk", "os.fwalk",
    "os.path.exists", "os.path.getsize", "os.path.isdir", "os.path.isfile", "os.path.islink",
    "os.path.lexists", "os.path.realpath", "open", "io.open", "sqlite3.connect",
}  # fmt: skip
METHODS = {
    ".exists", ".glob", ".hardlink_to", ".is_dir", ".is_file", ".is_symlink", ".iterdir", ".lstat", ".mkdir",
    ".read_bytes", ".read_text", ".rename", ".resolve", ".rglob", ".rmdir", ".stat", ".symlink_to",
    ".touch", ".unlink", ".walk", ".write_bytes", ".write_text",
}  # fmt: skip


def calls(path):
    """Return what a file calls that touches files."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in FUNCTIONS or name.startswith("shutil."):
            found.add(name)
        elif isinstance(node.func, ast.Attribute) and f".{node.func.attr}" in METHODS:
            found.add(f".{node.func.attr}")
    return found


@pytest.mark.parametrize("path", sorted((SOURCE / "storage").glob("*.py")), ids=lambda p: p.name)
def test_no_other_file_of_the_store_touches_files(path):
    allowed = ALLOWED.get(path.name, set())
    if path.name == "connection.py":
        allowed = allowed | {"sqlite3.connect"}
    if path.name == "schema.py":
        allowed = {"sqlite3.connect"}  # in memory
    if path.name not in OWN:
        assert calls(path) <= allowed
