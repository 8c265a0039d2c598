"""Rule 9: the end is always known: a conversation ends, and says why."""

import asyncio
import time
from collections import deque
from itertools import count

import pytest

from clock import FakeClock
from drivers import every_driver, every_driver_of_its_own
from kinds import SPEAKING, kinds
from llambdao import (
    Deadlock,
    GroupChatNode,
    LimitReached,
    Limits,
    Message,
    Node,
    Reason,
    expect,
    sleep,
    tell,
    turns,
    watch,
)


class Chatterbox(Node):
    """Always has something to say."""

    def chat(self, message):
        return f"{self.name} heard {message.content[:10]}"


class Endless(Node):
    """Never stops."""

    def chat(self, message):
        while True:
            yield "bla"


@every_driver
def test_a_conversation_that_came_to_its_end_is_done(drive):
    """Rule 9: the reason is typed; while it goes on there is none."""
    outcome = drive(lambda: Chatterbox().receive("go"))
    assert outcome.reason is Reason.DONE
    assert outcome.reason == "done"


def test_while_it_goes_on_there_is_no_reason():
    """Rule 9: None before it began, and between two replies."""
    conversation = Endless().receive("go")
    assert conversation.reason is None
    next(conversation)
    assert conversation.reason is None
    conversation.close()
    assert conversation.reason is Reason.STOPPED


@every_driver
def test_stopped_by_the_caller(drive):
    """Rule 9: who stops listening stopped it."""
    assert drive(lambda: Endless().receive("go"), take=5).reason is Reason.STOPPED


@every_driver
def test_failed(drive):
    """Rule 9: an error that nobody caught."""

    class Broken(Node):
        def chat(self, message):
            raise ValueError("oops")

    outcome = drive(lambda: Broken().receive("go"))
    assert outcome.reason is Reason.FAILED
    assert "oops" in outcome.conversation.detail


@every_driver
def test_a_limit_of_messages(drive):
    """Rule 9: what reaches its limit says which, and how to raise it."""
    outcome = drive(lambda: Endless().receive("go", limits=Limits(messages=50)))
    assert type(outcome.error) is LimitReached
    assert outcome.reason is Reason.LIMIT
    assert "50 messages" in str(outcome.error)
    assert "Limits(messages=" in str(outcome.error)
    assert outcome.conversation.detail == str(outcome.error)


@pytest.mark.parametrize("most", [1, 2, 10, 100])
def test_a_limit_is_exact(most):
    """Rule 9: so many messages are said, the opening one counted, and not one more."""
    seen = []
    with pytest.raises(LimitReached):
        seen.extend(watch(Endless(), "go", limits=Limits(messages=most)))
    assert len(seen) == most


def test_what_needs_exactly_its_limit_is_done():
    """Rule 9: reaching the number is no offence, exceeding it is."""

    class Three(Node):
        def chat(self, message):
            return ["a", "b", "c"]

    conversation = Three().receive("go", limits=Limits(messages=4))
    assert len(list(conversation)) == 3
    assert conversation.reason is Reason.DONE


def test_any_conversation_ends_after_a_hundred_thousand_messages():
    """Rule 9: by default, and it says so."""

    class Player(Node):
        def inform(self, message):
            yield Message("pong", intent="inform")

    serve = Message("ping", sender=Player(), intent="inform")
    seen, conversation = count(), watch(Player(), serve)
    with pytest.raises(LimitReached, match="100,000 messages"):
        deque(zip(conversation, seen, strict=False), maxlen=0)
    assert next(seen) == 100_000
    assert conversation.reason is Reason.LIMIT


@every_driver
def test_an_endless_echo_ends(drive):
    """Rule 9: two who answer every message by name end at the limit."""

    class Echo(Node):
        def inform(self, message):
            yield Message(message.content, intent="inform")

    bob = Echo()

    class Starter(Echo):
        def chat(self, message):
            yield bob.tell(message.content)

    outcome = drive(lambda: Starter().receive("echo", limits=Limits(messages=1000)))
    assert type(outcome.error) is LimitReached


@every_driver
@pytest.mark.parametrize("members", [2, 3, 7])
def test_a_group_chat_without_until_ends_after_exactly_a_hundred(members, drive):
    """Rule 9: a hundred utterances, then `limit`; it says so, and it is no error."""
    table = GroupChatNode(*(Chatterbox(name=f"n{i}") for i in range(members)), name="table")
    outcome = drive(lambda: table.receive("go"))
    assert len(outcome.contents) == 100
    assert outcome.reason is Reason.LIMIT
    assert "table" in outcome.conversation.detail
    assert "100" in outcome.conversation.detail


