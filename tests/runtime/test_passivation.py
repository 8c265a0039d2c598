"""Nodes with nothing to do leave memory, and nobody can tell: they are back when somebody looks."""

import asyncio
import copy
import gc
import json
import pickle
import sqlite3
import stat
import sys
import threading
import time
import tracemalloc
import weakref
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, PrivateAttr, SecretStr

from kinds import SPEAKING, kinds
from llambdao import (
    GroupChatNode,
    MapperNode,
    Message,
    Misused,
    Node,
    NotANode,
    Ref,
    expect,
    sleep,
    turns,
)
from llambdao.runtime import Runtime, Supervisor
from llambdao.runtime.codec import Corrupt, NotStorable, recorded
from llambdao.runtime.passivation import Passivation
from llambdao.runtime.snapshots import Sleeping, leaves
from llambdao.testing import VirtualClock, simulate
from loops import on_a_loop

pytestmark = pytest.mark.timeout(60)

DAY = 86_400


def home(*nodes, after=DAY, path=None, batch=16, **options):
    """A runtime under a virtual clock, in which nodes sleep after a day unless told otherwise."""
    passivate = Passivation(after, path, batch)
    return Runtime(
        *nodes, **{"clock": VirtualClock(), "watchdog": None, "passivate": passivate, **options}
    )


async def until(true, most=2000):
    """Let the event loop turn until this is so."""
    for _ in range(most):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def quiet(count=60):
    """Let the event loop turn so many times: whoever can go on has gone on, and time has passed."""
    for _ in range(count):
        await asyncio.sleep(0)


def is_asleep(node):
    """Does it sleep? Looked at in a way that does not wake it."""
    return type(vars(node)) is Sleeping


def counts(runtime):
    """How many sleep, were woken, were kept awake."""
    return attrgetter("asleep", "woken", "kept")(runtime.passivation)


def file_of(runtime):
    """Where its snapshots are."""
    return Path(runtime.passivation._snapshots.file)


