"""States that nobody will read again are not kept."""

import asyncio

import pytest

from llambdao import HumanNode, Message, Node
from llambdao.journal import Journal
from llambdao.journal.garbage import Garbage
from llambdao.journal.ledger import Batch, Ending, Step
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.runtime import Runtime


class Keeper(Node):
    """Keeps the last three it hears, and asks its boss if there is one."""

    heard: list[Message] = []
    boss: Node | None = None

    def request(self, message):
        self.heard = [*self.heard, message][-3:]
        if self.boss is None:
            yield str(len(self.heard))
        else:
            answer = yield self.boss.ask("May I?")
            yield f"{answer.content}, {len(self.heard)}"


def live(store, program, **fields):
    """One life of a keeper: `program(runtime, keeper)`."""

    async def main():
        keeper = Keeper(name="keeper", **fields)
        async with Runtime(keeper, journal=Journal(MemoryLedger(store)), watchdog=None) as runtime:
            return await program(runtime, keeper)

    return asyncio.run(main())


def words(number):
    """A message long enough to be stored by itself."""
    return Message(f"{number} {'x' * 300}", intent="request", id=f"m{number}")


def test_a_node_that_changes_often_leaves_its_last_state():
    """One state and its three parts, however many there have been."""
    store = Store()

    async def program(runtime, keeper):
        for number in range(20):
            await runtime.ask(keeper, words(number))

    live(store, program)
    assert len(store.values) == 1 + 3


def test_what_an_open_conversation_has_seen_is_kept_until_it_ends():
    """Brought back after a restart each finds the state it saw; answered, it lets go of that."""
    store = Store()

    async def ask(runtime, keeper):
        for number in range(6):
            await runtime.tell(keeper, words(number))

    async def answer(runtime, keeper):
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by="Ann")
        await runtime.settle()
        return [(await runtime.replies(f"m{number}"))[0].content for number in range(6)]

    live(store, ask, boss=HumanNode(name="Ann"))
    assert len(store.values) == 6 + 6
    assert live(store, answer, boss=HumanNode(name="Ann")) == ["yes, 3"] * 6


def test_answered_in_the_same_life_they_let_go_at_once():
    """Nothing is left but the state the node is in."""
    store = Store()

    async def program(runtime, keeper):
        for number in range(6):
            await runtime.tell(keeper, words(number))
        assert len(store.values) == 6 + 6
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by="Ann")
        await runtime.settle()

    live(store, program, boss=HumanNode(name="Ann"))
    assert len(store.values) == 1 + 3


class Switch(Node):
    """Is on or off, and says which once its boss agrees."""

    on: bool = False
    boss: Node

    def inform(self, message):
        self.on = not self.on

    def request(self, message):
        was = self.on
        answer = yield self.boss.ask("May I say it?")
        yield f"{answer.content}: it was {'on' if was else 'off'}"


def test_what_a_conversation_of_an_earlier_life_has_seen_is_kept():
    """Also if the node comes into that state again, and out of it."""
    store = Store()

    def live_with(program):
        async def main():
            switch = Switch(name="switch", boss=HumanNode(name="Ann"))
            journal = Journal(MemoryLedger(store))
            async with Runtime(switch, journal=journal, watchdog=None) as runtime:
                return await program(runtime, switch)

        return asyncio.run(main())

    async def ask(runtime, switch):
        await runtime.tell(switch, Message("switch", intent="inform"))
        await runtime.tell(switch, Message("which?", intent="request", id="which"))

    async def play(runtime, switch):
        for _ in range(3):
            await runtime.tell(switch, Message("switch", intent="inform"))
        assert not switch.on

    async def answer(runtime, switch):
        [question] = await runtime.pending()
        await runtime.answer(question.id, "yes", by="Ann")
        await runtime.settle()
        return [said.content for said in await runtime.replies("which")]

    live_with(ask)
    live_with(play)
    assert live_with(answer) == ["yes: it was on"]


def test_a_state_that_comes_again_is_there():
    """Two nodes, or one that goes back and forth: it is kept as long as one is in it."""
    garbage = Garbage()
    body = {"a": b'{"x":{"#":"part"}}', "b": b'{"x":{"#":"part"}}', "part": b'"long"'}

    def write(states, **more):
        batch = Batch(states=states, values={**body}, **more)
        garbage.sort_out(batch)
        return sorted(batch.dropped)

    assert write({"ann": "a", "bob": "a"}) == []
    assert write({"ann": "b"}) == []
    assert write({"bob": "b"}) == ["a"]
    assert write({"ann": "a"}) == []
    assert write({"ann": "b"}) == ["a"]
    assert write({"ann": "", "bob": ""}) == ["b", "part"]


@pytest.mark.parametrize("is_over", [True, False])
def test_a_step_of_a_conversation_that_ends_with_it_needs_nothing(is_over):
    """Only those that stay open do."""
    garbage = Garbage()
    garbage.sort_out(Batch(states={"ann": "a"}, values={"a": b"{}"}))
    step = Step(1, 0, 0, b"[]", {"ann": "a"})
    endings = [Ending(1, 0, "done")] if is_over else []
    batch = Batch(states={"ann": "b"}, values={"b": b"{}"}, steps=[step], endings=endings)
    garbage.sort_out(batch)
    assert batch.dropped == (["a"] if is_over else [])
