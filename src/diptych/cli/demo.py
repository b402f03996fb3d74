"""``diptych demo``: the whole path on real photographs and pages, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from diptych.cli import show
from diptych.cli.console import print_json
from diptych.cli.models import DEFAULT, load_models
from diptych.demo import lay_out, questions
from diptych.errors import MissingExtra
from diptych.index import MultimodalIndex
from diptych.ingest import read
from diptych.page import Section, render_page
from diptych.retriever import MultimodalRetriever
from diptych.storage.connection import quoted
from diptych.types import Query
from diptych.visible import in_one_line, visible

__all__ = ["run_demo"]

TOP_K = 3


def run_demo(folder: Path, out: Console, *, as_json: bool) -> None:
    """Index the material, ask the questions, show what models get, write the page.

    Raises:
        MissingExtra: The photographs or the text model are not installed.
    """
    material = lay_out(folder / "material")
    text, image = load_models(DEFAULT)
    with MultimodalIndex(text, image, path=folder / "index") as index:
        reading = read(material)
        report = index.upsert(reading, show_progress=not as_json)
        retriever = MultimodalRetriever.from_index(index)
        asked = questions(material)
        sections = [Section(query, retriever.retrieve(query, TOP_K)) for query in asked]
        page = folder / "results.html"
        page.write_text(
            render_page(
                "diptych demo",
                sections,
                note="Texts by all-MiniLM-L6-v2 and BM25, pictures by colour and by their words; no network.",
            ),
            encoding="utf-8",
        )
        if as_json:
            print_json([_section_json(section) for section in sections])
            return
        out.print(f"{report} into {folder / 'index'}\n")
        for number, section in enumerate(sections, 1):
            out.print(Rule(_asked(number, section.query), align="left"))
            out.print(show.results_view(section.results))
        out.print(Rule(Text("What a model gets for the first question"), align="left"))
        for line in (*_through_langchain(index, asked[0]), *_through_llama_index(index, asked[0])):
            out.print(line)
    out.print(Text.assemble("\nOpen ", (in_one_line(page), "bold"), " to see the pictures."))
    out.print(f'Ask more: diptych search "the cat" --index {quoted(folder / "index")}')


def _asked(number: int, query: Query) -> Text:
    text = Text(f"{number}. {visible(query.text or '')}", style="bold")
    if query.image is not None:
        width, height = query.image.size
        text.append(f"  + a picture of {width}×{height}", style="magenta")
    return text


def _section_json(section: Section) -> dict[str, Any]:
    query = section.query
    return {
        "question": query.text,
        "picture": query.image.sha256 if query.image else None,
        "results": [show.result_json(result) for result in section.results],
    }


def _through_langchain(index: MultimodalIndex, query: Query) -> list[Text]:
    try:
        from diptych.langchain import DiptychRetriever, to_messages
    except MissingExtra as error:
        return [Text(f"LangChain   not installed: {error}", style="dim")]
    documents = DiptychRetriever(index=index, k=TOP_K).invoke(query.text or "")
    message = to_messages(query.text, documents)[-1]
    blocks = [
        f"picture ({block['mime_type']})"
        if block["type"] == "image"
        else f"{len(block['text']):,} characters"
        for block in message.content_blocks
        if block["type"] in ("text", "image")
    ]
    return [_line("LangChain", f"{len(documents)} Documents → 1 HumanMessage", blocks)]


def _through_llama_index(index: MultimodalIndex, query: Query) -> list[Text]:
    try:
        from diptych.llama_index import DiptychRetriever
    except MissingExtra as error:
        return [Text(f"LlamaIndex  not installed: {error}", style="dim")]
    nodes = DiptychRetriever(index=index, similarity_top_k=TOP_K).retrieve(query.text or "")
    parts: list[Any] = [block for node in nodes for block in node.node.get_content_blocks()]
    blocks = [
        "picture" if block.block_type == "image" else f"{len(block.text):,} characters"
        for block in parts
    ]
    return [_line("LlamaIndex", f"{len(nodes)} nodes", blocks)]


def _line(framework: str, what: str, blocks: Sequence[str]) -> Text:
    text = Text(f"{framework:11} ", style="bold")
    text.append(f"{what}: ", style="not bold")
    text.append(" · ".join(blocks), style="not bold dim")
    return text
