"""Programs that are killed at every commit, and must come to the same end."""

import asyncio

from deaths import Case
from llambdao import (
    GroupChatNode,
    HumanNode,
    MapperNode,
    Message,
    Node,
    Pipeline,
    Router,
    all_of,
    any_of,
    call,
    expect,
    sleep,
    turns,
)
from llambdao.journal import leaf
from llambdao.kernel.errors import BudgetReached
from llambdao.runtime import Budget, Mailbox, Supervisor


class Clerk(Node):
    bosses: list[Node]
    asked: int = 0

    def request(self, message):
        self.asked = self.asked + 1
        answers = yield all_of(*(boss.ask(f"{message.content}?") for boss in self.bosses))
        return " and ".join(answer.content for answer in answers)


class Approval(Case):
    """Two people must agree."""

    def nodes(self, life):
        return [Clerk(name="clerk", bosses=[HumanNode(name="Ann"), HumanNode(name="Bob")])]

    def messages(self, nodes):
        return [
            (nodes[0], Message("chairs", intent="request")),
            (nodes[0], Message("tables", intent="request")),
        ]


class Counter(Node):
    heard: list[str] = []
    total: int = 0

    def inform(self, message):
        self.heard = [*self.heard, message.content]
        self.total += len(message.content)

    def request(self, message):
        self.heard.append(message.content)
        yield f"{self.total} before"
        self.total += 1
        yield f"{self.total} after"


class Counting(Case):
    """Several conversations change one node."""

    def nodes(self, life):
        return [Counter(name="counter")]

    def messages(self, nodes):
        words = ["a", "bb", "ccc", "dddd"]
        return [
            (nodes[0], Message(word, intent="inform" if len(word) % 2 else "request"))
            for word in words
        ]


class Payer(Node):
    paid: int = 0

    def request(self, message):
        first = yield call(self.life.did, f"pay {message.content}")
        self.paid += 1
        second = yield call(self.later, f"post {message.content}")
        both = yield all_of(call(self.life.did, "x"), call(self.later, "y"))
        return f"{first}, {second}, {both}"

    async def later(self, what):
        await asyncio.sleep(0)
        return self.life.did(what)


class Paying(Case):
    """Effects outside, one after the other and at once."""

    def nodes(self, life):
        payer = Payer(name="payer")
        payer.life = life
        return [payer]

    def messages(self, nodes):
        return [(nodes[0], Message(word, intent="request")) for word in ("rent", "tax")]


class Sleeper(Node):
    other: Node

    def request(self, message):
        yield sleep(3 * 24 * 3600)
        answer = yield self.other.ask("awake?")
        place, value = yield any_of(sleep(60), self.other.ask("slow"), which=True)
        yield f"{answer.content} {place} {value}"
        yield sleep(1)
        yield "late"


class Slow(Node):
    naps: int = 0

    def request(self, message):
        if message.content == "slow":
            self.naps += 1
            yield sleep(3600)
            self.naps += 100
        return f"yes, {self.naps}"


class Sleeping(Case):
    """Timers of days, and one that is cancelled."""

    def nodes(self, life):
        return [Sleeper(name="sleeper", other=Slow(name="slow"))]


class Talker(Node):
    said: int = 0
    memory: list[Message] = []

    def chat(self, message):
        self.memory = [*self.memory, message][-3:]
        self.said += 1
        yield f"{self.name}{self.said} to {message.content}"


class Table(Case):
    """A round table, one call and one question to a person at it."""

    def nodes(self, life):
        members = [Talker(name="a"), Talker(name="b"), HumanNode(name="Eve")]
        return [GroupChatNode(name="table", members=members, until=turns(7))]

    def messages(self, nodes):
        return [(nodes[0], Message("hello", intent="chat"))]


class Spread(Case):
    """A network in a network, whose members ask a person."""

    def nodes(self, life):
        inner = MapperNode(name="inner", members=[HumanNode(name="Ann"), Talker(name="t")])
        return [MapperNode(name="outer", members=[inner, Talker(name="u")])]

    def messages(self, nodes):
        return [(nodes[0], Message("vote", intent="chat"))]


