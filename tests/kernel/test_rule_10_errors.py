"""Rule 10: errors go to whoever waits; a failed turn is undone; nothing is only logged."""

import asyncio
from typing import Any

import pytest
from pydantic import Field

from clock import FakeClock
from drivers import DRIVERS, every_driver, every_driver_of_its_own
from kinds import SPEAKING, WAITING, kinds
from llambdao import MapperNode, Message, Node, sleep, tell
from transcript import Notebook


class Broken(Node):
    """Says one thing, if it is to, and fails."""

    words: str = ""

    def request(self, message):
        if self.words:
            yield self.words
        raise ZeroDivisionError(self.name)

    inform = request
    chat = request


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_an_error_ends_the_conversation_and_is_raised_in_the_caller(handler, drive):
    """Rule 10: without a supervisor the caller gets the error itself; the reason is `failed`."""

    class Peer(Node):
        @handler
        def chat(self, message):
            raise ZeroDivisionError("oops")
            yield

    outcome = drive(lambda: Peer().receive("go"))
    assert type(outcome.error) is ZeroDivisionError
    assert outcome.reason == "failed"


@every_driver
@kinds("generator", "async-generator")
def test_what_was_said_before_the_error_is_heard(handler, drive):
    """Rule 10: the replies before the error still reach the caller."""

    class Peer(Node):
        @handler
        def chat(self, message):
            yield "one"
            raise ZeroDivisionError

    outcome = drive(lambda: Peer().receive("go"))
    assert outcome.before == ["one"]
    assert type(outcome.error) is ZeroDivisionError


@every_driver_of_its_own
def test_an_error_in_what_was_told_is_raised_in_the_caller(drive):
    """Rule 10: nobody waits for what was told, so its error ends the conversation."""

    class Teller(Node):
        def chat(self, message):
            yield Broken(name="Bob").tell("news")
            yield "told"

    outcome = drive(lambda: Teller().receive("go"))
    assert outcome.before == ["told"]
    assert type(outcome.error) is ZeroDivisionError
    assert outcome.reason == "failed"


def test_an_error_in_what_was_told_from_outside_is_raised():
    """Rule 10: `tell(node, ...)` raises it as well: nothing is only logged."""
    with pytest.raises(ZeroDivisionError):
        tell(Broken(), Message("news", intent="inform"))


@every_driver
def test_an_error_that_the_asker_catches_harms_nobody(drive):
    """Rule 10: who waits gets it, and may go on; the conversation ends as done."""

    class Asker(Node):
        def chat(self, message):
            for name in "AB":
                try:
                    yield Broken(name=name).ask("?")
                except ZeroDivisionError as error:
                    yield f"{error} failed"

    outcome = drive(lambda: Asker().receive("go"))
    assert outcome.contents == ["A failed", "B failed"]
    assert outcome.reason == "done"


@every_driver
@kinds(*WAITING)
def test_an_error_travels_up_through_all_who_wait(handler, drive):
    """Rule 10: each asker in turn; none of them is left open."""

    class Middle(Node):
        @handler
        def request(self, message):
            try:
                yield peers[int(message.content)].ask(str(int(message.content) + 1))
            finally:
                log.append(message.content)

    log, peers = [], [Middle(), Middle(), Broken(name="Bob")]
    outcome = drive(lambda: Middle().receive(Message("0", intent="request")))
    assert str(outcome.error) == "Bob"
    assert log == ["2", "1", "0"]


@every_driver
def test_if_members_fail_the_others_replies_still_come(drive):
    """Rule 7 and 10: then the error, as it is when there is one."""

    class Fine(Node):
        def chat(self, message):
            return "fine"

    network = MapperNode(Broken(name="A", words="before"), Fine())
    outcome = drive(lambda: network.receive("go"))
    assert outcome.before == ["before", "fine"]
    assert type(outcome.error) is ZeroDivisionError