@every_driver
def test_that_number_can_be_set(drive):
    """Rule 9: `most=` says how many; `until=` where it ends, which is then no limit."""
    members = [Chatterbox(name=name) for name in "AB"]
    outcome = drive(lambda: GroupChatNode(*members, most=7).receive("go"))
    assert (len(outcome.contents), outcome.reason) == (7, "limit")
    outcome = drive(lambda: GroupChatNode(*members, until=turns(7)).receive("go"))
    assert (len(outcome.contents), outcome.reason) == (7, "done")


def test_tell_says_why_it_ended_too():
    """Rule 9: `tell` gives the conversation, which knows."""
    assert tell(Chatterbox(), "go").reason is Reason.DONE


@every_driver_of_its_own
def test_a_deadlock_names_who_waits_for_what(drive):
    """Rule 9: when only expectations that nobody can fulfil remain, it is no hang."""

    class Waits(Node):
        def request(self, message):
            yield expect(f"news for {self.name}")

    class Asks(Node):
        def chat(self, message):
            yield waits.ask("?")

    waits = Waits(name="Wanda")
    outcome = drive(lambda: Asks(name="Ann").receive("go"))
    assert type(outcome.error) is Deadlock
    assert outcome.reason is Reason.DEADLOCK
    for words in ("Ann", "Wanda", "news for Wanda"):
        assert words in str(outcome.error)


@every_driver_of_its_own
@kinds(*SPEAKING)
def test_what_was_told_and_waits_for_ever_is_a_deadlock_too(handler, drive):
    """Rule 9: also if nobody asked for it; what could be said was said before."""

    class Waits(Node):
        @handler
        def inform(self, message):
            yield expect("Godot")

    class Teller(Node):
        @handler
        def chat(self, message):
            yield Waits(name="Estragon").tell("he will come")
            yield "told"

    outcome = drive(lambda: Teller().receive("go"))
    assert outcome.before == ["told"]
    assert type(outcome.error) is Deadlock
    assert "Estragon" in str(outcome.error)


@every_driver
def test_two_who_tell_each_other_with_full_mailboxes(drive):
    """Rule 8 and 9: a circle of full mailboxes ends: as `Deadlock`, or because it dissolves."""

    class Flood(Node):
        def inform(self, message):
            for _ in range(3):
                yield self.peer.tell("more")

    ann, bob = Flood(name="Ann"), Flood(name="Bob")
    ann.peer, bob.peer = bob, ann
    serve = Message("go", intent="inform")
    outcome = drive(lambda: ann.receive(serve, limits=Limits(mailbox=2, messages=2000)))
    assert isinstance(outcome.error, Deadlock | LimitReached)
    assert outcome.reason in ("deadlock", "limit")


def test_an_async_handler_that_awaits_what_nothing_will_bring():
    """Rule 9: under `for` a held handler that nothing can wake is a `Deadlock`, not a hang."""

    class Held(Node):
        async def chat(self, message):
            await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        list(Held().receive("go"))


def test_held_handlers_that_wait_for_each_other():
    """Rule 8 and 9: one holds its node until the other speaks to that node: `Deadlock`."""

    class Held(Node):
        async def request(self, message):
            await free.wait()
            return "freed"

        def inform(self, message):
            free.set()

    class Asker(Node):
        def chat(self, message):
            yield held.ask("?") & helper.ask("?")

    class Helper(Node):
        def request(self, message):
            yield held.tell("be free")
            return "told"

    free, held, helper = asyncio.Event(), Held(name="Held"), Helper()
    with pytest.raises(Deadlock):
        list(Asker().receive("go"))


@every_driver
def test_a_long_sleep_is_no_deadlock_and_takes_no_time(drive):
    """Rule 9: who sleeps will wake: a hundred years pass at once by the clock given."""

    class Sleeper(Node):
        def chat(self, message):
            yield sleep(100 * 365 * 86_400)
            return "good morning"

    began, clock = time.monotonic(), FakeClock()
    assert drive(lambda: Sleeper().receive("go", clock=clock)).contents == ["good morning"]
    assert time.monotonic() - began < 5


@every_driver
def test_nothing_comes_after_the_end(drive):
    """Rule 9: iterating once more gives nothing."""
    outcome = drive(lambda: Chatterbox().receive("go"))
    assert outcome.reason is Reason.DONE
    assert outcome.conversation.reason is Reason.DONE


def test_limits_are_validated():
    """Rule 9: a limit of nothing would be an end before the beginning."""
    with pytest.raises(LimitReached):
        list(Chatterbox().receive("go", limits=Limits(messages=0)))
