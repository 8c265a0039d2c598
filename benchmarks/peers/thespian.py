"""Thespian's simpleSystemBase: actors in the caller's own thread."""

# ruff: noqa: N802  (Thespian names its methods so)

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import time_ns
from typing import Any

from thespian.actors import Actor, ActorSystem

from benchmarks.floor import Case, Message

IMPORT = "thespian.actors"
MOST = {"idle": 20_000}
LIMIT = timedelta(seconds=60)


@contextmanager
def system() -> Iterator[Any]:
    actors = ActorSystem("simpleSystemBase", logDefs={"version": 1})
    try:
        yield actors
    finally:
        actors.shutdown()


class Ponger(Actor):
    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, Message):
            self.send(sender, Message("pong", "inform", self.myAddress, message, time_ns()))


def ask_outside() -> Case:
    with system() as actors:
        ponger = actors.createActor(Ponger)
        yield
        while True:
            for _ in range(500):
                ask = Message("ping", "query", None, None, time_ns())
                assert actors.ask(ponger, ask, LIMIT).content == "pong"
            yield 500


class Counter(Actor):
    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, Message):
            for _ in range(1_000):
                self.send(sender, Message("tick", "inform", self.myAddress, message, time_ns()))


def stream() -> Case:
    return replies(first_only=False)


def first() -> Case:
    return replies(first_only=True)


def replies(first_only: bool) -> Case:
    with system() as actors:
        counter = actors.createActor(Counter)
        yield
        while True:
            assert actors.ask(counter, Message("go", "query", None, None, time_ns()), LIMIT)
            if first_only:
                yield 1
            for _ in range(999):
                assert actors.listen(LIMIT)
            yield None if first_only else 1_000


class Parent(Actor):
    """Asks its children, collects their answers, and gives all of them at once."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, int):
            self.children = [self.createActor(Ponger) for _ in range(message)]
            self.send(sender, "ready")
        elif isinstance(message, Message) and message.intent == "request":
            self.caller, self.heard = sender, []
            for child in self.children:
                self.send(child, Message("ping", "query", self.myAddress, message, time_ns()))
        elif isinstance(message, Message):
            self.heard.append(message)
            if len(self.heard) == len(self.children):
                self.send(self.caller, self.heard)


def fan(n: int) -> Case:
    with system() as actors:
        parent = actors.createActor(Parent)
        actors.ask(parent, n, LIMIT)
        yield
        while True:
            request = Message("go", "request", None, None, time_ns())
            assert len(actors.ask(parent, request, LIMIT)) == n
            yield n


class Member(Actor):
    """Tells the other seven when the one before it has spoken; the last tells the caller."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, tuple):
            number, self.others = message
            self.cue, self.line = str((number - 1) % 8), str(number)
            self.caller, self.spoken = sender, 0
        elif isinstance(message, Message) and message.content == self.cue:
            said = Message(self.line, "chat", self.myAddress, message, time_ns())
            self.spoken += 1
            if self.spoken == 125 and self.line == "7":
                self.spoken = 0
                self.send(self.caller, said)
                return
            self.spoken %= 125
            for other in self.others:
                self.send(other, said)


def group_chat() -> Case:
    with system() as actors:
        members = [actors.createActor(Member) for _ in range(8)]
        for number, member in enumerate(members):
            actors.tell(member, (number, [other for other in members if other != member]))
        yield
        while True:
            for member in members[1:7]:
                actors.tell(member, Message("7", "chat", members[7], None, time_ns()))
            start = Message("7", "chat", members[7], None, time_ns())
            assert actors.ask(members[0], start, LIMIT).content == "7"
            yield 7_000


class Link(Actor):
    """Passes a message on to the next; the last one tells the caller."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, Message):
            self.send(self.next_one or self.caller, message)
        elif isinstance(message, tuple):
            (self.next_one,), self.caller = message, sender


def hops(n: int) -> Case:
    with system() as actors:
        node = None
        for _ in range(n):
            link = actors.createActor(Link)
            actors.tell(link, (node,))
            node = link
        yield
        while True:
            assert actors.ask(node, Message("ping", "query", None, None, time_ns()), LIMIT)
            yield n


class Asker(Actor):
    """Asks the next and gives its answer."""

    def receiveMessage(self, message: Any, sender: Any) -> None:
        if isinstance(message, tuple):
            (self.next_one,) = message
        elif isinstance(message, Message) and message.intent == "query":
            self.asked, self.asker = message, sender
            self.send(self.next_one, Message("ping", "query", self.myAddress, message, time_ns()))
        elif isinstance(message, Message):
            said = Message(message.content, "inform", self.myAddress, self.asked, time_ns())
            self.send(self.asker, said)


def nested_asks(n: int) -> Case:
    with system() as actors:
        node = actors.createActor(Ponger)
        for _ in range(n):
            asker = actors.createActor(Asker)
            actors.tell(asker, (node,))
            node = asker
        yield
        while True:
            ask = Message("ping", "query", None, None, time_ns())
            assert actors.ask(node, ask, LIMIT).content == "pong"
            yield n


def idle(n: int) -> list[Any]:
    actors = ActorSystem("simpleSystemBase", logDefs={"version": 1})
    actors.shutdown()
    actors = ActorSystem("simpleSystemBase", logDefs={"version": 1})
    return [actors.createActor(Ponger) for _ in range(n)]
