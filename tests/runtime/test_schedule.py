"""`@every`: methods that a runtime calls on a schedule, as messages to the node itself."""

import asyncio
import os
import subprocess
import sys
import textwrap
import time
import zoneinfo
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from kinds import kinds
from llambdao import MapperNode, Message, Misused, Node, ask, sleep
from llambdao.runtime import Budget, Mailbox, Runtime, Supervisor, every
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _zones_of_the_package_tzdata():
    """Time zones come from PyPI, whatever this machine knows of them."""
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


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
    async with home(Ann(name="Ann")) as runtime:
        async for event in runtime.watch():
            events.append(f"{event.kind} {event.node or ''} {event.message or event.detail}")
            if event.kind == "over":
                break
        assert runtime.conversations == []
    assert events == [
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
    """What takes 150 seconds is begun at every third minute; what is left out is counted."""

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
async def test_it_may_ask_others():
    """It waits as any handler does."""

    class Cook(Node):
        async def request(self, message):
            await sleep(5)
            return "soup"

    class Guest(Node):
        cook: Node

        @every(seconds=60)
        def dine(self, message):
            dish = yield self.cook.ask("?")
            log.append(f"{dish} at {clock_of(str(self.now()))}")

    log = []
    async with home(Guest(cook=Cook(name="Bob"))) as runtime:
        await pass_time(runtime, 130)
    assert log == ["Bob: soup at 00:01:05", "Bob: soup at 00:02:05"]


@on_a_loop
async def test_its_context_is_that_in_which_the_runtime_began():
    """Not that of a handler which happened to wait when the timer was set."""

    class Sleeper(Node):
        async def chat(self, message):
            WHO.set("the sleeper")
            await sleep(0.01)
            return "good morning"

    class Ann(Node):
        @every(seconds=0.05)
        async def report(self, message):
            log.append(WHO.get())
            done.set()

    log, done, sleeper = [], asyncio.Event(), Sleeper()
    WHO.set("you")
    async with Runtime(Ann(), watchdog=None) as runtime:
        await runtime.ask(sleeper, "sleep")
        WHO.set("somebody")
        await done.wait()
    assert log[0] == "you"


WHO = ContextVar("who", default="nobody")


@on_a_loop
async def test_what_cannot_be_begun_is_a_dead_letter():
    """When the budget is used up nobody hears the error; the schedule goes on."""

    class Ann(Node):
        @every(seconds=60)
        def report(self, message):
            log.append(message.content)

    log, budget = [], Budget(messages=1)
    budget.charge(messages=1)
    async with home(Ann(name="Ann"), budget=budget) as runtime:
        it_is_later(runtime, 60)
        (letter,) = runtime.dead_letters
        assert letter.reason.startswith("not begun: BudgetReached('the budget has 0 messages left")
        assert (letter.message.content, letter.node.name) == ("2030-01-01T00:01:00+00:00", "Ann")
        assert letter.message.timestamp == datetime.fromisoformat(letter.message.content)
        budget.raise_limit(messages=100)
        it_is_later(runtime, 60)
    assert log == ["2030-01-01T00:02:00+00:00"]


# -- its end ---------------------------------------------------------------------------------------


@on_a_loop
async def test_a_node_that_is_stopped_is_called_no_more():
    """`runtime.stop(node)` ends its schedules and those of its members, and nobody else's."""
    log = []
    ann, bob, eve = (Reporter(name=name, log=log) for name in ("Ann", "Bob", "Eve"))
    table = MapperNode(ann, bob)
    async with home(table, eve) as runtime:
        await pass_time(runtime, 60)
        await runtime.stop(table)
        assert [one.node for one in runtime.schedules] == [eve]
        await pass_time(runtime, 60)
    assert log == ["Ann 00:01:00", "Bob 00:01:00", "Eve 00:01:00", "Eve 00:02:00"]
    assert len(runtime.dead_letters) == 0


@on_a_loop
async def test_a_runtime_that_is_stopped_calls_nobody():
    """Not even while it still handles what is queued; what is under way is cancelled."""

    class Slow(Node):
        @every(seconds=1, overlap=True)
        def report(self, message):
            log.append("begins")
            try:
                yield sleep(3600)
            finally:
                log.append("ends")

        def chat(self, message):
            yield sleep(90)
            yield "done"

    log, clock = [], VirtualClock()
    async with home(slow := Slow(), clock=clock) as runtime:
        await pass_time(runtime, 2)
        await runtime.tell(slow, "go")
    assert log == ["begins", "begins", "ends", "ends"]
    assert runtime.schedules == []


@on_a_loop
async def test_a_runtime_with_schedules_settles():
    """What is not yet due is nothing to wait for; settling lets no time pass."""
    log, clock = [], VirtualClock()
    async with home(Reporter(log=log), clock=clock) as runtime:
        await runtime.settle()
        assert (log, clock.time) == ([], VirtualClock().time)


# -- clocks that jump ------------------------------------------------------------------------------


@on_a_loop
async def test_times_that_were_missed_are_made_up_for_once():
    """The machine slept for an hour: one call, for the first time it missed, then on as before."""

    class Ann(Node):
        @every(minutes=1)
        def report(self, message):
            log.append(f"{clock_of(message.content)} at {clock_of(message.timestamp)}")

        @every("* * * * *")
        def look(self, message):
            log.append(f"{clock_of(message.content)} at {clock_of(message.timestamp)} by cron")

    log = []
    async with home(Ann()) as runtime:
        runtime.clock.sleep(3600 + 15)
        await pass_time(runtime, 60)
    assert log == [
        "00:01:00 at 01:00:15",
        "00:01:00 at 01:00:15 by cron",
        "01:01:00 at 01:01:00",
        "01:01:00 at 01:01:00 by cron",
    ]


class WallClock:
    """The machine's clock, which somebody sets."""

    sleep = staticmethod(time.sleep)

    def __init__(self):
        begin = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)
        self.ahead = round(begin.timestamp()) * 10**9 - time.monotonic_ns()

    def now(self):
        """The time of the steady clock, and how far this one is ahead of it."""
        return time.monotonic_ns() + self.ahead

    def salt(self):
        """Always the same."""
        return 7

    def set(self, runtime, **jump):
        """Set it forward or back; the runtime looks at it within half a minute."""
        self.ahead += round(timedelta(**jump).total_seconds()) * 10**9
        runtime._timers._ring()


