"""`@blocking`: a plain handler whose slow, synchronous work is done in a thread."""

import asyncio
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from drivers import every_driver, every_driver_of_tasks
from llambdao import Message, Misused, NoAnswer, Node, ask, intent
from llambdao.kernel.dispatch import COROUTINE, TABLES
from llambdao.runtime import Runtime, blocking, every
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)

PATIENCE = 10
"""Seconds after which a thread of these tests gives up waiting for its test."""


class Asker(Node):
    """Asks its peer, and says what came of it."""

    peer: Node

    def chat(self, message):
        try:
            answer = yield self.peer.ask(message.content)
        except (ValueError, RuntimeError, NoAnswer) as error:
            return f"{type(error).__name__}: {error}"
        return f"heard {answer.content}"


class Desk(Node):
    """Each request begins, and ends when the test lets it."""

    def model_post_init(self, context):
        self.log, self.begun, self.may_end = [], threading.Event(), threading.Event()

    @blocking
    def request(self, message):
        self.log.append(f"{message.content} begins")
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        self.log.append(f"{message.content} ends")
        return f"{message.content} done"

    def query(self, message):
        self.log.append(f"{message.content} queried")
        return "yes"

    async def has_begun(self):
        """Wait until a thread is at work."""
        while not self.begun.is_set():  # noqa: ASYNC110  # it is set in a thread
            await asyncio.sleep(0.001)


# -- what it does ----------------------------------------------------------------------------------


@every_driver
def test_the_work_is_done_in_a_thread(drive):
    """On every driver, however long it takes; what is returned is said."""

    class Reader(Node):
        @blocking
        def request(self, message):
            threads.append(threading.current_thread())
            time.sleep(0.02)
            return f"{message.content} read"

    threads = []
    outcome = drive(lambda: Asker(peer=Reader()).receive("a page"))
    assert outcome.contents == ["heard a page read"]
    assert threading.main_thread() not in threads
    assert len(threads) == 1


@every_driver
@pytest.mark.parametrize(
    ("give", "replies"),
    [
        (lambda: None, []),
        (lambda: "one", ["one"]),
        (lambda: ["one", Message("two", intent="inform")], ["one", "two"]),
        (lambda: (word for word in ("one", "two")), ["one", "two"]),
    ],
    ids=["nothing", "words", "a list", "a generator"],
)
def test_it_says_what_a_plain_handler_may_say(drive, give, replies):
    """Nothing, words, a message, or several of these."""

    class Speaker(Node):
        @blocking
        def chat(self, message):
            return give()

    assert drive(lambda: Speaker().receive("go")).contents == replies


@every_driver_of_tasks
def test_it_may_end_in_a_question(drive):
    """A wait that it returns is waited for, when the thread has ended."""

    class Clerk(Node):
        peer: Node

        @blocking
        def chat(self, message):
            return self.peer.ask("the price")

    class Peer(Node):
        def request(self, message):
            return f"{message.content} is 4"

    assert drive(lambda: Clerk(peer=Peer()).receive("go")).contents == ["the price is 4"]


@on_a_loop
async def test_its_node_handles_nothing_else_meanwhile_and_others_go_on():
    """As while an async handler awaits something foreign."""
    desk, other = Desk(name="desk"), Desk(name="other")
    async with Runtime(desk, other, watchdog=None) as runtime:
        first = asyncio.create_task(runtime.ask(desk, Message("first", intent="request")))
        await desk.has_begun()
        second = asyncio.create_task(runtime.ask(desk, Message("second", intent="query")))
        await runtime.ask(other, Message("third", intent="query"))
        assert (desk.log, other.log) == (["first begins"], ["third queried"])
        desk.may_end.set()
        assert str(await first), str(await second) == ("desk: first done", "desk: yes")
    assert desk.log == ["first begins", "first ends", "second queried"]


@on_a_loop
async def test_several_nodes_are_at_work_at_once():
    """Each in a thread of its own: three that wait for one another meet."""

    class Runner(Node):
        @blocking
        def request(self, message):
            return str(meeting.wait(PATIENCE) in (0, 1, 2))

    meeting = threading.Barrier(3)
    runners = [Runner(name=name) for name in "abc"]
    async with Runtime(*runners, watchdog=None) as runtime:
        said = await asyncio.gather(
            *(runtime.ask(one, Message("run", intent="request")) for one in runners)
        )
    assert [str(one) for one in said] == ["a: True", "b: True", "c: True"]


@on_a_loop
async def test_no_virtual_time_passes_while_a_thread_is_at_work():
    """A clock that need not wait waits for threads."""
    desk, clock = Desk(), VirtualClock()
    start = clock.time

    class Sleeper(Node):
        @every(seconds=60)
        def look(self, message):
            desk.log.append("looked")

    async with Runtime(desk, Sleeper(), clock=clock, watchdog=None) as runtime:
        work = asyncio.create_task(runtime.ask(desk, Message("work", intent="request")))
        await desk.has_begun()
        for _ in range(100):
            await asyncio.sleep(0)
        assert clock.time == start
        desk.may_end.set()
        await work
    assert desk.log == ["work begins", "work ends"]


@every_driver
def test_what_it_raises_goes_to_whoever_waits_and_undoes_its_assignments(drive):
    """As for any handler: the fields are as they were before the turn."""

    class Shaky(Node):
        steps: int = 0

        @blocking
        def request(self, message):
            self.steps = self.steps + 1
            self.place = "up"
            raise ValueError("I fell")

    shaky = Shaky()
    assert drive(lambda: Asker(peer=shaky).receive("Climb!")).contents == ["ValueError: I fell"]
    assert (shaky.steps, hasattr(shaky, "place")) == (0, False)


