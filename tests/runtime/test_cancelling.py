"""Cancelling, deadlines and the end of a runtime: everything a conversation caused ends with it."""

import asyncio
import gc
import warnings
from contextlib import aclosing, suppress
from typing import Any

import pytest

from kinds import SPEAKING, WAITING, kinds
from llambdao import (
    MapperNode,
    Message,
    Misused,
    NoAnswer,
    Node,
    all_of,
    any_of,
    call,
    expect,
    sleep,
)
from llambdao.kernel.errors import Stopped
from llambdao.runtime import Mailbox, Runtime
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def quiet(count=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _an_empty_log():
    LOG.clear()


class Patient(Node):
    """Waits for news that never comes, and writes down that it was cleaned up."""

    def request(self, message):
        try:
            yield expect("never")
        finally:
            LOG.append(f"{self} is over")

    chat = inform = request


class Held(Node):
    """Awaits something foreign that never comes; takes its time to clean up."""

    async def request(self, message):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            LOG.append(f"{self} is over")

    chat = inform = request


class Chain(Node):
    """Asks the next one, and writes down that it was cleaned up."""

    next: Any

    def request(self, message):
        try:
            yield self.next.ask("?")
        finally:
            LOG.append(f"{self} is over")

    chat = request


class Echo(Node):
    """Answers at once."""

    def request(self, message):
        return message.content

    chat = inform = request


def left(runtime):
    """What is left of conversations in a runtime, and in its mailboxes."""
    return [*map(str, runtime.conversations), *runtime._mailboxes.boxes.values()]


# -- the caller goes away ------------------------------------------------------------------------


@kinds(*WAITING)
@on_a_loop
async def test_when_the_caller_of_an_ask_is_cancelled_so_is_all_it_caused(handler):
    """Rule 11: askers, asked and told, innermost first; `finally` blocks run."""

    class Top(Node):
        @handler
        def chat(self, message):
            try:
                yield Patient(name="told").tell("news")
                yield sleep(0)
                yield Chain(name="b", next=Chain(name="a", next=Patient(name="innermost"))).ask("?")
            finally:
                LOG.append("top is over")

    async with home() as runtime:
        asking = asyncio.ensure_future(runtime.ask(Top(), "go"))
        await quiet(60)
        assert LOG == []
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await quiet()
        order = [line for line in LOG if line != "told is over"]
        assert order == ["innermost is over", "a is over", "b is over", "top is over"]
        assert LOG.count("told is over") == 1
        assert left(runtime) == []


@on_a_loop
async def test_a_cancelled_ask_returns_after_the_generators_have_cleaned_up():
    """Rule 11: when the caller goes on, the `finally` blocks it caused have run."""
    async with home() as runtime:
        asking = asyncio.ensure_future(runtime.ask(Patient(name="Ann"), "go"))
        await quiet()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert LOG == ["Ann is over"]


@on_a_loop
async def test_a_cancelled_ask_returns_after_the_tasks_have_cleaned_up():
    """Rule 11: also those that await something while they clean up: nothing runs on behind one."""
    async with home() as runtime:
        asking = asyncio.ensure_future(runtime.ask(Held(name="Ann"), "go"))
        await quiet()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@pytest.mark.parametrize("kind", [Patient, Held])
@on_a_loop
async def test_wait_for_around_an_ask(kind):
    """Rule 11: `asyncio.wait_for` cancels the conversation, and raises its own TimeoutError."""
    async with Runtime(watchdog=None) as runtime:
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(runtime.ask(kind(name="Ann"), "go"), 0.005)
        assert not isinstance(caught.value, NoAnswer)
        await runtime.settle()
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@pytest.mark.parametrize("kind", [Patient, Held])
@on_a_loop
async def test_asyncio_timeout_around_an_ask(kind):
    """Rule 11: and so does `asyncio.timeout`."""
    async with Runtime(watchdog=None) as runtime:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await runtime.ask(kind(name="Ann"), "go")
        await runtime.settle()
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@on_a_loop
async def test_asyncio_timeout_around_replies():
    """Rule 11: with `aclosing` also the conversation whose replies were being taken ends."""

    class Talker(Node):
        def chat(self, message):
            try:
                yield "one"
                yield expect("never")
            finally:
                LOG.append("talker is over")

    heard = []
    async with Runtime(watchdog=None) as runtime:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005), aclosing(runtime.send(Talker(), "go")) as replies:
                async for said in replies:
                    heard.append(said.content)  # noqa: PERF401  # it is stopped in between
        assert heard == ["one"]
        assert LOG == ["talker is over"]
        assert replies.reason == "stopped"
        assert left(runtime) == []


