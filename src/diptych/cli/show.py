"""What a person sees in a terminal: results, evidence, counts. Never base64, never tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diptych.index import IndexInfo
from diptych.ingest.origin import Origin
from diptych.maintenance import VerifyReport
from diptych.storage.connection import quoted, repair_command
from diptych.types import Document, Evidence, FusedDocument
from diptych.visible import in_one_line, visible

__all__ = [
    "info_json",
    "info_table",
    "megabytes",
    "result_json",
    "results_view",
    "verify_json",
    "verify_view",
]

SNIPPET = 280
PROBLEMS = 20


def results_view(results: Sequence[FusedDocument], *, evidence: bool = True) -> Group:
    """Return results as lines: rank, score, kind, source, snippet, pictures, evidence."""
    if not results:
        return Group(Text("Nothing was found.", style="dim"))
    return Group(*(_result(rank, result, evidence) for rank, result in enumerate(results, 1)))


def _result(rank: int, result: FusedDocument, evidence: bool) -> Group:
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(f"{rank:2d}", style="bold"),
        Text(f"{result.score:.2f}", style="bold green"),
        ProgressBar(total=1.0, completed=result.score, width=10),
        Text(result.kind, style="cyan"),
        Text(in_one_line(_where(result)), style="dim"),
    )
    parts: list[Any] = [_part(document) for document in result.documents]
    if evidence:
        parts.append(Text(f"found by  {_evidence(result)}", style="dim"))
    return Group(head, *(Padding(part, (0, 0, 0, 4)) for part in parts), Text(""))


def _part(document: Document) -> Text:
    text = Text()
    if document.image is not None:
        text.append("▣ ", style="magenta")
        name = document.image.name or f"picture {document.image.sha256[:12]}"
        text.append(in_one_line(name), style="magenta")
        width, height = document.image.size
        text.append(f"  {width}×{height}", style="dim")
        if document.text:
            text.append("\n  ")
    if document.text:
        text.append(visible(_snippet(document.text)))
    return text


def _evidence(result: FusedDocument) -> str:
    """Say for each part which lists found it, at which rank, with which raw score."""
    by_document: dict[str, list[Evidence]] = {}
    for item in result.evidence:
        if item.rank:
            by_document.setdefault(item.document_id, []).append(item)
    lines = [
        (f"{in_one_line(document_id)}: " if len(result.documents) > 1 else "")
        + " · ".join(f"{item.list}#{item.rank} {item.score:.2f}" for item in items)
        for document_id, items in by_document.items()
    ]
    return ("\n" + " " * 10).join(lines) or "its neighbour"


def _where(result: FusedDocument) -> str:
    section = result.metadata.get("section")
    return f"{result.source} › {section}" if isinstance(section, str) and section else result.source


def _snippet(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET - 1].rsplit(' ', 1)[0]}…"


def result_json(result: FusedDocument) -> dict[str, Any]:
    """Return a result as JSON values; pictures by name, path and content hash."""
    return {
        "id": result.id,
        "score": round(result.score, 6),
        "kind": result.kind,
        "source": result.source,
        "text": result.text,
        "documents": [
            {"id": d.id, "text": d.text, "metadata": dict(d.metadata), "image": _image_json(d)}
            for d in result.documents
        ],
        "evidence": [
            {
                "document": e.document_id,
                "list": e.list,
                "rank": e.rank,
                "score": round(e.score, 6),
                "contribution": round(e.contribution, 6),
            }
            for e in result.evidence
        ],
    }


def _image_json(document: Document) -> dict[str, Any] | None:
    image = document.image
    if image is None:
        return None
    width, height = image.size
    return {
        "name": image.name,
        "path": str(image.path) if image.path else None,
        "sha256": image.sha256,
        "mime": image.mime,
        "width": width,
        "height": height,
    }


def info_table(info: IndexInfo, settings: dict[str, str], folders: Sequence[Origin]) -> Table:
    """Return the size, the models and the folders of an index as a table."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("path", in_one_line(info.path or "in memory"))
    table.add_row(
        "documents",
        f"{info.documents:,}  ({info.texts:,} with text, {info.images:,} with a picture, "
        f"{info.both:,} with both)",
    )
    table.add_row("groups", f"{info.groups:,}")
    for name, space in info.spaces.items():
        count = info.vectors.get(name, 0)
        table.add_row(
            f"{name}_index", f"{count:,} vectors × {space.dim}  {in_one_line(space.name)}"
        )
    for name, value in settings.items():
        table.add_row(in_one_line(name), in_one_line(value))
    for place in folders:
        begins = f"  as {in_one_line(place.start)}…" if place.prefix else ""
        table.add_row("read from", f"{in_one_line(place.folder)}{begins}")
    table.add_row("on disk", megabytes(info.bytes))
    return table


def megabytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:,.1f} MB"


def verify_view(report: VerifyReport, path: Path) -> Group:
    """Return what a check found, what a repair did, and what is left to do."""
    lines = [Text(f"  {in_one_line(line)}") for line in report.repaired]
    if lines:
        lines.insert(0, Text("Repaired", style="bold"))
    if report.problems:
        lines.append(Text("Problems", style="bold red" if not report.is_whole else "bold"))
    lines.extend(
        Text(f"  {problem.part:9} {in_one_line(problem.where)}: {in_one_line(problem.what)}")
        for problem in report.problems[:PROBLEMS]
    )
    if len(report.problems) > PROBLEMS:
        lines.append(
            Text(f"  … and {len(report.problems) - PROBLEMS:,} more; --json shows them all")
        )
    counted = (
        f"{report.documents:,} documents, {report.segments:,} vector segments and {report.pictures:,} "
        f"pictures checked{' in depth' if report.deep else ''} in {report.seconds:.1f} s"
    )
    verdict = (
        "everything is as it was stored"
        if report.is_whole
        else "not everything is as it was stored"
    )
    lines.append(Text(f"{counted}: {verdict}."))
    if any(problem.part == "unreadable" for problem in report.problems):
        lines.append(
            Text(
                "What could not be read is not damaged: fix the permissions or look at the disk, then "
                "verify again. A repair would refuse."
            )
        )
    if report.is_mendable:
        lines.append(Text(f"To mend what can be mended: {repair_command(path)}"))
    if report.without_vectors:
        lines.append(
            Text(
                f"{report.without_vectors:,} documents lack vectors and are found by their words only. To "
                f"give them new ones: diptych reembed {quoted(path)}"
            )
        )
    return Group(*lines)


def verify_json(report: VerifyReport) -> dict[str, Any]:
    """Return :func:`verify_view` as JSON values."""
    return {"whole": report.is_whole, **asdict(report)}


def info_json(
    info: IndexInfo, settings: dict[str, str], folders: Sequence[Origin]
) -> dict[str, Any]:
    """Return :func:`info_table` as JSON values."""
    spaces = {
        name: {
            "dim": s.dim,
            "space": s.name,
            "fingerprint": s.fingerprint,
            "vectors": info.vectors.get(name, 0),
        }
        for name, s in info.spaces.items()
    }
    counts = {
        n: getattr(info, n) for n in ("documents", "texts", "images", "both", "groups", "bytes")
    }
    read = [{"folder": place.folder, "prefix": place.prefix} for place in folders]
    return {
        "path": str(info.path),
        **counts,
        "indexes": spaces,
        "settings": settings,
        "folders": read,
    }
