"""diptych's encoders as a LlamaIndex ``MultiModalEmbedding``."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.embeddings.multi_modal_base import MultiModalEmbedding
from llama_index.core.schema import ImageType
from pydantic import PrivateAttr

from diptych.errors import InvalidArgument
from diptych.protocols import ImageEncoder, TextEncoder
from diptych.types import Image

__all__ = ["DiptychMultiModalEmbedding"]

Embedding = list[float]


class DiptychMultiModalEmbedding(MultiModalEmbedding):
    """Embeds texts and pictures with encoders of diptych, in whole batches.

    Args:
        text_encoder: Embeds texts. When it is left out, the image encoder does, if it can.
        image_encoder: Embeds pictures. When it is left out, the text encoder does, if it can.
        options: Fields of LlamaIndex's ``BaseEmbedding``, such as ``embed_batch_size``.

    Raises:
        InvalidArgument: Nothing embeds texts.
    """

    _text: TextEncoder = PrivateAttr()
    _image: ImageEncoder | None = PrivateAttr(default=None)

    def __init__(
        self,
        text_encoder: TextEncoder | None = None,
        image_encoder: ImageEncoder | None = None,
        **options: Any,
    ) -> None:
        text: object = image_encoder if text_encoder is None else text_encoder
        image: object = text_encoder if image_encoder is None else image_encoder
        if not isinstance(text, TextEncoder):
            raise InvalidArgument(
                "DiptychMultiModalEmbedding has nothing that encodes texts. Pass text_encoder=, or an image "
                "encoder that also encodes texts, such as OpenClipEncoder."
            )
        super().__init__(**{"model_name": text.space, **options})
        self._text = text
        self._image = image if isinstance(image, ImageEncoder) else None

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex refers to the class."""
        return "DiptychMultiModalEmbedding"

    @property
    def text_encoder(self) -> TextEncoder:
        """What embeds texts."""
        return self._text

    @property
    def image_encoder(self) -> ImageEncoder | None:
        """What embeds pictures, if anything does."""
        return self._image

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        rows: list[Embedding] = self._text.encode_document(texts).tolist()
        return rows

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> Embedding:
        row: Embedding = self._text.encode_query([query])[0].tolist()
        return row

    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        if self._image is None:
            raise InvalidArgument(
                "DiptychMultiModalEmbedding was made without an image encoder. Pass image_encoder=."
            )
        images = [Image.of(picture) for picture in img_file_paths]
        rows: list[Embedding] = self._image.encode_image(images).tolist()
        return rows

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)
