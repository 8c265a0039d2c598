"""The workloads as a user of LLAMBDAO writes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from benchmarks.floor import Case
from llambdao import GroupChatNode, Limits, MapperNode, Message, Node, all_of, ask, turns, watch

IMPORT = "llambdao"


class Ponger(Node):
    def query(self, message):
        yield Message("pong")


def ask_outside() -> Case:
    node = Ponger()
    yield
    while True:
        for _ in range(1_000):
            for reply in node.receive(Message("ping", intent="query")):
                assert reply.content == "pong"
        yield 1_000


class Asker(Node):
    peer: Node

    def request(self, message):
        for _ in range(10_000):
            answer = yield self.peer.ask("ping", intent="query")
            assert answer.content == "pong"
        return "done"


def ask_inside() -> Case:
    node = Asker(peer=Ponger())
    yield
    while True:
        assert ask(node, Message("go", intent="request")).content == "done"
        yield 10_000


class Counter(Node):
    def query(self, message):
        for _ in range(1_000):
            yield Message("tick")

    def request(self, message):
        for _ in range(1_000):
            yield "tick"


def stream() -> Case:
    return replies("query")


def stream_str() -> Case:
    return replies("request")


def replies(intent: str) -> Case:
    node = Counter()
    yield
    while True:
        heard = 0
        for _reply in node.receive(Message("go", intent=intent)):
            heard += 1
        assert heard == 1_000
        yield heard


def first() -> Case:
    node = Counter()
    yield
    while True:
        replies = iter(node.receive(Message("go", intent="query")))
        next(replies)
        yield 1
        deque(replies, maxlen=0)
        yield


def relay(n: int) -> Case:
    node = MapperNode(*(Ponger() for _ in range(n)))
    yield
    while True:
        assert len(list(node.receive(Message("ping", intent="query")))) == n
        yield n


class Parent(Node):
    children: list[Node]

    def request(self, message):
        answers = yield all_of(*(child.ask("ping", intent="query") for child in self.children))
        return str(len(answers))


def ask_all(n: int) -> Case:
    node = Parent(children=[Ponger() for _ in range(n)])
    yield
    while True:
        assert ask(node, Message("go", intent="request")).content == str(n)
        yield n


class Member(Node):
    cue: str
    line: str

    def chat(self, message):
        if message.content == self.cue:
            yield Message(self.line, intent="chat")


def group_chat() -> Case:
    members = [Member(cue=str((number - 1) % 8), line=str(number)) for number in range(8)]
    group = GroupChatNode(*members, until=turns(1_000))
    yield
    while True:
        heard = 0
        for _reply in group.receive(Message("7", intent="chat")):
            heard += 1
        assert heard == 1_000
        yield 7_000


class Leaf(Node):
    def query(self, message):
        return None


def hops(n: int) -> Case:
    node: Node = Ponger()
    for _ in range(n):
        node = MapperNode(Leaf(), node)
    yield
    while True:
        assert len(list(node.receive(Message("ping", intent="query")))) == 1
        yield n


class Link(Node):
    next_one: Node

    def query(self, message):
        answer = yield self.next_one.ask("ping", intent="query")
        yield Message(answer.content)


def nested_asks(n: int) -> Case:
    node: Node = Ponger()
    for _ in range(n):
        node = Link(next_one=node)
    yield
    while True:
        assert len(list(node.receive(Message("ping", intent="query")))) == 1
        yield n


def idle(n: int) -> list[Node]:
    return [Ponger(name="idle") for _ in range(n)]


class Player(Node):
    def chat(self, message):
        yield Message("ball", intent="chat")


def answers(n: int) -> Iterator[Message]:
    """A thread of n messages; it would go on for ever."""
    serve = Message("ball", sender=Player(name="Ann"), intent="chat")
    return islice(watch(Player(name="Bob"), serve, limits=Limits(messages=2 * n)), n)


def thread(n: int) -> Case:
    yield
    while True:
        said = 0
        for _said in answers(n):
            said += 1
        assert said == n
        yield n


def encoded(n: int) -> str:
    """The last message of a thread as JSON; its repr and equality have to be safe too."""
    (last,) = deque(answers(n), maxlen=1)
    assert len(repr(last)) < 300
    assert last == Message.parse(last.json())
    return last.json()


def make_message() -> Case:
    yield
    while True:
        for _ in range(10_000):
            Message("ping", intent="query")
        yield 10_000


def make_reply() -> Case:
    said = ask(Ponger(), Message("ping", intent="query"))
    yield
    while True:
        for _ in range(1_000):
            said.reply("pong")
        yield 1_000


def make_id() -> Case:
    """Read once: ids are written out when somebody asks."""
    node = Counter()
    yield
    while True:
        said = list(node.receive(Message("go", intent="query")))
        yield
        for message in said:
            assert message.id
        yield 1_000


def to_json() -> Case:
    said = ask(Ponger(), Message("ping", intent="query"))
    yield
    while True:
        for _ in range(1_000):
            said.json()
        yield 1_000


def from_json() -> Case:
    text = ask(Ponger(), Message("ping", intent="query")).json()
    yield
    while True:
        for _ in range(1_000):
            Message.parse(text)
        yield 1_000


def make_edge() -> Case:
    other = Ponger()
    assert other.id
    yield
    while True:
        nodes = [Ponger() for _ in range(1_000)]
        yield
        for node in nodes:
            node.link(other)
        yield 1_000
