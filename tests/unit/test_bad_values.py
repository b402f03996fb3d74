"""Bad values at every entry: an error in words, quickly, and the index still holds what it held.

A table of values by entry points; ``test_bad_input`` has texts, metadata and pictures one by one.
"""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from diptych import CrossModalAligner, Document, MultimodalIndex, MultimodalRetriever, Query, read
from diptych.checks import shown
from diptych.encoders.named import load_encoders
from diptych.errors import DiptychError, DocumentError, FilterError, InvalidArgument, VectorError
from diptych.filters import MAX_CONDITIONS, MAX_VALUES
from diptych.image import Image
from diptych.langchain import DiptychVectorStore
from diptych.maintenance import (
    backup,
    copy_index,
    drop_namespace,
    export_index,
    import_index,
    namespaces,
    reembed,
    verify,
)
from stubs import StubImage, StubText, png

CPU_SECONDS = 5.0
"""What takes milliseconds here may take so long on a machine ten times slower, and a loop takes longer."""

ROW = np.eye(1, 16, dtype=np.float32)


class Unspeakable:
    """Cannot even be shown in a message."""

    def __repr__(self):
        raise RuntimeError("no repr")


HUGE = 10**5000
LONG = "x" * 10_000_000
NOT_NUMBERS = {
    "text": "3", "none": None, "true": True, "numpy true": np.True_, "float": 1.5, "nan": float("nan"),
    "inf": float("inf"), "list": [1], "unspeakable": Unspeakable(), "bytes": b"3",
}  # fmt: skip
TOO_LARGE = {"2^63": 2**63, "2^70": 2**70, "10^5000": HUGE, "-2^70": -(2**70), "-10^5000": -HUGE}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values") / "index"
    documents = [
        Document(f"a pump {n}", id=f"d{n}", metadata={"n": n, "name": f"v{n}"}) for n in range(50)
    ]
    with MultimodalIndex(StubText(), StubImage(), path=folder) as index:
        index.add([*documents, Document(image=Image(png("red")), id="p")])
        yield index


@pytest.fixture
def index(made):
    before = [(d.id, d.text, d.metadata, d.order) for d in made.get()]
    spent = time.process_time()
    yield made
    assert time.process_time() - spent < CPU_SECONDS
    assert [(d.id, d.text, d.metadata, d.order) for d in made.get()] == before
    assert len(made.text_index) == 50


def refused(call, kind=InvalidArgument):
    with pytest.raises(
        kind, match=r"expected|Expected|at most|[Pp]ass|[Gg]ive|not JSON|must be|lists are"
    ) as caught:
        call()
    message = str(caught.value)
    assert len(message) < 1000
    message.encode()
    return message


def ident(value):
    """Name a case by a value that pytest could not show."""
    return re.sub(r" at 0x[0-9a-f]*", "", shown(value)[:30].encode("unicode_escape").decode())


def cases(values, entries):
    return [
        pytest.param(entries[entry], value, id=f"{entry}-{name}")
        for entry in entries
        for name, value in values.items()
    ]


# -- integers -------------------------------------------------------------------------------

COUNTS = {
    "search": lambda i, v: i.search("pump", v),
    "view": lambda i, v: i.text_index.search(ROW, v),
    "retrieve": lambda i, v: MultimodalRetriever.from_index(i).retrieve("pump", v),
    "depth": lambda i, v: MultimodalRetriever.from_index(i, depth=v),
    "add": lambda i, v: i.add([Document("never")], batch_size=v),
    "upsert": lambda i, v: i.upsert([Document("never")], batch_size=v),
    "LangChain": lambda i, v: DiptychVectorStore(index=i, mode="text").similarity_search("pump", v),
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value"), cases({**NOT_NUMBERS, **TOO_LARGE, "0": 0, "-1": -1}, COUNTS)
)
def test_what_counts_nothing_is_refused(index, call, value):
    refused(lambda: call(index, value))


@pytest.mark.parametrize(
    "value", [v for k, v in {**NOT_NUMBERS, **TOO_LARGE}.items() if k != "none"], ids=ident
)
def test_limit_is_checked(index, value):
    refused(lambda: index.get(limit=value))


