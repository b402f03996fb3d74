"""The index that a command works with: which folder, with which models, and what to put before ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.models import DEFAULT, MODELS_SETTING, load_models
from diptych.errors import FormatError, InvalidArgument
from diptych.index import MultimodalIndex
from diptych.index.opening import stored_models
from diptych.storage.connection import quoted
from diptych.storage.files import Files
from diptych.storage.layout import DATABASE
from diptych.storage.unborn import check_is_free

__all__ = [
    "BatchSize",
    "IndexOption",
    "Json",
    "OldIndex",
    "check_exists",
    "index_and_target",
    "index_of",
    "open_index",
    "prefixes_of",
    "remembered_models",
]

DEFAULT_INDEX = Path("diptych-index")

IndexOption = Annotated[
    Path | None,
    typer.Option("--index", "-i", help="The folder of the index.", show_default=str(DEFAULT_INDEX)),
]
OldIndex = Annotated[
    Path | None,
    typer.Argument(metavar="[INDEX]", help="The same as --index.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
BatchSize = Annotated[int, typer.Option(help="Documents encoded and committed together.")]


def index_of(option: Path | None, old: Path | None = None) -> Path:
    """Return the folder of the index, however it was given.

    Raises:
        InvalidArgument: It was given twice.
    """
    if option is not None and old is not None:
        raise InvalidArgument(
            f"The index was given twice, as {str(old)!r} and as --index {str(option)!r}; expected one "
            "folder. Give --index alone."
        )
    return option or old or DEFAULT_INDEX


def index_and_target(paths: Sequence[Path], option: Path | None) -> tuple[Path, Path]:
    """Return the index and where something goes, from ``TO --index INDEX`` or ``INDEX TO``.

    Raises:
        InvalidArgument: Too many paths were given.
    """
    if len(paths) > 2:
        raise InvalidArgument(
            f"{len(paths)} paths were given; expected where to write to. Name the index with --index."
        )
    return index_of(option, paths[0] if len(paths) == 2 else None), paths[-1]


def open_index(
    path: Path, models: str | None, *, create: bool = False, reference: bool = False
) -> MultimodalIndex:
    """Open an index with the models that it remembers, or with those that are asked for."""
    if not create:
        check_exists(path)
    remembered = remembered_models(path, needed=models is None) if Files(path).has(DATABASE) else ""
    chosen = models or remembered or DEFAULT
    text, image = load_models(chosen)
    return MultimodalIndex(
        text,
        image,
        path=path,
        images="reference" if reference else "copy",
        # No model is a choice too, and remembered as one.
        settings={MODELS_SETTING: chosen} if text is None and image is None else None,
    )


def remembered_models(path: Path, *, needed: bool = True) -> str:
    """Return the models that an index remembers; empty when nothing has been stored yet.

    Raises:
        InvalidArgument: They are needed, and it remembers none, or some that this user has never named
            for it.
    """
    check_exists(path)
    with MultimodalIndex(path=path) as index:
        remembered = index.settings.get(MODELS_SETTING, "")
        is_new = not remembered and not index.info().spaces
    if not remembered and needed and not is_new:
        raise InvalidArgument(
            f"The index {str(path)!r} was not made by this command and does not remember its models. "
            "Name them with --models."
        )
    return stored_models(path) if remembered and needed else remembered


def check_exists(path: Path) -> None:
    """Raise a FormatError when there is no index."""
    if not Files(path).kinds():
        raise FormatError(
            f"There is no index at {str(path)!r}. Make one with: diptych add PATH --index {quoted(path)}"
        )
    if not Files(path).has(DATABASE):  # the very first writer may have been killed
        check_is_free(Files(path))


def prefixes_of(index: MultimodalIndex, paths: Sequence[Path], prefix: str | None) -> list[str]:
    """Return what goes before the ids of each path, so that files of one name stay apart.

    Raises:
        InvalidArgument: One prefix is given for several paths.
    """
    if prefix is None:
        return index.prefixes_for(paths)
    if len(paths) > 1:
        raise InvalidArgument(
            f"--prefix {prefix!r} was given with {len(paths)} paths; expected one path, because files of "
            "one name could not be told apart. Add the paths one by one."
        )
    return [prefix]
