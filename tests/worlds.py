"""Programs for `simulate` that hold in every order: each asserts what the rules promise.

A program is `async def name(simulation)`. What it asserts of values is asserted only where nothing
has gone wrong (`is_well`); what it asserts of time and order holds with all faults but `reordered`.
`python worlds.py SEEDS` runs them all, with and without faults, and ends with 1 if one goes wrong.
"""

import asyncio
import sys
from contextlib import suppress
from typing import ClassVar

from audit import audited
from llambdao import (
    GroupChatNode,
    Limits,
    LlambdaoError,
    MapperNode,
    Message,
    NoAnswer,
    Node,
    Reason,
    all_of,
    any_of,
    call,
    expect,
    sleep,
    turns,
)
from llambdao.runtime import Mailbox, Supervisor, every
from llambdao.runtime.passivation import Passivation
from llambdao.testing import Faults, Interleaving, _simulate, simulate

WORLDS = []


def world(program):
    """Add a program to the list."""
    WORLDS.append(audited(program))
    return program


def is_well(simulation):
    """Has nothing gone wrong so far?"""
    return not simulation.faults


async def tried(work):
    """What it comes to; None if it fails as things do fail in a simulation."""
    try:
        return await work
    except LlambdaoError:
        return None
    except ExceptionGroup as group:
        if (others := group.split(LlambdaoError)[1]) is not None:
            raise others from group
        return None


def request(words, intent="request"):
    """A message with an intent."""
    return Message(words, intent=intent)


# -- one at a time, and in order -------------------------------------------------------------------


class Worker(Node):
    """Lets nobody in while it is at work, and hears each one's words in order."""

    seconds: float = 1.0

    def model_post_init(self, context):
        self.heard, self.inside = [], 0

    async def inform(self, message):
        self.inside += 1
        assert self.inside == 1, "two handlers of one node at once"
        try:
            if self.seconds:
                await asyncio.sleep(self.seconds)
            self.heard.append((str(message.sender), message.content))
        finally:
            self.inside -= 1

    async def query(self, message):
        assert self.inside == 0, "two handlers of one node at once"
        mine = [words for who, words in self.heard if who == str(message.sender)]
        return " ".join(mine) or "nothing"


class Boss(Node):
    """Tells a worker several things, then asks what it has heard."""

    worker: Node

    def request(self, message):
        for number in range(3):
            yield self.worker.tell(f"{message.content}{number}")
        answer = yield self.worker.ask("what?", intent="query")
        return answer.content


@world
async def bosses_and_a_worker(simulation):
    """Two bosses, each in two conversations, tell one worker; every order of theirs is kept."""
    worker = Worker(name="worker")
    bosses = [Boss(name=name, worker=worker) for name in ("Ann", "Bob")]
    async with simulation.runtime(worker, *bosses) as runtime:
        answers = await asyncio.gather(
            *(tried(runtime.ask(boss, request(word))) for boss in bosses for word in "xy")
        )
    if is_well(simulation):
        for answer, word in zip(answers, "xyxy", strict=True):
            mine = [one for one in answer.content.split() if one[0] == word]
            assert mine == [f"{word}0", f"{word}1", f"{word}2"]
        assert len(worker.heard) == 12


@world
async def a_quick_worker(simulation):
    """The same, where nobody awaits anything foreign."""
    worker = Worker(name="worker", seconds=0)
    boss = Boss(name="Ann", worker=worker)
    async with simulation.runtime(worker, boss) as runtime:
        await asyncio.gather(*(tried(runtime.ask(boss, request(word))) for word in "xyz"))
    if is_well(simulation):
        for word in "xyz":
            mine = [words for _, words in worker.heard if words[0] == word]
            assert mine == [f"{word}0", f"{word}1", f"{word}2"]


