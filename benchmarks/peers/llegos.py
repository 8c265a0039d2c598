"""llegos: pydantic actors whose replies are generators."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from llegos import research as llegos

from benchmarks.floor import Case

IMPORT = "llegos.research"
MOST = {"fan": 1_000, "thread": 1_000, "encoded": 1_000, "idle": 10_000}


class Ask(llegos.Message):
    content: str


class Answer(llegos.Message):
    content: str


class Caller(llegos.Actor):
    pass


class Ponger(llegos.Actor):
    def receive_ask(self, message: Ask) -> Answer:
        return Answer.reply_to(message, content="pong")


def ask_outside() -> Case:
    caller, ponger = Caller(), Ponger()
    yield
    while True:
        for _ in range(100):
            ask = Ask(sender=caller, receiver=ponger, content="ping")
            for reply in llegos.message_send(ask):
                assert reply.content == "pong"
        yield 100


class Counter(llegos.Actor):
    def receive_ask(self, message: Ask) -> Iterator[Answer]:
        for _ in range(1_000):
            yield Answer.reply_to(message, content="tick")


def stream() -> Case:
    caller, counter = Caller(), Counter()
    yield
    while True:
        ask = Ask(sender=caller, receiver=counter, content="go")
        assert len(list(llegos.message_send(ask))) == 1_000
        yield 1_000


def first() -> Case:
    caller, counter = Caller(), Counter()
    yield
    while True:
        replies = llegos.message_send(Ask(sender=caller, receiver=counter, content="go"))
        next(replies)
        yield 1
        deque(islice(replies, 50), maxlen=0)
        yield


def fan(n: int) -> Case:
    caller, children = Caller(), [Ponger() for _ in range(n)]
    yield
    while True:
        heard = []
        for child in children:
            ask = Ask(sender=caller, receiver=child, content="ping")
            heard.extend(llegos.message_send(ask))
        assert len(heard) == n
        yield n


class Member(llegos.Actor):
    number: int

    def receive_ask(self, message: Ask) -> Ask | None:
        if message.content == str((self.number - 1) % 8):
            return Ask(sender=self, receiver=message.sender, content=str(self.number))
        return None


def group_chat() -> Case:
    members = [Member(number=number) for number in range(8)]
    yield
    while True:
        said = deque([Ask(sender=members[7], receiver=members[0], content="7")])
        for _ in range(1_000):
            heard = said.popleft()
            for member in members:
                if member is not heard.sender:
                    copy = Ask(sender=heard.sender, receiver=member, content=heard.content)
                    said.extend(llegos.message_send(copy))
        yield 7_000


class Leaf(llegos.Actor):
    def receive_ask(self, message: Ask) -> None:
        return None


class Mapper(llegos.Network):
    def receive_ask(self, message: Ask) -> Iterator[llegos.Message]:
        for actor in self.actors:
            yield from actor.receive(message)


def hops(n: int) -> Case:
    caller, node = Caller(), Ponger()
    for _ in range(n):
        node = Mapper([Leaf(), node])
    yield
    while True:
        ask = Ask(sender=caller, receiver=node, content="ping")
        assert len(list(llegos.message_send(ask))) == 1
        yield n


def idle(n: int) -> list[Caller]:
    return [Caller() for _ in range(n)]


def answers(n: int) -> Ask:
    """The last of n messages, each a reply to the one before."""
    ann, bob = Caller(), Caller()
    message = Ask(sender=ann, receiver=bob, content="ball")
    for _ in range(n):
        message = message.reply(content="ball")
    return message


def thread(n: int) -> Case:
    yield
    while True:
        answers(n)
        yield n


def encoded(n: int) -> str:
    return answers(n).model_dump_json()