def due_after(runtime, **jump):
    """The times at which the schedules are due, before and after the clock was set."""
    before = [datetime.fromisoformat(one.due) for one in runtime.schedules]
    runtime.clock.set(runtime, **jump)
    after = [datetime.fromisoformat(one.due) for one in runtime.schedules]
    moved = [late - early for early, late in zip(before, after, strict=True)]
    return [timedelta(seconds=round(one.total_seconds())) for one in moved]


@pytest.mark.parametrize("hours", [-300, -1, 1, 300])
@on_a_loop
async def test_an_interval_lasts_as_long_as_ever_when_the_clock_is_set(hours):
    """Seconds are those of the steady clock: the due time moves along, nothing is called."""
    log = []
    async with home(Reporter(log=log), clock=WallClock()) as runtime:
        assert due_after(runtime, hours=hours) == [timedelta(hours=hours)]
        await runtime.settle()
    assert log == []


class Daily(Node):
    """Has times of day, and times that come every few minutes."""

    log: Any

    @every("0 11 * * *")
    def breakfast(self, message):
        self.log.append(f"breakfast {clock_of(message.content)}")

    @every("0 13 * * *")
    def lunch(self, message):
        self.log.append(f"lunch {clock_of(message.content)}")

    @every("*/20 * * * *")
    def look(self, message):
        self.log.append(f"look {clock_of(message.content)}")


@on_a_loop
async def test_cron_times_follow_a_clock_that_is_set_forward():
    """What was passed over is made up for once."""
    log = []
    async with home(Daily(log=log), clock=WallClock()) as runtime:
        day, two = timedelta(days=1), timedelta(hours=2)
        assert due_after(runtime, hours=2) == [timedelta(0), day, two]
        await runtime.settle()
    assert log == ["look 12:20:00", "lunch 13:00:00"]


@on_a_loop
async def test_cron_times_of_day_do_not_come_again_when_the_clock_is_set_back():
    """Those of every few minutes go on at once; neither is called for having been set back."""
    log = []
    async with home(Daily(log=log), clock=WallClock()) as runtime:
        same, two = timedelta(0), timedelta(hours=2)
        assert due_after(runtime, hours=-2) == [same, same, -two]
        assert due_after(runtime, minutes=5) == [same, same, same]
    assert log == []


@on_a_loop
async def test_a_clock_that_is_set_back_by_far_was_wrong_before():
    """By more than three hours: cron times begin anew, or a year too far would be a year's rest."""
    log = []
    async with home(Daily(log=log), clock=WallClock()) as runtime:
        year, day = timedelta(days=365), timedelta(days=1)
        assert due_after(runtime, days=-365) == [-year, -year, -year]
        assert due_after(runtime, hours=-4) == [-day, timedelta(0), timedelta(hours=-4)]
    assert log == []


