"""Bad input: whatever a handler, a caller or a clock does, it comes to a typed outcome."""

import asyncio
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from kinds import WAITING, kinds
from llambdao import (
    LimitReached,
    Limits,
    LlambdaoError,
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    NotANode,
    UnknownIntent,
    expect,
    sleep,
)
from llambdao.kernel.errors import MailboxFull
from llambdao.runtime import Mailbox, Runtime
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)
RAISING = ("plain", "generator", "coroutine", "async-generator")


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def quiet(count=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)


def left(runtime):
    """What is left of conversations in a runtime, and in its mailboxes."""
    return [*map(str, runtime.conversations), *runtime._mailboxes.boxes.values()]


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content

    chat = inform = request


async def came_of(runtime, node, way, message="go", **options):
    """The error that came of sending a node a message, in one of the ways in; None if none did."""
    try:
        if way == "ask":
            await runtime.ask(node, message, **options)
        elif way == "send":
            async for _ in runtime.send(node, message, **options):
                pass
        elif way == "among others":
            others = [await runtime.tell(Echo(), "hello") for _ in range(3)]
            try:
                await runtime.ask(node, message, **options)
            finally:
                for other in others:
                    await other.wait()
        else:
            conversation = await runtime.tell(node, message, **options)
            await conversation.wait()
            return conversation.error
    except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
        return error


every_way = pytest.mark.parametrize("way", ["ask", "send", "tell", "among others"])


# -- handlers that do what they should not -------------------------------------------------------


@every_way
@kinds(*RAISING)
@on_a_loop
async def test_what_a_handler_raises_is_raised_where_it_is_waited_for(handler, way):
    """Rule 10: the error itself, with the handler's own line in its traceback."""

    class Broken(Node):
        @handler
        def chat(self, message):
            raise ZeroDivisionError("oops")
            yield

    async with home() as runtime:
        error = await came_of(runtime, Broken(), way)
        assert type(error) is ZeroDivisionError
        assert 'raise ZeroDivisionError("oops")' in "".join(traceback.format_exception(error))
        assert left(runtime) == []


@every_way
@kinds(*RAISING)
@on_a_loop
async def test_what_cannot_be_said_is_a_lesson_with_its_line(handler, way):
    """Rule 2: anything else is a `TypeError` that shows the handler's line."""

    class Strange(Node):
        @handler
        def chat(self, message):
            yield 42

    async with home() as runtime:
        error = await came_of(runtime, Strange(), way)
        assert isinstance(error, Misused)
        assert isinstance(error, TypeError)
        assert "42" in str(error)
        assert "Strange.chat" in str(error)
        assert left(runtime) == []


@every_way
@kinds(*RAISING)
@on_a_loop
async def test_going_through_the_runtime_inside_a_handler_is_refused(handler, way):
    """Rule 8: it would wait for itself: `Misused`, which says what to write."""

    class Sneaky(Node):
        @handler
        def chat(self, message):
            opened = getattr(runtime, message.content)(echo, "hello")
            yield f"never said: {opened}"

    echo = Echo()
    async with home(echo) as runtime:
        for sneaked in ("ask", "send"):
            error = await came_of(runtime, Sneaky(), way, sneaked)
            assert isinstance(error, Misused)
            assert "node.ask(...)" in str(error)
        assert (await runtime.ask(echo, "still here")).content == "still here"
        assert left(runtime) == []


@every_way
@pytest.mark.parametrize("sneaked", ["ask", "tell"])
@on_a_loop
async def test_awaiting_the_runtime_inside_a_handler_is_refused(sneaked, way):
    """Rule 8: the same for a coroutine that awaits it, also in a task of its own."""

    class Sneaky(Node):
        async def chat(self, message):
            if message.content == "task":
                await asyncio.create_task(self.sneak())
            else:
                await self.sneak()

        async def sneak(self):
            await getattr(runtime, sneaked)(echo, "hello")

    echo = Echo()
    async with home(echo) as runtime:
        for message in ("itself", "task"):
            error = await came_of(runtime, Sneaky(), way, message)
            assert isinstance(error, Misused)
            assert "node.ask(...)" in str(error)
        assert left(runtime) == []


@on_a_loop
async def test_the_program_may_go_through_the_runtime_while_handlers_wait():
    """Rule 8: what is refused inside handlers is right next to them."""

    class Async(Node):
        async def chat(self, message):
            await gate.wait()
            return message.content

    gate, node = asyncio.Event(), Async()
    async with home(node) as runtime:
        asking = asyncio.create_task(runtime.ask(node, "one"))
        await quiet()
        other = asyncio.create_task(runtime.ask(Echo(), "two"))
        assert (await other).content == "two"
        gate.set()
        assert (await asking).content == "one"


