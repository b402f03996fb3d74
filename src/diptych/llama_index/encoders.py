"""Models of LlamaIndex, of whatever kind, as encoders of diptych."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings.utils import EmbedType, resolve_embed_model

from diptych.encoders import FunctionEncoder
from diptych.errors import InvalidArgument
from diptych.llama_index.embedding import DiptychMultiModalEmbedding
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["Model", "encoders_of_models"]

Model = EmbedType | TextEncoder | ImageEncoder | None


def encoders_of_models(
    embed_model: Model, image_embed_model: Model
) -> tuple[TextEncoder | None, ImageEncoder | None]:
    """Return the encoders of texts and of pictures; the same when one model is for both.

    Raises:
        InvalidArgument: Something is no model.
    """
    text = _encoder(embed_model)
    same = image_embed_model is None and not isinstance(embed_model, DiptychMultiModalEmbedding)
    image = text if same else _encoder(image_embed_model or embed_model, of_pictures=True)
    return (
        text if isinstance(text, TextEncoder) else None,
        image if isinstance(image, ImageEncoder) else None,
    )


def _encoder(model: Model, *, of_pictures: bool = False) -> Any:
    """Return a model of any kind as an encoder of diptych."""
    if model is None or isinstance(model, TextEncoder | ImageEncoder):
        return model
    if not isinstance(model, BaseEmbedding | str) and not hasattr(model, "embed_query"):
        raise InvalidArgument(
            f"A model was given as {type(model).__name__}; expected a LlamaIndex embedding, an encoder "
            "of diptych, or the name of a model."
        )
    resolved = resolve_embed_model(model)
    if isinstance(resolved, DiptychMultiModalEmbedding):
        return resolved.image_encoder if of_pictures else resolved.text_encoder
    return FunctionEncoder.from_llama_index(resolved)
