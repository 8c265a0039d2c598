"""The floor of a runtime: an `asyncio.Queue` and a task for each agent, and nothing else.

A case that awaits is an async generator: measured as the other cases are, on a loop of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import time_ns
from typing import Any

from benchmarks.floor import Member, Message

AsyncCase = AsyncIterator[int | None]
Inbox = asyncio.Queue[Any]

MOST = {"idle": 10_000}


@asynccontextmanager
async def agents(*coroutines: Any) -> AsyncIterator[None]:
    """A task each, for as long as the block lasts."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ponger(inbox: Inbox) -> None:
    """Gives one answer to each message, into the queue of who sent it."""
    while True:
        message = await inbox.get()
        await message.sender.put(Message("pong", "inform", inbox, message, time_ns()))


async def asker(ponger: Inbox, times: int) -> None:
    """Asks in turn."""
    inbox: Inbox = asyncio.Queue()
    for _ in range(times):
        await ponger.put(Message("ping", "query", inbox, None, time_ns()))
        reply = await inbox.get()
        assert reply.content == "pong"


async def ask() -> AsyncCase:
    """R1: one question, one answer."""
    inbox: Inbox = asyncio.Queue()
    async with agents(ponger(inbox)):
        yield
        while True:
            await asker(inbox, 1_000)
            yield 1_000


async def ask_64() -> AsyncCase:
    """R1: the same by 64 callers at once."""
    inbox: Inbox = asyncio.Queue()
    async with agents(ponger(inbox)):
        yield
        while True:
            await asyncio.gather(*(asker(inbox, 50) for _ in range(64)))
            yield 3_200


async def counter(inbox: Inbox) -> None:
    """Says 1,000 things to who sent a message, without a pause."""
    while True:
        message = await inbox.get()
        for _ in range(1_000):
            await message.sender.put(Message("tick", "inform", inbox, message, time_ns()))


async def stream() -> AsyncCase:
    """R2: 1,000 replies to one message."""
    counting: Inbox = asyncio.Queue()
    inbox: Inbox = asyncio.Queue()
    async with agents(counter(counting)):
        yield
        while True:
            await counting.put(Message("go", "query", inbox, None, time_ns()))
            for _ in range(1_000):
                await inbox.get()
            yield 1_000


async def first() -> AsyncCase:
    """R2: the first of 1,000 replies; the others are taken untimed."""
    counting: Inbox = asyncio.Queue()
    inbox: Inbox = asyncio.Queue()
    async with agents(counter(counting)):
        yield
        while True:
            await counting.put(Message("go", "query", inbox, None, time_ns()))
            await inbox.get()
            yield 1
            for _ in range(999):
                await inbox.get()
            yield


async def fan(n: int) -> AsyncCase:
    """R3: n children hear one message, the caller collects what they answer."""
    inboxes: list[Inbox] = [asyncio.Queue() for _ in range(n)]
    collected: Inbox = asyncio.Queue()
    async with agents(*map(ponger, inboxes)):
        yield
        while True:
            message = Message("ping", "query", collected, None, time_ns())
            for inbox in inboxes:
                await inbox.put(message)
            heard = [await collected.get() for _ in inboxes]
            assert len(heard) == n
            yield n


async def member(number: int, room: list[Inbox], heard: Inbox) -> None:
    """Speaks to the others and to the caller when the one before it has spoken."""
    inbox, words = room[number], Member(number, len(room))
    others = [one for one in room if one is not inbox]
    while True:
        message = await inbox.get()
        for said in words.chat(message):
            for other in others:
                other.put_nowait(said)
            heard.put_nowait(said)


async def group_chat() -> AsyncCase:
    """R4: 1,000 messages of eight agents, each to the other seven and to the caller."""
    heard: Inbox = asyncio.Queue()
    yield
    while True:
        room: list[Inbox] = [asyncio.Queue() for _ in range(8)]
        async with agents(*(member(number, room, heard) for number in range(8))):
            room[0].put_nowait(Message("7", "chat", None, None, time_ns()))
            for _ in range(1_000):
                await heard.get()
        yield 7_000


async def sleeping(n: int) -> AsyncCase:
    """R9: n sleeps of 100 ms at once."""
    yield
    while True:
        await asyncio.gather(*(asyncio.sleep(0.1) for _ in range(n)))
        yield n


async def idle(n: int) -> AsyncCase:
    """R6: n agents that nobody speaks to."""
    yield
    async with agents(*(ponger(asyncio.Queue()) for _ in range(n))):
        yield n


def waiter() -> Iterator[object]:
    """What a handler that waits is by itself: a generator and what it waits for."""
    yield object()
    yield "awake"


async def opened(n: int) -> AsyncCase:
    """R6: n suspended generators, and nothing around them."""
    yield
    waiting = [waiter() for _ in range(n)]
    for one in waiting:
        next(one)
    yield n


opened_children = opened


async def opening(n: int) -> AsyncCase:
    """R6: n tasks begin and wait."""
    yield
    while True:
        async with agents(*(asyncio.sleep(1_000) for _ in range(n))):
            yield n
        yield


async def news(n: int) -> AsyncCase:
    """R6: n tasks wait, each for a future of its own, and are answered."""

    async def expecting(future: asyncio.Future[str]) -> str:
        return await future

    loop = asyncio.get_running_loop()
    yield
    while True:
        futures = [loop.create_future() for _ in range(n)]
        tasks = [asyncio.create_task(expecting(future)) for future in futures]
        await asyncio.sleep(0)
        yield
        for future in futures:
            future.set_result("news")
        await asyncio.wait(tasks)
        yield n


async def timers(n: int) -> AsyncCase:
    """R6: n tasks sleep a second, and are awake."""
    yield
    while True:
        tasks = [asyncio.create_task(asyncio.sleep(1)) for _ in range(n)]
        await asyncio.sleep(0)
        yield
        await asyncio.wait(tasks)
        yield n
