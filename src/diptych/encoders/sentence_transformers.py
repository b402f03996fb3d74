"""Any model that sentence-transformers loads, without its silent cut of long texts."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from diptych import optional
from diptych.encoders import _fingerprint, _windows
from diptych.encoders._again import again, sharing
from diptych.encoders._torch import check_batch_size, halving, pick_device
from diptych.errors import InvalidArgument
from diptych.vectors import Vectors, as_vectors

__all__ = ["SentenceTransformerEncoder"]


class SentenceTransformerEncoder:
    """Encodes texts with a sentence-transformers model.

    A text longer than the model reads is cut into overlapping windows, whose vectors are averaged;
    nothing is cut off. May be used from several threads. Code that a model brings along is never
    run, and weights that are pickled are never loaded: only safetensors.

    Args:
        model_name_or_path: A folder, or the name of a model on the Hugging Face hub. A name is
            downloaded when it is first used, unless ``local_files_only`` or ``HF_HUB_OFFLINE``.
        device: "auto" takes cuda, mps or cpu, the first that is there.
        batch_size: How many windows the model gets at once. Halved when a GPU runs out of memory.
        query_prompt: What to put before questions; what the model itself asks for by default, ""
            for nothing.
        document_prompt: The same for passages.
        revision: The commit, tag or branch of a model on the hub.
        local_files_only: Never to use the network.
        name: What to call the space to a person; the last part of the model's name by default.

    Raises:
        MissingExtra: sentence-transformers is not installed.
        InvalidArgument: No such model, or one that cannot be loaded; an impossible device or batch.
    """

    dim: int
    space: str
    fingerprint: str
    recipe: str

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str],
        *,
        device: str = "auto",
        batch_size: int = 64,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        revision: str | None = None,
        local_files_only: bool | None = None,
        name: str | None = None,
    ) -> None:
        needed_by = "SentenceTransformerEncoder"
        optional.require("sentence_transformers", needed_by=needed_by)
        check_batch_size(batch_size, needed_by=needed_by)
        self.device = pick_device(device, needed_by=needed_by)
        self.batch_size = batch_size
        source = os.fspath(model_name_or_path)
        self._model = _load(source, revision, bool(local_files_only))
        self._arguments: dict[str, Any] = {
            "model_name_or_path": _lasting(source),
            "device": device,
            "query_prompt": query_prompt,
            "document_prompt": document_prompt,
            "revision": revision,
            "local_files_only": local_files_only,
            "name": name,
        }
        has_options = any(o is not None for o in (query_prompt, document_prompt, revision, name))
        self.recipe = f"sentence-transformers:{_lasting(source)}" if not has_options else ""
        self._lock = threading.Lock()  # tokenizers keep their settings in themselves
        self._query_prompt = _prompt(self._model, query_prompt, "query")
        self._document_prompt = _prompt(self._model, document_prompt, "document", "passage")
        self._origin = f"SentenceTransformerEncoder {source!r}"
        weights = _fingerprint.weights_digest(self._model)
        probe = self._run([_fingerprint.PROBE_TEXT])  # on the CPU, the same everywhere
        self.dim = int(probe.shape[1])
        self.space = f"{name or Path(source).name}@{weights[:8]}"
        self.fingerprint = _fingerprint.digest_of(
            weights,
            self._tokens([_fingerprint.PROBE_TEXT]),
            _fingerprint.strongest(probe),
            self._model.max_seq_length,
            self._query_prompt,
            self._document_prompt,
        )
        self._model.to(self.device)

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` float32 unit rows for questions."""
        return self._encode(texts, self._query_prompt)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Return ``(len(texts), dim)`` float32 unit rows for passages."""
        return self._encode(texts, self._document_prompt)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the encoder: the model is loaded again, and compared."""
        return again, (
            type(self),
            {**self._arguments, "batch_size": self.batch_size},
            self.fingerprint,
        )

    def __copy__(self) -> Self:
        return sharing(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return sharing(self)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        if not len(texts):
            return np.zeros((0, self.dim), np.float32)
        with self._lock:
            windows = self._windows(_windows.clean(texts), prompt)
            # Windows of like length together, so that little is spent on padding.
            order = sorted(range(len(windows)), key=lambda i: -len(windows[i].text))
            in_order = [windows[i].text for i in order]
            parts = list(halving(in_order, self.batch_size, lambda b: self._run(b, prompt)))
        vectors = np.empty((len(windows), self.dim), np.float32)
        vectors[order] = np.concatenate(parts)
        return _windows.pool(vectors, windows, rows=len(texts), origin=self._origin)

    def _windows(self, texts: Sequence[str], prompt: str) -> list[_windows.Window]:
        longest = self._model.max_seq_length
        if not longest or longest == float("inf"):
            return [_windows.Window(i, text, 1) for i, text in enumerate(texts)]
        special = self._model.tokenizer.num_special_tokens_to_add()
        limit = longest - special - (self._count([prompt])[0] if prompt else 0)
        if limit < 1:
            raise InvalidArgument(
                f"{self._origin}: the prompt {prompt[:60]!r} leaves no room in the {longest} "
                "tokens that the model reads. Shorten it."
            )
        return _windows.windows_of(texts, limit=limit, count=self._count)

    def _count(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self._tokens(texts)]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        """Return the tokens of each text, without special ones."""
        tokenizer = self._model.tokenizer
        if not callable(tokenizer):  # a bare Tokenizer, as static embeddings have
            return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        encoded = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
        return list(encoded["input_ids"])

    def _run(self, texts: Sequence[str], prompt: str = "") -> Vectors:
        rows = self._model.encode(
            list(texts),
            prompt=prompt,
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        values = np.asarray(rows, np.float32)
        return as_vectors(values, rows=len(texts), dim=values.shape[-1], origin=self._origin)


def _lasting(source: str) -> str:
    """Return a name as it is, and a folder by its whole path."""
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def _load(source: str, revision: str | None, local_files_only: bool) -> Any:
    package: Any = optional.require("sentence_transformers", needed_by="SentenceTransformerEncoder")
    try:
        return package.SentenceTransformer(
            source,
            device="cpu",
            revision=revision,
            local_files_only=local_files_only,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InvalidArgument(
            f"The sentence-transformers model {source!r} could not be loaded: {error}. Expected a "
            "folder, or the name of a model on the hub, with weights in safetensors. Check the "
            "name; without a network, pass the folder of a downloaded model."
        ) from error


def _prompt(model: Any, given: str | None, *names: str) -> str:
    """Return the prompt that was given, or else the one that the model was trained with."""
    if given is not None:
        return given
    known = model.prompts or {}
    found = next((known[name] for name in names if known.get(name)), None)
    return str(found or known.get(model.default_prompt_name) or "")
