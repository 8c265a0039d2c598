"""Rule 7: a network asks the scheduler, so composition is flat, and each node keeps its mailbox."""

import asyncio

import pytest

from clock import FakeClock
from drivers import every_driver, every_driver_of_tasks
from kinds import SPEAKING, WAITING, kinds
from llambdao import MapperNode, Message, Node, sleep
from transcript import lines


class Sayer(Node):
    """Says its name, sleeping before if told to."""

    naps: float = 0

    def chat(self, message):
        if self.naps:
            yield sleep(self.naps)
        yield f"{self.name}1"
        yield f"{self.name}2"


@every_driver
@kinds(*WAITING)
def test_a_network_relays_by_a_wait(handler, drive):
    """Rule 7: `yield self.relay(message)`; the members' replies come as they are."""

    class Network(MapperNode):
        @handler
        def chat(self, message):
            yield self.relay(message)

    network = Network(Sayer(name="A"), Sayer(name="B"))
    outcome = drive(lambda: network.receive("go"))
    assert lines(outcome.replies) == [
        "A > you: A1 (chat)",
        "A > you: A2 (chat)",
        "B > you: B1 (chat)",
        "B > you: B2 (chat)",
    ]


@every_driver
@kinds(*SPEAKING)
def test_a_network_may_speak_around_what_it_relays(handler, drive):
    """Rule 7: what the network says itself keeps its place."""

    class Network(MapperNode):
        @handler
        def chat(self, message):
            yield "before"
            yield self.relay(message)
            yield "after"

    outcome = drive(lambda: Network(Sayer(name="A")).receive("go"))
    assert outcome.contents == ["before", "A1", "A2", "after"]


@every_driver
def test_members_start_in_link_order_as_long_as_nothing_blocks(drive):
    """Rule 7: a relayed member starts when the one before it has ended."""
    network = MapperNode(*(Sayer(name=name) for name in "CAB"))
    outcome = drive(lambda: network.receive("go"))
    assert outcome.contents == ["C1", "C2", "A1", "A2", "B1", "B2"]


@every_driver
def test_arrival_order_otherwise(drive):
    """Rule 7: who blocks lets the next one start; replies come as they arrive."""
    network = MapperNode(Sayer(name="A", naps=2), Sayer(name="B"), Sayer(name="C", naps=1))
    clock = FakeClock()
    outcome = drive(lambda: network.receive("go", clock=clock))
    assert outcome.contents == ["B1", "B2", "C1", "C2", "A1", "A2"]
    assert clock.seconds == 2


@every_driver
@kinds(*WAITING)
def test_ordered_is_link_order_always(handler, drive):
    """Rule 7: with `ordered=True` each starts when the one before it has ended."""

    class Network(MapperNode):
        @handler
        def chat(self, message):
            yield self.relay(message, ordered=True)

    network = Network(Sayer(name="A", naps=2), Sayer(name="B"), Sayer(name="C", naps=1))
    clock = FakeClock()
    outcome = drive(lambda: network.receive("go", clock=clock))
    assert outcome.contents == ["A1", "A2", "B1", "B2", "C1", "C2"]
    assert clock.seconds == 3


@every_driver
def test_async_members_that_do_not_block_keep_link_order(drive):
    """Rule 7: an async handler that awaits nothing foreign is no different."""

    class Async(Sayer):
        async def chat(self, message):
            yield f"{self.name}1"
            yield f"{self.name}2"

    network = MapperNode(Async(name="A"), Sayer(name="B"), Async(name="C"))
    outcome = drive(lambda: network.receive("go"))
    assert outcome.contents == ["A1", "A2", "B1", "B2", "C1", "C2"]


@every_driver_of_tasks
def test_a_foreign_wait_of_one_member_holds_up_no_other(drive):
    """Rule 7: a member that awaits something another brings about would wait for ever otherwise."""

    class Waiter(Sayer):
        async def chat(self, message):
            await event.wait()
            yield f"{self.name}1"

    class Setter(Sayer):
        async def chat(self, message):
            event.set()
            yield f"{self.name}1"

    event = asyncio.Event()
    network = MapperNode(Waiter(name="A"), Setter(name="B"))
    assert drive(lambda: network.receive("go")).contents == ["B1", "A1"]