@on_a_loop
async def test_on_the_machines_clock_it_is_called_in_real_time():
    """Twice within the tenths of a second that it takes."""

    class Ann(Node):
        @every(seconds=0.02)
        def report(self, message):
            times.append((message.content, message.timestamp))
            if len(times) == 2:
                done.set()

    times, done = [], asyncio.Event()
    async with Runtime(Ann(), watchdog=None):
        await done.wait()
    late = [real - datetime.fromisoformat(due) for due, real in times]
    assert all(timedelta(0) <= one < timedelta(seconds=5) for one in late)


# -- marks -----------------------------------------------------------------------------------------


async def calls(node, seconds=180):
    """What a node notes in so many seconds."""
    async with home(node) as runtime:
        await pass_time(runtime, seconds)
    return node.log


@on_a_loop
async def test_a_mark_is_inherited_and_the_nearest_one_holds():
    """An override is called in place of what it overrides, at its times or at times of its own."""

    class Quiet(Reporter):
        def report(self, message):
            self.log.append(f"quietly {clock_of(message.content)}")

    class Rare(Quiet):
        @every(seconds=150)
        def report(self, message):
            self.log.append(f"rarely {clock_of(message.content)}")

    class Never(Rare):
        report: ClassVar[Any] = None

    assert await calls(Reporter(name="Ann", log=[]), 60) == ["Ann 00:01:00"]
    assert await calls(Quiet(log=[]), 60) == ["quietly 00:01:00"]
    assert await calls(Rare(log=[])) == ["rarely 00:02:30"]
    assert await calls(Never(log=[])) == []


@on_a_loop
async def test_several_may_stand_above_one_method():
    """Each has times of its own, and is skipped for its own sake only."""

    class Ann(Node):
        log: Any

        @every(seconds=60)
        @every("0 * * * *")
        @every(seconds=70)
        def report(self, message):
            self.log.append(clock_of(message.content))

    assert await calls(Ann(log=[]), 140) == ["00:01:00", "00:01:10", "00:02:00", "00:02:20"]


@on_a_loop
async def test_it_is_a_handler_as_any_other():
    """Anybody may send it the same message; without a runtime it is a handler, and no more."""

    class Ann(Node):
        @every(seconds=60)
        def report(self, message):
            return f"told at {message.content}"

    ann = Ann(name="Ann")
    assert ann.intents == ("report",)
    assert str(ask(ann, Message("noon", intent="report"))) == "Ann: told at noon"
    async with home(ann) as runtime:
        said = await runtime.ask(ann, Message("noon", intent="report"))
        assert str(said) == "Ann: told at noon"


@on_a_loop
async def test_one_of_the_usual_intents_may_be_marked():
    """`step`, say, as the pulse of an environment; one who overrides `receive` gets it there."""

    class World(Node):
        log: Any

        @every(seconds=60)
        def step(self, message):
            self.log.append("step")

    class Watched(World):
        def receive(self, message):
            self.log.append(f"received {message.intent}")
            yield super().receive(message)

    assert await calls(World(log=[]), 60) == ["step"]
    assert await calls(Watched(log=[]), 60) == ["received step", "step"]


# -- cron texts ------------------------------------------------------------------------------------


async def times(cron, start, count, tz="UTC"):
    """The next times of a cron text, by the clock on the wall in its zone."""

    class Ann(Node):
        @every(cron, tz=tz)
        def report(self, message):
            due = datetime.fromisoformat(message.content)
            assert message.timestamp == due
            log.append(f"{due:%Y-%m-%d %H:%M %z}")
            if len(log) == count:
                done.set()

    log, done = [], asyncio.Event()
    start = datetime.fromisoformat(start)
    async with home(Ann(), clock=VirtualClock(start=start)):
        await done.wait()
    return log


