"""Small programs with their exact transcripts, for every kind of handler and every driver.

A scenario is a function that is given `handler`, a decorator that makes a script (a generator)
into a handler of some kind (see `kinds.py`), and returns a node and the message that opens the
conversation. `heard` is what the caller hears; `said` all that is said, the opening included;
`reason` why it ends. To add one, write it below: whatever runs `SCENARIOS` will run it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kinds import ALL, SPEAKING, WAITING
from llambdao import (
    GroupChatNode,
    Limits,
    MapperNode,
    Message,
    NoAnswer,
    Node,
    Pipeline,
    all_of,
    any_of,
    call,
    heard,
    intent,
    sleep,
    turns,
)


@dataclass(frozen=True)
class Scenario:
    """A program, the kinds of handler it makes sense for, and what must come of it."""

    build: Callable[[Any], tuple[Node, Message]]
    heard: list[str]
    said: list[str]
    kinds: tuple[str, ...] = ALL
    reason: str = "done"
    error: type[BaseException] | None = None
    seconds: float = 0
    dead: tuple[str, ...] = ()
    limits: Limits | None = None
    take: int | None = None

    @property
    def name(self):
        """What it is called in the tests."""
        return self.build.__name__


SCENARIOS: list[Scenario] = []


def scenario(**expected):
    """Add a scenario to the list."""

    def add(build):
        SCENARIOS.append(Scenario(build=build, **expected))
        return build

    return add


def text(lines):
    """A transcript as it is written below: one line for each message."""
    return [line.strip() for line in lines.strip().splitlines()]


@scenario(
    heard=["HELLO"],
    said=text("""
    you > Bob: hello (chat)
    Bob > you: HELLO (chat)
"""),
)
def one_reply(handler):
    """The smallest conversation."""

    class Shout(Node):
        @handler
        def chat(self, message):
            yield message.content.upper()

    return Shout(name="Bob"), Message("hello")


@scenario(
    heard=["0", "1", "2"],
    said=text("""
    you > Bob: 3 (request)
    Bob > you: 0 (inform)
    Bob > you: 1 (inform)
    Bob > you: 2 (inform)
"""),
)
def several_replies(handler):
    """In the order in which they are said."""

    class Count(Node):
        @handler
        def request(self, message):
            for number in range(int(message.content)):
                yield str(number)

    return Count(name="Bob"), Message("3", intent="request")


@scenario(
    heard=[],
    said=text("""
    you > Bob: hello (chat)
"""),
)
def silence(handler):
    """Nothing need be said."""

    class Mute(Node):
        @handler
        def chat(self, message):
            return
            yield

    return Mute(name="Bob"), Message("hello")


@scenario(
    kinds=WAITING,
    heard=["Ann knows 42"],
    said=text("""
    you > Bob: hello (chat)
    Bob > Ann: what? (query)
    Ann > Bob: 42 (inform)
    Bob > you: Ann knows 42 (chat)
"""),
)
def a_question(handler):
    """Ask, wait, go on."""

    class Knows(Node):
        @handler
        def query(self, message):
            yield "42"

    class Asks(Node):
        @handler
        def chat(self, message):
            answer = yield ann.ask("what?", intent="query")
            yield f"{answer.sender} knows {answer.content}"

    ann = Knows(name="Ann")
    return Asks(name="Bob"), Message("hello")


@scenario(
    kinds=WAITING,
    heard=["at the bottom of 4"],
    said=text("""
    you > 4: down (request)
    4 > 3: down (request)
    3 > 2: down (request)
    2 > 1: down (request)
    1 > 0: down (request)
    0 > 1: bottom (inform)
    1 > 2: bottom (inform)
    2 > 3: bottom (inform)
    3 > 4: bottom (inform)
    4 > you: at the bottom of 4 (inform)
"""),
)
def a_chain_of_questions(handler):
    """Each asks the next one, and says what it heard in words of its own."""

    class Link(Node):
        @handler
        def request(self, message):
            if self.name == "0":
                return "bottom"
            answer = yield links[int(self.name) - 1].ask(message.content)
            if self.name == "4":
                return f"at the {answer.content} of 4"
            return answer.content

    links = [Link(name=str(number)) for number in range(5)]
    return links[4], Message("down", intent="request")


@scenario(
    kinds=WAITING,
    seconds=3,
    heard=["C A B"],
    said=text("""
    you > Bob: go (chat)
    Bob > A: ? (query)
    Bob > B: ? (query)
    Bob > C: ? (query)
    B > Bob: 1 (inform)
    C > Bob: 2 (inform)
    A > Bob: 3 (inform)
    Bob > you: C A B (chat)
