from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from diptych.relate import join, owners


@dataclass(frozen=True)
class Item:
    key: int
    group: str | None = "g"
    order: int = 0
    has_text: bool = True
    has_image: bool = False


def text(key, order=0, group="g"):
    return Item(key, group, order)


def picture(key, order=0, group="g"):
    return Item(key, group, order, has_text=False, has_image=True)


def joined(ranked, corpus, limit=10, **options):
    def members(group):
        return sorted((i for i in corpus if i.group == group), key=lambda i: (i.order, i.key))

    return [
        ([part.key for part in unit.parts], unit.first.key)
        for unit in join(ranked, members, limit=limit, **options)
    ]


def test_text_hit_brings_its_figure_in_reading_order():
    corpus = [text(1, 0), picture(2, 1), text(3, 2)]
    assert joined([corpus[0]], corpus) == [([1, 2], 1)]


def test_figure_hit_brings_its_paragraph_first():
    corpus = [text(1, 0), picture(2, 1), text(3, 5)]
    assert joined([corpus[1]], corpus) == [([1, 2], 2)]


def test_figure_belongs_to_the_text_before_it_when_both_are_as_near():
    assert owners([text(1, 0), picture(2, 1), text(3, 2)]) == {2: 1}


def test_text_without_own_figure_brings_the_nearest_one():
    corpus = [text(1, 0), picture(2, 1), text(3, 2), picture(4, 9), text(5, 10)]
    assert joined([corpus[2]], corpus) == [([2, 3], 3)]


def test_document_is_in_one_unit_only():
    corpus = [text(1, 0), picture(2, 1), text(3, 2)]
    assert joined(corpus, corpus) == [([1, 2], 1), ([3], 3)]


def test_hit_without_partner_is_kept():
    corpus = [text(1, 0, None), picture(2, 0, "other"), text(3, 0, "third")]
    assert joined(corpus, corpus) == [([1], 1), ([2], 2), ([3], 3)]


def test_unit_holds_at_most_max_parts_and_the_rest_follows():
    corpus = [text(1, 0), *(picture(k, k) for k in range(2, 8))]
    assert joined(corpus, corpus, max_parts=3) == [
        ([1, 2, 3], 1),
        ([4], 4),
        ([5], 5),
        ([6], 6),
        ([7], 7),
    ]


def test_two_paragraphs_of_one_group_stay_two_results():
    corpus = [text(1, 0), text(2, 1)]
    assert joined(corpus, corpus) == [([1], 1), ([2], 2)]


def test_limit_is_the_number_of_units():
    corpus = [text(k, 0, None) for k in range(10)]
    assert len(joined(corpus, corpus, limit=3)) == 3


ITEMS = st.lists(
    st.tuples(
        st.sampled_from([None, "g", "h"]),
        st.integers(0, 5),
        st.sampled_from([(1, 0), (0, 1), (1, 1)]),
    ),
    max_size=12,
).map(lambda rows: [Item(k, g, o, bool(t), bool(i)) for k, (g, o, (t, i)) in enumerate(rows)])


@given(ITEMS, st.randoms())
def test_nothing_is_lost_and_nothing_is_twice(corpus, random):
    ranked = random.sample(corpus, len(corpus) // 2)
    units = joined(ranked, corpus, limit=100)
    parts = [key for keys, _ in units for key in keys]
    assert len(parts) == len(set(parts))
    assert {item.key for item in ranked} <= set(parts)


@given(ITEMS)
def test_owner_is_the_nearest_text(corpus):
    for name in ("g", "h"):
        group = sorted((i for i in corpus if i.group == name), key=lambda i: (i.order, i.key))
        texts = [i for i in group if i.has_text and not i.has_image]
        for key, owner in owners(group).items():
            order = next(i.order for i in group if i.key == key)
            nearest = min(abs(t.order - order) for t in texts)
            assert abs(next(t.order for t in texts if t.key == owner) - order) == nearest