class Herald(Node):
    """Tells everybody several things, and asks for nothing."""

    ears: list[Node]

    def inform(self, message):
        for number in range(4):
            for ear in self.ears:
                yield ear.tell(f"{message.content}{number}")


@world
async def what_is_told_in_a_row(simulation):
    """It is heard in that row, once, by each."""
    ears = [Worker(name=f"ear {n}", seconds=n) for n in range(2)]
    herald = Herald(name="herald", ears=ears)
    async with simulation.runtime(herald) as runtime:
        for word in "xy":
            await runtime.tell(herald, request(word, "inform"))
        await asyncio.sleep(60)
    if is_well(simulation):
        for ear in ears:
            heard = [words for _, words in ear.heard]
            assert heard in ([f"{a}{n}" for a in some for n in range(4)] for some in ("xy", "yx"))


class Examiner(Node):
    """Asks one after the other, and hears to each question its own answer."""

    pupils: list[Node]

    def request(self, message):
        for pupil in self.pupils:
            answer = yield pupil.ask(f"{message.content} {pupil}?", intent="query")
            assert answer.content == f"{message.content} {pupil}?", answer
            yield sleep(1)
        return "passed"


class Pupil(Node):
    """Repeats the question, at once or after some time."""

    seconds: float

    def query(self, message):
        if self.seconds:
            yield sleep(self.seconds)
        return message.content


@world
async def each_question_has_its_answer(simulation):
    """One, and that before the next one is asked."""
    pupils = [Pupil(name=f"pupil {n}", seconds=n % 2) for n in range(4)]
    examiner = Examiner(pupils=pupils)
    async with simulation.runtime(examiner, *pupils) as runtime:
        asked = (tried(runtime.ask(examiner, request(word))) for word in "xyz")
        answers = await asyncio.gather(*asked)
    if is_well(simulation):
        assert [answer.content for answer in answers] == ["passed"] * 3
        assert simulation.seconds == 6


class Doctor(Node):
    """Asks a laboratory, and holds its own door meanwhile now and then."""

    laboratory: Node

    def model_post_init(self, context):
        self.log = []

    def request(self, message):
        yield self.laboratory.ask("blood?", intent="query")
        self.log.append("answer")

    async def inform(self, message):
        self.log.append(f"{message.content} begins")
        await asyncio.sleep(4)
        self.log.append(f"{message.content} ends")


class Laboratory(Node):
    """Takes two seconds."""

    def query(self, message):
        yield sleep(2)
        return "positive"


@world
async def answers_go_first(simulation):
    """An answer that came while the node was held goes before what began to wait earlier."""
    doctor = Doctor(laboratory=Laboratory())
    async with simulation.runtime(doctor) as runtime:
        asked = await runtime.tell(doctor, request("?"))
        await asyncio.sleep(1)
        for word in ("one", "two"):
            await runtime.tell(doctor, request(word, "inform"))
        await asked.wait()
        await runtime.settle()
        await asyncio.sleep(20)
    if is_well(simulation):
        steps = ["one begins", "one ends", "answer", "two begins", "two ends"]
        assert doctor.log == steps, doctor.log


# -- bounded mailboxes -----------------------------------------------------------------------------


async def crowd(simulation, mailbox):
    """Ten people outside tell a slow worker something: what it heard, and what nobody heard."""
    worker = Worker(name="worker")
    most = 0

    def look(event):
        nonlocal most
        box = runtime._mailboxes.boxes.get(id(worker))
        most = max(most, len(box.arrived) if box else 0)

    runtime = simulation.runtime(worker, mailbox=mailbox, observe=[look])
    async with runtime:
        told = [runtime.tell(worker, request(str(n), "inform")) for n in range(10)]
        refused = [one for one in await asyncio.gather(*map(tried, told)) if one is None]
        await asyncio.sleep(60)
        heard = [words for _, words in worker.heard]
        dead = [letter.message.content for letter in runtime.dead_letters]
    if is_well(simulation):
        assert most <= mailbox.size, f"{most} messages in a mailbox of {mailbox.size}"
        assert heard == sorted(heard), heard
    return heard, dead, refused