@pytest.mark.parametrize("value", [1, np.int64(2), np.uint8(3), 2**31, 2**62, 2**63 - 1])
def test_any_count_of_64_bits_is_taken(index, value):
    assert len(index.search("pump", value)["text"]) == min(value, 50)
    assert len(index.text_index.search(ROW, value)[0]) == min(value, 50)
    assert len(MultimodalRetriever.from_index(index).retrieve("pump", value)) == min(value, 51)
    assert len(index.get(limit=value)) == min(value, 51)
    reranker = type("Same", (), {"rerank": lambda self, query, documents: documents})()
    retriever = MultimodalRetriever.from_index(index, reranker=reranker)
    assert len(retriever.retrieve("pump", value)) == min(value, 51)


@pytest.mark.parametrize("value", [*NOT_NUMBERS.values(), *TOO_LARGE.values()], ids=ident)
def test_order_is_an_integer_of_64_bits(index, value):
    refused(lambda: index.add([Document("never", order=value)]), DocumentError)


@pytest.mark.parametrize("value", [0, -(2**63), 2**63 - 1, np.int32(7), np.uint64(8)])
def test_order_of_64_bits_comes_back(index, value):
    index.add([Document("kept", id="o", order=value)])
    assert index.get(["o"])[0].order == int(value)
    assert type(Document("kept", order=value).order) is int
    index.delete(["o"])


SECONDS = {
    "index": lambda i, v: MultimodalIndex(StubText(), lock_timeout=v),
    "folder": lambda i, v: MultimodalIndex(StubText(), path=i.path, lock_timeout=v),
    "open": lambda i, v: MultimodalIndex.open(i.path, lock_timeout=v),
    "repair": lambda i, v: verify(i.path, repair=True, lock_timeout=v),
    "reembed": lambda i, v: reembed(i.path, StubText(), lock_timeout=v),
}  # fmt: skip
NO_SECONDS = {k: v for k, v in NOT_NUMBERS.items() if k != "float"} | {
    "negative": -1, "-inf": float("-inf"), "10^5000": HUGE, "-0.5": -0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value"), cases(NO_SECONDS, {k: v for k, v in SECONDS.items() if k != "open"})
)
def test_what_is_no_time_to_wait_is_refused(index, call, value):
    refused(lambda: call(index, value))


# -- strings --------------------------------------------------------------------------------

