"""The slices cover everything once, and the report says what is missing."""

from collections import Counter

import pytest
from faults import chosen_calls
from report import failures, summary
from slices import FAULT_ROWS, KINDS_OF_INDEX, ROWS, all_slices
from strangers import FOLDERS, folders
from tables import as_markdown, coverage


def record(slice, **figures):
    return {"name": slice.name, "seconds": 2.0, "figures": figures, "violations": []}


def test_every_slice_has_a_name_and_a_seed_of_its_own():
    slices = all_slices()
    assert len({s.name for s in slices}) == len(slices)
    for row in ROWS:
        seeds = [s.seed for s in slices if s.row == row.name]
        assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_slices_of_a_row_have_its_units_exactly(row):
    slices = row.slices()
    assert sum(s.count for s in slices) == row.total
    assert max(s.count for s in slices) <= row.each
    by_kind = Counter(s.index for s in slices)
    assert set(by_kind) == set(KINDS_OF_INDEX)
    assert max(by_kind.values()) - min(by_kind.values()) <= 1


def test_every_place_of_a_hostile_folder_is_tried():
    row = next(row for row in ROWS if row.name == "hostile folders")
    chosen = [n for s in row.slices() for n in folders()[s.seed * FOLDERS :][: s.count]]
    assert sorted(chosen) == sorted(folders())


@pytest.mark.parametrize("row", FAULT_ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("total", [1, 2, 7, 1071, 1818])
def test_slices_of_a_fault_strike_each_chosen_call_once(row, total):
    for kind in KINDS_OF_INDEX:
        mine = [s for s in row.slices() if s.index == kind]
        struck = Counter()
        for s in mine:
            chosen = chosen_calls(s.every, s.offset, total, [1, total])
            struck.update(chosen[s.part :: s.parts])
        assert sorted(struck) == chosen
        assert set(struck.values()) <= {1}


def test_a_graph_has_every_call_struck_and_the_offset_of_the_others_moves():
    assert chosen_calls(1, 1, 5, []) == [1, 2, 3, 4, 5]
    assert chosen_calls(4, 0, 24, []) == [1, 6, 11, 16, 17, 22]
    assert chosen_calls(0, 2, 9, [3, 3, 9, 12]) == [3, 9]
    by_kind = {c for at in range(3) for c in chosen_calls(12, 4 * at, 1200, [])}
    assert len(by_kind) == 300
    assert Counter(c % 4 for c in by_kind) == {0: 75, 1: 75, 2: 75, 3: 75}


def test_an_early_end_has_seen_every_row():
    rows = {row.name for row in (*FAULT_ROWS, *ROWS)}
    assert {s.row for s in all_slices()[: len(rows) + 1]} == {*rows, "demo picture"}


def test_report_of_nothing_says_that_nothing_ran():
    report = summary({}, "c0ffee")
    assert coverage(report, "kills") == "not run yet (600 kills)"
    assert not report["complete"]
    assert as_markdown(report).count("not run yet") > 20


def test_report_states_how_much_ran_and_adds_it_up():
    kills = [s for s in all_slices() if s.row == "kills"][:3]
    strikes = [s for s in all_slices() if (s.row, s.index) == ("EIO", "hnsw")][:2]
    takeovers = [s for s in all_slices() if s.row == "dead writers"][:2]
    records = [
        *(record(s, kills=20, **{"acknowledged steps": 5}) for s in kills),
        *(record(s, calls=50, of=1818) for s in strikes),
        *(record(s, writers=10, **{"slowest takeover, ms": 7 + s.seed}) for s in takeovers),
    ]
    report = summary({r["name"]: r for r in records}, "c0ffee")
    text = as_markdown(report)
    assert coverage(report, "kills") == "60 of 600 kills"
    assert "15 steps acknowledged" in text
    assert "100 of 1,818 (every call)" in text
    assert "at most 8 ms" in text
    assert "`c0ffee`" in text
    assert f"7 of {len(all_slices()):,} slices" in text
    assert not failures(report)


def test_report_names_violations_and_slices_that_did_not_end():
    one, two = all_slices()[5:7]
    bad = {**record(one), "violations": ["seed 1, call 7 of 9: held nothing"]}
    hung = {**record(two), "ended": "did not end within 180 s; stacks in x.stacks"}
    report = summary({one.name: bad, two.name: hung}, "c0ffee")
    assert len(failures(report)) == 2
    text = as_markdown(report)
    assert "seed 1, call 7 of 9" in text
    assert "x.stacks" in text
    assert "no acknowledged document was lost" not in text


def test_report_says_why_there_are_no_faults():
    assert "Not run here: needs a compiler." in as_markdown(summary({}, "c", "needs a compiler"))