@world
async def who_sends_waits_for_room(simulation):
    """With the policy `wait` nothing is lost, and never more wait than there is room for."""
    heard, dead, _ = await crowd(simulation, Mailbox(2, "wait"))
    if is_well(simulation):
        assert (len(heard), dead) == (10, [])


@world
async def the_oldest_makes_room(simulation):
    """With `drop_oldest` the last ones are heard, the others are dead letters."""
    heard, dead, _ = await crowd(simulation, Mailbox(2, "drop_oldest"))
    if is_well(simulation):
        assert sorted(heard + dead) == [str(n) for n in range(10)]
        assert heard[-2:] == ["8", "9"], heard


@world
async def a_full_mailbox_raises(simulation):
    """With `raise` whoever is one too many is told so."""
    heard, _, refused = await crowd(simulation, Mailbox(2, "raise"))
    if is_well(simulation):
        assert len(heard) + len(refused) == 10
        assert len(heard) >= 2


# -- turns that fail, nodes that are restarted -----------------------------------------------------


class Account(Node):
    """Money, which never becomes less than nothing and is never counted twice."""

    balance: int = 100

    def do(self, message):
        self.balance = self.balance + int(message.content)
        if self.balance < 0:
            raise NoAnswer(f"{self} has not that much")
        return f"{self.balance}"

    def query(self, message):
        return str(self.balance)


class Clerk(Node):
    """Pays from one account into another, or not at all."""

    accounts: list[Node]

    def request(self, message):
        source, target, amount = map(int, message.content.split())
        yield self.accounts[source].ask(f"-{amount}", intent="do")
        yield self.accounts[target].ask(f"{amount}", intent="do")
        return "paid"


@world
async def a_bank(simulation):
    """Whatever the order, no money appears or disappears, and none is paid that is not there."""
    accounts = [Account(name=f"account {n}") for n in range(3)]
    clerks = [Clerk(name=name, accounts=accounts) for name in ("Ann", "Bob")]
    chance = simulation.random
    async with simulation.runtime(*accounts, *clerks) as runtime:
        payments = [
            runtime.ask(clerk, request("{} {} {}".format(*chance.sample(range(3), 2), 70)))
            for clerk in clerks
            for _ in range(3)
        ]
        await asyncio.gather(*map(tried, payments))
    assert all(account.balance >= 0 for account in accounts)
    if is_well(simulation):
        assert sum(account.balance for account in accounts) == 300


class Painter(Node):
    """Fails at what is bad, half way through."""

    done: int = 0
    colour: str = "white"

    def model_post_init(self, context):
        self.births = getattr(self, "births", 0) + 1

    def inform(self, message):
        self.colour = message.content
        yield sleep(1)
        self.done = self.done + 1
        if message.content == "bad":
            self.colour = "black"
            raise ValueError("bad paint")
        assert self.colour != "black", "a turn that failed was not undone"

    async def chat(self, message):
        self.colour = "black"
        await asyncio.sleep(1)
        raise ValueError("no paint")


@world
async def a_failed_turn_is_undone(simulation):
    """What a turn assigned before it failed is as it was; the turns before it stand."""
    painter = Painter()
    words = ("red", "bad", "blue", "bad")
    async with simulation.runtime(painter) as runtime:
        told = [await runtime.tell(painter, request(word, "inform")) for word in words]
        told.append(await runtime.tell(painter, "!"))
        for one in told:
            await one.wait()
    if is_well(simulation):
        assert painter.colour != "black"
        assert painter.done == 2
        assert [one.reason for one in told].count(Reason.FAILED) == 3


