"""Supervision: what becomes of a node when a handler of it raises and nobody waits for that."""

import asyncio
import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from pydantic import Field

from kinds import WAITING, kinds
from llambdao import MapperNode, Message, Misused, Node, expect, sleep
from llambdao.kernel.errors import Restarted, Stopped
from llambdao.runtime import Runtime, Supervisor
from llambdao.testing import VirtualClock
from loops import on_a_loop

pytestmark = pytest.mark.timeout(20)
FAILING = ("plain", "generator", "coroutine", "async-generator")


def home(*nodes, **options):
    """A runtime under a virtual clock."""
    return Runtime(*nodes, **{"clock": VirtualClock(), "watchdog": None, **options})


async def quiet(count=30):
    """Let the event loop turn so many times: whoever can go on has gone on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def told(runtime, node, *words):
    """Tell a node these things, one after the other, each in a conversation that has ended."""
    conversations = []
    for word in words:
        conversations.append(await runtime.tell(node, word))
        await conversations[-1].wait()
    return conversations


def decisions(log):
    """What supervisors decided, as lines."""
    return [f"{event.node}: {event.detail}" for event in log if event.kind == "supervised"]


class Worker(Node):
    """Counts what it does; fails at what is bad."""

    count: int = 0
    done: list[str] = Field(default_factory=list)
    tools: dict[str, list[str]] = Field(default_factory=dict)

    def model_post_init(self, context):
        self.set_up = [*getattr(self, "set_up", ()), "ready"]

    def chat(self, message):
        self.count = self.count + 1
        self.done.append(message.content)
        self.tools.setdefault(message.content, []).append("used")
        self.remembered = message.content
        if message.content == "bad":
            raise ZeroDivisionError(f"{self} is no good")
        if message.content == "slow":
            try:
                yield sleep(1000)
            finally:
                LOG.append(f"{self} drops {message.content}")
        yield f"{message.content} done"

    inform = request = chat


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _an_empty_log():
    LOG.clear()


# -- resume --------------------------------------------------------------------------------------


@kinds(*FAILING)
@on_a_loop
async def test_a_failed_turn_is_undone_and_the_node_goes_on(handler):
    """Rule 10: `resume`, unless told otherwise: the turn is undone, the next message handled."""

    class Counter(Node):
        count: int = 0

        @handler
        def chat(self, message):
            self.count = self.count + 1
            self.last = message.content
            if message.content == "bad":
                raise ZeroDivisionError("oops")
            return None
            yield

    log, counter = [], Counter(name="Counter")
    async with home(counter, observe=log.append) as runtime:
        one, bad, other = await told(runtime, counter, "one", "bad", "other")
    assert (counter.count, counter.last) == (2, "other")
    assert [one.reason, bad.reason, other.reason] == ["done", "failed", "done"]
    assert one.error is other.error is None
    assert isinstance(bad.error, ZeroDivisionError)
    assert decisions(log) == ["Counter: resume"]


@kinds(*FAILING)
@on_a_loop
async def test_a_message_that_always_fails_is_parked_and_not_handled_again(handler):
    """Rule 10: poison is a dead letter with its error; what waits behind it is handled."""

    class Picky(Node):
        @handler
        def chat(self, message):
            tried.append(message.content)
            if message.content == "poison":
                raise ZeroDivisionError("oops")
            return None
            yield

    tried, picky = [], Picky()
    async with home(picky) as runtime:
        for word in ("a", "poison", "b", "c"):
            await runtime.tell(picky, word)
        await runtime.settle()
        assert tried == ["a", "poison", "b", "c"]
        (letter,) = runtime.dead_letters
        assert letter.message.content == "poison"
        assert letter.node is picky
        assert isinstance(letter.error, ZeroDivisionError)
        assert letter.reason.startswith("failed: ZeroDivisionError('oops')")
        assert not runtime.conversations


@kinds(*WAITING)
@on_a_loop
async def test_only_the_turn_that_failed_is_undone(handler):
    """Rule 10: what was assigned before the last wait stays, here as everywhere."""

    class Writer(Node):
        page: int = 0

        @handler
        def chat(self, message):
            self.page = 1
            yield sleep(1)
            self.page = 2
            raise ZeroDivisionError

    writer = Writer()
    async with home(writer) as runtime:
        await told(runtime, writer, "go")
    assert writer.page == 1


@on_a_loop
async def test_who_tells_is_not_harmed_by_what_comes_of_it():
    """Rule 10: a handler tells a node that fails: its own conversation goes on and is done."""

    class Teller(Node):
        def chat(self, message):
            yield worker.tell("bad")
            yield sleep(1)
            yield "still here"

    worker = Worker(name="Bob")
    async with home(worker) as runtime:
        conversation = runtime.send(Teller(), "go")
        assert [said.content async for said in conversation] == ["still here"]
    assert conversation.reason == "done"
    assert conversation.error is None
    assert [(one.message.content, one.node) for one in conversation.dead_letters] == [
        ("bad", worker)
    ]


@on_a_loop
async def test_an_error_that_somebody_waits_for_is_theirs():
    """Rule 10: errors go to whoever waits; the supervisor hears of none of these."""

    class Asker(Node):
        def chat(self, message):
            try:
                yield worker.ask("bad")
            except ZeroDivisionError as error:
                yield f"caught: {error}"

    log, worker = [], Worker(name="Bob")
    restart = Supervisor(strategy="restart")
    async with home(worker, supervisor=restart, observe=log.append) as runtime:
        await runtime.ask(worker, "good")
        with pytest.raises(ZeroDivisionError, match="Bob is no good"):
            await runtime.ask(worker, "bad")
        with pytest.raises(ZeroDivisionError, match="Bob is no good"):
            async for _ in runtime.send(worker, "bad"):
                pass
        assert (await runtime.ask(Asker(), "go")).content == "caught: Bob is no good"
        assert list(runtime.dead_letters) == []
    assert worker.count == 1
    assert decisions(log) == []


@kinds(*WAITING)
@on_a_loop
async def test_heard_errors_that_somebody_waited_for_count_too(handler):
    """Supervisor.heard: the asker gets the error, and the node is restarted all the same."""

    class Asker(Node):
        @handler
        def chat(self, message):
            try:
                yield worker.ask("bad")
            except ZeroDivisionError as error:
                answer = f"caught: {error}"
            return answer

    log, worker, asker = [], Worker(name="Bob"), Asker()
    restart = Supervisor(strategy="restart", heard=True)
    async with home(worker, asker, supervisor=restart, observe=log.append) as runtime:
        await runtime.ask(worker, "good")
        assert (await runtime.ask(asker, "go")).content == "caught: Bob is no good"
        assert (worker.count, worker.done) == (0, [])
        await runtime.ask(worker, "good")
        with pytest.raises(ZeroDivisionError):
            await runtime.ask(worker, "bad")
        assert (worker.count, worker.done) == (0, [])
    assert decisions(log) == ["Bob: restart", "Bob: restart"]


@on_a_loop
async def test_heard_counts_a_member_that_fails_in_a_relay():
    """Supervisor.heard: what the network is told goes to its members; the one that fails counts."""
    log = []
    ann, bob = Worker(name="Ann"), Worker(name="Bob")
    network = MapperNode(ann, bob, name="Team")
    restart = Supervisor(strategy="restart", heard=True)
    async with home(observe=log.append) as runtime:
        runtime.spawn(network, supervisor=restart)
        await runtime.ask(ann, "good")
        with pytest.raises(ExceptionGroup):
            await runtime.ask(network, "bad")
    assert ann.count == bob.count == 0
    assert decisions(log)[:2] == ["Ann: restart", "Bob: restart"]


# -- restart -------------------------------------------------------------------------------------


@on_a_loop
async def test_a_restarted_node_has_the_fields_it_had_at_the_start():
    """Supervisor: `restart`: fields as they were when it joined, lists and dicts as they were."""
    worker = Worker(name="Bob", done=["before"], tools={"saw": ["new"]})
    worker.hired = ["today"]
    before = {name: repr(value) for name, value in vars(worker).items()}
    async with home(worker, supervisor=Supervisor(strategy="restart", most=5)) as runtime:
        for _ in range(3):
            await told(runtime, worker, "saw", "hammer")
            worker.hired.append("tomorrow")
            worker.tools["saw"].append("lent")
            assert worker.count == 2
            await told(runtime, worker, "bad")
            assert (worker.count, worker.done) == (0, ["before"])
            assert worker.tools == {"saw": ["new"]}
            assert worker.hired == ["today"]
            assert not hasattr(worker, "remembered")
            assert worker.set_up == ["ready", "ready"], "model_post_init is run again"
            worker.set_up = ["ready"]
            assert {name: repr(value) for name, value in vars(worker).items()} == before


@on_a_loop
async def test_a_restart_does_not_share_lists_with_the_start():
    """Supervisor: `restart`: what is done to a list after one restart is gone after the next."""
    worker = Worker()
    async with home(worker, supervisor=Supervisor(strategy="restart")) as runtime:
        await told(runtime, worker, "a", "bad", "b", "bad")
        assert worker.done == []
        await told(runtime, worker, "c")
        assert worker.done == ["c"]


@on_a_loop
async def test_a_restarted_node_is_who_it_was():
    """Rule 12: its id, its edges and its place in a network stay: others need not know."""
    ann, bob = Worker(name="Ann"), Worker(name="Bob")
    network = MapperNode(ann, bob)
    identity, edges = ann.id, list(ann.edges)
    async with home() as runtime:
        runtime.spawn(network, supervisor=Supervisor(strategy="restart"))
        await told(runtime, ann, "bad")
        assert ann.id == identity
        assert list(ann.edges) == edges
        assert [said.content async for said in runtime.send(network, "go")] == ["go done"] * 2


@on_a_loop
async def test_a_turn_that_fails_after_a_restart_is_undone_to_that():
    """Rule 10: no assignment of the time before the restart comes back."""

    class Moody(Node):
        mood: str = "calm"

        def chat(self, message):
            self.mood = message.content
            if message.content == "angry":
                raise ZeroDivisionError

        def inform(self, message):
            raise ZeroDivisionError

    moody = Moody()
    decide = lambda node, error: moody.plan.pop() if moody.plan else None  # noqa: E731
    async with home(moody, supervisor=Supervisor(decide=decide)) as runtime:
        moody.plan = ["restart"]
        await told(runtime, moody, "happy")
        plan, moody.plan = moody.plan, []
        decide_next = plan
        moody.plan = decide_next
        await told(runtime, moody, "angry")
        assert moody.mood == "calm"
        moody.plan = []
        await told(runtime, moody, Message("go", intent="inform"))
        assert moody.mood == "calm"


@kinds(*WAITING)
@on_a_loop
async def test_who_waits_for_a_restarted_node_gets_restarted(handler):
    """Supervisor: what it is at work on, in whatever conversation, ends with `Restarted`."""

    class Asker(Node):
        @handler
        def chat(self, message):
            try:
                yield worker.ask("slow")
            except Restarted as error:
                answer = f"caught: {error}"
            return answer

    worker, asker = Worker(name="Bob"), Asker()
    async with home(worker, asker, supervisor=Supervisor(strategy="restart")) as runtime:
        inside = asyncio.ensure_future(runtime.ask(asker, "go"))
        outside = asyncio.ensure_future(runtime.ask(worker, "slow"))
        conversation = await runtime.tell(worker, "slow")
        await quiet(3)
        assert worker.count == 3
        await told(runtime, worker, "bad")
        assert (await inside).content.startswith("caught: Bob was restarted")
        with pytest.raises(Restarted, match=r"^Bob was restarted"):
            await outside
        await conversation.wait()
        assert LOG == ["Bob drops slow"] * 3
        assert worker.count == 0
        assert (await runtime.ask(worker, "good")).content == "good done"
        assert not runtime.conversations
    assert isinstance(conversation.error, Restarted)
    assert conversation.reason == "failed"


@on_a_loop
async def test_replies_that_are_being_sent_for_end_with_restarted():
    """Supervisor: what was said before is heard, then the error comes."""

    class Talker(Node):
        def chat(self, message):
            if message.content == "bad":
                raise ZeroDivisionError
            yield "one"
            yield sleep(1000)
            yield "two"

    talker, heard = Talker(name="Bob"), []
    async with home(talker, supervisor=Supervisor(strategy="restart")) as runtime:
        conversation = runtime.send(talker, "go")

        async def take():
            async for said in conversation:
                heard.append(said.content)  # noqa: PERF401  # it fails in between

        taking = asyncio.ensure_future(take())
        await quiet(3)
        await told(runtime, talker, "bad")
        with pytest.raises(Restarted):
            await taking
    assert heard == ["one"]


@on_a_loop
async def test_what_waits_in_the_mailbox_of_a_restarted_node_is_handled():
    """Supervisor: a restart ends what was begun; what was not begun is handled by the new one."""

    class Clerk(Node):
        count: int = 0

        async def chat(self, message):
            self.count = self.count + 1
            await gate.acquire()
            if message.content == "bad":
                raise ZeroDivisionError
            return f"{message.content} {self.count}"

    gate, clerk = asyncio.Semaphore(0), Clerk()
    async with home(clerk, supervisor=Supervisor(strategy="restart")) as runtime:
        await runtime.tell(clerk, "good")
        await runtime.tell(clerk, "bad")
        tasks = [asyncio.ensure_future(runtime.ask(clerk, word)) for word in "ab"]
        await quiet()
        for _ in range(4):
            gate.release()
        answers = [(await task).content for task in tasks]
    assert answers == ["a 1", "b 2"]


@on_a_loop
async def test_a_held_async_handler_of_a_restarted_node_is_cancelled():
    """Supervisor: also one that awaits something foreign; then the node is free again."""

    class Clerk(Node):
        async def chat(self, message):
            try:
                await asyncio.Event().wait()
            finally:
                LOG.append(f"{message.content} is over")

        def inform(self, message):
            return "fine"

    class Boss(Node):
        def chat(self, message):
            raise ZeroDivisionError

    boss, clerk = Boss(name="Boss"), Clerk(name="Clerk")
    network = MapperNode(boss, clerk)
    async with home() as runtime:
        all_of_them = Supervisor(strategy="restart", scope="one_for_all")
        runtime.spawn(network, supervisor=all_of_them)
        asking = asyncio.ensure_future(runtime.ask(clerk, "a"))
        await quiet()
        await told(runtime, boss, "go")
        with pytest.raises(Restarted):
            await asking
        await quiet()
        assert LOG == ["a is over"]
        answer = await runtime.ask(clerk, Message("?", intent="inform"))
        assert answer.content == "fine"


@on_a_loop
async def test_more_restarts_than_allowed_escalate():
    """Supervisor: more than `most` restarts within `seconds` escalate."""
    clock, log, worker = VirtualClock(), [], Worker(name="Bob")
    restart = Supervisor(strategy="restart", most=2, seconds=10)
    with pytest.raises(ZeroDivisionError, match="Bob is no good"):
        async with home(worker, supervisor=restart, clock=clock, observe=log.append) as runtime:
            await told(runtime, worker, "bad")
            clock.sleep(4)
            await told(runtime, worker, "bad")
            clock.sleep(5.9)
            await told(runtime, worker, "bad")
            await asyncio.sleep(5)
    assert decisions(log) == ["Bob: restart", "Bob: restart", "Bob: escalate"]


@on_a_loop
async def test_restarts_long_ago_do_not_count():
    """Supervisor: the window moves along, by the runtime's clock."""
    clock, log, worker = VirtualClock(), [], Worker(name="Bob")
    restart = Supervisor(strategy="restart", most=2, seconds=10)
    async with home(worker, supervisor=restart, clock=clock, observe=log.append) as runtime:
        for _ in range(10):
            await told(runtime, worker, "bad")
            clock.sleep(5.1)
    assert decisions(log) == ["Bob: restart"] * 10