@on_a_loop
async def test_a_task_group_whose_one_ask_fails_cancels_the_others():
    """Rule 11: the conversations of the others end too, `finally` blocks and all."""

    class Broken(Node):
        async def chat(self, message):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    async with home() as runtime:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                for name in "ab":
                    group.create_task(runtime.ask(Patient(name=name), "go"))
                group.create_task(runtime.ask(Held(name="c"), "go"))
                group.create_task(runtime.ask(Broken(), "go"))
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        await runtime.settle()
        assert sorted(LOG) == ["a is over", "b is over", "c is over"]
        assert left(runtime) == []


@on_a_loop
async def test_who_is_cancelled_while_telling_a_full_mailbox_has_told_nothing():
    """Mailbox and rule 11: the message of a caller who went away is never handled."""

    class Clerk(Node):
        async def chat(self, message):
            LOG.append(message.content)
            await gate.wait()

    gate, clerk = asyncio.Event(), Clerk()
    async with home(clerk, mailbox=Mailbox(1)) as runtime:
        for word in "ab":
            await runtime.tell(clerk, word)
            await quiet()
        telling = [asyncio.ensure_future(runtime.tell(clerk, word)) for word in "cde"]
        await quiet()
        telling[1].cancel()
        await quiet()
        gate.set()
        await telling[0]
        await telling[2]
        await runtime.settle()
    assert LOG == ["a", "b", "c", "e"]


@on_a_loop
async def test_cancelling_one_conversation_leaves_the_others_alone():
    """Rule 11: only what it caused is cancelled, at nodes that others talk to as well."""

    class Slow(Node):
        def request(self, message):
            try:
                answer = yield expect(message.content)
                yield answer
            finally:
                LOG.append(f"{message.content} is over")

        chat = request

    slow = Slow()
    chain = Chain(name="chain", next=slow)
    async with home(slow, chain) as runtime:
        one = asyncio.ensure_future(runtime.ask(slow, "a"))
        two = asyncio.ensure_future(runtime.ask(chain, "b"))
        three = await runtime.tell(slow, "c")
        await quiet()
        two.cancel()
        await quiet()
        assert LOG == ["? is over", "chain is over"]
        for key in "ac":
            runtime.news(key, f"news of {key}")
        assert (await one).content == "news of a"
        await three.wait()
        assert three.reason == "done"


@on_a_loop
async def test_cancelling_a_told_conversation():
    """Conversation.cancel: everything it caused is cancelled and has cleaned up when it returns."""
    async with home() as runtime:
        top = Chain(name="top", next=Held(name="innermost"))
        conversation = await runtime.tell(top, "go")
        await quiet()
        waiting = asyncio.ensure_future(conversation.wait())
        await conversation.cancel("changed my mind")
        assert LOG == ["innermost is over", "top is over"]
        assert (conversation.reason, conversation.detail) == ("cancelled", "changed my mind")
        assert conversation.error is None
        assert await waiting is conversation
        await conversation.cancel("again")  # once more is no error, and changes nothing
        assert conversation.detail == "changed my mind"
        assert left(runtime) == []


@on_a_loop
async def test_a_conversation_within_a_conversation_is_cancelled_with_it():
    """Rule 11: nested: what a handler opened with `node.receive` ends when the handler does."""

    class Outer(Node):
        async def chat(self, message):
            try:
                async with aclosing(Held(name="inner").receive("go")) as replies:
                    async for said in replies:
                        yield said
            finally:
                LOG.append("outer is over")

    async with home() as runtime:
        asking = asyncio.ensure_future(runtime.ask(Outer(), "go"))
        await quiet()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await runtime.settle()
        assert LOG == ["inner is over", "outer is over"]


