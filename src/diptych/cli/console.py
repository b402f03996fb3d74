"""Where the commands write to: nothing from elsewhere reaches the terminal as a command to it."""

from __future__ import annotations

import errno
import functools
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperGroup

from diptych.errors import DiptychError
from diptych.visible import as_json, visible

__all__ = ["Commands", "complain", "errors", "out", "print_json", "reported"]


class SafeConsole(Console):
    """A console that shows control characters of what is printed as signs, in any renderable.

    The sequences that it writes itself, for colours, are not part of what is printed. Strings are plain
    text: neither markup nor names of emoji are looked for in them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text; before ``Text`` would drop some characters in silence."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of anything that is printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


out = SafeConsole()
errors = SafeConsole(stderr=True)


def complain(message: str) -> None:
    """Show an error in words."""
    errors.print(Text.assemble(("error", "bold red"), " ", visible(message)), soft_wrap=True)


def print_json(value: Any) -> None:
    """Write JSON to standard output, one document a call, without wrapping."""
    out.file.write(as_json(value) + "\n")


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Show what a user can mend as one message, without a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except DiptychError as error:
            complain(str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            errors.print(
                "Stopped. What was added so far is stored; run the command again to go on."
            )
            raise typer.Exit(130) from None

    return run


class Commands(TyperGroup):
    """The commands, whose own messages go the same way: mistyped options, warnings, faults of ours."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and leave the program with its exit code."""
        given = list(sys.argv[1:] if args is None else args) or ["--help"]
        with _routed():
            try:
                code = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
            except Exception as error:
                code = _failed(error)
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


def _failed(error: Exception) -> int:
    """Say what went wrong outside of a command, or by a fault of ours, and return the exit code."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:  # "diptych search … | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, typer.Abort):
        return 130
    said = getattr(error, "format_message", None)  # typer has had several classes for this
    if callable(said):
        path = getattr(getattr(error, "ctx", None), "command_path", "diptych")
        complain(f"{str(said()).rstrip('.')}. For what can be given: {path} --help")
    elif isinstance(error, OSError):
        complain(
            f"The system refused: {error}. Nothing of what was stored is lost; mend it, and try again."
        )
    else:
        errors.print(traceback.format_exc(), soft_wrap=True)
        complain("This is a fault of diptych. Please report it with the lines above.")
    return 1


class _OnErrors(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        errors.print(self.format(record), soft_wrap=True)


@contextmanager
def _routed() -> Iterator[None]:
    """Let warnings and messages of every library go through our console, and no character stop it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    root = logging.getLogger()
    handler = _OnErrors(logging.WARNING)
    if not root.handlers:
        root.addHandler(handler)

    def show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
        errors.print(f"{category.__name__}: {message}", soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show_warning  # type: ignore[assignment]  # its other arguments are not shown
        try:
            yield
        finally:
            root.removeHandler(handler)