@pytest.mark.parametrize(
    ("cron", "start", "due"),
    [
        ("*/5 * * * *", "2026-01-01 00:02", ["2026-01-01 00:05", "2026-01-01 00:10"]),
        ("0 0 * * *", "2026-01-01 00:00", ["2026-01-02 00:00", "2026-01-03 00:00"]),
        ("0 9 * * mon-fri", "2026-11-20 09:00", ["2026-11-23 09:00", "2026-11-24 09:00"]),
        ("0 0 * * 0", "2026-11-20 00:00", ["2026-11-22 00:00", "2026-11-29 00:00"]),
        ("0 0 * * 7", "2026-11-20 00:00", ["2026-11-22 00:00", "2026-11-29 00:00"]),
        ("0 8-18/5 * * *", "2026-01-01 09:00", ["2026-01-01 13:00", "2026-01-01 18:00"]),
        ("0 0 1 jan,JUL *", "2026-02-01 00:00", ["2026-07-01 00:00", "2027-01-01 00:00"]),
        ("0 0 29 2 *", "2026-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 13 * fri", "2026-12-05 00:00", ["2026-12-11 00:00", "2026-12-13 00:00"]),
        ("0 0 */10 * mon", "2026-01-01 00:00", ["2026-05-11 00:00", "2026-06-01 00:00"]),
        ("0 0 */10 * *", "2021-02-20 00:00", ["2021-02-21 00:00", "2021-03-01 00:00"]),
        ("0 12 L * *", "2028-02-01 00:00", ["2028-02-29 12:00", "2028-03-31 12:00"]),
        ("0 12 * * mon#1", "2026-11-03 00:00", ["2026-12-07 12:00", "2027-01-04 12:00"]),
    ],
)
@on_a_loop
async def test_a_cron_text_means_what_cron_says(cron, start, due):
    """Steps, ranges, names, 0 or 7 for Sunday; day of month or of week, or both if starred."""
    assert await times(cron, f"{start}+00:00", 2) == [f"{one} +0000" for one in due]


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("cron", "due"),
    [
        # Before the change, in the hour that is left out, right after it, later.
        ("30 1 * * *", ["29 01:30 +0100", "30 01:30 +0200"]),
        ("30 2 * * *", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("0,30 2 * * *", ["29 03:00 +0200", "30 02:00 +0200"]),
        ("0 3 * * *", ["29 03:00 +0200", "30 03:00 +0200"]),
        ("0 2,3 * * *", ["29 03:00 +0200", "30 02:00 +0200"]),
        ("0 9 * * *", ["29 09:00 +0200", "30 09:00 +0200"]),
        # Every few minutes, or every hour: as time passes.
        ("*/40 1-3 * * *", ["29 01:00 +0100", "29 01:40 +0100", "29 03:00 +0200"]),
        ("15 * * * *", ["29 00:15 +0100", "29 01:15 +0100", "29 03:15 +0200"]),
    ],
)
@on_a_loop
async def test_a_time_that_does_not_exist_comes_right_after_the_change(cron, due):
    """In Berlin there was no 02:00 to 03:00 on 29 March 2026: once, at 03:00."""
    log = await times(cron, "2026-03-29 00:00+01:00", len(due), tz=BERLIN)
    assert log == [f"2026-03-{one}" for one in due]


