"""`@blocking`: a plain handler whose slow, synchronous work is done in a thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from llambdao.kernel.errors import Misused

__all__ = ["blocking"]

N = TypeVar("N")
M = TypeVar("M")
R = TypeVar("R")


def blocking(function: Callable[[N, M], R], /) -> Callable[[N, M], Coroutine[Any, Any, R]]:
    """Mark a plain handler that takes long without awaiting anything: it is run in a thread.

    The place for `requests`, files, numpy. The node handles nothing else meanwhile, as while an
    async handler awaits something foreign; all others go on. What it returns is said, what it
    raises goes to whoever waits, and undoes what it assigned to the node's fields, as ever.

    A thread cannot be stopped. If the handler is cancelled before it has begun it never does; after
    that it runs to its end, what it returns is dropped, what it assigns stays, and the node goes on
    with other messages meanwhile. How many run at once is for the loop's default executor to say,
    `min(32, cpus + 4)` unless the program sets another: `loop.set_default_executor(...)`.

    For one slow call within a generator or a coroutine there is `call(function, ...)`.

    >>> from llambdao import Node, ask
    >>> class Reader(Node):
    ...     @blocking
    ...     def chat(self, message):
    ...         with open(message.content) as file:
    ...             return file.readline().strip()
    >>> import os
    >>> ask(Reader(), os.devnull).content
    ''
    """
    _check(function)

    def work(node: N, message: M) -> R:
        try:
            return function(node, message)
        except StopIteration as error:  # which no future can hold
            raise RuntimeError(f"{function.__qualname__} raised {error!r}") from error

    @wraps(function)
    async def handler(self: N, message: M) -> R:
        return await asyncio.to_thread(work, self, message)

    vars(handler)["__leaf__"] = True  # a journal records it as one effect
    return handler


def _check(function: Any) -> None:
    """Refuse what is not a plain function, with a lesson."""
    if not isinstance(function, FunctionType):
        raise Misused(f"@blocking marks a method of a node, but got {function!r:.80}")
    name = function.__qualname__
    if inspect.isgeneratorfunction(function):
        raise Misused(
            f"{name} is a generator, which waits by itself: have it `yield call(function, ...)`"
            " what is slow; @blocking is for plain functions"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise Misused(
            f"{name} is async, and waits by itself: have it `await call(function, ...)` what is"
            " slow; @blocking is for plain functions"
        )
