"""The command line: ``diptych demo | add | sync | search | info``, and what looks after an index."""

from diptych.cli import care  # noqa: F401 - its commands are registered when it is imported
from diptych.cli.app import app

__all__ = ["app"]
