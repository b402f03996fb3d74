"""The short tier of ``run.py``: a taste of each kind in every run of the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="forks, kills and limits as Linux does"
)


def perform(task, **environment):
    """Run a task of the long tier in a process of its own, because it forks."""
    done = subprocess.run(
        [sys.executable, HERE / "run.py", "--task", json.dumps(task)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_writers_lose_nothing_that_was_acknowledged():
    figures = perform({"what": "kills", "seed": 41, "count": 20})
    assert figures["kills"] == 20
    assert figures["acknowledged steps"] > 20


@pytest.mark.parametrize("fault", range(6))
def test_fault_at_any_call_leaves_before_or_after(fault, tmp_path):
    from faults import build_shim

    try:
        shim = build_shim(tmp_path)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    figures = perform(
        {"what": "faults", "seed": 1, "fault": fault, "every": 60}, LD_PRELOAD=str(shim)
    )
    assert figures["calls"] >= 8


def test_threads_see_whole_commits_only():
    figures = perform({"what": "threads", "seed": 2, "count": 12, "seconds": 4})
    assert min(figures["writes"], figures["reads"], figures["retrievals"]) > 5


def test_reading_processes_see_whole_commits_only():
    figures = perform({"what": "processes", "seed": 2, "count": 3, "seconds": 4})
    assert min(figures["writes"], figures["reads"]) > 5


def test_next_writer_goes_on_at_once_after_a_dead_one():
    assert perform({"what": "dead writers", "seed": 1, "count": 5})["dead writers"] == 5


def test_forked_child_reads_and_cannot_write_beside_its_parent():
    assert perform({"what": "forks", "seed": 1, "count": 4})["forks"] == 4


def test_full_disk_costs_only_the_batch_that_did_not_fit():
    assert perform({"what": "fills", "seed": 3, "count": 2})["fill-ups"] == 2


@pytest.mark.parametrize("what", ["sealed", "unsealed"])
def test_damaged_files_never_give_a_wrong_answer(what):
    figures = perform({"what": what, "seed": 5, "count": 150})
    assert sum(figures.values()) > 100
    assert any(name.endswith("CorruptionError") for name in figures)
