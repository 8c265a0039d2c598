"""Programs for a journal, and what kills them: a store that outlives the process, kills by commit."""

import asyncio
from collections import Counter

from llambdao import (
    GroupChatNode,
    HumanNode,
    MapperNode,
    Message,
    Node,
    all_of,
    any_of,
    call,
    expect,
    sleep,
    turns,
)
from llambdao.journal import Journal, effect_key
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.runtime import Runtime


class Killed(KeyboardInterrupt):
    """The process is gone."""


class Mortal(MemoryLedger):
    """A ledger whose process dies at a commit: just before it, or just after."""

    def __init__(self, store, at=None, when="before"):
        super().__init__(store)
        self.at, self.when, self.is_dead, self.count = at, when, False, 0

    def commit(self, batch):
        if self.is_dead:
            raise Killed
        self.count += 1
        if self.count == self.at and self.when == "before":
            self.is_dead = True
            raise Killed
        super().commit(batch)
        if self.count == self.at:
            self.is_dead = True
            raise Killed

    def close(self):
        super().close()
        self.is_dead = True


class World:
    """What is outside: what effects have done there, by their keys."""

    def __init__(self):
        self.done = []
        self.store = Store()

    def effect(self, what):
        """Something done outside, once."""
        self.done.append((what, effect_key()))
        return f"{what} done"

    async def slow_effect(self, what):
        """The same, later."""
        await asyncio.sleep(0)
        return self.effect(what)


class Clock:
    """A clock of a test: it goes on when told, and is the same for the next process."""

    def __init__(self):
        self.time, self.salts = 1_800_000_000_000_000_000, 0

    def now(self):
        return self.time

    def salt(self):
        self.salts += 1
        return self.salts

    def sleep(self, seconds):
        self.time += round(seconds * 1e9)


async def live(case, world, ledger, clock):
    """One life of a program: everything it is told, and all it waits for, until nothing is left."""
    nodes = case.nodes(world)
    journal = Journal(ledger)
    async with Runtime(*nodes, journal=journal, clock=clock, watchdog=None) as runtime:
        for number, (node, message) in enumerate(case.messages(nodes)):
            await runtime.tell(node, message.but(id=f"m{number}"))
        for _ in range(200):
            await runtime.settle()
            if not await case.help(runtime):
                if not runtime._timers.heap:
                    break
                for _ in range(40):  # a virtual clock goes on once it is quiet
                    await asyncio.sleep(0)
        said = {
            f"m{number}": [one.content for one in await runtime.replies(f"m{number}")]
            for number in range(len(case.messages(nodes)))
        }
        return said, case.state(nodes), runtime.dead_letters.kept


def run(case, world, at=None, when="before", clock=None):
    """One life; None if it was killed."""
    ledger = Mortal(world.store, at, when)
    loop = asyncio.new_event_loop()
    try:
        result = loop.run_until_complete(live(case, world, ledger, clock or Clock()))
    except Killed:
        result = None
    finally:
        world.store.owner = None
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False
        bury(loop)
    return result, ledger.count


def bury(loop):
    """A loop whose process is gone: nothing of it runs any longer."""
    loop._ready.clear()
    loop._scheduled.clear()
    loop.close()


class Case:
    """A program, what it is told, and who helps it on."""

    def nodes(self, world):
        raise NotImplementedError

    def messages(self, nodes):
        return [(nodes[0], Message("go", intent="request"))]

    def state(self, nodes):
        return [
            {k: str(v) for k, v in sorted(vars(n).items()) if k not in ("world",)} for n in nodes
        ]

    async def help(self, runtime):
        """Do one thing for it; False if nothing is left to do."""
        for question in await runtime.pending():
            await runtime.answer(question.id, f"yes {question.content}", by=question.who)
            return True
        return False