@every_driver
def test_if_several_members_fail_their_errors_come_as_a_group(drive):
    """Rule 7 and 10: several errors are an `ExceptionGroup`, in link order."""

    class Fine(Node):
        def chat(self, message):
            return "fine"

    network = MapperNode(Broken(name="A"), Fine(), Broken(name="B"))
    outcome = drive(lambda: network.receive("go"))
    assert outcome.before == ["fine"]
    assert type(outcome.error) is ExceptionGroup
    assert [str(error) for error in outcome.error.exceptions] == ["A", "B"]


class Diary(Node):
    """Has fields to assign to."""

    page: int = 0
    lines: list[str] = Field(default_factory=list)
    peer: Any = None

    def query(self, message):
        return str(self.page)


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_a_failed_turn_undoes_assignments(handler, drive):
    """Rule 10: fields and other attributes are as they were before the turn that failed."""

    class Writer(Diary):
        @handler
        def chat(self, message):
            self.page = 7
            self.page = 8
            self.lines = [*self.lines, "never written"]
            self.mood = "hopeful"
            self.ink = "blue"
            del self.colour
            raise ZeroDivisionError
            yield

    writer = Writer()
    writer.ink, writer.colour = "black", "red"
    outcome = drive(lambda: writer.receive("go"))
    assert type(outcome.error) is ZeroDivisionError
    assert (writer.page, writer.lines, writer.ink, writer.colour) == (0, [], "black", "red")
    assert not hasattr(writer, "mood")


@every_driver
@kinds(*SPEAKING)
def test_only_the_turn_that_failed_is_undone(handler, drive):
    """Rule 10: what was assigned before the last wait stays."""

    class Writer(Diary):
        @handler
        def chat(self, message):
            self.page = 1
            yield sleep(1)
            self.page = 2
            self.lines = ["kept"]
            yield sleep(1)
            self.page = 3
            raise ZeroDivisionError

    writer = Writer()
    drive(lambda: writer.receive("go", clock=FakeClock()))
    assert (writer.page, writer.lines) == (2, ["kept"])


@every_driver
def test_awaiting_something_foreign_does_not_end_the_turn(drive):
    """Rule 8 and 10: a turn reaches from wait to wait, whatever is awaited in between."""

    class Writer(Diary):
        async def chat(self, message):
            self.page = 1
            await asyncio.sleep(0)
            self.lines = ["never"]
            await asyncio.sleep(0)
            raise ZeroDivisionError

    writer = Writer()
    drive(lambda: writer.receive("go"))
    assert (writer.page, writer.lines) == (0, [])


@every_driver
def test_changes_inside_a_list_are_undone_by_a_journal_alone(drive):
    """Rule 10: else only assignments are; write `self.xs = [*self.xs, x]`."""

    class Writer(Diary):
        def chat(self, message):
            self.lines.append("kept")
            raise ZeroDivisionError

    writer = Writer()
    drive(lambda: writer.receive("go"))
    assert writer.lines == ([] if drive is DRIVERS["journal"] else ["kept"])


@every_driver
@kinds(*WAITING)
def test_a_turn_of_another_message_is_not_undone(handler, drive):
    """Rule 10: two messages at one node: only what the failed one's turn assigned is undone."""

    class Writer(Diary):
        @handler
        def request(self, message):
            self.lines = [*self.lines, message.content]
            yield sleep(int(message.content))
            self.page = int(message.content)
            if message.content == "2":
                raise ZeroDivisionError
            return "ok"

    class Asker(Node):
        def chat(self, message):
            asks = [writer.ask(number) for number in "123"]
            try:
                yield asks[0] & asks[1]
            except ZeroDivisionError:
                yield f"{writer.page} {''.join(writer.lines)}"
            yield asks[2]

    writer = Writer()
    outcome = drive(lambda: Asker().receive("go", clock=FakeClock()))
    assert outcome.contents == ["1 12"]
    assert (writer.page, writer.lines) == (3, ["1", "2", "3"])