@on_a_loop
async def test_each_supervisor_counts_its_own_restarts():
    """Supervisor: the restarts of one network are not held against another."""
    log, nodes = [], [Worker(name=name) for name in ("Ann", "Bob")]
    async with home(observe=log.append) as runtime:
        for node in nodes:
            runtime.spawn(node, supervisor=Supervisor(strategy="restart", most=2, seconds=10))
        for node in nodes * 2:
            await told(runtime, node, "bad")
    assert decisions(log) == ["Ann: restart", "Bob: restart"] * 2


# -- scopes --------------------------------------------------------------------------------------


class Member(Worker):
    """A worker who says when it is set up."""

    def model_post_init(self, context):
        LOG.append(f"{self} set up")


def team(names="ABCD", **fields):
    """A network of members, and its members."""
    members = [Member(name=name) for name in names]
    LOG.clear()
    return MapperNode(*members, **fields), members


@pytest.mark.parametrize(
    ("scope", "restarted"),
    [("one_for_one", "B"), ("one_for_all", "ABCD"), ("rest_for_one", "BCD")],
)
@on_a_loop
async def test_the_scope_says_who_is_restarted(scope, restarted):
    """Supervisor.scope: the one that failed, all, or it and those after it, in link order."""
    network, members = team()
    async with home() as runtime:
        runtime.spawn(network, supervisor=Supervisor(strategy="restart", scope=scope))
        for member in members:
            await told(runtime, member, "good")
        await told(runtime, members[1], "bad")
        assert [f"{name} set up" for name in restarted] == LOG
        assert [member.name for member in members if not member.count] == [*restarted]


