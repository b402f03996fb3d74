"""The language of filters as a loop in Python, and random filters, metadata and texts."""

import re

from hypothesis import strategies as st

KEYS = ["a", "b", "c", "a.b", 'quo"te', "$x"]
SCALARS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(
        [
            2**70,
            -(2**70),
            0.5,
            2.0,
            -1.5,
            "",
            "x",
            "xy",
            "X",
            "é",
            "3",
            "' OR 1=1 --",
            "x\0y",
            "x\0",
        ]
    ),
    st.booleans(),
)
VALUES = st.one_of(
    st.none(),
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["b", "d"]), SCALARS, max_size=2),
)
METADATA = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)
CONDITIONS = st.one_of(
    st.tuples(
        st.sampled_from(["$eq", "$ne"]),
        st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=2)),
    ),
    st.tuples(
        st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$contains", "$not_contains"]), SCALARS
    ),
    st.tuples(
        st.sampled_from(["$in", "$nin"]),
        st.lists(st.one_of(SCALARS, st.lists(SCALARS, max_size=2)), max_size=3),
    ),
    st.tuples(st.sampled_from(["$any", "$all"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.sampled_from(["$exists", "$empty"]), st.booleans()),
    st.tuples(st.sampled_from(["$text", "$itext"]), st.sampled_from(["", "x", "X", "É", "Y"])),
)
TEXTS = st.one_of(
    st.none(),
    st.sampled_from(
        ["Pump", "a pump\nhums", "50% of _it", "x\0y", "水泵的转速", "É 𝄞", "İ", "' OR 1=1 --"]
    ),
)
PARTS = ["", "pump", "PUMP", "%", "_", "x\0", "\0y", "泵的", "é", "𝄞", "i̇", "' OR 1=1"]
PATTERNS = ["", "pump", "(?i)PUMP", "^a", "(?m)^hums$", r"\d+%", "水.的", r"\0", "p(?=u)", "^$"]
TEXT_CONDITIONS = st.one_of(
    st.tuples(
        st.sampled_from(["$contains", "$not_contains", "$icontains", "$not_icontains"]),
        st.sampled_from(PARTS),
    ),
    st.tuples(st.sampled_from(["$regex", "$not_regex"]), st.sampled_from(PATTERNS)),
)
OF_TEXT = st.recursive(
    st.lists(TEXT_CONDITIONS, min_size=1, max_size=2).map(dict),
    lambda inner: st.one_of(
        st.builds(lambda fs: {"$and": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda fs: {"$or": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda f: {"$not": f}, inner),
    ),
    max_leaves=4,
)
IDS = st.sampled_from(["0", "1", "2", "3", "nobody"])
LEAVES = st.one_of(
    st.dictionaries(
        st.sampled_from([key for key in KEYS if key[0] != "$"]),
        st.one_of(SCALARS, st.lists(CONDITIONS, min_size=1, max_size=2).map(dict)),
        max_size=2,
    ),
    st.builds(lambda ids: {"$id": ids}, st.one_of(IDS, st.lists(IDS, max_size=3))),
    st.builds(lambda of_text: {"$text": of_text}, OF_TEXT),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda fs: {"$and": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda fs: {"$or": fs}, st.lists(inner, max_size=3)),
        st.builds(lambda f: {"$not": f}, inner),
        st.builds(lambda fs: {"$not": fs}, st.lists(inner, max_size=3)),
    ),
    max_leaves=6,
)


def matches(where, metadata, identity, words=None):
    """Whether a filter admits a document with these words, if it has any."""
    for key, operand in where.items():
        if key == "$and":
            holds = all(matches(f, metadata, identity, words) for f in operand)
        elif key == "$or":
            holds = any(matches(f, metadata, identity, words) for f in operand)
        elif key == "$not":
            holds = not any(
                matches(f, metadata, identity, words)
                for f in ([operand] if isinstance(operand, dict) else operand)
            )
        elif key == "$id":
            holds = identity in ([operand] if isinstance(operand, str) else operand)
        elif key == "$text":
            holds = matches_text(operand, words)
        else:
            conditions = operand if isinstance(operand, dict) else {"$eq": operand}
            found = [v for v in lookup(metadata, key) if v is not None]
            holds = all(condition(name, found, value) for name, value in conditions.items())
        if not holds:
            return False
    return True


def matches_text(of_text, words):
    """Whether conditions on the words of a document hold; without words only the negated ones do."""

    def holds(operator, operand):
        if operator == "$and":
            return all(matches_text(one, words) for one in operand)
        if operator == "$or":
            return any(matches_text(one, words) for one in operand)
        if operator == "$not":
            return not matches_text(operand, words)
        if operator.startswith("$not_"):
            return not holds(f"${operator[5:]}", operand)
        if words is None:
            return False
        if operator == "$contains":
            return operand in words
        if operator == "$icontains":
            return operand.lower() in words.lower()
        return re.search(operand, words) is not None

    return all(holds(operator, operand) for operator, operand in of_text.items())


def lookup(metadata, key):
    """A dotted key can be spelled out, or be a path into an object: both are asked."""
    yield metadata.get(key)
    head, _, tail = key.partition(".")
    if tail and isinstance(metadata.get(head), dict):
        yield metadata[head].get(tail)


def condition(name, found, operand):
    opposite = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
    if name in opposite:
        return not condition(opposite[name], found, operand)
    if name == "$eq" and operand is None:
        return not found
    if name == "$exists":
        return bool(found) == operand
    if name == "$empty":
        return any(v not in ("", []) for v in found) != operand
    if name == "$all":
        return bool(found) and all(any(contains(v, o) for v in found) for o in operand)
    return any(one(name, value, operand) for value in found)


def same_kind(value, operand):
    return isinstance(value, str) == isinstance(operand, str) and isinstance(
        value, str | int | float
    )


def contains(value, operand):
    if isinstance(value, list):
        return operand in value
    return isinstance(value, str) and isinstance(operand, str) and operand in value


def one(name, value, operand):
    compare = {
        "$gt": lambda: value > operand,
        "$gte": lambda: value >= operand,
        "$lt": lambda: value < operand,
        "$lte": lambda: value <= operand,
    }
    if name == "$eq":
        return value == operand
    if name in compare:
        return same_kind(value, operand) and compare[name]()
    if name == "$in":
        return value in operand
    if name == "$contains":
        return contains(value, operand)
    if name == "$any":
        return any(contains(value, o) for o in operand)
    text = value if isinstance(value, str) else None
    if name == "$text":
        return text is not None and operand in text
    return text is not None and operand.lower() in text.lower()
