"""Models: who finds the next words. The ones here need no server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import isawaitable, signature
from itertools import count
from typing import Any, Protocol, TypeAlias, runtime_checkable

from llambdao.openai._calls import Answer, Piece, Tool, ToolCall, Usage, collect, pieces
from llambdao.openai._errors import IsOffline, ScriptEnded

__all__ = ["EchoModel", "FunctionModel", "Model", "ScriptedModel", "is_offline", "offline"]

Chat = Sequence[Mapping[str, Any]]
"""A conversation as `prepare_for_openai` writes it."""

Line: TypeAlias = Piece | Answer | Exception | tuple[Piece | Exception, ...]
"""What a `ScriptedModel` says to one request."""


@runtime_checkable
class Model(Protocol):
    """Whoever finds the next words of a conversation: all at once, or piece by piece.

    A subclass needs only `stream`. One that is to call tools or to give typed replies takes two
    keywords more, `stream(self, messages, *, tools=(), says=None)`, and yields a `ToolCall` for
    each call; one that knows what it cost yields a `Usage`. Its `str` is the name under which it
    is known; a key is never part of it.

    >>> class Shy(Model):
    ...     async def stream(self, messages):
    ...         yield "Um ..."
    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode
    >>> ask(OpenAINode(name="Ann", model=Shy()), "Hello?").content
    'Um ...'
    """

    def stream(self, messages: Chat, *_: Any, **asked: Any) -> AsyncIterator[Piece]:
        """The answer, piece by piece: words as they come, whole calls, what it cost.

        `tools` are those it may call; `says` is a dict of the `name` and the JSON `schema` that
        its words are to fit.
        """
        raise NotImplementedError

    async def answer(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer, all at once; `CannotDo` if it is asked for more than `stream` takes."""
        return await collect(pieces(self, messages, tools=tools, says=says))

    async def complete(self, messages: Chat) -> str:
        """The words of the answer, all at once."""
        return (await self.answer(messages)).text


