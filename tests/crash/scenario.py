"""Random sessions on an index, and what each step may leave behind when it is cut off."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych import Document, MultimodalIndex
from diptych.image import Image
from diptych.maintenance import backup, reembed, verify
from diptych.storage import faiss_index
from stubs import StubJoint, StubText, png

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "purple", "orange")

KINDS = (
    "add", "upsert", "delete", "delete where", "compact", "reopen", "reembed", "repair", "backup",
)  # fmt: skip
SHARES = (0.30, 0.22, 0.12, 0.06, 0.08, 0.10, 0.06, 0.03, 0.03)

Model = dict[str, dict]
"""What an index should hold: by id its text, colour and metadata."""


@dataclass(frozen=True)
class Step:
    """One call: what it does, and the models that a reader may see after and while it runs."""

    kind: str
    documents: tuple[dict, ...] = ()
    ids: tuple[str, ...] = ()
    where: dict | None = None
    batch_size: int = 64

    def states(self, model: Model) -> list[Model]:
        """Return the states from before the call to after it, one for each commit."""
        if self.kind in ("add", "upsert"):
            states = [model]
            for at in range(0, len(self.documents), self.batch_size):
                batch = self.documents[at : at + self.batch_size]
                states.append({**states[-1], **{d["id"]: d for d in batch}})
            return states
        if self.kind == "delete":
            return [model, {i: d for i, d in model.items() if i not in self.ids}]
        if self.kind == "delete where":
            return [model, {i: d for i, d in model.items() if d["meta"]["n"] != self.where["n"]}]
        return [model]

    def run(self, index: MultimodalIndex, path: Path) -> MultimodalIndex:
        """Make the call and return the index to go on with."""
        if self.kind == "add":
            index.add([document(d) for d in self.documents], batch_size=self.batch_size)
        elif self.kind == "upsert":
            index.upsert([document(d) for d in self.documents], batch_size=self.batch_size)
        elif self.kind == "delete":
            index.delete(list(self.ids))
        elif self.kind == "delete where":
            index.delete(where=self.where)
        elif self.kind == "compact":
            index.compact()
        elif self.kind in ("reopen", "reembed", "repair", "backup"):
            index.close()
            if self.kind == "reembed":
                reembed(path, StubText(8), StubJoint(6), batch_size=3)
            elif self.kind == "repair":
                verify(path, repair=True)
            elif self.kind == "backup":
                shutil.rmtree(path.with_name("copy"), ignore_errors=True)
                backup(path, path.with_name("copy"))
            return open_index(path)
        return index


kind_of_index = "flat"
"""How the indexes of a run are searched."""


def use_kind(kind: str, folder: Path) -> None:
    """Let the indexes of this process be of a kind, approximate also when small, with a key of their own."""
    global kind_of_index
    kind_of_index = kind
    faiss_index.APPROXIMATE_ABOVE = 5
    os.environ["XDG_DATA_HOME"] = str(folder / "home")


def open_index(path: Path, **arguments) -> MultimodalIndex:
    return MultimodalIndex(
        StubText(8), StubJoint(6), path=path, **{"kind": kind_of_index, **arguments}
    )


def document(spec: dict) -> Document:
    picture = Image(png(spec["colour"]), name=f"{spec['colour']}.png") if spec["colour"] else None
    return Document(
        spec["text"], picture, id=spec["id"], metadata=spec["meta"], group=spec["group"]
    )


def random_steps(rng: np.random.Generator, model: Model, count: int, first: int):
    """Yield steps that fit the model as it will be. Ids that were deleted come back now and then."""
    for number in range(first, first + count):
        step = random_step(rng, model, number)
        yield step
        model = step.states(model)[-1]


def random_step(rng: np.random.Generator, model: Model, number: int) -> Step:
    kind = str(rng.choice(KINDS, p=SHARES))
    ids = sorted(model)
    if not ids and kind != "add":
        kind = "add"  # there is no index yet to look after
    if kind == "add":
        fresh = [i for i in rng.permutation(400)[:12].tolist() if f"d{i}" not in model]
        specs = [spec(rng, f"d{i}", number) for i in fresh[: int(rng.integers(1, 7))]]
        return Step("add", tuple(specs), batch_size=int(rng.choice([2, 64])))
    if kind == "upsert":
        chosen = [
            str(i)
            for i in rng.permutation(sorted({*ids, "d900", "d901"}))[: int(rng.integers(1, 5))]
        ]
        specs = []
        for identity in chosen:
            new = spec(rng, identity, number)
            if identity in model and rng.random() < 0.4:  # only the metadata changes
                new = {**model[identity], "meta": new["meta"]}
            specs.append(new)
        return Step("upsert", tuple(specs))
    if kind == "delete":
        return Step("delete", ids=tuple(str(i) for i in rng.permutation(ids)[:3]))
    if kind == "delete where":
        return Step("delete where", where={"n": int(rng.integers(0, 10))})
    return Step(kind)


def spec(rng: np.random.Generator, identity: str, number: int) -> dict:
    has = rng.choice(["text", "image", "both"])
    word = f"{identity}x{number}"
    return {
        "id": identity,
        "text": f"words of {word} and {'more ' * int(rng.integers(0, 40))}"
        if has != "image"
        else None,
        "colour": str(rng.choice(COLOURS)) if has != "text" else None,
        "meta": {"n": int(rng.integers(0, 10)), "word": word, "tags": ["a", word]},
        "group": f"g{int(rng.integers(0, 5))}",
    }


class Log:
    """What a session says before and after each step, durable as soon as it is said."""

    def __init__(self, path: Path, heard: Callable[[], None] = lambda: None) -> None:
        self.path, self.heard = path, heard

    def say(self, word: str) -> None:
        self.heard()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, (json.dumps(word) + "\n").encode())
        os.close(descriptor)

    def read(self) -> list[str]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def run_steps(path: Path, steps: list[Step], log: Log) -> None:
    """Run steps, saying "begin" before each and "end" after it."""
    index = open_index(path)
    log.say("open")
    for step in steps:
        log.say("begin")
        index = step.run(index, path)
        log.say("end")
    index.close()
    log.say("closed")