@on_a_loop
async def test_a_call_that_is_under_way_is_cancelled():
    """Rule 11: a coroutine that `call` waits for is part of the conversation."""

    async def model():
        try:
            await asyncio.Event().wait()
        finally:
            LOG.append("the call is over")

    class Caller(Node):
        def chat(self, message):
            try:
                yield call(model)
            finally:
                LOG.append("the caller is over")

    async with home() as runtime:
        asking = asyncio.ensure_future(runtime.ask(Caller(), "go"))
        await quiet()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await runtime.settle()
        assert sorted(LOG) == ["the call is over", "the caller is over"]
        assert left(runtime) == []


@kinds(*SPEAKING)
@on_a_loop
async def test_closing_after_some_replies_closes_the_speaker(handler):
    """Rule 11: `aclose` between two replies: the speaker's `finally` block has run."""

    class Counter(Node):
        @handler
        def chat(self, message):
            try:
                for number in range(100):
                    yield str(number)
            finally:
                LOG.append("counter is over")

    async with home() as runtime:
        conversation = runtime.send(Counter(), "go")
        heard = [(await anext(conversation)).content for _ in range(3)]
        await conversation.aclose()
        assert heard == ["0", "1", "2"]
        assert LOG == ["counter is over"]
        assert conversation.reason == "stopped"
        with pytest.raises(StopAsyncIteration):
            await anext(conversation)
        assert left(runtime) == []


@on_a_loop
async def test_closing_while_somebody_waits_for_the_next_reply():
    """Rule 11: who waits hears that it is over, not an error."""
    async with home() as runtime:
        conversation = runtime.send(Patient(name="Ann"), "go")
        taking = asyncio.ensure_future(anext(conversation, "nothing more"))
        await quiet()
        await conversation.aclose()
        assert await taking == "nothing more"
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@on_a_loop
async def test_a_handler_that_refuses_to_be_cancelled_cannot_stop_it(monkeypatch):
    """Rule 11: one that swallows the cancellation and goes on ends all the same."""
    monkeypatch.setattr("llambdao.kernel.tasks.GRACE", 0.01)

    class Stubborn(Node):
        async def chat(self, message):
            for _ in range(3):
                with suppress(asyncio.CancelledError):
                    LOG.append("waits")
                    await asyncio.Event().wait()
            LOG.append("ends")

    stubborn = Stubborn()
    async with asyncio.timeout(2):
        async with home() as runtime:
            asking = asyncio.ensure_future(runtime.ask(stubborn, "go"))
            await quiet()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
    assert LOG == ["waits", "waits", "waits", "ends"]
    assert left(runtime) == []


# -- deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.5, 3600, 3 * 24 * 3600])
@on_a_loop
async def test_a_deadline_cancels_everything_the_conversation_caused(seconds):
    """Runtime.ask `timeout`: NoAnswer at the caller, at that time; `finally` blocks have run."""
    clock, top = VirtualClock(), Chain(name="top", next=Patient(name="innermost"))
    begun = clock.now()
    async with home(top, clock=clock) as runtime:
        with pytest.raises(NoAnswer, match=f"{seconds:g}|deadline"):
            await runtime.ask(top, "go", timeout=seconds)
        assert clock.now() - begun == seconds * 10**9
        assert LOG == ["innermost is over", "top is over"]
        assert left(runtime) == []