@every_way
@kinds("coroutine", "async-generator")
@on_a_loop
async def test_an_async_handler_that_never_ends_is_ended_by_its_deadline(handler, way):
    """Rule 11: `timeout=`: the caller gets `NoAnswer`, the node is free again."""

    async def turn():
        await asyncio.sleep(0)

    class Endless(Node):
        @handler
        def chat(self, message):
            yield Stuck().ask("?")

    class Stuck(Node):
        async def request(self, message):
            while True:
                await turn()

    async with Runtime(watchdog=None) as runtime:
        error = await came_of(runtime, Endless(), way, timeout=0.01)
        assert isinstance(error, NoAnswer)
        await runtime.settle()
        assert left(runtime) == []


@kinds(*WAITING)
@on_a_loop
async def test_a_handler_that_waits_for_nothing_again_and_again_is_ended_by_its_deadline(handler):
    """Rule 11: and lets all others have their turn meanwhile."""

    class Restless(Node):
        @handler
        def chat(self, message):
            while True:
                yield sleep(0)

    async with Runtime(watchdog=None) as runtime:
        asking = asyncio.ensure_future(runtime.ask(Restless(), "go", timeout=0.02))
        for number in range(10):
            assert (await runtime.ask(Echo(), str(number))).content == str(number)
            await asyncio.sleep(0)
        assert not asking.done()
        with pytest.raises(NoAnswer):
            await asking
        assert left(runtime) == []


@every_way
@kinds("generator", "async-generator")
@on_a_loop
async def test_a_handler_that_floods_its_hearer_ends_at_the_limit(handler, way):
    """Rule 9: so many messages and no more: `LimitReached`, which says how to allow more."""

    class Flood(Node):
        @handler
        def chat(self, message):
            while True:
                said.append(1)
                yield "more"

    said = []
    async with home() as runtime:
        error = await came_of(runtime, Flood(), way, limits=Limits(messages=500))
        assert isinstance(error, LimitReached)
        assert "limits=Limits(messages=...)" in str(error)
        assert 490 <= len(said) <= 500
        assert left(runtime) == []


@pytest.mark.parametrize("policy", ["wait", "drop_oldest", "drop_newest", "raise"])
@on_a_loop
async def test_a_handler_that_floods_mailboxes_ends_at_the_limit(policy):
    """Rule 8 and 9: whatever the policy: a typed end, and little memory meanwhile."""

    class Flood(Node):
        async def chat(self, message):
            while True:
                await self.tell("more", intent="chat")

    flood = Flood()
    async with home(flood, mailbox=Mailbox(10, policy)) as runtime:
        error = await came_of(runtime, flood, "tell", limits=Limits(messages=500))
        assert isinstance(error, LimitReached | MailboxFull)
        assert (await runtime.ask(Echo(), "hello")).content == "hello"
        await quiet()
        assert left(runtime) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["ask", "send", "tell"])
def test_an_interrupt_inside_a_handler_ends_the_program(kind, way):
    """Rule 10 and 11: Ctrl-C is for the program; the `finally` blocks of all others run."""

    class Interrupted(Node):
        def chat(self, message):
            raise kind

    class Waiting(Node):
        def chat(self, message):
            try:
                yield expect("never")
            finally:
                log.append("cleaned up")

    async def main():
        async with home() as runtime:
            await runtime.tell(Waiting(), "go")
            await quiet()
            await came_of(runtime, Interrupted(), way)
            await asyncio.sleep(5)

    log = []
    with pytest.raises(kind):
        asyncio.run(main())
    assert log == ["cleaned up"]


@every_way
@kinds(*RAISING)
@on_a_loop
async def test_a_handler_that_pretends_to_be_cancelled_cancels_nobody(handler, way):
    """Rule 10: `CancelledError` raised by a handler is its mistake; its caller is not cancelled."""

    class Pretender(Node):
        @handler
        def chat(self, message):
            raise asyncio.CancelledError
            yield

    async with home() as runtime:
        error = await came_of(runtime, Pretender(), way)
        assert isinstance(error, LlambdaoError)
        assert not asyncio.current_task().cancelling()
        assert (await runtime.ask(Echo(), "hello")).content == "hello"
        assert left(runtime) == []


