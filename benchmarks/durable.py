"""The workloads of a program that survives its end: a `Runtime` with a journal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.queues import AsyncCase
from benchmarks.tables import BATCH, folder, server, size, text
from llambdao import HumanNode, Message, Node, expect
from llambdao.runtime import Runtime

IMPORT = "llambdao.journal"
ROUNDS = 3_000
"""How many steps the conversation has that is replayed."""


class Clerk(Node):
    """Each turn leaves it in another state."""

    turns: int = 0

    def request(self, message):
        self.turns += 1
        yield message.content.upper()


async def asker(runtime: Runtime, node: Node, times: int, numbers: count[int]) -> None:
    for _ in range(times):
        content = text(next(numbers))
        reply = await runtime.ask(node, Message(content, intent="request"))
        assert reply.content == content.upper()


async def turns(url: str, callers: int, times: int) -> AsyncCase:
    node, numbers = Clerk(name="clerk"), count()
    async with Runtime(node, journal=url) as runtime:
        yield
        while True:
            await asyncio.gather(*(asker(runtime, node, times, numbers) for _ in range(callers)))
            yield callers * times


async def in_file(synchronous: str, callers: int, times: int) -> AsyncCase:
    with folder() as place:
        async for units in turns(sqlite(place, synchronous), callers, times):
            yield units


def sqlite(place: Path, synchronous: str = "normal") -> str:
    return f"sqlite:///{place.absolute()}/room.db?synchronous={synchronous}"


def turns_full() -> AsyncCase:
    return in_file("full", 1, 20)


def turns_normal() -> AsyncCase:
    return in_file("normal", 1, 200)


def turns_full_64() -> AsyncCase:
    return in_file("full", BATCH, 10)


def turns_postgres_64() -> AsyncCase:
    mark = "&" if "?" in server() else "?"
    return turns(f"{server()}{mark}schema=bench_{uuid4().hex}", BATCH, 10)


# -- bytes ---------------------------------------------------------------------------------------


class Keeper(Node):
    """Keeps what it has heard and said, all of it or so many of the last."""

    said: list[str] = []  # noqa: RUF012
    most: int = 10**9

    def request(self, message):
        answer = message.content.upper()
        self.said = [*self.said, message.content, answer][-self.most :]
        yield answer


async def stored(n: int, make: Callable[[], Node] = lambda: Clerk(name="clerk")) -> float:
    """The bytes of one turn, all that the journal is counted, after its end."""
    with folder() as place:
        node = make()
        async with Runtime(node, journal=sqlite(place)) as runtime:
            await asker(runtime, node, n, count())
        return size(place) / n


async def stored_by_keeper(n: int) -> float:
    return await stored(n, lambda: Keeper(name="keeper", most=24))


async def stored_by_keeper_of_all(n: int) -> float:
    return await stored(n, lambda: Keeper(name="keeper"))


class Desk(Node):
    """Keeps the last 24 messages, and waits for a person in each conversation."""

    boss: Node
    heard: list[Message] = []  # noqa: RUF012

    def request(self, message):
        self.heard = [*self.heard, message][-24:]
        answer = yield self.boss.ask("May I?")
        return answer.content


def desk() -> Desk:
    return Desk(name="desk", boss=HumanNode(name="Ann"))


async def opened(n: int, place: Path, length: int = 1_000) -> None:
    """So many conversations, all of which wait."""
    node = desk()
    async with Runtime(node, journal=sqlite(place)) as runtime:
        for begin in range(0, n, 500):
            numbers = range(begin, begin + 500)
            messages = [Message(f"{number:x<{length}}", intent="request") for number in numbers]
            await asyncio.gather(*(runtime.tell(node, message) for message in messages))


async def stored_open(n: int) -> float:
    """The bytes of one open conversation, whose only message has 1,000."""
    with folder() as place:
        await opened(n, place)
        return size(place) / n


# -- restart -------------------------------------------------------------------------------------


async def starting(n: int) -> AsyncCase:
    """Everything that a restart with n suspended conversations does until it serves."""
    place = Path(os.environ.get("BENCH_FOLDER", ".")) / f"suspended-{n}"
    if not place.exists():
        place.mkdir()
        await opened(n, place, 66)
    yield
    while True:
        async with Runtime(desk(), journal=sqlite(place)):
            yield n
        yield


class Tracker(Node):
    """Goes on for ever: one step for each piece of news."""

    clerk: Node

    def request(self, message):
        while True:
            news = yield expect("news")
            yield self.clerk.ask(news)


def tracker() -> Tracker:
    return Tracker(name="tracker", clerk=Clerk(name="clerk"))


async def replaying() -> AsyncCase:
    """Bringing back a conversation of 3,000 steps, as the first news for it comes."""
    with folder() as place:
        node: Any = tracker()
        async with Runtime(node, journal=sqlite(place)) as runtime:
            await runtime.tell(node, Message("go", intent="request"))
            for number in range(ROUNDS):
                runtime.news("news", text(number))
                await runtime.settle()
        yield
        for steps in count(ROUNDS + 1):
            async with Runtime(tracker(), journal=sqlite(place)) as runtime:
                yield
                runtime.news("news", text(steps))
                yield steps
                await runtime.settle()
