import asyncio
import os
import tempfile

# Before numpy: two threads of linear algebra on two busy cores are slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# What a test notes for the user must not reach the user who runs it.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="diptych-tests-")

from pathlib import Path

import numpy as np
import pytest

try:
    import hypothesis
except ImportError:  # as in ``tests/environments``
    pass
else:
    # A busy machine is not a failure: no limit on the clock for an example, nor for drawing it.
    hypothesis.settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("any machine")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def shared():
    """The folder of evaluation data and models beside the repository, which is no part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("needs the folder ../shared with evaluation models and data")
    return folder


@pytest.fixture
def own_event_loop():
    """LlamaIndex's engines open an event loop in a thread that has none, and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