class _Whole(Model):
    """A model that knows all its words before it begins to speak."""

    async def stream(self, messages: Chat, **asked: Any) -> AsyncIterator[Piece]:
        """The answer word by word."""
        for word in _words((await self.answer(messages, **asked)).text):
            yield word

    async def answer(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer."""
        raise NotImplementedError

    def __str__(self) -> str:
        return type(self).__name__.removesuffix("Model").lower()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _words(text: str) -> list[str]:
    """The text in words, each with the blanks before it."""
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", text)


class ScriptedModel(Model):
    """Says its lines in order, and keeps what it was sent in `requests`; for tests.

    A line is what one request gets: words, a `ToolCall`, a whole `Answer`, an exception, which is
    raised, or a tuple of such pieces, each of which comes by itself. With `usage`, a `Usage`, each
    request costs as much, unless its line says otherwise. `asked` holds the `tools` and `says` of
    each request. After the last line: `ScriptEnded`.

    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode, ScriptedModel
    >>> model = ScriptedModel("Hello!", ("Good", "bye!"))
    >>> ask(OpenAINode(name="Ann", model=model), "Hi").content
    'Hello!'
    >>> model.requests[0][-1]
    {'role': 'user', 'content': 'Hi'}
    >>> model.left
    1
    """

    def __init__(self, *lines: Line, usage: Usage | None = None) -> None:
        for line in lines:
            for piece in line if isinstance(line, tuple) else (line,):
                if not isinstance(piece, str | ToolCall | Usage | Answer | Exception):
                    raise TypeError(
                        "a script is made of lines, ScriptedModel('Hello', ToolCall(...), ...), a"
                        f" tuple being the pieces of one, but got {piece!r:.80}"
                    )
        self.lines = lines
        self.usage = usage
        self.requests: list[Chat] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def left(self) -> int:
        """How many lines have not been said yet."""
        return max(len(self.lines) - len(self.requests), 0)

    async def stream(self, messages: Chat, **asked: Any) -> AsyncIterator[Piece]:
        """The next line: words come one by one, the pieces of a tuple as they are."""
        line = self._next(messages, asked)
        if isinstance(line, tuple):
            given: list[Any] = list(line)
        elif isinstance(line, Answer):
            given = [*_words(line.text), *line.calls, *([line.usage] if line.usage else ())]
        else:
            given = [*_words(line)] if isinstance(line, str) else [line]
        if self.usage is not None and not any(isinstance(piece, Usage) for piece in given):
            given.append(self.usage)
        for piece in given:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def _next(self, messages: Chat, asked: Mapping[str, Any]) -> Line:
        self.requests.append(messages)
        self.asked.append({"tools": (), "says": None, **asked})
        if len(self.requests) > len(self.lines):
            last = str(messages[-1]["content"]) if messages else ""
            raise ScriptEnded(
                f"the script has {len(self.lines)} lines, and this is request number"
                f" {len(self.requests)}: {last!r:.80}; give ScriptedModel another line"
            )
        return self.lines[len(self.requests) - 1]

    def __str__(self) -> str:
        return "scripted"

    def __repr__(self) -> str:
        return f"ScriptedModel({', '.join(map(repr, self.lines))})"


class EchoModel(_Whole):
    """Says what was last said to it: words in, words out, with nothing to set up.

    It calls no tools. Asked for a typed reply it still echoes: say it the JSON it is to give.

    >>> from llambdao import ask
    >>> from llambdao.openai import EchoModel, OpenAINode
    >>> ask(OpenAINode(name="Ann", model=EchoModel()), "Hello?").content
    'Hello?'
    """

    async def answer(
        self,
        messages: Chat,
        *,
        tools: Sequence[Tool] = (),
        says: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The last words of anybody else."""
        return Answer(next((str(m["content"]) for m in reversed(messages) if _heard(m)), ""))


def _heard(item: Mapping[str, Any]) -> bool:
    return item["role"] in ("user", "tool")


class FunctionModel(Model):
    """A function as a model: it takes the conversation and returns the answer.

    It may be a plain function or a coroutine function that returns a `str`, a `ToolCall`, an
    `Answer` or a list of pieces, or an async generator function that yields pieces. If it has
    arguments called `tools` and `says` it is told what it may call, and what it is to give.

    >>> from llambdao import ask
    >>> from llambdao.openai import FunctionModel, OpenAINode
    >>> model = FunctionModel(lambda messages: f"I read {len(messages)} items.")
    >>> ask(OpenAINode(name="Ann", model=model), "Hello").content
    'I read 2 items.'
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(
                "FunctionModel takes a function of the messages, FunctionModel(f), but got"
                f" {function!r:.80}"
            )
        self.function = function
        try:
            self._takes = {*signature(function).parameters} & {"tools", "says"}
        except ValueError:  # of some functions written in C
            self._takes = set()

    async def stream(self, messages: Chat, **asked: Any) -> AsyncIterator[Piece]:
        """What the function gives, in its pieces."""
        told = {"tools": (), "says": None, **asked}
        given = self.function(messages, **{name: told[name] for name in sorted(self._takes)})
        if hasattr(given, "__aiter__"):
            try:
                async for piece in given:
                    yield self._piece(piece)
            finally:
                if hasattr(given, "aclose"):
                    await given.aclose()
            return
        whole = await given if isawaitable(given) else given
        if isinstance(whole, Answer):
            whole = [whole.text, *whole.calls, *([whole.usage] if whole.usage else ())]
        for piece in whole if isinstance(whole, list | tuple) else [whole]:
            yield self._piece(piece)

    def _piece(self, given: Any) -> Piece:
        if not isinstance(given, str | ToolCall | Usage):
            raise TypeError(
                f"{self} must give a str, a ToolCall, an Answer, a list of such pieces, or an async"
                f" iterator of them: {given!r:.80}"
            )
        return given

    def __str__(self) -> str:
        return getattr(self.function, "__qualname__", "function")

    def __repr__(self) -> str:
        return f"FunctionModel({self})"


_forbidden: set[int] = set()
_numbers = count()


@contextmanager
def offline() -> Iterator[None]:
    """Inside it, any real request to a model raises `IsOffline`, from whatever thread or task.

    A model that is named by nothing (`model=None`) is the offline voice meanwhile.

    >>> from llambdao.openai import model_from
    >>> with offline():
    ...     model_from("ollama:llama3").check()
    Traceback (most recent call last):
    ...
    llambdao.openai._errors.IsOffline: ...
    """
    number = next(_numbers)
    _forbidden.add(number)
    try:
        yield
    finally:
        _forbidden.discard(number)


def is_offline() -> bool:
    """Whether this is inside `with offline()`."""
    return bool(_forbidden)


def must_be_online(what: str) -> None:
    """Raise `IsOffline`, unless real requests are allowed."""
    if _forbidden:
        raise IsOffline(
            f"{what} would be asked for real, but this runs inside `with offline()`; give the node"
            ' a ScriptedModel or model="offline", or leave the block'
        )