"""),
)
def all_at_once(handler):
    """All asked at once; the answers in the order of the questions, whoever was first."""

    class Slow(Node):
        seconds: float

        @handler
        def query(self, message):
            yield sleep(self.seconds)
            return f"{self.seconds:g}"

    class Asks(Node):
        @handler
        def chat(self, message):
            a, b, c = yield all_of(*(peer.ask("?", intent="query") for peer in peers))
            assert [a.content, b.content, c.content] == ["3", "1", "2"]
            return f"{c.sender} {a.sender} {b.sender}"

    peers = [Slow(name=name, seconds=time) for name, time in (("A", 3), ("B", 1), ("C", 2))]
    return Asks(name="Bob"), Message("go")


@scenario(
    kinds=WAITING,
    seconds=1,
    heard=["1 2"],
    said=text("""
    you > Bob: go (chat)
    Bob > A: ? (query)
    Bob > B: ? (query)
    B > Bob: 2 (inform)
    Bob > you: 1 2 (chat)
"""),
)
def the_first_of_several(handler):
    """The slow one is cancelled and never speaks."""

    class Slow(Node):
        seconds: float

        @handler
        def query(self, message):
            yield sleep(self.seconds)
            return "2"

    class Asks(Node):
        @handler
        def chat(self, message):
            asks = (peer.ask("?", intent="query") for peer in peers)
            place, answer = yield any_of(*asks, which=True)
            return f"{place} {answer.content}"

    peers = [Slow(name="A", seconds=2), Slow(name="B", seconds=1)]
    return Asks(name="Bob"), Message("go")


@scenario(
    kinds=WAITING,
    seconds=5,
    heard=["too late; broken; silent; fine"],
    said=text("""
    you > Bob: go (chat)
    Bob > A: late? (query)
    Bob > B: fail? (query)
    Bob > C: mute? (query)
    Bob > D: fine? (query)
    D > Bob: fine (inform)
    Bob > you: too late; broken; silent; fine (chat)
"""),
)
def what_can_go_wrong_with_a_question(handler):
    """Time runs out, the peer fails, the peer is silent: each is raised at its `yield`."""

    class Peer(Node):
        @handler
        def query(self, message):
            word = message.content
            if word == "late?":
                yield sleep(1000)
            if word == "fail?":
                raise ValueError("broken")
            if word == "fine?":
                return "fine"

    class Asks(Node):
        @handler
        def chat(self, message):
            known = []
            try:
                yield peers[0].ask("late?", intent="query", timeout=5)
            except NoAnswer:
                known.append("too late")
            try:
                yield peers[1].ask("fail?", intent="query")
            except ValueError as error:
                known.append(str(error))
            try:
                yield peers[2].ask("mute?", intent="query")
            except NoAnswer:
                known.append("silent")
            answer = yield peers[3].ask("fine?", intent="query")
            known.append(answer.content)
            return "; ".join(known)

    peers = [Peer(name=name) for name in "ABCD"]
    return Asks(name="Bob"), Message("go")


@scenario(
    kinds=SPEAKING,
    heard=["telling", "told"],
    said=text("""
    you > Bob: go (chat)
    Bob > you: telling (chat)
    Bob > A: one (inform)
    Bob > B: two (inform)
    Bob > you: told (chat)
    A > Bob: thanks (inform)
    B > Bob: thanks (inform)
"""),
)
def telling(handler):
    """Nobody waits for what is told; who is told comes later; thanks wake nobody."""

    class Told(Node):
        @handler
        def inform(self, message):
            yield "thanks"

    class Tells(Node):
        @handler
        def chat(self, message):
            yield "telling"
            yield a.tell("one")
            yield b.tell("two")
            yield "told"

        @handler
        def inform(self, message):
            raise AssertionError("woken by thanks")
            yield

    a, b = Told(name="A"), Told(name="B")
    return Tells(name="Bob"), Message("go")


@scenario(
    heard=[],
    said=text("""
    you > Ann: go (chat)
    Ann > Bob: ping (inform)
    Bob > Ann: pong (inform)
    Ann > Bob: ping (inform)
    Bob > Ann: pong (inform)
