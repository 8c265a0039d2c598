"""`@every`: methods that a runtime calls on a schedule, as messages to the node itself."""

import asyncio
import subprocess
import sys
import time
import zoneinfo
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone
from functools import wraps
from typing import Any, ClassVar

import pytest

from kinds import kinds
from llambdao import MapperNode, Message, Misused, Node, ask, sleep
from llambdao.runtime import Budget, Mailbox, Runtime, Supervisor, every
from llambdao.testing import VirtualClock

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _zones_of_the_package_tzdata():
    """Time zones come from PyPI, whatever this machine knows of them."""
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


def on_a_loop(test):
    """Run this test on an event loop of its own, for ten seconds at most."""

    @wraps(test)
    def run(*args, **named):
        async def bounded():
            async with asyncio.timeout(10):
                await test(*args, **named)

        asyncio.run(bounded())

    return run


def home(*nodes, **options):
    """A runtime under a virtual clock, which begins on 1 January 2030."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def pass_time(runtime, seconds):
    """Let so much virtual time pass, and a nanosecond."""

    class Sleeper(Node):
        def chat(self, message):
            yield sleep(seconds + 1e-9)
            yield "good morning"

    await runtime.ask(Sleeper(), "sleep")


def clock_of(moment):
    """The time of day of a moment, or of the text of one."""
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{moment:%H:%M:%S}"


class Reporter(Node):
    """Notes each time it is called for, and the real one."""

    log: Any

    @every(seconds=60)
    def report(self, message):
        self.log.append(f"{self} {clock_of(message.content)}")


# -- intervals -------------------------------------------------------------------------------------


@kinds()
@on_a_loop
async def test_a_marked_method_is_called_at_each_due_time(handler):
    """Each due time is a message of its own, at exactly that time, whatever the kind of handler."""

    class Ann(Node):
        @every(seconds=60)
        @handler
        def report(self, message):
            log.append(message)
            yield "noted"

    log, ann = [], Ann(name="Ann")
    async with home(ann) as runtime:
        await pass_time(runtime, 180)
    assert [message.content for message in log] == [
        "2030-01-01T00:01:00+00:00",
        "2030-01-01T00:02:00+00:00",
        "2030-01-01T00:03:00+00:00",
    ]
    assert [message.timestamp.isoformat() for message in log] == [m.content for m in log]
    assert {(m.intent, m.sender, m.to) for m in log} == {("report", None, ann)}


@on_a_loop
async def test_each_time_is_a_conversation_of_its_own():
    """An observer sees a message from outside, a handler, what it says, and the end."""

    class Ann(Node):
        @every(hours=1)
        def report(self, message):
            return "all is well"

    events = []
    async with home(Ann(name="Ann"), observe=events.append) as runtime:
        while not any(event.kind == "over" for event in events):
            await asyncio.sleep(0)
        assert runtime.conversations == []
    assert [f"{e.kind} {e.node or ''} {e.message or e.detail}" for e in events] == [
        "said  2030-01-01T01:00:00+00:00",
        "delivered Ann 2030-01-01T01:00:00+00:00",
        "said Ann Ann: all is well",
        "ended Ann 2030-01-01T01:00:00+00:00",
        "over  done",
    ]


@pytest.mark.parametrize(
    ("amounts", "due"),
    [
        ({"seconds": 0.25}, "2030-01-01T00:00:00.250000+00:00"),
        ({"minutes": 1.5}, "2030-01-01T00:01:30+00:00"),
        ({"hours": 2, "minutes": 5}, "2030-01-01T02:05:00+00:00"),
        ({"days": 7}, "2030-01-08T00:00:00+00:00"),
    ],
)
@on_a_loop
async def test_an_interval_is_given_in_any_unit(amounts, due):
    """Seconds, minutes, hours and days, with fractions, added up."""

    class Ann(Node):
        @every(**amounts)
        def report(self, message):
            pass

    async with home(Ann()) as runtime:
        assert [schedule.due for schedule in runtime.schedules] == [due]


@on_a_loop
async def test_members_and_those_who_come_later_have_theirs_too():
    """Whoever joins a runtime, at any depth; each from when it joined, and no node twice."""
    log = []
    ann, bob, eve = (Reporter(name=name, log=log) for name in ("Ann", "Bob", "Eve"))
    inner = MapperNode(bob)
    async with home(MapperNode(inner, ann), inner, ann) as runtime:
        await pass_time(runtime, 30)
        runtime.spawn(MapperNode(eve, bob))
        await pass_time(runtime, 60)
    assert log == ["Bob 00:01:00", "Ann 00:01:00", "Eve 00:01:30"]


@on_a_loop
async def test_a_node_that_is_spawned_before_the_start_waits_for_it():
    """Nothing is due before the runtime has begun."""
    log, clock = [], VirtualClock()
    runtime = home(clock=clock)
    runtime.spawn(Reporter(name="Ann", log=log))
    clock.sleep(30)
    assert runtime.schedules == []
    async with runtime:
        await pass_time(runtime, 60)
    assert log == ["Ann 00:01:30"]


@on_a_loop
async def test_at_once_is_also_at_the_start():
    """The first call does not wait for the first due time."""

    class Ann(Node):
        @every(minutes=1, at_once=True)
        def report(self, message):
            log.append(clock_of(message.content))

        @every("* * * * *", at_once=True)
        def look(self, message):
            log.append(f"looks {clock_of(message.content)}")

    log = []
    async with home(Ann()) as runtime:
        await runtime.settle()
        assert log == ["00:00:00", "looks 00:00:00"]
        await pass_time(runtime, 60)
    assert log == ["00:00:00", "looks 00:00:00", "00:01:00", "looks 00:01:00"]


@kinds("generator", "coroutine", "async-generator")
@on_a_loop
async def test_a_time_is_skipped_while_the_last_one_is_under_way(handler):
    """What takes 150 seconds and is due every 60 is begun at every third time; skips are counted."""

    class Slow(Node):
        @every(seconds=60)
        @handler
        def report(self, message):
            log.append(clock_of(message.content))
            yield sleep(150)

    log = []
    async with home(Slow(name="Ann")) as runtime:
        await pass_time(runtime, 400)
        (schedule,) = runtime.schedules
        assert repr(schedule) == (
            "<Ann.report every 60 s: 2 begun, 4 skipped, next 2030-01-01T00:07:00+00:00>"
        )
        assert (schedule.node.name, schedule.intent) == ("Ann", "report")
    assert log == ["00:01:00", "00:04:00"]


@on_a_loop
async def test_with_overlap_none_is_skipped():
    """At a wait the next one comes in, as any message would."""

    class Slow(Node):
        @every(seconds=60, overlap=True)
        def report(self, message):
            log.append(f"{clock_of(message.content)} begins")
            yield sleep(90)
            log.append(f"{clock_of(message.content)} ends")

    log = []
    async with home(Slow()) as runtime:
        await pass_time(runtime, 150)
        assert [(one.begun, one.skipped) for one in runtime.schedules] == [(2, 0)]
    assert log == ["00:01:00 begins", "00:02:00 begins", "00:01:00 ends"]


def it_is_later(runtime, seconds):
    """So much time has passed while the program did something else."""
    runtime.clock.sleep(seconds)
    runtime._timers._ring()


@pytest.mark.parametrize(
    ("policy", "skipped", "dead"),
    [
        ("wait", 1, []),
        ("raise", 1, []),
        ("drop_newest", 0, ["00:01:00"]),
        ("drop_oldest", 0, ["hurry"]),
    ],
)
@on_a_loop
async def test_a_full_mailbox_is_a_reason_to_skip_too(policy, skipped, dead):
    """Unless it drops messages, as its policy says; the next time is due as ever."""

    class Desk(Reporter):
        async def inform(self, message):
            await gate.wait()
            self.log.append(message.content)

    log, gate = [], asyncio.Event()
    async with home() as runtime:
        desk = runtime.spawn(Desk(name="Ann", log=log), mailbox=Mailbox(1, policy))
        await runtime.tell(desk, Message("hold on", intent="inform"))
        await asyncio.sleep(0)
        await runtime.tell(desk, Message("hurry", intent="inform"))
        it_is_later(runtime, 60)
        assert [one.skipped for one in runtime.schedules] == [skipped]
        gate.set()
        await runtime.settle()
        it_is_later(runtime, 60)
    letters = [(one.message.content, one.reason) for one in runtime.dead_letters]
    assert [(clock_of(w) if w[:1] == "2" else w, why) for w, why in letters] == [
        (word, "mailbox full") for word in dead
    ]
    middle = ["hurry"] if policy != "drop_oldest" else ["Ann 00:01:00"]
    assert log == ["hold on", *middle, "Ann 00:02:00"]


# -- what becomes of it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "numbers", "left"),
    [("resume", [1, 2, 2, 2], 1), ("restart", [1, 2, 1, 2], 1), ("stop", [1, 2], 0)],
)
@on_a_loop
async def test_what_it_raises_goes_to_the_supervisor(strategy, numbers, left):
    """As for any message nobody waits for; who is stopped is called no more."""

    class Shaky(Node):
        number: int = 0

        @every(seconds=60)
        def report(self, message):
            self.number = self.number + 1
            log.append(self.number)
            if self.number == 2:
                raise ValueError("I fell")

    log, shaky = [], Shaky(name="Ann")
    async with home(shaky, supervisor=Supervisor(strategy=strategy)) as runtime:
        await pass_time(runtime, 240)
        assert len(runtime.schedules) == left
    assert log == numbers
    dead = [f"{one.node}: {one.reason}" for one in runtime.dead_letters]
    assert dead == ["Ann: failed: ValueError('I fell')"] * {1: numbers.count(2), 0: 1}[left]


@on_a_loop
async def test_an_error_may_end_the_runtime():
    """A supervisor that escalates what a scheduled method raises ends the block with it."""

    class Shaky(Node):
        @every(seconds=60)
        def report(self, message):
            raise ValueError("I fell")

    with pytest.raises(ValueError, match="I fell"):
        async with home(Shaky(), supervisor=Supervisor(strategy="escalate")):
            await asyncio.sleep(8)


@on_a_loop
async def test_it_may_ask_others_and_sees_no_other_context():
    """A scheduled method waits as any handler does, in the context in which the runtime began."""

    class Cook(Node):
        async def request(self, message):
            WHO.set("the cook")
            await sleep(5)
            return "soup"

    class Guest(Node):
        cook: Node

        @every(seconds=60)
        async def dine(self, message):
            dish = await self.cook.ask("?")
            log.append(f"{dish} for {WHO.get()} at {clock_of(str(self.now()))}")

    log, cook = [], Cook(name="Bob")
    WHO.set("you")
    async with home(Guest(cook=cook)) as runtime:
        await runtime.ask(cook, Message("?", intent="request"))
        WHO.set("somebody")
        await pass_time(runtime, 130)
    assert log == ["Bob: soup for you at 00:01:05", "Bob: soup for you at 00:02:05"]


WHO = ContextVar("who", default="nobody")


@on_a_loop
async def test_what_cannot_be_begun_is_a_dead_letter():
    """When the budget is used up nobody hears the error; the schedule goes on."""

    class Ann(Node):
        @every(seconds=60)
        def report(self, message):
            log.append(message.content)

    log = []
    async with home(Ann(name="Ann"), budget=Budget(messages=1)) as runtime:
        await pass_time(runtime, 1)
        it_is_later(runtime, 60)
        it_is_later(runtime, 60)
        assert [one.begun for one in runtime.schedules] == [2]
        assert [one.reason[:24] for one in runtime.dead_letters] == ["not begun: BudgetReached"] * 2
    assert log == []
