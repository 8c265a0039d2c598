"""States that another has followed before anybody wrote them down."""

import asyncio
import sqlite3

from llambdao import HumanNode, Message, Node
from llambdao.runtime import Runtime


class Keeper(Node):
    """Keeps what it hears."""

    heard: list[Message] = []

    def request(self, message):
        self.heard = [*self.heard, message]
        yield str(len(self.heard))

    def query(self, message):
        yield " ".join(one.content[0] for one in self.heard)


class Asker(Keeper):
    """Keeps what it hears, and asks whether it may."""

    boss: Node

    def request(self, message):
        self.heard = [*self.heard, message]
        answer = yield self.boss.ask("May I?")
        yield f"{answer.content} to {len(self.heard)}"


class Hoarder(Keeper):
    """Takes up again the very object that it had let go."""

    def request(self, message):
        HOARD.append(message)
        self.heard = HOARD[:1]
        yield "kept"

    def inform(self, message):
        self.heard = []


HOARD = []


def said(letter, **more):
    """A long message, which is stored by itself."""
    return Message(letter * 300, intent="request", **more)


def run(folder, program, node):
    """A program with this node and its journal."""

    async def main():
        async with Runtime(node, journal=f"sqlite:///{folder}/room.db") as runtime:
            return await program(runtime)

    return asyncio.run(main())


async def look(runtime):
    """What the node keeps."""
    return str(await runtime.ask(runtime.nodes[0], Message("?", intent="query")))


def test_of_the_states_of_one_commit_the_last_is_written(tmp_path):
    """Sixty asks at once leave one state, and the messages it holds."""

    async def ask_at_once(runtime):
        await asyncio.gather(*(runtime.ask(runtime.nodes[0], said("a")) for _ in range(60)))

    run(tmp_path, ask_at_once, Keeper(name="keeper"))
    file = sqlite3.connect(tmp_path / "room.db")
    assert file.execute("select count(*) from value").fetchall() == [(61,)]
    file.close()
    assert run(tmp_path, look, Keeper(name="keeper")) == "keeper: " + " ".join("a" * 60)


def test_a_state_that_a_waiting_conversation_saw_is_written(tmp_path):
    """Three begin in one commit: each is brought back with what the node knew then."""

    async def begin(runtime):
        asker = runtime.nodes[0]
        await asyncio.gather(*(runtime.tell(asker, said(one, id=one)) for one in "abc"))
        await runtime.settle()

    async def answer(runtime):
        for question in await runtime.pending():
            await runtime.answer(question.id, "yes", by="Ann")
        await runtime.settle()
        return [str(one) for name in "abc" for one in await runtime.replies(name)]

    run(tmp_path, begin, Asker(name="asker", boss=HumanNode(name="Ann")))
    found = run(tmp_path, answer, Asker(name="asker", boss=HumanNode(name="Ann")))
    assert found == ["asker: yes to 3"] * 3


def test_what_is_kept_again_after_it_was_let_go_is_written(tmp_path):
    """It was left out, for nobody held it any longer as the commit came; now somebody does."""
    HOARD.clear()

    async def keep_twice(runtime):
        hoarder = runtime.nodes[0]
        await asyncio.gather(
            runtime.ask(hoarder, said("a")),
            runtime.tell(hoarder, Message("let go", intent="inform")),
        )
        await runtime.ask(hoarder, said("b"))

    run(tmp_path, keep_twice, Hoarder(name="hoarder"))
    assert run(tmp_path, look, Hoarder(name="hoarder")) == "hoarder: a"
