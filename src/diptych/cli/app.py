"""The commands. Exit codes: 0 all went well, 1 an error of the user, 2 some files failed."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from diptych.storage.files import Files
from diptych.storage.layout import DATABASE
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
Prefix = Annotated[
    str | None,
    typer.Option(
        help="What goes before the ids. By default that with which the folder was added before; nothing "
        "for the first folder of an index, its name for any other one."
    ),
]
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
    prefix: Prefix = None,
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
    for path in paths:
        read(path)  # nothing is stored when one of them is not there
    with _open(index, models, create=True, reference=reference) as opened:
        prefixes = _prefixes(opened, paths, prefix)
        reports = []
        counts: Counter[str] = Counter()
        for path, start in zip(paths, prefixes, strict=True):
            reading = read(path, prefix=start)
            reports.append(opened.upsert(reading, batch_size=batch_size, show_progress=not json))
            counts.update(show.stored_by_source(reading, reports[-1]))
        report = sum(reports, AddReport())
        if json:
            shown = show.report_json(report, counts)
            shown["prefixes"] = dict(zip(map(str, paths), prefixes, strict=True))
            show.print_json(out, shown)
        else:
            _print_prefixes(paths, prefixes)
            out.print(report.counted)
            _print_left_out(report, counts)
    _end(report, counts, paths)


@app.command()
@reported
def sync(
    path: Annotated[Path, typer.Argument(help="The folder or file that was added.")],
    index: IndexPath = Path("diptych-index"),
    prefix: Prefix = None,
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
        (start,) = _prefixes(opened, [path], prefix)
        reading = read(path, prefix=start)
        report = opened.sync(
            reading,
            dry_run=dry_run,
            allow_empty=allow_empty,
            batch_size=batch_size,
            show_progress=not json,
        )
    counts = show.stored_by_source(reading, report.stored)
    if json:
        shown = {
            **show.report_json(report.stored, counts),
            "removed": list(report.removed),
            "dry_run": dry_run,
            "prefixes": {str(path): start},
        }
        show.print_json(out, shown)
    else:
        _print_prefixes([path], [start])
        out.print(report.counted)
        for identity in report.removed[:20]:
            out.print(f"  {'would be ' if dry_run else ''}removed: {_plain(identity)}")
        if len(report.removed) > 20:
            out.print(f"  … and {len(report.removed) - 20:,} more")
        _print_left_out(report.stored, counts)
    _end(report.stored + AddReport(removed=len(report.removed)), counts, [path])


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
    remembered = _remembered(path, needed=models is None) if Files(path).has(DATABASE) else ""
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


def _prefixes(index: MultimodalIndex, paths: Sequence[Path], prefix: str | None) -> list[str]:
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


def _print_prefixes(paths: Sequence[Path], prefixes: Sequence[str]) -> None:
    for path, prefix in zip(paths, prefixes, strict=True):
        if prefix:
            errors.print(f"The ids of {_plain(path)} begin with {_plain(prefix)}/", soft_wrap=True)


def _end(report: AddReport, counts: Mapping[str, int], paths: Sequence[Path]) -> None:
    """End a command that read folders with its exit code: 0, 1 for nothing at all, 2 for a part."""
    if not counts and not report.removed:
        errors.print(
            f"[bold red]error[/] Nothing was read from {_plain(_joined(paths))}; expected a page, a text, "
            "records or a picture that a reader takes (.md, .html, .txt, .jsonl, .png, .jpg, …). "
            "Give a folder or file that holds some.",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    if report.failed:
        raise typer.Exit(2)


def _joined(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _exists(path: Path) -> None:
    if not Files(path).kinds():
        raise FormatError(
            f"There is no index at {str(path)!r}. Make one with: diptych add PATH --index {quoted(path)}"
        )
    if not Files(path).has(DATABASE):  # the very first writer may have been killed
        check_is_free(Files(path))


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


def _print_left_out(report: AddReport, counts: Mapping[str, int]) -> None:
    """Show what failed, file by file, and what was not read, kind by kind."""
    _print_failures(report, counts)
    if not report.not_read:
        return
    table = Table(title="Not read", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("kind", style="bold", overflow="fold")
    table.add_column("count", justify="right")
    table.add_column("such as", overflow="fold")
    for part in report.not_read:
        more = ", …" if part.count > len(part.examples) else ""
        table.add_row(_plain(part.kind), f"{part.count:,}", _plain(", ".join(part.examples) + more))
    out.print(table)


def _print_failures(report: AddReport, counts: Mapping[str, int] | None = None) -> None:
    """Show what failed, file by file; of a file that failed in part, how many documents were stored."""
    if not report.failed:
        return
    table = Table(title="Failed", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("file", style="bold", overflow="fold")
    table.add_column("reason", overflow="fold")
    for source, failures in show.by_source(report.failed).items():
        stored = max((counts or {}).get(source, 0), 0)
        if stored:
            table.add_row(
                _plain(source),
                f"{stored:,} {'stored' if report.updated or report.skipped else 'added'}, "
                f"{len(failures):,} not:",
            )
        for failure in failures:
            name = failure.name if not stored or failure.name != source else ""
            table.add_row(_plain(f"  {name}" if stored else name), _plain(failure.reason))
    out.print(table)


def _plain(value: object) -> str:
    """Return text in which nothing of the corpus is taken for markup."""
    from rich.markup import escape

    return escape(str(value))
