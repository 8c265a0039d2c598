"""Models: who finds the next words. The ones here need no server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import isawaitable
from itertools import count
from typing import Any, Protocol, runtime_checkable

from llambdao.openai._errors import IsOffline, ScriptEnded

__all__ = ["EchoModel", "FunctionModel", "Model", "ScriptedModel", "is_offline", "offline"]

Chat = Sequence[Mapping[str, Any]]
"""A conversation as `prepare_for_openai` writes it."""


@runtime_checkable
class Model(Protocol):
    """Whoever finds the next words of a conversation: all at once, or piece by piece.

    Anything with these two methods is a model. A subclass needs only `stream`. Its `str` is the
    name under which it is known; a key is never part of it.

    >>> class Shy(Model):
    ...     async def stream(self, messages):
    ...         yield "Um ..."
    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode
    >>> ask(OpenAINode(name="Ann", model=Shy()), "Hello?").content
    'Um ...'
    """

    def stream(self, messages: Chat) -> AsyncIterator[str]:
        """The next words, piece by piece: the pieces joined are the answer."""
        raise NotImplementedError

    async def complete(self, messages: Chat) -> str:
        """The next words, all at once."""
        return "".join([piece async for piece in self.stream(messages)])


class _Whole(Model):
    """A model that knows its whole answer before it begins to speak."""

    async def stream(self, messages: Chat) -> AsyncIterator[str]:
        """The answer word by word."""
        for piece in re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", await self.complete(messages)):
            yield piece

    async def complete(self, messages: Chat) -> str:
        """The answer."""
        raise NotImplementedError

    def __str__(self) -> str:
        return type(self).__name__.removesuffix("Model").lower()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ScriptedModel(_Whole):
    """Says its lines in order, and keeps what it was sent in `requests`; for tests.

    An exception among the lines is raised when its turn comes. After the last line: `ScriptEnded`.

    >>> from llambdao import ask
    >>> from llambdao.openai import OpenAINode, ScriptedModel
    >>> model = ScriptedModel("Hello!", "Goodbye!")
    >>> ask(OpenAINode(name="Ann", model=model), "Hi").content
    'Hello!'
    >>> model.requests[0][-1]
    {'role': 'user', 'content': 'Hi'}
    """

    def __init__(self, *lines: str | Exception) -> None:
        for line in lines:
            if not isinstance(line, str | Exception):
                raise TypeError(
                    f"a script is made of lines, ScriptedModel('Hello', ...), but got {line!r:.80}"
                )
        self.lines = lines
        self.requests: list[Chat] = []

    async def complete(self, messages: Chat) -> str:
        """The next line."""
        self.requests.append(messages)
        if len(self.requests) > len(self.lines):
            asked = str(messages[-1]["content"]) if messages else ""
            raise ScriptEnded(
                f"the script has {len(self.lines)} lines, and this is request number"
                f" {len(self.requests)}: {asked!r:.80}; give ScriptedModel another line"
            )
        line = self.lines[len(self.requests) - 1]
        if isinstance(line, Exception):
            raise line
        return line

    def __repr__(self) -> str:
        return f"ScriptedModel({', '.join(map(repr, self.lines))})"


class EchoModel(_Whole):
    """Says what was last said to it: words in, words out, with nothing to set up.

    >>> from llambdao import ask
    >>> from llambdao.openai import EchoModel, OpenAINode
    >>> ask(OpenAINode(name="Ann", model=EchoModel()), "Hello?").content
    'Hello?'
    """

    async def complete(self, messages: Chat) -> str:
        """The last words of anybody else."""
        return next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")


class FunctionModel(Model):
    """A function as a model: it takes the conversation and returns the answer.

    It may be a plain function or a coroutine function that returns a `str`, or an async generator
    function that yields pieces.

    >>> from llambdao import ask
    >>> from llambdao.openai import FunctionModel, OpenAINode
    >>> model = FunctionModel(lambda messages: f"I read {len(messages)} items.")
    >>> ask(OpenAINode(name="Ann", model=model), "Hello").content
    'I read 2 items.'
    """

    def __init__(self, function: Callable[[Chat], Any]) -> None:
        if not callable(function):
            raise TypeError(
                "FunctionModel takes a function of the messages, FunctionModel(f), but got"
                f" {function!r:.80}"
            )
        self.function = function

    async def stream(self, messages: Chat) -> AsyncIterator[str]:
        """What the function gives, in its pieces."""
        given = self.function(messages)
        if hasattr(given, "__aiter__"):
            try:
                async for piece in given:
                    yield self._words(piece)
            finally:
                if hasattr(given, "aclose"):
                    await given.aclose()
        else:
            yield self._words(await given if isawaitable(given) else given)

    def _words(self, given: Any) -> str:
        if not isinstance(given, str):
            raise TypeError(f"{self} must give a str, or an async iterator of str: {given!r:.80}")
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
