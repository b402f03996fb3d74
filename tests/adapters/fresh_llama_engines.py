"""Every public method of the engines, each the first call of LlamaIndex in a process of its own.

    python fresh_llama_engines.py FOLDER

An earlier call leaves a trace of LlamaIndex's callbacks behind, in which a later one finds what it misses.
So each method runs in a child that was forked before any call was made. Writes a line for each.
"""

import asyncio
import base64
import contextvars
import os
import sys
from pathlib import Path

from llama_index.core.llms import MockLLM
from llama_index.core.schema import ImageDocument, QueryBundle
from manual import RED

from diptych import ToyEncoder
from diptych.llama_index import DiptychMultiModalIndex, DiptychRetrieverTool

CHATS = ("context", "condense_plus_context", "condense_question", "simple")


class ChatLLM(MockLLM):
    """Answers through LlamaIndex's own methods, with their callbacks; a picture counts 2,125 tokens."""

    @property
    def metadata(self):
        return super().metadata.model_copy(update={"context_window": 128_000})


def index(folder):
    picture = base64.b64encode(RED).decode()
    document = ImageDocument(text="a red pump", image=picture, id_="pump")
    return DiptychMultiModalIndex.from_documents([document], embed_model=ToyEncoder())


def llm():
    return ChatLLM(is_chat_model=True, max_tokens=8)


def spent(response):
    """Read a stream to its end."""
    if hasattr(response, "response_gen"):
        return "".join(response.response_gen)
    return str(response)


async def aspent(response):
    if hasattr(response, "async_response_gen"):
        stream = response.async_response_gen()
        return "".join([token async for token in stream])
    return str(response)


def calls(folder):
    """Return each method by its name, as a function without arguments."""
    path = str(folder / "question.png")
    bundle = QueryBundle("a red pump", image_path=path)
    found = {}

    def retriever():
        return index(folder).as_retriever()

    for name, asked in {
        "retrieve": "red", "text_retrieve": "red", "text_to_image_retrieve": "red",
        "image_to_image_retrieve": path,
    }.items():  # fmt: skip
        found[f"retriever.{name}"] = lambda n=name, q=asked: getattr(retriever(), n)(q)
        found[f"retriever.a{name}"] = lambda n=name, q=asked: asyncio.run(
            getattr(retriever(), f"a{n}")(q)
        )
    for streaming in (False, True):

        def engine(streaming=streaming):
            return index(folder).as_query_engine(llm(), streaming=streaming)

        async def asynchronous(method, *given, engine=engine):
            made = engine()
            return await aspent(await getattr(made, method)(*given))

        async def synthesized(engine=engine):
            made = engine()
            return await aspent(await made.asynthesize(bundle, await made.aretrieve(bundle)))

        def at_once(engine=engine):
            made = engine()
            return spent(made.synthesize(bundle, made.retrieve(bundle)))

        kind = "streaming engine" if streaming else "engine"
        found |= {
            f"{kind}.query": lambda e=engine: spent(e().query("red")),
            f"{kind}.image_query": lambda e=engine: spent(e().image_query(path, "what?")),
            f"{kind}.synthesize": at_once,
            f"{kind}.aquery": lambda a=asynchronous: asyncio.run(a("aquery", bundle)),
            f"{kind}.aimage_query": lambda a=asynchronous: asyncio.run(a("aimage_query", path)),
            f"{kind}.asynthesize": lambda s=synthesized: asyncio.run(s()),
        }
    for mode in CHATS:

        def chat(mode=mode):
            return index(folder).as_chat_engine(mode, llm())

        async def achat(chat=chat):
            return str(await chat().achat("red"))

        async def astream(chat=chat):
            response = await chat().astream_chat("red")
            return "".join([token async for token in response.async_response_gen()])

        found |= {
            f"{mode}.chat": lambda c=chat: str(c().chat("red")),
            f"{mode}.stream_chat": lambda c=chat: spent(c().stream_chat("red")),
            f"{mode}.achat": lambda a=achat: asyncio.run(a()),
            f"{mode}.astream_chat": lambda a=astream: asyncio.run(a()),
        }
    tool = DiptychRetrieverTool.from_defaults
    found["tool.call"] = lambda: tool(retriever()).call("red")
    found["tool.acall"] = lambda: asyncio.run(tool(retriever()).acall("red"))
    return found


def main(folder):
    (folder / "question.png").write_bytes(RED)
    # What is imported late is imported once, in a context of its own, which has its own trace.
    contextvars.copy_context().run(
        lambda: str(index(folder).as_chat_engine("best", llm()).chat("x"))
    )
    for name, call in calls(folder).items():
        sys.stdout.flush()
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            call()
            print(name, "ok")
        except BaseException as error:
            print(name, repr(error))
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
