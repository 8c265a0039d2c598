"""What users get to test with: it finds what is wrong, and nothing else."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from llambdao import GroupChatNode, MapperNode, Message, Node, Reason, all_of, sleep, turns
from llambdao.testing import Interleaving, VirtualClock, capture, check_node, explore


class Echo(Node):
    def chat(self, message):
        yield message.content


class Sleeper(Node):
    seconds: float

    def query(self, message):
        yield sleep(self.seconds)
        return self.name


# -- the clock ---------------------------------------------------------------------------------


def test_three_days_pass_at_once():
    """A sleep moves the clock, and nobody waits."""
    clock = VirtualClock()
    transcript = capture(
        Sleeper(name="Ann", seconds=3 * 86400), Message("?", intent="query"), clock=clock
    )
    assert transcript.lines == ["Ann: Ann"]
    assert transcript.replies[0].timestamp == datetime(2030, 1, 4, tzinfo=UTC)
    assert clock.now() == round(datetime(2030, 1, 4, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_a_clock_can_start_at_any_time():
    """To the second."""
    start = datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
    clock = VirtualClock(start)
    clock.sleep(1)
    said = capture(Echo(), "hi", clock=clock).replies[0]
    assert said.timestamp == start + timedelta(seconds=1)


def test_the_same_clock_gives_the_same_ids():
    """Ids and times of a conversation are functions of the program and the clock."""
    one, other = (capture(Echo(name="Ann"), "hi") for _ in range(2))
    assert [said.id for said in one.messages] == [said.id for said in other.messages]
    assert [said.timestamp for said in one.messages] == [said.timestamp for said in other.messages]


# -- capture -----------------------------------------------------------------------------------


def test_a_transcript_holds_replies_messages_events_and_the_end():
    """Everything that was said, whoever heard it, in order; and why it ended."""

    class Asker(Node):
        peer: Node

        def chat(self, message):
            answer = yield self.peer.ask("and you?", "chat")
            return f"she says {answer.content}"

    seen = []
    transcript = capture(Asker(name="Bob", peer=Echo(name="Ann")), "hi", observe=seen.append)
    assert transcript.lines == ["Bob: she says and you?"]
    assert [said.content for said in transcript.messages] == [
        "hi", "and you?", "and you?", "she says and you?"
    ]  # fmt: skip
    assert [event.kind for event in transcript.events] == [
        "said", "delivered", "said", "waits", "delivered", "said", "ended", "said", "ended", "over"
    ]  # fmt: skip
    assert (transcript.reason, transcript.error) == (Reason.DONE, None)
    assert seen == transcript.events
    assert str(transcript) == "Bob: she says and you?\n(done)"


def test_an_error_is_kept():
    """With what was said before it."""

    class Broken(Node):
        def chat(self, message):
            yield "one"
            raise ValueError("oops")

    transcript = capture(Broken(name="Bob"), "hi")
    assert transcript.lines == ["Bob: one"]
    assert transcript.reason == Reason.FAILED
    assert str(transcript) == "Bob: one\n(failed: ValueError('oops'))"


# -- explore -----------------------------------------------------------------------------------


def race(simulation, right):
    """Two who sleep the same time: who is first is nobody's promise."""
    order = []

    class Runner(Node):
        def query(self, message):
            yield sleep(1)
            order.append(self.name)
            return self.name

    class Judge(Node):
        def chat(self, message):
            yield all_of(*(Runner(name=name).ask("go", "query") for name in "abc"))

    list(simulation.receive(Judge(), "go"))
    assert right(order), order


def test_other_orders_are_found():
    """Whoever relies on an order that is not promised is caught, with the least that shows it."""
    with pytest.raises(Interleaving) as caught:
        explore(lambda simulation: race(simulation, lambda order: order == ["a", "b", "c"]))
    assert [choice for choice in caught.value.choices if choice] == [1]
    assert isinstance(caught.value.__cause__, AssertionError)


def test_a_found_order_can_be_run_again():
    """`explore(program, choices=...)` goes the same way."""

    def program(simulation):
        race(simulation, lambda order: order[0] != "c")

    with pytest.raises(Interleaving) as caught:
        explore(program)
    with pytest.raises(AssertionError):
        explore(program, choices=caught.value.choices)
    assert explore(program, choices=()) == 1


def test_all_orders_of_three_are_seen():
    """What holds in every order is left in peace."""
    orders = set()

    def program(simulation):
        race(simulation, lambda order: orders.add(tuple(order)) or True)

    assert explore(program) >= 6
    assert orders == set(itertools.permutations("abc"))


def test_what_one_told_another_stays_in_order():
    """Also when everything else is shuffled."""

    def program(simulation):
        heard = []

        class Ear(Node):
            def inform(self, message):
                heard.append(message.content)

        ear = Ear()

        class Mouth(Node):
            def chat(self, message):
                for number in range(4):
                    yield ear.tell(f"{self.name}{number}")

        list(simulation.receive(MapperNode(Mouth(name="a"), Mouth(name="b")), "go"))
        for name in "ab":
            mine = [what for what in heard if what.startswith(name)]
            assert mine == [f"{name}{number}" for number in range(4)]

    assert explore(program, seeds=range(40)) > 10


def test_a_program_that_depends_on_luck_is_told():
    """Each seed is run twice; a program that differs is no program to explore."""
    luck = itertools.cycle([True, False])

    def program(simulation):
        race(simulation, lambda order: next(luck))

    with pytest.raises(Interleaving, match="two ways"):
        explore(program)


# -- check_node --------------------------------------------------------------------------------


def test_good_nodes_pass():
    """Of every kind, and networks."""

    class Coroutine(Node):
        async def chat(self, message):
            return message.content

    class Everything(Node):
        def receive(self, message):
            yield message.content

    def table():
        return GroupChatNode(Echo(name="A"), Coroutine(name="B"), until=turns(5))

    for make in (Echo, Coroutine, Everything, table):
        check_node(make, ["hello", Message("again", intent="chat")])


class Shared(Node):
    """Breaks a rule, as each of the following."""

    def chat(self, message):
        return "fine"


shared, numbers = Shared(), itertools.count()


class Counting(Node):
    def chat(self, message):
        return str(next(numbers))


class Raising(Node):
    def chat(self, message):
        raise ZeroDivisionError


class Leaking(Node):
    key: str = "secret"

    def model_dump_json(self, **options):
        return '{"id": "1", "name": "", "role": "system", "key": "secret"}'

    def chat(self, message):
        return "fine"


class Careless(Node):
    def chat(self, message):
        Echo().ask("forgotten")
        return "fine"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: shared, "a new node each time"),
        (Counting, "the same message should give the same transcript"),
        (Raising, "raised ZeroDivisionError"),
        (Leaking, "leaks fields"),
        (lambda: 42, "should make a Node"),
    ],
    ids=["shared", "counting", "raising", "leaking", "no node"],
)
def test_a_broken_rule_is_named(make, complaint):
    """As an AssertionError that says which."""
    with pytest.raises(AssertionError, match=complaint):
        check_node(make, ["hello"])


def test_a_wait_nobody_yielded_is_no_secret():
    """Warnings count as breaches while a node is checked."""
    with pytest.raises(AssertionError, match="'forgotten' to Echo was never yielded"):
        check_node(Careless, ["hello"])


def test_there_must_be_something_to_check_with():
    """No messages, no check."""
    with pytest.raises(AssertionError, match="at least one message"):
        check_node(Echo, [])
