"""Rule 11: cancelling a conversation cancels every activation it caused; `finally` blocks run."""

import asyncio
import gc
import warnings

import pytest

from clock import FakeClock
from drivers import every_driver, every_driver_of_tasks
from kinds import SPEAKING, WAITING, kinds
from llambdao import (
    GroupChatNode,
    LimitReached,
    Limits,
    MapperNode,
    Message,
    Node,
    Pipeline,
    all_of,
    sleep,
    watch,
)
from transcript import Notebook


class Patient(Node):
    """Waits for ever, and writes down that it was cleaned up."""

    def request(self, message):
        try:
            yield sleep(1e6)
        finally:
            LOG.append(f"{self.name} is over")

    inform = request


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _an_empty_log():
    LOG.clear()


@every_driver
@kinds(*SPEAKING)
def test_stopping_closes_the_handler_that_spoke(handler, drive):
    """Rule 11: who takes three replies and stops closes the handler: its `finally` runs."""

    class Counter(Node):
        @handler
        def chat(self, message):
            number = 0
            try:
                while True:
                    yield str(number)
                    number += 1
            finally:
                LOG.append(f"stopped at {number}")

    outcome = drive(lambda: Counter().receive("go"), take=3)
    assert outcome.contents == ["0", "1", "2"]
    assert LOG == ["stopped at 2"]
    assert outcome.reason == "stopped"


@every_driver
@kinds(*SPEAKING)
def test_stopping_cancels_all_innermost_first(handler, drive):
    """Rule 11: askers and asked are closed, the innermost first."""

    class Outer(Node):
        depth: int

        @handler
        def request(self, message):
            try:
                if self.depth:
                    yield Outer(depth=self.depth - 1).ask("?")
                else:
                    yield Patient(name="Ann").ask("?")
            finally:
                LOG.append(f"{self.depth} is over")

    class Top(Node):
        def chat(self, message):
            try:
                yield network.relay(message, intent="request")
            finally:
                LOG.append("top is over")

    class Loud(Node):
        def request(self, message):
            try:
                yield "loud"
                yield "louder"
            finally:
                LOG.append("loud is over")

    network = MapperNode(Outer(depth=2), Loud())
    clock = FakeClock()
    outcome = drive(lambda: Top().receive("go", clock=clock), take=1)
    assert outcome.contents == ["loud"]
    assert sorted(LOG) == sorted(
        ["Ann is over", "0 is over", "1 is over", "2 is over", "loud is over", "top is over"]
    )
    order = [entry for entry in LOG if entry != "loud is over"]
    assert order == ["Ann is over", "0 is over", "1 is over", "2 is over", "top is over"]
    assert clock.seconds == 0


@every_driver_of_tasks
def test_what_was_told_and_not_begun_is_a_dead_letter(drive):
    """Rule 11: nothing is lost in silence: dead letters with the reason `cancelled`."""

    class Teller(Node):
        def chat(self, message):
            for name in "AB":
                yield Patient(name=name).tell(f"news for {name}")
            yield "told"
            yield "more"

    outcome = drive(lambda: Teller().receive("go"), take=1)
    letters = outcome.conversation.dead_letters
    assert [(one.message.content, one.reason) for one in letters] == [
        ("news for A", "cancelled"),
        ("news for B", "cancelled"),
    ]
    assert LOG == []


@every_driver
@kinds(*SPEAKING)
def test_what_was_told_and_has_begun_is_cancelled(handler, drive):
    """Rule 11: also what nobody waits for is caused by the conversation."""

    class Teller(Node):
        @handler
        def chat(self, message):
            yield Patient(name="Ann").tell("news")
            yield sleep(1)
            yield "told"
            yield "more"

    outcome = drive(lambda: Teller().receive("go", clock=FakeClock()), take=1)
    assert outcome.contents == ["told"]
    assert LOG == ["Ann is over"]
    assert outcome.conversation.dead_letters == []


@every_driver_of_tasks
def test_the_finally_block_of_a_coroutine_may_await(drive):
    """Rule 11: an async handler cleans up on its loop, awaiting if it has to."""

    class Careful(Node):
        async def request(self, message):
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                LOG.append("careful is over")

    class Loud(Node):
        def request(self, message):
            yield "loud"
            yield "louder"

    network = MapperNode(Careful(), Loud())
    outcome = drive(lambda: network.receive(Message("go", intent="request")), take=1)
    assert outcome.contents == ["loud"]
    assert LOG == ["careful is over"]


