"""The commands that look after an index: check, mend, copy, carry, give it other models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diptych import maintenance
from diptych.cli import show
from diptych.cli.app import app
from diptych.cli.console import out, print_json, reported
from diptych.cli.models import HELP, load_models
from diptych.cli.opening import (
    BatchSize,
    IndexOption,
    Json,
    OldIndex,
    check_exists,
    index_and_target,
    index_of,
    remembered_models,
)
from diptych.cli.reports import print_left_out, report_json
from diptych.index import MultimodalIndex
from diptych.report import AddReport
from diptych.visible import in_one_line

__all__ = ["backup", "compact", "export_index", "import_index", "reembed", "verify"]

Target = Annotated[
    list[Path], typer.Argument(metavar="[INDEX] TO", help="Where it goes; nothing may be there.")
]


@app.command()
@reported
def verify(
    old: OldIndex = None,
    index: IndexOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare every word, filter value and picture too.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended; what is damaged is moved.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that an index is as it was stored. Exit code 1 when it is not."""
    path = index_of(index, old)
    report = maintenance.verify(path, deep=deep, repair=repair)
    if json:
        print_json(show.verify_json(report))
    else:
        out.print(show.verify_view(report, path), soft_wrap=True)  # a command is not cut in two
    if not report.is_whole:
        raise typer.Exit(1)


@app.command()
@reported
def compact(old: OldIndex = None, index: IndexOption = None, json: Json = False) -> None:
    """Give the room of deleted and replaced documents back to the disk."""
    path = index_of(index, old)
    check_exists(path)
    with MultimodalIndex(path=path) as opened:
        before = opened.info().bytes
        opened.compact()
        after = opened.info().bytes
    if json:
        print_json({"bytes_before": before, "bytes_after": after})
    else:
        out.print(f"{show.megabytes(before)} before, {show.megabytes(after)} after")


@app.command()
@reported
def backup(
    paths: Target,
    index: IndexOption = None,
    json: Json = False,
) -> None:
    """Copy an index, one committed state of it, also while others write to it."""
    path, to = index_and_target(paths, index)
    report = maintenance.backup(path, to)
    if json:
        print_json(asdict(report))
    else:
        out.print(
            f"{report.documents:,} documents, {report.files:,} files, {show.megabytes(report.bytes)} "
            f"copied to {in_one_line(to)}, and checked"
        )


@app.command("export")
@reported
def export_index(
    paths: Target,
    index: IndexOption = None,
    json: Json = False,
) -> None:
    """Write an index into one file, also while others write to it."""
    path, file = index_and_target(paths, index)
    report = maintenance.export_index(path, file)
    if json:
        print_json(report_json(report))
    else:
        size = show.megabytes(file.stat().st_size)
        out.print(f"{report.added:,} documents, {size} written to {in_one_line(file)}")
        print_left_out(report)
    if report.failed:
        raise typer.Exit(2)


@app.command("import")
@reported
def import_index(
    file: Annotated[Path, typer.Argument(help="What diptych export wrote.")],
    index: IndexOption = None,
    json: Json = False,
) -> None:
    """Store what an export holds in a new index, or in one of the same models."""
    report = maintenance.import_index(file, index_of(index))
    if json:
        print_json(report_json(report))
    else:
        out.print(report.counted)
        print_left_out(report)
    if report.failed:
        raise typer.Exit(2)


@app.command()
@reported
def reembed(
    old: OldIndex = None,
    index: IndexOption = None,
    models: Annotated[
        str | None,
        typer.Option(
            "--models", "-m", help=f"{HELP} The same as before, to bring lost vectors back."
        ),
    ] = None,
    batch_size: BatchSize = 64,
    json: Json = False,
) -> None:
    """Give the documents of an index the vectors of other models. Can be interrupted and repeated."""
    path = index_of(index, old)
    chosen = models or remembered_models(path)
    text, image = load_models(chosen)
    report = maintenance.reembed(path, text, image, batch_size=batch_size, show_progress=not json)
    if json:
        print_json(asdict(report))
    else:
        resumed = f", {report.resumed:,} of them before the interruption" if report.resumed else ""
        out.print(f"{report.documents:,} documents have vectors of {in_one_line(chosen)}{resumed}")
        print_left_out(AddReport(failed=report.failed))
    if report.failed:
        raise typer.Exit(2)