"""),
    limits=Limits(messages=5),
    reason="limit",
    error=Exception,
)
def ping_pong(handler):
    """A reply by name of intent goes to the teller; that goes on until the limit."""

    class Player(Node):
        @handler
        def inform(self, message):
            word = "pong" if message.content == "ping" else "ping"
            yield Message(word, intent="inform")

        @handler
        def chat(self, message):
            return bob.tell("ping")
            yield

    bob = Player(name="Bob")
    return Player(name="Ann"), Message("go")


@scenario(
    heard=[],
    dead=("Do it!",),
    said=text("""
    you > Ann: go (chat)
    Ann > Bob: news (inform)
    Bob > Ann: Do it! (do)
"""),
)
def a_dead_letter(handler):
    """A reply that the teller does not understand."""

    class Bold(Node):
        @handler
        def inform(self, message):
            yield Message("Do it!", intent="do")

    class Teller(Node):
        @handler
        def chat(self, message):
            return bob.tell("news")
            yield

    bob = Bold(name="Bob")
    return Teller(name="Ann"), Message("go")


@scenario(
    kinds=SPEAKING,
    heard=["large tea"],
    said=text("""
    you > Ann: tea (chat)
    Ann > Bob: tea (request)
    Bob > Ann: which size? (query)
    Ann > Bob: large (inform)
    Bob > Ann: large tea (inform)
    Ann > you: large tea (chat)
"""),
)
def asking_back(handler):
    """A question without `to` asks the sender, who can answer although it waits."""

    class Waiter(Node):
        @handler
        def request(self, message):
            size = yield Message("which size?", intent="query")
            yield f"{size.content} {message.content}"

    class Guest(Node):
        @handler
        def query(self, message):
            yield "large"

        @handler
        def chat(self, message):
            answer = yield bob.ask(message.content)
            yield answer.content

    bob = Waiter(name="Bob")
    return Guest(name="Ann"), Message("tea")


@scenario(
    heard=["A1", "A2", "B1", "B2", "C1", "C2"],
    said=text("""
    you > net: go (chat)
    A > you: A1 (chat)
    A > you: A2 (chat)
    B > you: B1 (chat)
    B > you: B2 (chat)
    C > you: C1 (chat)
    C > you: C2 (chat)
"""),
)
def a_network(handler):
    """Members in link order, whatever they are made of."""

    class Member(Node):
        @handler
        def chat(self, message):
            yield f"{self.name}1"
            yield f"{self.name}2"

    a, b, c = (Member(name=name) for name in "ABC")
    return MapperNode(a, MapperNode(b), c, name="net"), Message("go")


@scenario(
    kinds=WAITING,
    seconds=3,
    heard=["B", "C", "A"],
    said=text("""
    you > net: go (chat)
    B > you: B (chat)
    C > you: C (chat)
    A > you: A (chat)
"""),
)
def a_network_of_sleepers(handler):
    """Who sleeps longer speaks later."""

    class Member(Node):
        seconds: float

        @handler
        def chat(self, message):
            yield sleep(self.seconds)
            return self.name

    members = [Member(name=name, seconds=time) for name, time in (("A", 3), ("B", 1), ("C", 2))]
    return MapperNode(*members, name="net"), Message("go")


@scenario(
    heard=["A: go", "B: go", "B: A: go", "A: B: go", "A: B: A: go"],
    said=text("""
    you > table: go (chat)
    A > you: A: go (chat)
    B > you: B: go (chat)
    B > A: B: A: go (chat)
    A > B: A: B: go (chat)
    A > B: A: B: A: go (chat)
"""),
)
def a_round_table(handler):
    """Breadth first, and it ends exactly."""

    class Sage(Node):
        @handler
        def chat(self, message):
            yield f"{self.name}: {message.content}"

    table = GroupChatNode(
        Sage(name="A"), Sage(name="B"), until=turns(5) | heard("silence"), name="table"
    )
    return table, Message("go")


@scenario(
    heard=["abcd"],
    said=text("""
    you > line: a (chat)
    line > b: a (chat)
    b > line: ab (chat)
    line > c: ab (chat)
    c > line: abc (chat)
    line > d: abc (chat)
    d > line: abcd (chat)
"""),
)
def a_pipeline(handler):
    """Each stage is asked with what the one before it said."""

    class Stage(Node):
        @handler
        def chat(self, message):
            yield message.content + self.name

    return Pipeline(*(Stage(name=name) for name in "bcd"), name="line"), Message("a")


@scenario(
    kinds=("generator", "async-generator"),
    heard=["one"],
    reason="failed",
    error=ValueError,
    said=text("""
    you > Bob: go (chat)
    Bob > you: one (chat)