def rows(path):
    """What is written there, as any tool reads it."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("select name, class, fields from asleep order by key").fetchall()


class Diary(Node):
    """Remembers what it hears."""

    pages: list[str] = Field(default_factory=list)
    heard: int = 0

    def inform(self, message):
        self.pages = [*self.pages, message.content]
        self.heard += 1

    def request(self, message):
        self.inform(message)
        return f"{self.heard}: {' '.join(self.pages)}"

    chat = request


class Gate(Node):
    """Waits for news, and then says what it has kept."""

    kept: list[str] = Field(default_factory=lambda: ["x"])

    def request(self, message):
        mine = self.kept
        word = yield expect(message.content)
        mine.append(word)
        yield " ".join(self.kept)


# -- to sleep ----------------------------------------------------------------------------------


@on_a_loop
async def test_a_node_that_has_nothing_to_do_goes_to_sleep():
    """When it has handled nothing for exactly so many seconds, by the clock of the runtime."""
    ann = Diary(name="Ann")
    async with home(ann, after=120.0) as runtime:
        begin = runtime.clock.now()
        await runtime.ask(ann, "one")
        assert not is_asleep(ann)
        assert counts(runtime) == (0, 0, 0)
        await until(lambda: is_asleep(ann))
        assert runtime.clock.now() - begin == 120_000_000_000
        assert counts(runtime) == (1, 0, 0)


@on_a_loop
async def test_one_that_never_had_anything_to_do_sleeps_too():
    """From the time it joined, as the runtime began or was spawned later."""
    ann, bob = Diary(name="Ann"), Diary(name="Bob")
    async with home(ann, after=60) as runtime:
        runtime.clock.sleep(20)
        runtime.spawn(bob)
        begin = runtime.clock.now()
        await until(lambda: is_asleep(ann))
        assert (is_asleep(bob), runtime.clock.now() - begin) == (False, 40_000_000_000)
        await until(lambda: is_asleep(bob))
        assert runtime.clock.now() - begin == 60_000_000_000


@on_a_loop
async def test_whatever_it_handles_puts_its_sleep_off():
    """It counts from the end of the last thing it did."""

    class Slow(Diary):
        def chat(self, message):
            yield sleep(100)
            yield "done"

    ann = Slow(name="Ann")
    async with home(ann, after=120) as runtime:
        begin = runtime.clock.now()
        await runtime.ask(ann, "one")
        await runtime.ask(ann, "two")
        assert runtime.clock.now() - begin == 200 * 10**9
        await until(lambda: is_asleep(ann))
        assert runtime.clock.now() - begin == 320 * 10**9


@on_a_loop
async def test_one_at_work_does_not_sleep():
    """Not while it waits, however long that takes; not by hand either."""
    gate = Gate(name="Gate")
    async with home(gate, after=10) as runtime:
        conversation = await runtime.tell(gate, Message("key", intent="request"))
        await quiet()
        runtime.clock.sleep(1000)
        await quiet()
        assert not runtime.evict(gate)
        assert not is_asleep(gate)
        runtime.news("key", "y")
        await conversation.wait()
        assert gate.kept == ["x", "y"]
        await until(lambda: is_asleep(gate))
        assert counts(runtime)[2] == 0


@on_a_loop
async def test_two_things_at_once_are_work_until_both_are_done():
    """The end of one handler is not the end of another."""

    class Wide(Gate):
        concurrency: ClassVar[int | None] = None

    gate = Wide(name="Gate")
    async with home(gate, after=10) as runtime:
        for key in ("one", "two"):
            await runtime.tell(gate, Message(key, intent="request"))
        await quiet()
        runtime.news("one", "1")
        await quiet(200)
        assert not is_asleep(gate)
        assert not runtime.evict(gate)
        runtime.news("two", "2")
        await until(lambda: is_asleep(gate))
        assert gate.kept == ["x", "1", "2"]


@on_a_loop
async def test_one_with_mail_does_not_sleep():
    """What waits in its mailbox is handled first."""

    class Desk(Diary):
        async def request(self, message):
            await GATES[0].wait()
            return "done"

    GATES[:] = [asyncio.Event()]
    desk = Desk(name="Desk")
    async with home(desk, after=0) as runtime:
        asks = [asyncio.ensure_future(runtime.ask(desk, request(n))) for n in "123"]
        await quiet()
        assert not runtime.evict(desk)
        GATES[0].set()
        await asyncio.gather(*asks)
        await until(lambda: is_asleep(desk))


GATES = []


def request(words):
    """A question."""
    return Message(words, intent="request")


@on_a_loop
async def test_a_cancelled_or_failed_handler_is_work_that_has_ended():
    """Whether it had begun or not: nobody is thought to be at work for ever."""

    class Broken(Gate):
        def chat(self, message):
            raise ValueError("oops")

    gate = Broken(name="Gate")
    async with home(gate, after=10) as runtime:
        with pytest.raises(ValueError, match="oops"):
            await runtime.ask(gate, "x")
        told = [await runtime.tell(gate, request("key")) for _ in range(3)]
        await quiet()
        for conversation in told:
            await conversation.cancel()
        assert runtime.passivation._at_work == {}
        assert len(runtime.passivation._handlings) == 0
        await until(lambda: is_asleep(gate))


@on_a_loop
async def test_a_receive_of_its_own_is_one_thing_it_does():
    """Though it is delivered twice: to `receive`, and by `super().receive` to the handler."""

    class Logged(Gate):
        def receive(self, message):
            yield super().receive(message)

    gate = Logged(name="Gate")
    async with home(gate, after=10) as runtime:
        await runtime.tell(gate, request("key"))
        await quiet(200)
        assert not runtime.evict(gate)
        runtime.news("key", "y")
        await until(lambda: is_asleep(gate))


@on_a_loop
async def test_at_most_a_batch_goes_to_sleep_at_a_time():
    """In between the event loop has ten milliseconds to itself."""
    nodes = [Diary(name=str(n)) for n in range(5)]
    async with home(*nodes, after=10, batch=2) as runtime:
        begin = runtime.clock.now()
        seen = []
        while not all(map(is_asleep, nodes)):
            await asyncio.sleep(0)
            now = (runtime.clock.now() - begin) // 1_000_000, sum(map(is_asleep, nodes))
            if now not in seen:
                seen.append(now)
        assert seen == [(0, 0), (10_000, 2), (10_010, 4), (10_020, 5)]


@on_a_loop
async def test_one_that_cannot_sleep_is_not_tried_again_before_it_has_done_something():
    """So nothing is spent on it, and no virtual time either."""
    stubborn = Diary(name="Ann")
    stubborn.extra = 1
    async with home(stubborn, after=10) as runtime:
        await quiet(300)
        assert counts(runtime) == (0, 0, 1)
        assert runtime._timers.heap == []
        await runtime.ask(stubborn, "one")
        await quiet(300)
        assert counts(runtime) == (0, 0, 2)


@on_a_loop
async def test_a_jump_of_the_wall_clock_is_no_time_that_has_passed():
    """Who had 30 seconds left has 30 seconds left."""
    ann = Diary()
    async with home(ann, after=30) as runtime:
        sleepers = runtime.passivation
        (due, _, sleeper), *_ = runtime._timers.heap
        assert sleeper is sleepers
        assert sleepers.jumped(DAY * 10**9) == due + DAY * 10**9
        sleepers.tick(due + 1)
        assert not is_asleep(ann)
        sleepers.tick(due + DAY * 10**9)
        assert is_asleep(ann)


# -- and up again ------------------------------------------------------------------------------


@kinds(*SPEAKING)
@on_a_loop
async def test_a_message_wakes_it_and_it_goes_on_as_if_it_had_not_slept(handler):
    """Whatever kind its handler is of."""

    class Keeper(Node):
        pages: list[str] = Field(default_factory=list)

        @handler
        def chat(self, message):
            self.pages = [*self.pages, message.content]
            yield " ".join(self.pages)

    keeper = Keeper(name="Ann")
    async with home(keeper) as runtime:
        for words in ("one", "two", "three"):
            assert runtime.evict(keeper)
            said = await runtime.ask(keeper, words)
        assert said.content == "one two three"
        assert counts(runtime) == (0, 3, 0)


WAYS = {
    "reading": lambda node: node.pages == ["a", "b"],
    "getattr": lambda node: getattr(node, "heard", None) == 2,
    "hasattr": lambda node: hasattr(node, "pages"),
    "state": lambda node: node.state() == {**STATE, "pages": ["a", "b"], "heard": 2},
    "copy": lambda node: copy.copy(node).pages == ["a", "b"],
    "vars": lambda node: vars(node)["pages"] == ["a", "b"],
    "a copy of vars": lambda node: dict(vars(node)) == VALUES,
    "vars unpacked": lambda node: {**vars(node)} == VALUES,
    "vars compared": lambda node: vars(node) == VALUES,
    "vars compared backwards": lambda node: vars(node) == VALUES,
    "vars shown": lambda node: repr(vars(node)) == repr(VALUES),
    "vars counted": lambda node: len(vars(node)) == len(VALUES),
    "vars in order": lambda node: [*vars(node)] == [*VALUES],
    "vars as JSON": lambda node: json.loads(json.dumps(vars(node))) == VALUES,
    "vars copied": lambda node: copy.copy(vars(node)) == VALUES,
    "vars pickled": lambda node: type(pickle.loads(pickle.dumps(vars(node)))) is dict,
    "a question to vars": lambda node: "heard" in vars(node),
    "vars and more": lambda node: vars(node) | {"x": 1} == {**VALUES, "x": 1},
    "more and vars": lambda node: {"x": 1} | vars(node) == {"x": 1, **VALUES},
    "going through it": lambda node: [*node] == [*VALUES.items()],
    "asking for what vars has not": lambda node: vars(node).get("nobody") is None,
}
STATE = {"name": "Ann", "persona": ""}
VALUES = {**STATE, "pages": ["a", "b"], "heard": 2}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@on_a_loop
async def test_any_look_at_a_field_wakes_it(way):
    """From wherever: the answer is the one that a node gives which has never slept."""
    ann, eve = (Diary(name="Ann", pages=["a", "b"], heard=2) for _ in range(2))
    async with home(ann) as runtime:
        assert way(eve)
        assert runtime.evict(ann)
        assert is_asleep(ann)
        assert way(ann)
        assert counts(runtime) == (0, 1, 0)
        assert vars(ann) == vars(eve)


QUIET_WAYS = {
    "name": lambda node: node.name == "Ann",
    "str": lambda node: str(node) == "Ann",
    "repr": lambda node: repr(node) == "Diary('Ann')",
    "id": lambda node: len(node.id) == 32,
    "hash": lambda node: hash(node) == hash(node.address),
    "equality": lambda node: node == node.address and node != Diary(name="Ann"),
    "role": lambda node: node.role == "system",
    "edges": lambda node: len(node.edges) == 1,
    "intents": lambda node: sorted(node.intents) == ["chat", "inform", "request"],
    "dict": lambda node: node.dict()["name"] == "Ann",
    "model_dump": lambda node: node.model_dump() == node.dict(),
    "JSON": lambda node: json.loads(node.json()) == node.dict(),
    "a field it does not have": lambda node: not hasattr(node, "members"),
    "a class attribute": lambda node: node.concurrency == 1,
    "a method": lambda node: callable(node.state),
    "vars alone": lambda node: isinstance(vars(node), dict),
}


@pytest.mark.parametrize("way", QUIET_WAYS.values(), ids=QUIET_WAYS)
@on_a_loop
async def test_what_everybody_may_know_of_it_lets_it_sleep(way):
    """Who it is, whom it knows, what it understands."""
    ann = Diary(name="Ann", pages=["a"])
    ann.link(Diary(name="Bob"))
    async with home(ann) as runtime:
        assert runtime.evict(ann)
        assert way(ann)
        assert is_asleep(ann)
        assert counts(runtime) == (1, 0, 0)


@on_a_loop
async def test_an_assignment_wakes_it_first():
    """So nothing of the rest is lost, and the undo log knows what was there."""
    ann = Diary(name="Ann", pages=["a"], heard=1)
    async with home(ann) as runtime:
        runtime.evict(ann)
        ann.heard = 7
        assert not is_asleep(ann)
        assert (ann.heard, ann.pages) == (7, ["a"])
        assert ann._undo == {"heard": 1}
        runtime.evict(ann)
        ann.extra = "x"
        assert (ann.extra, ann.pages, ann._undo["extra"]) == ("x", ["a"], ann._undo["extra"])
        del ann.extra
        runtime.evict(ann)
        del ann.heard
        assert not hasattr(ann, "heard")
        assert vars(ann) == {"name": "Ann", "persona": "", "pages": ["a"]}
        runtime.evict(ann)
        object.__setattr__(ann, "heard", 5)  # past all of it
        assert is_asleep(ann)
        assert (ann.pages, ann.heard) == (["a"], 5)
        runtime.evict(ann)
        ann.be("a poet")
        assert (ann.persona, ann.pages) == ("a poet", ["a"])


CHANGES = {
    "set": lambda values: values.__setitem__("heard", 3),
    "delete": lambda values: values.__delitem__("heard"),
    "update": lambda values: values.update(heard=3),
    "update in place": lambda values: values.__ior__({"heard": 3}),
    "set a default": lambda values: (values.setdefault("heard", 3), values.setdefault("x", 4)),
    "take out": lambda values: values.pop("heard"),
    "take out the last": lambda values: values.popitem(),
    "clear": lambda values: values.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@on_a_loop
async def test_a_change_of_its_vars_is_as_if_it_were_awake(change):
    """Nothing that is changed there is undone as it wakes."""
    ann, eve = (Diary(name="Ann", pages=["a"], heard=1) for _ in range(2))
    async with home(ann) as runtime:
        assert runtime.evict(ann)
        for node in (ann, eve):
            change(vars(node))
        assert not is_asleep(ann)
        assert vars(ann) == vars(eve)


class Curious:
    """Looks at its owner whenever somebody looks at it."""

    def __get__(self, holder, owner):
        if holder is not None:
            SEEN.append(holder.look())
        return 1

    def __set__(self, holder, value):
        """It stays what it is."""


@recorded
@dataclass
class Peeping:
    """Data in which looking has effects, as a property of a program may."""

    seen: int = Curious()
    rest: Any = None

    def look(self):
        return LOOK[0]()


SEEN, LOOK = [], [None]


@on_a_loop
async def test_who_got_hold_of_its_vars_as_it_was_to_sleep_and_could_not_holds_the_true_ones():
    """What is changed there is changed in the node."""
    node = Nested(name="Ann", value=Peeping(rest=print))
    async with home(node) as runtime:
        LOOK[0] = lambda: vars(node)
        SEEN.clear()
        with pytest.raises(NotStorable, match=r"Ann\.value\.rest is <built-in function print>"):
            runtime.evict(node)
        assert not is_asleep(node)
        SEEN[0]["heard"] = 7
        assert node.heard == 7
        assert SEEN[0] == vars(node)
        SEEN[0].clear()
        assert vars(node) == {}


@on_a_loop
async def test_one_that_is_looked_at_as_it_is_put_to_sleep_stays_awake():
    """By a property of something it holds, say: there is no one whom it should have to wait for."""
    node, other = Nested(name="Ann", value=Peeping()), Diary(name="Bob", pages=["b"])
    async with home(other, node, after=10) as runtime:
        LOOK[0] = lambda: (node.heard, other.pages)
        await quiet(400)
        assert [is_asleep(one) for one in (other, node)] == [True, False]
        assert counts(runtime) == (1, 0, 1)
        assert (node.heard, other.pages) == (0, ["b"])


@on_a_loop
async def test_a_turn_that_fails_is_undone_also_if_it_woke_the_node():
    """The fields are as they were when it fell asleep."""

    class Rash(Diary):
        def chat(self, message):
            self.heard = 99
            self.pages = []
            self.extra = "x"
            raise ValueError("oops")

    ann = Rash(name="Ann", pages=["a"], heard=1)
    async with home(ann) as runtime:
        assert runtime.evict(ann)
        with pytest.raises(ValueError, match="oops"):
            await runtime.ask(ann, "x")
        assert vars(ann) == {"name": "Ann", "persona": "", "pages": ["a"], "heard": 1}
        assert runtime.evict(ann)
        ann._restore({"heard": 5})
        assert (ann.heard, ann.pages) == (5, ["a"])


@on_a_loop
async def test_what_the_last_turn_could_undo_is_forgotten():
    """It would keep in memory what was before."""
    ann = Diary(name="Ann")
    async with home(ann) as runtime:
        await (await runtime.tell(ann, Message("one", intent="inform"))).wait()
        assert ann._undo == {"pages": [], "heard": 0}
        assert runtime.evict(ann)
        assert ann._undo is None


@on_a_loop
async def test_an_unknown_name_is_the_same_error_asleep_or_awake():
    """And private attributes, which stay in memory, are there."""

    class Private(Diary):
        _secret: int = PrivateAttr(default=3)
        _unset: int = PrivateAttr()

    def errors(node):
        for name in ("nobody", "_unset", "model_nothing", "__nothing__"):
            with pytest.raises(AttributeError) as caught:
                getattr(node, name)
            yield str(caught.value)

    ann = Private(name="Ann")
    async with home(ann) as runtime:
        awake = [*errors(ann)]
        assert runtime.evict(ann)
        assert [*errors(ann)] == awake
        assert ann._secret == 3
        assert is_asleep(ann)
        ann._secret = 4
        assert ann.pages == []
        assert [*errors(ann)] == awake
        assert ann._secret == 4


@on_a_loop
async def test_a_node_that_was_woken_by_a_look_sleeps_again():
    """After as long as if it had handled something then."""
    ann = Diary(name="Ann")
    async with home(ann, after=60) as runtime:
        assert runtime.evict(ann)
        await quiet(200)
        begin = runtime.clock.now()
        assert vars(ann)["heard"] == 0
        assert not is_asleep(ann)
        await until(lambda: is_asleep(ann))
        assert runtime.clock.now() - begin == 60 * 10**9
        assert counts(runtime) == (1, 1, 0)


@on_a_loop
async def test_messages_come_back_with_those_who_said_them():
    """The same nodes, not addresses; what a message answered is a `Ref`."""

    class Listener(Node):
        said: list[Message] = Field(default_factory=list)

        def chat(self, message):
            self.said = [*self.said, message]
            reply = message.reply("I see")
            self.said = [*self.said, reply]
            yield reply

    bob, ann = Diary(name="Bob"), Listener(name="Ann")
    async with home(ann) as runtime:
        await runtime.ask(ann, Message("hello", sender=bob))
        before = [message.dict() for message in ann.said]
        number = id(ann.said[0])
        assert runtime.evict(ann)
        hello, reply = ann.said
        assert id(hello) != number or hello.ink is not None
        assert [message.dict() for message in ann.said] == before
        assert (hello.sender, hello.to, reply.sender, reply.to) == (bob, ann, ann, bob)
        assert hello.sender is bob
        assert reply.sender is ann
        assert reply.reply_to == hello
        assert type(reply.reply_to) is Ref


@on_a_loop
async def test_nodes_of_which_only_a_sleeper_speaks_stay_alive():
    """They are no part of the snapshot: they come back as themselves, state and all."""

    class Owner(Node):
        helper: Any = None
        helpers: dict[str, tuple[Node, ...]] = Field(default_factory=dict)

    helper = Diary(name="Bob", pages=["mine"])
    owner = Owner(name="Ann", helper=helper, helpers={"x": (Diary(name="Eve", pages=["hers"]),)})
    number = id(helper)
    del helper
    async with home(owner) as runtime:
        runtime._supervisors.births.clear()  # which would keep them alive as well
        assert runtime.evict(owner)
        gc.collect()
        assert id(owner.helper) == number
        assert (owner.helper.pages, owner.helpers["x"][0].pages) == (["mine"], ["hers"])


# -- what stays --------------------------------------------------------------------------------


@on_a_loop
async def test_a_network_that_sleeps_is_still_a_network():
    """Its members are found, told and drawn; a sleeping member wakes when a message reaches it."""
    ann, bob = Diary(name="Ann"), Diary(name="Bob")
    table = MapperNode(ann, bob, name="table")
    async with home(table) as runtime:
        assert all(map(runtime.evict, (table, ann, bob)))
        assert table["Ann"] is ann
        assert (len(table), [*table], bob in table) == (2, [ann, bob], True)
        assert [member["name"] for member in map(Node.dict, table.members)] == ["Ann", "Bob"]
        assert all(map(is_asleep, (table, ann, bob)))
        said = [reply.content async for reply in runtime.send(table, "hi")]
        assert said == ["1: hi", "1: hi"]
        assert [is_asleep(one) for one in (table, ann, bob)] == [True, False, False]
        table.join(Diary(name="Eve"))
        assert len(table) == 3


@on_a_loop
async def test_what_is_excluded_or_secret_never_reaches_the_disk(tmp_path):
    """It stays in memory; a secret in a list or a dict keeps the whole node awake."""

    class Keeper(Diary):
        key: SecretStr = SecretStr("s3cret-one")
        keys: list[SecretStr] = Field(default_factory=list)
        client: Any = Field(default_factory=threading.Lock, exclude=True)

    keeper = Keeper(name="Ann", pages=["a"])
    client, path = keeper.client, tmp_path / "asleep.sqlite"
    async with home(keeper, path=path) as runtime:
        assert runtime.evict(keeper)
        assert (keeper.key.get_secret_value(), keeper.client) == ("s3cret-one", client)
        assert is_asleep(keeper)
        assert [json.loads(row[2]) for row in rows(path)] == [
            {"persona": "", "pages": ["a"], "heard": 0, "keys": []}
        ]
        keeper.keys = [SecretStr("s3cret-two")]
        with pytest.raises(NotStorable, match=r"Ann\.keys\[0\] is a secret"):
            runtime.evict(keeper)
        on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"s3cret" not in on_disk


@on_a_loop
async def test_what_somebody_else_holds_stays_the_same_object():
    """A list that the program keeps goes on being the node's, whatever sleeps beside it."""
    ann = Diary(name="Ann", pages=["a"], heard=1)
    async with home(ann) as runtime:
        pages = ann.pages
        assert runtime.evict(ann)
        assert is_asleep(ann)
        pages.append("b")
        assert ann.pages is pages
        assert is_asleep(ann)
        assert ann.heard == 1
        del pages
        assert runtime.evict(ann)
        assert "pages" not in dict.keys(vars(ann))
        assert ann.pages == ["a", "b"]