@pytest.mark.parametrize(
    ("scope", "stopped"),
    [("one_for_one", "B"), ("one_for_all", "ABCD"), ("rest_for_one", "BCD")],
)
@on_a_loop
async def test_the_scope_says_who_is_stopped(scope, stopped):
    """Supervisor.scope: the same for `stop`; the others go on."""
    network, members = team()
    async with home() as runtime:
        runtime.spawn(network, supervisor=Supervisor(strategy="stop", scope=scope))
        await told(runtime, members[1], "bad")
        for member in members:
            if member.name in stopped:
                with pytest.raises(Stopped, match=f"^{member} was stopped"):
                    await runtime.ask(member, "good")
            else:
                assert (await runtime.ask(member, "good")).content == "good done"


@pytest.mark.parametrize(
    ("scope", "restarted"),
    [("one_for_one", "B"), ("one_for_all", "ABCD"), ("rest_for_one", "BCD")],
)
@on_a_loop
async def test_the_scope_holds_among_the_nodes_of_a_runtime(scope, restarted):
    """Supervisor.scope: the runtime is the network of those that are in none."""
    members = [Member(name=name) for name in "ABCD"]
    LOG.clear()
    supervisor = Supervisor(strategy="restart", scope=scope)
    async with home(*members, supervisor=supervisor) as runtime:
        await told(runtime, members[1], "bad")
    assert [f"{name} set up" for name in restarted] == LOG


