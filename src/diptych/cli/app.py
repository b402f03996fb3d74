"""The commands. Exit codes: 0 all went well, 1 an error of the user, 2 some files failed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from diptych import maintenance
from diptych.cli import show
from diptych.cli.models import DEFAULT, HELP, MODELS_SETTING, load_models
from diptych.errors import DiptychError, FormatError, InvalidArgument
from diptych.image import Image
from diptych.index import MultimodalIndex
from diptych.ingest import read
from diptych.page import Section, render_page
from diptych.report import AddReport
from diptych.retriever import MultimodalRetriever
from diptych.storage.connection import quoted
from diptych.storage.failures import is_there, list_folder
from diptych.storage.local import DATABASE
from diptych.storage.unborn import check_is_free
from diptych.types import Query

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

IndexArgument = Annotated[Path, typer.Argument(help="The folder of the index.")]
IndexPath = Annotated[Path, typer.Option("--index", "-i", help="The folder of the index.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"diptych {metadata.version('diptych')}")
        raise typer.Exit


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Show what a user can mend as one message, without a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except DiptychError as error:
            errors.print(f"[bold red]error[/] {_plain(error)}", soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            errors.print(
                "Stopped. What was added so far is stored; run the command again to go on."
            )
            raise typer.Exit(130) from None

    return run


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Text and pictures in one index; fused context for LLMs."""


