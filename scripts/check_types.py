"""Types of the package, and of code as users write it: examples, the blocks of the pages, tests/types.

mypy reads all of it in one run, the package strictly. pyright reads the code of users as their editors
do, when basedpyright is installed, which is pyright with its own Node.js; both
run side by side. The blocks of a page are one module, each line of which has the number it has in the
page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have blocks of Python."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def module_of(page: str) -> str:
    """Return the blocks of a page as one module, every line where it stands in the page."""
    lines: list[str] = []
    for block in BLOCK.finditer(page):
        before = page.count("\n", 0, block.start(1))
        lines += [""] * (before - len(lines)) + block[1].splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def lay_out(folder: Path) -> Path:
    """Write the modules of all pages as one package, and return its folder."""
    package = folder / "pages"
    package.mkdir()
    (package / "__init__.py").touch()
    for page in pages():
        if code := module_of(page.read_text(encoding="utf-8")):
            name = page.relative_to(ROOT).with_suffix("").as_posix()
            (package / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}.py").write_text(
                code, encoding="utf-8"
            )
    return package


def pyright(package: Path) -> list[str] | None:
    """Return the command that runs pyright as an editor does; None where it is not installed."""
    program = shutil.which("basedpyright", path=os.pathsep.join([str(BIN), os.environ["PATH"]]))
    if program is None:
        return None
    configuration = package.parent / "pyrightconfig.json"
    settings = {
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "include": [str(package), str(ROOT / "examples"), str(ROOT / "tests" / "types")],
        "extraPaths": [str(ROOT / "src"), str(ROOT / "examples")],
    }
    configuration.write_text(json.dumps(settings), encoding="utf-8")
    return [
        program,
        "-p",
        str(configuration),
        "--level",
        "error",
        "--pythonpath",
        sys.executable,
    ]


def main() -> int:
    """Run both; 1 when either finds something."""
    with tempfile.TemporaryDirectory() as folder:
        package = lay_out(Path(folder).resolve())
        users = [*(ROOT / "examples").glob("*.py"), *(ROOT / "tests" / "types").glob("*.py")]
        commands = [[str(BIN / "mypy"), "src", *sorted(map(str, users)), str(package)]]
        if (second := pyright(package)) is None:
            print("basedpyright is not installed; mypy alone reads the examples and the pages")
        else:
            commands.append(second)
        started = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for command in commands
        ]
        for command, process in zip(commands, started, strict=True):
            printed = process.communicate()[0].decode(errors="replace")
            print(f"{Path(command[0]).name}: {printed.strip()}", flush=True)
        return int(any(process.returncode for process in started))


if __name__ == "__main__":
    raise SystemExit(main())
