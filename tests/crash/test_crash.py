"""A taste of each slice of ``run.py`` in every run of the tests."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from shim import build_shim
from slices import Slice

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="forks, kills and limits as Linux does"
)


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    try:
        return str(build_shim(tmp_path_factory.mktemp("shim")))
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def perform(tmp_path):
    """Run a slice in a process of its own, because it forks, and return its figures."""

    def perform(slice, **environment):
        (tmp_path / "work").mkdir()
        done = subprocess.run(
            [
                sys.executable, HERE / "run.py", "--slice", json.dumps(asdict(slice)),
                "--folder", tmp_path / "work", "--into", tmp_path,
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        found = tmp_path / f"{slice.name}.json"
        assert found.exists(), done.stderr[-4000:]
        record = json.loads(found.read_text())
        assert record["violations"] == []
        assert done.returncode == 0
        return record["figures"]

    return perform


def test_killed_writers_lose_nothing_that_was_acknowledged(perform):
    figures = perform(Slice("kills", "ivf", 13, 14, 10))
    assert figures["kills"] == 10
    assert figures["acknowledged steps"] > 10


@pytest.mark.parametrize(
    "fault",
    [
        Slice("EIO", "hnsw", 7, 440, every=1),
        Slice("exit before", "flat", 5, 260, every=1),
        pytest.param(Slice("exit after", "ivf", 1, 3), marks=pytest.mark.long),
        Slice("ENOSPC", "flat", 2, 260, every=1),
        pytest.param(Slice("EACCES", "ivf", 3, 260, every=1), marks=pytest.mark.long),
    ],
    ids=lambda slice: slice.row,
)
def test_fault_at_any_call_leaves_before_or_after(perform, shim, fault):
    figures = perform(fault, LD_PRELOAD=shim)
    # As many as this part has of the chosen ones; those of a session are many hundreds.
    assert figures["calls"] == len(range(fault.part, figures["of"], fault.parts))
    assert figures["calls"] >= 4
    assert figures["calls of the session"] > 900


def test_threads_see_whole_commits_only(perform):
    figures = perform(Slice("threads", "ivf", 0, 2, 3))
    assert min(figures["writes"], figures["reads"], figures["retrievals"]) > 5


def test_reading_processes_see_whole_commits_only(perform):
    figures = perform(Slice("processes", "ivf", 0, 2, 3))
    assert min(figures["writes"], figures["reads"]) > 5


def test_next_writer_goes_on_at_once_after_a_dead_one(perform):
    assert perform(Slice("dead writers", "hnsw", 0, 4, 4))["writers"] == 4


def test_forked_child_reads_and_cannot_write_beside_its_parent(perform):
    assert perform(Slice("forks", "hnsw", 0, 4, 3))["forks"] == 3


def test_copy_made_while_a_thread_writes_is_one_commit(perform):
    assert perform(Slice("backups", "hnsw", 0, 4, 2))["backups"] == 2


def test_full_disk_costs_only_the_batch_that_did_not_fit(perform):
    assert perform(Slice("fills", "flat", 1, 5, 1))["fill-ups"] == 1


def test_random_sessions_agree_with_a_dict_and_numpy(perform):
    figures = perform(Slice("model", "hnsw", 1, 17, 2))
    assert figures["steps"] > 20


@pytest.mark.parametrize("what", ["sealed", "unsealed"])
def test_damaged_files_never_give_a_wrong_answer(perform, what):
    figures = perform(Slice(what, "ivf", 1, 20, 20))
    assert figures["damaged files"] == 20
    assert any(name.endswith("CorruptionError") for name in figures)
