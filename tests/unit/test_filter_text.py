"""A filter on the text of documents: exact, before the search, refused where it cannot be meant."""

import pytest
from PIL import Image as Pil

from diptych import Document, MultimodalIndex, Query
from diptych.encoders import ToyEncoder
from diptych.errors import FilterError
from diptych.filter_text import MAX_PATTERN
from diptych.filters import MAX_CONDITIONS
from diptych.storage import patterns
from diptych.types import Image


def picture(grey):
    return Image.of(Pil.new("L", (4, 4), grey))


@pytest.fixture
def index():
    encoder = ToyEncoder()
    index = MultimodalIndex(encoder, encoder)
    index.add(
        [
            Document("The pump of 50% power.", id="pump", metadata={"lang": "en"}),
            Document("A PUMP_house\nand a pumping station", id="house", metadata={"lang": "en"}),
            Document("水泵的转速是每分钟1500转。", id="chinese", metadata={"lang": "zh"}),
            Document("ends\0here and goes on", id="nul"),
            Document(image=picture(9), id="picture"),
            Document("  \n", image=picture(99), id="blank"),
            Document("a pump seen from above", picture(200), id="both"),
        ]
    )
    yield index
    index.close()


WITHOUT = {"picture", "blank"}
ALL = {"pump", "house", "chinese", "nul", "both"} | WITHOUT


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"$contains": "pump"}, {"pump", "house", "both"}),
        ({"$contains": "Pump"}, set()),
        ({"$icontains": "Pump"}, {"pump", "house", "both"}),
        ({"$contains": "%"}, {"pump"}),
        ({"$contains": "_"}, {"house"}),
        ({"$contains": "P%P"}, set()),
        ({"$contains": "泵的"}, {"chinese"}),
        ({"$contains": "\0here"}, {"nul"}),
        ({"$contains": ""}, ALL - WITHOUT),
        ({"$not_contains": "pump"}, {"chinese", "nul"} | WITHOUT),
        ({"$not_icontains": "PUMP"}, {"chinese", "nul"} | WITHOUT),
        ({"$regex": r"\d{4}转"}, {"chinese"}),
        ({"$regex": "pump.*station"}, {"house"}),
        ({"$regex": "PUMP.*station"}, set()),
        ({"$regex": "(?s)PUMP.*station"}, {"house"}),
        ({"$not_regex": "(?i)pump"}, {"chinese", "nul"} | WITHOUT),
        ({"$contains": "pump", "$not_contains": "seen"}, {"pump", "house"}),
        ({"$or": [{"$contains": "50%"}, {"$contains": "seen"}]}, {"pump", "both"}),
        ({"$and": [{"$contains": "pump"}, {"$not": {"$regex": "^A"}}]}, {"pump", "both"}),
        ({"$not": {"$contains": "pump"}}, {"chinese", "nul"} | WITHOUT),
    ],
)
def test_condition_on_the_text_admits_exactly(index, condition, ids):
    assert {d.id for d in index.get(where={"$text": condition})} == ids


def test_conditions_on_text_metadata_and_id_are_combined(index):
    where = {"$or": [{"lang": "zh"}, {"$text": {"$contains": "pump"}, "$id": ["pump", "nul"]}]}
    assert {d.id for d in index.get(where=where)} == {"chinese", "pump"}


def test_condition_on_the_text_never_starves_the_search():
    encoder = ToyEncoder()
    index = MultimodalIndex(encoder, encoder)
    index.add([Document(f"a red square {n}", id=f"near {n}") for n in range(200)])
    index.add([Document(f"blue, part XK-{n}", id=f"far {n}") for n in range(5)])
    where = {"$text": {"$regex": r"XK-\d"}}
    found = index.search(Query("a red square"), 5, modalities=("text",), where=where)
    assert {hit.id for hit in found["text"]} == {f"far {n}" for n in range(5)}
    hits = index.text_index.search(encoder.encode_query(["a red square"]), 5, where=where)[0]
    assert {hit.id for hit in hits} == {f"far {n}" for n in range(5)}


def test_delete_by_what_the_text_says(index):
    index.delete(where={"$text": {"$contains": "pump"}})
    assert {d.id for d in index.get()} == {"chinese", "nul"} | WITHOUT


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("pump", r"\$text was given 'pump'; expected conditions such as"),
        ({}, r"\$text was given \{\}; expected conditions"),
        ({"$like": "a"}, r"Unknown operator '\$like' on \$text; known are \$contains, .*\$regex"),
        ({"a": "b"}, r"Unknown operator 'a' on \$text"),
        ({1: "b"}, r"Unknown operator 1 on \$text"),
        ({"$id": ["b"]}, r"Unknown operator '\$id' on \$text"),
        ({"$or": [{"$id": ["b"]}]}, r"Unknown operator '\$id' on \$text"),
        ({"$contains": ["a"]}, r"\$contains on \$text was given list; expected a string"),
        ({"$regex": 3}, r"\$regex on \$text was given int; expected a string"),
        ({"$contains": "a\ud800"}, "half of a surrogate pair"),
        ({"$regex": "(a"}, r"The pattern '\(a' on \$text cannot be used: missing \)"),
        ({"$not_regex": "*"}, "cannot be used: nothing to repeat"),
        ({"$regex": "a{99999999999}"}, "cannot be used: the repetition number is too large"),
        ({"$regex": "[[a]"}, "cannot be used: Possible nested set"),
        ({"$regex": "a" * (MAX_PATTERN + 1)}, "A pattern on .text has 1,001 characters"),
        ({"$and": {"$contains": "a"}}, r"\$and takes a list of filters, it was given dict"),
        ({"$or": [{"$contains": str(n)} for n in range(MAX_CONDITIONS + 1)]}, "1,001 conditions"),
    ],
)
def test_what_cannot_be_meant_is_refused(index, condition, message):
    with pytest.raises(FilterError, match=message) as caught:
        index.get(where={"$text": condition})
    assert len(str(caught.value)) < 400


def test_too_deep_condition_is_refused(index):
    condition = {"$contains": "a"}
    for _ in range(20):
        condition = {"$not": condition}
    with pytest.raises(FilterError, match="deeper than 16"):
        index.get(where={"$text": condition})


def test_condition_is_checked_also_where_nothing_is_stored():
    with (
        MultimodalIndex(ToyEncoder()) as index,
        pytest.raises(FilterError, match="cannot be used"),
    ):
        index.search(Query("a"), 1, where={"$text": {"$regex": "("}})


def test_patterns_that_take_too_long_are_stopped_between_two_texts(index, monkeypatch):
    monkeypatch.setattr(patterns, "PATTERN_SECONDS", -1.0)
    with pytest.raises(FilterError, match="took more than -1 seconds of processor time"):
        index.get(where={"$text": {"$regex": "a"}})
    monkeypatch.undo()
    assert {d.id for d in index.get(where={"$text": {"$regex": "above$"}})} == {"both"}
