"""What can be changed in the database of an index, inside a transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace

from diptych.storage.database import AMONG, ROW, Database, as_json
from diptych.storage.rows import Row, Space
from diptych.storage.segments import Segment
from diptych.storage.values import TEXT, stored_fields

__all__ = ["WritableDatabase"]


class WritableDatabase(Database):
    """Reads and writes an index."""

    def count_commit(self) -> None:
        """Let other processes see that something has changed."""
        self.execute("UPDATE state SET commits = commits + 1")

    def insert(self, rows: Mapping[int, Row]) -> None:
        """Store documents under new keys."""
        marks = ", ".join("?" * 12)
        self.many(f"INSERT INTO documents (key, {ROW}, checksum) VALUES ({marks})", (
            (key, r.id, r.text, r.image, r.image_path, r.image_name, r.metadata, r.group, r.order,
             r.content, r.origin, r.checksum(key))
            for key, r in rows.items()
        ))  # fmt: skip
        self._insert_fields(rows)
        self.many(
            "INSERT INTO lexical (rowid, text) VALUES (?, ?)",
            ((key, row.text) for key, row in rows.items() if row.text is not None),
        )
        # A picture that comes back is no garbage.
        self.forget_garbage({row.image_path for row in rows.values() if row.image_path})

    def update(self, rows: Mapping[int, Row]) -> None:
        """Replace everything but text and picture of documents, which keep their keys."""
        stored = self.rows(list(rows))
        merged = {
            key: replace(
                stored[key],
                image_name=row.image_name,
                metadata=row.metadata,
                group=row.group,
                order=row.order,
                origin=row.origin or stored[key].origin,
            )
            for key, row in rows.items()
            if key in stored
        }
        self.many(
            'UPDATE documents SET image_name = ?, metadata = ?, "group" = ?, "order" = ?, origin = ?,'
            " checksum = ? WHERE key = ?",
            (
                (r.image_name, r.metadata, r.group, r.order, r.origin, r.checksum(key), key)
                for key, r in merged.items()
            ),
        )
        self.many("DELETE FROM field WHERE document = ?", ((key,) for key in merged))
        self._insert_fields(merged)

    def delete(self, keys: Sequence[int]) -> int:
        """Remove documents, their words and their metadata, and return how many there were."""
        among = [as_json(keys)]
        self.execute(
            "INSERT INTO lexical (lexical, rowid, text) SELECT 'delete', key, text FROM documents"
            f" WHERE key {AMONG} AND text IS NOT NULL",
            among,
        )
        self.execute(f"DELETE FROM field WHERE document {AMONG}", among)
        places = self.all(
            f"SELECT DISTINCT image, image_path FROM documents WHERE key {AMONG} AND image IS NOT NULL",
            among,
        )
        removed = self.execute(f"DELETE FROM documents WHERE key {AMONG}", among).rowcount
        self.execute("UPDATE state SET removals = removals + ?", [removed])
        self.many(
            "INSERT OR IGNORE INTO garbage SELECT ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM documents WHERE image = ?)",
            (
                (place, time.time(), image)
                for image, place in places
                if isinstance(place, str) and place.startswith("assets/")
            ),
        )
        return removed

    def garbage(self, before: float) -> list[str]:
        """Return where the pictures lie that nothing has referred to since a time."""
        sql = "SELECT place FROM garbage WHERE since <= ?"
        return [place for (place,) in self.typed([TEXT], sql, [before])]

    def forget_garbage(self, places: Iterable[str]) -> None:
        """Drop places from the list of garbage."""
        self.many("DELETE FROM garbage WHERE place = ?", ((place,) for place in places))

    def declare(self, spaces: Mapping[str, Space], settings: Mapping[str, str]) -> None:
        """Record which models the vectors come from."""
        self._declare(self.state().generation, spaces)
        self.many("INSERT OR REPLACE INTO setting VALUES (?, ?)", settings.items())

    def _declare(self, generation: int, spaces: Mapping[str, Space]) -> None:
        self.many(
            "INSERT OR REPLACE INTO space VALUES (?, ?, ?, ?, ?, ?)",
            (
                (generation, name, s.dim, s.name, s.fingerprint, s.probe)
                for name, s in spaces.items()
            ),
        )

    def add_segment(self, segment: Segment, generation: int | None = None) -> None:
        """Make a segment count, in the generation that counts or in the one that is being made."""
        self.execute(
            "INSERT INTO segment (generation, name, size, first, last, rows)"
            " SELECT coalesce(?, generation), ?, ?, ?, ?, ? FROM state",
            [generation, *astuple(segment)],
        )

    def begin_generation(self, spaces: Mapping[str, Space]) -> None:
        """Begin another generation, in which nothing is yet, and give up one that was begun before."""
        generation = max(self.state().generation, self.pending_generation()[0]) + 1
        self._drop_other_generations()
        self._declare(generation, spaces)

    def end_generation(self, settings: Mapping[str, str]) -> None:
        """Let the generation that was begun count, and the other one no more."""
        self.execute("UPDATE state SET generation = ?", [self.pending_generation()[0]])
        self._drop_other_generations()
        self.many("INSERT OR REPLACE INTO setting VALUES (?, ?)", settings.items())

    def _drop_other_generations(self) -> None:
        for table in ("space", "segment"):
            self.execute(f"DELETE FROM {table} WHERE generation <> (SELECT generation FROM state)")

    def drop_segments(self, names: Iterable[str]) -> None:
        """Let segments count no more, in the generation that counts.

        The one that is being made may have segments of the same content, and so of the same name.
        """
        self.many(
            "DELETE FROM segment WHERE name = ? AND generation = (SELECT generation FROM state)",
            ((name,) for name in names),
        )

    def start_generation(self) -> None:
        """Take spaces and segments into a new generation, so that every reader loads them anew."""
        generation = max(self.state().generation, self.pending_generation()[0]) + 1
        self._drop_other_generations()
        for table in ("space", "segment"):
            self.execute(f"UPDATE {table} SET generation = ?", [generation])
        self.execute("UPDATE state SET generation = ?, commits = commits + 1", [generation])

    def rebuild_derived(self) -> None:
        """Make filter values and words anew from the documents."""
        self.execute("DELETE FROM field")
        self.execute("INSERT INTO lexical (lexical) VALUES ('delete-all')")
        self.many(
            "INSERT INTO field (document, name, kind, value) VALUES (?, ?, ?, ?)",
            (
                (key, *field)
                for key, _, metadata in self.metadata()
                for field in stored_fields(metadata)
            ),
        )
        self.copy_words_to(self)

    def restore(
        self,
        spaces: Iterable[Sequence[object]],
        settings: Iterable[Sequence[object]],
        segments: Iterable[Segment],
        last_key: int,
    ) -> None:
        """Fill the small tables of an empty database."""
        self.many("INSERT OR REPLACE INTO space VALUES (1, ?, ?, ?, ?, ?)", spaces)
        self.many("INSERT OR REPLACE INTO setting VALUES (?, ?)", settings)
        for segment in segments:
            self.add_segment(segment)
        self.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('documents', ?)", [last_key])
        # Segments may hold vectors of documents that are lost.
        self.execute("UPDATE state SET removals = 1")

    def vacuum(self) -> None:
        """Give the room of deleted rows back to the disk."""
        with self.translated():
            self.execute("INSERT INTO lexical (lexical) VALUES ('optimize')")
            self.execute("VACUUM")

    def _insert_fields(self, rows: Mapping[int, Row]) -> None:
        self.many(
            "INSERT INTO field (document, name, kind, value) VALUES (?, ?, ?, ?)",
            ((key, *field) for key, row in rows.items() for field in stored_fields(row.metadata)),
        )