@dataclass
class Part:
    """Something that can be changed, in a list or a dict or in a part of its own."""

    items: list[Any] = field(default_factory=list)


class Nested(Node):
    value: Any = None
    heard: int = 0
    parts: list[Part] = Field(default_factory=list)  # so that these are known


DEEP = {
    "in a list": lambda part: [[part]],
    "in a tuple": lambda part: (1, (part,)),
    "in a dict": lambda part: {"a": {"b": part}},
    "in a dataclass": lambda part: Part([Part([part])]),
    "twice in itself": lambda part: [part, part],
    "alone": lambda part: part,
}


@pytest.mark.parametrize("build", DEEP.values(), ids=DEEP)
@on_a_loop
async def test_what_somebody_holds_a_part_of_stays_too(build):
    """However deep that is; if nobody does, it goes."""
    node = Nested(name="Ann")
    async with home(node) as runtime:
        part = Part([1])
        node.value = build(part)
        if build is not DEEP["twice in itself"]:
            assert runtime.evict(node)
            part.items.append(2)
            assert "value" in dict.keys(vars(node))
            assert repr(node.value) == repr(build(part))
            del part
            assert node.heard == 0
            shown = repr(node.value)
            assert runtime.evict(node)
            assert "value" not in dict.keys(vars(node))
            assert repr(node.value) == shown
        else:
            del part
            assert runtime.evict(node)
            assert node.value[0] is node.value[1]


