"""The one comparison of models that stands before every list of vectors.

Two vectors are comparable when one model made both. An index is opened with models, and another process may
give its documents the vectors of other ones meanwhile (``reembed``); a model may also call itself the same
and be another one. So every search and every write passes this comparison with the state that it works on.
It costs a few comparisons of identity while nothing has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from diptych.errors import EncoderMismatch
from diptych.index.compatible import check_aligner, check_spaces, named
from diptych.index.embed import Models
from diptych.index.probe import check_probe
from diptych.storage import Space

__all__ = ["Door"]

_log = logging.getLogger(__name__)

ENCODED = ("text", "image")
"""The lists whose vectors an encoder makes; the cross-modal ones are made of both."""


class Door:
    """Compares the models of one object with those of the vectors, and remembers what it has compared.

    Args:
        path: The folder of the index, for messages.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entered: tuple[object, ...] = ()
        self._first: dict[str, Space] = {}
        self._probed: dict[str, tuple[object, ...]] = {}
        self._silent: dict[str, tuple[object, ...]] = {}

    def enter(self, spaces: Mapping[str, Space], models: Models) -> None:
        """Compare what the models say of themselves with the spaces of the vectors.

        Raises:
            EncoderMismatch: A model is of another space, or the aligner maps between other ones.
        """
        now = (spaces, models.text, models.image, models.fusion, models.aligner)
        if _are(self._entered, now):
            return
        check_spaces(spaces, models, self._path)
        check_aligner(spaces, models)
        for name, space in spaces.items():
            self._first.setdefault(name, space)
        self._entered = now

    def probe(self, spaces: Mapping[str, Space], models: Models, names: Iterable[str]) -> None:
        """Compare what the encoders of some lists make of known inputs, before they encode others.

        Raises:
            EncoderMismatch: A model calls itself the same and is another one.
        """
        for name in _encoded(names):
            now = (spaces, getattr(models, name))
            if not _are(self._probed.get(name, ()), now):
                check_probe(name, spaces, models, self._path)
                self._probed[name] = now

    def compare(self, spaces: Mapping[str, Space], models: Models, name: str) -> None:
        """Compare once more before the vectors of a list are read, to be compared with given ones.

        A vector that the caller gives was made by the encoder of this object, as far as anybody knows, so
        that the encoder is probed. One that is missing, or cannot encode, cannot be; then the list must
        have the space that it had when this object saw it first.

        Raises:
            EncoderMismatch: The vectors are of another model.
        """
        for encoded in _encoded([name]):
            now = (spaces, getattr(models, encoded))
            if _are(self._probed.get(encoded, ()), now):
                continue
            if now[1] is not None and not _are(self._silent.get(encoded, ()), now):
                try:
                    self.probe(spaces, models, [encoded])
                    continue
                except EncoderMismatch:
                    raise
                except Exception as error:
                    _log.info("The %s encoder could not be probed: %s", encoded, error)
                    self._silent[encoded] = now
            self._check_first(spaces, encoded)
        if models.text is None or models.image is None:
            self._check_first(spaces, name)

    def _check_first(self, spaces: Mapping[str, Space], name: str) -> None:
        before, now = self._first.get(name), spaces.get(name)
        if before is None or now is None or (before == now and before.probe == now.probe):
            return
        raise EncoderMismatch(
            f"The vectors of {name}_index in {str(self._path)!r} were of {named(before)} when the index was "
            f"opened, and have been made anew since, with {named(now)}. A vector of the one cannot be "
            "compared with those of the other. Open it again, and give vectors of the new model."
        )


def _encoded(names: Iterable[str]) -> list[str]:
    """Return which encoders have a part in the vectors of some lists."""
    given = set(names)
    return [name for name in ENCODED if name in given or "cross_modal" in given]


def _are(known: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return len(known) == len(now) and all(a is b for a, b in zip(known, now, strict=True))
