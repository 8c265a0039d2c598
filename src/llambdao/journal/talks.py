"""Async handlers under a journal: stepped without a task, so that they can be replayed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from itertools import count
from types import GeneratorType
from typing import Any, TypeVar

from llambdao.kernel.activation import Activation
from llambdao.kernel.dispatch import ASYNC_GENERATOR
from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Message
from llambdao.kernel.scheduler import Scheduler
from llambdao.kernel.turn import IN_TASK
from llambdao.kernel.waits import OVER, Call, Tell, Wait

__all__ = ["LeafCall", "Stepped", "leaf", "start"]

F = TypeVar("F", bound=Callable[..., Any])


def leaf(function: F) -> F:
    """Mark an async handler that awaits what is no wait of ours: a socket, a library, a subprocess.

    Under a journal such a handler is done as one effect: what it was asked, then all it said, are
    recorded; it may reply and tell, but not ask; if the process dies before its end it begins
    again. Without a journal the mark changes nothing.

    >>> from llambdao import Node, ask
    >>> class Slow(Node):
    ...     @leaf
    ...     async def chat(self, message):
    ...         await asyncio.sleep(0)
    ...         return message.content
    >>> ask(Slow(), "done").content
    'done'
    """
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        raise Misused(f"@leaf marks an async handler, but got {function!r:.80}")
    vars(function)["__leaf__"] = True
    return function


def start(scheduler: Scheduler, act: Activation, source: Any, kind: int) -> Any:
    """An async handler as a talk."""
    if getattr(act.handler[0], "__leaf__", False):
        return Leaf(scheduler, act, source, kind)
    return Stepped(scheduler, act, source, kind)


class Stepped:
    """What a coroutine or an async generator says and awaits, in the shape of a generator.

    All it may await are our waits: anything else no replay could bring back.
    """

    def __init__(self, scheduler: Scheduler, act: Activation, source: Any, kind: int) -> None:
        self.scheduler, self.act, self.source = scheduler, act, source
        self.is_speaker = kind == ASYNC_GENERATOR
        self.step: Any = None if self.is_speaker else source
        self.is_stepped = False

    def send(self, value: Any) -> Any:
        """Go on with this value, until it says something, waits or ends."""
        if self.step is None:
            self.step, value = self.source.asend(value), None
        return self._go(self.step.send, value)

    def throw(self, error: BaseException) -> Any:
        """Go on with this error."""
        if self.step is None:
            self.step = self.source.athrow(error)
            return self._go(self.step.send, None)
        return self._go(self.step.throw, error)

    def close(self) -> None:
        """Clean up."""
        if not self.is_speaker:
            self.source.close()
            return
        closing = self.source.aclose() if self.step is None else self.step
        try:
            self._in_turn(closing.send if self.step is None else closing.throw,
                          None if self.step is None else GeneratorExit())  # fmt: skip
        except (StopIteration, StopAsyncIteration, GeneratorExit, asyncio.CancelledError):
            return
        raise Misused(f"{self.act} awaits while it is cancelled; clean up without waiting")

    def awaited(self, wait: Wait) -> Generator[Any, Any, Any]:
        """What `await wait` does."""
        if not self.is_stepped:
            wait.state = OVER
            raise Misused(
                f"{wait} was awaited in a task that {self.act} has started, which no journal can"
                " bring back; several at once are `await all_of(a, b)`, with a time limit"
                " `await any_of(a, sleep(5))`"
            )
        return (yield wait)

    def _go(self, go_on: Callable[[Any], Any], value: Any) -> Any:
        while True:
            try:
                said = self._in_turn(go_on, value)
            except StopIteration as stop:
                if not self.is_speaker:
                    raise
                self.step = None
                return stop.value
            except StopAsyncIteration:
                raise StopIteration(None) from None
            if isinstance(said, Wait):
                return said
            if hasattr(said, "_asyncio_future_blocking"):
                said._asyncio_future_blocking = False
            go_on, value = self.step.throw, Misused(
                f"{self.act.line()} awaits {said!r:.80}, which no journal can bring back: do it"
                " in a call, `await call(f, ...)`, or mark the handler with @leaf"
            )  # fmt: skip

    def _in_turn(self, go_on: Callable[[Any], Any], value: Any) -> Any:
        token = IN_TASK.set(self)
        self.is_stepped = True
        try:
            return go_on(value)
        finally:
            self.is_stepped = False
            IN_TASK.reset(token)


class LeafCall(Call):
    """A leaf handler, done as one effect."""


class Aside:
    """What a leaf has of its scheduler: the time, and chances of its own, which nobody replays."""

    home = None

    def __init__(self, scheduler: Scheduler) -> None:
        self.now, self.salt = scheduler.now, f"{scheduler.salt}/leaf"
        self.serial = count(1).__next__


class Leaf:
    """The talk of a leaf: one call, then all that it said."""

    def __init__(self, scheduler: Scheduler, act: Activation, source: Any, kind: int) -> None:
        self.home, self.act, self.source, self.kind = scheduler, act, source, kind
        self.scheduler = Aside(scheduler)
        self.words: Any = None
        self.is_begun = self.is_called = False

    def send(self, value: Any) -> Any:
        """Begin, or say the next of what it said."""
        if not self.is_begun:
            self.is_begun = self.act.running = True
            self.home.mailboxes.hold(self.act)
            function = self.act.handler[0]
            return LeafCall(function=self._run, args=(), options={"name": function.__qualname__})
        if self.words is None:
            self.words = iter(value)
            self.act.running = False
        for word in self.words:
            return Tell(*word) if isinstance(word, tuple) else word
        raise StopIteration

    def throw(self, error: BaseException) -> Any:
        """It failed."""
        self.act.running = False
        raise error

    def close(self) -> None:
        """Clean up."""
        if not self.is_called and self.kind != ASYNC_GENERATOR:
            self.source.close()

    async def _run(self, name: str) -> list[Any]:
        """Run the handler to its end: what it said, and told."""
        self.is_called = True
        IN_TASK.set(self)
        words: list[Any] = []
        if self.kind == ASYNC_GENERATOR:
            source: AsyncIterator[Any] = self.source
            async for word in source:
                self._keep(words, word)
        else:
            self._keep(words, await self.source)
        return words

    def awaited(self, wait: Wait) -> Generator[Any, Any, Any]:
        """What `await wait` does: a leaf may not."""
        wait.state = OVER
        raise Misused(f"{self.act} is a @leaf, which may reply and tell, but not wait for {wait}")

    def _keep(self, words: list[Any], word: Any) -> None:
        if word is None:
            return
        if isinstance(word, Tell):
            word.state = OVER
            word = (word.node, word.words, word.intent)
        elif isinstance(word, list | tuple | GeneratorType):
            for one in word:
                self._keep(words, one)
            return
        elif not isinstance(word, str | Message):
            raise Misused(
                f"{self.act.line()} said {word!r:.80}; a @leaf may reply and tell, but not ask"
            )
        words.append(word)