@on_a_loop
async def test_what_two_nodes_share_they_go_on_sharing():
    """Also after both have slept."""
    shared = Part([])
    ann, bob = Nested(name="Ann", value=shared), Nested(name="Bob", value=shared)
    del shared
    async with home(ann, bob) as runtime:
        assert all(map(runtime.evict, (ann, bob)))
        ann.value.items.append("x")
        assert bob.value.items == ["x"]


@on_a_loop
async def test_a_name_that_the_class_has_too_stays_where_it_is():
    """Else the class would answer in the place of the sleeping node."""
    with pytest.warns(UserWarning, match="shadows"):

        class Odd(Diary):
            role: str = "judge"

    assert "role" not in leaves(Odd)
    odd = Odd(name="Ann")
    async with home(odd) as runtime:
        assert runtime.evict(odd)
        assert odd.role == "judge"
        assert odd.address.role == "judge"
        assert is_asleep(odd)


UNSTORABLE = {
    "a lock": (
        lambda: Nested(name="Ann", value=[threading.Lock()]),
        r"Ann\.value\[0\] is a _thread",
    ),
    "a function": (lambda: Nested(name="Ann", value=print), r"Ann\.value is <built-in function"),
    "an attribute": (
        lambda: grown(Diary(name="Ann")),
        r"Ann\.extra is an attribute that Diary does",
    ),
}


