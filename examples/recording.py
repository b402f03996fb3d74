"""Runs an example, and writes what it returns as JSON to the file that is named after it, if any."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(run: Callable[[Path], dict[str, Any]]) -> None:
    """Run an example in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        seen = run(Path(folder))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(seen), encoding="utf-8")


def shown(calls: list[list[dict[str, Any]]]) -> None:
    """Print the messages of every call of a model, a picture by what is on it."""
    for number, messages in enumerate(calls, start=1):
        print(f"\nCall {number} of the model:")
        for message in messages:
            for block in message["blocks"]:
                words = (
                    block if isinstance(block, str) else f"(a picture of a {block['lamp']} lamp)"
                )
                print(f"  {message['role']}: " + words.strip().replace("\n", "\n    "))
