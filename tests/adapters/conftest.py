import importlib.util
import inspect

import pytest
from manual import WaitingEncoder, manual

from diptych import MultimodalIndex, ToyEncoder

# Each framework is optional: without it, its tests are not there to be collected.
FRAMEWORKS = {"langchain": "langchain_core", "llama": "llama_index"}
MISSING = [name for name, module in FRAMEWORKS.items() if not importlib.util.find_spec(module)]
collect_ignore_glob = [f"test_{name}*" for name in MISSING]


def pytest_report_header():
    return f"adapters not tested, not installed: {', '.join(MISSING)}" if MISSING else None


@pytest.fixture(autouse=True)
def _event_loop_that_is_closed(request):
    if "llama" in request.module.__name__ and not inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("own_event_loop")


@pytest.fixture
def index(tmp_path):
    index = MultimodalIndex(ToyEncoder(), ToyEncoder())
    index.add(manual(tmp_path))
    return index


@pytest.fixture
def waiting_index(tmp_path):
    index = MultimodalIndex(WaitingEncoder())
    index.add(d for d in manual(tmp_path) if d.has_text and not d.has_image)
    return index
