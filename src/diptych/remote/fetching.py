"""One picture on its way from a server, within the limits for it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from typing import Protocol
from urllib.parse import quote, urljoin

from diptych.checks import shown
from diptych.errors import MediaError
from diptych.remote.allowed import SAFE, Limits, Target, addresses_of, named, target_of

__all__ = ["Fetching", "out_of_time"]

_REDIRECTS = (301, 302, 303, 307, 308)
_ADDRESSES = 3
"""So many addresses of a host are tried."""
_PIECE = 1 << 16
_HEADERS = {"User-Agent": "diptych", "Accept": "image/*", "Connection": "close"}


class _Bounds(Limits, Protocol):
    @property
    def max_bytes(self) -> int: ...
    @property
    def max_redirects(self) -> int: ...
    @property
    def timeout(self) -> float: ...


class Fetching:
    """One picture, fetched by a thread of its own.

    Args:
        limits: A ``RemotePictures``.
        url: Where it is.
    """

    def __init__(self, limits: _Bounds, url: str) -> None:
        self._limits, self._url = limits, url
        self._socket: socket.socket | None = None
        self._is_over = False
        self.data = b""
        self.error: MediaError | None = None

    def run(self) -> None:
        """Get the bytes, or the error for them; nothing is raised."""
        try:
            self.data = self._get()
        except MediaError as error:
            self.error = error
        except TimeoutError:  # of one step; the time for all of them has passed, too
            self.error = out_of_time(self._limits.timeout, self._url)
        # ValueError: a header that cannot be; RecursionError and the like have no place here.
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.error = MediaError(
                f"The picture at {named(self._url)} could not be fetched: "
                f"{shown(str(error) or repr(error), 200)}. Expected a server that answers. Look at the URL "
                "and the network, or download it yourself."
            )
            self.error.__cause__ = error

    def abort(self) -> None:
        """End it; what the thread waits for ends, too, but for the search for a name."""
        self._is_over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _get(self) -> bytes:
        url = self._url
        for _ in range(self._limits.max_redirects + 1):
            if self._is_over:
                break
            target = target_of(url, self._limits)
            connection = self._connected(target, addresses_of(target, self._limits))
            try:
                connection.request("GET", target.path, headers=_HEADERS)
                with connection.getresponse() as response:
                    if response.status not in _REDIRECTS:
                        return self._content(response)
                    location = response.headers.get("Location", "")
            finally:
                connection.close()
            # As bytes, because a server may write letters beyond ASCII there.
            url = urljoin(url, quote(location.strip().encode("latin-1"), safe=f"{SAFE}#[]"))
        raise MediaError(
            f"The picture at {named(self._url)} is behind more than {self._limits.max_redirects} redirects. "
            "Expected it in fewer steps. Pass the URL where it is, or raise max_redirects=."
        )

    def _connected(self, target: Target, addresses: list[str]) -> http.client.HTTPConnection:
        """Return a connection to the first of these addresses that answers, and to no other."""
        failure: OSError | None = None
        for address in addresses[:_ADDRESSES]:
            if self._is_over:
                break
            try:
                plain = socket.create_connection((address, target.port), self._limits.timeout)
            except OSError as error:
                failure = error
                continue
            self._socket = plain
            connection = http.client.HTTPConnection(target.host, target.port)
            connection.auto_open = 0  # it would look for the address again
            connection.sock = plain
            if target.is_secure:
                try:
                    # It looks at the certificate: the address must be that of the host.
                    self._socket = connection.sock = ssl.create_default_context().wrap_socket(
                        plain, server_hostname=target.host
                    )
                except BaseException:
                    plain.close()
                    raise
                connection.default_port = 443
            return connection
        raise failure or TimeoutError("the time is over")

    def _content(self, response: http.client.HTTPResponse) -> bytes:
        if response.status != 200:
            raise MediaError(
                f"The picture at {named(self._url)} was not given: the server answers {response.status} "
                f"{shown(response.reason)}; expected 200. Look at the URL."
            )
        most, pieces, count = self._limits.max_bytes, [], 0
        # Not read(), which takes a chunk of a negative length for all that comes.
        while piece := response.read1(_PIECE):
            pieces.append(piece)
            count += len(piece)
            if count > most:
                raise MediaError(
                    f"The picture at {named(self._url)} is larger than {most:,} bytes; expected at "
                    "most as many. Take a smaller one, or raise max_bytes= of RemotePictures."
                )
        if response.length:
            raise MediaError(
                f"The picture at {named(self._url)} was cut off: {response.length:,} bytes are missing. "
                "Expected all of it. Try again."
            )
        if not count:
            raise MediaError(
                f"The picture at {named(self._url)} is empty (0 bytes). Look at the URL."
            )
        return b"".join(pieces)


def out_of_time(timeout: float, url: str) -> MediaError:
    """Return the error for a picture that does not come."""
    return MediaError(
        f"The picture at {named(url)} was not there after {timeout:g} seconds. Expected it within timeout= "
        "of RemotePictures. Try again, or give it more time."
    )