@world
async def a_restarted_node_begins_anew(simulation):
    """It has the fields it had at first, and goes on with the next message."""
    painter = Painter(colour="pink")
    restart = Supervisor(strategy="restart", most=100)
    async with simulation.runtime(painter, supervisor=restart) as runtime:
        for word in ("red", "bad"):
            await (await runtime.tell(painter, request(word, "inform"))).wait()
        if is_well(simulation):
            assert (painter.colour, painter.done, painter.births) == ("pink", 0, 2)
        last = await runtime.tell(painter, request("green", "inform"))
        await last.wait()
    if is_well(simulation):
        assert (painter.colour, painter.done) == ("green", 1)


# -- cancelling ------------------------------------------------------------------------------------


class Runner(Node):
    """Runs for some seconds; says when it is stopped, and does nothing afterwards."""

    seconds: float

    def model_post_init(self, context):
        self.log = []

    def query(self, message):
        try:
            yield sleep(self.seconds)
            self.log.append("arrived")
            return self.name
        finally:
            self.log.append("stopped")


class Race(Node):
    """The first of several, or all of them but for one who falls."""

    runners: list[Node]

    def chat(self, message):
        place, answer = yield any_of(*(r.ask("run!", "query") for r in self.runners), which=True)
        yield sleep(30)
        return f"{place} {answer.content}"

    def request(self, message):
        with suppress(NoAnswer):
            yield all_of(
                self.runners[0].ask("run!", "query", timeout=1),
                self.runners[1].ask("run!", "query"),
            )
        yield sleep(30)
        return "over"


@world
async def the_others_are_stopped(simulation):
    """Whoever loses is cancelled at once, never arrives, and has cleaned up."""
    runners = [Runner(name=name, seconds=time) for name, time in (("A", 3), ("B", 2), ("C", 5))]
    race = Race(runners=runners)
    async with simulation.runtime(race) as runtime:
        answer = await tried(runtime.ask(race, "go"))
        if is_well(simulation):
            assert answer.content == "1 B"
            logs = [runner.log for runner in runners]
            assert logs == [["stopped"], ["arrived", "stopped"], ["stopped"]], logs
        await tried(runtime.ask(race, request("go")))
    if is_well(simulation):
        assert "arrived" not in runners[0].log
        assert runners[1].log.count("arrived") == 1


class Gossip(Node):
    """Tells everybody, says so, and goes on until nobody listens."""

    friends: list[Node]

    def chat(self, message):
        for friend in self.friends:
            yield friend.tell(message.content)
        yield "told"
        yield sleep(1)
        yield "more"


@world
async def what_was_told_dies_with_its_conversation(simulation):
    """Whoever leaves early: what has not begun is not handled any more, but a dead letter."""
    friends = [Worker(name=f"friend {n}") for n in range(3)]
    gossip = Gossip(friends=friends)
    async with simulation.runtime(gossip, *friends) as runtime:
        conversation = runtime.send(gossip, "psst")
        await tried(anext(conversation, None))
        await conversation.aclose()
        reason = conversation.reason
        heard = [friend.heard for friend in friends]
        await asyncio.sleep(20)
        assert [friend.heard for friend in friends] == heard
        begun = {str(one.node) for one in runtime.dead_letters if one.reason == "cancelled"}
        assert not any(friend.heard for friend in friends if str(friend) in begun)
    if is_well(simulation):
        assert reason == Reason.STOPPED


@world
async def deadlines(simulation):
    """A conversation, or a question, is over when its time is up, and not before."""
    runner = Runner(name="A", seconds=10)
    race = Race(runners=[runner, runner])
    async with simulation.runtime(race) as runtime:
        clock = asyncio.get_running_loop()
        for seconds in (3, 7):
            began = clock.time()
            answer = await tried(runtime.ask(runner, request("run!", "query"), timeout=seconds))
            if is_well(simulation):
                assert answer is None
                assert clock.time() - began == seconds
        began = clock.time()
        await tried(runtime.ask(race, request("go")))
        if is_well(simulation):
            assert clock.time() - began == 31
    assert runner.log.count("arrived") == 0 or not is_well(simulation)