@on_a_loop
async def test_siblings_that_are_restarted_drop_what_they_are_at_work_on():
    """Supervisor.scope: who waits for a sibling gets `Restarted`; those before go on."""
    network, members = team("ABC")
    async with home() as runtime:
        supervisor = Supervisor(strategy="restart", scope="rest_for_one")
        runtime.spawn(network, supervisor=supervisor)
        asks = [asyncio.ensure_future(runtime.ask(member, "slow")) for member in members]
        await quiet(3)
        await told(runtime, members[1], "bad")
        assert LOG == ["B drops slow", "B set up", "C drops slow", "C set up"]
        for ask in asks[1:]:
            with pytest.raises(Restarted):
                await ask
        assert (await asks[0]).content == "slow done"


@on_a_loop
async def test_a_network_inside_a_network_has_a_supervisor_of_its_own():
    """Supervisor: the nearest one decides; what it escalates the network around it decides."""
    inner, (ann, bob) = team(["Ann", "Bob"], name="Inner")
    outer, (carl,) = team(["Carl"], name="Outer")
    outer.join(inner)
    log = []
    async with home(observe=log.append) as runtime:
        runtime.spawn(outer, supervisor=Supervisor(strategy="restart", scope="one_for_all"))
        once = Supervisor(strategy="restart", most=1, seconds=60)
        runtime.spawn(inner, supervisor=once)
        for member in (ann, bob, carl):
            await told(runtime, member, "good")
        LOG.clear()
        await told(runtime, ann, "bad")
        assert LOG == ["Ann set up"]
        LOG.clear()
        await told(runtime, bob, "bad")  # once too often: the whole outer network begins anew
        assert LOG == ["Carl set up", "Ann set up", "Bob set up"]
        assert ann.count == bob.count == carl.count == 0
    assert decisions(log) == ["Ann: restart", "Bob: restart"]


