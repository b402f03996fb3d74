"""diptych's encoders as LangChain ``Embeddings``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings

from diptych.checks import list_of
from diptych.errors import InvalidArgument
from diptych.langchain.convert import to_image
from diptych.protocols import ImageEncoder, TextEncoder

__all__ = ["DiptychEmbeddings"]


class DiptychEmbeddings(Embeddings):
    """Embeds texts, and pictures under the name that LangChain stores look for: ``embed_image``.

    Args:
        text_encoder: Embeds texts. When it is left out, the image encoder does, if it can.
        image_encoder: Embeds pictures. When it is left out, the text encoder does, if it can. A
            store that compares texts with pictures, as Chroma does, needs one model for both.

    Raises:
        InvalidArgument: Nothing embeds texts.
    """

    def __init__(
        self, text_encoder: TextEncoder | None = None, image_encoder: ImageEncoder | None = None
    ) -> None:
        for encoder in (text_encoder, image_encoder):
            if text_encoder is None and isinstance(encoder, TextEncoder):
                text_encoder = encoder
            if image_encoder is None and isinstance(encoder, ImageEncoder):
                image_encoder = encoder
        if not isinstance(text_encoder, TextEncoder):
            raise InvalidArgument(
                "DiptychEmbeddings has nothing that encodes texts. Pass text_encoder=, or an image "
                "encoder that also encodes texts, such as OpenClipEncoder."
            )
        self.text_encoder: TextEncoder = text_encoder
        self.image_encoder = image_encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one unit vector for each passage."""
        texts = list_of("texts", texts, str, "strings")
        rows: list[list[float]] = self.text_encoder.encode_document(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Return the unit vector of a question."""
        row: list[float] = self.text_encoder.encode_query([text])[0].tolist()
        return row

    def embed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """Return one unit vector for each picture.

        Args:
            uris: ``Blob`` objects, or what ``Image.of`` takes: paths, URIs, bytes, open files, arrays.

        Raises:
            InvalidArgument: There is no image encoder.
        """
        if self.image_encoder is None:
            raise InvalidArgument(
                "DiptychEmbeddings was made without an image encoder. Pass image_encoder=."
            )
        images = [to_image(uri) for uri in list_of("uris", uris, object, "pictures")]
        rows: list[list[float]] = self.image_encoder.encode_image(images).tolist()
        return rows