@every_driver
def test_asks_run_before_what_was_told_to_others(drive):
    """Rule 7: asks and relays run from a stack, tells first-in first-out."""

    class Teller(Node):
        def chat(self, message):
            yield peer.tell("1")
            yield other.tell("2")
            answer = yield third.ask("3")
            log.append(f"heard {answer.content}")
            yield peer.tell("4")

    class Peer(Node):
        def inform(self, message):
            log.append(message.content)

        def request(self, message):
            log.append(message.content)
            return message.content

    log, peer, other, third = [], Peer(), Peer(), Peer()
    drive(lambda: Teller().receive("go"))
    assert log == ["3", "heard 3", "1", "2", "4"]


@every_driver
def test_an_ask_comes_after_what_the_same_sender_told_that_node_before(drive):
    """Rule 7 and 8: messages from one sender to one node keep their order, asks and tells alike."""

    class Teller(Node):
        def chat(self, message):
            yield peer.tell("1")
            yield peer.tell("2")
            yield peer.ask("3")
            yield peer.tell("4")

    class Peer(Node):
        def inform(self, message):
            log.append(message.content)

        def request(self, message):
            log.append(message.content)
            return "ok"

    log, peer = [], Peer()
    drive(lambda: Teller().receive("go"))
    assert log == ["1", "2", "3", "4"]


@every_driver
def test_the_order_of_sender_and_node_holds_through_a_relay(drive):
    """Rule 7 and 8: what a network was told, and what was told to it before, keep their order."""

    class Teller(Node):
        def chat(self, message):
            for number in range(6):
                if number % 3 == 2:
                    yield network.ask(str(number), intent="chat")
                else:
                    yield network.tell(str(number), intent="chat")

    class Peer(Node):
        def chat(self, message):
            log.append(message.content)
            return "ok"

    log, network = [], MapperNode(Peer())
    drive(lambda: Teller().receive("go"))
    assert log == list("012345")


def nested(depth, leaf):
    """A leaf in so many networks, one in the other."""
    node = leaf
    for _ in range(depth):
        node = MapperNode(node)
    return node


def test_ten_thousand_nested_networks_relay_without_recursion():
    """Rule 7: they need no stack of ours, nor of Python's."""
    network = nested(10_000, Sayer(name="A"))
    assert [said.content for said in network.receive("go")] == ["A1", "A2"]


def test_ten_thousand_nested_networks_can_be_left_and_fail():
    """Rule 7 and 11: stopping early and errors find their way out as well."""

    class Broken(Node):
        def chat(self, message):
            raise ZeroDivisionError

    conversation = nested(10_000, Sayer(name="A")).receive("go")
    assert next(conversation).content == "A1"
    conversation.close()
    with pytest.raises(ZeroDivisionError):
        list(nested(10_000, Broken()).receive("go"))


def test_ten_thousand_nested_asks_without_recursion():
    """Rule 7: asks neither."""

    class Asks(Node):
        def request(self, message):
            answer = yield self.peer.ask(message.content)
            return answer

    class Leaf(Node):
        def request(self, message):
            return "leaf"

    node = Leaf()
    for _ in range(10_000):
        outer = Asks()
        outer.peer, node = node, outer
    (said,) = node.receive(Message("go", intent="request"))
    assert said.content == "leaf"


def test_a_wide_network():
    """Rule 7: ten thousand members of one network, each heard once, in order."""
    network = MapperNode(*(Sayer(name=f"{number} ") for number in range(10_000)))
    said = [one.content for one in network.receive("go")]
    assert said == [f"{number} {half}" for number in range(10_000) for half in (1, 2)]


@every_driver_of_tasks
def test_members_keep_their_own_mailbox(drive):
    """Rule 7 and 8: one node in two networks handles one message at a time."""

    class Shared(Node):
        async def chat(self, message):
            log.append("begins")
            await asyncio.sleep(0)
            log.append("ends")

    log, shared = [], Shared()
    network = MapperNode(MapperNode(shared), MapperNode(shared))
    drive(lambda: network.receive("go"))
    assert log == ["begins", "ends"] * 2


@pytest.mark.parametrize("depth", [1, 49, 50, 51, 63, 64, 65, 66, 99, 100, 101])
def test_whoever_waits_at_any_depth_goes_on(depth):
    """Rule 7: depth changes nothing, wherever the counting of long chains begins."""

    class Sleeper(Node):
        def chat(self, message):
            yield sleep(1)
            return "awake"

    network = Sleeper()
    for _ in range(depth):
        network = MapperNode(network)
    assert [said.content for said in network.receive("up", clock=FakeClock())] == ["awake"]