@on_a_loop
async def test_a_network_without_a_supervisor_leaves_it_to_the_one_around_it():
    """Supervisor: then to the runtime; a member of a member has a supervisor all the same."""
    inner, (ann,) = team(["Ann"], name="Inner")
    outer, (carl,) = team(["Carl"], name="Outer")
    outer.join(inner)
    log = []
    async with home(observe=log.append) as runtime:
        runtime.spawn(outer, supervisor=Supervisor(strategy="stop"))
        await told(runtime, ann, "bad")
        with pytest.raises(Stopped):
            await runtime.ask(ann, "good")
        assert (await runtime.ask(carl, "good")).content == "good done"
    assert decisions(log) == ["Ann: stop"]


@on_a_loop
async def test_a_member_that_joins_later_is_supervised_too():
    """Supervisor: of the members of a network: of whoever is one when it fails."""
    network, (ann,) = team(["Ann"])
    dora = Worker(name="Dora")
    async with home() as runtime:
        runtime.spawn(network, supervisor=Supervisor(strategy="stop"))
        network.join(dora)
        await told(runtime, dora, "bad")
        with pytest.raises(Stopped):
            await runtime.ask(dora, "good")
        assert (await runtime.ask(ann, "good")).content == "good done"


# -- stop ----------------------------------------------------------------------------------------


