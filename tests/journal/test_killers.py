"""A message that takes the process with it is parked after three deaths; the others go on."""

import pytest

from deaths import Town, outcome
from llambdao import HumanNode, Message, Node, call, sleep
from llambdao.journal import JournalError
from llambdao.journal.memory import MemoryLedger
from llambdao.testing import Killed


class Bomb(Node):
    """Goes off when it hears `kill`, after whatever it waited for."""

    peer: Node | None = None
    heard: int = 0

    def request(self, message):
        how = message.content.partition(" ")[2]
        if how == "timer":
            yield sleep(60)
        elif how == "door":
            pass
        elif how == "call":
            yield call(self.fuse, message.content)
        elif how == "answer":
            yield self.peer.ask("go on?")
        else:
            yield sleep(0)
        self.heard += 1
        if message.content.startswith("kill"):
            raise Killed
        yield f"{message.content} {self.heard}"

    def fuse(self, content):
        if content.startswith("kill"):
            raise Killed


def lives(town, *messages, answers=False):
    """One life after the other until one of them has an end: how many were killed, and the end."""

    async def program(life):
        bomb = Bomb(name="bomb", peer=HumanNode(name="Ann"))
        async with life.runtime(bomb) as runtime:
            for message in messages:
                told = Message(message, intent="request", id=message)
                if not runtime.journal.ledger.find(message):
                    await runtime.tell(bomb, told)
            await life.settle(runtime, (lambda question: "yes") if answers else None)
            return [await outcome(runtime, message) for message in messages]

    for deaths in range(10):
        if (end := town.live(program)) is not None:
            return deaths, end
    raise AssertionError("it dies for ever")


PARKED = ([], "parked")


@pytest.mark.parametrize("how", ["kill", "kill timer", "kill call"])
def test_who_kills_the_process_is_parked_after_three_deaths(how):
    """At once, by its timer, in its call: and there is a dead letter that says why."""
    town = Town()
    assert lives(town, how) == (3, [PARKED])
    assert town.found(how).stand.why == "the process has died 3 times while this was under way"
    assert [letter.reason for letter in town.store.letters] == [town.found(how).stand.why]
    assert lives(town, how) == (0, [PARKED])


def test_who_is_killed_by_an_answer_is_parked_as_well():
    """The first death nobody knows of: the answer was not recorded. Who was asked is told."""
    town = Town()
    with pytest.raises(JournalError, match="llambdao stuck"):
        lives(town, "kill answer", answers=True)
    assert town.found("kill answer").stand.attempts == 3
    assert lives(town, "kill answer") == (0, [PARKED])


@pytest.mark.parametrize("how", ["kill", "kill timer", "kill call"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_the_innocent_go_on(how, place):
    """Whoever was under way with it, before it or behind it."""
    town, kind = Town(), how.removeprefix("kill")
    others = [f"{name}{kind}" for name in "abcd"]
    messages = [*others[:place], how, *others[place:]]
    deaths, ends = lives(town, *messages)
    assert deaths == 3
    assert ends.pop(place) == PARKED
    assert sorted(end for _, end in ends) == ["done"] * 4
    assert sorted(int(said[0].split()[-1]) for said, _ in ends) == [1, 2, 3, 4]


def test_a_clean_end_suspects_nobody():
    """Whatever waits when the program ends is not tried, nor counted."""
    town = Town()
    for _ in range(5):

        async def program(life):
            bomb = Bomb(name="bomb", peer=HumanNode(name="Ann"))
            async with life.runtime(bomb) as runtime:
                await runtime.tell(bomb, Message("a answer", intent="request", id="m"))
                await runtime.settle()
                return await outcome(runtime)

        assert town.live(program) == ([], "waits")
    assert town.found().stand.attempts == 0


def test_what_another_process_told_is_parked_as_well():
    """The first death nobody knows of: it lay at the door, and was not recorded."""
    town = Town()
    for content in ("a door", "kill door", "b door"):
        body = {"content": content, "intent": "request", "id": content}
        told = {"node": "bomb", "message": body, "id": content}
        MemoryLedger(town.store).knock("tell", told, 0)

    async def program(life):
        bomb = Bomb(name="bomb")
        async with life.runtime(bomb) as runtime:
            await life.settle(runtime)
            return [await outcome(runtime, f"{name} door") for name in ("a", "kill", "b")]

    deaths = 0
    while (end := town.live(program)) is None:
        deaths += 1
        assert deaths < 10, "it dies for ever"
    assert deaths == 3
    assert end == [(["a door 1"], "done"), PARKED, (["b door 2"], "done")]