"""),
)
def a_failure(handler):
    """What was said before it is heard."""

    class Broken(Node):
        @handler
        def chat(self, message):
            yield "one"
            raise ValueError("oops")

    return Broken(name="Bob"), Message("go")


@scenario(
    kinds=SPEAKING,
    take=2,
    reason="stopped",
    heard=["0", "1"],
    said=text("""
    you > Bob: go (chat)
    Bob > you: 0 (chat)
    Bob > you: 1 (chat)
"""),
)
def leaving_early(handler):
    """An endless speaker, of which the caller has heard enough."""

    class Endless(Node):
        @handler
        def chat(self, message):
            number = 0
            while True:
                yield str(number)
                number += 1

    return Endless(name="Bob"), Message("go")


@scenario(
    kinds=WAITING,
    heard=["heard p0 p1 p2"],
    said=text("""
    you > Bob: go (chat)
    Bob > Ann: tell me (query)
    Ann > Bob: p0 (inform)
    Ann > Bob: p1 (inform)
    Ann > Bob: p2 (inform)
    Bob > you: heard p0 p1 p2 (chat)
"""),
)
def streaming(handler):
    """Replies one by one."""

    class Teller(Node):
        @handler
        def query(self, message):
            for number in range(3):
                yield f"p{number}"

    class Listener(Node):
        @handler
        def chat(self, message):
            stream, parts = ann.stream("tell me", intent="query"), []
            while (reply := (yield stream)) is not None:
                parts.append(reply.content)
            return f"heard {' '.join(parts)}"

    ann = Teller(name="Ann")
    return Listener(name="Bob"), Message("go")


@scenario(
    kinds=WAITING,
    heard=["2 of 3"],
    said=text("""
    you > house: motion (request)
    house > A: motion (vote)
    house > B: motion (vote)
    house > C: motion (vote)
    A > house: aye (inform)
    B > house: nay (inform)
    C > house: aye (inform)
    house > you: 2 of 3 (inform)
"""),
)
def a_vote(handler):
    """An intent of one's own, a typed message, a network that concludes."""

    class Ballot(Message, kind="scenarios.Ballot"):
        aye: bool

    class Member(Node):
        @intent
        @handler
        def vote(self, message):
            aye = self.name != "B"
            yield Ballot("aye" if aye else "nay", aye=aye)

    class House(MapperNode):
        @handler
        def request(self, message):
            votes = yield all_of(*(one.ask(message, intent="vote") for one in self.members))
            return f"{sum(vote.aye for vote in votes)} of {len(votes)}"

    members = (Member(name=name) for name in "ABC")
    return House(*members, name="house"), Message("motion", intent="request")


@scenario(
    kinds=WAITING,
    heard=["6"],
    said=text("""
    you > Bob: 1 2 3 (chat)
    Bob > you: 6 (chat)
"""),
)
def calling(handler):
    """A function called from a handler: plain, then a coroutine."""

    async def text_of(number):
        return str(number)

    class Sums(Node):
        @handler
        def chat(self, message):
            total = yield call(sum, [int(word) for word in message.content.split()])
            words = yield call(text_of, total)
            return words

    return Sums(name="Bob"), Message("1 2 3")


@scenario(
    kinds=WAITING,
    heard=["done by 3"],
    said=text("""
    you > Bob: go (chat)
    Bob > worker: 1 (inform)
    Bob > worker: 2 (inform)
    Bob > worker: 3 (inform)
    Bob > worker: how many? (query)
    worker > Bob: 3 (inform)
    Bob > you: done by 3 (chat)
"""),
)
def a_question_after_what_was_told(handler):
    """Messages of one sender to one node keep their order: the question comes last."""

    class Worker(Node):
        count: int = 0

        @handler
        def inform(self, message):
            self.count = self.count + 1
            return
            yield

        @handler
        def query(self, message):
            yield str(self.count)

    class Boss(Node):
        @handler
        def chat(self, message):
            for number in (1, 2, 3):
                yield worker.tell(str(number))
            answer = yield worker.ask("how many?", intent="query")
            return f"done by {answer.content}"

    worker = Worker(name="worker")
    return Boss(name="Bob"), Message("go")
