"""`continue_as`: a conversation without end, of which no more is remembered each day."""

import asyncio

import pytest

from deaths import Town
from llambdao import HumanNode, Message, Node, ask, call, sleep
from llambdao.kernel.errors import Misused
from llambdao.runtime import Runtime
from llambdao.testing import crash_points


class Caretaker(Node):
    """Makes his round every day, and asks now and then."""

    boss: Node
    rounds: int = 0

    def request(self, message):
        day = int(message.content)
        self.rounds += 1
        did = yield call(self.life.did, "round")
        yield f"day {day}: {did}"
        if day % 2:
            answer = yield self.boss.ask(f"all well on day {day}?")
            yield answer.content
        yield sleep(24 * 3600)
        if day < 5:
            yield self.continue_as(str(day + 1))


def caretaker(life):
    """A caretaker and his boss."""
    node = Caretaker(name="caretaker", boss=HumanNode(name="Ann"))
    node.life = life
    return node


async def program(life):
    """Five days."""
    node = caretaker(life)
    async with life.runtime(node) as runtime:
        await runtime.tell(node, Message("1", intent="request", id="m"))
        await life.settle(runtime, lambda question: "yes")
        keys = sorted({key for _, key in life.effects})
        return await runtime.replies("m"), node.rounds, keys


async def plain(life):
    """What was said in them."""
    replies, rounds, keys = await program(life)
    return [said.content for said in replies], rounds, keys


WHOLE = [
    "day 1: round done", "yes", "day 2: round done", "day 3: round done", "yes",
    "day 4: round done", "day 5: round done", "yes",
]  # fmt: skip


def test_killed_at_every_commit_it_goes_on():
    """Each day once, each effect with a key of its own."""
    assert Town().live(plain) == (WHOLE, 5, [f"m/caretaker/{n}" for n in range(1, 6)])
    crash_points(plain)


def test_what_was_before_is_forgotten():
    """On the fifth day there are no more steps to take again than on the first."""
    town = Town()
    most = []

    async def counted(life):
        commit = town.ledger.ledger.commit

        def counting(batch):
            commit(batch)
            most.append(sum(map(len, town.store.steps.values())))

        town.ledger.ledger.commit = counting
        return await plain(life)

    assert town.live(counted)[0] == WHOLE
    assert max(most) <= 4


def test_who_asks_waits_for_the_end_of_it_all():
    """Its last reply is the answer, with a journal and without."""

    class Down(Node):
        def request(self, message):
            yield message.content
            if message.content != "0":
                yield self.continue_as(str(int(message.content) - 1))

    async def asked(life):
        down = Down(name="down")
        async with life.runtime(down) as runtime:
            answer = await runtime.ask(down, Message("100", intent="request"))
            heard = [
                said.content async for said in runtime.send(down, Message("100", intent="request"))
            ]
            return answer.content, len(heard)

    async def without():
        down = Down(name="down")
        async with Runtime(down, watchdog=None) as runtime:
            return (await runtime.ask(down, Message("100", intent="request"))).content

    assert Town().live(asked) == ("0", 101)
    assert asyncio.run(without()) == "0"
    assert ask(Down(), Message("20000", intent="request")).content == "0"


def test_it_is_for_the_first_handler_of_a_conversation():
    """Who was asked by another node cannot."""

    class Inner(Node):
        def request(self, message):
            yield self.continue_as("again")

    class Outer(Node):
        inner: Node

        def request(self, message):
            yield (yield self.inner.ask("go"))

    with pytest.raises(Misused, match="for the handler of the message that opened"):
        ask(Outer(inner=Inner()), Message("go", intent="request"))