@every_driver_of_tasks
def test_the_finally_block_of_an_async_generator_may_await(drive):
    """Rule 11: so does an async generator that has just spoken."""

    class Careful(Node):
        async def chat(self, message):
            try:
                yield "one"
                yield "two"
            finally:
                await asyncio.sleep(0)
                LOG.append("careful is over")

    assert drive(lambda: Careful().receive("go"), take=1).contents == ["one"]
    assert LOG == ["careful is over"]


def test_leaving_the_loop_stops_the_conversation():
    """Rule 11: `break` in a `for` over `node.receive(...)` closes it."""

    class Counter(Node):
        def chat(self, message):
            try:
                while True:
                    yield "tick"
            finally:
                LOG.append("over")

    for _ in Counter().receive("go"):
        break
    gc.collect()
    assert LOG == ["over"]


def test_closing_twice_is_closing_once():
    """Rule 11: `close()` again does nothing, and nothing comes after it."""

    class Counter(Node):
        def chat(self, message):
            try:
                while True:
                    yield "tick"
            finally:
                LOG.append("over")

    conversation = Counter().receive("go")
    assert next(conversation).content == "tick"
    conversation.close()
    conversation.close()
    assert list(conversation) == []
    assert LOG == ["over"]
    assert conversation.reason == "stopped"


def test_closing_what_never_began_runs_nothing():
    """Rule 11: closing before the first reply: no handler has run, and nothing warns."""

    class Peer(Node):
        def chat(self, message):
            LOG.append("ran")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Peer().receive("go").close()
        gc.collect()
    assert LOG == []


@every_driver
@kinds(*SPEAKING)
def test_a_limit_cancels_like_a_caller_who_stops(handler, drive):
    """Rule 9 and 11: at a limit everybody's `finally` runs, and the letters are dead."""

    class Chatterbox(Node):
        @handler
        def chat(self, message):
            yield Patient(name="Ann").tell("news")
            yield sleep(1)
            yield Patient(name="Bob").tell("never begun")
            try:
                while True:
                    yield "bla"
            finally:
                LOG.append("chatterbox is over")

    outcome = drive(
        lambda: Chatterbox().receive("go", limits=Limits(messages=20), clock=FakeClock())
    )
    assert type(outcome.error) is LimitReached
    assert sorted(LOG) == ["Ann is over", "chatterbox is over"]
    assert outcome.reason == "limit"
    letters = outcome.conversation.dead_letters
    assert [one.message.content for one in letters] == ["never begun"]


@every_driver
@kinds(*WAITING)
def test_an_error_cancels_the_others(handler, drive):
    """Rule 10 and 11: when an error ends the conversation, all others are cancelled."""

    class Failing(Node):
        @handler
        def request(self, message):
            yield sleep(1)
            raise ValueError("oops")

    class Asker(Node):
        @handler
        def chat(self, message):
            try:
                yield all_of(Patient(name="Ann").ask("?"), Failing().ask("?"))
            finally:
                LOG.append("asker is over")

    outcome = drive(lambda: Asker().receive("go", clock=FakeClock()))
    assert type(outcome.error) is ValueError
    assert LOG == ["Ann is over", "asker is over"]


@every_driver
def test_an_error_while_cleaning_up_is_raised(drive):
    """Rule 10 and 11: nothing is only logged; yet the others are closed, too."""

    class Messy(Node):
        def chat(self, message):
            try:
                yield Patient(name="Ann").tell("news")
                yield sleep(1)
                yield "one"
                yield "two"
            finally:
                raise ValueError("cleaning up")

    outcome = drive(lambda: Messy().receive("go", clock=FakeClock()), take=1)
    assert outcome.before == ["one"]
    assert isinstance(outcome.error, ValueError)
    assert LOG == ["Ann is over"]


@every_driver
def test_a_handler_that_speaks_while_it_is_closed_is_told_so(drive):
    """Rule 11: a `finally` block cleans up; what it says nobody hears, so that is an error."""

    class Stubborn(Node):
        def chat(self, message):
            try:
                yield "one"
                yield "two"
            finally:
                yield "famous last words"

    outcome = drive(lambda: Stubborn().receive("go"), take=1)
    assert outcome.before == ["one"]
    assert isinstance(outcome.error, RuntimeError | TypeError)


