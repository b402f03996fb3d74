"""A chat model for LlamaIndex that keeps what it was sent, and what is read out of that."""

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    LLMMetadata,
    TextBlock,
)
from llama_index.core.llms import MockLLM
from pydantic import PrivateAttr


class RecordingLLM(MockLLM):
    """A chat model that answers "It is red." and keeps the messages it was sent."""

    _seen: list = PrivateAttr(default_factory=list)

    def __init__(self):
        super().__init__(is_chat_model=True)

    @property
    def seen(self):
        return self._seen

    @property
    def metadata(self):
        # LlamaIndex counts a picture as 2,125 tokens, and by default a model takes 3,900.
        return LLMMetadata(context_window=128_000, is_chat_model=True)

    def chat(self, messages, **kwargs):
        self._seen.append(list(messages))
        return ChatResponse(message=ChatMessage(content="It is red.", role="assistant"))

    async def achat(self, messages, **kwargs):
        return self.chat(messages, **kwargs)


def pictures(messages):
    blocks = [block for message in messages for block in message.blocks]
    return [b.resolve_image().read() for b in blocks if isinstance(b, ImageBlock)]


def words(messages):
    blocks = [block for message in messages for block in message.blocks]
    return "\n".join(b.text for b in blocks if isinstance(b, TextBlock))
