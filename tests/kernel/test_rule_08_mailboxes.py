"""Rule 8: a node handles its messages in order, one at a time; at a wait others may come in."""

import asyncio
from typing import Any, ClassVar

import pytest

from clock import FakeClock
from drivers import every_driver, every_driver_of_tasks
from kinds import SPEAKING, WAITING, kinds
from llambdao import Limits, Message, Node, all_of, sleep


class Sender(Node):
    """Tells a peer one thing after the other."""

    peer: Any
    words: Any

    def chat(self, message):
        for word in self.words:
            yield self.peer.tell(word)


async def foreign():
    """Something foreign to wait for: the event loop turns a few times."""
    for _ in range(3):
        await asyncio.sleep(0)


@every_driver
@kinds("plain", "generator", "coroutine", "async-generator")
def test_messages_of_one_sender_arrive_in_order(handler, drive):
    """Rule 8: what one sender tells one node keeps its order, whatever the kind of handler."""

    class Peer(Node):
        @handler
        def inform(self, message):
            log.append(message.content)
            yield "noted"

    log = []
    drive(lambda: Sender(peer=Peer(), words="abcdefgh").receive("go"))
    assert "".join(log) == "abcdefgh"


@every_driver_of_tasks
def test_an_async_handler_is_atomic_while_it_awaits_something_foreign(drive):
    """Rule 8: awaiting something foreign does not let others in."""

    class Peer(Node):
        async def inform(self, message):
            log.append(f"{message.content} begins")
            await foreign()
            log.append(f"{message.content} ends")

    log = []
    drive(lambda: Sender(peer=Peer(), words="abc").receive("go"))
    assert log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


@every_driver
@kinds(*WAITING)
def test_at_a_wait_other_messages_come_in(handler, drive):
    """Rule 8: a person who takes three days is not deaf meanwhile."""

    class Peer(Node):
        @handler
        def inform(self, message):
            log.append(f"{message.content} begins")
            yield sleep(5)
            log.append(f"{message.content} ends")

    log, clock = [], FakeClock()
    drive(lambda: Sender(peer=Peer(), words="abc").receive("go", clock=clock))
    assert log == ["a begins", "b begins", "c begins", "a ends", "b ends", "c ends"]
    assert clock.seconds == 5


@every_driver_of_tasks
def test_while_a_node_is_held_its_resumptions_wait_too(drive):
    """Rule 8: mailboxes are of turns: starts and resumptions alike."""

    class Peer(Node):
        async def inform(self, message):
            log.append(f"{message.content}1")
            await foreign()
            log.append(f"{message.content}2")
            await Echo().ask("?")
            log.append(f"{message.content}3")
            await foreign()
            log.append(f"{message.content}4")

    class Echo(Node):
        def request(self, message):
            return message.content

    log = []
    drive(lambda: Sender(peer=Peer(), words="ab").receive("go"))
    text = " ".join(log)
    for atom in ("a1 a2", "a3 a4", "b1 b2", "b3 b4"):
        assert atom in text, text
    assert len(log) == 8