@on_a_loop
async def test_who_is_too_late_has_cleaned_up_when_the_caller_hears_of_it():
    """Runtime.ask `timeout`: also a handler in a task, which awaits while it cleans up."""
    async with Runtime(watchdog=None) as runtime:
        with pytest.raises(NoAnswer):
            await runtime.ask(Held(name="Ann"), "go", timeout=0.005)
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@on_a_loop
async def test_a_deadline_of_something_told():
    """Runtime.tell `timeout`: the conversation ends as cancelled, with the error at hand."""
    clock, patient = VirtualClock(), Patient(name="Ann")
    async with home(patient, clock=clock) as runtime:
        conversation = await runtime.tell(patient, "go", timeout=5)
        await conversation.wait()
        assert conversation.reason == "cancelled"
        assert isinstance(conversation.error, NoAnswer)
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@on_a_loop
async def test_a_deadline_while_replies_are_being_taken():
    """Runtime.send `timeout`: what was heard was heard; then NoAnswer."""

    class Talker(Node):
        def chat(self, message):
            for number in range(10):
                yield str(number)
                yield sleep(1)

    heard = []
    async with home() as runtime:
        conversation = runtime.send(Talker(), "go", timeout=2.5)
        with pytest.raises(NoAnswer):
            async for said in conversation:
                heard.append(said.content)  # noqa: PERF401  # it fails in between
        assert heard == ["0", "1", "2"]
        assert conversation.reason == "cancelled"
        assert isinstance(conversation.error, NoAnswer)


@on_a_loop
async def test_a_deadline_in_time_changes_nothing_and_is_forgotten():
    """Runtime.ask `timeout`: answered before, no time passes, and nothing waits for it."""
    clock, echo = VirtualClock(), Echo()
    begun = clock.now()
    async with home(echo, clock=clock) as runtime:
        for _ in range(3):
            assert (await runtime.ask(echo, "hello", timeout=3600)).content == "hello"
        await quiet(200)
        assert clock.now() == begun
        assert not runtime._timers.heap


@on_a_loop
async def test_deadlines_of_what_is_over_do_not_pile_up():
    """Timers: thousands of questions with an hour each, answered at once: no trace of them."""

    class Async(Node):
        async def chat(self, message):
            await asyncio.sleep(0)
            return message.content

    node = Async()
    async with Runtime(node, watchdog=None) as runtime:
        for number in range(1000):
            assert (await runtime.ask(node, str(number), timeout=3600)).content == str(number)
            assert len(runtime._timers.heap) < 200


@on_a_loop
async def test_a_timer_of_a_conversation_that_is_over_is_forgotten():
    """Rule 11: what was cancelled does not move the (virtual) clock, nor is it kept."""
    clock = VirtualClock()
    begun = clock.now()

    class Sleeper(Node):
        def chat(self, message):
            yield sleep(3600)

    async with home(clock=clock) as runtime:
        asking = asyncio.ensure_future(runtime.ask(Sleeper(), "go"))
        await quiet(5)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await quiet(200)
        assert clock.now() == begun


@on_a_loop
async def test_a_deadline_counts_the_wait_for_room_too():
    """Runtime.ask `timeout`: also if the mailbox of the node is full all the time."""

    class Clerk(Node):
        async def chat(self, message):
            await gate.wait()

    gate, clerk = asyncio.Event(), Clerk()
    async with Runtime(clerk, mailbox=Mailbox(1), watchdog=None) as runtime:
        for word in "ab":
            await runtime.tell(clerk, word)
            await quiet()
        with pytest.raises(NoAnswer):
            async with asyncio.timeout(1):
                await runtime.ask(clerk, "c", timeout=0.01)
        gate.set()


@kinds(*WAITING)
@on_a_loop
async def test_the_timeout_of_an_ask_inside_ends_only_what_was_asked(handler):
    """Rule 5: NoAnswer at the `yield`; what was asked is cancelled, the asker goes on."""

    class Asker(Node):
        @handler
        def chat(self, message):
            try:
                yield Chain(name="b", next=Patient(name="a")).ask("?", timeout=60)
            except NoAnswer:
                answer = "not in time"
            return answer

    clock = VirtualClock()
    begun = clock.now()
    async with home(clock=clock) as runtime:
        assert (await runtime.ask(Asker(), "go")).content == "not in time"
        assert clock.now() - begun == 60 * 10**9
        assert LOG == ["a is over", "b is over"]
        assert left(runtime) == []


@on_a_loop
async def test_the_earlier_of_two_timeouts_counts():
    """Rule 5 and 11: one inside, one outside: each ends what it is about."""

    class Asker(Node):
        inside: float

        def chat(self, message):
            try:
                yield Patient(name="a").ask("?", timeout=self.inside)
            except NoAnswer:
                yield "not in time"

    async with home() as runtime:
        assert (await runtime.ask(Asker(inside=1), "go", timeout=2)).content == "not in time"
        with pytest.raises(NoAnswer, match="deadline"):
            await runtime.ask(Asker(inside=2), "go", timeout=1)
        assert LOG == ["a is over", "a is over"]