@every_driver
def test_an_observer_sees_each_cancelled_activation_end(drive):
    """Rule 11 and 14: every activation that began has an end; the conversation's is last."""
    log = Notebook()

    class Loud(Node):
        def request(self, message):
            yield "loud"
            yield "louder"

    network = MapperNode(Patient(name="Ann"), Loud(name="Bob"))
    options = {"observe": log, "clock": FakeClock()}
    drive(lambda: network.receive(Message("go", intent="request"), **options), take=1)
    delivered = [event.node for event in log.of("delivered")]
    over = [event.node for event in log.of("ended", "failed")]
    assert sorted(map(str, delivered)) == sorted(map(str, over))
    assert log.events[-1].kind == "over"
    assert log.events[-1].detail == "stopped"


def test_a_watch_that_was_left_stops_there():
    """Rule 11 and 14: who watches and leaves cancels what was going on."""

    class Counter(Node):
        def chat(self, message):
            try:
                while True:
                    yield "tick"
            finally:
                LOG.append("over")

    conversation = watch(Counter(), "go")
    assert [next(conversation).content for _ in range(3)] == ["go", "tick", "tick"]
    conversation.close()
    assert LOG == ["over"]


@every_driver
@kinds(*SPEAKING)
def test_a_stream_left_open_is_cancelled_when_the_listener_ends(handler, drive):
    """Rule 6 and 11: who streamed is closed when the listener's handler is over."""

    class Listener(Node):
        @handler
        def chat(self, message):
            reply = yield speaker.stream("?")
            yield reply.content
            yield "bye"

    class Speaker(Node):
        def request(self, message):
            try:
                while True:
                    yield "bla"
            finally:
                LOG.append("speaker is over")

    speaker = Speaker()
    outcome = drive(lambda: Listener().receive("go"))
    assert outcome.contents == ["bla", "bye"]
    assert LOG == ["speaker is over"]


@every_driver_of_tasks
def test_a_background_task_of_a_handler_is_not_left_running(drive):
    """Rule 11: asks that a handler left to a task of its own end with the handler."""

    class Careless(Node):
        async def chat(self, message):
            async def forget():
                await Patient(name="Ann").ask("?")

            self.task = asyncio.create_task(forget())
            await sleep(1)
            return "gone"

    careless = Careless()
    outcome = drive(lambda: careless.receive("go", clock=FakeClock()))
    assert outcome.contents == ["gone"]
    assert LOG == ["Ann is over"]
    assert careless.task.cancelled()


@every_driver
@pytest.mark.parametrize("around", [Pipeline, GroupChatNode, MapperNode])
@kinds(*SPEAKING)
def test_a_network_inside_a_network_is_cancelled_too(handler, around, drive):
    """Rule 11: who relays to the one that is speaking is closed after it, and seen to end."""

    class Speaker(Node):
        @handler
        def chat(self, message):
            try:
                yield "one"
                yield "two"
            finally:
                LOG.append("speaker is over")

    class Network(MapperNode):
        @handler
        def chat(self, message):
            try:
                yield self.relay(message)
            finally:
                LOG.append("network is over")

    log, network = Notebook(), around(Network(Speaker(name="S"), name="N"), name="top")
    outcome = drive(lambda: network.receive("go", observe=log), take=1)
    assert outcome.contents == ["one"]
    assert LOG == ["speaker is over", "network is over"]
    assert [event.node.name for event in log.of("ended")] == ["S", "N", "top"]


@every_driver
@kinds(*WAITING)
def test_who_was_asked_last_is_closed_first(handler, drive):
    """Rule 11: of several who run for one handler the youngest, whether it yields or awaits."""

    class Talker(Patient):
        def query(self, message):
            try:
                yield "one"
                yield "two"
            finally:
                LOG.append(f"{self.name} is over")

    class Asker(Node):
        @handler
        def request(self, message):
            stream = Talker(name="Ann").stream("?", intent="query")
            yield stream
            yield Patient(name="Bob").ask("?")

    class Loud(Node):
        def request(self, message):
            yield sleep(1)
            yield "loud"
            yield "louder"

    network = MapperNode(Asker(), Loud())
    opening = Message("go", intent="request")
    outcome = drive(lambda: network.receive(opening, clock=FakeClock()), take=1)
    assert outcome.contents == ["loud"]
    assert LOG == ["Bob is over", "Ann is over"]