@on_a_loop
async def test_a_stopped_node_takes_no_more_messages():
    """Supervisor: `stop`: who sends one gets `Stopped`, from outside and inside; others go on."""

    class Asker(Node):
        def chat(self, message):
            try:
                yield worker.ask("good")
            except Stopped as error:
                yield f"asked: {error}"
            try:
                yield worker.tell("good")
            except Stopped as error:
                yield f"told: {error}"

    worker, other = Worker(name="Bob"), Worker(name="Ann")
    asker = Asker()
    async with home(worker, other, asker, supervisor=Supervisor(strategy="stop")) as runtime:
        await told(runtime, worker, "good", "bad")
        with pytest.raises(Stopped, match=r"^Bob was stopped.*Bob is no good"):
            await runtime.ask(worker, "good")
        with pytest.raises(Stopped, match=r"^Bob was stopped"):
            await runtime.tell(worker, "good")
        with pytest.raises(Stopped, match=r"^Bob was stopped"):
            async for _ in runtime.send(worker, "good"):
                pass
        heard = [said.content async for said in runtime.send(asker, "go")]
        assert [line[:20] for line in heard] == ["asked: Bob was stopp", "told: Bob was stoppe"]
        assert (await runtime.ask(other, "good")).content == "good done"
        assert not runtime.conversations
    assert worker.count == 1


@on_a_loop
async def test_what_a_stopped_node_was_at_work_on_ends_and_what_waited_is_a_dead_letter():
    """Supervisor: `stop`: `finally` runs, askers get `Stopped`, nothing is lost in silence."""

    class Clerk(Node):
        async def chat(self, message):
            try:
                await gate.acquire()
            finally:
                LOG.append(f"{message.content} is over")
            raise ZeroDivisionError

        def inform(self, message):
            try:
                yield expect("never")
            finally:
                LOG.append(f"{message.content} is over")

    gate, clerk = asyncio.Semaphore(0), Clerk(name="Clerk")
    async with home(clerk, supervisor=Supervisor(strategy="stop")) as runtime:
        begun = asyncio.ensure_future(runtime.ask(clerk, Message("first", intent="inform")))
        await quiet()
        await runtime.tell(clerk, "bad")
        await quiet()
        waiting = await runtime.tell(clerk, "never begun")
        asking = asyncio.ensure_future(runtime.ask(clerk, "nor this"))
        await quiet()
        gate.release()
        for ask in (begun, asking):
            with pytest.raises(Stopped, match=r"^Clerk was stopped"):
                await ask
        await waiting.wait()
        assert LOG == ["bad is over", "first is over"]
        letters = {one.message.content: one.reason for one in runtime.dead_letters}
        assert not runtime.conversations
    assert waiting.reason == "failed"
    assert letters["never begun"] == "stopped"
    assert letters["bad"].startswith("failed")


@on_a_loop
async def test_a_relay_passes_over_a_stopped_member_with_its_error():
    """Rule 7: the others' replies still come, then the error of the one that is stopped."""
    network, (ann, bob) = team(["Ann", "Bob"])
    heard = []
    async with home() as runtime:
        runtime.spawn(network, supervisor=Supervisor(strategy="stop"))
        await told(runtime, ann, "bad")
        with pytest.raises(Stopped, match=r"^Ann was stopped"):
            async for said in runtime.send(network, "go"):
                heard.append(str(said))  # noqa: PERF401  # it fails in between
    assert heard == ["Bob: go done"]
    assert bob.count == 1


# -- escalate ------------------------------------------------------------------------------------


@on_a_loop
async def test_escalating_to_the_top_leaves_the_block_with_the_error():
    """Supervisor: `escalate`: the program's own code is cancelled, the block raises the error."""
    worker, cleaned = Worker(name="Bob"), []
    with pytest.raises(ZeroDivisionError, match="Bob is no good") as caught:
        async with home(worker, supervisor=Supervisor(strategy="escalate")) as runtime:
            conversation = await runtime.tell(worker, "bad")
            slow = await runtime.tell(worker, "slow")
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append("the program's own")
    assert cleaned == ["the program's own"]
    assert caught.value is conversation.error
    assert conversation.reason == "failed"
    assert slow.reason == "cancelled"
    assert LOG == ["Bob drops slow"]
    assert not asyncio.current_task().cancelling()
    await asyncio.sleep(0)  # the program goes on after the block


