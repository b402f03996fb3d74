"""A small manual with pictures, and a model that tells whether the event loop is blocked."""

import asyncio
import importlib.util
import sys
import threading
from pathlib import Path

from diptych import Document, Image, ToyEncoder
from stubs import png

RED, BLUE = png("red", (32, 24)), png("blue", (16, 16))


def manual(folder):
    """Two sections of a text and a picture each: one picture as bytes, one as a file."""
    (folder / "valve.png").write_bytes(BLUE)
    return [
        Document("The red pump moves water.", id="pump", group="1", order=0,
                 metadata={"source": "manual.md", "page": 3}),
        Document(image=Image(RED, name="pump.png"), id="pump.png", group="1", order=1,
                 metadata={"source": "manual.md"}),
        Document("The blue valve closes the pipe.", id="valve", group="2", order=0,
                 metadata={"source": "manual.md", "page": 4}),
        Document("Fig. 2: a valve", Image(folder / "valve.png"), id="valve.png", group="2", order=1,
                 metadata={"source": "manual.md"}),
        Document("Call the service for spare parts.", id="service", metadata={"source": "faq.md"}),
    ]  # fmt: skip


class WaitingEncoder(ToyEncoder):
    """Encodes queries only once the event loop has had a turn; fails when it never gets one."""

    def __init__(self):
        super().__init__()
        self.started = threading.Event()
        self.go_on = threading.Event()

    def encode_query(self, texts):
        self.started.set()
        assert self.go_on.wait(timeout=60), "the event loop was blocked"
        return super().encode_query(texts)


async def run_beside(encoder, coroutine):
    """Return the result of a coroutine that encodes a query, run beside another one."""
    task = asyncio.create_task(coroutine)
    while not encoder.started.is_set():
        assert not task.done(), "the encoder was not called"
        await asyncio.sleep(0)
    encoder.go_on.set()
    return await task


def load_example(name):
    """Return a module of the folder ``examples``."""
    path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.py"
    if str(path.parent) not in sys.path:
        sys.path.append(
            str(path.parent)
        )  # where examples find their material, as when they are run
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # where pydantic looks up the annotations of its classes
    specification.loader.exec_module(module)
    return module