def grown(node):
    """With an attribute that is not declared."""
    node.extra = 1
    return node


@pytest.mark.parametrize(("make", "text"), UNSTORABLE.values(), ids=UNSTORABLE)
@on_a_loop
async def test_what_cannot_be_stored_stays_awake_and_is_counted(make, text):
    """Whoever puts it to sleep by hand is told why."""
    node = make()
    values = dict(vars(node))
    async with home(node, after=10) as runtime:
        await quiet(200)
        assert counts(runtime) == (0, 0, 1)
        with pytest.raises(NotStorable, match=text):
            runtime.evict(node)
        assert not is_asleep(node)
        assert vars(node) == values
        assert counts(runtime) == (0, 0, 1)


@on_a_loop
async def test_who_keeps_the_error_keeps_nothing_awake():
    """It says what it has to say, and holds nothing of the node."""
    node = Nested(name="Ann")
    async with home(node) as runtime:
        node.value, node.parts = [threading.Lock()], [Part()]
        with pytest.raises(NotStorable) as caught:
            runtime.evict(node)
        node.value = []
        assert runtime.evict(node)
        assert not {"value", "parts"} & dict.keys(vars(node))
        assert "Ann.value[0]" in str(caught.value)


@on_a_loop
async def test_a_cached_property_is_no_reason_to_stay_awake():
    """It is kept, and what is kept in it stays what it is."""

    class Cached(Diary):
        @cached_property
        def words(self):
            return [self.pages]

    ann = Cached(name="Ann", pages=["a"])
    async with home(ann) as runtime:
        assert ann.words == [["a"]]
        assert runtime.evict(ann)
        assert is_asleep(ann)
        ann.words[0].append("b")
        assert ann.pages == ["a", "b"]
        assert ann.heard == 0


@on_a_loop
async def test_one_that_cannot_sleep_keeps_nobody_else_awake():
    """The others of its batch sleep."""
    nodes = [Diary(name="Ann"), Nested(name="Bob", value=print), Diary(name="Eve")]
    async with home(*nodes, after=10) as runtime:
        await quiet(200)
        assert [is_asleep(node) for node in nodes] == [True, False, True]
        assert counts(runtime) == (2, 0, 1)


@on_a_loop
async def test_a_node_whose_name_cannot_be_told_stays_awake():
    """With a warning, for that is a mistake; the others of its batch sleep."""

    class Nameless(Diary):
        def __str__(self):
            raise ZeroDivisionError

    nodes = [Nameless(), Diary(name="Eve")]
    async with home(*nodes, after=10) as runtime:
        with pytest.warns(RuntimeWarning, match="Nameless '' stays awake: ZeroDivisionError"):
            await quiet(200)
        assert [is_asleep(node) for node in nodes] == [False, True]
        assert counts(runtime) == (1, 0, 1)


# -- the file ----------------------------------------------------------------------------------


