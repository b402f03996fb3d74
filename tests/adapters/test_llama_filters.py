"""The filters of LlamaIndex against LlamaIndex's own function, as the oracle."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from diptych import Document, MultimodalIndex
from diptych.errors import FilterError
from diptych.llama_index import to_filter

WORDS = ["", "a", "b", "A", "ab", "abc", "é", "É", "%", "_", "a'b", "10"]
NUMBERS = [*range(-2, 12), 0.5, 2.0, -1.5]
KEYS = ["x", "y", "a key", "ä"]
REFUSED = {
    FilterOperator.GT: (type(None), list),
    FilterOperator.GTE: (type(None), list),
    FilterOperator.LT: (type(None), list),
    FilterOperator.LTE: (type(None), list),
    FilterOperator.IN: (type(None), int, float),
    FilterOperator.NIN: (type(None), int, float),
    FilterOperator.ANY: (type(None), int, float),
    FilterOperator.ALL: (type(None), int, float),
    FilterOperator.CONTAINS: (type(None), list),
    FilterOperator.TEXT_MATCH: (type(None), int, float, list),
    FilterOperator.TEXT_MATCH_INSENSITIVE: (type(None), int, float, list),
}
"""Operands with which an operator means nothing: for nearly any value the oracle raises."""


def random_metadata(random):
    values = (
        lambda: None,
        lambda: random.random() < 0.5,
        lambda: random.choice(NUMBERS),
        lambda: random.choice(WORDS),
        lambda: random.choices(WORDS, k=random.randrange(4)),
        lambda: random.choices(NUMBERS, k=random.randrange(4)),
        lambda: random.choices([True, False], k=random.randrange(3)),
    )
    return {key: random.choice(values)() for key in KEYS if random.random() < 0.6}


METADATAS = [random_metadata(Random(seed)) for seed in range(400)]
OPERANDS = st.one_of(
    st.none(),
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.lists(st.integers(-2, 12), max_size=3),
)
CONDITIONS = st.sampled_from([*FilterCondition, None])


@pytest.fixture(scope="module")
def stored():
    index = MultimodalIndex()
    index.add(
        (Document("x", id=str(i), metadata=m) for i, m in enumerate(METADATAS)), batch_size=500
    )
    return index


def admitted(index, filters):
    return {int(i) for i in index.ids(to_filter(filters))}


def by_oracle(filters):
    """Return the numbers of the metadata that the oracle admits, and of those where it raises."""
    admits, raises = set(), set()
    for i, metadata in enumerate(METADATAS):
        try:
            if build_metadata_filter_fn(lambda _, metadata=metadata: metadata, filters)("id"):
                admits.add(i)
        except TypeError:
            raises.add(i)
    return admits, raises


def term(operator):
    return st.builds(
        MetadataFilter, key=st.sampled_from(KEYS), value=OPERANDS, operator=st.just(operator)
    )


def is_refused(term):
    return isinstance(term.value, REFUSED.get(term.operator, ()))


@pytest.mark.parametrize("operator", list(FilterOperator))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_each_operator_admits_what_the_oracle_does(stored, operator, data):
    one = data.draw(term(operator))
    filters = MetadataFilters(filters=[one])
    if is_refused(one):
        with pytest.raises(FilterError, match="was given"):
            admitted(stored, filters)
        return
    admits, raises = by_oracle(filters)
    found = admitted(stored, filters)
    assert found - raises == admits
    # Where a stored value is of another type, the oracle raises; here it is among nothing.
    assert found & raises == (raises if operator == FilterOperator.NIN else set())


ANY_TERM = st.one_of(*[term(o) for o in FilterOperator]).filter(lambda one: not is_refused(one))


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_TERM, max_size=3), CONDITIONS)
@example([], FilterCondition.NOT)
def test_conditions_admit_what_the_oracle_does(stored, terms, condition):
    filters = MetadataFilters(filters=terms, condition=condition)
    admits, raises = by_oracle(filters)
    assert admitted(stored, filters) - raises == admits


def in_sets(filters):
    """Nested groups by the algebra of sets, which the oracle refuses."""
    everything = set(range(len(METADATAS)))
    if not filters.filters:
        return everything
    sets = [
        in_sets(one)
        if isinstance(one, MetadataFilters)
        else by_oracle(MetadataFilters(filters=[one]))[0]
        for one in filters.filters
    ]
    if filters.condition == FilterCondition.OR:
        return set.union(*sets)
    if filters.condition == FilterCondition.NOT:
        return everything - set.union(*sets)
    return set.intersection(*sets)


SAFE = st.sampled_from(
    [
        MetadataFilter(key="x", value=1),
        MetadataFilter(key="x", value=1, operator=FilterOperator.NE),
        MetadataFilter(key="y", value=["a", "b"], operator=FilterOperator.IN),
        MetadataFilter(key="y", value=None, operator=FilterOperator.IS_EMPTY),
    ]
)
GROUPS = st.recursive(
    SAFE,
    lambda inner: st.builds(
        MetadataFilters, filters=st.lists(inner, max_size=3), condition=CONDITIONS
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(GROUPS, max_size=3), CONDITIONS)
def test_nested_groups_are_sets(stored, terms, condition):
    filters = MetadataFilters(filters=terms, condition=condition)
    assert admitted(stored, filters) == in_sets(filters)


def test_no_filters_are_no_restriction():
    assert to_filter(None) is None
    assert to_filter(MetadataFilters(filters=[])) is None


def test_a_string_given_to_in_means_any_part_of_it(stored):
    filters = MetadataFilters(
        filters=[MetadataFilter(key="x", value="abc", operator=FilterOperator.IN)]
    )
    found = {METADATAS[i]["x"] for i in admitted(stored, filters)}
    assert found == {"", "a", "b", "ab", "abc"}


def test_a_long_string_given_to_in_is_refused():
    long = MetadataFilter(key="x", value="x" * 201, operator=FilterOperator.NIN)
    with pytest.raises(FilterError, match="expected a list"):
        to_filter(MetadataFilters(filters=[long]))