@on_a_loop
async def test_escalating_cancels_what_the_program_waits_for():
    """Supervisor: `escalate`: also if it waits in the runtime itself, for an answer say."""
    worker, cleaned = Worker(name="Bob"), []
    with pytest.raises(ZeroDivisionError):
        async with home(worker, supervisor=Supervisor(strategy="escalate")) as runtime:
            await runtime.tell(worker, "bad")
            try:
                await runtime.ask(worker, "slow")
            except asyncio.CancelledError:
                cleaned.append("asking")
                raise
    assert cleaned == ["asking"]
    assert LOG == ["Bob drops slow"]


@on_a_loop
async def test_what_escalates_while_the_block_is_left_is_raised_too():
    """Supervisor: `escalate`: leaving the block handles what is queued, and raises its error."""
    worker = Worker(name="Bob")
    with pytest.raises(ZeroDivisionError):
        async with home(worker, supervisor=Supervisor(strategy="escalate")) as runtime:
            await runtime.tell(worker, "bad")


@on_a_loop
async def test_the_first_error_that_escalates_is_raised():
    """Supervisor: `escalate`: two nodes fail at once: the block is left with the first error."""
    ann, bob = Worker(name="Ann"), Worker(name="Bob")
    with pytest.raises(ZeroDivisionError, match="Ann"):
        async with home(ann, bob, supervisor=Supervisor(strategy="escalate")) as runtime:
            await runtime.tell(ann, "bad")
            await runtime.tell(bob, "bad")
            await asyncio.Event().wait()


@on_a_loop
async def test_a_program_that_is_cancelled_anyway_stays_cancelled():
    """Supervisor: `escalate` hides no cancellation that came from elsewhere."""

    async def program():
        try:
            async with home(Worker()):
                await asyncio.Event().wait()
        finally:
            LOG.append(f"cancelled {asyncio.current_task().cancelling()} times")

    task = asyncio.ensure_future(program())
    await quiet()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert LOG == ["cancelled 1 times"]


@on_a_loop
async def test_a_runtime_without_a_block_raises_what_escalated_when_it_is_stopped():
    """Rule 10: nothing is only logged, also for who uses `start` and `stop`."""
    worker = Worker(name="Bob")
    runtime = home(worker, supervisor=Supervisor(strategy="escalate"))
    runtime.start()
    await runtime.tell(worker, "bad")
    await quiet()
    with pytest.raises(ZeroDivisionError):
        await runtime.stop()


@on_a_loop
async def test_an_escalation_that_a_network_settles_does_not_reach_the_program():
    """Supervisor: `escalate` goes one level up, where another supervisor may restart it all."""
    inner, (ann, bob) = team(["Ann", "Bob"], name="Inner")
    outer = MapperNode(inner, name="Outer")
    async with home() as runtime:
        runtime.spawn(outer, supervisor=Supervisor(strategy="restart"))
        runtime.spawn(inner, supervisor=Supervisor(strategy="escalate"))
        await told(runtime, bob, "good")
        await told(runtime, ann, "bad")
        assert LOG == ["Ann set up", "Bob set up"]
        assert bob.count == 0


# -- decide --------------------------------------------------------------------------------------


@on_a_loop
async def test_decide_may_name_another_strategy_by_the_error():
    """Supervisor.decide: what it names counts; None means the usual one."""

    class Fragile(Node):
        count: int = 0

        def chat(self, message):
            self.count = self.count + 1
            if message.content == "divide":
                raise ZeroDivisionError
            if message.content == "look":
                raise LookupError(message.content)

    def decide(node, error):
        asked.append((node, type(error)))
        return "restart" if isinstance(error, ZeroDivisionError) else None

    asked, log, fragile = [], [], Fragile(name="Bob")
    supervisor = Supervisor(decide=decide)
    async with home(fragile, supervisor=supervisor, observe=log.append) as runtime:
        await told(runtime, fragile, "a", "look", "b")
        assert fragile.count == 2
        await told(runtime, fragile, "divide")
        assert fragile.count == 0
    assert decisions(log) == ["Bob: resume", "Bob: restart"]
    assert asked == [(fragile, LookupError), (fragile, ZeroDivisionError)]


@pytest.mark.parametrize("answer", ["explode", 3])
@on_a_loop
async def test_decide_that_decides_nonsense_is_no_silent_failure(answer):
    """Supervisor.decide: a lesson for who wrote it; the others are not harmed."""
    worker, other = Worker(name="Bob"), Worker()
    supervisor = Supervisor(decide=lambda node, error: answer)
    async with home(worker, other, supervisor=supervisor) as runtime:
        (conversation,) = await told(runtime, worker, "bad")
        assert isinstance(conversation.error, Misused)
        assert "resume or restart or stop or escalate" in str(conversation.error)
        assert conversation.reason == "failed"
        assert (await runtime.ask(other, "good")).content == "good done"
        assert (await runtime.ask(worker, "good")).content == "good done"