@on_a_loop
async def test_what_is_written_can_be_read_with_sqlite3(tmp_path):
    """One row for each sleeper: who it is, and its fields as JSON."""
    ann = Diary(name="Ann", pages=["a"], heard=3)
    path = tmp_path / "asleep.sqlite"
    async with home(ann, path=path) as runtime:
        assert rows(path) == []
        assert runtime.evict(ann)
        assert rows(path) == [("Ann", "Diary", '{"persona":"","pages":["a"],"heard":3}')]
        assert runtime.passivation.bytes == len(rows(path)[0][2])
        assert str(runtime.passivation) == "1 asleep (38 bytes), 0 woken, 0 kept"
        assert ann.heard == 3
        assert runtime.passivation.bytes == 0
        assert rows(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@on_a_loop
async def test_a_batch_is_one_transaction():
    """A thousand sleepers cost a few commits."""
    nodes = [Diary(name=str(n)) for n in range(8)]
    async with home(*nodes, after=10, batch=4) as runtime:
        assert runtime.evict(nodes[0])
        lines = []
        runtime.passivation._snapshots._db.set_trace_callback(lines.append)
        await quiet(200)
        assert counts(runtime) == (8, 0, 0)
        assert [line for line in lines if not line.startswith("insert")] == [
            "begin immediate", "commit", "begin immediate", "commit",
        ]  # fmt: skip
        assert len([line for line in lines if line.startswith("insert")]) == 7


@on_a_loop
async def test_there_is_no_file_before_somebody_sleeps_and_none_after_the_end():
    """In a folder of its own that nobody else can read; it goes with the last sleeper."""
    ann, bob = Diary(name="Ann"), Diary(name="Bob", pages=["b"])
    async with home(ann, bob) as runtime:
        assert runtime.passivation._snapshots.file is None
        assert runtime.evict(ann)
        folder = file_of(runtime).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert ann.heard == 0
        assert folder.exists()
    assert not folder.exists()
    assert counts(runtime) == (0, 1, 0)


@on_a_loop
async def test_who_sleeps_when_the_runtime_stops_is_still_there():
    """It comes back when somebody looks, and with the last one the file goes."""
    ann, bob = Diary(name="Ann", pages=["a"]), Diary(name="Bob", pages=["b"])
    async with home(ann, bob) as runtime:
        assert all(map(runtime.evict, (ann, bob)))
    folder = file_of(runtime).parent
    assert counts(runtime) == (2, 0, 0)
    assert ann.pages == ["a"]
    assert folder.exists()
    assert not runtime.evict(ann)
    assert not is_asleep(ann)
    bob.heard = 4
    assert (bob.pages, bob.heard) == (["b"], 4)
    assert not folder.exists()
    assert counts(runtime) == (0, 2, 0)


@on_a_loop
async def test_the_file_goes_with_those_who_could_read_it():
    """Sleepers that nobody will ever wake keep nothing on the disk."""
    ann = Diary(name="Ann", pages=["a"])
    async with home(ann) as runtime:
        assert runtime.evict(ann)
        folder = file_of(runtime).parent
    del runtime
    gc.collect()
    assert folder.exists()
    del ann
    gc.collect()
    assert not folder.exists()


@on_a_loop
async def test_at_a_path_the_file_stays(tmp_path):
    """With what still sleeps at the end: for people to look at; no later process reads it."""
    path = tmp_path / "asleep.sqlite"
    ann, bob = Diary(name="Ann", pages=["a"]), Diary(name="Bob", pages=["b"])
    async with home(ann, bob, path=str(path)) as runtime:
        assert all(map(runtime.evict, (ann, bob)))
        assert bob.pages == ["b"]
    assert [row[0] for row in rows(path)] == ["Ann"]
    other = Diary(name="Other")
    async with home(other, path=path) as runtime:
        assert runtime.evict(other)
        assert [row[0] for row in rows(path)] == ["Ann", "Other"]
        assert counts(runtime) == (1, 0, 0)
        assert ann.pages == ["a"]
    assert [row[0] for row in rows(path)] == ["Other"]


@on_a_loop
async def test_two_runtimes_can_share_a_file(tmp_path):
    """Each reads what it has written itself."""
    path = tmp_path / "asleep.sqlite"
    ann, bob = Diary(name="Ann", pages=["a"]), Diary(name="Bob", pages=["b"])
    async with home(ann, path=path) as one, home(bob, path=path) as other:
        assert one.evict(ann)
        assert other.evict(bob)
        assert (counts(one), counts(other)) == ((1, 0, 0), (1, 0, 0))
        assert (ann.pages, bob.pages) == (["a"], ["b"])
        with pytest.raises(Misused, match="Bob lives in another runtime"):
            one.evict(bob)


@on_a_loop
async def test_a_sleeper_may_move_into_the_next_runtime():
    """It wakes as it joins, and sleeps there."""
    ann = Diary(name="Ann", pages=["a"])
    async with home(ann) as runtime:
        assert runtime.evict(ann)
    async with home(ann, after=10) as later:
        assert ann.pages == ["a"]
        await until(lambda: is_asleep(ann))
        assert (await later.ask(ann, "b")).content == "1: a b"
    assert counts(runtime) == (0, 1, 0)


@pytest.mark.parametrize("place", ["", "nowhere/asleep.sqlite", "letter.txt"])
@on_a_loop
async def test_a_path_that_cannot_be_used_is_an_error_at_the_start(place, tmp_path):
    """Before anything has begun: a folder, a folder that is not there, a file of another kind."""
    (tmp_path / "letter.txt").write_text("Dear Ann, " * 500)
    ann = Diary(name="Ann")
    with pytest.raises(Misused, match="no snapshots can be kept in"):
        async with home(ann, path=tmp_path / place):
            pass
    async with home(ann) as runtime:  # nobody thinks that she lives elsewhere
        assert runtime.evict(ann)
    if place:
        assert (tmp_path / "letter.txt").read_text() == "Dear Ann, " * 500


@on_a_loop
async def test_who_finds_no_room_on_the_disk_stays_awake():
    """With a warning, and nothing is lost; later there may be room again."""
    nodes = [Diary(name=str(n), pages=[str(n) * 100_000]) for n in range(3)]
    async with home(*nodes, after=10) as runtime:
        assert runtime.evict(nodes[0])
        db = runtime.passivation._snapshots._db
        (pages,) = db.execute("pragma page_count").fetchone()
        db.execute(f"pragma max_page_count = {pages}")
        with pytest.warns(RuntimeWarning, match="2 nodes stay awake: .*full"):
            await quiet(200)
        assert [is_asleep(node) for node in nodes] == [True, False, False]
        assert counts(runtime) == (1, 0, 2)
        assert [node.pages[0][0] for node in nodes] == ["0", "1", "2"]
        db.execute("pragma max_page_count = 100000")
        assert all(map(runtime.evict, nodes))
        assert [node.pages[0][0] for node in nodes] == ["0", "1", "2"]


DAMAGES = {
    "a row that is gone": "delete from asleep where name = 'Ann'",
    "half a row": "update asleep set fields = substr(fields, 1, 20) where name = 'Ann'",
    "a field too few": """update asleep set fields = '{"pages":["x"]}' where name = 'Ann'""",
    "a field too many": """update asleep set fields = replace(fields, '"heard"', '"name":1,"heard"')
        where name = 'Ann'""",
    "another value": "update asleep set fields = '[]' where name = 'Ann'",
    "a made-up class": """update asleep set fields = '{"$":"object","of":"Popen","v":{}}'
        where name = 'Ann'""",
    "a table that is gone": "alter table asleep rename to lost",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@on_a_loop
async def test_a_damaged_snapshot_is_an_error_at_the_look(damage, tmp_path):
    """It names the node and the file; it is there at each look, and at each assignment."""
    path = tmp_path / "asleep.sqlite"
    ann, bob = Diary(name="Ann", pages=["a"]), Diary(name="Bob", pages=["b"])
    async with home(ann, bob, path=path) as runtime:
        assert all(map(runtime.evict, (ann, bob)))
        with closing(sqlite3.connect(path)) as db:
            db.execute(damage)
            db.commit()
        for look in (attrgetter("pages"), vars, dict):
            with pytest.raises(Corrupt, match=rf"Ann cannot be woken.*, row 1 in .*{path.name}"):
                dict(look(ann))
        with pytest.raises(Corrupt):
            ann.heard = 3
        with pytest.raises(Corrupt):
            await runtime.ask(ann, "x")
        assert str(ann) == "Ann"
        if "rename" not in damage:
            assert bob.pages == ["b"]
            assert (await runtime.ask(bob, "c")).content == "1: b c"
        with closing(sqlite3.connect(path)) as db:
            if "rename" in damage:
                db.execute("alter table lost rename to asleep")
                assert ann.pages == ["a"]


@on_a_loop
async def test_who_cannot_be_woken_can_be_restarted(tmp_path):
    """A supervisor gives it the fields it had at first; nothing is read for that."""
    path = tmp_path / "asleep.sqlite"
    ann = Diary(name="Ann", pages=["first"])
    supervisor = Supervisor(strategy="restart")
    async with home(ann, path=path, supervisor=supervisor) as runtime:
        ann.pages = ["second"]
        assert runtime.evict(ann)
        with closing(sqlite3.connect(path)) as db:
            db.execute("delete from asleep")
            db.commit()
        await (await runtime.tell(ann, "x")).wait()
        assert ann.pages == ["first"]
        assert runtime.passivation.asleep == 0


@on_a_loop
async def test_a_sleeper_that_is_restarted_with_others_begins_anew():
    """And what it had put away is forgotten."""
    table = MapperNode(Diary(name="Ann"), Diary(name="Bob"), name="table")
    ann, bob = table.members

    class Broken(Diary):
        def inform(self, message):
            raise ValueError("oops")

    table.join(eve := Broken(name="Eve"))
    runtime = home()
    async with runtime:
        runtime.spawn(table, supervisor=Supervisor(strategy="restart", scope="one_for_all"))
        for node in (ann, bob):
            node.pages = ["x"]
            assert runtime.evict(node)
        await (await runtime.tell(eve, Message("go", intent="inform"))).wait()
        assert [(node.pages, is_asleep(node)) for node in (ann, bob)] == [([], False)] * 2
        assert counts(runtime) == (0, 0, 0)


# -- garbage -----------------------------------------------------------------------------------


@on_a_loop
async def test_a_sleeper_that_nobody_knows_any_longer_leaves_nothing_behind(tmp_path):
    """Its row goes with it, at once if nothing refers in circles."""
    path = tmp_path / "asleep.sqlite"
    ann = Diary(name="Ann", pages=["a"])
    async with home(ann, path=path) as runtime:
        stray = Diary(name="Stray", pages=["s"])
        await runtime.ask(stray, "x")
        assert runtime.evict(stray)
        assert runtime.evict(ann)
        assert counts(runtime)[0] == 2
        gone = weakref.ref(stray)
        del stray
        gc.collect()
        assert gone() is None
        assert counts(runtime) == (1, 0, 0)
        assert [row[0] for row in rows(path)] == ["Ann"]
        assert runtime.passivation.bytes == len(rows(path)[0][2])


@on_a_loop
async def test_a_sleeper_that_speaks_of_itself_is_no_circle():
    """It goes when the last one forgets it; the collector of garbage need not look for it."""

    class Selfish(Node):
        me: Any = None

    node = Selfish(name="Ann")
    async with home(after=10) as runtime:
        node.me = [node]
        assert runtime.evict(node)
        gone = weakref.ref(node)
        gc.disable()
        try:
            del node
            assert gone() is None
        finally:
            gc.enable()
        assert counts(runtime) == (0, 0, 0)


@on_a_loop
async def test_who_waits_to_sleep_is_not_kept_alive():
    """A node that the program has dropped is gone before its time to sleep comes."""
    async with home(after=10) as runtime:
        stray = Diary(name="Stray")
        await runtime.ask(stray, "x")
        gone = weakref.ref(stray)
        del stray
        gc.collect()
        assert gone() is None
        await quiet(200)
        assert counts(runtime) == (0, 0, 0)
        assert not runtime.passivation._idle


@on_a_loop
async def test_a_node_that_is_nothing_but_a_node_sleeps_as_others_do():
    """`Node` itself has no fields of its own but its name and persona."""
    ann, eve = Node(name="Ann", persona="a poet"), Node(name="Eve", persona="")
    async with home(ann, after=10) as runtime:
        await until(lambda: is_asleep(ann))
        assert ann.persona == "a poet"
        eve.persona = "x"
        assert runtime.evict(eve)
        assert eve.persona == "x"


# -- threads -----------------------------------------------------------------------------------


def test_a_script_puts_to_sleep_and_reads_from_its_own_thread():
    """`with Runtime(...)`: the event loop runs in another one."""
    ann = Diary(name="Ann", pages=["a"])
    with Runtime(ann, watchdog=None, passivate=Passivation()) as script:
        assert script.runtime.evict(ann)
        assert is_asleep(ann)
        assert ann.pages == ["a"]
        assert script.ask(ann, "b").content == "1: a b"
        assert script.runtime.evict(ann)
    assert ann.pages == ["a", "b"]


@pytest.fixture
def restless():
    """Threads take turns all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_nothing_is_lost_when_threads_look_and_change_while_it_falls_asleep():
    """Each page that any thread wrote is there, however often the node slept meanwhile."""
    ann = Diary(name="Ann")
    with Runtime(ann, watchdog=None, passivate=Passivation()) as script:
        writing = []

        def put_to_sleep():
            while any(thread.is_alive() for thread in writing):
                script.runtime.evict(ann)

        def write(number):
            for page in range(150):
                ann.pages.append(f"{number}/{page}")
                assert (ann.name, ann.heard) == ("Ann", 0)
                while not is_asleep(ann):
                    time.sleep(0)  # another thread is to have its turn

        writing += [threading.Thread(target=write, args=(number,)) for number in range(2)]
        evicting = threading.Thread(target=put_to_sleep)
        for thread in (*writing, evicting):
            thread.start()
        for thread in (*writing, evicting):
            thread.join()
        assert script.runtime.passivation.woken >= 100
    assert sorted(ann.pages) == sorted(f"{n}/{page}" for n in range(2) for page in range(150))


# -- the ways in -------------------------------------------------------------------------------


@on_a_loop
async def test_without_passivation_nobody_sleeps_and_nobody_pays():
    """No observer, no timer; by hand it is an error that says what to do."""
    ann = Diary(name="Ann")
    async with Runtime(ann, clock=VirtualClock(), watchdog=None) as runtime:
        await runtime.ask(ann, "x")
        assert runtime.passivation is None
        assert (runtime._observers, runtime._timers.heap) == ([], [])
        with pytest.raises(Misused, match=r"Runtime\(passivate="):
            runtime.evict(ann)
        assert type(vars(ann)) is dict


@on_a_loop
async def test_only_nodes_are_put_to_sleep():
    """Twice is as good as once; before the start and after the end nobody is."""
    ann = Diary(name="Ann")
    runtime = home(ann)
    assert not runtime.evict(ann)
    async with runtime:
        with pytest.raises(NotANode, match="expected a node to evict, but got 'Ann'"):
            runtime.evict("Ann")
        assert runtime.evict(ann)
        assert runtime.evict(ann)
        assert counts(runtime) == (1, 0, 0)
    assert ann.heard == 0
    assert not runtime.evict(ann)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"after": -1}, "after so many seconds, not -1"),
        ({"after": "1"}, "after so many seconds, not '1'"),
        ({"after": float("nan")}, "after so many seconds, not nan"),
        ({"after": True}, "after so many seconds, not True"),
        ({"batch": 0}, "at least one node, not 0"),
        ({"batch": 1.5}, "at least one node, not 1.5"),
        ({"path": 3}, "a file at a path, not 3"),
    ],
)
def test_options_that_cannot_work_are_refused(options, text):
    """As soon as they are given."""
    with pytest.raises(Misused, match=text):
        Passivation(**options)


def test_a_runtime_takes_a_passivation_and_nothing_else():
    """True would not say when."""
    with pytest.raises(Misused, match=r"passivate is a Passivation\(\.\.\.\), not True"):
        Runtime(passivate=True)


# -- nobody can tell ---------------------------------------------------------------------------


def test_a_program_runs_alike_whether_its_nodes_sleep_or_not():
    """Under fifty seeds of `simulate`: the same words in the same order at the same end."""

    class Sage(Diary):
        peer: Any = None

        def chat(self, message):
            self.pages = [*self.pages, message.content]
            yield sleep(30)
            answer = yield self.peer.ask(f"{self.name} {len(self.pages)}")
            self.heard += len(self.pages)
            yield f"{self.heard} {answer.content}"

    def program(after):
        async def run(simulation):
            book = Diary(name="Book")
            table = GroupChatNode(
                Sage(name="Rumi", peer=book), Sage(name="Lao", peer=book), until=turns(6)
            )
            passivate = None if after is None else Passivation(after, batch=1)
            said = []
            async with simulation.runtime(table, book, passivate=passivate) as runtime:
                for words in ("why?", "how?"):
                    async for reply in runtime.send(table, words):
                        said.append(str(reply))
                        await asyncio.sleep(20)
            results.append((said, book.pages, [sage.state() for sage in table.members]))

        return run

    for seed in range(50):
        results = []
        for after in (None, 0, 25):
            simulate(program(after), seed=seed)
        first, *others = (strip(result) for result in results)
        assert all(other == first for other in others)


def strip(part):
    """Plain data without ids, which are others in each run."""
    if isinstance(part, dict):
        return {key: strip(one) for key, one in part.items() if key != "id"}
    return [strip(one) for one in part] if isinstance(part, list | tuple) else part


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.text(max_size=3)),
        st.tuples(st.just("fail"), st.text(max_size=3)),
        st.tuples(st.just("assign"), st.integers()),
        st.tuples(st.just("append"), st.text(max_size=3)),
        st.tuples(st.just("hold"), st.none()),
        st.tuples(st.just("delete"), st.none()),
        st.tuples(st.just("extra"), st.booleans()),
        st.tuples(st.just("sleep"), st.none()),
        st.tuples(st.just("look"), st.sampled_from(["pages", "heard", "nobody", "persona"])),
    ),
    max_size=12,
)


class Rash(Diary):
    """Fails, having changed everything."""

    def chat(self, message):
        self.heard = -1
        self.pages = []
        self.more = message
        raise ValueError("oops")


class Hand:
    """Does things to a node, and holds its pages."""

    def __init__(self, runtime, node):
        self.runtime, self.node, self.held = runtime, node, []

    async def tell(self, words):
        await self.runtime.ask(self.node, request(words))

    async def fail(self, words):
        with pytest.raises(ValueError, match="oops"):
            await self.runtime.ask(self.node, words)

    async def assign(self, number):
        self.node.heard = number

    async def append(self, words):
        (self.held[-1] if self.held else self.node.pages).append(words)

    async def hold(self, _):
        self.held[:] = [self.node.pages]

    async def delete(self, _):
        self.held.clear()
        self.node.pages = []

    async def extra(self, is_there):
        if is_there:
            self.node.extra = "x"
        elif hasattr(self.node, "extra"):
            del self.node.extra

    async def look(self, name):
        return getattr(self.node, name, None)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_whatever_is_done_to_it_it_is_as_one_that_never_slept(steps):
    """Messages, failures, assignments, looks, held lists, in any order: the same attributes."""

    async def run():
        ann, eve = Rash(name="Ann"), Rash(name="Ann")
        async with home(ann) as runtime, Runtime(eve, watchdog=None) as other:
            mine, hers = Hand(runtime, ann), Hand(other, eve)
            for step, value in steps:
                if step != "sleep":
                    results = [await getattr(hand, step)(value) for hand in (mine, hers)]
                    assert results[0] == results[1]
                elif hasattr(ann, "extra"):
                    with pytest.raises(NotStorable):
                        runtime.evict(ann)
                else:
                    assert runtime.evict(ann)
                    assert is_asleep(ann)
            assert vars(ann) == vars(eve)
            assert [*vars(ann)] == [*vars(eve)]
            assert mine.held == hers.held
            is_hers = [one is eve.pages for one in hers.held]
            assert [one is ann.pages for one in mine.held] == is_hers

    asyncio.run(run())


# -- what it is for ----------------------------------------------------------------------------


@on_a_loop
async def test_a_sleeper_costs_little_memory():
    """What 24 messages of a kilobyte take, it does not: less than a kilobyte is left."""

    class Memory(Node):
        messages: list[Message] = Field(default_factory=list)

    async with home() as runtime:
        nodes = [runtime.spawn(Memory(name=str(n))) for n in range(100)]
        runtime.evict(nodes[0])
        gc.collect()
        tracemalloc.start()
        try:
            for node in nodes:
                node.messages = [Message("x" * 1000 + str(n), id=str(n)) for n in range(24)]
            awake = tracemalloc.get_traced_memory()[0] / 100
            assert all(map(runtime.evict, nodes))
            gc.collect()
            asleep = tracemalloc.get_traced_memory()[0] / 100
        finally:
            tracemalloc.stop()
        assert awake > 24_000
        assert asleep < 1000
