"""`Room`: any process looks into a journal, and lays at its door what the owner takes in."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from clock import FakeClock
from llambdao import (
    BadMessage,
    HumanNode,
    Message,
    Misused,
    Node,
    Reason,
    UnknownIntent,
    Unreachable,
    all_of,
    call,
    expect,
    sleep,
)
from llambdao.journal import (
    AlreadyAnswered,
    Differs,
    DuplicateId,
    Journal,
    JournalError,
    MissingNode,
    NoSuchMessage,
    NotAsked,
    NotRecorded,
    Room,
)
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.journal.sqlite import SqliteLedger
from llambdao.runtime import Runtime
from loops import on_a_loop

pytestmark = pytest.mark.timeout(30)


class Clerk(Node):
    """Asks all its bosses; says what they said."""

    bosses: list[Node]
    orders: int = 0

    def request(self, message):
        self.orders = self.orders + 1
        said = yield all_of(*(one.ask(f"{message.content}?") for one in self.bosses))
        yield f"order {self.orders}"
        return " ".join(one.content for one in said)

    def inform(self, message):
        raise ZeroDivisionError(message.content)


class Vote(Message, kind="test_room.Vote"):
    """A typed answer."""

    aye: bool


def clerk():
    """A clerk with two bosses."""
    return Clerk(name="clerk", bosses=[HumanNode(name="Ann"), HumanNode(name="Bob")])


def order(content="a chair", number="o1"):
    """What a clerk is asked."""
    return Message(content, intent="request", id=number)


class World:
    """A journal that programs own and rooms look into, one life after the other."""

    def __init__(self, kind, folder):
        self.kind, self.url = kind, f"sqlite:///{folder}/room.db?synchronous=normal"
        self.store, self.clock, self.rooms = Store(), FakeClock(), []
        if kind == "sqlite":
            SqliteLedger(folder / "room.db").close()

    def program(self, *nodes, **options):
        """A runtime that owns it."""
        url = self.url if self.kind == "sqlite" else MemoryLedger(self.store)
        journal = Journal(url, **options)
        return Runtime(*nodes, journal=journal, clock=self.clock, watchdog=None)

    def room(self):
        """A door into it."""
        room = Room(self.url if self.kind == "sqlite" else MemoryLedger(self.store))
        self.rooms.append(room)
        return room


@pytest.fixture(params=["memory", "sqlite"])
def world(request, tmp_path):
    """A journal, in memory or in a file."""
    world = World(request.param, tmp_path)
    yield world
    for room in world.rooms:
        room.close()


class Ticking(FakeClock):
    """A clock on which it is never the same time twice."""

    def now(self):
        """The time; it is a bit later now."""
        self.ns += 1_000_000
        return self.ns


async def until_asked(world, *messages):
    """One life of a program, until its people are asked."""
    node = clerk()
    async with world.program(node) as runtime:
        for message in messages or (order(),):
            await runtime.tell(node, message)
        await runtime.settle()


# -- looking -------------------------------------------------------------------------------------


@on_a_loop
async def test_a_room_sees_everything_while_nobody_runs(world):
    """Questions, conversations, replies, what was said, and who there is."""
    await until_asked(world)
    room = world.room()
    assert [(str(q), q.who.id, q.asker.id) for q in room.pending()] == [
        ("Ann: a chair?", "clerk/Ann", "clerk"),
        ("Bob: a chair?", "clerk/Bob", "clerk"),
    ]
    assert [(one.id, one.status, one.node) for one in room.conversations()] == [
        ("o1", "waits", "clerk")
    ]
    assert [node.id for node in room.nodes] == ["clerk", "clerk/Ann", "clerk/Bob"]
    assert [str(one) for one in room.log()] == [
        "outside to clerk: a chair",
        "clerk to Ann: a chair?",
        "clerk to Bob: a chair?",
    ]
    replies = room.replies("o1")
    assert ([*replies], replies.open, replies.reason, replies.error) == ([], True, None, None)
    assert (room.stuck(), room.dead(), room.audit()) == ([], [], None)


@on_a_loop
async def test_looking_never_takes_ownership(world):
    """A program begins, works and ends while a room is open; a room sees it at once."""
    await until_asked(world)
    room, node = world.room(), clerk()
    assert len(room.pending()) == 2
    async with world.program(node) as runtime:
        assert len(room.pending()) == 2
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by=question.who)
        await runtime.settle()
        assert room.pending() == []
        assert [one.content for one in room.replies("o1")] == ["order 1", "yes yes"]


@on_a_loop
async def test_replies_say_how_it_has_ended(world):
    """Open, the reason, the error; of an id that nobody told there are none."""
    node = clerk()
    async with world.program(node) as runtime:
        await runtime.tell(node, order())
        await runtime.tell(node, Message("wrong", intent="inform", id="o2"))
        await runtime.settle()
        room = world.room()
        room.cancel("o1", "not needed")
        await runtime.settle()
    replies = room.replies("o1")
    assert (replies.open, replies.reason, replies.detail) == (False, Reason.CANCELLED, "not needed")
    replies = room.replies("o2")
    assert replies.reason == Reason.FAILED
    assert repr(replies.error) == "ZeroDivisionError('wrong')"
    nothing = room.replies("never")
    assert ([*nothing], nothing.open, nothing.reason) == ([], False, None)


@on_a_loop
async def test_replies_can_be_followed(world):
    """Those there are, then the others as they come, to the end; also within the owner."""
    await until_asked(world)
    room, node = world.room(), clerk()

    def follow():
        return [said.content for said in room.replies("o1").follow(timeout=9)]

    async with world.program(node) as runtime:
        following = asyncio.ensure_future(asyncio.to_thread(follow))

        async def follow_within():
            return [said.content async for said in await runtime.replies("o1")]

        within = asyncio.ensure_future(follow_within())
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by=question.who)
        assert await following == await within == ["order 1", "yes yes"]


@on_a_loop
async def test_following_takes_no_longer_than_is_said(world):
    """TimeoutError names the conversation, which goes on."""
    await until_asked(world)
    with pytest.raises(TimeoutError, match="the conversation o1 goes on"):
        next(world.room().replies("o1").follow(timeout=0))


@on_a_loop
async def test_what_was_said_has_the_ids_it_had_when_it_was_said(world):
    """A message read from a journal is the one that was said, and answers what that answered."""
    node, seen = clerk(), []
    world.clock = Ticking()
    async with world.program(node) as runtime:
        runtime._observers.append(lambda event: event.kind == "said" and seen.append(event.message))
        await runtime.tell(node, Message("a lamp", intent="request"))
        await runtime.settle()
        world.clock.sleep(7)
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by=question.who)
        await runtime.settle()
    read = [one.message for one in world.room().log()]
    assert [(m.id, m.content, str(m.sender), m.timestamp) for m in read] == [
        (m.id, m.content, str(m.sender), m.timestamp) for m in seen
    ]
    assert [getattr(m.reply_to, "id", None) for m in read] == [
        getattr(m.reply_to, "id", None) for m in seen
    ]


@on_a_loop
async def test_the_log_can_be_read_from_the_end(world):
    """The last steps, of all or of one conversation, with the ids they have in the whole log."""
    await until_asked(world, order(), order("a lamp", "o2"))
    room, node = world.room(), clerk()
    async with world.program(node) as runtime:
        world.clock.sleep(1)
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by=question.who)
        await runtime.settle()
    whole = [*room.log()]
    for last in (1, 2, 3, 100):
        some = [*room.log(last=last)]
        assert [(s.message.dict(), s.re, str(s)) for s in some] == [
            (s.message.dict(), s.re, str(s)) for s in whole[-len(some) :]
        ]
        assert len({s.seq for s in some}) == min(last, len({s.seq for s in whole}))
    assert {one.conversation for one in room.log("o2")} == {"o2"}
    assert [*room.log("o2", last=1)] != [*room.log("o2")]
    with pytest.raises(NoSuchMessage, match=r"no conversation was opened by .* 'o3'"):
        next(room.log("o3"))


@on_a_loop
async def test_a_trace_is_the_tree_of_what_came_of_a_message(world):
    """Of any message, with what it came from."""
    await until_asked(world)
    room, node = world.room(), clerk()
    async with world.program(node) as runtime:
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by=question.who)
        await runtime.settle()
    trace = room.trace("o1")
    assert str(trace) == (
        "outside to clerk: a chair\n"
        "├─ clerk to Ann: a chair?\n"
        "│  └─ Ann to clerk: yes\n"
        "├─ clerk to Bob: a chair?\n"
        "│  └─ Bob to clerk: yes\n"
        "├─ clerk: order 1\n"
        "└─ clerk: yes yes"
    )
    inner = room.trace(trace.children[1].said.message.id)
    assert str(inner) == "clerk to Bob: a chair?\n└─ Bob to clerk: yes"
    assert [str(one) for one in inner.causes] == ["outside to clerk: a chair"]
    data = trace.dict()
    assert [one["content"] for one in data["children"]] == [
        "a chair?",
        "a chair?",
        "order 1",
        "yes yes",
    ]
    assert [one["out"] for one in data["children"]] == [False, False, True, True]
    with pytest.raises(NoSuchMessage, match="there is no message 'x'"):
        room.trace("x")


def test_a_trace_of_a_deep_chain_needs_no_stack():
    """A hundred thousand messages, each in answer to the one before."""
    from llambdao.journal.handles import Said
    from llambdao.journal.trace import trace_of

    now = datetime.now(UTC)
    said = [Said(Message("x", id=str(n)), now, "o1", n, n - 1 or None) for n in range(1, 20_001)]
    trace = trace_of(said, said[0])
    assert sum(1 for _ in trace) == 20_000
    assert trace_of(said, said[-1]).causes == said[:-1]


# -- the door ------------------------------------------------------------------------------------


@on_a_loop
async def test_what_is_told_without_an_owner_waits(world):
    """It lies at the door until a program runs; then it is handled, once."""
    await until_asked(world, order("a desk", "o0"))
    room = world.room()
    assert room.tell("clerk", order()) == "o1"
    assert room.tell("clerk", order()) == "o1"
    assert room.replies("o1").open
    node = clerk()
    async with world.program(node) as runtime:
        await runtime.settle()
        assert [q.content for q in await runtime.pending()] == ["a desk?"] * 2 + ["a chair?"] * 2
    async with world.program(clerk()) as runtime:
        await runtime.settle()
    assert [str(one) for one in room.log("o1")][:1] == ["outside to clerk: a chair"]
    assert len(room.conversations()) == 2
    assert room.ledger.knocks() == []


@on_a_loop
async def test_with_an_owner_it_is_taken_in_while_one_waits(world):
    """`wait` returns when that is written."""
    await until_asked(world)
    room = world.room()
    async with world.program(clerk()):
        number = await asyncio.to_thread(room.tell, "clerk", order("a lamp", None), wait=9)
        assert [one.content for one in room.pending()] == ["a chair?"] * 2 + ["a lamp?"] * 2
        assert room.conversation(number).open


@on_a_loop
async def test_nobody_takes_it_in(world):
    """TimeoutError says so; it still lies there."""
    await until_asked(world)
    room = world.room()
    with pytest.raises(TimeoutError, match="it lies at the door, until the program"):
        room.tell("clerk", order("a lamp", "o2"), wait=0)
    assert room.replies("o2").open
    room.cancel("o2")
    async with world.program(clerk()) as runtime:
        await runtime.settle()
        assert [one.content for one in await runtime.pending()] == ["a chair?", "a chair?"]
    assert not room.replies("o2").open


@on_a_loop
async def test_what_cannot_be_told_is_refused_here(world):
    """A node that is not there, what it does not understand, an id of another message, no words."""
    room = world.room() if world.kind == "memory" else Room(world.url)
    assert room.tell("whoever", "hello")  # nobody knows yet who there is
    await until_asked(world)
    with pytest.raises(Unreachable, match=r"there is no node 'clrk' .* it has clerk, clerk/Ann"):
        room.tell("clrk", order("a lamp", "o2"))
    with pytest.raises(UnknownIntent, match="clerk does not understand 'chat'; it understands"):
        room.tell("clerk", "hello")
    with pytest.raises(DuplicateId, match="with other content"):
        room.tell("clerk", order("another chair"))
    room.tell("clerk", order("a lamp", "o2"))
    with pytest.raises(DuplicateId, match="with other content"):
        room.tell("clerk", order("a lamp!", "o2"))
    with pytest.raises(Misused, match="a message or its words"):
        room.tell("clerk", 7)
    if world.kind == "sqlite":
        room.close()


@on_a_loop
async def test_a_node_has_one_name_or_needs_its_address(world):
    """The last part of an address will do where only one has it."""

    class House(Node):
        rooms: list[Node]

    one = House(name="one", rooms=[clerk()])
    two = House(name="two", rooms=[clerk(), HumanNode(name="Eve")])
    async with world.program(one, two) as runtime:
        room = world.room()
        with pytest.raises(Unreachable, match="'clerk' may be any of 2: one/clerk, two/clerk"):
            room.tell("clerk", order())
        room.tell("two/clerk", order())
        room.tell("Eve", "Hello?")
        await runtime.settle()
        assert [one.who.id for one in room.pending()] == [
            "two/clerk/Ann",
            "two/clerk/Bob",
            "two/Eve",
        ]


@on_a_loop
async def test_questions_are_answered_from_anywhere(world):
    """By the one who was asked, once; with words or a message of any class."""
    await until_asked(world)
    room = world.room()
    ann, bob = room.pending()
    with pytest.raises(NotAsked, match="Ann was asked 'a chair\\?', not Bob"):
        room.answer(ann.id, "yes", by="Bob")
    with pytest.raises(NotAsked, match="there is no question 'x'"):
        room.answer("x", "yes", by="Ann")
    with pytest.raises(Misused, match="an answer is words or a message"):
        room.answer(ann.id, 7, by="Ann")
    room.answer(ann.id, "yes", by="Ann")
    with pytest.raises(AlreadyAnswered, match="was answered by clerk/Ann"):
        room.answer(ann.id, "no", by="Ann")
    room.answer(bob.id, Vote("so be it", aye=True), by=bob.who)
    async with world.program(clerk()) as runtime:
        await runtime.settle()
        assert [one.content for one in await runtime.replies("o1")] == ["order 1", "yes so be it"]
    with pytest.raises(AlreadyAnswered, match="was answered by clerk/Ann"):
        room.answer(ann.id, "no", by="Ann")
    assert (room.dead(), room.ledger.knocks()) == ([], [])


@on_a_loop
async def test_what_the_owner_refuses_is_raised_where_it_was_said(world):
    """Of the class it has there; without waiting it is a dead letter."""
    judge = HumanNode(name="judge", says=Vote)
    async with world.program(judge) as runtime:
        await runtime.tell(judge, Message("Guilty?", id="o1"))
        await runtime.settle()
        room = world.room()
        [question] = room.pending()
        with pytest.raises(BadMessage, match=r"the answer is to be a test_room\.Vote"):
            await asyncio.to_thread(room.answer, question.id, "hm", by="judge", wait=9)
        [letter] = room.dead()
        assert (letter.reason, letter.content, letter.sender) == ("answer refused", "hm", "judge")
        assert "the answer is to be a test_room.Vote" in letter.error
        await asyncio.to_thread(room.answer, question.id, "no", by="judge", wait=9)
        [said] = room.replies("o1")
        assert (type(said), said.aye) == (Vote, False)


@on_a_loop
async def test_a_late_answer_at_the_door_changes_nothing(world):
    """It is refused, and kept as a dead letter; the one who asked is untouched."""
    await until_asked(world)
    room = world.room()
    question = room.pending()[0]
    async with world.program(clerk()) as runtime:
        room.ledger.knock("cancel", {"id": "o1"}, 0)
        room.ledger.knock("answer", {"id": question.id, "by": "Ann", "content": "yes"}, 0)
        await runtime.settle()
    [letter] = room.dead()
    assert "AlreadyAnswered" in letter.error
    assert room.replies("o1").reason == Reason.CANCELLED


@on_a_loop
async def test_what_lies_at_the_door_is_taken_in_once(world):
    """However often its owner looks, before what came of it is written."""
    await until_asked(world)
    room = world.room()
    room.answer(room.pending()[0].id, "yes", by="Ann")
    room.tell("clerk", order("a lamp", "o2"))
    async with world.program(clerk()) as runtime:
        for _ in range(3):
            runtime.journal.look()
        await runtime.settle()
    assert [str(one) for one in room.log()].count("Ann to clerk: yes") == 1
    assert [one.content for one in room.pending()] == ["a chair?", "a lamp?", "a lamp?"]
    assert (room.dead(), room.ledger.knocks()) == ([], [])


@on_a_loop
async def test_an_answer_that_comes_as_time_is_up_is_refused(world):
    """Whoever answers hears it; the question counts as withdrawn, not as answered."""
    ann = HumanNode(name="Ann", deadline=60)
    async with world.program(ann) as runtime:
        await runtime.tell(ann, Message("Now?", id="o1"))
        for _ in range(3):
            await asyncio.sleep(0)
        [question] = await runtime.pending()
        world.clock.ns += 60_000_000_000
        runtime._timers._ring()
        with pytest.raises(AlreadyAnswered, match="was withdrawn"):
            await runtime.answer(question.id, "yes", by="Ann")
        assert runtime.journal.ledger.answer(question.id).way == "withdrawn"


@on_a_loop
async def test_nonsense_at_the_door_harms_nobody(world):
    """Each thing that cannot be taken in is a dead letter; what comes after it is taken in."""
    await until_asked(world)
    room = world.room()
    for kind, body in [
        ("dance", {}),
        ("tell", {}),
        ("tell", {"node": "x", "message": {"content": "x"}, "id": "y"}),
        ("tell", {"node": "clerk", "message": {"volume": 11}, "id": "y"}),
        ("answer", {"id": 7, "content": None}),
        ("retry", {"id": "o1"}),
        ("again", {"seq": -1}),
    ]:
        room.ledger.knock(kind, body, 0)
    room.tell("clerk", order("a lamp", "o2"))
    async with world.program(clerk()) as runtime:
        await runtime.settle()
        assert len(await runtime.pending()) == 4
    assert len(room.dead()) == 7
    assert room.ledger.knocks() == []


class Dies(MemoryLedger):
    """Its process dies at a commit."""

    def __init__(self, store, at):
        super().__init__(store)
        self.left = at

    def commit(self, batch):
        self.left -= 1
        if self.left < 0:
            raise SystemExit("killed")
        super().commit(batch)


@pytest.mark.parametrize("kind", ["tell", "answer"])
def test_a_knock_is_lost_with_no_commit(kind):
    """Killed before any commit, its owner finds it at the door again, and handles it once."""
    for at in range(12):
        store = Store()

        async def first(store=store):
            node = clerk()
            async with Runtime(
                node, journal=Journal(MemoryLedger(store)), watchdog=None
            ) as runtime:
                await runtime.tell(node, order())
                await runtime.settle()

        asyncio.run(first())
        room = Room(MemoryLedger(store))
        if kind == "tell":
            room.tell("clerk", order("a lamp", "o2"))
        else:
            room.answer(room.pending()[0].id, "yes", by="Ann")

        async def life(ledger):
            async with Runtime(clerk(), journal=Journal(ledger), watchdog=None) as runtime:
                await runtime.settle()

        was_killed = False
        try:
            asyncio.run(life(Dies(store, at)))
        except (SystemExit, BaseExceptionGroup):
            was_killed = True
        store.owner = None
        asyncio.run(life(MemoryLedger(store)))
        said = [str(one) for one in room.log()]
        if kind == "tell":
            assert said.count("outside to clerk: a lamp") == 1
            assert [one.content for one in room.pending()][2:] == ["a lamp?"] * 2
        else:
            assert said.count("Ann to clerk: yes") == 1
            assert [str(one.who) for one in room.pending()] == ["Bob"]
        assert (room.ledger.knocks(), room.dead()) == ([], [])
    assert not was_killed, "there are more commits than were tried"


def test_a_room_needs_a_journal(tmp_path):
    """It makes none, and says what is wrong."""
    with pytest.raises(JournalError, match="there is no journal"):
        Room(f"sqlite:///{tmp_path}/none.db")
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(JournalError, match="is no journal"):
        Room("room.db")


def test_a_room_in_another_process(tmp_path):
    """It really is another process that tells and answers, while the owner runs."""
    url = f"sqlite:///{tmp_path}/room.db"
    program = (
        "from llambdao import Message\n"
        "from llambdao.journal import Room\n"
        f"with Room({url!r}) as room:\n"
        "    room.tell('clerk', Message('a chair', intent='request', id='o1'), wait=20)\n"
        "    for question in room.pending():\n"
        "        room.answer(question.id, 'yes', by=question.who, wait=20)\n"
        "    print(*[said.content for said in room.replies('o1').follow(timeout=20)], sep=', ')\n"
    )

    async def main():
        async with Runtime(clerk(), journal=url):
            other = await asyncio.create_subprocess_exec(
                sys.executable, "-W", "error", "-c", program, stdout=subprocess.PIPE
            )
            out, _ = await other.communicate()
            return other.returncode, out.decode()

    assert asyncio.run(main()) == (0, "order 1, yes yes\n")


# -- stuck, and dead -----------------------------------------------------------------------------


class Polite(Clerk):
    """The clerk of the next version: it says please."""

    def request(self, message):
        self.orders = self.orders + 1
        said = yield all_of(*(one.ask(f"{message.content}, please?") for one in self.bosses))
        yield f"order {self.orders}"
        return " ".join(one.content for one in said)


def polite():
    """A polite clerk with the same bosses."""
    return Polite(name="clerk", bosses=[HumanNode(name="Ann"), HumanNode(name="Bob")])


async def until_stuck(world):
    """A conversation with which the next version of the program does something else."""
    await until_asked(world)
    room = world.room()
    room.answer(room.pending()[0].id, "yes", by="Ann")
    async with world.program(polite()) as runtime:
        await runtime.settle()
    [letter] = room.dead()
    return room, letter


@on_a_loop
async def test_what_is_stuck_says_why(world):
    """What it said then, and what it would say now."""
    room, letter = await until_stuck(world)
    [stuck] = room.stuck()
    assert (stuck.id, stuck.status, stuck.open) == ("o1", "stuck", True)
    assert "- clerk to clerk/Ann: request 'a chair?'" in stuck.why
    assert "+ clerk to clerk/Ann: request 'a chair, please?'" in stuck.why
    assert letter.reason == "answer refused"


@on_a_loop
async def test_it_is_tried_again_with_the_old_program(world):
    """`retry`: it goes on where it was, and the answer that was refused is sent again."""
    room, letter = await until_stuck(world)
    room.retry("o1")
    room.again(letter.seq)
    async with world.program(clerk()) as runtime:
        await runtime.settle()
        [question] = await runtime.pending()
        await runtime.answer(question.id, "no", by="Bob")
        await runtime.settle()
    assert [one.content for one in room.replies("o1")] == ["order 1", "yes no"]
    assert (room.stuck(), room.dead()) == ([], [])


@on_a_loop
async def test_tried_again_in_vain_it_is_stuck_again(world):
    """Who waits hears why."""
    room, _ = await until_stuck(world)
    async with world.program(polite()):
        with pytest.raises(Differs, match="it is stuck again"):
            await asyncio.to_thread(room.retry, "o1", wait=9)
    assert [one.id for one in room.stuck()] == ["o1"]


@on_a_loop
async def test_it_is_begun_again(world):
    """`restart`: from its first message, with the same id; the questions from before are closed."""
    room, _ = await until_stuck(world)
    before = [one.id for one in room.pending()]
    async with world.program(polite()) as runtime:
        await asyncio.to_thread(room.restart, "o1", wait=9)
        assert [one.content for one in await runtime.pending()] == ["a chair, please?"] * 2
        for number in before:
            with pytest.raises(AlreadyAnswered, match="was withdrawn"):
                await runtime.answer(number, "yes", by="Ann")
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by=question.who)
        await runtime.settle()
        assert (await runtime.tell(runtime.nodes[0], order())).is_over  # the same is the same still
    assert [one.content for one in room.replies("o1")] == ["order 2", "yes yes"]
    assert [one.status for one in room.conversations()] == ["over", "over"]
    assert room.stuck() == []


@on_a_loop
async def test_it_is_ended(world):
    """`cancel`: it ends, and so do its questions."""
    room, _ = await until_stuck(world)
    [*_, number] = [one.id for one in room.pending()]
    room.cancel("o1", "enough")
    async with world.program(polite()) as runtime:
        await runtime.settle()
        assert await runtime.pending() == []
    with pytest.raises(AlreadyAnswered, match="was withdrawn"):
        room.answer(number, "yes", by="Bob")
    assert (room.replies("o1").reason, room.replies("o1").detail) == (Reason.CANCELLED, "enough")
    assert room.stuck() == []


@on_a_loop
async def test_only_what_is_stuck_is_helped_on(world):
    """Anything else is refused."""
    await until_asked(world)
    room = world.room()
    for help_on in (room.retry, room.restart):
        with pytest.raises(JournalError, match="o1 is not stuck: it is waits"):
            help_on("o1")
        with pytest.raises(NoSuchMessage):
            help_on("o2")
    with pytest.raises(NoSuchMessage, match="there is no open conversation 'o2'"):
        room.cancel("o2")
    with pytest.raises(NoSuchMessage, match="there is no dead letter 7"):
        room.again(7)


@on_a_loop
async def test_a_dead_letter_is_sent_again(world):
    """To the node it was for, as a new message, once."""

    class Door(Node):
        keeper: Node

        def chat(self, message):
            yield self.keeper.tell(Message(message.content, intent="query"))

    class Keeper(Node):
        def chat(self, message):
            yield "no"

    class Kind(Keeper):
        def query(self, message):
            yield f"yes, {message.content}"

    door = Door(name="door", keeper=Keeper(name="keeper"))
    async with world.program(door) as runtime:
        await runtime.tell(door, Message("open", id="o1"))
        await runtime.settle()
    room = world.room()
    letters = room.dead()
    if not letters:
        pytest.skip("nothing was dead")
    async with world.program(Door(name="door", keeper=Kind(name="keeper"))) as runtime:
        room.again(letters[0].seq)
        await runtime.settle()
    assert room.dead() == []
    assert "yes, open" in [one.message.content for one in room.log()]


# -- what if -------------------------------------------------------------------------------------


class Buyer(Node):
    """Calls, asks, sleeps, and is told news."""

    boss: Node
    world: object = None

    def request(self, message):
        price = yield call(self.price, message.content)
        said = yield self.boss.ask(f"{price}?")
        yield f"Ann says {said.content}"
        yield sleep(86400)
        news = yield expect("delivery")
        yield f"delivered {news}"
        yield self.boss.ask("Is it fine?")
        yield "done"

    def price(self, what):
        PRICES.append(what)
        if what == "gold":
            raise ValueError("too dear")
        return f"{what} for {len(what)}"


PRICES = []


def buyer():
    """A buyer and its boss."""
    PRICES.clear()
    return Buyer(name="buyer", boss=HumanNode(name="Ann"))


async def until_delivered(world):
    """A conversation with a call, an answer, a timer and news behind it; it waits for Ann."""
    node = buyer()
    async with world.program(node) as runtime:
        await runtime.tell(node, order())
        await runtime.settle()
        for _ in range(100):
            await asyncio.sleep(0)
        [question] = await runtime.pending()
        await runtime.answer(question.id, "yes", by="Ann")
        await runtime.settle()
        for _ in range(100):
            await asyncio.sleep(0)
        runtime.news("delivery", "on Friday")
        await runtime.settle()
        assert [str(one) for one in await runtime.pending()] == ["Ann: Is it fine?"]
    return world.room()


@on_a_loop
async def test_a_replay_shows_the_steps_and_does_nothing(world):
    """What came in, what was said, what was called; nothing is called again or written."""
    room = await until_delivered(world)
    lines = len([*room.log()])
    found = room.replay("o1", buyer())
    assert [(step.inputs, [str(one) for one in step.said], step.calls) for step in found.steps] == [
        ([], ["outside to buyer: a chair"], ["Buyer.price"]),
        (['Buyer.price came to "a chair for 7"'], ["buyer to Ann: a chair for 7?"], []),
        (['buyer/Ann answered "yes"'], ["Ann to buyer: yes", "buyer: Ann says yes"], []),
        (["it was time"], [], []),
        (
            ["news for 'delivery': \"on Friday\""],
            ["buyer: delivered on Friday", "buyer to Ann: Is it fine?"],
            [],
        ),
    ]
    assert (found.difference, PRICES, len([*room.log()])) == ("", [], lines)


@on_a_loop
async def test_a_replay_by_another_program_shows_the_difference(world):
    """The steps up to there, then both."""

    class Curt(Buyer):
        def request(self, message):
            price = yield call(self.price, message.content)
            yield self.boss.ask(f"{price}!")

    room = await until_delivered(world)
    found = room.replay("o1", Curt(name="buyer", boss=HumanNode(name="Ann")))
    assert len(found.steps) == 2
    assert "- buyer to buyer/Ann: request 'a chair for 7?'" in found.difference
    assert "+ buyer to buyer/Ann: request 'a chair for 7!'" in found.difference
    gone = room.replay("o1", Node(name="nobody"))
    assert "the node 'buyer' of this conversation is gone" in gone.difference


@on_a_loop
async def test_what_is_over_cannot_be_replayed(world):
    """Its steps are gone, and the error says what is left."""
    await until_asked(world)
    room = world.room()
    room.cancel("o1")
    async with world.program(clerk()) as runtime:
        await runtime.settle()
    with pytest.raises(JournalError, match="o1 is over \\(cancelled\\), and its steps are gone"):
        room.replay("o1", clerk())


def forked(room, **how):
    """What was said in a fork, and what it waits for."""
    fork = room.fork("o1", buyer(), **how)
    error = fork.conversation("o1").error
    return [str(one) for one in fork.log()], [str(one) for one in fork.pending()], error


@on_a_loop
async def test_a_fork_that_changes_nothing_comes_to_the_same(world):
    """Calls come to what they came to, people answer the same, nobody waits for time to pass."""
    room = await until_delivered(world)
    before = [str(one) for one in room.log()]
    assert forked(room, says="a chair") == (before, ["Ann: Is it fine?"], None)
    assert PRICES == []
    assert [str(one) for one in room.log()] == before


@on_a_loop
async def test_in_a_fork_something_else_was_said_at_first(world):
    """A call of which nothing is recorded is an error where it is called, unless it is allowed."""
    room = await until_delivered(world)
    said, asked, error = forked(room, says="a lamp")
    assert (said, asked) == (["outside to buyer: a lamp"], [])
    assert isinstance(error, NotRecorded)
    assert "Buyer.price is called, but of this call nothing is recorded; --effects" in str(error)
    assert PRICES == []
    said, asked, error = forked(room, says="a lamp", effects=True)
    assert said == ["outside to buyer: a lamp", "buyer to Ann: a lamp for 6?"]
    assert (asked, error, PRICES) == (["Ann: a lamp for 6?"], None, ["a lamp"])


@on_a_loop
async def test_in_a_fork_somebody_said_something_else_on_the_way(world):
    """What stands before that is as it was; a call behind it is not done again."""
    room = await until_delivered(world)
    before = [*room.log()]
    number = next(one.message.id for one in before if one.message.content == "yes")
    said, asked, error = forked(room, says="never", at=number, effects=True)
    assert said == [
        *map(str, before[:2]),
        "Ann to buyer: never",
        "buyer: Ann says never",
        "buyer: delivered on Friday",
        "buyer to Ann: Is it fine?",
    ]
    assert (asked, error, PRICES) == (["Ann: Is it fine?"], None, [])


@on_a_loop
async def test_what_brought_the_edited_message_about_is_not_done_again(world):
    """Not even where calls are allowed: it has come to its result before."""
    room = await until_delivered(world)
    number = [*room.log()][1].message.id
    said, asked, error = forked(room, says="a chair, please?", at=number, effects=True)
    assert said == ["outside to buyer: a chair", "buyer to Ann: a chair, please?"]
    assert (asked, error, PRICES) == (["Ann: a chair, please?"], None, [])


class Dice(Node):
    """Rolls as long as Ann says so."""

    boss: Node
    games: int = 0
    left: int = 0

    def request(self, message):
        self.games = self.games + 1
        yield f"game {self.games}"
        try:
            while True:
                yield str((yield call(ROLLS.pop)))
                if (yield self.boss.ask("Again?")).content == "no":
                    yield (yield self.boss.ask("Sure?")).content
                    return
        finally:
            self.left = self.left + 1


ROLLS = []


def dice():
    """Dice and who says when it is enough."""
    return Dice(name="dice", boss=HumanNode(name="Ann"))


async def until_sure(world):
    """Two games; in the first it was rolled once."""
    ROLLS[:] = [5, 4]
    node = dice()
    async with world.program(node) as runtime:
        for number in ("o1", "o2"):
            await runtime.tell(node, order("roll", number))
            await runtime.settle()
        [first, _] = await runtime.pending()
        await runtime.answer(first.id, "no", by="Ann")
        await runtime.settle()
    assert ROLLS == []
    return world.room()


@on_a_loop
async def test_a_result_is_used_once_in_a_fork(world):
    """What a call came to before the edited message is no result for another call after it."""
    room = await until_sure(world)
    number = next(one.message.id for one in room.log("o1") if one.message.content == "no")
    fork = room.fork("o1", dice(), says="yes", at=number)
    assert [str(one) for one in fork.log()][-1] == "Ann to dice: yes"
    assert isinstance(fork.conversation("o1").error, NotRecorded)


@on_a_loop
async def test_in_a_fork_nodes_know_what_they_knew_then(world):
    """Not what they have learned since; and the nodes of the program are as they were made."""
    room = await until_sure(world)
    for number, game in (("o1", "game 1"), ("o2", "game 2")):
        node = dice()
        assert room.replay(number, node).difference == ""
        assert (node.games, node.left) == (0, 0)
        fork = room.fork(number, dice(), says="roll")
        assert [str(one) for one in fork.log()][1] == f"dice: {game}"


@on_a_loop
async def test_a_fork_of_what_is_over_begins_anew(world):
    """With another first message; its calls have to be allowed."""
    room = await until_delivered(world)
    room.cancel("o1")
    async with world.program(buyer()) as runtime:
        await runtime.settle()
    assert forked(room, says="a lamp", effects=True)[1] == ["Ann: a lamp for 6?"]
    number = [*room.log()][1].message.id
    with pytest.raises(Misused, match="only its first message can be edited"):
        room.fork("o1", buyer(), says="x", at=number)


@on_a_loop
async def test_what_cannot_be_forked_is_refused(world):
    """A message that was not said, no words, another program."""
    room = await until_delivered(world)
    with pytest.raises(NoSuchMessage, match="no message 'x' was said in o1"):
        room.fork("o1", buyer(), says="x", at="x")
    with pytest.raises(Misused, match="is edited to other words"):
        room.fork("o1", buyer(), says=7)
    with pytest.raises((NoSuchMessage, MissingNode), match="buyer"):
        room.fork("o1", Node(name="nobody"), says="x")


# -- housekeeping --------------------------------------------------------------------------------


@on_a_loop
async def test_history_that_was_changed_is_found(world):
    """The audit names the first line that is not as it was written."""
    await until_asked(world, order(), order("a lamp", "o2"))
    room = world.room()
    assert room.audit() is None
    if world.kind == "memory":
        world.store.lines[1].said[0]["content"] = "a castle"
    else:
        room.ledger.connection.execute(
            "update history set said = replace(said, 'a lamp', 'a castle') where seq = 2"
        )
    assert room.audit() == 2


@on_a_loop
async def test_what_is_old_is_forgotten(tmp_path):
    """Without an owner at once; with one it is laid at its door. Times are aware, or spans."""
    world = World("sqlite", tmp_path)
    await until_asked(world)
    room = world.room()
    room.cancel("o1")
    async with world.program(clerk()) as runtime:
        await runtime.settle()
    with pytest.raises(Misused, match="an aware datetime"):
        room.compact(before=datetime(2026, 1, 1))  # noqa: DTZ001
    forgotten = room.compact(before=timedelta(days=1))
    assert (forgotten["lines"], forgotten["conversations"]) == (1, 1)
    assert [*room.log()] == []
    async with world.program(clerk()):
        assert await asyncio.to_thread(room.compact, wait=9) is None
    room.close()
    world.rooms.clear()
