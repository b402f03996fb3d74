"""A chat model for the examples with LlamaIndex: it answers from a list and keeps what it was sent."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ImageBlock,
    LLMMetadata,
    TextBlock,
)
from llama_index.core.llms import MockLLM
from pydantic import PrivateAttr

from material import lamp_in


class RecordingLLM(MockLLM):
    """LlamaIndex's mock model, which keeps the messages of every call."""

    _seen: list[list[ChatMessage]] = PrivateAttr(default_factory=list)
    _answers: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, *answers: str) -> None:
        super().__init__(is_chat_model=True)
        self._answers = list(answers)

    @property
    def metadata(self) -> LLMMetadata:
        """Say that it is a chat model with room for pictures."""
        return LLMMetadata(context_window=128_000, is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Keep the messages and give the next answer, the last one again when there is no other."""
        self._seen.append(list(messages))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return ChatResponse(message=ChatMessage(answer, role="assistant"))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt as a chat of one message."""
        return CompletionResponse(text=str(self.chat([ChatMessage(prompt)]).message.content))

    @property
    def calls(self) -> list[list[dict[str, Any]]]:
        """The messages of every call as JSON: texts as they are, pictures by what they show."""
        return [[_plain(message) for message in messages] for messages in self._seen]


def _plain(message: ChatMessage) -> dict[str, Any]:
    blocks: list[Any] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            blocks.append(block.text)
        elif isinstance(block, ImageBlock):
            data = block.resolve_image().read()
            blocks.append({"lamp": lamp_in(data), "base64": base64.b64encode(data).decode()})
    return {"role": message.role.value, "blocks": blocks}
