"""What lies where in the folder of an index."""

__all__ = [
    "ASSETS",
    "CACHE",
    "DATABASE",
    "FILES",
    "FOLDERS",
    "LOCK",
    "NAMESPACES",
    "QUARANTINE",
    "SALVAGED",
    "SEAL",
    "SEGMENTS",
    "database_files",
]

DATABASE = "store.sqlite3"
SEAL = "store.seal"
LOCK = "lock"
SALVAGED = "store.salvaged"
"""A new database, made of what is left of a damaged one; it gets the name of the other in the end."""

SEGMENTS = "segments"
ASSETS = "assets"
CACHE = "cache"
QUARANTINE = "quarantine"
NAMESPACES = "namespaces"

_BESIDE = ("", "-journal", "-wal", "-shm")


def database_files(database: str) -> tuple[str, ...]:
    """Return the names under which SQLite reads and writes when it opens a database."""
    return tuple(f"{database}{end}" for end in _BESIDE)


FOLDERS = frozenset({SEGMENTS, ASSETS, CACHE, QUARANTINE, NAMESPACES})
FILES = frozenset({SEAL, LOCK, *database_files(DATABASE), *database_files(SALVAGED)})
