"""Which pictures may be fetched, from where, and how much of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.checks import list_of, seconds, whole
from diptych.errors import InvalidArgument
from diptych.image import Image
from diptych.media import MAX_BYTES
from diptych.remote.allowed import pattern_of
from diptych.remote.fetching import Fetching, out_of_time

__all__ = ["RemotePictures"]


@dataclass(frozen=True, slots=True)
class RemotePictures:
    """Which pictures may be fetched, from where, and how much of them.

    Attributes:
        allow: Hosts: ``"upload.wikimedia.org"``, every host under one ``"*.example.org"`` (not itself), with
            a port other than 80 and 443 ``"example.org:8443"``.
        max_bytes: The largest picture, counted as it is read; at most 50 MB.
        timeout: Seconds for one picture in all: names, redirects and content.
        max_redirects: How often a server may send on.
        https_only: Whether ``http:`` is refused, also as a redirect.
        allow_private: Whether hosts may have addresses of private networks and of this machine, and be
            written as addresses. For tests and intranets; never with URLs from strangers.

    Raises:
        InvalidArgument: A host that is no host, or a limit that is none.

    Example:
        >>> RemotePictures(allow=["upload.wikimedia.org", "*.example.org"]).max_redirects
        3
    """

    allow: Sequence[str]
    max_bytes: int = 20_000_000
    timeout: float = 20.0
    max_redirects: int = 3
    https_only: bool = True
    allow_private: bool = False

    def __post_init__(self) -> None:
        patterns = tuple(
            pattern_of(one, self.allow_private)
            for one in list_of("allow", self.allow, str, "hosts")
        )
        if not patterns:
            raise InvalidArgument(
                "RemotePictures allows no host; expected at least one, such as "
                "allow=['upload.wikimedia.org']. Leave remote= out to fetch nothing."
            )
        object.__setattr__(self, "allow", patterns)
        object.__setattr__(
            self, "max_bytes", whole("max_bytes", self.max_bytes, least=1, most=MAX_BYTES)
        )
        object.__setattr__(
            self, "max_redirects", whole("max_redirects", self.max_redirects, most=20)
        )
        object.__setattr__(self, "timeout", seconds("timeout", self.timeout))

    def fetch(self, url: str) -> Image:
        """Return the picture at a URL, whose content is that of a picture.

        Raises:
            MediaError: The URL is not allowed, the server does not give it in time, or it is no picture.
        """
        fetching = Fetching(self, url)
        # A thread, because neither the search for a name nor a header that drips can be given a time.
        thread = threading.Thread(target=fetching.run, name="diptych-fetch", daemon=True)
        thread.start()
        thread.join(self.timeout)
        if thread.is_alive():
            fetching.abort()
            raise out_of_time(self.timeout, url)
        if fetching.error is not None:
            raise fetching.error
        image = Image(fetching.data, name=re.split("[?#]", url)[0])
        _ = image.header
        return image
