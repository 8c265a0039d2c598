"""`status` says how a runtime is doing: exactly, as plain data, and in no time."""

import asyncio
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from llambdao import MapperNode, Message, Node, all_of, call, expect, sleep
from llambdao.runtime import Budget, Mailbox, Runtime, blocking
from llambdao.runtime import status as module
from llambdao.runtime.status import ConversationStatus, LetterStatus, NodeStatus, Status, Tally
from llambdao.runtime.status import status as status_of
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(30)
FILE = Path(__file__).name


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def turns(many=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(many):
        await asyncio.sleep(0)


def request(words):
    """A message that asks for something."""
    return Message(words, intent="request")


def node_of(status, node):
    """What a status says of a node."""
    return next(one for one in status.nodes if one.id == node.id)


class Desk(Node):
    """Works on one message after the other, on each until it is allowed to end it."""

    async def request(self, message):
        await self.gate.wait()
        return "done"

    inform = request

    def model_post_init(self, context):
        self.gate = asyncio.Event()


AWAIT = f"await at {FILE}:{Desk.request.__code__.co_firstlineno + 1}"


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content

    inform = request


class Asker(Node):
    """Asks its peer."""

    peer: Node

    def request(self, message):
        answer = yield self.peer.ask(message.content)
        return answer.content


class Waiter(Node):
    """Waits for what `wait` makes."""

    def request(self, message):
        yield self.wait()
        yield "done"


def waiter(wait):
    """Somebody who waits for this."""
    one = Waiter(name="Ann")
    one.wait = wait
    return one


class Teller(Node):
    """Tells its peer."""

    peer: Node

    def request(self, message):
        yield self.peer.tell(message.content)
        yield "told"


class Speaker(Node):
    """Says two things."""

    def request(self, message):
        yield "one"
        yield "two"


# -- what conversations wait for ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (lambda: expect("a signature"), "Ann: the news expected for 'a signature'"),
        (lambda: sleep(60), "Ann: a sleep of 60 s"),
        (lambda: all_of(expect("a"), expect("b")),
         "Ann: all of the news expected for 'a', the news expected for 'b'"),
        (lambda: Waiter(name="Bob").ask("?"), "Bob: the news expected for 'x'"),
        (lambda: Asker(peer=Waiter(name="Bob")).ask("?"), "Bob: the news expected for 'x'"),
        (lambda: Desk(name="Bob").ask("?"), f"Bob: {AWAIT}"),
        (lambda: Waiter(name="a name of more than 20 characters").ask("?"),
         "a name of more than…: the news expected for 'x'"),
    ],
    ids=["news", "sleep", "all of", "ask", "asks in a row", "a task", "a long name"],
)  # fmt: skip
@on_a_loop
async def test_it_says_what_the_innermost_handler_waits_for(monkeypatch, wait, said):
    """Who waits for others in the conversation is not named."""
    monkeypatch.setattr(Waiter, "wait", lambda self: expect("x"), raising=False)
    async with home(ann := waiter(wait)) as runtime:
        await runtime.tell(ann, request("go"))
        await turns(10)
        (one,) = status_of(runtime).conversations
        assert (one.waits, one.more) == ((said,), 0)
        await runtime.stop(deadline=0)


@on_a_loop
async def test_of_many_it_names_three(monkeypatch):
    """And says how many more there are."""
    monkeypatch.setattr(Waiter, "wait", lambda self: expect("x"), raising=False)
    peers = [Waiter(name=name) for name in ("Bob", "Cara", "Dan", "Eve", "Finn")]
    async with home(ann := waiter(lambda: all_of(*(peer.ask("?") for peer in peers)))) as runtime:
        await runtime.tell(ann, request("go"))
        await turns()
        (one,) = status_of(runtime).conversations
        first = tuple(f"{name}: the news expected for 'x'" for name in ("Bob", "Cara", "Dan"))
        assert (one.waits, one.more) == (first, 2)
        await runtime.stop(deadline=0)


@on_a_loop
async def test_it_names_turns_room_and_hearers_too():
    """What a handler waits for without having said so."""
    bob = Desk(name="Bob")
    ann, speaker = Teller(name="Ann", peer=bob), Speaker(name="Sam")
    async with home(ann, bob, speaker, mailbox=Mailbox(1)) as runtime:
        await runtime.tell(bob, request("first"))
        await turns()
        await runtime.tell(bob, request("second"))
        await runtime.tell(ann, request("third"))
        await turns()
        reply = await anext(conversation := runtime.send(speaker, request("speak")))
        await turns()
        found = {one.words: one.waits for one in status_of(runtime).conversations}
        assert found == {
            "first": (f"Bob: {AWAIT}",),
            "second": ("Bob: its turn",),
            "third": ("Ann: room for the message 'third' to Bob", "Bob: its turn"),
            "speak": ("Sam: somebody to take its reply",),
        }
        assert reply.content == "one"
        await conversation.aclose()
        await runtime.stop(deadline=0)


