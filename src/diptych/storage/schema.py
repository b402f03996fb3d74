"""The layout of ``store.sqlite3``: the truth of an index and its one commit point."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "APPLICATION_ID",
    "FORMAT_VERSION",
    "SCHEMA",
    "foreign_objects",
    "has_other_words",
    "journal_mode",
]

APPLICATION_ID = 0x64697074
"""``dipt``, so that ``file`` and we recognise the database."""

FORMAT_VERSION = 1

SCHEMA = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    commits INTEGER NOT NULL,       -- grows with every commit, so that a reader sees that one happened
    removals INTEGER NOT NULL,      -- how many documents were ever removed
    generation INTEGER NOT NULL,    -- which spaces and segments count
    identity TEXT NOT NULL          -- of this index, so that no cache of another one is taken for its own
);
INSERT INTO state VALUES (1, 0, 0, 1, lower(hex(randomblob(16))));
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE space (
    generation INTEGER NOT NULL,
    list TEXT NOT NULL,             -- text, image or cross_modal
    dim INTEGER NOT NULL,
    name TEXT NOT NULL,             -- the space of the encoder
    fingerprint TEXT NOT NULL,      -- of the model, its weights and its preprocessing
    probe BLOB,                     -- what it made of a known input, float32
    PRIMARY KEY (generation, list)
);
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so a deleted one cannot come back
    id TEXT NOT NULL UNIQUE,
    text TEXT,
    image TEXT,                     -- sha256 of the picture's file
    image_path TEXT,                -- where it lies, in the folder or when it was not copied
    image_name TEXT,
    metadata TEXT NOT NULL,         -- JSON, as it was given
    "group" TEXT,
    "order" INTEGER NOT NULL,
    content TEXT NOT NULL,          -- hash of what the vectors are made of
    origin TEXT,                    -- the folder or file that it was read from
    checksum INTEGER NOT NULL       -- of all of the row
);
CREATE INDEX documents_group ON documents ("group") WHERE "group" IS NOT NULL;
CREATE INDEX documents_image ON documents (image) WHERE image IS NOT NULL;
CREATE INDEX documents_origin ON documents (origin) WHERE origin IS NOT NULL;
CREATE TABLE field (document INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value);
CREATE INDEX field_value ON field (name, value);
CREATE INDEX field_document ON field (document);
CREATE VIRTUAL TABLE lexical USING fts5 (text, content = '', tokenize = 'porter unicode61');
CREATE TABLE segment (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL,
    name TEXT NOT NULL,             -- of the file, by its content
    size INTEGER NOT NULL,
    first INTEGER NOT NULL,         -- the least and the greatest key in it
    last INTEGER NOT NULL,
    rows INTEGER NOT NULL           -- how many vectors, over all lists
);
CREATE TABLE garbage (
    place TEXT PRIMARY KEY,         -- a picture that nothing refers to any more
    since REAL NOT NULL             -- seconds since 1970
);
"""

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|\s+|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^]]*\]|\w+|.""",
    re.S,
)
_WORDS = "lexical"
_SHADOWS = {f"{_WORDS}_{name}" for name in ("config", "data", "docsize", "idx")}
_SHADOW = re.compile(r"CREATE TABLE '\w+'\([\w ,()]+\)(?: WITHOUT ROWID)?")
_COMPUTED = re.compile(r"\b(?:AS|CHECK|DEFAULT|GENERATED|COLLATE|REFERENCES|ON)\b", re.I)

Found = Iterable[tuple[str, str, str, str | None]]
"""Type, name, table and statement of every object in ``sqlite_master``."""


def foreign_objects(found: Found) -> str:
    """Return in words what a database has too much or too little of, or otherwise; empty when it is ours.

    The words "lexical" are made of may be damaged, which is no matter of trust: :func:`has_other_words`.
    """
    objects = {(kind, name): (table, sql) for kind, name, table, sql in found}
    expected = _expected()
    extra, missing = sorted(objects.keys() - expected), sorted(expected.keys() - objects.keys())
    other = sorted(
        key for key in objects.keys() & expected.keys() if not _is_same(key[1], *objects[key])
    )
    return "; ".join(
        f"it {verb} {', '.join(f'the {kind} {name[:40]!r}' for kind, name in them[:3])}"
        for verb, them in (("holds", extra), ("lacks", missing), ("creates otherwise", other))
        if them
    )


def has_other_words(found: Found) -> bool:
    """Whether the list of words would be made in another way than ours."""
    expected = _expected()["table", _WORDS][1]
    return any(_tokens(sql) != expected for _, name, _, sql in found if name == _WORDS)


@lru_cache(maxsize=1)
def _expected() -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Return what a database has as diptych makes it, by type and name."""
    connection = sqlite3.connect(":memory:")
    try:
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    finally:
        connection.close()
    return {(kind, name): (table, _tokens(sql)) for kind, name, table, sql in rows}


def _is_same(name: str, table: str, sql: str | None) -> bool:
    kind = "index" if ("index", name) in _expected() else "table"
    expected_table, expected = _expected()[kind, name]
    if table != expected_table:
        return False
    if name in _SHADOWS:  # SQLite writes these statements, and may write them otherwise one day
        return bool(sql and _SHADOW.fullmatch(sql)) and not _COMPUTED.search(sql or "")
    return name == _WORDS or _tokens(sql) == expected


def _tokens(sql: str | None) -> tuple[str, ...]:
    """Return a statement without its comments and spaces."""
    found = _TOKEN.findall(sql or "")
    return tuple(t for t in found if not t.isspace() and not t.startswith(("--", "/*")))


def journal_mode(version: tuple[int, int, int]) -> str:
    """Return the journal mode that loses no commit on this version of SQLite.

    Versions up to 3.51.2 can lose acknowledged commits when a writer races a checkpoint while the
    write-ahead log is reset (fixed in 3.51.3, and in 3.50.7 and 3.44.6), so they get ``TRUNCATE``.
    """
    fixed = (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51, 0)
        or (3, 44, 6) <= version < (3, 45, 0)
    )
    return "WAL" if fixed else "TRUNCATE"
