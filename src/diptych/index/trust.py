"""Which models this user has named for which index, kept with the user and not with the index.

An index remembers its models by name, and the name may be a folder or a model on a hub. Whoever hands over
an index can write any name into it, so a name is followed only when the same user has given it for the
same index before. That is noted in the user's own folder, where nobody else writes.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from diptych.encoders.named import needs_word
from diptych.storage.cache import user_folder

__all__ = ["is_trusted", "trust"]

_log = logging.getLogger(__name__)


def is_trusted(identity: str, models: str) -> bool:
    """Whether models may be loaded because an index remembers them.

    Args:
        identity: What tells the index from every other one.
        models: Their names, as :func:`diptych.encoders.named.load_encoders` takes them.
    """
    return not needs_word(models) or _note(identity, models).is_file()


def trust(identity: str, models: str) -> None:
    """Note that the user has named these models for an index.

    Where nothing can be noted, they are to be named again the next time.
    """
    if is_trusted(identity, models):
        return
    path = _note(identity, models)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch()
    except OSError as error:
        _log.info("The models of an index were not noted: %s", error)


def _note(identity: str, models: str) -> Path:
    digest = hashlib.sha256(f"{identity}\n{models}".encode(errors="surrogatepass")).hexdigest()
    return user_folder() / "models" / digest