@every_driver
def test_a_stop_iteration_is_an_error_like_others(drive):
    """It would be lost between threads, and whoever waits would wait for ever."""

    class Shaky(Node):
        @blocking
        def request(self, message):
            return next(iter(()))

    (said,) = drive(lambda: Asker(peer=Shaky()).receive("Go")).contents
    assert said.endswith("Shaky.request raised StopIteration()")


@every_driver
def test_it_knows_whose_turn_it_is(drive):
    """`self.now()`, `message.reply()` and context variables are those of the conversation."""

    class Clerk(Node):
        @blocking
        def chat(self, message):
            return message.reply(f"{self.now():%Y} {WORD.get()}")

    clerk = Clerk(name="Ann")
    token = WORD.set("seen")
    try:
        outcome = drive(lambda: clerk.receive("go", clock=VirtualClock()))
    finally:
        WORD.reset(token)
    assert outcome.contents == ["2030 seen"]
    assert outcome.replies[0].sender is clerk


WORD = ContextVar("word", default="unseen")


# -- cancelling ------------------------------------------------------------------------------------


@on_a_loop
async def test_a_cancelled_one_runs_to_its_end_and_is_not_heard():
    """A thread cannot be stopped: its result is dropped, the node goes on with other messages."""
    desk, said = Desk(name="desk"), []

    def observe(event):
        if event.kind == "said" and event.node is desk:
            said.append(event.message.content)

    async with Runtime(desk, observe=observe, watchdog=None) as runtime:
        conversation = await runtime.tell(desk, Message("work", intent="request"))
        await desk.has_begun()
        await conversation.cancel()
        answer = await runtime.ask(desk, Message("meanwhile", intent="query"))
        assert answer.content == "yes"
        desk.may_end.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert desk.log == ["work begins", "meanwhile queried", "work ends"]
    assert said == ["yes"]


@on_a_loop
async def test_what_is_cancelled_before_its_thread_is_free_never_begins():
    """With one thread for all, the second waits for the first, and can still be cancelled."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    first, second = Desk(), Desk()
    async with Runtime(first, second, watchdog=None) as runtime:
        work = asyncio.create_task(runtime.ask(first, Message("first", intent="request")))
        await first.has_begun()
        conversation = await runtime.tell(second, Message("second", intent="request"))
        await runtime.tell(second, Message("third", intent="query"))
        await asyncio.sleep(0.01)
        await conversation.cancel()
        first.may_end.set()
        await work
        await runtime.settle()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert (first.log, second.log) == (["first begins", "first ends"], ["third queried"])


# -- marks -----------------------------------------------------------------------------------------


def test_the_method_keeps_its_name_its_words_and_its_marks():
    """In either order with `@intent` and `@every`; it is a handler as an async one is."""

    class Clerk(Node):
        @intent
        @blocking
        def stamp(self, message):
            """Stamps it."""
            return "stamped"

        @blocking
        @intent
        def seal(self, message):
            return "sealed"

        @blocking
        @every(seconds=1)
        def look(self, message):
            return "seen"

    assert Clerk().intents == ("stamp", "seal", "look")
    assert {TABLES[Clerk][word][1] for word in Clerk().intents} == {COROUTINE}
    assert (Clerk.stamp.__name__, Clerk.stamp.__doc__) == ("stamp", "Stamps it.")
    assert str(inspect.signature(Clerk.stamp)) == "(self, message)"
    assert ask(Clerk(), Message(intent="seal")).content == "sealed"


def test_it_is_inherited_and_overridden_as_any_method():
    """A subclass has it; one that overrides it says for itself whether it blocks."""

    class Clerk(Node):
        @blocking
        def chat(self, message):
            return str(threading.current_thread() is threading.main_thread())

    class Junior(Clerk):
        pass

    class Quick(Clerk):
        def chat(self, message):
            return str(threading.current_thread() is threading.main_thread())

    assert [ask(one(), "?").content for one in (Junior, Quick)] == ["False", "True"]


@on_a_loop
async def test_it_goes_with_a_schedule():
    """What is due is done in a thread."""

    class Clerk(Node):
        @every(seconds=60)
        @blocking
        def look(self, message):
            log.append(threading.current_thread() is threading.main_thread())
            loop.call_soon_threadsafe(done.set)

    log, done, loop = [], asyncio.Event(), asyncio.get_running_loop()
    async with Runtime(Clerk(), clock=VirtualClock(), watchdog=None):
        await done.wait()
    assert log == [False]


def a_generator(self, message):
    """Waits by itself."""
    yield


async def a_coroutine(self, message):
    """Waits by itself."""


async def an_async_generator(self, message):
    """Waits by itself."""
    yield


GENERATOR = (
    " is a generator, which waits by itself: have it `yield call(function, ...)` what is slow;"
    " @blocking is for plain functions"
)
ASYNC = (
    " is async, and waits by itself: have it `await call(function, ...)` what is slow; @blocking is"
    " for plain functions"
)


@pytest.mark.parametrize(
    ("function", "lesson"),
    [
        (a_generator, f"a_generator{GENERATOR}"),
        (a_coroutine, f"a_coroutine{ASYNC}"),
        (an_async_generator, f"an_async_generator{ASYNC}"),
        (5, "@blocking marks a method of a node, but got 5"),
        (len, "@blocking marks a method of a node, but got <built-in function len>"),
    ],
)
def test_what_waits_by_itself_is_refused_with_a_lesson(function, lesson):
    """When the class is made, saying what to do in its place."""
    with pytest.raises(Misused) as refused:
        blocking(function)
    assert str(refused.value) == lesson
