"""The commands that fill and ask an index. docs/command-line.md has the exit codes."""

from __future__ import annotations

import errno
import json as json_module
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import show
from diptych.cli.console import Commands, complain, errors, out, print_json, reported
from diptych.cli.models import HELP
from diptych.cli.opening import (
    BatchSize,
    IndexOption,
    Json,
    OldIndex,
    check_exists,
    index_of,
    open_index,
    prefixes_of,
)
from diptych.cli.reports import print_left_out, report_json, stored_by_source
from diptych.errors import InvalidArgument
from diptych.image import Image
from diptych.index import MultimodalIndex
from diptych.ingest import read
from diptych.page import Section, render_page
from diptych.report import AddReport
from diptych.retriever import MultimodalRetriever
from diptych.types import Query
from diptych.visible import in_one_line

__all__ = ["app"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 all is well; 1 an error, nothing was read, or verify found a problem; "
    "2 some documents failed and the others are stored; 130 interrupted.",
)

Prefix = Annotated[
    str | None,
    typer.Option(
        help="What goes before the ids. By default that with which the folder was added before; nothing "
        "for the first folder of an index, its name for any other one."
    ),
]
Models = Annotated[str | None, typer.Option("--models", "-m", help=HELP)]


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"diptych {metadata.version('diptych')}")
        raise typer.Exit


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
    index: IndexOption = None,
    models: Models = None,
    prefix: Prefix = None,
    batch_size: BatchSize = 64,
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
    with open_index(index_of(index), models, create=True, reference=reference) as opened:
        prefixes = prefixes_of(opened, paths, prefix)
        reports = []
        counts: Counter[str] = Counter()
        for path, start in zip(paths, prefixes, strict=True):
            reading = read(path, prefix=start)
            reports.append(opened.upsert(reading, batch_size=batch_size, show_progress=not json))
            counts.update(stored_by_source(reading, reports[-1]))
        report = sum(reports, AddReport())
        if json:
            shown = report_json(report, counts)
            shown["prefixes"] = dict(zip(map(str, paths), prefixes, strict=True))
            print_json(shown)
        else:
            _print_prefixes(paths, prefixes if counts else [])
            out.print(report.counted)
            print_left_out(report, counts)
    _end(report, counts, paths)


@app.command()
@reported
def sync(
    path: Annotated[Path, typer.Argument(help="The folder or file that was added.")],
    index: IndexOption = None,
    models: Models = None,
    prefix: Prefix = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and show what would be done.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Remove everything when nothing is left to read.")
    ] = False,
    batch_size: BatchSize = 64,
    json: Json = False,
) -> None:
    """Add what is new in a folder, replace what changed, remove what vanished."""
    with open_index(index_of(index), models) as opened:
        (start,) = prefixes_of(opened, [path], prefix)
        reading = read(path, prefix=start)
        report = opened.sync(
            reading,
            dry_run=dry_run,
            allow_empty=allow_empty,
            batch_size=batch_size,
            show_progress=not json,
        )
    counts = stored_by_source(reading, report.stored)
    if json:
        shown = {
            **report_json(report.stored, counts),
            "removed": list(report.removed),
            "dry_run": dry_run,
            "prefixes": {str(path): start},
        }
        print_json(shown)
    else:
        _print_prefixes([path], [start] if counts else [])
        out.print(report.counted)
        for identity in report.removed[:20]:
            out.print(f"  {'would be ' if dry_run else ''}removed: {in_one_line(identity)}")
        if len(report.removed) > 20:
            out.print(f"  … and {len(report.removed) - 20:,} more")
        print_left_out(report.stored, counts)
    _end(report.stored + AddReport(removed=len(report.removed)), counts, [path])


@app.command()
@reported
def search(
    text: Annotated[str | None, typer.Argument(help="The question.")] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="PATH",
            help="A picture to look for, alone or with text; also a file: URI.",
        ),
    ] = None,
    index: IndexOption = None,
    models: Models = None,
    k: Annotated[int, typer.Option("-k", help="How many results.")] = 5,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            "--modality", help="text, image, cross_modal or lexical (words alone); may be repeated."
        ),
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
    query = Query(text, Image.of(image) if image else None)
    condition = _filter(where)
    if html is not None:
        _check_page(html)
    with open_index(index_of(index), models) as opened:
        retriever = MultimodalRetriever.from_index(opened)
        results = retriever.retrieve(query, k, modality or ("text", "image"), where=condition)
        if json:
            print_json([show.result_json(result) for result in results])
        else:
            out.print(show.results_view(results))
        if html is not None:
            page = render_page("diptych search", [Section(query, results)])
            html.write_text(page, encoding="utf-8")
            errors.print(f"Page: {in_one_line(html)}", soft_wrap=True)


@app.command()
@reported
def info(index: IndexOption = None, old: OldIndex = None, json: Json = False) -> None:
    """Show how large an index is, which models it was built with, and which folders it holds."""
    path = index_of(index, old)
    check_exists(path)
    with MultimodalIndex(path=path) as opened:
        if json:
            print_json(show.info_json(opened.info(), opened.settings, opened.folders()))
        else:
            out.print(show.info_table(opened.info(), opened.settings, opened.folders()))


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


def _print_prefixes(paths: Sequence[Path], prefixes: Sequence[str]) -> None:
    for path, prefix in zip(paths, prefixes, strict=bool(prefixes)):
        if prefix:
            errors.print(
                f"The ids of {in_one_line(path)} begin with {in_one_line(prefix)}/", soft_wrap=True
            )


def _end(report: AddReport, counts: Mapping[str, int], paths: Sequence[Path]) -> None:
    """End a command that read folders with its exit code: 0, 1 for nothing at all, 2 for a part."""
    if not counts and not report.removed:
        complain(
            f"Nothing was read from {', '.join(map(str, paths))}; expected a page, a text, records or a "
            "picture that a reader takes (.md, .html, .txt, .jsonl, .png, .jpg, …). Give a folder or file "
            "that holds some."
        )
        raise typer.Exit(1)
    if report.failed:
        raise typer.Exit(2)


def _check_page(path: Path) -> None:
    """Make room for a page before the search is made.

    Raises:
        InvalidArgument: Nothing can be written there.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "It is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgument(
            f"The page --html {str(path)!r} cannot be written: {reason}. Expected the name of a file in a "
            "folder that may be written to. Name another one."
        ) from error


def _filter(text: str | None) -> Any:
    """Return the filter that ``--where`` gives.

    Raises:
        InvalidArgument: It is not JSON.
    """
    if text is None:
        return None
    try:
        return json_module.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"--where {text[:100]!r} is not JSON: {error}. Expected an object, such as "
            '\'{"kind": "figure"}\'. Mind the quotes of your shell.'
        ) from error
