"""LangChain's self-query: what a model writes becomes a filter, compared with plain Python."""

import datetime
import json

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
)

from diptych import ToyEncoder
from diptych.errors import FilterError
from diptych.langchain import DiptychTranslator, DiptychVectorStore

DOCUMENTS = [
    {"year": 2019, "lang": "en", "tags": ["pump", "oil"], "day": datetime.date(2026, 1, 31)},
    {"year": 2020, "lang": "de", "tags": ["valve"], "day": "2026-01-31T09:30:00"},
    {"year": 2021.5, "lang": "en", "tags": [], "day": datetime.datetime(2026, 2, 1, 0, 0)},
    {"year": 2022, "lang": "Old English", "day": "2026-02-01T00:00:00+00:00"},
    {"lang": None, "tags": ["pump"], "day": "2026-02-02"},
    {},
]


@pytest.fixture(scope="module")
def store():
    store = DiptychVectorStore(ToyEncoder())
    texts = [f"note {n} on pumps" for n in range(len(DOCUMENTS))]
    store.add_texts(texts, DOCUMENTS, ids=[str(n) for n in range(len(DOCUMENTS))])
    return store


def admitted(store, condition, query="pumps"):
    translator = DiptychTranslator()
    words, options = translator.visit_structured_query(StructuredQuery(query, condition, None))
    return {int(document.id) for document in store.similarity_search(words, 9, **options)}


def compare(comparator, attribute, value):
    return Comparison(Comparator(comparator), attribute, value)


def day(text):
    return {"type": "date", "date": text}


def moment(text):
    return {"type": "datetime", "datetime": text}


CASES = [
    (compare("eq", "year", 2020), {1}),
    (compare("ne", "year", 2020), {0, 2, 3, 4, 5}),
    (compare("gt", "year", 2020), {2, 3}),
    (compare("gte", "year", 2020), {1, 2, 3}),
    (compare("lt", "year", 2021), {0, 1}),
    (compare("lte", "year", 2021.5), {0, 1, 2}),
    (compare("in", "lang", ["en", "de"]), {0, 1, 2}),
    (compare("in", "lang", "en"), {0, 2}),
    (compare("in", "year", []), set()),
    (compare("nin", "lang", ["en", "de"]), {3, 4, 5}),
    (compare("contain", "tags", "pump"), {0, 4}),
    (compare("contain", "lang", "Engl"), {3}),
    (compare("like", "lang", "english"), {3}),
    (compare("like", "lang", "%OLD%lish%"), {3}),
    (compare("like", "lang", "%"), {0, 1, 2, 3}),
    (compare("eq", "day", day("2026-01-31")), {0, 1}),
    (compare("ne", "day", day("2026-01-31")), {2, 3, 4, 5}),
    (compare("gt", "day", day("2026-01-31")), {2, 3, 4}),
    (compare("gte", "day", day("2026-01-31")), {0, 1, 2, 3, 4}),
    (compare("lt", "day", day("2026-02-01")), {0, 1}),
    (compare("lte", "day", day("2026-02-01")), {0, 1, 2, 3}),
    (compare("lte", "day", day("9999-12-31")), {0, 1, 2, 3, 4}),
    (compare("in", "day", [day("2026-02-02"), day("2026-01-31"), "x"]), {0, 1, 4}),
    (compare("nin", "day", [day("2026-02-02"), day("2026-01-31")]), {2, 3, 5}),
    (compare("eq", "day", moment("2026-02-01T00:00:00Z")), {3}),
    (compare("eq", "day", moment("2026-02-01T00:00:00")), {2}),
    (compare("gte", "day", moment("2026-01-31T09:30:00")), {1, 2, 3, 4}),
    (compare("lt", "day", moment("2026-01-31T09:30:00")), {0}),
    (
        Operation(Operator.AND, [compare("gte", "year", 2020), compare("eq", "lang", "de")]),
        {1},
    ),
    (
        Operation(Operator.OR, [compare("eq", "year", 2019), compare("contain", "tags", "valve")]),
        {0, 1},
    ),
    (Operation(Operator.NOT, [compare("eq", "lang", "en")]), {1, 3, 4, 5}),
    (
        Operation(
            Operator.NOT,
            [Operation(Operator.OR, [compare("lt", "year", 2020), compare("gt", "year", 2021)])],
        ),
        {1, 4, 5},
    ),
    (None, set(range(6))),
]


@pytest.mark.parametrize(("condition", "expected"), CASES, ids=range(len(CASES)))
def test_a_condition_admits_what_it_says(store, condition, expected):
    assert admitted(store, condition) == expected


def test_a_filter_without_words_finds_what_it_admits(store):
    assert admitted(store, compare("eq", "lang", "en"), query=" ") == {0, 2}
    assert admitted(store, None, query=" ") == set()


@pytest.mark.parametrize("value", [day("31.1.2026"), {"type": "date"}, moment("noon")])
def test_a_date_that_is_none_is_refused(store, value):
    with pytest.raises(FilterError, match="compares with the (date|time)"):
        admitted(store, compare("eq", "day", value))


class TestSelfQuery:
    """With LangChain's retriever and its parser of what a model writes."""

    FIELDS = (
        {"name": "year", "description": "When it was written", "type": "integer"},
        {"name": "lang", "description": "Its language", "type": "string"},
        {"name": "day", "description": "Its day", "type": "date"},
    )

    def retriever(self, store, *filters, limit=None, **options):
        classic = pytest.importorskip("langchain_classic.retrievers.self_query.base")
        pytest.importorskip("lark")
        answers = [json.dumps({"query": "pumps", "filter": one, "limit": limit}) for one in filters]
        model = FakeListChatModel(responses=[f"```json\n{answer}\n```" for answer in answers])
        return classic.SelfQueryRetriever.from_llm(
            model, store, "Notes on pumps", self.FIELDS,
            structured_query_translator=DiptychTranslator(), **options,
        )  # fmt: skip

    async def test_what_the_model_writes_is_found(self, store):
        written = (
            'and(gte("year", 2020), not(eq("lang", "de")))',
            'in("lang", ["en", "de"])',
            'eq("day", "2026-01-31")',
            "NO_FILTER",
        )
        expected = ({2, 3}, {0, 1, 2}, {0, 1}, set(range(6)))
        options = {"search_kwargs": {"k": 9}}
        retriever = self.retriever(store, *written, **options)
        for ids in expected:
            assert {int(document.id) for document in retriever.invoke("pumps?")} == ids
        for ids in expected:
            assert {int(document.id) for document in await retriever.ainvoke("pumps?")} == ids

    def test_limits_and_search_types(self, store):
        written = 'gt("year", 2000)'
        retriever = self.retriever(store, written, limit=1, enable_limit=True)
        assert len(retriever.invoke("one note on pumps")) == 1
        for search_type in ("mmr", "text", "lexical", "similarity"):
            retriever = self.retriever(store, written, search_type=search_type)
            assert {int(document.id) for document in retriever.invoke("pumps?")} == {0, 1, 2, 3}
