"""``python -m diptych.cli``."""

from diptych.cli import app

app(prog_name="diptych")