class Awaiting(Node):
    peer: Node
    log: list[str] = []

    async def request(self, message):
        answer = await self.peer.ask("one?")
        self.log.append(answer.content)
        yield "first"
        second = await all_of(self.peer.ask("two?"), call(str.upper, "three"))
        self.log.append(str(second[1]))
        yield f"{second[0].content} {second[1]}"

    async def query(self, message):
        try:
            return (await self.peer.ask("q?")).content
        finally:
            self.log.append("over")


class Async(Case):
    """Coroutines and async generators."""

    def nodes(self, life):
        return [Awaiting(name="awaiting", peer=HumanNode(name="Ann"))]

    def messages(self, nodes):
        return [(nodes[0], Message("go", intent=word)) for word in ("request", "query")]


class Odd(Exception):
    """Nobody knows this class."""


def fails(how):
    """Fails."""
    if how == "value":
        raise ValueError("no", 1)
    raise Odd("odd")


class Careful(Node):
    peer: Node
    caught: list[str] = []

    def request(self, message):
        for how in ("value", "odd"):
            try:
                yield call(fails, how)
            except Exception as error:  # noqa: BLE001  # any
                self.caught.append(f"{type(error).__name__} {error}")
                yield f"caught {type(error).__name__}"
        try:
            yield self.peer.ask("fail")
        except KeyError as error:
            yield f"and {error}"
        yield self.peer.ask("then?")
        self.caught.append("never kept")
        raise LookupError("the end")


class Failing(Node):
    tried: int = 0

    def request(self, message):
        self.tried += 1
        if message.content == "fail":
            raise KeyError(self.tried)
        answer = yield expect("news")
        return answer


class Errors(Case):
    """Errors take the same branch again; a failed turn is undone."""

    def nodes(self, life):
        return [Careful(name="careful", peer=Failing(name="failing"))]

    async def help(self, runtime):
        if any(c._scheduler.expected for c in runtime.conversations):
            runtime.news("news", "heard")
            return True
        return bool(runtime.journal.ledger.expecting("news")) and not runtime.news("news", "heard")


class Ping(Node):
    peer: Node | None = None
    heard: int = 0

    def inform(self, message):
        self.heard += 1
        if int(message.content) and self.peer is not None:
            yield self.peer.tell(str(int(message.content) - 1))
            yield sleep(0.5)
            self.heard += 10


class Telling(Case):
    """What is told goes on after its teller has ended."""

    def nodes(self, life):
        ann, bob = Ping(name="Ann"), Ping(name="Bob")
        ann.peer, bob.peer = bob, ann
        return [ann, bob]

    def messages(self, nodes):
        return [(nodes[0], Message("4", intent="inform"))]


class Maker(Node):
    made: int = 0

    def request(self, message):
        worker = Counter(name="worker")
        yield worker.tell("some words")
        token = f"{self.uuid()} {self.random().random()} {self.now()}"
        answer = yield self.boss.ask(f"{token[:8]}?") if False else worker.ask("count")
        yield sleep(5)
        again = yield worker.ask("count")
        self.made += 1
        return f"{answer.content}, {again.content}, {len(token)}"


class Making(Case):
    """Nodes that a handler makes, and its own chance and time."""

    def nodes(self, life):
        return [Maker(name="maker")]


class Endless(Node):
    count: int = 0

    def request(self, message):
        for number in range(200):
            self.count += 1
            yield str(number)


class Flood(Case):
    """More than fits into one step."""

    def nodes(self, life):
        return [Endless(name="endless")]


class Linker(Node):
    friends: list[Node] = []

    def request(self, message):
        yield f"{len(self.edges)} before"
        self.link(self.friends[0], trust=1)
        yield sleep(1)
        self.link(self.friends[1], trust=2)
        yield sleep(1)
        self.unlink(self.friends[0])
        yield ", ".join(f"{e.node.name} {e.metadata['trust']}" for e in self.edges.values())


class Linking(Case):
    """Edges are remembered."""

    def nodes(self, life):
        return [Linker(name="linker", friends=[Counter(name="a"), Counter(name="b")])]

    def state(self, nodes):
        return [f"{e.node.name} {e.metadata['trust']}" for e in nodes[0].edges.values()]


class Counted(Node):
    """Streams, and asks on the way."""

    source: Node
    seen: list[str] = []

    def request(self, message):
        stream = self.source.stream("go")
        while (reply := (yield stream)) is not None:
            self.seen.append(reply.content)
            yield f"heard {reply.content}"
            if len(self.seen) == 3:
                return "enough"


