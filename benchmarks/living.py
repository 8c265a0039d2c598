"""The workloads of a program that lives: an asyncio caller, and one `Runtime` for all of it.

Each is measured *guarded*, with supervision, a time limit, a budget and an observer, and *plain*.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.ours import Counter, Member, Parent, Ponger
from benchmarks.queues import AsyncCase
from llambdao import GroupChatNode, MapperNode, Message, Node, expect, sleep, turns
from llambdao.runtime import Runtime, Supervisor
from llambdao.runtime.budget import Budget

IMPORT = "llambdao.runtime"


def nothing(event: Any) -> None:
    """An observer that does nothing."""


class Guarded:
    """All that a careful program has on."""

    options: dict[str, Any] = {"timeout": 60}  # noqa: RUF012

    @staticmethod
    def runtime(*nodes: Node) -> Runtime:
        return Runtime(
            *nodes,
            supervisor=Supervisor(strategy="restart"),
            budget=Budget(messages=10**9),
            observe=nothing,
        )


class Plain:
    """Nothing that was not asked for."""

    options: dict[str, Any] = {}  # noqa: RUF012
    runtime = Runtime


Way = type[Guarded] | type[Plain]


async def asker(runtime: Runtime, node: Node, times: int, options: dict[str, Any]) -> None:
    for _ in range(times):
        reply = await runtime.ask(node, Message("ping", intent="query"), **options)
        assert reply.content == "pong"


async def ask(way: Way = Guarded) -> AsyncCase:
    node = Ponger()
    async with way.runtime(node) as runtime:
        yield
        while True:
            await asker(runtime, node, 1_000, way.options)
            yield 1_000


def ask_plain() -> AsyncCase:
    return ask(Plain)


async def ask_64(way: Way = Guarded) -> AsyncCase:
    node = Ponger()
    async with way.runtime(node) as runtime:
        yield
        while True:
            await asyncio.gather(*(asker(runtime, node, 50, way.options) for _ in range(64)))
            yield 3_200


def ask_64_plain() -> AsyncCase:
    return ask_64(Plain)


async def stream(way: Way = Guarded) -> AsyncCase:
    node = Counter()
    async with way.runtime(node) as runtime:
        yield
        while True:
            heard = 0
            async for _reply in runtime.send(node, Message("go", intent="query"), **way.options):
                heard += 1
            assert heard == 1_000
            yield heard


def stream_plain() -> AsyncCase:
    return stream(Plain)


async def first(way: Way = Guarded) -> AsyncCase:
    node = Counter()
    async with way.runtime(node) as runtime:
        yield
        while True:
            replies = runtime.send(node, Message("go", intent="query"), **way.options)
            await anext(replies)
            yield 1
            async for _reply in replies:
                pass
            yield


def first_plain() -> AsyncCase:
    return first(Plain)


async def relayed(n: int, way: Way = Guarded) -> AsyncCase:
    node = MapperNode(*(Ponger() for _ in range(n)))
    async with way.runtime(node) as runtime:
        yield
        while True:
            replies = runtime.send(node, Message("ping", intent="query"), **way.options)
            assert len([reply async for reply in replies]) == n
            yield n


def relayed_plain(n: int) -> AsyncCase:
    return relayed(n, Plain)


async def asked(n: int, way: Way = Guarded) -> AsyncCase:
    children: list[Node] = [Ponger() for _ in range(n)]
    node = Parent(children=children)
    async with way.runtime(node, *children) as runtime:
        yield
        while True:
            answer = await runtime.ask(node, Message("go", intent="request"), **way.options)
            assert answer.content == str(n)
            yield n


def asked_plain(n: int) -> AsyncCase:
    return asked(n, Plain)


async def group_chat(way: Way = Guarded) -> AsyncCase:
    members = [Member(cue=str((number - 1) % 8), line=str(number)) for number in range(8)]
    group = GroupChatNode(*members, until=turns(1_000))
    async with way.runtime(group) as runtime:
        yield
        while True:
            replies = runtime.send(group, Message("7", intent="chat"), **way.options)
            assert len([reply async for reply in replies]) == 1_000
            yield 7_000


def group_chat_plain() -> AsyncCase:
    return group_chat(Plain)


class Sleeper(Node):
    """Sleeps in a coroutine, and in a generator."""

    async def query(self, message):
        await asyncio.sleep(0.1)
        return Message("awake")

    def request(self, message):
        yield sleep(0.1)
        yield "awake"


async def sleepers(n: int, intent: str, way: Way) -> AsyncCase:
    nodes = [Sleeper() for _ in range(n)]
    async with way.runtime(*nodes) as runtime:
        yield
        while True:
            answers = await asyncio.gather(
                *(runtime.ask(node, Message("go", intent=intent), **way.options) for node in nodes)
            )
            assert len(answers) == n
            yield n


def sleeping(n: int) -> AsyncCase:
    return sleepers(n, "query", Guarded)


def sleeping_plain(n: int) -> AsyncCase:
    return sleepers(n, "query", Plain)


def sleeping_generators(n: int) -> AsyncCase:
    return sleepers(n, "request", Guarded)


def sleeping_generators_plain(n: int) -> AsyncCase:
    return sleepers(n, "request", Plain)


async def idle(n: int) -> AsyncCase:
    """Nodes that live in a runtime, and to whom nobody speaks."""
    yield
    async with Guarded.runtime(*(Ponger(name="idle") for _ in range(n))):
        assert len(asyncio.all_tasks()) < 10
        yield n


class Waiter(Node):
    """Waits for news, or a second; to be asked it sleeps for long."""

    def inform(self, message):
        yield expect(message.content)

    def request(self, message):
        yield sleep(1)

    def query(self, message):
        yield sleep(1_000)
        yield Message("awake")


async def tell_all(runtime: Runtime, node: Node, n: int, intent: str) -> None:
    for number in range(n):
        await runtime.tell(node, Message(str(number), intent=intent))
    await runtime.settle()
    assert len(runtime.conversations) == n
    assert len(asyncio.all_tasks()) < 10


async def opened(n: int) -> AsyncCase:
    """Conversations that wait."""
    node = Waiter()
    async with Guarded.runtime(node) as runtime:
        yield
        await tell_all(runtime, node, n, "query")
        yield n


async def opened_children(n: int) -> AsyncCase:
    """Activations that wait in one conversation."""
    children: list[Node] = [Waiter() for _ in range(n)]
    node = Parent(children=children)
    async with Guarded.runtime(node, *children) as runtime:
        yield
        await runtime.tell(node, Message("go", intent="request"))
        await runtime.settle()
        assert len(runtime.conversations) == 1
        yield n


async def opening(n: int) -> AsyncCase:
    """How long it takes to open them."""
    node = Waiter()
    async with Guarded.runtime(node) as runtime:
        yield
        while True:
            await tell_all(runtime, node, n, "query")
            yield n
            for conversation in runtime.conversations:
                conversation.close()
            yield


async def news(n: int) -> AsyncCase:
    """How long until all are answered, each by news of its own."""
    node = Waiter()
    async with Guarded.runtime(node) as runtime:
        yield
        while True:
            await tell_all(runtime, node, n, "inform")
            yield
            for number in range(n):
                runtime.news(str(number), "news")
            await runtime.settle()
            assert not runtime.conversations
            yield n


async def timers(n: int) -> AsyncCase:
    """How long until all are awake after a second, the second not counted."""
    node = Waiter()
    async with Guarded.runtime(node) as runtime:
        yield
        while True:
            await tell_all(runtime, node, n, "request")
            yield
            while runtime.conversations:  # noqa: ASYNC110  (nothing tells us of the last one)
                await asyncio.sleep(0.05)
            yield n
