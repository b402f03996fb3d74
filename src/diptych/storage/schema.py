"""The layout of ``store.sqlite3``: the truth of an index and its one commit point."""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "FORMAT_VERSION", "SCHEMA", "journal_mode"]

APPLICATION_ID = 0x64697074
"""``dipt``, so that ``file`` and we recognise the database."""

FORMAT_VERSION = 1

SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE space (
    list TEXT PRIMARY KEY,          -- text, image or cross_modal
    dim INTEGER NOT NULL,
    name TEXT NOT NULL,             -- the space of the encoder
    fingerprint TEXT NOT NULL       -- of the model, its weights and its preprocessing
);
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so a deleted one cannot come back
    id TEXT NOT NULL UNIQUE,
    text TEXT,
    image TEXT,                     -- sha256 of the picture's file
    image_path TEXT,                -- where it lies when it was not copied
    image_name TEXT,
    metadata TEXT NOT NULL,         -- JSON, as it was given
    "group" TEXT,
    "order" INTEGER NOT NULL,
    content TEXT NOT NULL           -- hash of what the vectors are made of
);
CREATE INDEX documents_group ON documents ("group") WHERE "group" IS NOT NULL;
CREATE TABLE field (document INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value);
CREATE INDEX field_value ON field (name, value);
CREATE INDEX field_document ON field (document);
CREATE VIRTUAL TABLE lexical USING fts5 (text, content = '', tokenize = 'porter unicode61');
CREATE TABLE segment (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL
);
"""


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
