"""The metadata that LangChain's loaders make: what comes back, and what is one failure; docs/storage.md."""

import dataclasses
import datetime
import decimal
import enum
import re
import uuid
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from pydantic import BaseModel

from diptych import ToyEncoder
from diptych.langchain import DiptychVectorStore


class Page(BaseModel):
    number: int
    seen: datetime.date


class Part(BaseModel):
    page: Page
    kind: str = "figure"


@dataclasses.dataclass
class Span:
    start: int
    page: Page


class Kind(enum.Enum):
    FIGURE = "figure"


DAY = datetime.date(2024, 1, 2)
DUMPED = {"page": {"number": 3, "seen": "2024-01-02"}, "kind": "figure"}
JSON = {"a": [1, 2.5, None, True, {"b": "c"}], "é.$x": "y", "n": 2**60, "": {}}

ROWS = {
    "JSON": (JSON, JSON),
    "a date": (DAY, "2024-01-02"),
    "a time": (datetime.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),
    "datetime64": (np.datetime64("2024-01-02"), "2024-01-02"),
    "a path": (Path("folder/a.pdf"), "folder/a.pdf"),
    "a uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "a member": (Kind.FIGURE, "figure"),
    "a tuple": ((1, (2, 3)), [1, [2, 3]]),
    "a scalar": (np.float64(0.5), 0.5),
    "what a model dumps": (Part(page=Page(number=3, seen=DAY)).model_dump(mode="json"), DUMPED),
}

REFUSED = {
    "a set": ({1}, r"sorted\(value\)"),
    "an array": (np.eye(2), r"value\.tolist\(\)"),
    "a decimal": (decimal.Decimal("19.90"), r"str\(value\)"),
    "a duration": (datetime.timedelta(minutes=2), r"value\.total_seconds\(\)"),
    "a model in a list": ([Page(number=3, seen=DAY)], r"value\.model_dump\(mode='json'\)"),
    "a model in a model": ({"a": Part(page=Page(number=3, seen=DAY))}, "model_dump"),
    "a dataclass": (Span(1, Page(number=3, seen=DAY)), "dataclasses.asdict"),
    "a document": (Document("x"), "model_dump"),
    "nan": (float("nan"), "Use None"),
    "infinity": (-float("inf"), "Use None"),
    "bytes": (b"raw", "value.decode"),
    "another key": ({1: "a"}, "keys must be strings"),
    "another object": (object(), "Convert it"),
}


@pytest.mark.parametrize("row", ROWS)
async def test_what_comes_back(row, tmp_path):
    given, expected = ROWS[row]
    store = DiptychVectorStore(ToyEncoder(), path=tmp_path / "kb")
    store.add_documents([Document("a", metadata={"v": given, "deep": [{"v": given}]}, id="1")])
    await store.aadd_texts(["b"], [{"v": given}], ids=["2"])
    store.index.close()
    again = DiptychVectorStore(path=tmp_path / "kb")
    one, two = again.get_by_ids(["1", "2"])
    assert one.metadata == {"v": expected, "deep": [{"v": expected}]}
    assert two.metadata == {"v": expected}
    if isinstance(expected, str | int | float):
        assert again.get(where={"v": expected})["ids"] == ["1", "2"]
    again.update_metadata(["1"], [{"w": given}])
    assert again.get_by_ids(["1"])[0].metadata["w"] == expected
    again.index.close()


@pytest.mark.parametrize("row", REFUSED)
def test_what_has_no_json_form_is_one_failure_that_says_what_to_write(row):
    value, advice = REFUSED[row]
    store = DiptychVectorStore(ToyEncoder())
    store.add_texts(["a", "b"], [{"v": value}, {"v": 1}], ids=["1", "2"])
    assert store.index.ids() == ["2"]
    (failure,) = store.failed
    assert "metadata.v" in failure.reason
    assert re.search(advice, failure.reason)
