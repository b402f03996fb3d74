"""Slices run within limits, are not run twice, and leave nothing running."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from results import load, state_of_code
from runner import Runner, processes_of_session
from slices import Slice

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

WRITES = """
import json, pathlib, sys
pathlib.Path(sys.argv[1], sys.argv[2] + ".json").write_text(
    json.dumps({"name": sys.argv[2], "seconds": 0.1, "figures": {}, "violations": []}))
"""

HANGS = """
import faulthandler, os, signal, subprocess, sys, threading, time
file = open(sys.argv[1] + "/" + sys.argv[2] + ".stacks", "a")
faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
subprocess.Popen(["sleep", "1000"])
def waits_for_ever():
    threading.Event().wait()
threading.Thread(target=waits_for_ever, daemon=True).start()
if os.fork() == 0:
    print("begun", flush=True)
    waits_for_ever()
print("begun", flush=True)
waits_for_ever()
"""


def slices(count):
    return [Slice("kills", "flat", part, count, 1) for part in range(count)]


def runner(into, script, **arguments):
    def command(slice, folder):
        return [sys.executable, "-c", script, into, slice.name], {}

    return Runner(into, command, **arguments)


def wait_until(condition, process=None, seconds=100.0):
    """Wait for something that a process does; notice when it has ended instead."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_every_slice_runs_once_and_writes_its_figures(tmp_path):
    done = list(runner(tmp_path, WRITES).run(slices(5)))
    assert sorted(slice.name for slice, _ in done) == [s.name for s in slices(5)]
    assert {what for _, what in done} == {""}
    assert sorted(load(tmp_path)) == [s.name for s in slices(5)]
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json"] * 5


def run_until_begun(run):
    """Run one slice of HANGS in a thread; return it, and what it yields, when all of it hangs."""
    yielded = []
    thread = threading.Thread(target=lambda: yielded.extend(run.run(slices(1))))
    thread.start()
    log = run.into / "kills-flat-00.log"
    wait_until(lambda: log.exists() and log.read_text().count("begun") == 2)
    return thread, yielded


@pytest.mark.long
def test_a_slice_that_hangs_leaves_its_stacks_and_no_process(tmp_path):
    run = runner(tmp_path, HANGS)
    thread, yielded = run_until_begun(run)
    (running,) = run._running
    assert len(processes_of_session(running.process.pid)) == 3
    run.limit = 0.0
    thread.join(100)
    ((slice, what),) = yielded
    assert what.startswith(
        "did not end within 0 s (exit status -9); stacks in kills-flat-00.stacks"
    )
    assert processes_of_session(running.process.pid) == []
    assert not running.folder.exists()
    stacks = (tmp_path / f"{slice.name}.stacks").read_text()
    assert stacks.count("--- process") == 3
    assert stacks.count("in waits_for_ever") == 3  # two threads, and the forked child
    assert load(tmp_path)[slice.name]["ended"] == what


def test_a_slice_that_dies_is_recorded_and_the_others_go_on(tmp_path):
    script = "import sys\nif sys.argv[2].endswith('00'): raise SystemExit(3)\n" + WRITES
    done = dict(runner(tmp_path, script, processes=1).run(slices(3)))
    assert [what.split(";")[0] for what in done.values()] == [
        "ended without figures (exit status 3)", "", "",
    ]  # fmt: skip
    assert len(load(tmp_path)) == 3


def test_no_slice_begins_that_could_not_end(tmp_path):
    run = runner(tmp_path, WRITES, until=time.monotonic() + 10.0)
    assert list(run.run(slices(3))) == []  # a slice is expected to take 30 s
    assert list(tmp_path.iterdir()) == []


def test_what_runs_at_the_end_of_the_time_is_ended_and_leaves_no_figures(tmp_path):
    run = runner(tmp_path, HANGS)
    thread, yielded = run_until_begun(run)
    (running,) = run._running
    run.until = time.monotonic()
    thread.join(100)
    assert yielded == []
    assert processes_of_session(running.process.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_ending_the_loop_early_ends_the_slices(tmp_path):
    script = "import sys\nif sys.argv[2].endswith('00'):\n    exec(sys.argv[3])\n" + WRITES
    pids = []

    def command(slice, folder):
        return [sys.executable, "-c", script, tmp_path, slice.name, HANGS], {}

    run = Runner(tmp_path, command)
    ended = run.run(slices(2))
    assert next(ended)[0].name == "kills-flat-01"
    pids += [one.process.pid for one in run._running]
    assert len(pids) == 1
    ended.close()
    wait_until(lambda: processes_of_session(pids[0]) == [])  # the kernel takes its time


def marked(mark):
    """Return the processes that have a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found


def start_run(into, mark, *words):
    return subprocess.Popen(
        [sys.executable, HERE / "run.py", "--into", into, *words],
        env={**os.environ, "CRASH_TEST_MARK": mark}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_signal_to_the_run_leaves_no_process(tmp_path, number):
    mark = f"mark-{number}-{os.getpid()}-{time.monotonic_ns()}"
    run = start_run(tmp_path, mark, "--only", "^processes-flat-0")
    try:
        # The run, two slices, and their children.
        wait_until(lambda: len(marked(mark)) > 8, run)
        run.send_signal(number)
        run.communicate(timeout=100)
        assert run.returncode == 128 + number
        assert marked(mark) == []
        assert json.loads((tmp_path / "results.json").read_text())["slices"]["run"] == 0
    finally:
        run.kill()
        run.communicate()


@pytest.mark.long
def test_a_run_again_skips_what_is_there(tmp_path):
    words = ("--only", "^forks-flat-00|^backups-flat-00", "--processes", "2")
    first = start_run(tmp_path, "first", *words)
    _, said = first.communicate(timeout=300)
    assert first.returncode == 0, said
    assert said.startswith("2 of 2 slices to run")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == state_of_code()
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert sorted(before) == ["backups-flat-00.json", "forks-flat-00.json"]
    again = start_run(tmp_path, "again", *words)
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert said.startswith("0 of 2 slices to run")
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert "5 of 50 backups" in (tmp_path / "results.md").read_text()


def test_a_violation_there_is_the_exit_status_of_the_next_run_too(tmp_path):
    folder = tmp_path / "runs" / state_of_code()
    folder.mkdir(parents=True)
    slice = Slice("kills", "flat", 0, 10)
    record = {"name": slice.name, "seconds": 1.0, "figures": {}, "violations": ["seed 0, kill 3"]}
    (folder / f"{slice.name}.json").write_text(json.dumps(record))
    run = start_run(tmp_path, "violation", "--only", "^kills-flat-00")
    _, said = run.communicate(timeout=100)
    assert run.returncode == 1
    assert "kills-flat-00: seed 0, kill 3" in said


def test_changes_of_the_code_have_a_folder_of_their_own(tmp_path):
    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = state_of_code(tmp_path)
    assert len(clean) == 40
    (tmp_path / "README.md").write_text("not code")
    assert state_of_code(tmp_path) == clean
    (tmp_path / "src" / "a.py").write_text("a = 2\n")
    changed = state_of_code(tmp_path)
    assert changed.startswith(f"{clean}-dirty-")
    (tmp_path / "src" / "b.py").write_text("b = 1\n")
    assert state_of_code(tmp_path) not in (clean, changed)