@on_a_loop
async def test_who_can_go_on_waits_for_nothing():
    """It has just not had its turn."""
    async with home(echo := Echo(name="Bob")) as runtime:
        await runtime.tell(echo, request("go"))
        (one,) = status_of(runtime).conversations
        assert one.waits == ("Bob: nothing, it goes on",)


@on_a_loop
async def test_work_in_a_thread_is_named_where_it_is_written():
    """A call by its function, a `@blocking` handler by its first line."""
    gate = threading.Event()

    class Blocking(Node):
        @blocking
        def request(self, message):
            gate.wait()

    line = Blocking.request.__wrapped__.__code__.co_firstlineno
    ann, bob = waiter(lambda: call(gate.wait)), Blocking(name="Bob")
    async with home(ann, bob) as runtime:
        await runtime.tell(ann, request("call"))
        await runtime.tell(bob, request("block"))
        await turns()
        waits = {one.node: one.waits for one in status_of(runtime).conversations}
        gate.set()
        assert waits == {
            "Ann": ("Ann: the call of Event.wait",),
            "Bob": (f"Bob: await at {FILE}:{line}",),
        }


# -- all of it, exactly ------------------------------------------------------------------------


@on_a_loop
async def test_a_whole_status_exactly(monkeypatch):
    """A held node with a full mailbox, a budget with a share, a dead letter: and all as JSON."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/shop.py", "--open"])
    budget = Budget(usd=5, name="the shop")
    share = budget.share(usd=1, name="the till")
    bob, ann = Desk(name="Bob"), Asker(name="Ann", peer=Desk(name="Cara"))
    async with home(bob, ann, budget=budget, mailbox=Mailbox(2, "drop_newest")) as runtime:
        runtime.clock.sleep(60)
        share.charge(usd="0.25")
        await runtime.tell(bob, request("one"))
        await turns()
        runtime.clock.sleep(5)
        for words in ("two", "three", "four"):
            await runtime.tell(bob, request(words))
        await runtime.tell(ann, request("w" * 41))
        await turns()
        runtime.clock.sleep(2.5)
        status = status_of(runtime)
        ids = [one._scheduler.opening.id for one in runtime.conversations]
        idle = {"waiting": 0, "room": 2, "is_held": False, "is_stopped": False}
        expected = Status(
            name="shop.py", pid=os.getpid(), uptime=67.5, state="running",
            open=4, oldest=7.5, residents=2,
            nodes=(
                NodeStatus(name="Bob", id=bob.id, **{**idle, "waiting": 2, "is_held": True}),
                NodeStatus(name="Cara", id=ann.peer.id, **{**idle, "is_held": True}),
                NodeStatus(name="Ann", id=ann.id, **idle),
            ),
            conversations=tuple(
                ConversationStatus(id=one.id, words=words, node=node, age=age, waits=(waits,),
                                   more=0, messages=messages)
                for one, (words, node, age, waits, messages) in zip(
                    status.conversations,
                    [("one", "Bob", 7.5, f"Bob: {AWAIT}", 1),
                     ("two", "Bob", 2.5, "Bob: its turn", 1),
                     ("three", "Bob", 2.5, "Bob: its turn", 1),
                     ("w" * 39 + "…", "Ann", 2.5, f"Cara: {AWAIT}", 2)],
                    strict=True,
                )
            ),
            due=None,
            budget=(
                f"the shop: {budget}",
                "the till: usd 0.25 of 1.00",
            ),
            dead=1,
            letters=(
                LetterStatus(words="four", intent="request", node="Bob", reason="mailbox full",
                             age=2.5),
            ),
        )  # fmt: skip
        assert status == expected
        assert {one.id for one in status.conversations} == set(ids)
        assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status
        assert json.loads(msgspec.json.encode(status))["nodes"][0]["waiting"] == 2
        await runtime.stop(deadline=0)


@on_a_loop
async def test_a_stopped_node_is_told_by_name():
    """Though nothing is left of it but a closed mailbox; its runtime says when it is stopping."""
    bob, gate = Desk(name="Bob"), Desk(name="Cara")
    async with home(MapperNode(bob, Echo(name="Ann"), name="net"), gate) as runtime:
        await runtime.stop(bob)
        status = status_of(runtime)
        assert [(one.name, one.is_stopped) for one in status.nodes] == [
            ("Bob", True), ("net", False), ("Ann", False), ("Cara", False),
        ]  # fmt: skip
        await runtime.tell(gate, request("go"))
        stopping = asyncio.ensure_future(runtime.stop())
        await turns(3)
        assert (status.state, status_of(runtime).state) == ("running", "stopping")
        gate.gate.set()
        await stopping
        assert (status_of(runtime).state, status_of(runtime).open) == ("stopped", 0)


@on_a_loop
async def test_the_next_timer_is_one_that_somebody_waits_for():
    """Deadlines of what is over do not count."""
    echo, ann = Echo(name="Bob"), waiter(lambda: sleep(90))
    async with home(echo, ann) as runtime:
        assert status_of(runtime).due is None
        for seconds in (30, 20, 10, 40):
            conversation = runtime.send(echo, request("go"), timeout=seconds)
            await anext(conversation)
            await conversation.aclose()
        assert status_of(runtime).due is None
        conversation = runtime.send(ann, request("go"), timeout=100)
        taken = asyncio.ensure_future(anext(conversation))
        await turns(5)
        runtime.clock.time += 30_000_000_000
        assert status_of(runtime).due == 60
        assert (await taken).content == "done"
        await conversation.aclose()


@on_a_loop
async def test_what_cannot_be_said_harms_nobody():
    """Names that raise, lines in them, halves of characters, endless words: one short line each."""

    class Nameless(Echo):
        def __str__(self):
            raise RuntimeError("no name")

    odd = [Nameless(), Desk(name="two\nlines \ud800 \x1b[2J"), Desk(name="long " * 1000)]
    async with home(*odd) as runtime:
        await runtime.tell(odd[1], request("x" * 1_000_000))
        await turns()
        status = status_of(runtime)
        assert [one.name for one in status.nodes] == [
            "two lines ? \x1b[2J", "<Nameless>", "long long long long long long long long…",
        ]  # fmt: skip
        assert status.conversations[0].words == "x" * 39 + "…"
        assert len(msgspec.json.encode(status)) < 2000
        await runtime.stop(deadline=0)


# -- what is counted ---------------------------------------------------------------------------


class Sleeper(Node):
    """Sleeps so many seconds, and fails if it was but one."""

    def request(self, message):
        yield sleep(int(message.content))
        if message.content == "1":
            raise ValueError("too short")
        return "slept"


@on_a_loop
async def test_a_tally_counts_node_by_node():
    """Handled, failed, how long it took; what is said, what was opened and what has ended."""
    bob, clock = Sleeper(name="Bob"), VirtualClock()
    ann, tally = Asker(name="Ann", peer=bob), Tally(clock.now)
    async with home(ann, bob, clock=clock, observe=tally) as runtime:
        for seconds in ("2", "6", "1"):
            conversation = await runtime.tell(ann, request(seconds))
            await conversation.wait()
        await runtime.tell(ann, request("10"))
        await turns(10)
        status = status_of(runtime, tally)
        one, other = node_of(status, ann), node_of(status, bob)
        assert (one.handlers, one.handled, one.failed, one.mean, one.worst) == (1, 3, 1, 3, 6)
        assert (other.handlers, other.handled, other.failed) == (1, 3, 1)
        assert (status.counted, status.opened, status.ended) == (9, 4, 3)
        assert status.messages == 4 + 4 + 4  # the questions from outside, those to Bob, replies


@on_a_loop
async def test_a_tally_adopts_what_is_under_way():
    """Who looks later sees it busy, and ended; how long it took nobody knows."""
    bob, ann = Desk(name="Bob"), Asker(name="Ann", peer=Desk(name="Cara"))
    async with home(ann, bob) as runtime:
        await runtime.tell(ann, request("one"))
        await runtime.tell(bob, request("two"))
        await runtime.tell(bob, request("three"))
        await turns()
        tally = Tally()
        runtime._observers.append(tally)
        await tally.adopt(runtime.conversations)
        await tally.adopt(runtime.conversations)  # for another viewer
        status = status_of(runtime, tally)
        assert [(one.name, one.handlers) for one in status.nodes] == [
            ("Bob", 1), ("Ann", 1), ("Cara", 1),
        ]  # fmt: skip
        bob.gate.set()
        ann.peer.gate.set()
        await runtime.settle()
        status = status_of(runtime, tally)
        found = {one.name: (one.handlers, one.handled) for one in status.nodes}
        assert found == {"Bob": (0, 2), "Ann": (0, 1), "Cara": (0, 1)}
        assert node_of(status, ann).mean is None
        assert node_of(status, bob).mean is not None  # the third began while it was counted
        assert (status.opened, status.ended) == (0, 3)


@on_a_loop
async def test_what_is_cancelled_is_not_busy_for_ever():
    """A conversation that ends takes all its handlers with it."""
    tally = Tally()
    async with home(ann := Asker(name="Ann", peer=Desk(name="Bob")), observe=tally) as runtime:
        conversation = await runtime.tell(ann, request("go"))
        await turns()
        assert [one.handlers for one in status_of(runtime, tally).nodes] == [1, 1]
        await conversation.cancel()
        nodes = status_of(runtime, tally).nodes
        assert [(one.handlers, one.handled, one.worst) for one in nodes] == [(0, 0, None)] * 2


@on_a_loop
async def test_a_conversation_with_an_observer_of_its_own_is_counted_too():
    """Whoever else looks on."""
    seen = []
    async with home(echo := Echo(name="Bob")) as runtime:
        conversation = runtime.send(
            echo, request("hi"), observe=lambda event: seen.append(event.kind)
        )
        runtime._observers.append(tally := Tally())
        assert [str(reply) async for reply in conversation] == ["Bob: hi"]
        assert node_of(status_of(runtime, tally), echo).handled == 1
    assert seen == ["said", "delivered", "said", "ended", "over"]


@on_a_loop
async def test_a_tally_forgets_who_is_idle(monkeypatch):
    """Its memory is bounded, however many nodes come and go."""
    monkeypatch.setattr(module, "LOOK", 10)
    tally, busy = Tally(), Echo(name="busy")
    async with home(busy, observe=tally) as runtime:
        for number in range(50):
            await runtime.ask(busy, request("hi"))
            await runtime.ask(Echo(name=f"{number}"), request("hi"))
            assert len(tally.nodes) <= 10
        assert node_of(status_of(runtime, tally), busy).handled == 50


# -- which nodes, and how long it takes --------------------------------------------------------


class Broken(Node):
    """Fails."""

    def request(self, message):
        raise ValueError("broken")


@on_a_loop
async def test_of_many_nodes_it_tells_the_busiest():
    """In turn one with most waiting, one that handled most, one that failed most."""
    desks = [Desk(name=f"desk {n}") for n in range(20)]
    echoes = [Echo(name=f"echo {n}") for n in range(20)]
    broken = [Broken(name=f"broken {n}") for n in range(20)]
    tally = Tally()
    async with home(*desks, *echoes, *broken, observe=tally) as runtime:
        for n in range(1, 4):
            for _ in range(n):
                await runtime.tell(broken[n], request("break"))
                await runtime.tell(desks[n], request("wait"))
            for _ in range(10 * n):
                await runtime.ask(echoes[n], request("hi"))
        await runtime.tell(desks[3], request("wait"))
        await turns()
        names = [one.name for one in status_of(runtime, tally, nodes=7).nodes]
        assert names == [
            "desk 3", "echo 3", "broken 3", "desk 2", "echo 2", "broken 2", "desk 1",
        ]  # fmt: skip
        assert len(status_of(runtime, tally).nodes) == 50
        assert len(status_of(runtime, nodes=0, conversations=0).conversations) == 0
        await runtime.stop(deadline=0)


@on_a_loop
async def test_of_many_conversations_it_tells_the_oldest():
    """So many as are wanted."""
    async with home(bob := Desk(name="Bob")) as runtime:
        for number in range(30):
            await runtime.tell(bob, request(f"{number}"))
            runtime.clock.sleep(1)
        status = status_of(runtime, conversations=3)
        assert [one.words for one in status.conversations] == ["0", "1", "2"]
        assert (status.open, status.oldest) == (30, 30)
        await runtime.stop(deadline=0)


@on_a_loop
async def test_many_nodes_do_not_stall_the_loop():
    """20,000 nodes, 2,000 open conversations: it takes less than 10 ms, the best of ten times."""
    peers = [Desk() for _ in range(2_000)]
    nodes = [Asker(peer=peers[n % 2_000]) for n in range(18_000)]
    async with Runtime(MapperNode(*peers, *nodes), watchdog=None) as runtime:
        for node in nodes[:2_000]:
            await runtime.tell(node, request("go"))
        await turns(200)
        tally = Tally()
        runtime._observers.append(tally)
        gc.collect()
        gc.disable()
        try:
            await tally.adopt(runtime.conversations)
            best = min(took(lambda: status_of(runtime, tally)) for _ in range(10))
        finally:
            gc.enable()
        status = status_of(runtime, tally)
        assert (status.open, status.residents, len(tally.nodes)) == (2_000, 20_001, 4_000)
        assert best < 0.01
        await runtime.stop(deadline=0)


def took(function):
    """How many seconds this takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
