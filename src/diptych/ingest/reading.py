"""Reads a file or a folder into documents, one by one, and goes on after a bad file."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from diptych.checks import at_least_one, checked_path, shown
from diptych.errors import DiptychError, InvalidArgument
from diptych.ingest.chunk import MAX_CHARS
from diptych.ingest.origin import Origin
from diptych.ingest.pages import read_html, read_markdown
from diptych.ingest.paths import Folder
from diptych.ingest.pictures import CAPTION_FILES, Words, read_captions, read_picture
from diptych.ingest.plain import read_text
from diptych.ingest.records import read_records
from diptych.ingest.source import Omitted, Source, portable
from diptych.ingest.walk import Found, kind_of, walk
from diptych.report import Failure, NotRead
from diptych.types import Document

__all__ = ["Reading", "read"]

Item = Document | Failure | Omitted
OnFailure = Callable[[Failure], None]

_READERS: dict[str, Callable[[Source], Iterator[Item]]] = {
    "markdown": read_markdown,
    "html": read_html,
    "text": read_text,
    "records": read_records,
}


def read(
    path: str | os.PathLike[str],
    *,
    prefix: str = "",
    max_chars: int = MAX_CHARS,
    on_failure: OnFailure | None = None,
) -> Reading:
    r"""Return an iterator of the documents of a file or a folder.

    Nothing is read before it is iterated. Pages, texts and records come first, in the order of
    their paths, then the pictures that no page has shown, and those that have words of their own.

    Args:
        path: A folder, which is read with the folders in it, or a file of a kind that is known:
            Markdown, HTML, text, JSONL, or a picture.
        prefix: Goes before every id, source and group, so that two folders read into one index differ.
        max_chars: The most characters of a chunk of text.
        on_failure: Called with every failure when it happens; they are in ``failed`` anyway.

    Raises:
        InvalidArgument: There is nothing at ``path``, or no reader takes it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = tempfile.TemporaryDirectory()
        >>> root = Path(folder.name)
        >>> _ = (root / "pump.md").write_text("# Pump\n\nPrime it with water.")
        >>> _ = (root / "broken.png").write_bytes(b"not a picture")
        >>> reading = read(root)
        >>> [document.text for document in reading]
        ['Pump\n\nPrime it with water.']
        >>> [failure.source for failure in reading.failed]
        ['broken.png']
        >>> folder.cleanup()
    """
    at_least_one("max_chars", max_chars)
    try:
        root = Path(os.path.realpath(checked_path("path", os.fsdecode(path))))
    except (TypeError, InvalidArgument) as error:
        raise InvalidArgument(f"{shown(path)} is no path to read: {error}") from error
    prefix = portable(prefix).rstrip("/")
    if root.is_dir():
        origin = Origin(str(root), prefix)
        return Reading(Folder(root), walk(root), origin, max_chars, on_failure)
    if not root.is_file():
        what = "is a pipe, socket or device" if root.exists() else "does not exist"
        raise InvalidArgument(f"{os.fsdecode(path)!r} {what}; expected a file or a folder to read.")
    if kind_of(root.name) in ("skipped", "captions"):
        raise InvalidArgument(
            f"No reader takes the file {root.name!r} by itself; expected a page (.md, .html), a "
            "text (.txt), records (.jsonl) or a picture. Captions are read with their folder."
        )
    origin = Origin(str(root.parent), prefix, root.name)
    return Reading(Folder(root.parent), _alone(root), origin, max_chars, on_failure)


class Reading(Iterator[Document]):
    """Documents as they are read, and a record of what could not be.

    Attributes:
        origin: Which folder or file is read, and under which prefix; the same for the same.
        ids: The ids of the documents so far.
        failed: What was bad, with its reason, so far.
        skipped: What is not read at all, with its reason, so far: links, kinds that no reader takes,
            pictures on the web.
        counts: How many documents each file has given so far, by its name as in ``source``.
        whole: The names of the files that were read to their end; what they gave is all that they hold.
        unread: The names of the files that could not be read, and what the names begin with of all that
            lies in a folder that could not be listed.
    """

    def __init__(
        self,
        folder: Folder,
        files: Iterable[Found],
        origin: Origin,
        max_chars: int,
        on_failure: OnFailure | None,
    ) -> None:
        self.origin = origin
        self.ids: set[str] = set()
        self.failed: list[Failure] = []
        self.skipped: list[Failure] = []
        self.counts: dict[str, int] = {}
        self.whole: set[str] = set()
        self.unread: set[str] = set()
        self._folder = folder
        self._files = files
        self._start = origin.start
        self._max_chars = max_chars
        self._on_failure = on_failure
        self._pictures: list[str] = []
        self._sidecars: dict[str, str] = {}
        self._words: dict[str, Words] = {}
        self._files_of: dict[str, str] = {}
        self._not_read: dict[str, NotRead] = {}
        self._items = self._read()

    @property
    def not_read(self) -> tuple[NotRead, ...]:
        """What is not read at all, so far: a count and examples for each kind, also of what is hidden."""
        return tuple(self._not_read.values())

    def origin_of(self, document_id: str) -> Origin | None:
        """Return from which file a document was read that this reading has given."""
        name = self._files_of.get(document_id)
        if name is None:
            return None
        return replace(self.origin, file=name.removeprefix(self._start))

    def __iter__(self) -> Reading:
        return self

    def __next__(self) -> Document:
        for item in self._items:
            if isinstance(item, Document):
                self.ids.add(item.id)
                return item
            if isinstance(item, Omitted):
                self._omit(item)
                continue
            failure = Failure(_shown(item.id), _shown(item.source), _shown(item.reason))
            self.failed.append(failure)
            if self._on_failure is not None:
                self._on_failure(failure)
        raise StopIteration

    def _omit(self, item: Omitted) -> None:
        """Note what is not read. What is hidden is counted, and not listed: no person put it there."""
        before = self._not_read.get(item.kind)
        part = NotRead(item.kind, 1, (_shown(item.example),))
        (self._not_read[item.kind],) = NotRead.total([before, part] if before else [part])
        if item.kind != "hidden":
            entry = item.entry
            self.skipped.append(
                Failure(_shown(entry.id), _shown(entry.source), _shown(entry.reason))
            )

    def _read(self) -> Iterator[Item]:
        for found in self._files:
            name = _shown(self._start + found.path)
            match found.kind:
                case "skipped":
                    yield Omitted(found.group, name, Failure(name, name, found.reason))
                case "unlisted":
                    self.unread |= {name, f"{name}/"} if found.path != "." else {self._start}
                    self.skipped.append(Failure(name, name, found.reason))
                    yield Failure(name, name, found.reason)
                case "picture":
                    self._pictures.append(found.path)
                case "sidecar":
                    self._sidecars[os.path.splitext(found.path)[0]] = found.path
                case "captions":
                    yield from self._one(found.path, lambda s: read_captions(s, self._words))
                case kind:
                    yield from self._one(found.path, _READERS[kind])
        yield from self._read_pictures()

    def _read_pictures(self) -> Iterator[Item]:
        shown = set(self._folder.shown)
        for path in self._pictures:
            words = self._words.pop(unicodedata.normalize("NFC", path), None)
            sidecar = self._sidecars.get(os.path.splitext(path)[0])
            if path not in shown or words or sidecar:
                yield from self._one(path, partial(self._picture, words, sidecar))
            elif path in self._folder.usable:  # it is in the document of the page
                self.whole.add(_shown(self._start + portable(path)))
        if not self.origin.file:  # what captions name is a picture, whatever its suffix
            for path, words in self._words.items():
                yield from self._one(path, partial(self._picture, words, None))

    def _picture(self, words: Words | None, sidecar: str | None, source: Source) -> Iterator[Item]:
        return read_picture(source, words, self._source(sidecar) if sidecar else None)

    def _one(self, path: str, reader: Callable[[Source], Iterator[Item]]) -> Iterator[Item]:
        """Yield what one file gives; whatever is wrong with it concerns it alone."""
        name = _shown(self._start + path)
        is_whole = True
        try:
            source = self._source(path)
            name = source.name
            for item in reader(source):
                if isinstance(item, Failure) and not item.id.startswith(f"{name}#figure-"):
                    is_whole = False  # what was in this place cannot be told
                yield self._once(item, name) if isinstance(item, Document) else item
        except DiptychError as error:
            is_whole = False
            yield Failure(name, name, str(error))
        except Exception as error:  # a parser may raise nearly anything on a hostile file
            is_whole = False
            yield Failure(name, name, f"It could not be read: {type(error).__name__}: {error}")
        (self.whole if is_whole else self.unread).add(name)

    def _once(self, document: Document, name: str) -> Item:
        """Return a document, or a failure when it has the id of one that was read before."""
        if document.id not in self._files_of:
            self._files_of[document.id] = name
            self.counts[name] = self.counts.get(name, 0) + 1
            return document
        return Failure(
            document.id,
            name,
            f"The id {document.id!r} was given before, in {self._files_of[document.id]!r}. Give each "
            "document its own id.",
        )

    def _source(self, path: str) -> Source:
        name = self._start + portable(path)
        return Source(self._folder, path, name, self._max_chars, self._start)


def _alone(file: Path) -> list[Found]:
    """Return what is needed to read one file: itself, and the words beside a picture."""
    kind = kind_of(file.name)
    found = [Found(file.name, kind)]
    if kind == "picture":
        sidecar = file.with_suffix(".txt")
        found += [
            Found(name, "captions") for name in CAPTION_FILES if (file.parent / name).exists()
        ]
        found += [Found(sidecar.name, "sidecar")] if sidecar.exists() else []
    return found


def _shown(text: str) -> str:
    """Return text that can be printed and stored, whatever bytes a file name holds."""
    return text.encode("utf-8", "replace").decode("utf-8")