@every_driver_of_tasks
def test_concurrency_lets_so_many_in(drive):
    """Rule 8: `concurrency = 2` lets two be under way at once, the third waits for its turn."""

    class Peer(Node):
        concurrency: ClassVar[int | None] = 2

        async def inform(self, message):
            under_way.append(message.content)
            most.append(len(under_way))
            pair = pairs.setdefault((len(most) + 1) // 2, asyncio.Event())
            if len(most) % 2 == 0:
                pair.set()
            await pair.wait()
            under_way.remove(message.content)
            log.append(message.content)

    under_way, most, log, pairs = [], [], [], {}
    outcome = drive(lambda: Sender(peer=Peer(), words="abcdef").receive("go"))
    assert outcome.contents == []
    assert sorted(log) == list("abcdef")
    assert max(most) == 2


@every_driver_of_tasks
def test_concurrency_none_lets_all_in(drive):
    """Rule 8: `concurrency = None` lets any number be under way."""

    class Peer(Node):
        concurrency: ClassVar[int | None] = None

        async def inform(self, message):
            under_way.append(message.content)
            if len(under_way) == 5:
                all_here.set()
            await all_here.wait()
            log.append(message.content)

    under_way, log = [], []
    all_here = asyncio.Event()
    outcome = drive(lambda: Sender(peer=Peer(), words="abcde").receive("go"))
    assert outcome.contents == []
    assert sorted(log) == list("abcde")


@every_driver_of_tasks
def test_two_nodes_are_under_way_at_once(drive):
    """Rule 8: one node that is held holds up nobody else."""

    class Peer(Node):
        async def request(self, message):
            here.append(self.name)
            if len(here) == 2:
                both.set()
            await both.wait()
            return self.name

    class Asker(Node):
        def chat(self, message):
            answers = yield all_of(*(Peer(name=name).ask("?") for name in "AB"))
            return "".join(answer.content for answer in answers)

    here, both = [], asyncio.Event()
    assert drive(lambda: Asker().receive("go")).contents == ["AB"]


@every_driver_of_tasks
@kinds(*SPEAKING)
def test_messages_keep_their_order_past_a_held_node(handler, drive):
    """Rule 8: order holds also if the receiver is busy when some of them come."""

    class Peer(Node):
        async def inform(self, message):
            if message.content == "a":
                await foreign()
            log.append(message.content)

    class Teller(Node):
        @handler
        def chat(self, message):
            for word in "abcdef":
                yield peer.tell(word)
                yield sleep(1 if word == "c" else 0)

    log, peer = [], Peer()
    drive(lambda: Teller().receive("go", clock=FakeClock()))
    assert "".join(log) == "abcdef"


@every_driver
def test_a_full_mailbox_makes_the_teller_wait(drive):
    """Rule 8: mailboxes are bounded for new messages: the teller waits, nothing is lost."""

    class Peer(Node):
        heard: int = 0

        def inform(self, message):
            self.heard = self.heard + 1
            behind.append(len(told) - self.heard)

    class Teller(Node):
        def chat(self, message):
            for number in range(1000):
                yield peer.tell(str(number))
                told.append(number)

    behind, told, peer = [], [], Peer()
    outcome = drive(lambda: Teller().receive("go", limits=Limits(mailbox=10)))
    assert outcome.contents == []
    assert peer.heard == 1000
    assert max(behind) <= 11


@every_driver
def test_a_full_mailbox_never_holds_up_an_answer(drive):
    """Rule 8: answers are never bounded, and go before new messages."""

    class Peer(Node):
        def inform(self, message):
            log.append(message.content)

        def request(self, message):
            log.append("request")
            return "answer"

    class Asker(Node):
        def chat(self, message):
            for number in range(3):
                yield peer.tell(str(number))
            answer = yield peer.ask("?")
            log.append(answer.content)

        def inform(self, message):
            raise AssertionError

    log, peer = [], Peer()
    drive(lambda: Asker().receive("go", limits=Limits(mailbox=3)))
    assert sorted(log) == ["0", "1", "2", "answer", "request"]
    assert log[log.index("request") + 1] == "answer"


@every_driver
def test_an_answer_goes_before_messages_that_came_earlier(drive):
    """Rule 8: a handler that waits is resumed before the node begins something new."""

    class Helper(Node):
        def request(self, message):
            yield sleep(1)
            return "help"

    class Busy(Node):
        async def inform(self, message):
            if message.content == "first":
                await Helper().ask("?")
                log.append("first goes on")
            elif message.content == "second":
                await sleep(1)
                log.append("second goes on")
            else:
                log.append(message.content)

    log, clock = [], FakeClock()
    words = ["first", "second", "third"]
    drive(lambda: Sender(peer=Busy(), words=words).receive("go", clock=clock))
    assert log == ["third", "first goes on", "second goes on"]


def test_handing_a_reply_to_the_caller_is_a_wait():
    """Rule 8: while the caller has a reply in hand, the caller may change the node; it is kept."""

    class Peer(Node):
        mood: str = "calm"

        def chat(self, message):
            self.mood = "asked"
            yield "one"
            self.mood = "failing"
            raise ValueError

    peer = Peer()
    replies = iter(peer.receive("go"))
    assert next(replies).content == "one"
    assert peer.mood == "asked"
    peer.mood = "told by the caller"
    with pytest.raises(ValueError):
        next(replies)
    assert peer.mood == "told by the caller"


def test_conversations_of_the_plain_driver_do_not_wait_for_each_other():
    """Rule 8: the plain driver has one scheduler per conversation."""

    class Peer(Node):
        def chat(self, message):
            yield f"{message.content}1"
            yield f"{message.content}2"

    peer = Peer()
    a, b = iter(peer.receive("a")), iter(peer.receive("b"))
    said = [next(a), next(b), next(b), next(a)]
    assert [one.content for one in said] == ["a1", "b1", "b2", "a2"]
    assert [*a, *b] == []


def test_a_handler_may_open_a_conversation_of_its_own():
    """Rule 8 and 14: `node.receive` inside a handler is another conversation, on the same stack."""

    class Inner(Node):
        def chat(self, message):
            yield message.content.upper()

    class Outer(Node):
        def chat(self, message):
            for said in Inner().receive(message.content):
                yield said.content

    assert [said.content for said in Outer().receive(Message("a"))] == ["A"]


@every_driver
@kinds("coroutine", "async-generator", "async-generator-awaiting")
def test_an_async_handler_may_run_a_conversation_of_its_own(handler, drive):
    """Rule 8 and 14: also where a loop is running already."""

    class Inner(Node):
        async def chat(self, message):
            await foreign()
            return message.content.upper()

    class Outer(Node):
        @handler
        def chat(self, message):
            yield [said.content for said in Inner().receive(message.content)]

    assert drive(lambda: Outer().receive(Message("a"))).contents == ["A"]
