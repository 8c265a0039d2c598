"""The floor: bare generator methods called directly, with a slotted dataclass as their message.

A *case* is a generator, here and in every module beside this one: the work it does up to a
`yield n` is timed and counted as n units, what it does up to a bare `yield` is not.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import time_ns
from uuid import uuid4

Case = Iterator[int | None]


@dataclass(slots=True)
class Message:
    """What every message of every system here says: these five, built anew each time."""

    content: str
    intent: str
    sender: object
    reply_to: object
    timestamp: int


class Ponger:
    """Gives one answer."""

    def query(self, message: Message) -> Iterator[Message]:
        yield Message("pong", "inform", self, message, time_ns())


def ask_outside() -> Case:
    """W1: one question, one answer."""
    node = Ponger()
    yield
    while True:
        for _ in range(1_000):
            for reply in node.query(Message("ping", "query", None, None, time_ns())):
                assert reply.content == "pong"
        yield 1_000


class Counter:
    """Gives 1,000 answers to one message."""

    def query(self, message: Message) -> Iterator[Message]:
        for _ in range(1_000):
            yield Message("tick", "inform", self, message, time_ns())


def stream() -> Case:
    """W2: 1,000 replies to one message."""
    node = Counter()
    yield
    while True:
        heard = 0
        for _reply in node.query(Message("go", "query", None, None, time_ns())):
            heard += 1
        assert heard == 1_000
        yield heard


def first() -> Case:
    """W2: the first of 1,000 replies; the others are taken untimed."""
    node = Counter()
    yield
    while True:
        replies = node.query(Message("go", "query", None, None, time_ns()))
        next(replies)
        yield 1
        deque(replies, maxlen=0)
        yield


def fan(n: int) -> Case:
    """W3: n children hear one message, the caller collects what they answer."""
    children = [Ponger() for _ in range(n)]
    yield
    while True:
        message = Message("ping", "query", None, None, time_ns())
        heard = []
        for child in children:
            for reply in child.query(message):
                heard.append(reply)  # noqa: PERF402  (one by one, as they come)
        assert len(heard) == n
        yield n


class Member:
    """Speaks when the one before it has spoken, and only then."""

    def __init__(self, number: int, of: int) -> None:
        self.cue = str((number - 1) % of)
        self.line = str(number)

    def chat(self, message: Message) -> Iterator[Message]:
        if message.content == self.cue:
            yield Message(self.line, "chat", self, message, time_ns())


def deliveries() -> Case:
    """W4: 1,000 messages to 7 of 8 generators each, one of which answers: no group at all."""
    members = [Member(number, 8) for number in range(8)]
    yield
    while True:
        message, author = Message("7", "chat", None, None, time_ns()), members[7]
        for _ in range(1_000):
            for member in members:
                if member is not author:
                    for reply in member.chat(message):
                        said, speaker = reply, member
            message, author = said, speaker
        yield 7_000


class Group:
    """The least a group can be: members, a queue of what was said, and a limit."""

    def __init__(self, *members: Member, turns: int) -> None:
        self.members = members
        self.turns = turns

    def chat(self, message: Message) -> Iterator[Message]:
        said: deque[Message] = deque([message])
        turns = 0
        while said:
            heard = said.popleft()
            for member in self.members:
                if member is not heard.sender:
                    for reply in member.chat(heard):
                        said.append(reply)
                        yield reply
                        turns += 1
                        if turns == self.turns:
                            return


def group_chat() -> Case:
    """W4: the same in a bare group, whose caller hears each utterance."""
    group = Group(*(Member(number, 8) for number in range(8)), turns=1_000)
    yield
    while True:
        heard = 0
        for _reply in group.chat(Message("7", "chat", None, None, time_ns())):
            heard += 1
        assert heard == 1_000
        yield 7_000


class Leaf:
    """Hears and says nothing."""

    def query(self, message: Message) -> None:
        return None


class Network:
    """Passes a message on to its members, and what they say back."""

    def __init__(self, *members: Leaf | Ponger | Network) -> None:
        self.members = members

    def query(self, message: Message) -> Iterator[Message]:
        for member in self.members:
            replies = member.query(message)
            if replies is not None:
                yield from replies


def hops(n: int) -> Case:
    """W5: a message through n networks, one in the other, of two members each."""
    node: Network | Ponger = Ponger()
    for _ in range(n):
        node = Network(Leaf(), node)
    yield
    while True:
        assert len(list(node.query(Message("ping", "query", None, None, time_ns())))) == 1
        yield n


class Asker:
    """Asks the next and gives its answer."""

    def __init__(self, next_one: Asker | Ponger) -> None:
        self.next_one = next_one

    def query(self, message: Message) -> Iterator[Message]:
        for answer in self.next_one.query(Message("ping", "query", self, message, time_ns())):
            yield Message(answer.content, "inform", self, message, time_ns())


def nested_asks(n: int) -> Case:
    """W5: n nodes, each of which asks the next."""
    node: Asker | Ponger = Ponger()
    for _ in range(n):
        node = Asker(node)
    yield
    while True:
        assert len(list(node.query(Message("ping", "query", None, None, time_ns())))) == 1
        yield n


class Idle:
    """A node that does nothing and owns nothing."""

    __slots__ = ("edges", "id", "mailbox", "name", "persona", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = self.persona = self.state = self.edges = self.mailbox = None


def idle(n: int) -> list[Idle]:
    """W6: n nodes."""
    return [Idle("idle") for _ in range(n)]


class Player:
    """Answers each message; the answer names the message it answers by id."""

    def chat(self, message: Message) -> Iterator[Message]:
        yield Message("ball", "chat", self, message.timestamp, time_ns())


def thread(n: int) -> Case:
    """W7: n messages, each an answer to the one before."""
    ann, bob = Player(), Player()
    yield
    while True:
        message = Message("ball", "chat", None, None, time_ns())
        for _ in range(n // 2):
            for answer in ann.chat(message):
                message = answer
            for answer in bob.chat(message):
                message = answer
        yield n


FIELDS = {
    "content": "ball",
    "intent": "chat",
    "sender": "ann",
    "reply_to": 1_700_000_000_000_000_000,
    "timestamp": 1_700_000_000_000_000_001,
}


def encoded(n: int) -> bytes:
    """W7: the n-th message of a thread as JSON."""
    return json.dumps(FIELDS).encode()


def make_message() -> Case:
    """A message and its time."""
    yield
    while True:
        for _ in range(10_000):
            Message("ping", "query", None, None, time_ns())
        yield 10_000


def make_id() -> Case:
    """An id as the standard library makes it."""
    yield
    while True:
        for _ in range(1_000):
            str(uuid4())
        yield 1_000


def to_json() -> Case:
    """A message as JSON."""
    yield
    while True:
        for _ in range(1_000):
            json.dumps(FIELDS)
        yield 1_000


def from_json() -> Case:
    """A message from JSON."""
    text = json.dumps(FIELDS)
    yield
    while True:
        for _ in range(1_000):
            Message(**json.loads(text))
        yield 1_000


def make_edge() -> Case:
    """A node that knows another."""
    yield
    while True:
        nodes = [Idle("idle") for _ in range(1_000)]
        yield
        for node in nodes:
            node.edges = {"other": nodes[0]}
        yield 1_000
