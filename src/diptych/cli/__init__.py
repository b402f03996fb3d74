"""The command line: ``diptych demo | add | search | info``."""

from diptych.cli.app import app

__all__ = ["app"]
