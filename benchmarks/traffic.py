"""A mixed load on one `Runtime`: whatever programs do with one, well-behaved and not."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from llambdao import (
    GroupChatNode,
    LimitReached,
    Limits,
    MapperNode,
    Message,
    NoAnswer,
    Node,
    Pipeline,
    Reason,
    Router,
    all_of,
    call,
    expect,
    sleep,
    turns,
)
from llambdao.kernel.errors import BudgetReached, MailboxFull, Restarted, Stopped
from llambdao.kernel.mailbox import Mailbox
from llambdao.runtime import Runtime, Supervisor
from llambdao.runtime.budget import Budget
from llambdao.runtime.schedule import every
from llambdao.runtime.supervisor import family

MOMENT = 0.002
"""Seconds that pass where some have to."""


class Boom(Exception):
    """What handlers here fail with."""


class Echo(Node):
    def chat(self, message):
        yield message.content.upper()


class Counting(Node):
    def request(self, message):
        for number in range(20):
            yield str(number)


class Failing(Node):
    done: int = 0

    def inform(self, message):
        self.done = self.done + 1
        raise Boom(message.content)

    request = inform

    def chat(self, message):
        yield "still here"


class Late(Node):
    """Who asks it gives up first."""

    def request(self, message):
        yield sleep(60)
        yield "too late"

    async def query(self, message):
        await asyncio.sleep(60)

    async def chat(self, message):
        yield "at once"
        await asyncio.sleep(60)
        yield "too late"


class Working(Node):
    """Awaits, in a coroutine, in an async generator, and in a thread."""

    concurrency = 8

    async def query(self, message):
        await asyncio.sleep(MOMENT)
        return "done"

    async def chat(self, message):
        yield "begun"
        await asyncio.sleep(MOMENT)
        yield "done"

    def request(self, message):
        yield call(time.sleep, MOMENT)
        yield "done"


class Napping(Node):
    """Sleeps for a while, and until a date."""

    def request(self, message):
        yield sleep(MOMENT)
        yield sleep(datetime.now(UTC) + timedelta(seconds=MOMENT))
        yield "awake"


class Expecting(Node):
    def request(self, message):
        yield (yield expect(message.content))


class Asking(Node):
    peers: list[Node]

    def request(self, message):
        answers = yield all_of(*(peer.ask("ping", intent="chat") for peer in self.peers))
        yield str(len(answers))


class Member(Node):
    def chat(self, message):
        yield Message(f"{self} heard it", intent="chat")


class Ticking(Node):
    ticks: int = 0

    @every(seconds=0.02)
    def tick(self, message):
        self.ticks = self.ticks + 1


Operation = Callable[["Traffic"], Awaitable[None]]
OPERATIONS: dict[str, tuple[Operation, int]] = {}
"""Each by name, with the number of those who do it side by side."""


def operation(workers: int = 1) -> Callable[[Operation], Operation]:
    def enter(function: Operation) -> Operation:
        OPERATIONS[function.__name__.strip("_").replace("_", " ")] = function, workers
        return function

    return enter


class Traffic:
    """The nodes of one runtime, and what is done with them."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Random(seed)
        self.counts: Counter[str] = Counter()
        self.serial = 0
        self.echo, self.counting, self.late = Echo(), Counting(), Late()
        self.working, self.napping, self.expecting = Working(), Napping(), Expecting()
        self.resumed, self.restarted, self.escalating = Failing(), Failing(), Failing()
        self.escalated = MapperNode(self.escalating)
        self.small = Late(name="Small")
        self.asking = Asking(peers=[Echo() for _ in range(5)])
        self.relaying = MapperNode(Echo(), MapperNode(Echo(), Pipeline(Echo(), Echo())), Working())
        self.routing = Router(Echo(name="Ann"), Echo(name="Bob"))
        self.group = GroupChatNode(*(Member(name=name) for name in "ABCD"), until=turns(12))
        self.endless = GroupChatNode(*(Member(name=name) for name in "EFGH"))
        self.ticking = Ticking()
        self.budget = Budget(messages=10**12, calls=10**12)
        self.runtime = Runtime(
            *(self.echo, self.counting, self.late, self.working, self.napping, self.expecting),
            *(self.asking, *self.asking.peers, self.relaying, self.routing),
            *(self.group, self.endless, self.ticking),
            supervisor=Supervisor(strategy="resume"),
            budget=self.budget,
            observe=self.seen,
            watchdog=10,  # counting all that there is takes long on a busy machine
        )
        spawn, often = self.runtime.spawn, Supervisor(strategy="restart", most=10**9, seconds=0.1)
        spawn(self.resumed)
        spawn(self.restarted, supervisor=often)
        spawn(self.escalated, supervisor=often)
        spawn(self.escalating, supervisor=Supervisor(strategy="escalate"))
        spawn(self.small, mailbox=Mailbox(2, "drop_oldest"))

    def seen(self, event: Any) -> None:
        self.serial += 1

    @operation(4)
    async def asks(self) -> None:
        assert (await self.runtime.ask(self.echo, "ping", timeout=60)).content == "PING"

    @operation()
    async def asks_at_once(self) -> None:
        ask, nodes = self.runtime.ask, [self.echo, self.working] * 8
        answers = await asyncio.gather(*(ask(node, "ping", timeout=60) for node in nodes))
        assert {said.content for said in answers} == {"PING", "done"}

    @operation()
    async def asks_of_asks(self) -> None:
        answer = await self.runtime.ask(self.asking, Message("go", intent="request"))
        assert answer.content == "5"

    @operation(2)
    async def streams_taken_slowly(self) -> None:
        heard = 0
        async for _said in self.runtime.send(self.counting, Message("go", intent="request")):
            heard += 1
            if not heard % 5:
                await asyncio.sleep(MOMENT)
        assert heard == 20

    @operation()
    async def streams_closed_early(self) -> None:
        conversation = self.runtime.send(self.counting, Message("go", intent="request"))
        assert (await anext(conversation)).content == "0"
        end = self.random.choice([conversation.aclose, conversation.cancel, conversation.close])
        if (waiting := end()) is not None:
            await waiting

    @operation()
    async def streams_let_go_of(self) -> None:
        async for _said in self.runtime.send(self.late, "go"):
            break

    @operation(2)
    async def tells(self) -> None:
        conversation = await self.runtime.tell(self.echo, "for your information")
        assert (await conversation.wait()).reason == Reason.DONE

    @operation()
    async def tells_nobody_waits_for(self) -> None:
        for _ in range(10):
            await self.runtime.tell(self.echo, "for your information")

    @operation()
    async def relays(self) -> None:
        said = [said.content async for said in self.runtime.send(self.relaying, "ping")]
        assert sorted(said) == ["PING", "PING", "PING", "begun", "done"]
        assert (await self.runtime.ask(self.routing, "Bob, hello")).sender.name == "Bob"

    @operation()
    async def group_chats(self) -> None:
        said = [said async for said in self.runtime.send(self.group, "go")]
        assert len(said) == 12

    @operation()
    async def group_chats_without_an_end(self) -> None:
        with suppress(LimitReached):
            async for _said in self.runtime.send(self.endless, "go", limits=Limits(messages=30)):
                pass
            raise AssertionError("it should have been ended")

    @operation()
    async def failures_resumed(self) -> None:
        await self.fail(self.resumed)

    @operation()
    async def failures_restarted(self) -> None:
        await self.fail(self.restarted)
        assert self.restarted.done == 0

    @operation()
    async def failures_escalated(self) -> None:
        await self.fail(self.escalating)
        assert self.escalating.done == 0

    async def fail(self, node: Node) -> None:
        """Nobody waits for the first error, somebody for the second."""
        conversation = await self.runtime.tell(node, Message("fail", intent="inform"))
        await conversation.wait()
        with suppress(Boom, Restarted):
            await self.runtime.ask(node, Message("fail", intent="request"))
            raise AssertionError("it should have failed")
        with suppress(Restarted):
            assert (await self.runtime.ask(node, "how are you?")).content == "still here"

    @operation()
    async def failures_stopped(self) -> None:
        node = Failing()
        self.runtime.spawn(node, supervisor=Supervisor(strategy="stop"))
        conversation = await self.runtime.tell(node, Message("fail", intent="inform"))
        await conversation.wait()
        with suppress(Stopped):
            await self.runtime.ask(node, "how are you?")
            raise AssertionError("it should have been stopped")
        await self.gone(node)

    async def gone(self, node: Node) -> None:
        """It leaves; the last thousand dead letters would keep it, which a short run mistakes."""
        await self.runtime.stop(node)
        letters = self.runtime.dead_letters.kept
        for letter in [one for one in letters if one.node in family(node)]:
            letters.remove(letter)

    @operation()
    async def nodes_come_and_go(self) -> None:
        node = MapperNode(Echo(), Late())
        self.runtime.spawn(node)
        conversation = await self.runtime.tell(node, "hello")
        await self.gone(node)
        assert (await conversation.wait()).reason is not None
        with suppress(Stopped):
            await self.runtime.ask(node, "how are you?")
            raise AssertionError("it should have been stopped")
        await self.gone(node)

    @operation()
    async def runtimes_come_and_go(self) -> None:
        node = Failing()
        with suppress(Boom):
            async with Runtime(node, supervisor=Supervisor(strategy="escalate")) as runtime:
                await runtime.tell(node, Message("fail", intent="inform"))
                await asyncio.sleep(10)
            raise AssertionError("it should have been ended by the error")

    @operation(3)
    async def time_limits(self) -> None:
        intent = self.random.choice(["request", "query"])
        with suppress(NoAnswer):
            await self.runtime.ask(self.late, Message("go", intent=intent), timeout=3 * MOMENT)
            raise AssertionError("there should have been no answer")

    @operation(3)
    async def cancelled_callers(self) -> None:
        intent = self.random.choice(["request", "query"])
        asking = self.runtime.ask(self.late, Message("go", intent=intent), timeout=60)
        task = asyncio.ensure_future(asking)
        await asyncio.sleep(MOMENT)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    @operation(2)
    async def async_handlers(self) -> None:
        answer = await self.runtime.ask(self.working, Message("go", intent="query"), timeout=60)
        assert answer.content == "done"
        said = [said.content async for said in self.runtime.send(self.working, "go")]
        assert said == ["begun", "done"]

    @operation(2)
    async def threads(self) -> None:
        answer = await self.runtime.ask(self.working, Message("go", intent="request"))
        assert answer.content == "done"

    @operation(2)
    async def sleeps(self) -> None:
        answer = await self.runtime.ask(self.napping, Message("go", intent="request"))
        assert answer.content == "awake"

    @operation(2)
    async def news(self) -> None:
        self.serial += 1
        key = f"news {self.serial}"
        asked = asyncio.ensure_future(
            self.runtime.ask(self.expecting, Message(key, intent="request"), timeout=60)
        )
        await asyncio.sleep(MOMENT)
        self.runtime.news(key, "it is here")
        assert (await asked).content == "it is here"

    @operation()
    async def full_mailboxes(self) -> None:
        tell, late = self.runtime.tell, Message("go", intent="query")
        told = [await tell(self.small, late.but(), timeout=5 * MOMENT) for _ in range(5)]
        for conversation in told:
            await conversation.wait()
            assert isinstance(conversation.error, NoAnswer | MailboxFull | None)

    @operation()
    async def budgets_used_up(self) -> None:
        share = self.budget.share(messages=10)
        with suppress(BudgetReached, LimitReached):
            async for _said in self.runtime.send(self.endless, "go", budget=share):
                pass
            raise AssertionError("it should have been ended")

    @operation()
    async def watchers(self) -> None:
        events = self.runtime.watch(self.echo)
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await self.runtime.ask(self.echo, "look")
        assert (await first).node is self.echo
        await events.aclose()

    @operation()
    async def schedules(self) -> None:
        """They tick by themselves; let it be seen that they do."""
        before = self.ticking.ticks
        async with asyncio.timeout(60):
            while self.ticking.ticks == before:  # noqa: ASYNC110  (nothing tells us of it)
                await asyncio.sleep(0.1)
