"""One file that is read: its content as text, and the pictures that it names."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from diptych import media
from diptych.errors import InvalidArgument
from diptych.image import Image
from diptych.ingest.paths import Folder, link_path
from diptych.ingest.texts import MAX_TEXT_BYTES, check_is_text, decode, is_wide
from diptych.report import Failure

__all__ = ["MAX_DATA_URI", "Omitted", "Source", "label", "on_the_web", "portable", "shortened_link"]

MAX_DATA_URI = 10_000_000
"""The largest picture within a page, in bytes."""

MAX_LABEL = 300
"""The most characters of a heading, a caption or a link in metadata."""


MAX_LINK = 4000
"""The most characters of the link of a picture on the web."""


@dataclass(frozen=True, slots=True)
class Omitted:
    """Something that is not read on purpose, and is said.

    Attributes:
        kind: What it is counted as.
        example: What names it for a person.
        entry: The same as it stands among what was skipped.
    """

    kind: str
    example: str
    entry: Failure


@dataclass(frozen=True, slots=True)
class Source:
    """One file in the folder that is read.

    Attributes:
        folder: The folder.
        path: The path of the file in it, as the file system spells it.
        name: The same for ids and people, equal on every machine.
        max_chars: The most characters of a chunk.
        start: What goes before every id, and so is at the beginning of ``name``.
    """

    folder: Folder
    path: str
    name: str
    max_chars: int
    start: str = ""

    def text(self, *, declared: bool = False) -> str:
        """Return the content as text.

        Args:
            declared: Whether the file may declare its charset, as HTML does.

        Raises:
            InvalidArgument: Not readable, too large, or binary.
        """
        data = self.folder.read(self.path, MAX_TEXT_BYTES)
        check_is_text(data, self.name)
        return decode(data, declared=declared)

    def lines(self) -> Iterator[str]:
        """Yield the lines of a file of any size, without their ends.

        Raises:
            InvalidArgument: Not readable, binary, or with a line of more than ``MAX_TEXT_BYTES``.
        """
        with self.folder.open(self.path) as file:
            head = file.peek(8192)[:8192] if isinstance(file, io.BufferedReader) else b""
            check_is_text(head, self.name)
            if is_wide(head):
                yield from self.text().split("\n")
                return
            while line := file.readline(MAX_TEXT_BYTES + 1):
                if len(line) > MAX_TEXT_BYTES:
                    raise InvalidArgument(
                        f"{self.name!r} has a line of more than {MAX_TEXT_BYTES / 1e6:,.0f} MB. "
                        "Write one object a line."
                    )
                yield decode(line).rstrip("\n")

    def linked_picture(self, link: str, document_id: str) -> Image:
        """Return the picture that a link of a page means: a ``data:`` URI or a file nearby.

        Raises:
            MediaError: No picture that can be decoded.
            InvalidArgument: The link leaves the folder, or the file cannot be read.
        """
        if link[:5].lower() == "data:":
            return self.inline_picture(link, document_id)
        return self.named_picture(link_path(link))

    def named_picture(self, path: str) -> Image:
        """Return the picture at a path that is relative to the folder of this file.

        Raises:
            MediaError: No picture that can be decoded.
            InvalidArgument: The path leaves the folder, or the file cannot be read.
        """
        return self.folder.picture(self.folder.locate(self.path, path))

    def inline_picture(self, uri: str, document_id: str) -> Image:
        """Return the picture in a ``data:`` URI.

        Raises:
            MediaError: No picture that can be decoded.
            InvalidArgument: It is over ``MAX_DATA_URI``.
        """
        if len(uri) > MAX_DATA_URI * 4 // 3 + 100:
            raise InvalidArgument(
                f"A picture within the page has about {len(uri) * 0.75 / 1e6:,.1f} MB; expected at "
                f"most {MAX_DATA_URI / 1e6:,.0f} MB. Put it into a file of its own."
            )
        image = Image(media.parse_data_uri(uri), name=document_id)
        _ = image.header  # is it a picture?
        return image


def portable(path: str) -> str:
    """Return a path as it is spelt on every machine: composed Unicode.

    Raises:
        InvalidArgument: It is no text, so that no id could be made of it.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"The name {path!r} is not valid UTF-8, so no id can be made of it. Rename the file."
        ) from error
    return unicodedata.normalize("NFC", path)


def label(text: str) -> str:
    """Return a text for metadata, shortened when it is too long."""
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def shortened_link(link: str) -> str:
    """Return the link of a picture on the web, whole unless no server would take it."""
    return link if len(link) <= MAX_LINK else f"{link[: MAX_LINK - 1]}…"


def on_the_web(link: str, document_id: str, name: str) -> Omitted:
    """Return the note on a picture that a page or record has on a server."""
    link = shortened_link(link)
    reason = f"Its picture {link} is on a server; pictures are never fetched."
    return Omitted("picture on the web", link, Failure(document_id, name, reason))