# -- waiting ---------------------------------------------------------------------------------------


class Sleeper(Node):
    """Sleeps as long as it is told, and says how long that was."""

    async def request(self, message):
        began = self.now()
        await sleep(float(message.content))
        return str((self.now() - began).total_seconds())

    def query(self, message):
        began = self.now()
        yield sleep(float(message.content))
        return str((self.now() - began).total_seconds())


@world
async def sleep_lasts_as_long_as_it_should(simulation):
    """To the nanosecond, whoever else sleeps."""
    sleeper = Sleeper()
    async with simulation.runtime(sleeper) as runtime:
        times = [0.5, 3, 0.25, 86400.125]
        asked = [
            runtime.ask(sleeper, request(str(time), intent))
            for time in times
            for intent in ("request", "query")
        ]
        answers = await asyncio.gather(*map(tried, asked))
    if is_well(simulation):
        heard = [float(answer.content) for answer in answers]
        assert heard == [time for time in times for _ in range(2)], heard


class Reader(Node):
    """Waits for the paper, then asks everybody what is in it, one reply at a time."""

    others: list[Node]

    def chat(self, message):
        paper = yield expect(message.content)
        heard = [paper]
        for other in self.others:
            stream = other.stream("and?", intent="query")
            while (reply := (yield stream)) is not None:
                heard.append(reply.content)
        return " ".join(heard)


class Editor(Node):
    """Says three things, with a call in between."""

    def query(self, message):
        yield "a"
        value = yield call(str.upper, "b")
        yield value
        yield sleep(1)
        yield "c"


@world
async def news_and_streams(simulation):
    """News come to those who expect them, replies one by one and in order."""
    reader = Reader(others=[Editor(name="one"), Editor(name="two")])
    async with simulation.runtime(reader) as runtime:
        asked = [asyncio.ensure_future(tried(runtime.ask(reader, key))) for key in "xyx"]
        await asyncio.sleep(15)
        for key in "xy":
            runtime.news(key, f"news {key}")
        answers = await asyncio.wait_for(
            asyncio.gather(*asked), None if is_well(simulation) else 99
        )
    if is_well(simulation):
        heard = [answer.content for answer in answers]
        assert heard == [f"news {key} a B c a B c" for key in "xyx"], heard


# -- together --------------------------------------------------------------------------------------


class Sage(Node):
    """Says something to whatever it hears."""

    def chat(self, message):
        yield sleep(len(self.name))
        yield f"{self.name}: {message.content}"


@world
async def a_table_in_a_network(simulation):
    """Two round tables in a network, twice at once: each has its five utterances."""
    tables = [
        GroupChatNode(Sage(name=f"A{n}"), Sage(name=f"B{n}"), until=turns(5)) for n in range(2)
    ]
    house = MapperNode(*tables)
    async with simulation.runtime(house) as runtime:

        async def listen():
            return [said.content async for said in runtime.send(house, "go")]

        heard = await asyncio.gather(tried(listen()), tried(listen()))
    if is_well(simulation):
        for some in heard:
            assert len(some) == 10, some
            assert all(one.endswith("go") for one in some)


class Asker(Node):
    """Asks several at once from a coroutine, and something slow of the world outside."""

    peers: list[Node]

    async def chat(self, message):
        answers = await asyncio.gather(*(peer.ask(message.content, "query") for peer in self.peers))
        await asyncio.sleep(0.5)
        value = await call(len, answers)
        text = await asyncio.to_thread(str, value)
        async with asyncio.timeout(3):
            await asyncio.sleep(1)
        return f"{text} {' '.join(answer.content for answer in answers)}"


class Peer(Node):
    """Answers after some time, outside of everything or inside."""

    concurrency: ClassVar[int | None] = 2

    async def query(self, message):
        await asyncio.sleep(1)
        await sleep(1)
        return self.name


