"""Rule 15: the plain driver is deterministic, ids and timestamps included when a clock is given."""

import os
import subprocess
import sys

import pytest

from clock import FakeClock
from drivers import DRIVERS, every_driver
from kinds import ALL, KINDS, kinds
from llambdao import GroupChatNode, MapperNode, Message, Node, all_of, heard, sleep, turns
from transcript import Notebook


def program(handler):
    """A table, a mapper and an editor, who ask, tell, sleep and draw lots."""

    class Sage(Node):
        @handler
        def chat(self, message):
            yield f"{self.name} wonders about {message.content[:20]}"

        @handler
        def query(self, message):
            yield f"{self.name} knows"

        @handler
        def inform(self, message):
            yield Message("noted", intent="chat")

    class Editor(Node):
        def chat(self, message):
            yield f"noted by {message.sender}"

        def request(self, message):
            yield sages[0].tell("news")
            answers = yield all_of(*(sage.ask("?", intent="query") for sage in sages))
            yield ", ".join(answer.content for answer in answers)
            yield sleep(1.5)
            yield f"{self.random().random()} {self.uuid()} {self.now()}"
            yield table.ask("the end", intent="chat", every=True)

    sages = [Sage(name=name) for name in ("Rumi", "Lao Tzu", "Marcus")]
    table = GroupChatNode(*sages, until=turns(5) | heard("silence"))
    return MapperNode(Editor(name="Ed"), Editor(name="Eve"))


def record(drive, handler):
    """All that can be seen of one run of the program."""
    log = Notebook()
    opening = Message("go", intent="request")
    outcome = drive(lambda: program(handler).receive(opening, clock=FakeClock(), observe=log))
    said = [(one.content, one.id, one.timestamp, one.intent) for one in outcome.replies]
    return said, log.said, [event.message.id for event in log.of("said")]


@every_driver
@kinds(*ALL)
def test_twice_the_same(handler, drive):
    """Rule 15: the same program, message and clock: the same words, ids and times."""
    once = record(drive, handler)
    assert len(once[0]) == 4
    assert record(drive, handler) == once


@kinds(*ALL)
def test_the_same_as_with_generators_on_the_plain_driver(handler):
    """Rule 15 and 2: one meaning, whatever the kind and the driver, down to the ids."""
    expected = record(DRIVERS["plain"], KINDS["generator"])
    for drive in DRIVERS.values():
        assert record(drive, handler) == expected


def test_chance_is_the_same_again():
    """Rule 15: `self.random()` and `self.uuid()` follow from the conversation and its clock."""

    class Gambler(Node):
        def chat(self, message):
            yield f"{self.random().randrange(10**9)} {self.uuid()}"
            yield f"{self.random().randrange(10**9)} {self.uuid()}"

    def play(clock):
        return [said.content for said in Gambler().receive("go", clock=clock)]

    clock = FakeClock()
    one, two = play(clock), play(clock)
    assert len({*one, *two}) == 4
    assert play(FakeClock()) == one


@pytest.mark.parametrize("seed", ["0", "1", "42"])
def test_hash_randomisation_changes_nothing(seed):
    """Rule 15: nor does anything depend on the order of sets."""
    code = (
        "from llambdao import MapperNode, Node, Message\n"
        "class N(Node):\n"
        "    def chat(self, m):\n"
        "        yield self.name\n"
        "        yield Message('x', metadata={'a': 1, 'b': 2}).but(content='y')\n"
        "class Clock:\n"
        "    now = staticmethod(lambda: 10**18)\n"
        "    salt = staticmethod(lambda: 7)\n"
        "    sleep = staticmethod(lambda seconds: None)\n"
        "for said in MapperNode(*(N(name=n) for n in 'abc')).receive('go', clock=Clock()):\n"
        "    print(said.id, said.content)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["a", "y", "b", "y", "c", "y"]
    assert len({line.split()[0][:24] for line in done.stdout.splitlines()}) == 1