@app.command()
@reported
def add(
    paths: Annotated[
        list[Path], typer.Argument(help="Files or folders: pictures, .md, .html, .txt, .jsonl.")
    ],
    index: IndexPath = Path("diptych-index"),
    models: Annotated[str | None, typer.Option("--models", "-m", help=HELP)] = None,
    batch_size: Annotated[int, typer.Option(help="Documents encoded and committed together.")] = 64,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference", help="Leave the pictures where they are instead of copying them."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Read files or folders into an index; what is unchanged is skipped, what changed is replaced."""
    with _open(index, models, create=True, reference=reference) as opened:
        report = AddReport()
        for path, prefix in _prefixes(paths):
            reading = read(path, prefix=prefix)
            report += opened.upsert(reading, batch_size=batch_size, show_progress=not json)
            report += AddReport(failed=tuple(reading.failed))
        if json:
            show.print_json(out, show.report_json(report))
        else:
            if report == AddReport():
                errors.print(
                    "Nothing was read: no page, text, record or picture that a reader takes "
                    f"(.md, .html, .txt, .jsonl, pictures) is in {_plain(_joined(paths))}."
                )
            out.print(str(report).split(" failed")[0] + (" failed" if report.failed else ""))
            _print_failures(report)
    if report.failed:
        raise typer.Exit(2)


@app.command()
@reported
def sync(
    path: Annotated[Path, typer.Argument(help="The folder or file that was added.")],
    index: IndexPath = Path("diptych-index"),
    prefix: Annotated[
        str, typer.Option(help="What goes before the ids, as when it was added.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and show what would be done.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Remove everything when nothing is left to read.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Documents encoded and committed together.")] = 64,
    json: Json = False,
) -> None:
    """Add what is new in a folder, replace what changed, remove what vanished."""
    with _open(index, None) as opened:
        report = opened.sync(
            read(path, prefix=prefix),
            dry_run=dry_run,
            allow_empty=allow_empty,
            batch_size=batch_size,
            show_progress=not json,
        )
    if json:
        shown = {
            **show.report_json(report.stored),
            "removed": list(report.removed),
            "dry_run": dry_run,
        }
        show.print_json(out, shown)
    else:
        out.print(str(report).split(" failed")[0] + (" failed" if report.stored.failed else ""))
        for identity in report.removed[:20]:
            out.print(f"  {'would be ' if dry_run else ''}removed: {_plain(identity)}")
        if len(report.removed) > 20:
            out.print(f"  … and {len(report.removed) - 20:,} more")
        _print_failures(report.stored)
    if report.stored.failed:
        raise typer.Exit(2)


@app.command()
@reported
def search(
    text: Annotated[str | None, typer.Argument(help="The question.")] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="A picture to look for, alone or with text.")
    ] = None,
    index: IndexPath = Path("diptych-index"),
    k: Annotated[int, typer.Option("-k", help="How many results.")] = 5,
    modality: Annotated[
        list[str] | None,
        typer.Option("--modality", help="text, image or cross_modal; may be repeated."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help='A metadata filter as JSON: \'{"kind": "figure"}\'.'),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write a page with the pictures.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask a question, in words, with a picture, or both."""
    query = Query(text, Image(image) if image else None)
    with _open(index, None) as opened:
        retriever = MultimodalRetriever.from_index(opened)
        results = retriever.retrieve(query, k, modality or ("text", "image"), where=_filter(where))
        if json:
            show.print_json(out, [show.result_json(result) for result in results])
        else:
            out.print(show.results_view(results))
        if html is not None:
            html.write_text(
                render_page("diptych search", [Section(query, results)]), encoding="utf-8"
            )
            errors.print(f"Page: {html}")


@app.command()
@reported
def info(index: IndexPath = Path("diptych-index"), json: Json = False) -> None:
    """Show how large an index is and which models it was built with."""
    _exists(index)
    with MultimodalIndex(path=index) as opened:
        if json:
            show.print_json(out, show.info_json(opened.info(), opened.settings))
        else:
            out.print(show.info_table(opened.info(), opened.settings))


@app.command()
@reported
def verify(
    index: IndexArgument,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare every word, filter value and picture too.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended; what is damaged is moved.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that an index is as it was stored. Exit code 1 when it is not."""
    report = maintenance.verify(index, deep=deep, repair=repair)
    if json:
        show.print_json(out, show.verify_json(report))
    else:
        out.print(show.verify_view(report, index))
    if not report.is_whole:
        raise typer.Exit(1)


@app.command()
@reported
def compact(index: IndexArgument, json: Json = False) -> None:
    """Give the room of deleted and replaced documents back to the disk."""
    _exists(index)
    with MultimodalIndex(path=index) as opened:
        before = opened.info().bytes
        opened.compact()
        after = opened.info().bytes
    if json:
        show.print_json(out, {"bytes_before": before, "bytes_after": after})
    else:
        out.print(f"{show.megabytes(before)} before, {show.megabytes(after)} after")


@app.command()
@reported
def backup(
    index: IndexArgument,
    to: Annotated[Path, typer.Argument(help="Where the copy goes; nothing may be there.")],
    json: Json = False,
) -> None:
    """Copy an index, one committed state of it, also while others write to it."""
    report = maintenance.backup(index, to)
    if json:
        show.print_json(out, asdict(report))
    else:
        out.print(
            f"{report.documents:,} documents, {report.files:,} files, {show.megabytes(report.bytes)} "
            f"copied to {_plain(to)}, and checked"
        )


@app.command("export")
@reported
def export_index(
    index: IndexArgument,
    file: Annotated[Path, typer.Argument(help="The file to write; nothing may be there.")],
    json: Json = False,
) -> None:
    """Write an index into one file, also while others write to it."""
    report = maintenance.export_index(index, file)
    if json:
        show.print_json(out, show.report_json(report))
    else:
        size = show.megabytes(file.stat().st_size)
        out.print(f"{report.added:,} documents, {size} written to {_plain(file)}")
        _print_failures(report)
    if report.failed:
        raise typer.Exit(2)


@app.command("import")
@reported
def import_index(
    file: Annotated[Path, typer.Argument(help="What diptych export wrote.")],
    index: IndexPath = Path("diptych-index"),
    json: Json = False,
) -> None:
    """Store what an export holds in a new index, or in one of the same models."""
    report = maintenance.import_index(file, index)
    if json:
        show.print_json(out, show.report_json(report))
    else:
        out.print(str(report))


@app.command()
@reported
def reembed(
    index: IndexArgument,
    models: Annotated[
        str | None,
        typer.Option(
            "--models", "-m", help=f"{HELP} The same as before, to bring lost vectors back."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Documents encoded and committed together.")] = 64,
    json: Json = False,
) -> None:
    """Give the documents of an index the vectors of other models. Can be interrupted and repeated."""
    chosen = models or _remembered(index)
    text, image = load_models(chosen)
    report = maintenance.reembed(
        index, text, image, batch_size=batch_size, show_progress=not json
    )  # fmt: skip
    if json:
        show.print_json(out, asdict(report))
    else:
        resumed = f", {report.resumed:,} of them before the interruption" if report.resumed else ""
        out.print(f"{report.documents:,} documents have vectors of {_plain(chosen)}{resumed}")
        _print_failures(AddReport(failed=report.failed))
    if report.failed:
        raise typer.Exit(2)


@app.command()
@reported
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Where to put the material, the index and the page.")
    ] = Path("diptych-demo"),
    json: Json = False,
) -> None:
    """Index real pages and photographs, ask three questions, write a page. Needs no network."""
    from diptych.cli.demo import run_demo

    run_demo(folder, out, as_json=json)


def _open(
    path: Path, models: str | None, *, create: bool = False, reference: bool = False
) -> MultimodalIndex:
    """Open an index with the models that it remembers, or with those that are asked for."""
    if not create:
        _exists(path)
    remembered = _remembered(path, needed=models is None) if is_there(path / DATABASE) else ""
    chosen = models or remembered or DEFAULT
    text, image = load_models(chosen)
    return MultimodalIndex(
        text,
        image,
        path=path,
        images="reference" if reference else "copy",
    )


def _remembered(path: Path, *, needed: bool = True) -> str:
    """Return the models that an index remembers; empty when nothing has been stored yet.

    Raises:
        InvalidArgument: It remembers none, and they are needed.
    """
    _exists(path)
    with MultimodalIndex(path=path) as index:
        remembered = index.settings.get(MODELS_SETTING, "")
        is_new = not remembered and not index.info().spaces
    if not remembered and needed and not is_new:
        raise InvalidArgument(
            f"The index {str(path)!r} was not made by this command and does not remember its models. "
            "Name them with --models."
        )
    return remembered


def _prefixes(paths: list[Path]) -> list[tuple[Path, str]]:
    """Return what goes before the ids of each path, so that files of one name do not replace each other.

    Raises:
        InvalidArgument: Two of several paths have the same last part.
    """
    if len(paths) == 1:
        return [(paths[0], "")]
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        raise InvalidArgument(
            f"Two of the paths {_joined(paths)} have the same name, so their documents "
            "could not be told apart. Add their common folder instead."
        )
    return [
        (path, f"{name}/" if path.is_dir() else "") for path, name in zip(paths, names, strict=True)
    ]


def _joined(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def _exists(path: Path) -> None:
    if not list_folder(path):
        raise FormatError(
            f"There is no index at {str(path)!r}. Make one with: diptych add PATH --index {quoted(path)}"
        )
    if not is_there(path / DATABASE):  # the very first writer may have been killed
        check_is_free(path)


def _filter(text: str | None) -> Any:
    import json

    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(
            f'--where is no JSON: {error}. Write it like \'{{"kind": "figure"}}\'.'
        ) from error


def _print_failures(report: AddReport) -> None:
    if not report.failed:
        return
    table = Table(title="Not added", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("file", style="bold", overflow="fold")
    table.add_column("reason", overflow="fold")
    for failure in report.failed:
        table.add_row(_plain(failure.source), _plain(failure.reason))
    out.print(table)


def _plain(value: object) -> str:
    """Return text in which nothing of the corpus is taken for markup."""
    from rich.markup import escape

    return escape(str(value))
