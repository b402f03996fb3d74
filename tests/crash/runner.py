"""Runs slices, a process and a session each, within limits, and leaves nothing running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import children
from results import write_whole
from slices import LIMIT, Slice

TYPICAL = 30.0
"""Seconds that a slice is expected to take as long as none of its row has been seen."""

ROOM = 1 << 30
"""Bytes that must be free in memory for the indexes to be there instead of on the disk."""

Command = Callable[[Slice, Path], tuple[Sequence[str | Path], dict[str, str]]]
"""Of a slice and its work folder: the words of its command, and what it needs in its environment."""


@dataclass
class Running:
    """A slice that has begun."""

    slice: Slice
    process: subprocess.Popen[bytes]
    folder: Path
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.begun


class Runner:
    """Runs slices, ``processes`` at a time.

    Attributes:
        into: Where each slice writes ``NAME.json``.
        command: What a slice is run with.
        limit: Seconds after which a slice has failed.
        until: When everything must have ended, by the monotonic clock.
        stopped: Set by a signal's handler to the signal's number, to end everything now.
    """

    def __init__(
        self,
        into: Path,
        command: Command,
        *,
        processes: int = 2,
        limit: float = LIMIT,
        until: float = float("inf"),
    ) -> None:
        self.into, self.command, self.limit, self.until = into, command, limit, until
        self.processes = processes
        self.stopped = 0
        self._running: list[Running] = []
        self._longest: dict[str, float] = {}

    def run(self, slices: Sequence[Slice]) -> Iterator[tuple[Slice, str]]:
        """Run slices in order, and yield each with what became of it, as soon as it has ended.

        That is "" when it has written its figures, or else words. A slice that could not end in time is
        not begun, one that has not ended in time leaves no figures and is not yielded. However this
        generator ends, no process is left.
        """
        waiting = deque(slices)
        try:
            while not self.stopped and (self._begin(waiting) or self._running):
                time.sleep(0.05)
                for one in list(self._running):
                    what = self._look_at(one)
                    if what is not None:
                        yield one.slice, what
        finally:
            for one in list(self._running):
                self._end(one)
                self._tidy(one)

    def _begin(self, waiting: deque[Slice]) -> bool:
        """Begin what fits, and return whether something is left that could still be begun."""
        left = self.until - time.monotonic()
        fitting = [slice for slice in waiting if self._expected(slice) <= left]
        while fitting and len(self._running) < self.processes:
            slice = fitting.pop(0)
            waiting.remove(slice)
            self._running.append(self._start(slice))
        return bool(fitting)

    def _expected(self, slice: Slice) -> float:
        return self._longest.get(slice.row, TYPICAL)

    def _start(self, slice: Slice) -> Running:
        folder = Path(tempfile.mkdtemp(prefix="diptych-crash-", dir=work_place()))
        words, environment = self.command(slice, folder)
        with (self.into / f"{slice.name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return Running(slice, process, folder)

    def _look_at(self, one: Running) -> str | None:
        """Return what became of a slice, None as long as it goes on or when the time of the run is over."""
        if not children.has_ended(one.process.pid):
            if one.seconds > self.limit:
                return self._fail(one, f"did not end within {self.limit:.0f} s")
            if time.monotonic() > self.until:
                self._end(one)
                self._tidy(one)
            return None
        self._longest[one.slice.row] = max(self._longest.get(one.slice.row, 0.0), one.seconds)
        if not (self.into / f"{one.slice.name}.json").exists():
            return self._fail(one, "ended without figures")
        if self._end(one) == 0:
            self._tidy(one)
        return ""

    def _tidy(self, one: Running) -> None:
        for left in ("log", "stacks"):
            (self.into / f"{one.slice.name}.{left}").unlink(missing_ok=True)

    def _fail(self, one: Running, what: str) -> str:
        """End a slice that hangs or has died, with the stacks of its threads and a record of it."""
        name = one.slice.name
        stacks = self.into / f"{name}.stacks"
        for process in processes_of_session(one.process.pid):
            _write_stacks(process, stacks)
        seconds = one.seconds
        code = self._end(one)
        what = f"{what} (exit status {code}); stacks in {stacks.name}, output in {name}.log"
        record = {
            "name": name, "seconds": round(seconds, 1), "figures": {}, "violations": [], "ended": what,
        }  # fmt: skip
        write_whole(self.into / f"{name}.json", json.dumps(record, indent=1))
        return what

    def _end(self, one: Running) -> int:
        """End the whole session of a slice and return its exit status."""
        for process in [one.process.pid, *processes_of_session(one.process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        code = one.process.wait()
        shutil.rmtree(one.folder, ignore_errors=True)
        self._running.remove(one)
        return code


def _write_stacks(process: int, stacks: Path, seconds: float = 5.0) -> None:
    """Let a process write its stacks behind a line with its number, or die if it is not set up for it."""
    with stacks.open("a") as file:
        file.write(f"\n--- process {process}\n")
    before, end = stacks.stat().st_size, time.monotonic() + seconds
    with suppress(ProcessLookupError):
        os.kill(process, children.STACKS)
        while stacks.stat().st_size == before and time.monotonic() < end:
            os.kill(process, 0)
            time.sleep(0.02)
    time.sleep(0.1)  # it has begun to write


def work_place() -> str | None:
    """Return where indexes are made: in memory if there is room, since nothing here tests the disk."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK):
        free = os.statvfs(memory)
        if free.f_bavail * free.f_frsize > ROOM:
            return str(memory)
    return None


def processes_of_session(leader: int) -> list[int]:
    """Return the processes of a session, its leader among them, dead ones left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return sorted(found)
