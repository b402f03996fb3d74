"""A chat model for the examples with LangChain: it answers from a list and keeps what it was sent."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import GenericFakeChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from material import lamp_in


class RecordingModel(GenericFakeChatModel):
    """One of LangChain's fake models, which keeps the messages of every call."""

    seen: list[list[BaseMessage]]

    @classmethod
    def of(cls, *answers: str | AIMessage) -> RecordingModel:
        """Return a model that gives these answers, one a call."""
        messages = [a if isinstance(a, AIMessage) else AIMessage(a) for a in answers]
        return cls(messages=iter(messages), seen=[])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.seen.append(list(messages))
        return super()._generate(messages, *args, **kwargs)

    def bind_tools(
        self, tools: Sequence[Any], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model itself, whose answers are given and not thought up."""
        return self

    @property
    def calls(self) -> list[list[dict[str, Any]]]:
        """The messages of every call as JSON: texts as they are, pictures by what they show."""
        return [[_plain(message) for message in messages] for messages in self.seen]


def _plain(message: BaseMessage) -> dict[str, Any]:
    blocks: list[Any] = []
    for block in message.content_blocks:
        if block["type"] == "text":
            blocks.append(block["text"])
        elif block["type"] == "image":
            content = block.get("base64", "")
            blocks.append({"lamp": lamp_in(base64.b64decode(content)), "base64": content})
    return {"role": message.type, "blocks": blocks}
