"""Which URLs may be fetched: their host is allowed, and its address is one of the public internet."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlsplit

from diptych.checks import cut, shown
from diptych.errors import InvalidArgument, MediaError

__all__ = ["SAFE", "Limits", "Target", "addresses_of", "is_url", "named", "pattern_of", "target_of"]

SAFE = "/%:@!$&'()*+,;=~-._?"
"""The characters of a URL that stay as they are; a "%" begins one that is escaped already."""

_MAX_URL = 8_192
_PORTS = {"http": 80, "https": 443}
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)$|.*:")
"""The last part of a host that systems take for an address, such as 127.1 or 0x7f000001; or one of IPv6."""
_PATTERN = re.compile(
    r"(?P<host>\*\.[^*:/@\s\[\]]+|[^*:/@\s\[\]]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?", re.I
)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Limits(Protocol):
    """What is asked of ``RemotePictures`` here."""

    @property
    def allow(self) -> Sequence[str]:
        """Hosts, as :func:`pattern_of` returns them."""

    @property
    def https_only(self) -> bool:
        """Whether ``http:`` is refused."""

    @property
    def allow_private(self) -> bool:
        """Whether any address may be connected to."""


def is_url(value: object) -> bool:
    """Whether a value is a string that begins as a URL of the web does."""
    return isinstance(value, str) and value[:8].lower().startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL asks for: ``path`` begins with a slash and holds the query."""

    is_secure: bool
    host: str
    port: int
    path: str


def target_of(url: str, limits: Limits) -> Target:
    """Return what a URL asks for.

    Raises:
        MediaError: It is not allowed.
    """
    if not is_url(url) or len(url) > _MAX_URL or _UNSAFE.search(url):
        raise _refused(
            url, "is no URL of the web", "expected https://, a host and a path, percent-encoded"
        )
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        host = _ascii(parts.hostname or "")
    except ValueError as error:
        raise _refused(
            url, f"is no URL: {error}", "expected https://, a host and a path"
        ) from error
    if limits.https_only and parts.scheme != "https":
        raise _refused(
            url, "is not encrypted", "expected https:, or https_only=False of RemotePictures"
        )
    if parts.username is not None or parts.password is not None:
        raise _refused(url, "holds a name or a password", "expected a URL without them")
    if not limits.allow_private and _NUMERIC.match(host.rpartition(".")[2] or host):
        raise _refused(url, "names its host by an address", "expected the name of a host")
    if not any(_admits(pattern, host, port) for pattern in limits.allow):
        raise _refused(
            url,
            f"is of the host {shown(host)} at port {port}, which is not allowed",
            "expected one of allow= of RemotePictures",
        )
    path = quote(parts.path or "/", safe=SAFE.rstrip("?"))
    query = f"?{quote(parts.query, safe=SAFE)}" if parts.query else ""
    return Target(parts.scheme == "https", host, port, path + query)


def addresses_of(target: Target, limits: Limits) -> list[str]:
    """Return the addresses of a host, each of which may be connected to.

    Raises:
        MediaError: One of them is of a private network, of this machine, or reserved.
        OSError: The host is not known.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
    private = [one for one in addresses if not _is_public(ipaddress.ip_address(one))]
    if private and not limits.allow_private:
        raise MediaError(
            f"The host {shown(target.host)} has the address {private[0]}, which is not one of the public "
            "internet; expected one that is. Nothing was fetched. In an intranet pass allow_private=True to "
            "RemotePictures."
        )
    return addresses


def _is_public(address: _Address) -> bool:
    """Whether an address, and the one of IPv4 that is in it, is one of the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or address.teredo is not None:
            return False
        within = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within is not None:
            return _is_public(within)
    return address.is_global and not address.is_multicast and not address.is_reserved


def pattern_of(text: str, allow_private: bool) -> str:
    """Return a host that is allowed, as hosts are compared: in ASCII, lower case, with a port if it has one.

    Raises:
        InvalidArgument: It is no host.
    """
    found = _PATTERN.fullmatch(text)
    try:
        if found is None:
            raise ValueError("it has other parts than a host and a port")
        is_suffix = found["host"].startswith("*.")
        host = _ascii(found["host"].removeprefix("*.").strip("[]"))
        port = int(found["port"] or 0)
        if not host or port > 65_535:
            raise ValueError("it has no host, or a port that is none")
        if _NUMERIC.match(host.rpartition(".")[2] or host) and (is_suffix or not allow_private):
            raise ValueError("it is an address, and not a name")
    except ValueError as error:
        raise InvalidArgument(
            f"allow= of RemotePictures holds {shown(text)}: {error}; expected hosts such as "
            "'upload.wikimedia.org', '*.example.org' or 'example.org:8443'. Leave out scheme and path."
        ) from error
    name = f"[{host}]" if ":" in host else f"{'*.' if is_suffix else ''}{host}"
    return f"{name}:{port}" if port else name


def _admits(pattern: str, host: str, port: int) -> bool:
    found = _PATTERN.fullmatch(pattern)
    if found is None or port not in ((int(found["port"]),) if found["port"] else _PORTS.values()):
        return False
    allowed = found["host"].strip("[]")
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _ascii(host: str) -> str:
    """Return a host as it is asked for: lower case, without a dot at its end, letters beyond ASCII as IDNA.

    Raises:
        ValueError: It is no host.
    """
    host = host.lower().removesuffix(".")
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _refused(url: str, fault: str, expected: str) -> MediaError:
    return MediaError(
        f"{named(url)} {fault}; {expected}. Nothing was fetched. Download it and pass its path or its bytes."
    )


def named(url: object) -> str:
    """Return a URL as a message shows it, without its query, which may hold a key, and without a password."""
    text = re.sub(r"//[^/@]*@", "//…@", str(url).partition("?")[0])
    return cut(text)
