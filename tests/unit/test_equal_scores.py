"""Equal scores are in the order of keys, and how many are asked for decides nothing else."""

import numpy as np
import pytest

from diptych.storage.faiss_index import VectorIndex

ROWS = 300


@pytest.fixture(scope="module")
def index():
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((5, 8)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    kind_of = rng.integers(0, len(kinds), ROWS)
    index = VectorIndex(8)
    index.add(np.arange(1, ROWS + 1), kinds[kind_of])
    return index, kinds, kind_of


@pytest.mark.parametrize("admitted", [None, np.arange(2, ROWS, 3)], ids=["all", "some"])
def test_fewer_are_the_first_of_more(index, admitted):
    index, kinds, kind_of = index
    keys = np.arange(1, ROWS + 1) if admitted is None else admitted
    for k in (1, 2, 7, 60, 99, 100, 101, 299):
        scores, found = index.search(kinds, k, admitted)
        for query, some, values in zip(kinds, found, scores, strict=True):
            own = (kinds @ query)[kind_of]  # exactly equal for equal rows
            expected = keys[np.lexsort((keys, -own[keys - 1]))][:k]
            np.testing.assert_array_equal(some, expected)
            np.testing.assert_allclose(values, own[expected - 1], atol=1e-6)
