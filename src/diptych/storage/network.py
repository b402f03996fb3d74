"""Says once that a folder lies on a network file system, where locks and syncing cannot be relied on."""

from __future__ import annotations

import os
import re
import threading
import warnings
from pathlib import Path

__all__ = ["NetworkFolderWarning", "file_system", "warn_of_network"]


class NetworkFolderWarning(UserWarning):
    """The folder of an index lies on a network file system."""


MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux lists what is mounted; nothing is said where there is no such file."""

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "9p", "afs", "kafs", "coda", "ceph",
    "glusterfs", "lustre", "beegfs", "gpfs", "orangefs", "pvfs2", "panfs", "davfs", "davfs2", "sshfs",
    "s3fs", "gcsfuse", "goofys", "rclone", "mount-s3", "blobfuse", "blobfuse2", "curlftpfs", "smbnetfs",
    "cephfs", "ceph-fuse", "moosefs", "mfs", "juicefs", "afp", "webdav",
}  # fmt: skip
"""Names as the kernel gives them, those of FUSE without ``fuse.``."""

_warned: set[tuple[int, str]] = set()
_mutex = threading.Lock()


def warn_of_network(folder: Path) -> None:
    """Warn when a folder lies on a network file system, once for each folder and process.

    It is a warning and not a line in a log, because it is about what the program does, reaches whoever has
    not set up logging, and can be silenced, or made an error, by its category.

    Args:
        folder: Need not exist yet.
    """
    key = (os.getpid(), os.path.realpath(folder))
    with _mutex:
        if key in _warned:
            return
        _warned.add(key)
    kind = file_system(folder)
    if kind.removeprefix("fuse.") in _NETWORK:
        warnings.warn(
            f"The index {str(folder)!r} lies on a network file system ({kind}), whose locks and syncing "
            "cannot be relied on: two writers may damage it, and what was stored may be lost with the "
            "power. Keep it on a local disk, and copy it with diptych backup.",
            NetworkFolderWarning,
            stacklevel=2,
        )


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder lies on, as Linux calls it; "" where unknown."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    parts = Path(os.path.realpath(folder)).parts
    found, depth, root = "", 0, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        words, kind = before.split(" "), after.split(" ")[0]
        if len(words) < 5:
            continue
        place = Path(_unescaped(words[4])).parts
        if place == parts[: len(place)] and len(place) >= depth:  # the last one of a place counts
            found, depth = kind, len(place)
        if len(place) == 1:
            root = kind
    # A sandbox gives all its files, the root too, through 9p: nothing there is on a network.
    return "" if found == root == "9p" else found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)