class Source(Node):
    boss: Node
    said: int = 0

    def request(self, message):
        try:
            for number in range(5):
                self.said += 1
                answer = yield self.boss.ask(f"{number}?")
                yield f"{number} {answer.content}"
                yield sleep(10)
        finally:
            self.said += 100


class Streaming(Case):
    """A stream that is left early, whose source asks a person and cleans up."""

    def nodes(self, life):
        return [Counted(name="counted", source=Source(name="source", boss=HumanNode(name="Ann")))]


class Piped(Case):
    """A pipeline and a router, in each other, with people in them."""

    def nodes(self, life):
        desks = Router(name="desks", members=[HumanNode(name="Ann"), Talker(name="t")])
        return [Pipeline(name="line", members=[Talker(name="a"), desks, Talker(name="b")])]

    def messages(self, nodes):
        return [(nodes[0], Message(f"{who}: hello", intent="chat")) for who in ("Ann", "t")]


class Cautious(Node):
    spent: int = 0

    def request(self, message):
        for number in range(4):
            try:
                yield (yield call(self.life.did, f"{message.content}{number}"))
                self.spent += 1
            except BudgetReached as error:
                yield f"no more: {error.kind}"
                return


class Spending(Case):
    """A budget that is reached, and who is refused goes another way."""

    def nodes(self, life):
        node = Cautious(name="cautious")
        node.life = life
        return [node]

    def options(self):
        return {"budget": Budget(calls=6)}


class Teller(Node):
    inbox: Node

    def request(self, message):
        for number in range(6):
            yield self.inbox.tell(f"{message.content}{number}")
        yield "told"


class Inbox(Node):
    boss: Node
    heard: list[str] = []

    def inform(self, message):
        self.heard.append(message.content)
        if message.content.endswith("1"):
            yield self.boss.ask(f"{message.content}?")
            self.heard.append(f"{message.content}!")


class Crowded(Case):
    """A mailbox with room for two: who tells it more waits."""

    def nodes(self, life):
        return [Teller(name="teller", inbox=Inbox(name="inbox", boss=HumanNode(name="Ann")))]

    def messages(self, nodes):
        return [(nodes[0], Message(word, intent="request")) for word in "ab"]

    def state(self, nodes):
        return sorted(nodes[0].inbox.heard)

    def options(self):
        return {"mailbox": Mailbox(2)}


class Flaky(Node):
    tries: int = 0
    log: list[str] = []

    def inform(self, message):
        self.tries += 1
        self.log.append(f"begin {message.content}")
        yield sleep(1)
        self.log.append(f"go on {message.content}")
        if message.content == "bad":
            raise ValueError(message.content)


class Supervised(Case):
    """Who fails is resumed; its message is a dead letter, once."""

    def nodes(self, life):
        return [Flaky(name="flaky")]

    def messages(self, nodes):
        return [(nodes[0], Message(word, intent="inform")) for word in ("good", "bad", "fine")]

    def options(self):
        return {"supervisor": Supervisor(strategy="resume")}


class Crew(Node):
    boss: Node
    log: list[str] = []

    @leaf
    async def request(self, message):
        self.log.append(f"begin {message.content}")
        await asyncio.sleep(1)
        yield f"half of {message.content}"
        await asyncio.sleep(1)
        yield f"all of {message.content}"

    def query(self, message):
        answers = yield all_of(self.ask("one"), self.ask("two"), self.boss.ask("well?"))
        return ", ".join(answer.content for answer in answers)


class Leaves(Case):
    """Handlers that await what nobody can replay."""

    def nodes(self, life):
        return [Crew(name="crew", boss=HumanNode(name="Ann"))]

    def messages(self, nodes):
        return [(nodes[0], Message("go", intent=word)) for word in ("request", "query")]

    def state(self, nodes):
        return None  # a leaf that begins again writes its log again


CASES = [
    Approval(), Counting(), Paying(), Sleeping(), Table(), Spread(), Async(), Errors(), Telling(),
    Making(), Flood(), Linking(),
    Streaming(), Piped(), Spending(), Crowded(), Supervised(), Leaves(),
]  # fmt: skip
