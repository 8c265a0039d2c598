"""What passes between a node and its model: tools, calls of them, usage, answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, TypeAlias

from llambdao.openai._errors import CannotDo
from llambdao.runtime.recorded import recorded

__all__ = ["Answer", "Piece", "Tool", "ToolCall", "Usage", "answered", "collect", "pieces"]


@recorded(kind="llambdao.openai.Tool")
@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call: its name, what it does, and its arguments' JSON schema.

    Servers take names of letters, digits, `_` and `-`, at most 64 of them. `strict` asks the
    server to keep to the schema to the letter, where it can.

    >>> Tool("add", "Adds two numbers.", {"type": "object", "properties": {}}).name
    'add'
    """

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False


@recorded(kind="llambdao.openai.ToolCall")
@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish that a tool be called; `arguments` is JSON text just as the model wrote it.

    It may be no JSON at all: models make mistakes.

    >>> ToolCall("call_1", "add", '{"a": 1, "b": 2}').arguments
    '{"a": 1, "b": 2}'
    """

    id: str
    name: str
    arguments: str


@recorded(kind="llambdao.openai.Usage")
@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens, as the server counted; `cached_tokens` are of the input.

    Usages add up; models of different names are then both named.

    >>> Usage("llama3", 10, 5) + Usage("llama3", 1, 1)
    Usage(model='llama3', input_tokens=11, output_tokens=6, cached_tokens=0, requests=2)
    """

    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    requests: int = 1

    @property
    def tokens(self) -> int:
        """Those read and those written."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        models = dict.fromkeys([*self.model.split(", "), *other.model.split(", ")])
        return Usage(
            ", ".join(models),
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.requests + other.requests,
        )


@recorded(kind="llambdao.openai.Answer")
@dataclass(frozen=True, slots=True)
class Answer:
    """All that a model gave for one request: its words, its calls, and what it cost, if known.

    >>> Answer("Hello.")
    Answer(text='Hello.', calls=(), usage=None)
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None


Piece: TypeAlias = str | ToolCall | Usage
"""What a model's `stream` yields: words as they come, each call once it is whole, the usage."""


async def collect(stream: AsyncIterator[Piece]) -> Answer:
    """The whole answer that comes in these pieces; the stream is closed."""
    text: list[str] = []
    calls: list[ToolCall] = []
    usage: Usage | None = None
    try:
        async for piece in stream:
            if isinstance(piece, str):
                text.append(piece)
            elif isinstance(piece, ToolCall):
                calls.append(piece)
            elif isinstance(piece, Usage):
                usage = piece if usage is None else usage + piece
            else:
                raise TypeError(
                    "a model's stream yields str, ToolCall and Usage, but this one yielded"
                    f" {piece!r:.80}"
                )
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    return Answer("".join(text), tuple(calls), usage)


def pieces(
    model: Any,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Tool] = (),
    says: Mapping[str, Any] | None = None,
) -> AsyncIterator[Piece]:
    """The pieces of any model's answer; `CannotDo` if it takes no `tools`, or no `says`.

    A model whose `stream` takes only the messages is asked for words only.
    """
    stream: AsyncIterator[Piece] = model.stream(
        messages, **_asked(model, model.stream, tools=tools, says=says)
    )
    return stream


async def answered(
    model: Any,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Tool] = (),
    says: Mapping[str, Any] | None = None,
) -> Answer:
    """The whole answer of any model: by its `answer`, its `complete`, or else its `stream`."""
    if hasattr(model, "answer"):
        asked = _asked(model, model.answer, tools=tools, says=says)
        answer: Answer = await model.answer(messages, **asked)
        return answer
    if not tools and says is None and hasattr(model, "complete"):
        return Answer(str(await model.complete(messages)))
    return await collect(pieces(model, messages, tools=tools, says=says))


def _asked(model: Any, method: Any, **wanted: Any) -> dict[str, Any]:
    """What is really wanted of it, as its method takes it."""
    asked = {name: value for name, value in wanted.items() if value}
    if asked:
        taken = signature(method).parameters
        if not any(one.kind is Parameter.VAR_KEYWORD for one in taken.values()):
            for name in asked:
                if name not in taken:
                    what = "tools" if name == "tools" else "typed replies (says=...)"
                    raise CannotDo(
                        f"{model} knows nothing of {what}: its {method.__name__} takes only"
                        f" ({', '.join(taken)}); write it as `async def {method.__name__}(self,"
                        " messages, *, tools=(), says=None)`, or ask it for neither;"
                        ' to go on without a server: model="offline"'
                    )
    return asked