@on_a_loop
async def test_a_timeout_of_nothing_is_over_at_once():
    """Runtime.ask `timeout=0`: whoever has to wait at all is too late."""
    async with home() as runtime:
        with pytest.raises(NoAnswer):
            await runtime.ask(Patient(name="Ann"), "go", timeout=0)
        assert left(runtime) == []


@pytest.mark.parametrize("seconds", [-1, "soon"])
@on_a_loop
async def test_a_timeout_that_makes_no_sense_is_refused(seconds):
    """Runtime.ask `timeout`: a lesson, not a TypeError from within."""
    async with home() as runtime:
        with pytest.raises(Misused):
            await runtime.ask(Echo(), "go", timeout=seconds)
        assert left(runtime) == []


@on_a_loop
async def test_deadlines_of_many_conversations_come_in_order():
    """Timers: a hundred deadlines on one clock, each at its time."""
    clock, ends = VirtualClock(), []
    begun = clock.now()

    async def ask(seconds):
        with suppress(NoAnswer):
            await runtime.ask(Patient(), "go", timeout=seconds)
        ends.append((seconds, (clock.now() - begun) / 10**9))

    async with home(clock=clock) as runtime:
        await asyncio.gather(*(ask(1 + (number * 37) % 100) for number in range(100)))
    assert ends == [(float(n), float(n)) for n in range(1, 101)]


# -- the end of a runtime ------------------------------------------------------------------------


@on_a_loop
async def test_leaving_the_block_handles_what_is_queued():
    """Runtime.stop: what was told before is handled, in order, before the block is left."""

    class Slow(Node):
        async def chat(self, message):
            await asyncio.sleep(0)
            LOG.append(message.content)

    slow = Slow()
    async with home(slow) as runtime:
        for number in range(50):
            await runtime.tell(slow, str(number))
    assert [str(number) for number in range(50)] == LOG


@on_a_loop
async def test_leaving_the_block_cancels_what_still_waits():
    """Runtime.stop: who waits for a timer, for news or for somebody outside is cancelled."""

    class Sleeper(Node):
        def chat(self, message):
            try:
                yield sleep(3600)
            finally:
                LOG.append("sleeper is over")

    class Talker(Node):
        def chat(self, message):
            try:
                yield "one"
                yield "two"
            finally:
                LOG.append("talker is over")

    clock = VirtualClock()
    begun = clock.now()
    async with home(clock=clock) as runtime:
        told = [await runtime.tell(Sleeper(), "go"), await runtime.tell(Patient(name="p"), "go")]
        told.append(runtime.send(Talker(), "go"))
        assert (await anext(told[-1])).content == "one"
    assert sorted(LOG) == ["p is over", "sleeper is over", "talker is over"]
    assert [one.reason for one in told] == ["cancelled"] * 3
    assert all(one.is_over for one in told)
    assert clock.now() == begun
    assert left(runtime) == []


@on_a_loop
async def test_leaving_the_block_by_an_error_cancels_everything_at_once():
    """Runtime: the program failed: nobody waits for what is queued; the error stays what it is."""
    held, patient = Held(name="held"), Patient(name="patient")
    with pytest.raises(LookupError, match="the program's own"):
        async with home(held, patient) as runtime:
            told = [await runtime.tell(held, word) for word in "ab"]
            told.append(await runtime.tell(patient, "c"))
            await quiet()
            raise LookupError("the program's own")
    assert sorted(LOG) == ["held is over", "patient is over"]
    assert [one.reason for one in told] == ["cancelled"] * 3
    assert [(one.message.content, one.reason) for one in runtime.dead_letters] == [
        ("b", "cancelled")
    ]
    assert left(runtime) == []


