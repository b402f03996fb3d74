"""A zip archive of unknown origin: its directory is checked as a whole before an entry is read.

Python's own reader keeps a large object for each entry and believes the directory. This one
understands what an export has, STORED and DEFLATED entries with known names in one file, and
refuses the rest. It keeps about 300 bytes for each entry and unpacks in blocks.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FREE_BYTES", "MAX_ENTRIES", "RATIO", "Zipped"]

MAX_ENTRIES = 500_000
"""How many entries an archive may have."""

RATIO, FREE_BYTES = 100, 1 << 28
"""All entries together may unpack to so many times the size of the file, and so many bytes more."""

_BLOCK = 1 << 18
_IN_MEMORY = 1 << 23
"""A longer entry is unpacked into an unnamed temporary file."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_KEPT = struct.Struct("<QQQIB")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_REFUSED_FLAGS = 1 | 1 << 5 | 1 << 6 | 1 << 13  # encrypted (three kinds), patched
_IN_DESCRIPTOR = 1 << 3  # the local header does not know the sizes


class _Directory(NamedTuple):
    start: int
    size: int
    entries: int


class Zipped:
    """The entries of an archive. Every failure of a check is a ``ValueError`` that names the entry.

    Args:
        file: An open regular file.
        size: How many bytes it has.
        names: What an entry may be called.

    Raises:
        ValueError: Not a zip archive, or one with anything that an export does not have.
        OSError: The file cannot be read.
    """

    def __init__(self, file: BinaryIO, size: int, names: re.Pattern[bytes]) -> None:
        self._file = file
        self._entries: dict[bytes, bytes] = {}
        directory = _directory(file, size)
        if directory.entries > MAX_ENTRIES or directory.size > MAX_ENTRIES * 256:
            raise ValueError(
                f"it has {directory.entries:,} entries; at most {MAX_ENTRIES:,} are expected"
            )
        total = self._read_directory(directory, names)
        if total > FREE_BYTES + RATIO * size:
            raise ValueError(
                f"its entries unpack to {total:,} bytes, and the file has {size:,}; expected at most "
                f"{RATIO} times the file"
            )
        self._starts = self._without_overlap(directory.start)

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with a prefix, in the order of the directory."""
        start = prefix.encode()
        return [name.decode() for name in self._entries if name.startswith(start)]

    def read(self, name: str, limit: int) -> bytes:
        """Return the whole content of an entry of at most ``limit`` bytes.

        Raises:
            ValueError: There is no such entry, it is larger, or damaged.
        """
        return b"".join(self._content(name, limit))

    def unpacked(self, name: str, limit: int) -> IO[bytes]:
        """Return an entry, whole and checked, as a file in memory or in the temporary folder.

        Raises:
            ValueError: As :meth:`read`.
        """
        file: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  the caller closes it
        try:
            for block in self._content(name, limit):
                file.write(block)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    # -- the directory ----------------------------------------------------------------------

    def _read_directory(self, directory: _Directory, names: re.Pattern[bytes]) -> int:
        """Keep what reading needs of each entry, and return how many bytes all of them unpack to."""
        file, left, total = self._file, directory.size, 0
        file.seek(directory.start)
        for _ in range(directory.entries):
            fixed = file.read(_CENTRAL.size) if left >= _CENTRAL.size else b""
            if len(fixed) < _CENTRAL.size or fixed[:4] != b"PK\1\2":
                raise ValueError("its directory is damaged")
            fields = _CENTRAL.unpack(fixed)
            lengths = fields[10:13]
            left -= _CENTRAL.size + sum(lengths)
            if left < 0:
                raise ValueError("its directory is damaged")
            name, extra = file.read(lengths[0]), file.read(lengths[1])
            file.seek(lengths[2], 1)
            shown = f"the entry {name[:60].decode('utf-8', 'replace')!r}"
            if not names.fullmatch(name):
                raise ValueError(f"it holds {shown[10:]}, which an export does not have")
            if name in self._entries:
                raise ValueError(f"{shown}: the name occurs twice")
            packed, unpacked, start = _sizes(fields, extra, shown)
            _check_kind(fields, shown)
            if start + _LOCAL.size + len(name) + packed > directory.start:
                raise ValueError(f"{shown} lies outside of the archive")
            if unpacked != packed and (not fields[4] or unpacked > packed * 1040 + 64):
                raise ValueError(f"{shown} cannot unpack from {packed:,} bytes to {unpacked:,}")
            self._entries[name] = _KEPT.pack(start, packed, unpacked, fields[7], fields[4])
            total += unpacked
        if left:
            raise ValueError("its directory has other entries than it says")
        return total

    def _without_overlap(self, end: int) -> NDArray[np.uint64]:
        """Return where entries start, ascending, and the end of the last; no two share a byte."""
        spans = np.empty((len(self._entries), 2), np.uint64)
        for at, (name, kept) in enumerate(self._entries.items()):
            start, packed, *_ = _KEPT.unpack(kept)
            spans[at] = start, start + _LOCAL.size + len(name) + packed
        spans = spans[np.argsort(spans[:, 0], kind="stable")]
        if np.any(spans[1:, 0] < spans[:-1, 1]):
            raise ValueError("its entries overlap")
        return np.append(spans[:, 0], np.uint64(end))

    # -- entries ----------------------------------------------------------------------------

    def _content(self, name: str, limit: int) -> Iterator[bytes]:
        """Yield the content of an entry in blocks; its size and checksum hold, or it raises."""
        kept = self._entries.get(name.encode())
        if kept is None:
            raise ValueError(f"there is no entry {name!r}")
        start, packed, unpacked, checksum, method = _KEPT.unpack(kept)
        if unpacked > limit:
            raise ValueError(f"{name} unpacks to {unpacked:,} bytes; expected at most {limit:,}")
        blocks = self._packed(name, start, packed, method)
        found = count = 0
        for block in _inflated(name, blocks) if method else blocks:
            count += len(block)
            if count > unpacked:
                break
            found = zlib.crc32(block, found)
            yield block
        if count != unpacked:
            raise ValueError(f"{name} does not unpack to the {unpacked:,} bytes that it says")
        if found != checksum:
            raise ValueError(f"{name} does not have the checksum that it says")

    def _packed(self, name: str, start: int, packed: int, method: int) -> Iterator[bytes]:
        self._file.seek(start)
        fixed = self._file.read(_LOCAL.size)
        if len(fixed) < _LOCAL.size or fixed[:4] != b"PK\3\4":
            raise ValueError(f"{name} does not begin where the directory says")
        _, _, flags, its_method, *_, its_packed, its_size, name_bytes, extra_bytes = _LOCAL.unpack(
            fixed
        )
        is_known = not flags & _IN_DESCRIPTOR and _MAX32 not in (its_packed, its_size)
        if (
            flags & _REFUSED_FLAGS
            or its_method != method
            or self._file.read(name_bytes) != name.encode()
            or (is_known and its_packed != packed)
        ):
            raise ValueError(f"{name} is another entry than the directory says")
        at = start + _LOCAL.size + name_bytes + extra_bytes
        following = np.searchsorted(self._starts, np.uint64(start), side="right")
        if at + packed > int(self._starts[following]):
            raise ValueError(f"{name} overlaps the next entry")
        while packed:
            self._file.seek(at)
            block = self._file.read(min(packed, _BLOCK))
            if not block:
                raise ValueError(f"{name} is cut off")
            at, packed = at + len(block), packed - len(block)
            yield block


def _inflated(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for block in blocks:
        if unpacker.eof:
            raise ValueError(f"{name} has bytes after its end")
        rest = block
        while True:
            try:
                made = unpacker.decompress(rest, _BLOCK)
            except zlib.error as error:
                raise ValueError(f"{name} cannot be unpacked ({error})") from error
            yield made
            rest = unpacker.unconsumed_tail
            if not rest and len(made) < _BLOCK:
                break
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"{name} does not end where it says")


def _directory(file: BinaryIO, size: int) -> _Directory:
    """Return where the directory of an archive lies; it must end where the end record begins."""
    tail_bytes = min(size, _END.size + _MAX16 + _LOCATOR.size + _END64.size)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and tail[at + 20 : at + 22] != (len(tail) - at - _END.size).to_bytes(2, "little"):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0 or len(tail) - at < _END.size:
        raise ValueError("it does not end as a zip archive does")
    _, disk, first_disk, count_here, count, length, start, _ = _END.unpack_from(tail, at)
    end = size - tail_bytes + at
    if tail[max(at - _LOCATOR.size, 0) : at].startswith(b"PK\6\7"):
        at -= _LOCATOR.size + _END64.size
        if at < 0 or tail[at : at + 4] != b"PK\6\6":
            raise ValueError("its zip64 record is not where it belongs")
        wide = _END64.unpack_from(tail, at)
        end = size - tail_bytes + at
        (_, _, where, disks) = _LOCATOR.unpack_from(tail, at + _END64.size)
        if (wide[1], where, disks, wide[4], wide[5]) != (_END64.size - 12, end, 1, 0, 0):
            raise ValueError("its zip64 record is not that of one file")
        narrow = ((count_here, _MAX16), (count, _MAX16), (length, _MAX32), (start, _MAX32))
        for (short, full), long in zip(narrow, wide[6:10], strict=True):
            if short not in (full, long):
                raise ValueError("its two end records contradict each other")
        count_here, count, length, start = wide[6:10]
    if disk or first_disk or count_here != count:
        raise ValueError("it is a part of an archive of several files")
    if start + length != end or count * _CENTRAL.size > length:
        raise ValueError("its directory is not where it says")
    return _Directory(start, length, count)


def _sizes(fields: tuple[int, ...], extra: bytes, shown: str) -> tuple[int, int, int]:
    """Return packed size, unpacked size and start of an entry, which may be in its zip64 field."""
    narrow = {"unpacked": fields[9], "packed": fields[8], "start": fields[16]}
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if length > len(extra) - 4:
            break
        if kind == 1:
            wide = extra[4 : 4 + length]
        extra = extra[4 + length :]
    for name, value in narrow.items():
        if value == _MAX32:
            if len(wide) < 8:
                raise ValueError(f"{shown} lacks its zip64 field")
            narrow[name], wide = int.from_bytes(wide[:8], "little"), wide[8:]
    return narrow["packed"], narrow["unpacked"], narrow["start"]


def _check_kind(fields: tuple[int, ...], shown: str) -> None:
    """Refuse an entry that is encrypted, packed in another way, a link, or on another disk."""
    flags, method, disk, attributes = fields[3], fields[4], fields[13], fields[15]
    if flags & _REFUSED_FLAGS:
        raise ValueError(f"{shown} is encrypted or patched")
    if method not in (0, 8):
        raise ValueError(f"{shown} is packed by method {method}; expected stored or deflated")
    if disk:
        raise ValueError(f"{shown} lies in another file")
    if stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{shown} is a link or another special file")