@pytest.mark.parametrize(
    "given", [{"strategy": "explode"}, {"scope": "some"}, {"most": -1}, {"seconds": -1}]
)
def test_a_supervisor_that_makes_no_sense_is_refused(given):
    """Supervisor: mistakes are errors where they are made."""
    with pytest.raises(Misused):
        Supervisor(**given)


@on_a_loop
async def test_a_failing_observer_or_cleaning_harms_no_supervision():
    """Rule 10: a sibling whose `finally` fails as it is restarted does not stop the restart."""

    class Clumsy(Worker):
        def inform(self, message):
            try:
                yield expect("never")
            finally:
                raise LookupError("clumsy")

    ann, bob, carl = Clumsy(name="Ann"), Worker(name="Bob"), Worker(name="Carl")
    network: Any = MapperNode(ann, bob, carl)
    async with home() as runtime:
        supervisor = Supervisor(strategy="restart", scope="one_for_all")
        runtime.spawn(network, supervisor=supervisor)
        for node in (bob, carl):
            await told(runtime, node, "good")
        clumsy = await runtime.tell(ann, Message("go", intent="inform"))
        await quiet()
        await told(runtime, bob, "bad")
        await clumsy.wait()
        assert bob.count == carl.count == 0
        assert (await runtime.ask(bob, "good")).content == "good done"
        assert not runtime.conversations


# -- all of it together --------------------------------------------------------------------------


class Fragile(Node):
    """Works in one of several ways; fails at what is bad."""

    peer: Any = None
    count: int = 0

    def request(self, message):
        self.count = self.count + 1
        yield sleep(self.count % 3)
        if self.peer is not None and message.content.startswith("deep"):
            yield self.peer.ask(message.content)
        if message.content.endswith("bad"):
            raise ZeroDivisionError
        yield "done"

    chat = inform = request


class FragileTask(Fragile):
    async def request(self, message):
        self.count = self.count + 1
        for _ in range(self.count % 4):
            await asyncio.sleep(0)
        if self.peer is not None and message.content.startswith("deep"):
            await self.peer.ask(message.content)
        if message.content.endswith("bad"):
            raise ZeroDivisionError
        await sleep(self.count % 2)
        return "done"

    chat = inform = request


@pytest.mark.parametrize("strategy", ["resume", "restart", "stop"])
@pytest.mark.parametrize("seed", range(8))
@on_a_loop
async def test_whatever_fails_everybody_hears_of_it_and_nothing_is_left(strategy, seed):
    """Rule 10: each who waits gets an answer or a typed error; what was told ends somehow."""
    chance = random.Random(f"{seed} {strategy}")
    nodes = [chance.choice((Fragile, FragileTask))(name=str(number)) for number in range(6)]
    for one, other in pairwise(nodes):
        one.peer = other
    network = MapperNode(*nodes[:3])
    supervisor = Supervisor(
        strategy=strategy,
        scope=chance.choice(("one_for_one", "one_for_all", "rest_for_one")),
        most=10**6,
        heard=seed % 2 == 1,
    )
    words = ("good", "bad", "deep good", "deep bad")
    async with home(*nodes[3:]) as runtime:
        runtime.spawn(network, supervisor=supervisor)
        for node in nodes[3:]:
            runtime.spawn(node, supervisor=supervisor)
        tasks, told = [], []
        for _ in range(60):
            node, word = chance.choice((network, *nodes)), chance.choice(words)
            if chance.random() < 0.5:
                tasks.append(asyncio.ensure_future(runtime.ask(node, word)))
            else:
                with suppress(Stopped):
                    told.append(await runtime.tell(node, word))
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for conversation in told:
            await conversation.wait()
        await quiet()
        assert runtime.conversations == []
        if strategy != "stop":
            assert runtime._mailboxes.boxes == {}
    for outcome in outcomes:
        each = outcome.exceptions if isinstance(outcome, ExceptionGroup) else [outcome]
        for one in each:
            assert isinstance(one, Message | ZeroDivisionError | Stopped), repr(one)
    for conversation in told:
        assert isinstance(
            conversation.error, type(None) | ZeroDivisionError | Stopped | ExceptionGroup
        ), conversation.error
        assert conversation.reason == ("done" if conversation.error is None else "failed")