@kinds("generator", "async-generator")
@on_a_loop
async def test_a_handler_that_speaks_while_it_is_closed_harms_nobody(handler):
    """Rule 11: `yield` in a `finally` block: said to nobody; the others are cancelled, too."""

    class Parting(Node):
        @handler
        def chat(self, message):
            try:
                yield expect("never")
            finally:
                yield "good bye"

    class Asker(Node):
        def chat(self, message):
            try:
                yield parting.ask("?", intent="chat")
            finally:
                log.append("asker is over")

    log, parting = [], Parting()
    async with home(parting) as runtime:
        conversation = await runtime.tell(Asker(), "go")
        await quiet()
        with suppress(RuntimeError):
            await conversation.cancel()
        await quiet()
        assert log == ["asker is over"]
        assert conversation.reason == "cancelled"
        asking = asyncio.ensure_future(runtime.ask(parting, "go"))
        await quiet()
        asking.cancel()
        with suppress(asyncio.CancelledError, RuntimeError):
            await asking
        assert left(runtime) == []


@on_a_loop
async def test_a_wait_that_is_yielded_twice_is_an_error_in_that_conversation_only():
    """Rule 5: of two conversations that share a wait the second gets the lesson."""

    class Sharing(Node):
        def chat(self, message):
            yield shared

    shared = sleep(1)
    async with home() as runtime:
        first = await runtime.tell(Sharing(), "go")
        await quiet(3)
        error = await came_of(runtime, Sharing(), "ask")
        assert isinstance(error, Misused)
        assert "yielded twice" in str(error)
        await first.wait()
        assert first.reason == "done"


# -- callers that do what they should not --------------------------------------------------------


@every_way
@on_a_loop
async def test_an_intent_nobody_understands_is_refused(way):
    """Rule 1: `UnknownIntent` names the intents the node does have; nothing is left over."""
    async with home() as runtime:
        error = await came_of(runtime, Echo(name="Echo"), way, Message("?", intent="link"))
        assert isinstance(error, UnknownIntent)
        assert "request" in str(error)
        assert left(runtime) == []


@every_way
@pytest.mark.parametrize("message", [42, None, b"bytes", ["a"], Echo])
@on_a_loop
async def test_what_is_no_message_is_refused(message, way):
    """Rule 14: a message or its words, else a lesson."""
    async with home() as runtime:
        error = await came_of(runtime, Echo(), way, message)
        assert isinstance(error, Misused)
        assert "message" in str(error)
        assert left(runtime) == []


@every_way
@pytest.mark.parametrize("node", [None, "Echo", Echo, 3])
@on_a_loop
async def test_what_is_no_node_is_refused(node, way):
    """Rule 14: `NotANode`, whichever way in."""
    async with home() as runtime:
        error = await came_of(runtime, node, way)
        assert isinstance(error, NotANode)
        assert left(runtime) == []


@every_way
@on_a_loop
async def test_an_option_that_does_not_exist_is_refused(way):
    """A slip such as `timout=5` is an error, not a conversation without a deadline."""
    async with home() as runtime:
        error = await came_of(runtime, Echo(), way, timout=5)
        assert isinstance(error, TypeError)
        assert "timout" in str(error)
        assert left(runtime) == []


@pytest.mark.parametrize(
    "given",
    [
        {"mailbox": 100},
        {"supervisor": "restart"},
        {"limits": 100},
        {"clock": time.time},
        {"observe": 3},
    ],
    ids=str,
)
def test_a_runtime_made_of_nonsense_is_refused(given):
    """Mistakes are errors where they are made: `TypeError`, when the runtime is made."""
    with pytest.raises(TypeError):
        Runtime(**given)


@pytest.mark.parametrize("node", [None, "Echo", Echo])
@on_a_loop
async def test_only_nodes_can_live_in_a_runtime(node):
    """`NotANode` in the constructor and in `spawn`."""
    with pytest.raises(NotANode):
        Runtime(node)
    async with home() as runtime:
        with pytest.raises(NotANode):
            runtime.spawn(node)
        with pytest.raises(TypeError):
            runtime.spawn(Echo(), mailbox=5)


# -- two runtimes --------------------------------------------------------------------------------


