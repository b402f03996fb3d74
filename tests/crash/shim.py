"""Builds and drives ``shim.c``, which strikes one call of this process on the files of a folder."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

COUNT, EXIT_BEFORE, EXIT_AFTER, FAIL = 1, 2, 3, 4

NO_COMPILER = "needs Linux and a C compiler (cc)"


@dataclass(frozen=True)
class Fault:
    """What happens at one call; ``reads`` gives the calls that read their turn too."""

    name: str
    mode: int
    error: int = 0
    reads: bool = False


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("EIO", FAIL, errno.EIO, reads=True),
        Fault("exit before", EXIT_BEFORE),
        Fault("exit after", EXIT_AFTER),
        Fault("ENOSPC", FAIL, errno.ENOSPC),
        Fault("EACCES", FAIL, errno.EACCES),
    )
}


def build_shim(folder: Path) -> Path:
    """Compile the shim.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise FileNotFoundError(NO_COMPILER)
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
        check=True, timeout=120,
    )  # fmt: skip
    return library


class Shim:
    """The shim of this process, which was started with it in LD_PRELOAD."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.shim_disarm.restype = ctypes.c_long
        self._library.shim_seen.restype = ctypes.c_long
        self._library.shim_last.restype = ctypes.c_char_p

    def arm(self, folder: Path, fault: Fault, at: int) -> None:
        """Strike the call number ``at`` (from 1) on the files of a folder; 0 only counts."""
        mode = fault.mode if at else COUNT
        self._library.shim_arm(
            os.fsencode(folder), mode, ctypes.c_long(at), fault.error, int(fault.reads)
        )

    def seen(self) -> int:
        """Return how many calls there were until now."""
        return int(self._library.shim_seen())

    def disarm(self) -> int:
        """Fall asleep, and return how many calls there were."""
        return int(self._library.shim_disarm())

    def last(self) -> str:
        """Return which call was struck."""
        return self._library.shim_last().decode(errors="replace")