@on_a_loop
async def test_stopping_waits_no_longer_than_its_deadline():
    """Runtime.stop `deadline`: then what still works is cancelled, and has cleaned up."""
    held = Held(name="held")
    async with Runtime(held, watchdog=None) as runtime:
        told = [await runtime.tell(held, word) for word in "ab"]
        await quiet()
        await runtime.stop(deadline=0.01)
        assert LOG == ["held is over"]
        assert [one.reason for one in told] == ["cancelled"] * 2
        assert left(runtime) == []


@on_a_loop
async def test_stopping_twice_is_stopping_once():
    """Runtime.stop: a second one, also while the first is under way, returns when it is done."""
    held = Held(name="held")
    async with Runtime(held, watchdog=None) as runtime:
        await runtime.tell(held, "a")
        await quiet()
        first = asyncio.ensure_future(runtime.stop(deadline=0.01))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(runtime.stop(deadline=5))
        await asyncio.gather(first, second)
        assert LOG == ["held is over"]
        await runtime.stop()
    assert left(runtime) == []


@on_a_loop
async def test_stopping_a_runtime_that_never_began():
    """Runtime.stop: nothing to do; its nodes are free for another."""
    echo = Echo()
    await home(echo).stop()
    async with home(echo) as runtime:
        assert (await runtime.ask(echo, "hello")).content == "hello"


@pytest.mark.parametrize("way", ["ask", "tell", "send", "spawn"])
@on_a_loop
async def test_after_the_end_no_message_is_taken(way):
    """Runtime: every way in is closed, with a typed error that says what to do."""
    echo = Echo()
    async with home(echo) as runtime:
        pass
    with pytest.raises((Stopped, Misused)) as caught:
        if way == "ask":
            await runtime.ask(echo, "hello")
        elif way == "tell":
            await runtime.tell(echo, "hello")
        elif way == "spawn":
            runtime.spawn(echo)
            raise Misused("a runtime that is over may keep nodes; it does not run them")
        else:
            await anext(runtime.send(echo, "hello"))
    assert "runtime" in str(caught.value)


@on_a_loop
async def test_before_the_beginning_no_message_is_taken():
    """Runtime: one that has not begun says so."""
    echo = Echo()
    runtime = home(echo)
    with pytest.raises(Stopped, match="new"):
        await runtime.ask(echo, "hello")
    with pytest.raises(Stopped, match="async with"):
        await runtime.tell(echo, "hello")


@on_a_loop
async def test_a_runtime_lives_once():
    """Runtime: entering it a second time is refused with a lesson."""
    runtime = home(Echo())
    async with runtime:
        with pytest.raises(Misused, match="once"):
            runtime.start()
    with pytest.raises(Misused, match="once"):
        async with runtime:
            pass


@on_a_loop
async def test_replies_that_were_sent_for_but_not_begun_cannot_begin_after_the_end():
    """Runtime.send: nothing happens before the first reply is asked for: then it is too late."""
    echo = Echo()
    async with home(echo) as runtime:
        conversation = runtime.send(echo, "hello")
    with pytest.raises(Stopped):
        await anext(conversation)
    assert not runtime.conversations


@on_a_loop
async def test_who_takes_replies_when_the_runtime_stops_hears_of_the_end():
    """Runtime.stop: a consumer that waits for the next reply does not hang."""
    async with home() as runtime:
        conversation = runtime.send(Patient(name="Ann"), "go")
        taking = asyncio.ensure_future(anext(conversation, "nothing more"))
        await quiet()
    outcome = await asyncio.gather(taking, return_exceptions=True)
    assert outcome == ["nothing more"] or isinstance(outcome[0], Stopped)
    assert conversation.reason == "cancelled"


@on_a_loop
async def test_who_waits_for_an_answer_when_the_runtime_stops_gets_a_typed_error():
    """Runtime.stop: not `NoAnswer` after a word it never had, but why there is none."""
    async with home() as runtime:
        asking = asyncio.ensure_future(runtime.ask(Patient(name="Ann"), "go"))
        await quiet()
    with pytest.raises(Stopped, match="stopped"):
        await asking