@every_way
@on_a_loop
async def test_a_node_lives_in_one_runtime_only(way):
    """A node has one mailbox: a second runtime is refused it, whichever way it comes there."""
    echo = Echo(name="Echo")
    async with home(echo) as one:
        with pytest.raises(Misused, match=r"^Echo lives in another runtime"):
            async with home(echo):
                pass
        async with home() as other:
            with pytest.raises(Misused, match=r"^Echo lives in another runtime"):
                other.spawn(echo)
            error = await came_of(other, echo, way)
            assert isinstance(error, Misused)
            assert "lives in another runtime" in str(error)
            assert left(other) == []
        assert (await one.ask(echo, "still here")).content == "still here"
    async with home(echo) as third:
        assert (await third.ask(echo, "moved")).content == "moved"


@on_a_loop
async def test_members_live_where_their_network_does():
    """A network and its members belong to one runtime, until it stops."""
    ann = Echo(name="Ann")
    network = MapperNode(MapperNode(ann))
    async with home(network), home() as other:
        with pytest.raises(Misused, match=r"^Ann lives in another runtime"):
            await other.ask(ann, "hello")
    async with home(ann) as third:
        assert (await third.ask(ann, "moved")).content == "moved"


@on_a_loop
async def test_a_runtime_that_could_not_begin_keeps_no_node():
    """Refused one node, it gives back those it had taken already."""
    ann, bob, carl = Echo(name="Ann"), Echo(name="Bob"), Echo(name="Carl")
    second = home(ann, bob, carl)
    async with home(bob):
        with pytest.raises(Misused, match=r"^Bob lives in another runtime"):
            async with second:
                pass
        with pytest.raises(Misused, match=r"^Bob lives in another runtime"):
            home(ann, bob, carl)
        async with home(ann, carl) as third:
            assert (await third.ask(ann, "free")).content == "free"


@on_a_loop
async def test_a_spawn_that_is_refused_leaves_no_trace():
    """The node is not among those of the runtime that was refused it."""
    ann, bob = Echo(name="Ann"), Echo(name="Bob")
    network = MapperNode(ann, bob)
    async with home(bob):
        async with home() as other:
            with pytest.raises(Misused):
                other.spawn(network)
            assert network not in other.nodes
        async with home(ann) as third:
            assert (await third.ask(ann, "free")).content == "free"


@on_a_loop
async def test_a_member_that_has_left_is_free_when_the_runtime_has_stopped():
    """A node belongs to the runtime it came to live in, until that stops."""
    ann, bob = Echo(name="Ann"), Echo(name="Bob")
    network = MapperNode(ann, bob)
    async with home(network):
        network.leave(bob)
    async with home(bob) as other:
        assert (await other.ask(bob, "free")).content == "free"


# -- a clock that jumps --------------------------------------------------------------------------


class Jumpy:
    """The machine's clock, which somebody sets."""

    def __init__(self):
        self.set_by = 0
        self.sleep = time.sleep
        self.salt = count(1).__next__

    def now(self):
        return time.time_ns() + self.set_by

    def jump(self, **by):
        self.set_by += round(timedelta(**by).total_seconds() * 1e9)

    def at(self, **later):
        return datetime.fromtimestamp(self.now() / 1e9, UTC) + timedelta(**later)


class Sleeper(Node):
    """Sleeps for the seconds it is told, and says how long that was by the steady clock."""

    def chat(self, message):
        begun = time.monotonic()
        yield sleep(float(message.content))
        yield str(time.monotonic() - begun)


async def slept(runtime, seconds):
    """Is a sleep of so many seconds as long as that, and not much longer?"""
    answer = await runtime.ask(Sleeper(), str(seconds))
    return seconds * 0.9 <= float(answer.content) < seconds + 1


every_jump = pytest.mark.parametrize("days", [1, -1, 400], ids="{} days".format)


@every_jump
@on_a_loop
async def test_a_sleep_of_some_seconds_keeps_its_length_when_the_clock_jumps(days):
    """Rule 6: whatever the wall clock does meanwhile."""
    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        sleeping = [asyncio.ensure_future(slept(runtime, seconds)) for seconds in (0.02, 0.03)]
        await asyncio.sleep(0.005)
        clock.jump(days=days)
        assert await asyncio.gather(*sleeping) == [True, True]
        assert await slept(runtime, 0.01)


@every_jump
@on_a_loop
async def test_a_sleep_that_began_after_a_jump_keeps_its_length_too(days):
    """Rule 6: also if nobody has noticed the jump when it begins."""
    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        before = asyncio.ensure_future(slept(runtime, 0.03))
        await asyncio.sleep(0.005)
        clock.jump(days=days)
        after = [asyncio.ensure_future(slept(runtime, seconds)) for seconds in (0.01, 0.04)]
        async with asyncio.timeout(2):
            assert await asyncio.gather(before, *after) == [True, True, True]


