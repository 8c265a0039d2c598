"""autogen-core: agents of one SingleThreadedAgentRuntime, with tracing and logging off."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import time_ns
from typing import Any

os.environ["AUTOGEN_DISABLE_RUNTIME_TRACING"] = "true"
from autogen_core import (
    AgentId,
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)

from benchmarks.floor import Case

IMPORT = "autogen_core"
MOST = {"fan": 1_000, "hops": 1_000, "nested_asks": 1_000, "idle": 20_000}
logging.disable(logging.CRITICAL)


@dataclass
class Message:
    """The same five; its encoder refuses unions, so that sender and reply_to are texts."""

    content: str
    intent: str
    sender: str
    reply_to: str
    timestamp: int


def ping(content: str = "ping") -> Message:
    return Message(content, "query", "", "", time_ns())


@contextmanager
def runtime() -> Iterator[tuple[SingleThreadedAgentRuntime, Any]]:
    """A started runtime, and what runs a coroutine beside it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    agents = SingleThreadedAgentRuntime()

    async def start() -> None:
        agents.start()

    loop.run_until_complete(start())
    try:
        yield agents, loop.run_until_complete
    finally:
        loop.run_until_complete(agents.stop())
        loop.close()


class Ponger(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("gives one answer")

    @message_handler
    async def query(self, message: Message, ctx: MessageContext) -> Message:
        return Message("pong", "inform", "ponger", "id", time_ns())


def ask_outside() -> Case:
    with runtime() as (agents, run):
        run(Ponger.register(agents, "ponger", Ponger))
        ponger = AgentId("ponger", "default")

        async def ask(times: int) -> None:
            for _ in range(times):
                assert (await agents.send_message(ping(), ponger)).content == "pong"

        yield
        while True:
            run(ask(100))
            yield 100


def ask_64() -> Case:
    with runtime() as (agents, run):
        run(Ponger.register(agents, "ponger", Ponger))
        ponger = AgentId("ponger", "default")

        async def ask(times: int) -> None:
            for _ in range(times):
                assert (await agents.send_message(ping(), ponger)).content == "pong"

        async def ask_at_once() -> None:
            await asyncio.gather(*(ask(2) for _ in range(64)))

        yield
        while True:
            run(ask_at_once())
            yield 128


class Counter(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("says a thousand things")

    @message_handler
    async def query(self, message: Message, ctx: MessageContext) -> None:
        for _ in range(1_000):
            said = Message("tick", "inform", "counter", "id", time_ns())
            await self.publish_message(said, TopicId("replies", "default"))


class Collector(RoutedAgent):
    """Hears a topic; the caller waits for the first or the last."""

    def __init__(self) -> None:
        super().__init__("hears a thousand things")
        self.expect()

    def expect(self) -> None:
        self.heard, self.first, self.last = 0, asyncio.Event(), asyncio.Event()

    @message_handler
    async def inform(self, message: Message, ctx: MessageContext) -> None:
        self.heard += 1
        self.first.set()
        if self.heard == 1_000:
            self.last.set()


def stream() -> Case:
    return replies(first_only=False)


def first() -> Case:
    return replies(first_only=True)


def replies(first_only: bool) -> Case:
    with runtime() as (agents, run):
        run(Counter.register(agents, "counter", Counter))
        run(Collector.register(agents, "collector", Collector))
        run(agents.add_subscription(TypeSubscription("replies", "collector")))
        counter, collector = AgentId("counter", "default"), AgentId("collector", "default")
        inside = run(agents.try_get_underlying_agent_instance(collector, Collector))

        async def go() -> None:
            asyncio.ensure_future(agents.send_message(ping("go"), counter))  # noqa: RUF006
            await inside.first.wait()

        yield
        while True:
            inside.expect()
            run(go())
            if first_only:
                yield 1
            run(inside.last.wait())
            yield None if first_only else 1_000


class Sleeper(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sleeps for 100 ms")

    @message_handler
    async def query(self, message: Message, ctx: MessageContext) -> Message:
        await asyncio.sleep(0.1)
        return Message("awake", "inform", "sleeper", "id", time_ns())


def fan(n: int) -> Case:
    return ask_each(Ponger, n)


def sleeping(n: int) -> Case:
    return ask_each(Sleeper, n)


def ask_each(kind: type[RoutedAgent], n: int) -> Case:
    with runtime() as (agents, run):
        run(kind.register(agents, "child", kind))
        children = [AgentId("child", str(number)) for number in range(n)]

        async def ask_all() -> list[Message]:
            return await asyncio.gather(*(agents.send_message(ping(), child) for child in children))

        yield
        while True:
            assert len(run(ask_all())) == n
            yield n


class Member(RoutedAgent):
    """Speaks to the room when the one before it has spoken; the last ends the conversation."""

    def __init__(self, number: int, done: asyncio.Event) -> None:
        super().__init__("one of eight")
        self.cue, self.line = str((number - 1) % 8), str(number)
        self.done, self.spoken = done, 0

    @message_handler
    async def chat(self, message: Message, ctx: MessageContext) -> None:
        if message.content != self.cue:
            return
        self.spoken += 1
        if self.spoken == 125 and self.line == "7":
            self.spoken = 0
            self.done.set()
            return
        self.spoken %= 125
        said = Message(self.line, "chat", self.line, "id", time_ns())
        await self.publish_message(said, TopicId("room", "default"))


def group_chat() -> Case:
    with runtime() as (agents, run):
        done = asyncio.Event()
        for number in range(8):
            name = f"member{number}"
            run(Member.register(agents, name, lambda number=number: Member(number, done)))
            run(agents.add_subscription(TypeSubscription("room", name)))

        async def talk() -> None:
            await agents.publish_message(ping("7"), TopicId("room", "default"))
            await done.wait()
            done.clear()

        yield
        while True:
            run(talk())
            yield 7_000


class Link(RoutedAgent):
    """Asks the next and gives its answer."""

    def __init__(self) -> None:
        super().__init__("asks the next")

    @message_handler
    async def query(self, message: Message, ctx: MessageContext) -> Message:
        left = int(self.id.key)
        next_one = AgentId("link", str(left - 1)) if left > 1 else AgentId("ponger", "default")
        answer = await self.send_message(message, next_one)
        return Message(answer.content, "inform", "link", "id", time_ns())


def hops(n: int) -> Case:
    with runtime() as (agents, run):
        run(Ponger.register(agents, "ponger", Ponger))
        run(Link.register(agents, "link", Link))

        async def ask() -> Message:
            return await agents.send_message(ping(), AgentId("link", str(n)))

        yield
        while True:
            assert run(ask()).content == "pong"
            yield n


nested_asks = hops


def idle(n: int) -> list[Any]:
    loop = asyncio.new_event_loop()
    agents: AgentRuntime = SingleThreadedAgentRuntime()

    async def make() -> list[Any]:
        await Ponger.register(agents, "ponger", Ponger)
        for number in range(n):
            await agents.try_get_underlying_agent_instance(AgentId("ponger", str(number)))
        return [agents]

    try:
        return loop.run_until_complete(make())
    finally:
        loop.close()
