"""What can be said of an index besides its encoders and its folder."""

from __future__ import annotations

from typing import TypedDict

from diptych.protocols import Aligner, FusionModel
from diptych.storage import IndexKind

__all__ = ["IndexOptions"]


class IndexOptions(TypedDict, total=False):
    """Keyword arguments of ``MultimodalIndex`` and its ``open``, for classes that pass them on."""

    fusion_model: FusionModel | None
    aligner: Aligner | None
    kind: IndexKind
    namespace: str | None
    lock_timeout: float