@world
async def coroutines_of_all_sorts(simulation):
    """`gather`, `timeout`, threads and sleeps work as anywhere, and take their time."""
    peers = [Peer(name=name) for name in "abc"]
    asker = Asker(peers=peers)
    async with simulation.runtime(asker, *peers) as runtime:
        asked = (runtime.ask(asker, "?") for _ in range(2))
        answers = await asyncio.gather(*map(tried, asked))
    if is_well(simulation):
        assert [answer.content for answer in answers] == ["3 a b c"] * 2


@world
async def ping_pong_for_a_while(simulation):
    """Two who never stop are stopped by their limit, each conversation by its own."""

    class Player(Node):
        def inform(self, message):
            yield Message("pong" if message.content == "ping" else "ping", intent="inform")

    ann, bob = Player(name="Ann"), Player(name="Bob")
    async with simulation.runtime(ann, bob, limits=Limits(messages=20)) as runtime:
        told = [await runtime.tell(ann, Message("ping", "inform", bob)) for _ in range(3)]
        ended = [await one.wait() for one in told]
    if is_well(simulation):
        assert [one.reason for one in ended] == [Reason.LIMIT] * 3


# -- in a hurry ------------------------------------------------------------------------------------


class Desk(Node):
    """Awaits something foreign for some seconds."""

    seconds: float = 5

    async def query(self, message):
        await asyncio.sleep(self.seconds)
        return self.name

    chat = query


class Impatient(Node):
    """Asks, and hardly waits for the answer."""

    desk: Node

    def chat(self, message):
        with suppress(NoAnswer):
            yield self.desk.ask("?", "query", timeout=float(message.content))
        yield "done"

    async def request(self, message):
        asks = [asyncio.ensure_future(tried(self.ask_once())) for _ in range(2)]
        await asyncio.wait(asks, timeout=float(message.content))
        return f"{sum(one.done() for one in asks)} answers"

    async def ask_once(self):
        return await self.desk.ask("?", "query")


@world
async def in_a_hurry(simulation):
    """Whoever waits for no time at all goes on, and the node is free for the next."""
    desk = Desk(name="desk")
    impatient = Impatient(desk=desk)
    times = ("0", "0.0000005", "1", "0.000002", "30")
    async with simulation.runtime(desk, impatient) as runtime:
        messages = [request(time, intent) for time in times for intent in ("chat", "request")]
        answers = await asyncio.gather(*(tried(runtime.ask(impatient, one)) for one in messages))
        last = await tried(runtime.ask(desk, request("?", "query")))
    if is_well(simulation):
        assert [answer.content for answer in answers[::2]] == ["done"] * len(times)
        assert all("answers" in answer.content for answer in answers[1::2])
        assert last.content == "desk"


@world
async def those_who_give_up_a_busy_network(simulation):
    """Members that are at work when a relay is given up work on afterwards."""
    desks = [Desk(name=f"desk {n}", seconds=2) for n in range(3)]
    net = MapperNode(*desks, name="net")
    async with simulation.runtime(net) as runtime:
        busy = [asyncio.ensure_future(tried(runtime.ask(desk, "hold on"))) for desk in desks]
        await asyncio.sleep(0.5)
        given_up = [tried(runtime.ask(net, "go", timeout=time)) for time in (0, 1, 1.5, 3)]
        await asyncio.gather(*given_up, *busy)
        last = await tried(runtime.ask(net, "go"))
    if is_well(simulation):
        assert last is not None
        assert simulation.seconds <= 6


