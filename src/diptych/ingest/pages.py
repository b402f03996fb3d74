"""Pages to documents: chunks of text and figures, in reading order, by section."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any

from diptych.errors import DiptychError
from diptych.ingest.blocks import Figure, Heading, Page, Passage
from diptych.ingest.captions import with_captions
from diptych.ingest.chunk import split
from diptych.ingest.html import parse_html
from diptych.ingest.markdown import parse_markdown
from diptych.ingest.paths import is_remote
from diptych.ingest.source import Omitted, Source, label, on_the_web, shortened_link
from diptych.report import Failure
from diptych.types import Document

__all__ = ["read_html", "read_markdown"]


def read_markdown(source: Source) -> Iterator[Document | Failure | Omitted]:
    """Yield the chunks and figures of a Markdown page, and what failed, in reading order."""
    return _PageReader(source, parse_markdown(source.text())).read()


def read_html(source: Source) -> Iterator[Document | Failure | Omitted]:
    """Yield the chunks and figures of an HTML page, and what failed, in reading order."""
    return _PageReader(source, parse_html(source.text(declared=True))).read()


class _PageReader:
    """Keeps the place in a page: the section, the running text, the numbers given so far."""

    def __init__(self, source: Source, page: Page) -> None:
        self._source = source
        self._blocks = with_captions(page.blocks)
        titles = (b.text for b in page.blocks if isinstance(b, Heading) and b.level == 1)
        self._title = page.title or next(titles, "")
        self._headings: list[Heading] = []
        self._sections: Counter[str] = Counter()
        self._group = source.name
        self._heading: Heading | None = None  # not yet part of a chunk
        self._passages: list[Passage] = []
        self._chunks = self._figures = self._order = 0
        self._elsewhere = page.elsewhere

    def read(self) -> Iterator[Document | Failure | Omitted]:
        """Yield the documents of the page."""
        for block in self._blocks:
            match block:
                case Passage():
                    self._passages.append(block)
                case Figure():
                    yield from self._end_text()
                    yield from self._figure(block)
                case Heading():
                    yield from self._end_text(block)
                    self._enter(block)
        yield from self._end_text()
        for link in self._elsewhere:
            yield on_the_web(link, self._source.name, self._source.name)

    def _enter(self, heading: Heading) -> None:
        """Begin a section."""
        self._headings = [h for h in self._headings if h.level < heading.level]
        self._headings.append(heading)
        self._heading = heading
        self._group = f"{self._source.name}#{self._section}"
        self._sections[self._section] += 1
        if (count := self._sections[self._section]) > 1:  # two sections of one name are two
            self._group += f" ({count})"

    @property
    def _section(self) -> str:
        return " > ".join(label(heading.text) for heading in self._headings)

    def _end_text(self, following: Heading | None = None) -> Iterator[Document]:
        """Yield the running text in chunks. Its heading is part of it.

        A heading above a deeper heading is left out: the sections below have it as metadata.
        """
        passages, self._passages = self._passages, []
        heading, self._heading = self._heading, None
        if heading is not None:
            if not passages and following is not None and following.level > heading.level:
                return
            passages.insert(0, Passage(heading.text, heading.line))
        parts: list[str] = []
        starts: list[int] = []
        length = 0
        for passage in passages:
            if starts:
                parts.append("\n" if passage.is_tight else "\n\n")
                length += len(parts[-1])
            starts.append(length)
            parts.append(passage.text)
            length += len(passage.text)
        at = 0
        for chunk in split("".join(parts), self._source.max_chars):
            first = at + len(chunk) - len(chunk.lstrip())
            at += len(chunk)
            if chunk.strip():
                passage = passages[bisect_right(starts, first) - 1]
                yield self._chunk(chunk.strip("\n").rstrip(), passage.line)

    def _chunk(self, text: str, line: int) -> Document:
        self._chunks += 1
        self._order += 1
        return Document(
            text=text,
            id=f"{self._source.name}#{self._chunks}",
            metadata=self._metadata("text", line),
            group=self._group,
            order=self._order,
        )

    def _figure(self, figure: Figure) -> Iterator[Document | Failure | Omitted]:
        """Yield a figure; when its picture cannot be had, why not, and its words."""
        self._figures += 1
        self._order += 1
        name = self._source.name
        document_id = f"{name}#figure-{self._figures}"
        metadata = self._metadata("figure", figure.line)
        metadata |= {
            key: label(value)
            for key, value in (("alt", figure.alt), ("caption", figure.caption))
            if value
        }
        image = None
        if is_remote(figure.link):
            metadata["image_url"] = shortened_link(figure.link)
            yield on_the_web(figure.link, document_id, name)
        else:
            try:
                image = self._source.linked_picture(figure.link, document_id)
            except DiptychError as error:
                yield Failure(document_id, name, str(error))
        words = "\n".join(dict.fromkeys(w for w in (figure.caption, figure.alt) if w.strip()))
        if words or image is not None:
            yield Document(
                text=words or None,
                image=image,
                id=document_id,
                metadata=metadata,
                group=self._group,
                order=self._order,
            )

    def _metadata(self, kind: str, line: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {"source": self._source.name, "kind": kind}
        if self._title:
            metadata["title"] = label(self._title)
        if self._headings:
            metadata["section"] = self._section
        if line:
            metadata["line"] = line
        return metadata
