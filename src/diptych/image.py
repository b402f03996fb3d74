"""A picture by reference: identified by its content, opened when needed, never fetched."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

from diptych import media
from diptych.checks import cut
from diptych.errors import MediaError

if TYPE_CHECKING:
    import PIL.Image

    class _Array(Protocol):
        def __array__(self) -> Any: ...

    _Bytes = bytes | bytearray | memoryview
    _Opened = PIL.Image.Image | _Array | IO[bytes]
    ImageLike: TypeAlias = "Image | str | os.PathLike[str] | _Bytes | _Opened"
else:
    ImageLike = Any  # what Image.of takes

__all__ = ["Image", "ImageLike"]


class Image:
    """A picture by reference: a path or bytes, identified by its content, opened when needed.

    Two pictures are equal when their bytes are. A URL is never fetched.

    Args:
        source: The path of a file, or the bytes of an encoded picture; a string may also be a ``file:`` or
            ``data:`` URI, or the base64 of a picture.
        name: What to call the picture to a person; the path as it was given by default.
        sha256: The expected content hash, in hex. Reading checks it, so that a file which was
            replaced behind its path is noticed.
        advice: Tells what to do about a file that is missing (True) or not what it was (False); for
            files of an index.

    Raises:
        MediaError: ``source`` is empty, a URL, or neither a string, a path nor bytes.
    """

    __slots__ = ("_given_advice", "_header", "_sha256", "_verified", "data", "name", "path")

    path: Path | None
    data: bytes | None
    name: str

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | bytearray | memoryview,
        *,
        name: str = "",
        sha256: str = "",
        advice: Callable[[bool], str] | None = None,
    ) -> None:
        self._given_advice = advice
        self._header: media.Header | None = None
        self._sha256 = sha256
        self._verified = False
        if isinstance(source, bytes | bytearray | memoryview):
            self.data, self.path = bytes(source), None
            if not self.data:
                raise MediaError("A picture of 0 bytes was given. Pass the whole encoded file.")
        elif isinstance(source, str | os.PathLike):
            found = media.source_of(source)
            self.data, self.path = (found, None) if isinstance(found, bytes) else (None, found)
        else:
            raise MediaError(
                f"A picture was given as {type(source).__name__}; expected a path or bytes. "
                "Image.of takes PIL pictures, arrays and open files too."
            )
        self.name = name or (str(self.path) if self.path else "")

    @classmethod
    def of(cls, value: Any) -> Image:
        """Return a picture from whatever people have.

        Args:
            value: A path, a ``file:`` or ``data:`` URI, the base64 of a picture; bytes; an open binary
                file or ``io.BytesIO``, which is read from its start and stays open; a PIL picture of any
                mode; an array of numpy (or torch, on the CPU), as ``media.from_array`` says; an ``Image``.

        Raises:
            MediaError: The value is none of these.
        """
        if isinstance(value, Image):
            return value
        if isinstance(value, str | bytes | bytearray | memoryview | os.PathLike):
            return cls(value)
        if hasattr(value, "getbands"):
            return cls(media.from_pil(value))
        if media.is_array(value):
            return cls(media.from_array(value))
        if media.is_open_file(value):
            name = getattr(value, "name", "")
            return cls(media.from_open_file(value), name=name if isinstance(name, str) else "")
        return cls(value)

    @staticmethod
    def takes(value: object) -> bool:
        """Whether a value is a picture by its type, when it is no string, which may be a text."""
        return isinstance(value, Image | bytes | bytearray | memoryview | os.PathLike) or (
            not isinstance(value, str)
            and (hasattr(value, "getbands") or media.is_array(value) or media.is_open_file(value))
        )

    def read(self) -> bytes:
        """Return the encoded file, unchanged.

        Raises:
            MediaError: The file cannot be read, is too large, or is not the one expected.
        """
        data = self.data if self.data is not None else self._read_file()
        if not self._verified:
            digest = hashlib.sha256(data).hexdigest()
            if self._sha256 and digest != self._sha256:
                advice = self._advice(missing=False)
                raise MediaError(
                    f"The picture {self.label} has changed since it was indexed: {cut(str(self.path))} has "
                    f"the content hash {digest[:12]}, expected {self._sha256[:12]}. {advice}"
                )
            self._sha256, self._verified = digest, True
        return data

    def _read_file(self) -> bytes:
        if self.path is None:
            raise MediaError("The picture has neither a path nor bytes.")
        try:
            return media.read_file(self.path)
        except MediaError as error:
            if self._given_advice is None:
                raise
            raise MediaError(f"{error} {self._advice_after(error)}") from error

    def _advice_after(self, error: MediaError) -> str:
        cause = error.__cause__
        missing = isinstance(cause, FileNotFoundError | NotADirectoryError)
        if isinstance(cause, OSError) and not missing:
            return "It is not damaged: fix its permissions or look at the disk, then try again."
        return self._advice(missing=missing)

    def _advice(self, *, missing: bool) -> str:
        return self._given_advice(missing) if self._given_advice else "Add its document again."

    @property
    def label(self) -> str:
        """A short name for messages: the path, or how many bytes it has."""
        if self.name or self.path:
            return cut(self.name or str(self.path))
        return f"of {len(self.data or b'')} bytes"

    @property
    def sha256(self) -> str:
        """The hash of the encoded file, 64 hex digits."""
        if not self._sha256:
            self.read()
        return self._sha256

    @property
    def header(self) -> media.Header:
        """Format, MIME type, width, height and number of frames; decodes nothing.

        Raises:
            MediaError: Not a picture of a supported format, or over the limits of ``media``.
        """
        if self._header is None:
            self._header = media.read_header(self.read(), name=self.label)
        return self._header

    @property
    def mime(self) -> str:
        """The MIME type by content, whatever the file is called: "image/jpeg"."""
        return self.header.mime

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as a viewer shows the picture (EXIF orientation applied)."""
        return self.header.width, self.header.height

    def pil(self) -> PIL.Image.Image:
        """Return the first frame, upright, as an 8-bit RGB ``PIL.Image`` on a white ground.

        Raises:
            MediaError: The picture cannot be decoded.
        """
        return media.decode(self.read(), name=self.label)

    def encoded(self, *, max_edge: int = 1568, max_bytes: int = 3_500_000) -> tuple[bytes, str]:
        """Return ``(bytes, mime)`` of the picture made to fit what models accept.

        A picture that fits, upright and in a web format, is passed through unchanged.

        Args:
            max_edge: The longest side in pixels.
            max_bytes: The size before base64, which adds a third: 3.5 MB stays below the 5 MiB
                that the strictest large provider allows.
        """
        return media.fit(self.read(), max_edge=max_edge, max_bytes=max_bytes, name=self.label)

    def base64(self, *, max_edge: int = 1568, max_bytes: int = 3_500_000) -> tuple[str, str]:
        """Return ``(base64 text, mime)`` of :meth:`encoded`."""
        data, mime = self.encoded(max_edge=max_edge, max_bytes=max_bytes)
        return base64.b64encode(data).decode("ascii"), mime

    def data_uri(self, *, max_edge: int = 1568, max_bytes: int = 3_500_000) -> str:
        """Return :meth:`encoded` as a ``data:`` URI."""
        text, mime = self.base64(max_edge=max_edge, max_bytes=max_bytes)
        return f"data:{mime};base64,{text}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Image({self.label})"