@world
async def a_large_network(simulation):
    """All of forty members hear what is relayed, those who were stopped excepted."""
    ears = [Runner(name=str(n), seconds=n % 3) for n in range(40)]
    net = MapperNode(*ears, name="net")
    stopped = simulation.random.sample(range(40), 3)
    async with simulation.runtime(net) as runtime:
        for number in stopped:
            await runtime.stop(ears[number])
        await tried(runtime.ask(net, request("run!", "query")))
        arrived = [n for n, ear in enumerate(ears) if "arrived" in ear.log]
    if is_well(simulation):
        assert arrived == [n for n in range(40) if n not in stopped]


class Shift(Node):
    """Counts its working hours; and is stopped some time."""

    hours: int = 0

    @every(hours=1)
    async def work(self, message):
        await asyncio.sleep(60)
        self.hours = self.hours + 1

    def query(self, message):
        yield sleep(1)
        yield str(self.hours)


@world
async def every_hour(simulation):
    """What is due again and again comes as often as it should, until its node is stopped."""
    shift = Shift()
    async with simulation.runtime(shift) as runtime:
        await asyncio.sleep(5.5 * 3600)
        hours = shift.hours
        asked = asyncio.ensure_future(tried(runtime.ask(shift, request("?", "query"))))
        await asyncio.sleep(0.5)
        await runtime.stop(shift)
        assert await asked is None
        await asyncio.sleep(5 * 3600)
        assert shift.hours == hours
    if is_well(simulation):
        assert hours == 5


class Talker(Node):
    """Says three things, and that it has left."""

    def model_post_init(self, context):
        self.log = []

    def chat(self, message):
        self.log.append("begins")
        try:
            for number in range(3):
                yield f"{self.name}{number}"
        finally:
            self.log.append("left")

    async def request(self, message):
        self.log.append("begins")
        try:
            for number in range(3):
                yield f"{self.name}{number}"
                await asyncio.sleep(0.1)
        finally:
            self.log.append("left")


@world
async def leaving_a_network_early(simulation):
    """Members who have spoken, and whom nobody hears any longer, are cancelled and clean up."""
    talkers = [Talker(name=name) for name in "abc"]
    net = MapperNode(*talkers, name="net")
    async with simulation.runtime(net) as runtime:
        for intent in ("chat", "request"):
            for number in range(5):
                conversation = runtime.send(net, request("go", intent))
                for _ in range(number):
                    await tried(anext(conversation, None))
                await asyncio.sleep(simulation.random.choice((0, 0.05, 1)))
                await tried(conversation.cancel())
                for talker in talkers:
                    assert talker.log.count("left") == talker.log.count("begins"), talker.log


class Ledger(Account):
    """Money that may leave memory, for it has declared fields alone."""


@world
async def accounts_that_sleep(simulation):
    """Nodes that have nothing to do leave memory, and are back with what they had."""
    accounts = [Ledger(name=f"account {n}") for n in range(3)]
    clerks = [Clerk(name=name, accounts=accounts) for name in ("Ann", "Bob")]
    chance, passivate = simulation.random, Passivation(after=1)
    async with simulation.runtime(*accounts, *clerks, passivate=passivate) as runtime:
        for _ in range(3):
            payments = [
                runtime.ask(clerk, request("{} {} {}".format(*chance.sample(range(3), 2), 70)))
                for clerk in clerks
            ]
            await asyncio.gather(*map(tried, payments))
            await asyncio.sleep(chance.choice((0, 0.5, 2, 4)))
    assert all(account.balance >= 0 for account in accounts)
    if is_well(simulation):
        assert sum(account.balance for account in accounts) == 300


# -- from the command line -------------------------------------------------------------------------

FAULTS = Faults(slow=0.2, failing=0.05, lost=0.05, duplicated=0.1, cancelled=0.05)


def main(seeds):
    """Run each of them with so many seeds, without faults and with, and show the first mistake."""
    _simulate.TRIALS = 0  # that it is one is enough to know
    for faults in (None, FAULTS):
        for program in WORLDS:
            try:
                simulate(program, range(seeds), faults=faults, turns=20_000)
            except Interleaving as error:
                print(f"{program.__name__}: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