@every_driver
def test_a_failed_turn_of_a_caught_error_is_undone_too(drive):
    """Rule 10: also if the asker catches the error and goes on."""

    class Writer(Diary):
        def request(self, message):
            self.page = 5
            raise ZeroDivisionError

    class Asker(Node):
        def chat(self, message):
            try:
                yield writer.ask("?")
            except ZeroDivisionError:
                yield str(writer.page)

    writer = Writer()
    assert drive(lambda: Asker().receive("go")).contents == ["0"]


@every_driver
def test_an_unknown_intent_inside_a_turn_undoes_nothing_if_caught(drive):
    """Rule 10: an error that the handler itself catches is no failure of its turn."""

    class Writer(Diary):
        def chat(self, message):
            self.page = 1
            try:
                yield Diary().ask("?", intent="do")
            except LookupError:
                self.page = self.page + 1
            yield "ok"

    writer = Writer()
    drive(lambda: writer.receive("go"))
    assert writer.page == 2


def test_what_the_program_assigned_between_conversations_is_not_undone():
    """Rule 10: a failed turn takes back its own assignments, nobody else's."""

    class Writer(Diary):
        def chat(self, message):
            self.page = 5
            raise ZeroDivisionError

    writer = Writer()
    writer.page = 3
    with pytest.raises(ZeroDivisionError):
        list(writer.receive("go"))
    assert writer.page == 3
    writer.page = 4
    with pytest.raises(ZeroDivisionError):
        list(writer.receive("go"))
    assert writer.page == 4


@every_driver
@kinds("generator", "async-generator")
def test_a_turn_ends_where_a_reply_is_handed_to_the_caller(handler, drive):
    """Rule 8 and 10: what was assigned before a reply that the caller heard stays."""

    class Writer(Diary):
        @handler
        def chat(self, message):
            self.page = 1
            yield "one"
            self.page = 2
            raise ZeroDivisionError

    writer = Writer()
    drive(lambda: writer.receive("go"))
    assert writer.page == 1


@every_driver
@kinds(*SPEAKING)
def test_an_observer_sees_the_failure(handler, drive):
    """Rule 10 and 14: observers see who failed at what, and with which error."""

    class Peer(Node):
        @handler
        def chat(self, message):
            yield "one"
            raise ZeroDivisionError("oops")

    log, peer = Notebook(), Peer()
    drive(lambda: peer.receive("go", observe=log))
    (event,) = log.of("failed")
    assert event.node is peer
    assert event.message.content == "go"
    assert isinstance(event.detail, ZeroDivisionError)
    assert log.events[-1].kind == "over"


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_a_stop_iteration_of_a_handler_is_an_error(handler, drive):
    """Rule 10: `next()` of an empty iterator in a handler does not end it in silence."""

    class Peer(Node):
        @handler
        def chat(self, message):
            return next(iter(()))
            yield

    class Direct(Node):
        def chat(self, message):
            return next(iter(()))

    for node in (Peer(), Direct()):
        outcome = drive(lambda node=node: node.receive("go"))
        assert isinstance(outcome.error, RuntimeError)


@every_driver
def test_a_keyboard_interrupt_ends_it_all(drive):
    """Rule 10 and 11: Ctrl-C in a handler cancels all others, whose `finally` blocks run."""

    class Waiting(Node):
        def request(self, message):
            try:
                yield sleep(100)
            finally:
                log.append("cleaned up")

    class Interrupted(Node):
        def request(self, message):
            raise KeyboardInterrupt

    class Asker(Node):
        def chat(self, message):
            yield Waiting().ask("?") & Interrupted().ask("?")

    log = []
    with pytest.raises(KeyboardInterrupt):
        drive(lambda: Asker().receive("go", clock=FakeClock()))
    assert log == ["cleaned up"]
