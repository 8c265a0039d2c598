"""What a runtime keeps in memory and for how long, and when replies are there at once."""

import asyncio
import gc
import weakref

import pytest
from pydantic import Field

from llambdao import MapperNode, Message, Node, call, sleep
from llambdao.kernel.errors import Stopped
from llambdao.runtime import Runtime, Supervisor, every
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


class Worker(Node):
    """Answers in each of the ways there are, after a while."""

    done: list[str] = Field(default_factory=list)

    async def query(self, message):
        await asyncio.sleep(0)
        return "done"

    async def chat(self, message):
        yield "begun"
        await asyncio.sleep(0)
        yield "done"

    def request(self, message):
        yield sleep(1)
        yield "done"

    def inform(self, message):
        yield call(len, message.content)
        yield "done"

    def step(self, message):
        self.done = [*self.done, message.content]
        raise ZeroDivisionError


class Ticking(Node):
    @every(seconds=3600)
    def tick(self, message):
        """Once an hour."""


# -- conversations that are over -------------------------------------------------------------------


@pytest.mark.parametrize("intent", ["query", "chat", "request", "inform"])
@pytest.mark.parametrize("way", ["ask", "send", "tell", "aclose"])
@on_a_loop
async def test_what_is_over_is_freed_at_once(intent, way):
    """Nothing of a conversation is left for the garbage collector, whatever the handler awaited."""
    worker = Worker()

    async def converse():
        message = Message("go", intent=intent)
        if way == "ask":
            assert (await runtime.ask(worker, message)).content == "done"
        elif way == "tell":
            await (await runtime.tell(worker, message)).wait()
        else:
            replies = runtime.send(worker, message)
            async for _ in replies:
                if way == "aclose":
                    break
            await replies.aclose()

    async with home(worker) as runtime:
        await converse()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await converse()
            for _ in range(10):
                await asyncio.sleep(0)
            gc.collect()
            left = [one for one in gc.garbage if type(one).__module__.startswith("llambdao")]
            assert [type(one).__name__ for one in left] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


# -- nodes that have left --------------------------------------------------------------------------


@on_a_loop
async def test_nothing_is_kept_of_a_node_that_was_stopped():
    """`stop(node)`: it is refused as long as anybody knows it; then nothing of it is left."""
    async with home(supervisor=Supervisor(strategy="restart")) as runtime:
        supervisors = runtime._supervisors
        tables = runtime._rooms, supervisors.births, supervisors.owners, supervisors.given
        for _ in range(3):
            node = MapperNode(Worker(), Node(), Ticking())
            runtime.spawn(node, supervisor=Supervisor())
            member = node.members[0]
            assert len(runtime.schedules) == 1
            await runtime.stop(node)
            for one in (node, member):
                with pytest.raises(Stopped, match="was stopped and takes no more messages"):
                    await runtime.ask(one, Message("hello", intent="query"))
            runtime.dead_letters.kept.clear()
            known = [weakref.ref(one) for one in (node, *node.members)]
            del node, member, one
            for _ in range(70):  # timers of those who have left are swept out now and then
                runtime._timers.forget()
            await asyncio.sleep(0)
            gc.collect()
            assert [ref() for ref in known] == [None] * 4
            assert [len(table) for table in tables] == [0, 0, 0, 0]
            assert runtime._mailboxes.boxes == {}
            assert runtime.nodes == runtime.schedules == []


# -- what a restart needs --------------------------------------------------------------------------


async def failed(runtime, node):
    """Tell a node what it fails at."""
    await (await runtime.tell(node, Message("bad", intent="step"))).wait()


@on_a_loop
async def test_fields_are_kept_where_somebody_may_be_restarted():
    """By any supervisor, from when there is one; a node that joins later has them too."""
    early, late = Worker(name="Early"), Worker(name="Late", done=["made"])
    async with home(early) as runtime:
        births = runtime._supervisors.births
        await failed(runtime, early)
        assert not births
        early.done = ["by hand"]
        runtime.spawn(Worker(), supervisor=Supervisor(strategy="stop"))
        assert not births
        runtime.spawn(late, supervisor=Supervisor(decide=lambda node, error: "restart"))
        assert len(births) == 3
        late.done, late.name = ["by hand"], "Latest"
        await failed(runtime, late)
        await failed(runtime, early)
        assert (late.done, late.name) == (["made"], "Late")
        assert early.done == ["by hand"]


# -- replies ---------------------------------------------------------------------------------------


@on_a_loop
async def test_who_takes_replies_has_each_at_once_while_nobody_else_is_waiting():
    """Though others of its conversation are to go on: no turn of the event loop for each reply."""
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    class Saying(Node):
        def chat(self, message):
            yield message.content

    table = MapperNode(*(Saying() for _ in range(40)))
    async with home(table) as runtime:
        counting = asyncio.ensure_future(count())
        heard = [said.content async for said in runtime.send(table, "hello")]
        counting.cancel()
    assert heard == ["hello"] * 40
    assert turns < 10
