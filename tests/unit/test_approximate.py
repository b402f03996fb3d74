"""Graph and cluster indexes against brute force, and their cache against everything that is not ours."""

import os
import stat

import numpy as np
import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import InvalidArgument
from diptych.maintenance import verify
from diptych.storage import cache
from diptych.storage.faiss_index import VectorIndex
from stubs import StubText, hashed_rows

DIM, ROWS = 16, 3000
KINDS = ["hnsw", "ivf"]


@pytest.fixture(autouse=True)
def small_and_keyed(monkeypatch, tmp_path):
    """Approximate from a few hundred rows on, and keep the user's key out of it."""
    monkeypatch.setattr("diptych.storage.faiss_index.APPROXIMATE_ABOVE", 300)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


def unit(rng, n):
    centres = np.random.default_rng(1).standard_normal((20, DIM))
    rows = centres[rng.integers(0, 20, n)] + 0.5 * rng.standard_normal((n, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def filled(kind, rng):
    index, vectors = VectorIndex(DIM, kind), unit(rng, ROWS)
    keys = np.arange(5, 5 + 2 * ROWS, 2)
    for start in range(0, ROWS, 500):
        index.add(keys[start : start + 500], vectors[start : start + 500])
        index.prepare()
    assert index.known() is not None
    return index, keys, vectors


def best(vectors, keys, query, k):
    order = np.argsort(-(vectors @ query), kind="stable")[:k]
    return keys[order]


def recall(index, keys, vectors, queries, k=10, allowed=None):
    kept = np.isin(keys, allowed) if allowed is not None else np.ones(len(keys), bool)
    scores, found = index.search(queries, k, allowed)
    hits = 0
    for at, query in enumerate(queries):
        expected = best(vectors[kept], keys[kept], query, k)
        assert len(set(found[at].tolist())) == len(expected)
        assert set(found[at].tolist()) <= set(keys[kept].tolist())
        by_key = {key: row for key, row in zip(keys.tolist(), vectors, strict=True)}
        exact = [by_key[key] @ query for key in found[at].tolist()]
        np.testing.assert_allclose(scores[at], exact, atol=1e-5)
        assert (np.diff(scores[at]) <= 1e-6).all()
        hits += len(set(expected.tolist()) & set(found[at].tolist()))
    return hits / (len(queries) * k)


def test_nearly_all_of_the_best_are_found_with_exact_scores(filled, rng):
    index, keys, vectors = filled
    assert recall(index, keys, vectors, unit(rng, 50)) > 0.97


@pytest.mark.parametrize("share", [0.002, 0.04, 0.2, 0.7])
def test_filters_return_as_many_as_there_are(filled, rng, share):
    index, keys, vectors = filled
    allowed = np.sort(rng.choice(keys, int(share * ROWS), replace=False))
    k = min(10, len(allowed))
    assert recall(index, keys, vectors, unit(rng, 20), k, allowed) > 0.95


def test_filter_far_from_the_query_still_returns_k(filled, rng):
    index, keys, vectors = filled
    query = unit(rng, 1)
    far = np.sort(keys[np.argsort(vectors @ query[0])[: ROWS // 5]])
    assert recall(index, keys, vectors, query, 10, far) > 0.3


def test_removed_rows_are_never_returned_and_packing_keeps_answers(filled, rng):
    index, keys, vectors = filled
    for share in (0.1, 0.5):
        gone = rng.choice(keys, int(share * ROWS), replace=False)
        index.remove(gone)
        kept = np.isin(keys, index.live_keys())
        assert not np.isin(gone, index.live_keys()).any()
        assert recall(index, keys[kept], vectors[kept], unit(rng, 20)) > 0.95


def test_everything_comes_back_when_k_is_large(filled):
    index, keys, vectors = filled
    _, found = index.search(vectors[:1], ROWS + 5)
    assert sorted(found[0].tolist()) == keys.tolist()


def test_what_it_knows_can_be_put_back(filled, kind, rng):
    index, keys, vectors = filled
    again = VectorIndex(DIM, kind)
    again.add(keys, vectors)
    again.prepare(index.known())
    queries = unit(rng, 20)
    np.testing.assert_array_equal(again.search(queries, 10)[1], index.search(queries, 10)[1])


def test_rows_that_came_or_went_since_are_taken_account_of(filled, kind, rng):
    index, keys, vectors = filled
    known = index.known()
    more, more_keys = unit(rng, 400), np.arange(20_000, 20_400)
    kept = rng.random(ROWS) > 0.1
    again = VectorIndex(DIM, kind)
    again.add(keys[kept], vectors[kept])
    again.add(more_keys, more)
    again.prepare(known)
    all_keys, all_rows = np.r_[keys[kept], more_keys], np.r_[vectors[kept], more]
    assert len(again) == len(all_keys)
    assert recall(again, all_keys, all_rows, np.r_[unit(rng, 20), more[:20]]) > 0.95
    np.testing.assert_array_equal(again.vectors(all_keys), all_rows)


def broken(known, kind):
    """Yield arrays that fit nothing, as a bug or a forger with the key could make them."""
    for name, array in known.items():
        yield {n: a for n, a in known.items() if n != name}
        yield {**known, name: array[:-1]}
        yield {**known, name: array[::-1].copy()}
        yield {**known, name: np.concatenate([array, array])}
        yield {**known, name: array.astype(np.float64)}
        yield {**known, name: np.full_like(array, 2**31 - 1 if array.dtype.kind == "i" else np.nan)}
        yield {**known, name: np.full_like(array, -7)}
    if kind == "hnsw":
        flipped = known["neighbors"].copy()
        flipped[5] = len(known["keys"])
        yield {**known, "neighbors": flipped}
        up = known["offsets"][np.argmax(known["levels"])] + 70
        flipped = known["neighbors"].copy()
        flipped[up] = int(np.argmin(known["levels"]))
        yield {**known, "neighbors": flipped}


def test_arrays_that_do_not_fit_cost_no_more_than_hits(filled, kind, rng):
    index, keys, vectors = filled
    queries = unit(rng, 5)
    for wrong in broken(index.known(), kind):
        again = VectorIndex(DIM, kind)
        again.add(keys, vectors)
        again.prepare(wrong)
        recall(again, keys, vectors, queries)  # looks at scores, order and number of the hits


# -- in a folder ----------------------------------------------------------------------------


def open_index(path, kind):
    return MultimodalIndex(StubText(DIM), path=path, kind=kind)


@pytest.fixture
def path(tmp_path, kind):
    with open_index(tmp_path / "index", kind) as index:
        index.add([Document(f"text {i}", id=f"d{i}") for i in range(600)], batch_size=200)
    return tmp_path / "index"


@pytest.fixture
def built(monkeypatch):
    """Count how often an index is built from nothing."""
    counted = []
    for name in ("Graph", "Clusters"):
        real = getattr(__import__("diptych.storage.approximate", fromlist=[name]), name)
        monkeypatch.setattr(
            real, "rebuild", lambda self, real=real.rebuild: (counted.append(1), real(self))[1]
        )
    return counted


def ask(path, kind):
    with open_index(path, kind) as index:
        queries = hashed_rows([f"text {i}" for i in range(0, 600, 40)], DIM, "stub-text")
        return [[hit.id for hit in hits] for hits in index.text_index.search(queries, 5)]


def test_reopening_takes_the_cache_and_answers_the_same(path, kind, built):
    first = ask(path, kind)
    assert [hits[0] for hits in first] == [f"d{i}" for i in range(0, 600, 40)]
    assert built == []
    assert ask(path, kind) == first
    assert verify(path, deep=True).problems == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:],
        lambda data: bytes(len(data)),
    ],
)
def test_damaged_cache_is_built_again(path, kind, built, damage):
    first = ask(path, kind)
    for file in (path / "cache").iterdir():
        file.write_bytes(damage(file.read_bytes()))
    assert [hits[0] for hits in ask(path, kind)] == [hits[0] for hits in first]
    assert built


def test_cache_of_another_user_or_index_is_not_taken(path, kind, built, tmp_path, monkeypatch):
    other = tmp_path / "other"
    with open_index(other, kind) as index:
        index.add([Document(f"another {i}", id=f"d{i}") for i in range(600)])
    built.clear()
    for file in (other / "cache").iterdir():
        (path / "cache" / file.name).write_bytes(file.read_bytes())
    assert [hits[0] for hits in ask(path, kind)] == [f"d{i}" for i in range(0, 600, 40)]
    assert built
    built.clear()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "somebody"))
    ask(path, kind)
    assert built


def test_key_is_for_the_user_alone(path, tmp_path):
    key = tmp_path / "home" / "diptych" / "key"
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    assert cache.user_key() == key.read_bytes()


def test_home_that_cannot_be_written_means_no_cache(tmp_path, kind, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with open_index(tmp_path / "index", kind) as index:
        index.add([Document(f"text {i}", id=f"d{i}") for i in range(400)])
    assert not (tmp_path / "index" / "cache").exists()
    assert len(ask(tmp_path / "index", kind)) == 15


def test_changes_after_the_cache_are_seen(path, kind):
    with open_index(path, kind) as index:
        index.delete([f"d{i}" for i in range(50)])
        index.upsert([Document("text of another kind", id="d60"), Document("text new", id="new")])
    with open_index(path, kind) as index:
        query = hashed_rows(["text new", "text 3", "text 60"], DIM, "stub-text")
        new, gone, replaced = index.text_index.search(query, 5)
        assert new[0].id == "new"
        assert "d3" not in {hit.id for hit in gone}
        assert replaced[0].score < 0.99
        assert len(index.text_index) == 551


def test_unknown_kind_is_refused():
    with pytest.raises(InvalidArgument, match="kind='annoy' is unknown"):
        MultimodalIndex(StubText(), kind="annoy")
