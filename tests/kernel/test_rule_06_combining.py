"""Rule 6: waits combine; what is no longer waited for is cancelled."""

import asyncio
import gc
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clock import START, FakeClock
from drivers import every_driver, every_driver_of_its_own, plain
from kinds import SPEAKING, WAITING, kinds
from llambdao import (
    Deadlock,
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


class Peer(Node):
    """Begins, sleeps so many seconds, answers or fails, and cleans up; writes it all down."""

    log: Any
    seconds: float = 0
    fails: bool = False

    def query(self, message):
        self.log.append(f"{self.name} begins")
        try:
            yield sleep(self.seconds)
            if self.fails:
                raise ValueError(self.name)
            self.log.append(f"{self.name} answers")
            yield self.name.lower()
        finally:
            self.log.append(f"{self.name} is over")


def run(script, drive, handler, peers=(), **options):
    """Run a script as the `chat` of a node that has these peers; the outcome and the clock."""

    class Asker(Node):
        chat = handler(script)

    asker, clock = Asker(name="Asker"), FakeClock()
    asker.peers = peers
    return drive(lambda: asker.receive("go", clock=clock, **options)), clock


def people(log, *seconds, fails=()):
    """Peers called A, B, C ... who take so long to answer; some of them fail instead."""
    names = "ABCDEFG"[: len(seconds)]
    return [
        Peer(name=name, log=log, seconds=time, fails=name in fails)
        for name, time in zip(names, seconds, strict=True)
    ]


@every_driver
@kinds(*WAITING)
def test_all_of_begins_every_part_in_order_before_any_is_waited_for(handler, drive):
    """Rule 6: `all_of` begins all in order, takes as long as the slowest, and keeps the order."""

    def script(self, message):
        answers = yield all_of(*(peer.ask("?", intent="query") for peer in self.peers))
        return " ".join(answer.content for answer in answers)

    log = []
    outcome, clock = run(script, drive, handler, people(log, 3, 1, 2))
    assert outcome.contents == ["a b c"]
    assert clock.seconds == 3
    assert log == [
        "A begins",
        "B begins",
        "C begins",
        "B answers",
        "B is over",
        "C answers",
        "C is over",
        "A answers",
        "A is over",
    ]


@every_driver
@kinds(*WAITING)
def test_and_is_all_of(handler, drive):
    """Rule 6: `a & b` waits for both."""

    def script(self, message):
        a, b = self.peers
        one, two = yield a.ask("?", intent="query") & b.ask("?", intent="query")
        return one.content + two.content

    outcome, _ = run(script, drive, handler, people([], 1, 2))
    assert outcome.contents == ["ab"]


@every_driver
@kinds(*WAITING)
def test_the_first_failure_cancels_the_rest_and_is_raised(handler, drive):
    """Rule 6: in `all_of` the first failure is raised at once; the others clean up before that."""

    def script(self, message):
        try:
            yield all_of(*(peer.ask("?", intent="query") for peer in self.peers))
        except ValueError as error:
            log.append("caught")
            return f"failed: {error}"

    log = []
    outcome, clock = run(script, drive, handler, people(log, 9, 2, 5, fails="B"))
    assert outcome.contents == ["failed: B"]
    assert clock.seconds == 2
    assert log[:3] == ["A begins", "B begins", "C begins"]
    assert log[3] == "B is over"
    assert sorted(log[4:6]) == ["A is over", "C is over"]
    assert log[6:] == ["caught"]


@every_driver
@kinds(*WAITING)
def test_all_of_nothing_is_nothing(handler, drive):
    """Rule 6: `all_of()` is the empty list at once."""

    def script(self, message):
        answers = yield all_of()
        return str(answers)

    assert run(script, drive, handler)[0].contents == ["[]"]


@every_driver
@kinds(*WAITING)
def test_any_of_is_the_first_that_succeeds(handler, drive):
    """Rule 6: `any_of` gives the first success; the rest is cancelled and cleans up."""

    def script(self, message):
        answer = yield any_of(*(peer.ask("?", intent="query") for peer in self.peers))
        log.append("heard")
        return answer.content

    log = []
    outcome, clock = run(script, drive, handler, people(log, 3, 1, 2))
    assert outcome.contents == ["b"]
    assert clock.seconds == 1
    assert log[:5] == ["A begins", "B begins", "C begins", "B answers", "B is over"]
    assert sorted(log[5:7]) == ["A is over", "C is over"]
    assert log[7:] == ["heard"]


@every_driver
@kinds(*WAITING)
def test_or_is_any_of(handler, drive):
    """Rule 6: `a | b` waits for either; `ask | sleep` is a question with patience."""

    def script(self, message):
        (slow,) = self.peers
        value = yield slow.ask("?", intent="query") | sleep(2)
        return str(value)

    log = []
    outcome, clock = run(script, drive, handler, people(log, 60))
    assert outcome.contents == ["None"]
    assert log == ["A begins", "A is over"]
    assert clock.seconds == 2


@every_driver
@kinds(*WAITING)
def test_which_gives_the_index_and_the_value(handler, drive):
    """Rule 6: `any_of(..., which=True)` gives index and value."""

    def script(self, message):
        asks = [peer.ask("?", intent="query") for peer in self.peers]
        index, answer = yield any_of(*asks, which=True)
        return f"{index} {answer.content}"

    outcome, _ = run(script, drive, handler, people([], 3, 2, 1))
    assert outcome.contents == ["2 c"]


@every_driver
@kinds(*WAITING)
def test_any_of_passes_failures_over(handler, drive):
    """Rule 6: a failure is passed over as long as another may succeed."""

    def script(self, message):
        answer = yield any_of(*(peer.ask("?", intent="query") for peer in self.peers))
        return answer.content

    outcome, clock = run(script, drive, handler, people([], 1, 2, 3, fails="AB"))
    assert outcome.contents == ["c"]
    assert clock.seconds == 3


@every_driver
@kinds(*WAITING)
def test_any_of_raises_if_all_fail(handler, drive):
    """Rule 6: if all fail, all their errors are raised, in the order of the parts."""

    def script(self, message):
        try:
            yield any_of(*(peer.ask("?", intent="query") for peer in self.peers))
        except ExceptionGroup as group:
            return " ".join(str(error) for error in group.exceptions)

    outcome, _ = run(script, drive, handler, people([], 3, 2, 1, fails="ABC"))
    assert outcome.contents == ["A B C"]


@every_driver
@kinds(*WAITING)
def test_combined_waits_combine(handler, drive):
    """Rule 6: waits of waits: two of them, or time runs out."""

    def script(self, message):
        a, b, c = (peer.ask("?", intent="query") for peer in self.peers)
        index, value = yield any_of(all_of(a, b), all_of(c, sleep(20)), which=True)
        return f"{index} {[answer.content for answer in value]}"

    log = []
    outcome, clock = run(script, drive, handler, people(log, 3, 2, 1))
    assert outcome.contents == ["0 ['a', 'b']"]
    assert clock.seconds == 3


@every_driver
@kinds(*WAITING)
def test_a_lost_branch_is_cancelled_with_all_its_parts(handler, drive):
    """Rule 6: a composite that loses takes its parts with it."""

    def script(self, message):
        a, b, c = (peer.ask("?", intent="query") for peer in self.peers)
        yield (a & b) | c
        log.append("heard")
        yield sleep(100)

    log = []
    outcome, clock = run(script, drive, handler, people(log, 9, 8, 1))
    assert outcome.contents == []
    assert sorted(log[3:7]) == ["A is over", "B is over", "C answers", "C is over"]
    assert log[7:] == ["heard"]
    assert clock.seconds == 101


@every_driver
@kinds(*WAITING)
def test_any_of_with_a_part_that_has_its_value_at_once(handler, drive):
    """Rule 6: a tell has its value at once, so the rest never gets to answer."""

    def script(self, message):
        slow, told = self.peers
        index, value = yield any_of(
            slow.ask("?", intent="query"), told.tell("?", intent="query"), which=True
        )
        return f"{index} {value}"

    log = []
    outcome, clock = run(script, drive, handler, people(log, 9, 0))
    assert outcome.contents == ["1 None"]
    assert "A answers" not in log
    assert clock.seconds == 0


def test_any_of_nothing_is_refused():
    """Rule 6: `any_of()` would wait for ever, and says so."""
    with pytest.raises(Misused, match="for ever"):
        any_of()


@pytest.mark.parametrize("combine", [all_of, any_of])
def test_only_waits_combine(combine):
    """Rule 6: anything else is refused, with a hint at the forgotten star."""
    with pytest.raises(Misused, match=r"\*"):
        combine([1, 2])


@every_driver
@kinds(*WAITING)
def test_sleep_takes_seconds_or_a_date(handler, drive):
    """Rule 6: `sleep(seconds)` and `sleep(date)`; a date that has passed is no wait."""

    def script(self, message):
        yield sleep(1.5)
        yield sleep(datetime.fromtimestamp(START // 10**9, UTC) + timedelta(seconds=60))
        yield sleep(datetime(2000, 1, 1, tzinfo=UTC))
        yield sleep(0)
        return str(self.now())

    outcome, clock = run(script, drive, handler)
    assert outcome.contents == ["2023-11-14 22:14:20+00:00"]
    assert clock.seconds == 60


@every_driver
@kinds(*WAITING)
def test_sleepers_wake_in_the_order_of_their_time(handler, drive):
    """Rule 6: whoever sleeps less wakes first; at the same time, whoever began first."""

    class Sleeper(Node):
        @handler
        def inform(self, message):
            yield sleep(float(message.content))
            log.append(f"{self.name} {clock.seconds:g}")

    class Teller(Node):
        def chat(self, message):
            for name, seconds in (("A", "3"), ("B", "1"), ("C", "3"), ("D", "2")):
                yield Sleeper(name=name).tell(seconds)

    log, clock = [], FakeClock()
    drive(lambda: Teller().receive("go", clock=clock))
    assert log == ["B 1", "D 2", "A 3", "C 3"]


@every_driver
@kinds(*WAITING)
def test_call_gives_the_result_of_a_function(handler, drive):
    """Rule 6: `call(function, *args)` calls a plain function once."""

    def script(self, message):
        value = yield call(add, 1, 2)
        return str(value)

    def add(*numbers):
        calls.append(numbers)
        return sum(numbers)

    calls = []
    assert run(script, drive, handler)[0].contents == ["3"]
    assert calls == [(1, 2)]


@every_driver
@kinds(*WAITING)
def test_call_gives_the_result_of_a_coroutine_function(handler, drive):
    """Rule 6: `call` takes coroutine functions as well, in every kind of handler."""

    async def add(*numbers):
        await asyncio.sleep(0)
        return sum(numbers)

    def script(self, message):
        one, two = yield call(add, 1, 2) & call(add, 3, 4)
        return f"{one} {two}"

    assert run(script, drive, handler)[0].contents == ["3 7"]


@every_driver
@kinds(*WAITING)
def test_the_error_of_a_call_is_raised_at_the_yield(handler, drive):
    """Rule 6: what the function raises is raised where it was called, plain or coroutine."""

    def plain():
        raise KeyError("plain")

    async def coroutine():
        raise KeyError("coroutine")

    def script(self, message):
        caught = []
        for function in (plain, coroutine):
            try:
                yield call(function)
            except KeyError as error:
                caught.append(error.args[0])
        return " ".join(caught)

    assert run(script, drive, handler)[0].contents == ["plain coroutine"]


def test_call_takes_a_function_not_its_result():
    """Rule 6: `call(f(x))` is refused, with the way to write it."""
    with pytest.raises(Misused, match=r"call\(f, x\)"):
        call(42)


@every_driver
@kinds(*SPEAKING)
def test_expect_waits_for_news_from_outside(handler, drive):
    """Rule 6: `expect(key)` comes to the news told to the conversation under that key."""

    class Host(Node):
        @handler
        def chat(self, message):
            yield "who is there?"
            name = yield expect("bell")
            yield f"hello, {name}"

    def open_():
        conversation = Host().receive("go")
        conversation.news("bell", "Ann")
        return conversation

    assert drive(open_).contents == ["who is there?", "hello, Ann"]


@kinds(*SPEAKING)
def test_news_come_while_the_conversation_is_under_way(handler):
    """Rule 6: news under other keys are no news; those under the key come in their order."""

    class Host(Node):
        @handler
        def chat(self, message):
            for _ in range(2):
                name = yield expect("bell")
                yield f"hello, {name}"

    conversation = Host().receive("go")
    conversation.news("phone", "Eve")
    conversation.news("bell", "Ann")
    conversation.news("bell", "Bob")
    assert [said.content for said in conversation] == ["hello, Ann", "hello, Bob"]


@every_driver_of_its_own
@kinds(*WAITING)
def test_an_expectation_nobody_can_fulfil_is_a_deadlock(handler, drive):
    """Rule 6 and 9: when nothing else is under way, an `expect` is a `Deadlock` that names it."""

    def script(self, message):
        yield expect("Godot")

    outcome, _ = run(script, drive, handler)
    assert type(outcome.error) is Deadlock
    assert "Asker" in str(outcome.error)
    assert "Godot" in str(outcome.error)
    assert outcome.reason == "deadlock"


@every_driver
@kinds(*WAITING)
def test_expect_with_a_sleep_ends_when_time_is_up(handler, drive):
    """Rule 6: `expect(key) | sleep(n)` waits no longer than that."""

    def script(self, message):
        index, _ = yield any_of(expect("bell"), sleep(30), which=True)
        return "nobody came" if index else "somebody came"

    outcome, clock = run(script, drive, handler)
    assert outcome.contents == ["nobody came"]
    assert clock.seconds == 30


class Teller(Node):
    """Tells a story in four parts, and writes down how far it got."""

    log: Any

    def query(self, message):
        try:
            for part in range(4):
                self.log.append(part)
                yield f"part {part}"
        finally:
            self.log.append("over")


@every_driver
@kinds(*WAITING)
def test_a_stream_gives_replies_one_by_one(handler, drive):
    """Rule 6: `while (reply := (yield stream)) is not None` gives each, then None."""

    def script(self, message):
        stream, heard = teller.stream("?", intent="query"), []
        while (reply := (yield stream)) is not None:
            heard.append(reply.content)
        return ", ".join(heard)

    teller = Teller(log=[])
    outcome, _ = run(script, drive, handler)
    assert outcome.contents == ["part 0, part 1, part 2, part 3"]


@every_driver
@kinds(*SPEAKING)
def test_the_peer_of_a_stream_is_resumed_only_as_its_replies_are_taken(handler, drive):
    """Rule 6: nobody tells ahead of the listener; who stops listening cancels the rest."""

    def script(self, message):
        stream = teller.stream("?", intent="query")
        for _ in range(2):
            reply = yield stream
            yield f"heard {reply.content}, told {len(teller.log)}"
            yield sleep(1)

    teller = Teller(log=[])
    outcome, _ = run(script, drive, handler)
    assert outcome.contents == ["heard part 0, told 1", "heard part 1, told 2"]
    assert teller.log == [0, 1, "over"]


@every_driver
def test_a_stream_in_an_async_for(drive):
    """Rule 6: `async for reply in stream` is the same in a coroutine."""

    class Asker(Node):
        async def chat(self, message):
            stream = teller.stream("?", intent="query")
            heard = [f"{reply.content}/{len(teller.log)}" async for reply in stream]
            return ", ".join(heard)

    teller = Teller(log=[])
    outcome = drive(lambda: Asker().receive("go"))
    assert outcome.contents == ["part 0/1, part 1/2, part 2/3, part 3/4"]


@every_driver
@kinds(*WAITING)
def test_two_streams_side_by_side(handler, drive):
    """Rule 6: streams interleave as the listener likes."""

    def script(self, message):
        one, two = (Teller(log=[]).stream("?", intent="query") for _ in range(2))
        heard = []
        for stream in (one, two, two, one):
            reply = yield stream
            heard.append(reply.content[-1])
        return "".join(heard)

    assert run(script, drive, handler)[0].contents == ["0011"]


@every_driver
@kinds(*WAITING)
def test_the_error_of_a_streaming_peer_is_raised_where_it_would_be_heard(handler, drive):
    """Rule 6 and 5: the replies come first, then the error, at the `yield`."""

    class Failing(Node):
        def query(self, message):
            yield "one"
            raise ValueError("two")

    def script(self, message):
        stream, heard = Failing().stream("?", intent="query"), []
        try:
            while (reply := (yield stream)) is not None:
                heard.append(reply.content)
        except ValueError as error:
            heard.append(f"error {error}")
        return ", ".join(heard)

    assert run(script, drive, handler)[0].contents == ["one, error two"]


@every_driver
@kinds(*WAITING)
def test_a_silent_stream_ends_at_once(handler, drive):
    """Rule 6: a stream of nothing is None at the first `yield`, not an error."""

    class Mute(Node):
        def query(self, message):
            return None

    def script(self, message):
        value = yield Mute().stream("?", intent="query")
        return str(value)

    assert run(script, drive, handler)[0].contents == ["None"]


@every_driver
@kinds(*WAITING)
def test_a_failure_of_a_timeout_inside_all_of(handler, drive):
    """Rule 6 and 5: a part that runs out of time is a failure like any other."""

    def script(self, message):
        a, b = self.peers
        try:
            yield a.ask("?", intent="query", timeout=2) & b.ask("?", intent="query")
        except NoAnswer:
            return "too late"

    log = []
    outcome, clock = run(script, drive, handler, people(log, 9, 8))
    assert outcome.contents == ["too late"]
    assert clock.seconds == 2
    assert sorted(log[2:]) == ["A is over", "B is over"]


@every_driver
@kinds("plain", "coroutine", "generator")
def test_a_returned_wait_is_waited_for_and_its_value_said(handler, drive):
    """Rule 2 and 6: a handler may end in a wait; what it comes to is said."""

    def script(self, message):
        (peer,) = self.peers
        return peer.ask("?", intent="query")
        yield

    outcome, _ = run(script, drive, handler, people([], 1))
    assert outcome.contents == ["a"]


def test_a_message_is_no_wait():
    """Rule 6: only waits combine; a message among them is refused."""
    with pytest.raises(Misused):
        all_of(Message("?"))


@every_driver
def test_a_row_of_operators_makes_one_flat_wait(drive):
    """Rule 6: `a & b & c` gives three values, `a | b | c` the first of three."""

    class Asker(Node):
        def chat(self, message):
            values = yield call(int, "1") & call(int, "2") & call(int, "3")
            first = yield sleep(3) | sleep(2) | call(int, "4")
            return f"{values} {first}"

    assert drive(lambda: Asker().receive("go", clock=FakeClock())).contents == ["[1, 2, 3] 4"]


@every_driver
def test_every_answer_of_a_silent_peer_is_no_answer(drive):
    """Rule 5: silence raises `NoAnswer`, with `every=True` as without."""

    class Silent(Node):
        def request(self, message):
            return None

    class Asker(Node):
        def chat(self, message):
            try:
                yield Silent(name="Ann").ask("?", every=True)
            except NoAnswer as error:
                return str(error)

    heard = drive(lambda: Asker().receive("go")).contents
    assert heard == ["the question '?' to Ann ended without a word"]


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (60, "the sleep of 60 seconds"),
        (1, "the sleep of 1 second"),
        (0.25, "the sleep of 0.25 seconds"),
        (datetime(2030, 1, 1, tzinfo=UTC), "the sleep until 2030-01-01 00:00:00+00:00"),
    ],
)
def test_a_sleep_says_how_long_it_takes(until, words):
    """Rule 6: a wait reads as what it is, in errors and to observers."""
    wait = sleep(until)
    wait.state = 2  # nobody is to wait for it
    assert str(wait) == words


class Told(Node):
    """Hears what it is told, and is asked nothing."""

    def inform(self, message):
        pass

    def query(self, message):
        raise ValueError("not this one")


UNNEEDED = {
    "the first succeeds at once": lambda peer: any_of(
        peer.tell("hi"), all_of(peer.ask("a"), any_of(peer.ask("b"), sleep(1))), which=True
    ),
    "the first of a list fails": lambda peer: [
        peer.ask("a", intent="query"), all_of(peer.ask("b"), sleep(1)), peer.ask("c"),
    ],
    "the first of all fails": lambda peer: all_of(
        sleep("soon"), all_of(peer.ask("b"), sleep(1)), peer.ask("c"),
    ),
}  # fmt: skip


@every_driver
@pytest.mark.parametrize("make", UNNEEDED.values(), ids=UNNEEDED)
def test_what_was_not_needed_in_the_end_is_not_complained_of(drive, make):
    """Rule 6: parts that never began were yielded all the same: there is no warning of them."""

    class Asker(Node):
        def chat(self, message):
            try:
                yield make(Told())
            except (TypeError, ValueError) as error:
                yield type(error).__name__

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = drive(lambda: Asker().receive("go", clock=FakeClock()))
        gc.collect(1)
    assert [str(one.message) for one in caught] == []
    assert outcome.error is None


def test_a_list_that_is_cut_short_is_not_complained_of():
    """Rule 11: what was left of a list when all was cancelled was yielded, and never began."""

    class Asker(Node):
        def chat(self, message):
            yield ["one", Told().ask("a"), all_of(Told().ask("b"), sleep(1))]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = plain(lambda: Asker().receive("go"), take=1)
        gc.collect(1)
    assert [str(one.message) for one in caught] == []
    assert outcome.contents == ["one"]
