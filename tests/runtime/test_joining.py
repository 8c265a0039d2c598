"""Who joins a network that lives in a runtime lives there too, as if it had been there before."""

import pytest

from llambdao import GroupChatNode, MapperNode, Message, Misused, Node, sleep
from llambdao.runtime import Mailbox, Passivation, Runtime, Supervisor, every
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


class Diary(Node):
    """Counts the hours; passes time; breaks."""

    hours: int = 0

    @every(hours=1)
    def count(self, message):
        self.hours = self.hours + 1

    def query(self, message):
        yield sleep(2.5 * 3600)
        yield f"{self.hours} hours"

    def inform(self, message):
        self.hours = 99

    def do(self, message):
        raise ZeroDivisionError(message.content)


@pytest.mark.parametrize("when", ["made of", "before the start", "from outside", "by a handler"])
@pytest.mark.parametrize("kind", [MapperNode, GroupChatNode])
@on_a_loop
async def test_who_joins_is_called_on_schedule(kind, when):
    """Runtime: `@every` holds for members, however and whenever they became that."""

    class Door(Node):
        def request(self, message):
            table.join(diary)
            return "come in"

    diary = Diary(name="Ann")
    table = kind(diary) if when == "made of" else kind()
    runtime, door = home(table), Door()
    if when == "before the start":
        table.join(diary)
    async with runtime:
        if when == "from outside":
            table.join(diary)
        elif when == "by a handler":
            await runtime.ask(door, Message("a guest", intent="request"))
        assert [str(one.node) for one in runtime.schedules] == ["Ann"]
        answer = await runtime.ask(diary, Message("?", intent="query"))
        assert answer.content == "2 hours"


@on_a_loop
async def test_who_joins_lives_there_with_its_members_until_the_runtime_stops():
    """Runtime: a node has one mailbox: another runtime refuses it from then on."""
    ann, table = Diary(name="Ann"), MapperNode()
    async with home(MapperNode(table)), home() as other:
        table.join(MapperNode(ann))
        with pytest.raises(Misused, match=r"Ann lives"):
            await other.ask(ann, Message("?", intent="query"))
        with pytest.raises(Misused, match=r"Ann lives"):
            other.spawn(ann)
    async with home(ann) as third:
        assert (await third.ask(ann, Message("?", intent="query"))).content == "2 hours"


@on_a_loop
async def test_who_lives_elsewhere_cannot_join():
    """MapperNode.join: `Misused`; the network is as it was."""
    ann, table = Diary(name="Ann"), MapperNode(name="table")
    async with home(table) as runtime, home(ann):
        with pytest.raises(Misused, match=r"Ann lives"):
            table.join(MapperNode(ann))
        assert table.members == []
        assert list(table.edges) == []
        assert runtime.schedules == []


@on_a_loop
async def test_who_joins_is_restarted_with_the_fields_it_had_then():
    """Supervisor: `restart`: as when it joined, not as when it first failed."""
    diary, table = Diary(name="Ann", hours=7), MapperNode()
    async with home(table, supervisor=Supervisor(strategy="restart")) as runtime:
        table.join(diary)
        await runtime.tell(diary, Message("overwrite", intent="inform"))
        await runtime.settle()
        assert diary.hours == 99
        await runtime.tell(diary, Message("oops", intent="do"))
        await runtime.settle()
        assert diary.hours == 7


@on_a_loop
async def test_who_joins_has_the_supervisor_and_the_mailbox_of_the_network():
    """Runtime.spawn: `supervisor` and `mailbox` hold for members who come later, too."""
    first, second = Diary(name="Ann"), Diary(name="Bob")
    table = MapperNode(first)
    async with home() as runtime:
        mailbox = Mailbox(1, "drop_newest")
        runtime.spawn(table, supervisor=Supervisor(strategy="stop"), mailbox=mailbox)
        table.join(second)
        for diary in (first, second):
            for number in range(3):
                await runtime.tell(diary, Message(str(number), intent="do"))
            await runtime.settle()
        letters = [(str(one.node), one.reason) for one in runtime.dead_letters]
    assert letters == [
        (name, reason)
        for name in ("Ann", "Bob")
        for reason in ("mailbox full", "mailbox full", "failed: ZeroDivisionError('0')")
    ]


@on_a_loop
async def test_who_joins_goes_to_sleep():
    """Passivation: as all others who have had nothing to do for a while."""
    table, bob = MapperNode(), Diary(name="Bob")
    async with home(table, bob, passivate=Passivation(after=60)) as runtime:
        table.join(Node(name="Ann"))
        await runtime.ask(bob, Message("?", intent="query"))
        assert runtime.passivation.asleep == 2  # the table, and Ann


def test_who_joins_from_another_thread_is_called_on_schedule():
    """In a script the network lives on a loop of its own thread, which is told."""
    diary, table = Diary(name="Ann"), MapperNode()
    with Runtime(table, watchdog=None) as runtime:
        assert runtime.schedules == []
        table.join(diary)
        assert [str(one.node) for one in runtime.schedules] == ["Ann"]


@on_a_loop
async def test_who_leaves_lives_on():
    """MapperNode.leave: the runtime is another matter: `runtime.stop(node)` ends that."""
    diary = Diary(name="Ann")
    table = MapperNode(diary)
    async with home(table) as runtime:
        table.leave(diary)
        assert [str(one.node) for one in runtime.schedules] == ["Ann"]
        await runtime.stop(diary)
        assert runtime.schedules == []