@pytest.mark.parametrize(
    ("cron", "due"),
    [
        ("30 1 * * *", ["25 01:30 +0200", "26 01:30 +0100"]),
        ("30 2 * * *", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("0 3 * * *", ["25 03:00 +0100", "26 03:00 +0100"]),
        ("0 9 * * *", ["25 09:00 +0100", "26 09:00 +0100"]),
        ("*/30 2 * * *", [f"25 {t}" for t in ("02:00 +0200", "02:30 +0200", "02:00 +0100")]),
        ("15 * * * *", [f"25 {t}" for t in ("00:15 +0200", "01:15 +0200", "02:15 +0200")]
         + [f"25 {t}" for t in ("02:15 +0100", "03:15 +0100")]),
    ],
)  # fmt: skip
@on_a_loop
async def test_a_time_that_exists_twice_comes_once(cron, due):
    """In Berlin there were two times 02:00 to 03:00 on 25 October 2026: the first one counts."""
    log = await times(cron, "2026-10-25 00:00+02:00", len(due), tz=BERLIN)
    assert log == [f"2026-10-{one}" for one in due]


@on_a_loop
async def test_who_begins_in_the_second_of_two_like_hours_waits_for_the_next_day():
    """At 02:10 for the second time, 02:30 has been."""
    log = await times("30 2 * * *", "2026-10-25 02:10+01:00", 1, tz=BERLIN)
    assert log == ["2026-10-26 02:30 +0100"]


@on_a_loop
async def test_a_zone_is_a_name_or_an_object():
    """UTC needs no data base of zones, nor does a fixed distance from it."""
    india = timezone(timedelta(hours=5, minutes=30))
    for tz in (india, "Asia/Kolkata"):
        log = await times("0 9 * * *", "2026-01-01 00:00+00:00", 1, tz=tz)
        assert log == ["2026-01-01 09:00 +0530"]


def program(text, **environment):
    """What a program of its own prints, or raises last."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    return (done.stdout + done.stderr).splitlines()[-1]


def test_on_a_system_without_time_zones_the_error_says_where_to_get_them():
    """UTC is there everywhere."""
    said = program(
        """
        import sys
        from llambdao.runtime import every
        sys.modules["tzdata"] = None
        every("0 9 * * *")
        every("0 9 * * *", tz="Europe/Berlin")
        """,
        PYTHONTZPATH="",
    )
    assert said.startswith("llambdao.kernel.errors.Misused: no time zone 'Europe/Berlin' is known")
    assert said.endswith("(on a system without any: pip install tzdata)")


# -- what it refuses -------------------------------------------------------------------------------

USUAL = "@every(seconds=60), or @every('0 9 * * mon-fri', tz='Europe/Berlin')"
FORM = "a cron text has five, minute hour day month weekday, such as '0 9 * * mon-fri'"


@pytest.mark.parametrize(
    ("args", "options", "lesson"),
    [
        ((), {}, f"@every wants more than 0 seconds, and less than 30 years: {USUAL}"),
        ((), {"seconds": 0}, f"@every wants more than 0 seconds, and less than 30 years: {USUAL}"),
        ((), {"hours": -1}, f"@every wants more than 0 seconds, and less than 30 years: {USUAL}"),
        (
            (),
            {"days": float("nan")},
            f"@every wants more than 0 seconds, and less than 30 years: {USUAL}",
        ),
        ((), {"seconds": "60"}, f"@every takes numbers: {USUAL}; got '60'"),
        ((60,), {}, f"@every takes an interval or a cron text: {USUAL}; got 60"),
        (
            ("0 9 * * *",),
            {"seconds": 1},
            f"@every takes an interval or a cron text: {USUAL}; got '0 9 * * *'",
        ),
        (
            (),
            {"seconds": 1, "tz": BERLIN},
            "a time zone is for cron texts; an interval is the same in all of them",
        ),
        (("0 9 * *",), {}, f"@every('0 9 * *') has 4 fields; {FORM}"),
        (("0 0 9 * * *",), {}, f"@every('0 0 9 * * *') has 6 fields; {FORM}"),
        (("61 9 * * *",), {}, f"@every('61 9 * * *'): Bad minute; {FORM}"),
        (("0 9 * * fry",), {}, f"@every('0 9 * * fry'): Bad day-of-week; {FORM}"),
        (("0 9 30 feb *",), {}, f"@every('0 9 30 feb *'): Bad day-of-month; {FORM}"),
        (
            ("0 9 */20 * 1L",),
            {},
            "@every('0 9 */20 * 1L') is never due; does that month have such a day?",
        ),
        *(
            (
                ("0 9 * * *",),
                {"tz": tz},
                (
                    f"no time zone {tz!r} is known here; one is named as 'Europe/Berlin' is (on a"
                    " system without any: pip install tzdata)"
                ),
            )
            for tz in ("Mars/Base", "Europe", "../etc/passwd", 1)
        ),
    ],
)
def test_what_cannot_be_is_refused_when_the_class_is_made(args, options, lesson):
    """Each refusal says what was expected."""
    with pytest.raises(Misused) as refused:

        class Ann(Node):
            @every(*args, **options)
            def report(self, message):
                pass

    assert str(refused.value) == lesson


def test_only_methods_can_be_marked():
    """Not `@every` without its times, not another thing, not a name that is taken."""
    with pytest.raises(Misused, match=r"@every takes an interval or a cron text: .*; got <funct"):

        class Bare(Node):
            @every
            def report(self, message):
                pass

    with pytest.raises(Misused, match="@every marks a method of a node, but got 'report'"):
        every(seconds=1)("report")
    with pytest.raises(Misused, match=r"Taken\.link is marked @intent, but that name is taken"):

        class Taken(Node):
            @every(seconds=1)
            def link(self, node, **metadata):
                pass


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch):
    """Only cron texts need it."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    every(seconds=1)
    with pytest.raises(Misused) as refused:
        every("0 9 * * *")
    assert str(refused.value) == (
        "cron texts need a library that is not installed: pip install 'llambdao[runtime]'"
    )


def test_nothing_is_imported_before_a_cron_text_is_used():
    """Neither by `import llambdao.runtime` nor by intervals."""
    said = program(
        """
        import sys
        from llambdao.runtime import every
        every(seconds=1)
        before = "cronsim" in sys.modules
        every("0 9 * * *")
        print(before, "cronsim" in sys.modules)
        """
    )
    assert said == "False True"
