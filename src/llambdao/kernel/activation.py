"""`Activation`: one run of a handler on one message, wherever it stands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from llambdao.kernel.dispatch import ASYNC_GENERATOR, COROUTINE
from llambdao.kernel.errors import Misused
from llambdao.kernel.waits import BEGUN, Wait, forgo

if TYPE_CHECKING:
    from llambdao.kernel.scheduler import Scheduler

__all__ = ["OUTSIDE", "PENDING", "TAIL", "Activation"]


class _Outside:
    """The hearer of those whom the caller outside listens to."""

    def __str__(self) -> str:
        return "the caller"


OUTSIDE: Any = _Outside()


class _Pending:
    """What a talk gives back while a task of its own is under way."""

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Any = _Pending()


class Activation(Struct, eq=False):
    """One run of a handler on one message, wherever it stands."""

    node: Any
    message: Any
    handler: Any
    parent: Any  # the wait that learns of its end; None for what nobody waits for
    hearer: Any  # who hears its replies: a wait, OUTSIDE, or None
    place: int  # its place there
    asker: Any  # the activation on whose behalf it runs
    depth: int
    fan: bool = False  # its parent is a fan: several run side by side
    more: bool = False  # when it begins, its parent sets others going after it
    talk: Any = None  # what is left of the handler, once it has begun
    value: Any = None  # what it is to be sent next
    error: Any = None
    wait: Any = None  # what it waits for
    others: Any = None  # open streams, and what a coroutine awaits at once
    ink: Any = None
    closed: bool = False
    kept: bool = False  # its parent keeps it among those who have not ended
    deep: bool = False  # counts in a chain of askers that has grown long
    busy: bool = False  # holds its node while a task of its own is under way
    running: bool = False  # a turn of it is under way in a task

    def take(self, scheduler: Scheduler, branch: int, value: Any) -> None:
        """What it waited for came to this value."""
        self.value, self.wait = value, None
        scheduler.stack.append(self)

    def fail(self, scheduler: Scheduler, branch: int, error: BaseException) -> None:
        """What it waited for came to this error."""
        self.error, self.wait = error, None
        scheduler.stack.append(self)

    def also(self, wait: Wait) -> None:
        """Remember a wait that stays open beside others."""
        if self.others is None:
            self.others = []
        self.others.append(wait)

    def waits(self) -> list[Wait]:
        """Everything it waits for, the youngest first."""
        others: list[Wait] = self.others or []
        waits = [wait for wait in reversed(others) if wait.state == BEGUN]
        if self.wait is not None and self.wait.state == BEGUN and self.wait not in waits:
            waits.insert(0, self.wait)
        return waits

    def family(self) -> list[Activation]:
        """It and all that run on its behalf, the outermost first."""
        family, todo = [], [self]
        while todo:
            one = todo.pop()
            if not one.closed:
                family.append(one)
                todo += [child for wait in one.waits() for child in wait.children()]
        return family

    def line(self) -> str:
        """The line of the handler's code that is being run, for an error that teaches."""
        function = inspect.unwrap(self.handler[0], stop=_is_last)
        if (code := getattr(function, "__code__", None)) is None:
            return str(self)
        frames = [*_frames(self.talk)]
        frame = next((one for one in frames if one.f_code is code), frames[-1] if frames else None)
        if frame is None:
            return f"{self} ({code.co_filename}:{code.co_firstlineno})"
        return f"{self} ({frame.f_code.co_filename}:{frame.f_lineno})"

    def __str__(self) -> str:
        return f"{self.node}.{self.message.intent}"


def _is_last(function: Any) -> bool:
    """Does it wrap something that is not written in Python?"""
    return not hasattr(function.__wrapped__, "__code__")


def _frames(talk: Any) -> Iterator[FrameType]:
    """Where a talk is, and what it goes on in: a decorator may drive the handler from outside."""
    while talk is not None:
        for letters in ("gi", "cr", "ag"):
            if (frame := getattr(talk, f"{letters}_frame", None)) is not None:
                yield frame
        inner = ("source", "rest", "gi_yieldfrom", "cr_await", "ag_await")
        talk = next((one for name in inner if (one := getattr(talk, name, None))), None)


class _Tail:
    """The talk of a handler that has returned a wait: all it still says is what that comes to."""

    @staticmethod
    def send(value: Any) -> Any:
        """Say the value, and end."""
        raise StopIteration(value)

    @staticmethod
    def throw(error: BaseException) -> Any:
        """Fail."""
        raise error

    @staticmethod
    def close() -> None:
        """Nothing is left to clean up."""


TAIL: Any = _Tail()


class _Spread:
    """The talk of a handler that says several things at once, and what it goes on with."""

    def __init__(self, scheduler: Scheduler, act: Activation, items: Any, rest: Any) -> None:
        self.scheduler, self.act, self.rest = scheduler, act, rest
        self.items = items

    def send(self, value: Any) -> Any:
        """The next thing, or what the handler goes on with."""
        if self.items is not None:
            for item in self.items:
                return item
            self.items = None
            self.act.talk = self.rest
            value = None
        return self.rest.send(value)

    def throw(self, error: BaseException) -> Any:
        """What one of them waited for failed."""
        self.close_items()
        self.act.talk = self.rest
        return self.rest.throw(error)

    def close(self) -> None:
        """Clean up."""
        self.close_items()
        self.rest.close()

    def close_items(self) -> None:
        """Whatever is left of the list is not said."""
        items, self.items = self.items, None
        if isinstance(items, GeneratorType):
            items.close()
        elif items is not None:
            for item in items:
                forgo(item, self.scheduler)


def spread(scheduler: Scheduler, act: Activation, said: Any, rest: Any) -> Misused | None:
    """Have an activation say the items of a list, then go on with `rest`; an error if it cannot."""
    if isinstance(said, str):
        act.talk = _Spread(scheduler, act, iter((str(said),)), rest)
    elif type(said) in (list, tuple):
        act.talk = _Spread(scheduler, act, iter(said), rest)
    elif isinstance(said, GeneratorType):
        act.talk = said if rest is TAIL else _Spread(scheduler, act, said, rest)
    elif rest is TAIL and hasattr(said, "__await__"):
        act.talk = scheduler.start_task(scheduler, act, said, COROUTINE)
    elif rest is TAIL and hasattr(said, "asend"):
        act.talk = scheduler.start_task(scheduler, act, said, ASYNC_GENERATOR)
    else:
        if hasattr(said, "close"):
            said.close()
        return Misused(
            f"{act.line()} said {said!r:.80}; a handler says a str, a Message, a wait such as"
            " peer.ask(...), or a list of those"
        )
    return None