NAMES = {
    "surrogate": "a\ud800", "low surrogate": "\udfff", "nul": "a\0b", "10 MB": LONG, "4,097": "x" * 4097,
    "bytes": b"a", "number": 7, "10^5000": HUGE, "list": ["a"], "unspeakable": Unspeakable(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value"),
    cases(
        NAMES,
        {
            "id": lambda i, v: i.add([Document("never", id=v)]),
            "group": lambda i, v: i.add([Document("never", id="g", group=v)]),
        },
    ),
)
def test_bad_id_or_group_is_refused(index, call, value):
    refused(lambda: call(index, value), DocumentError)


def test_longest_id_and_group_are_kept(index):
    name = "é" * 4096
    index.add([Document("kept", id=name, group=name)])
    assert index.get([name])[0].group == name
    assert index.delete([name]) == 1


@pytest.mark.parametrize("at_fault", ["text", "metadata", "no text"])
def test_message_about_a_document_with_a_long_id_is_short(at_fault):
    options = {
        "text": {"text": 7},
        "metadata": {"text": "a", "metadata": {"a": object()}},
        "no text": {},
    }[at_fault]
    refused(lambda: Document(id="x" * 4096, **options), DocumentError)


LOOKUPS = {
    "get": lambda i, v: i.get([v]),
    "delete": lambda i, v: i.delete([v]),
    "vectors": lambda i, v: i.text_index.vectors([v])[~np.isnan(i.text_index.vectors([v]))],
    "filter": lambda i, v: i.ids({"$id": v}),
    "filter of several": lambda i, v: i.ids({"$id": ["d0\0", v]}),
}


@pytest.mark.parametrize(
    ("call", "value"), cases({k: v for k, v in NAMES.items() if k != "list"}, LOOKUPS)
)
def test_looking_for_a_bad_id_finds_nothing_or_says_why(index, call, value):
    found = []
    reason = ""
    try:
        found = call(index, value)
    except DiptychError as error:
        reason = str(error)
    assert isinstance(value, str) or reason
    assert (found if isinstance(found, int) else len(found)) == 0
    assert len(reason) < 1000
    reason.encode()


SETTINGS = {
    "number": {"a": 7}, "none": {"a": None}, "number key": {7: "a"}, "surrogate": {"a": "\ud800"},
    "surrogate key": {"\udc80": "a"}, "nul": {"a": "b\0c"}, "huge": {"a": LONG},
    "many": {str(n): "x" * 20 for n in range(60_000)},
    "list": ["a"], "text": "a", "10^5000": {"a": HUGE}, "unspeakable": {"a": Unspeakable()},
    "bytes": {"a": b"b"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value"),
    cases(
        SETTINGS,
        {
            "index": lambda i, v: MultimodalIndex(StubText(), settings=v),
            "reembed": lambda i, v: reembed(i.path, StubText(), settings=v),
        },
    ),
)
def test_bad_settings_are_refused(index, call, value):
    refused(lambda: call(index, value))


QUERIES = {
    "surrogate": "pump \ud800", "100 MB": LONG * 10, "number": HUGE, "unspeakable": Unspeakable(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value"),
    cases(
        QUERIES,
        {
            "search": lambda i, v: i.search(v),
            "retrieve": lambda i, v: MultimodalRetriever.from_index(i).retrieve(v),
            "vectors": lambda i, v: i.query_vectors(v),
            "LangChain": lambda i, v: DiptychVectorStore(index=i, mode="text").similarity_search(v),
        },
    ),
)
def test_bad_query_is_refused(index, call, value):
    refused(lambda: call(index, value), DiptychError)


def test_nul_in_a_query_is_a_character_like_another(index):
    assert len(index.search("pump\0 seven")["lexical"]) > 0


@pytest.mark.parametrize(
    "weights",
    [
        7, "text", {"text": -1}, {"text": float("nan")}, {"text": float("inf")}, {"text": HUGE},
        {"text": "1"},
        {"text": None}, {"sound": 1}, {7: 1}, {"text": 1e300}, {"text": Unspeakable()}, {Unspeakable(): 1},
    ],
    ids=ident,
)  # fmt: skip
def test_bad_weights_are_refused(index, weights):
    message = refused(lambda: index.search(Query("pump", weights=weights)), DiptychError)
    assert "weight" in message


def test_text_of_a_hundred_megabytes_is_refused(index):
    refused(lambda: index.add([Document(LONG * 10, id="never")]), DocumentError)


# -- metadata -------------------------------------------------------------------------------

METADATA = {
    "10^5000": {"a": HUGE}, "-10^5000": {"a": -HUGE}, "in a list": {"a": [1, HUGE]},
    "deep": {"a": {"b": [{"c": HUGE}]}}, "long key": {"k" * 10_000_000: 1}, "surrogate": {"a": ["\ud800"]},
    "surrogate key": {"a": {"\ud800": 1}}, "10 MB": {"a": LONG}, "unspeakable": {"a": Unspeakable()},
    "unspeakable key": {Unspeakable(): 1}, "list": [HUGE], "long key, bad value": {"k" * 1_000_000: object()},
}  # fmt: skip


@pytest.mark.parametrize("name", METADATA)
def test_bad_metadata_is_refused(index, name):
    refused(lambda: index.add([Document("never", id="m", metadata=METADATA[name])]), DocumentError)


@pytest.mark.parametrize(
    "value", [2**2000 - 1, -(2**2000) + 1, 2**63, -(2**63) - 1, 10**308], ids=ident
)
def test_large_integer_in_metadata_comes_back_and_is_found(index, value):
    index.add([Document("kept", id="m", metadata={"big": value, "list": [value]})])
    assert index.get(["m"])[0].metadata == {"big": value, "list": [value]}
    assert index.ids({"big": value}) == index.ids({"list": [value]}) == ["m"]
    index.delete(["m"])


# -- filters --------------------------------------------------------------------------------


def cycle():
    where = {}
    where["$and"] = [where]
    return where


def deep(levels):
    where = {"n": 1}
    for _ in range(levels):
        where = {"$and": [where]}
    return where


FILTERS = {
    "surrogate": {"a": "\ud800"}, "surrogate key": {"\ud800": 1}, "surrogate in": {"a": {"$in": ["\ud800"]}},
    "surrogate contains": {"a": {"$contains": "\ud800"}}, "surrogate text": {"a": {"$text": "\ud800"}},
    "surrogate itext": {"a": {"$itext": "\ud800"}}, "surrogate gt": {"a": {"$gt": "\ud800"}},
    "surrogate id": {"$id": "\ud800"}, "surrogate ids": {"$id": ["d1", "\ud800"]},
    "10^5000 in a list": {"a": [HUGE]}, "10^5000 exists": {"a": {"$exists": HUGE}},
    "10^5000 operator": {"a": {HUGE: 1}}, "10^5000 key": {HUGE: 1}, "10^5000 text": {"a": {"$text": HUGE}},
    "unspeakable": {"a": Unspeakable()}, "unspeakable key": {Unspeakable(): 1},
    "unspeakable exists": {"a": {"$exists": Unspeakable()}}, "array exists": {"a": {"$exists": np.ones(2)}},
    "long operator": {"a": {"$" + LONG: 1}}, "long top": {"$" + LONG: 1}, "long key": {LONG: {"$in": 1}},
    "cycle": cycle(), "deep": deep(2000), "keys": {f"k{n}": n for n in range(100_000)},
    "or of keys": {"$or": [{f"k{n}": n} for n in range(20_000)]},
    "and of equalities": {"$and": [{"n": n} for n in range(20_000)]},
    "and of comparisons": {"$and": [{"n": {"$gt": n}} for n in range(20_000)]},
    "nested": {"$or": [{"$and": [{"n": {"$gt": n}}] * 100} for n in range(100)]},
    "any": {"a": {"$any": ["x"] * 100_000}}, "all": {"a": {"$all": list(range(100_000))}},
    "nul": {"a": {"$in": [f"a\0{n}" for n in range(100_000)]}},
    "values": {"n": {"$in": [0] * (MAX_VALUES + 1)}}, "ids": {"$id": ["d1"] * (MAX_VALUES + 1)},
    "not": {"$not": [{"$not": {"n": {"$gt": n}}} for n in range(20_000)]},
    "number": 0, "empty text": "", "empty list": [], "false": False, "set": {"n"},
    "complex": {"a": 1j}, "bytes": {"a": {"$in": [b"x"]}}, "nan": {"a": [float("nan")]},
}  # fmt: skip
FILTERED = {
    "ids": lambda i, w: i.ids(w),
    "delete": lambda i, w: i.delete(where=w),
    "search": lambda i, w: i.search("pump", where=w),
    "view": lambda i, w: i.text_index.search(ROW, where=w),
    "retrieve": lambda i, w: MultimodalRetriever.from_index(i).retrieve("pump", where=w),
    "an empty index": lambda i, w: MultimodalIndex(StubText()).search("pump", where=w),
}  # fmt: skip
QUICK = {name: f for name, f in FILTERS.items() if name not in ("values", "ids", "cycle")}


@pytest.mark.parametrize("name", FILTERS)
def test_bad_filter_is_refused(index, name):
    refused_filter(index, "ids", name)


@pytest.mark.parametrize("entry", [e for e in FILTERED if e != "ids"])
@pytest.mark.parametrize(
    "name", ["surrogate", "number", "empty text", "empty list", "keys", "deep"]
)
def test_bad_filter_is_refused_everywhere(index, entry, name):
    refused_filter(index, entry, name)


def refused_filter(index, entry, name):
    with pytest.raises(FilterError) as caught:
        FILTERED[entry](index, FILTERS[name])
    assert len(str(caught.value)) < 1000
    str(caught.value).encode()


MANY = range(1, 20_000)
LARGE = {
    "or": ({"$or": [{"n": n} for n in MANY]}, 49),
    "or of eq": ({"$or": [{"name": {"$eq": f"v{n}"}} for n in MANY]}, 49),
    "or of in": ({"$or": [{"n": {"$in": [n, -n]}} for n in MANY]}, 49),
    "or of two keys": ({"$or": [{k: v} for n in MANY for k, v in (("n", n), ("name", f"v{n}"))]}, 49),
    "or of ids": ({"$or": [{"$id": f"d{n}"} for n in MANY]}, 49),
    "and of ne": ({"$and": [{"n": {"$ne": n}} for n in MANY]}, 2),
    "and of nin": ({"$and": [{"n": {"$nin": [n]}} for n in MANY]}, 2),
    "not or": ({"$not": {"$or": [{"n": n} for n in MANY]}}, 2),
    "not of several": ({"$not": [{"n": n} for n in MANY]}, 2),
    "in": ({"n": {"$in": list(range(1, 100_000))}}, 49),
    "nin": ({"n": {"$nin": list(MANY)}}, 2),
    "id": ({"$id": [f"d{n}" for n in MANY]}, 49),
    "10^5000": ({"$or": [{"n": HUGE}, {"n": {"$lt": HUGE}}]}, 50),
    "conditions": ({"$or": [{f"k{n}": n} for n in range(MAX_CONDITIONS - 1)] + [{"n": 1}]}, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large_filter_is_a_lookup(index, name):
    where, count = LARGE[name]
    spent = time.process_time()
    assert len(index.ids(where)) == count
    assert time.process_time() - spent < CPU_SECONDS


def test_comparisons_that_become_a_list_mean_what_they_meant(index):
    one_by_one = {
        "or": ({"$or": [{"n": 1}, {"n": True}, {"n": {"$in": [3]}}, {"name": "v5"}, {"n": None}]}, {"d1",
        "d3", "d5", "p"}),
        "and": ({"$and": [{"n": {"$ne": 1}}, {"n": {"$nin": [2, 3]}}, {"n": {"$lt": 6}}]}, {"d0", "d4",
        "d5"}),
        "not": ({"$not": [{"n": 1}, {"name": "v1"}]}, {f"d{n}" for n in range(50) if n != 1} | {"p"}),
        "list": ({"$or": [{"n": [1]}, {"n": 2}]}, {"d2"}),
        "empty": ({"$or": [{"n": {"$in": []}}]}, set()),
        "none": ({"$or": []}, set()),
    }  # fmt: skip
    for where, expected in one_by_one.values():
        assert set(index.ids(where)) == expected


# -- paths ----------------------------------------------------------------------------------

ALIGNER = CrossModalAligner()
ALIGNER.fit(*[np.random.default_rng(0).normal(size=(250, 8))] * 2)

PATHS = {
    "nul": "a\0b", "surrogate": "a\ud800", "5,000": "x" * 5000, "5,000 in parts": "x/" * 2500,
    "long name": "x" * 256, "number": 7, "bytes": b"a", "none": None, "unspeakable": Unspeakable(),
}  # fmt: skip
PLACES = {
    "path": lambda i, p: MultimodalIndex(StubText(), path=p if p is not None else 7),
    "open": lambda i, p: MultimodalIndex.open(p),
    "verify": lambda i, p: verify(p),
    "backup": lambda i, p: backup(p, i.path / "never"),
    "backup to": lambda i, p: backup(i.path, p),
    "export": lambda i, p: export_index(p, i.path / "never"),
    "export to": lambda i, p: export_index(i.path, p),
    "import": lambda i, p: import_index(p, i.path),
    "import to": lambda i, p: import_index(i.path, p),
    "namespaces": lambda i, p: namespaces(p),
    "drop": lambda i, p: drop_namespace(p, "a"),
    "reembed": lambda i, p: reembed(p, StubText()),
    "copy": lambda i, p: copy_index(i, p),
    "namespace": lambda i, p: MultimodalIndex(StubText(), path=i.path, namespace=p if p is not None else 7),
    "read": lambda i, p: read(p),
    "prefixes": lambda i, p: i.prefixes_for([p]),
    "aligner": lambda i, p: CrossModalAligner.load(p),
    "aligner to": lambda i, p: ALIGNER.save(p if not isinstance(p, bytes) else 7),
}  # fmt: skip


@pytest.mark.parametrize(("call", "value"), cases(PATHS, PLACES))
def test_bad_path_is_refused(index, call, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(lambda: call(index, value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["open-clip:a\0b", "open-clip:\ud800", f"open-clip:{LONG}", 7, None, b"toy"]
)
def test_bad_name_of_models_is_refused(index, name):
    refused(lambda: load_encoders(name))


def test_pipe_in_place_of_an_aligner_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DiptychError, match="it is not a regular file. Give"):
        CrossModalAligner.load(tmp_path / "pipe")


@pytest.mark.parametrize("name", [n for n in PATHS if n not in ("bytes", "none")])
def test_bad_path_of_a_picture_is_refused_or_reported(index, name, tmp_path):
    value = PATHS[name]
    with MultimodalIndex(StubText(), StubImage(), images="reference") as other:
        try:
            report = other.add([Document("kept", id="k"), Document("x", image=value, id="x")])
        except DiptychError as error:
            reason = str(error)
            assert other.add([Document("kept", id="k")]).added == 1
        else:
            reason = report.failed[0].reason
            assert [failure.id for failure in report.failed] == ["x"]
        assert len(reason) < 1000
        reason.encode()
        assert other.ids() == ["k"]
    if isinstance(value, str):
        with pytest.raises(DiptychError):
            index.search(Path(value))


# -- vectors --------------------------------------------------------------------------------

VECTORS = {
    "nan": [float("nan")] * 16, "inf": [float("inf")] * 16, "huge": [1e300] * 16, "10^5000": [HUGE] * 16,
    "complex": [1j] * 16, "zero": [0.0] * 16, "short": [1.0] * 15, "long": [1.0] * 17, "text": "vector",
    "texts": ["a"] * 16, "none": None, "nones": [None] * 16, "number": 7, "dict": {"a": 1},
    "ragged": [[1.0], 2.0],
    "object": object(), "unspeakable": [Unspeakable()] * 16, "two": [[1.0] * 16] * 2, "empty": [],
    "set": {1.0},
    "deep": [[[1.0] * 16]],
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_bad_vector_given_for_one_document_is_reported(index, name):
    documents = [Document("never", id="bad"), Document("kept", id="kept"), Document("x", id="made")]
    report = index.add(documents, text_vectors={"bad": VECTORS[name], "kept": ROW[0]})
    assert (report.added, [f.id for f in report.failed]) == (2, ["bad"])
    assert len(report.failed[0].reason) < 1000
    np.testing.assert_allclose(index.text_index.vectors(["kept"]), ROW)
    assert index.delete(["kept", "made"]) == 2


@pytest.mark.parametrize("name", VECTORS)
def test_bad_vector_given_for_every_document_is_the_callers_mistake(index, name):
    refused(
        lambda: index.add([Document("never", id="bad")], text_vectors={"bad": VECTORS[name]}),
        VectorError,
    )


@pytest.mark.parametrize("name", [n for n in VECTORS if n != "zero"])
def test_bad_query_vector_is_refused(index, name):
    value = VECTORS[name]
    refused(lambda: index.search("pump", vectors={"text": value}), VectorError)
    if name != "empty":
        refused(lambda: index.text_index.search([value]), VectorError)
    store = DiptychVectorStore(index=index, mode="text")
    with pytest.raises(VectorError):
        store.similarity_search_by_vector(value)


@pytest.mark.parametrize("value", [7, "text", ["a"], ROW, Unspeakable()], ids=ident)
def test_vectors_that_are_no_mapping_are_refused(index, value):
    refused(lambda: index.add([Document("never")], text_vectors=value))
    refused(lambda: index.upsert([Document("never")], image_vectors=value))
    refused(lambda: index.search("pump", vectors=value))


@pytest.mark.parametrize(
    "value", [7, None, "text", b"x", {"a": 1}, Unspeakable(), object()], ids=ident
)
def test_what_is_no_list_of_documents_is_refused(index, value):
    refused(lambda: index.add(value))


# -- one bad document of a batch ------------------------------------------------------------


class Moody(StubText):
    """Has no vector for a text with the word "bad"."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def encode_document(self, texts):
        rows = super().encode_document(texts)
        rows[["bad" in text for text in texts]] = self.value
        return rows


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_document_without_a_vector_is_reported_and_the_others_are_stored(value, batch_size):
    texts = ["good one", "bad", "good two", "bad again", "good three", "bad at last"]
    documents = [Document(text, id=text) for text in texts]
    with MultimodalIndex(Moody(value)) as index:
        report = index.add(documents, batch_size=batch_size)
        assert index.ids() == texts[::2]
        assert [failure.id for failure in report.failed] == texts[1::2]
        assert "returned" in report.failed[0].reason
        expected = StubText().encode_document(texts[::2])
        np.testing.assert_allclose(index.text_index.vectors(texts[::2]), expected, atol=1e-6)
        assert index.add(documents, batch_size=batch_size).skipped == 3


def test_bad_picture_bad_vector_and_changed_metadata_cost_one_document_each():
    changed = Document("good too", id="changed", metadata={"a": 1})
    changed.metadata["a"] = object()
    documents = [
        Document("bad", id="vector"),
        Document("words", Image(b"no picture"), id="picture"),
        changed,
        Document("good", Image(png("red")), id="good"),
    ]
    with MultimodalIndex(Moody(np.nan), StubImage()) as index:
        report = index.add(documents)
        assert {failure.id for failure in report.failed} == {"vector", "picture", "changed"}
        assert index.ids() == ["good"]


# -- how values are shown -------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [HUGE, LONG, Unspeakable(), [Unspeakable()], {"a": HUGE}, [0] * 10**6, b"x" * 10**6, "\ud800\x1b[31m",
    np.zeros(10**6), cycle()],
    ids=range(10),
)  # fmt: skip
def test_value_is_shown_in_a_line(value):
    text = shown(value)
    assert len(text) <= 80
    assert text.isprintable()
    text.encode()


def test_small_values_are_shown_as_they_are():
    for value in (7, "a", None, ["x", 1], {"a": 1}, 1.5):
        assert shown(value) == repr(value)