@every_jump
@on_a_loop
async def test_a_sleep_within_a_conversation_that_sleeps_already(days):
    """Rule 6: two sleeps of one conversation, one begun before the jump and one after."""

    class Two(Node):
        def chat(self, message):
            yield Sleeper().tell("0.03", intent="chat")
            yield expect("jumped")
            begun = time.monotonic()
            yield sleep(0.01)
            yield str(time.monotonic() - begun)

    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        asking = asyncio.ensure_future(runtime.ask(Two(), "go"))
        await asyncio.sleep(0.005)
        clock.jump(days=days)
        runtime.news("jumped", days)
        async with asyncio.timeout(2):
            assert 0.009 <= float((await asking).content) < 1


@every_jump
@pytest.mark.parametrize("inside", [True, False])
@on_a_loop
async def test_deadlines_keep_their_length_when_the_clock_jumps(days, inside):
    """Rule 5 and 11: a timeout is a number of seconds."""

    class Silent(Node):
        def request(self, message):
            yield expect("never")

    class Asker(Node):
        def chat(self, message):
            yield Silent().ask("?", timeout=0.02 if inside else None)

    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        begun = time.monotonic()
        options = {} if inside else {"timeout": 0.02}
        asking = asyncio.ensure_future(runtime.ask(Asker(), "go", **options))
        await asyncio.sleep(0.005)
        clock.jump(days=days)
        with pytest.raises(NoAnswer):
            async with asyncio.timeout(2):
                await asking
        assert 0.018 <= time.monotonic() - begun < 1


@on_a_loop
async def test_a_sleep_until_a_date_follows_the_wall_clock():
    """Rule 6: set forward beyond the date, it is over; nobody waits for a day that has passed."""

    class Dated(Node):
        def chat(self, message):
            yield sleep(clock.at(hours=12))
            yield "it is time"

    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        asking = asyncio.ensure_future(runtime.ask(Dated(), "go"))
        assert await slept(runtime, 0.005)
        clock.jump(hours=11)
        assert await slept(runtime, 0.005)
        assert not asking.done()
        clock.jump(hours=2)
        assert await slept(runtime, 0.005)  # somebody looks at the clock
        async with asyncio.timeout(1):
            assert (await asking).content == "it is time"


@on_a_loop
async def test_a_sleep_until_a_date_waits_when_the_wall_clock_is_set_back():
    """Rule 6: a date is a date: set back, it is further away."""

    class Dated(Node):
        def chat(self, message):
            yield sleep(clock.at(milliseconds=10))
            yield "it is time"

    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        asking = asyncio.ensure_future(runtime.ask(Dated(), "go"))
        await asyncio.sleep(0)
        clock.jump(hours=-1)
        assert await slept(runtime, 0.02)
        assert not asking.done()
        clock.jump(hours=1)
        assert await slept(runtime, 0.005)
        async with asyncio.timeout(1):
            assert (await asking).content == "it is time"


@on_a_loop
async def test_both_kinds_of_sleep_in_one_conversation():
    """Rule 6: of the two the date moves, the seconds do not."""

    class Both(Node):
        def chat(self, message):
            begun = time.monotonic()
            yield sleep(clock.at(hours=1)) & sleep(0.02)
            yield str(time.monotonic() - begun)

    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        asking = asyncio.ensure_future(runtime.ask(Both(), "go"))
        await asyncio.sleep(0.005)
        clock.jump(hours=2)
        async with asyncio.timeout(2):
            assert 0.018 <= float((await asking).content) < 1


@every_jump
@on_a_loop
async def test_settling_does_not_wait_for_a_sleep_the_clock_has_jumped_over(days):
    """Runtime.settle: some seconds are not over because a clock was set: nobody can go on."""
    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        sleeping = asyncio.ensure_future(slept(runtime, 3600))
        await asyncio.sleep(0.005)
        clock.jump(days=days)
        async with asyncio.timeout(1):
            await runtime.settle()
        assert not sleeping.done()
        sleeping.cancel()
        await asyncio.wait([sleeping])


@on_a_loop
async def test_a_clock_that_trembles_is_no_jump():
    """Timers: small corrections, as of a time server, change nothing that one could notice."""
    clock = Jumpy()
    async with Runtime(clock=clock, watchdog=None) as runtime:
        for step in (5, -5, 3, -3):
            sleeping = asyncio.ensure_future(slept(runtime, 0.01))
            await asyncio.sleep(0.002)
            clock.jump(milliseconds=step)
            assert await sleeping