@on_a_loop
async def test_who_waits_for_room_when_the_runtime_stops_is_either_heard_or_told():
    """Runtime.stop: the messages of those who wait for room are handled, or refused: not lost."""

    class Slow(Node):
        async def chat(self, message):
            await asyncio.sleep(0)
            LOG.append(message.content)

    slow, words = Slow(), "abcdefgh"
    async with home(slow, mailbox=Mailbox(1)) as runtime:
        telling = [asyncio.ensure_future(runtime.tell(slow, word)) for word in words]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*telling, return_exceptions=True)
    for word, outcome in zip(words, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, Stopped)
            assert word not in LOG
        else:
            assert outcome.is_over
            assert word in LOG
    assert left(runtime) == []


@on_a_loop
async def test_stopping_one_node_ends_its_work_in_all_conversations():
    """Runtime.stop(node): cancelled and cleaned up; askers get `Stopped`; the others go on."""
    clerk, other = Held(name="Clerk"), Echo()
    chain = Chain(name="chain", next=clerk)
    async with home(clerk, other, chain) as runtime:
        asks = [asyncio.ensure_future(runtime.ask(node, "?")) for node in (clerk, chain, clerk)]
        await quiet()
        await runtime.stop(clerk)
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Stopped] * 3
        assert all("Clerk was stopped" in str(outcome) for outcome in outcomes)
        assert LOG.count("Clerk is over") == 1
        assert LOG.count("chain is over") == 1
        with pytest.raises(Stopped):
            await runtime.ask(clerk, "?")
        assert (await runtime.ask(other, "hello")).content == "hello"
        assert not runtime.conversations


@on_a_loop
async def test_stopping_a_network_stops_its_members():
    """Runtime.stop(node): a node, its members, and theirs."""
    ann, bob = Echo(name="Ann"), Echo(name="Bob")
    network = MapperNode(ann, MapperNode(bob))
    async with home(network) as runtime:
        await runtime.stop(network)
        for node in (network, ann, bob):
            with pytest.raises(Stopped):
                await runtime.ask(node, "hello")


@on_a_loop
async def test_cleaning_up_that_fails_is_said_and_harms_nobody():
    """Rule 10: a `finally` block that raises while all is cancelled: nothing is lost in silence."""

    class Clumsy(Node):
        def chat(self, message):
            try:
                yield expect("never")
            finally:
                raise LookupError("clumsy")

    async with home() as runtime:
        conversation = await runtime.tell(Clumsy(), "go")
        other = asyncio.ensure_future(runtime.ask(Patient(name="Ann"), "go"))
        await quiet()
        with pytest.raises(LookupError):
            await conversation.cancel()
        assert conversation.is_over
        other.cancel()
        await quiet()
        assert LOG == ["Ann is over"]
        assert left(runtime) == []


@on_a_loop
async def test_a_watcher_of_the_runtime_ends_with_it():
    """Runtime.watch: `async for event in runtime.watch()` does not hang when it is stopped."""
    kinds_seen = []

    async def watch():
        async for event in runtime.watch():
            kinds_seen.append(event.kind)  # noqa: PERF401  # one by one, while it is told

    echo = Echo()
    async with home(echo) as runtime:
        watching = asyncio.ensure_future(watch())
        await quiet()
        await runtime.ask(echo, "hello")
    async with asyncio.timeout(1):
        await watching
    assert kinds_seen == ["said", "delivered", "said", "ended", "over"]


@on_a_loop
async def test_everything_a_handler_left_open_is_cancelled_when_it_ends():
    """Rule 11: an ask that a coroutine handler left running in a task does not outlive it."""

    class Hasty(Node):
        async def chat(self, message):
            self.left = asyncio.ensure_future(self.later())
            await asyncio.sleep(0)
            return "done"

        async def later(self):
            await Patient(name="Ann").ask("?")

    hasty = Hasty()
    async with home(hasty) as runtime:
        assert (await runtime.ask(hasty, "go")).content == "done"
        await quiet()
        assert LOG == ["Ann is over"]
        assert left(runtime) == []
        await asyncio.gather(hasty.left, return_exceptions=True)


