"""What holds of every program: random networks of random nodes, on all drivers, in all kinds."""

from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clock import FakeClock
from drivers import DRIVERS, every_driver
from llambdao import Limits, Message, Reason
from programs import build, programs, programs_with_kinds
from transcript import Notebook

often = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LIMITS = Limits(messages=300, chain=20)


class Run:
    """One run of a program: all that can be seen of it."""

    def __init__(self, program, drive=DRIVERS["plain"], kinds=None, take=None):
        self.log, self.clock = Notebook(), FakeClock()
        opening = Message("go")
        options = {"clock": self.clock, "limits": LIMITS, "observe": self.log}
        outcome = drive(lambda: build(program, kinds).receive(opening, **options), take=take)
        self.replies, self.error = outcome.replies, outcome.error
        self.reason = outcome.reason
        self.dead = [(one.message.content, one.reason) for one in outcome.conversation.dead_letters]

    @property
    def seen(self):
        """As plain data, to be compared."""
        replies = [(one.content, str(one.sender), one.intent, one.id) for one in self.replies]
        said = [(event.message.id, event.message.content) for event in self.log.of("said")]
        error = type(self.error).__name__ if self.error else None
        return {
            "replies": replies,
            "said": said,
            "events": self.log.course,
            "error": error,
            "reason": self.reason,
            "dead": self.dead,
            "seconds": self.clock.seconds,
        }


@every_driver
@given(programs_with_kinds())
@often
def test_the_same_transcript_whatever_the_kind_and_the_driver(drive, case):
    """Rule 2 and 15: one handler, many drivers: words, ids, order, errors and ends are the same."""
    program, kinds = case
    assert Run(program, drive, kinds).seen == Run(program).seen


@every_driver
@given(programs_with_kinds(), st.integers(0, 4))
@often
def test_every_conversation_ends_with_a_typed_reason(drive, case, take):
    """Rule 9: whatever happens in it, also if the caller stops."""
    program, kinds = case
    run = Run(program, drive, kinds, take=take or None)
    assert isinstance(run.reason, Reason)
    if run.error is None:
        assert run.reason in (Reason.DONE, Reason.LIMIT, Reason.STOPPED)
    else:
        assert run.reason in (Reason.FAILED, Reason.LIMIT, Reason.DEADLOCK)


@every_driver
@given(programs_with_kinds(), st.integers(0, 4))
@often
def test_no_activation_is_left_open(drive, case, take):
    """Rule 11: whatever was delivered has ended, failed or been cancelled; nothing comes after."""
    program, kinds = case
    run = Run(program, drive, kinds, take=take or None)
    open_ = defaultdict(int)
    for event in run.log.events:
        if event.kind == "delivered":
            open_[event.node.name, event.message.id] += 1
        elif event.kind in ("ended", "failed"):
            open_[event.node.name, event.message.id] -= 1
    assert {key: count for key, count in open_.items() if count > 0} == {}
    assert [event.kind for event in run.log.of("over")] == ["over"]
    assert run.log.events[-1].kind == "over"


@given(programs())
@often
def test_every_message_parses_back(program):
    """Rule 12: from its JSON, to an equal one with the same contents."""
    for event in Run(program).log.of("said"):
        back = Message.parse(event.message.json())
        assert back == event.message
        assert back.json() == event.message.json()


@given(programs())
@often
def test_ids_are_unique_and_sort_in_the_order_said(program):
    """Rule 3: what is said later has a greater id; nothing is seen as said twice."""
    ids = [event.message.id for event in Run(program).log.of("said")]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == ids


@every_driver
@given(programs_with_kinds())
@often
def test_messages_of_one_sender_to_one_node_keep_their_order(drive, case):
    """Rule 8: asked or told, they are delivered in the order in which they were said."""
    program, kinds = case
    delivered = defaultdict(list)
    for event in Run(program, drive, kinds).log.of("delivered"):
        message = event.message
        if message.to == event.node and message.sender is not None:
            delivered[message.sender.name, event.node.name].append(message.id)
    for ids in delivered.values():
        assert ids == sorted(ids)


@given(programs(), st.integers(1, 5))
@often
def test_stopping_early_shows_the_beginning_of_the_same(program, take):
    """Rule 14: replies are lazy: who stops after n has heard the first n, and seen no more."""
    whole, part = Run(program), Run(program, take=take)
    heard, first = whole.seen["replies"], part.seen["replies"]
    assert first == heard[:take]
    events = [event for event in part.seen["events"] if event.startswith("said")]
    assert events == [e for e in whole.seen["events"] if e.startswith("said")][: len(events)]


@given(programs())
@often
def test_an_observer_changes_nothing(program):
    """Rule 14: with one or without."""
    opening = Message("go")
    outcome = DRIVERS["plain"](
        lambda: build(program).receive(opening, clock=FakeClock(), limits=LIMITS)
    )
    replies = [(one.content, str(one.sender), one.intent, one.id) for one in outcome.replies]
    assert replies == Run(program).seen["replies"]


@given(programs(most=8))
@settings(often, max_examples=60)
def test_larger_programs_end_too(program):
    """Rule 9: whatever eight nodes do to each other."""
    assert isinstance(Run(program).reason, Reason)