@on_a_loop
async def test_all_that_was_combined_is_cancelled_together():
    """Rule 6 and 11: each part of `all_of`, also those at nodes held by others."""

    class Asker(Node):
        def chat(self, message):
            yield all_of(*(node.ask("?") for node in nodes))

    nodes = [Patient(name="a"), Held(name="b"), Chain(name="c", next=Held(name="d"))]
    async with home(*nodes) as runtime:
        conversation = await runtime.tell(Asker(), Message("go"))
        await quiet()
        await conversation.cancel()
        assert sorted(LOG) == ["a is over", "b is over", "c is over", "d is over"]
        assert left(runtime) == []


# -- waits that nobody takes any longer ------------------------------------------------------------


WAITS = {
    "a_question": lambda peer: peer.ask("Are you there?"),
    "all": lambda peer: all_of(peer.ask("first"), peer.ask("second"), sleep(60)),
    "any": lambda peer: any_of(peer.ask("first"), peer.ask("second")),
    "one_in_the_other": lambda peer: all_of(sleep(60), any_of(peer.ask("1"), sleep(1) & sleep(2))),
    "a_list": lambda peer: [peer.ask("first"), all_of(peer.ask("second"), sleep(60))],
}


class Hasty(Node):
    """Has its conversation closed while what it has just said is on its way."""

    peer: Node
    wait: str

    async def chat(self, message):
        asyncio.get_running_loop().call_soon(CLOSE[0])
        yield WAITS[self.wait](self.peer)

    async def request(self, message):
        asyncio.get_running_loop().call_soon(CLOSE[0])
        return WAITS[self.wait](self.peer)

    async def query(self, message):
        asyncio.get_running_loop().call_soon(CLOSE[0])
        try:
            await asyncio.Event().wait()
        finally:
            await WAITS[self.wait](self.peer)


CLOSE: list[Any] = [None]


async def closed_while_it_says(wait, intent):
    """Close a conversation between what its handler said and what comes of that."""
    hasty = Hasty(peer=Patient(), wait=wait)
    async with home(hasty) as runtime:
        conversation = await runtime.tell(hasty, Message("go", intent=intent))
        CLOSE[0] = conversation.close
        await conversation.wait()
        CLOSE[0] = None
        assert conversation.reason == "stopped"


@pytest.mark.parametrize("intent", ["chat", "request", "query"])
@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_that_was_said_and_not_taken_is_not_complained_of(wait, intent):
    """Wait: cancelled before it could begin: it was yielded all the same, and so were its parts."""
    if (wait, intent) == ("a_list", "query"):
        return  # nobody awaits a list
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(closed_while_it_says(wait, intent))
        gc.collect(1)
    assert [str(one.message) for one in caught] == []
    assert LOG == []  # the peer never began


# -- what a cancelled turn leaves ------------------------------------------------------------------


class Shelf(Node):
    """Takes one from the stock, and is cancelled before it has booked that; or fails."""

    stock: int = 10
    booked: int = 0
    cleaned: int = 0

    async def chat(self, message):
        self.stock = self.stock - 1
        try:
            await asyncio.Event().wait()  # something foreign, in the midst of a turn
            self.booked = self.booked + 1
        finally:
            self.cleaned = self.cleaned + 1

    async def query(self, message):
        self.stock = self.stock - 1
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            self.cleaned = self.cleaned + 1

    def request(self, message):
        self.stock = self.stock - 1
        try:
            yield expect("the bill")
            self.booked = self.booked + 1
        finally:
            self.cleaned = self.cleaned + 1

    def do(self, message):
        self.stock = 0
        raise ZeroDivisionError


@pytest.mark.parametrize("intent", ["chat", "query", "request"])
@on_a_loop
async def test_a_turn_that_is_cancelled_is_not_undone(intent):
    """Rule 10: undone is what failed; who is cancelled hears of that, and cleans up itself."""
    shelf = Shelf()
    async with home(shelf) as runtime:
        for _ in range(2):
            asking = asyncio.ensure_future(runtime.ask(shelf, Message("go", intent=intent)))
            await quiet()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        assert (shelf.stock, shelf.booked, shelf.cleaned) == (8, 0, 2)
        with pytest.raises(ZeroDivisionError):
            await runtime.ask(shelf, Message("go", intent="do"))
        assert (shelf.stock, shelf.booked, shelf.cleaned) == (8, 0, 2)  # that turn alone is undone
