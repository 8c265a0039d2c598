"""Programs for a journal, as `crash_points` kills them; the programs are in `mortals.py`."""

import asyncio

from llambdao import Message
from llambdao.journal.memory import MemoryLedger, Store
from llambdao.testing import Killed, Life
from llambdao.testing._life import Mortal, Outside, live


class Case:
    """A program, what it is told, and who helps it on."""

    def nodes(self, life):
        raise NotImplementedError

    def messages(self, nodes):
        return [(nodes[0], Message("go", intent="request"))]

    def state(self, nodes):
        return [{k: str(v) for k, v in sorted(vars(n).items()) if k != "life"} for n in nodes]

    def answer(self, question):
        return f"yes {question.content}"

    async def help(self, runtime):
        """Do one thing for it; False if nothing is left to do."""
        return False

    def options(self):
        return {}

    async def program(self, life):
        """Everything it is told, at once, and all it waits for: what came of it."""
        nodes = self.nodes(life)
        messages = self.messages(nodes)
        async with life.runtime(*nodes, **self.options()) as runtime:
            tells = [
                runtime.tell(node, message.but(id=f"m{number}"))
                for number, (node, message) in enumerate(messages)
            ]
            await asyncio.gather(*tells)
            while True:
                await life.settle(runtime, self.answer)
                if not await self.help(runtime):
                    break
            said = {
                f"m{number}": [one.content for one in await runtime.replies(f"m{number}")]
                for number in range(len(messages))
            }
            return said, self.state(nodes), sorted(set(life.effects))


class Town:
    """A store, the time and the world outside: what outlives the programs that live in it."""

    def __init__(self, ledger=None):
        self.store = Store()
        self.outside = Outside()
        self.open = ledger or (lambda: MemoryLedger(self.store))
        self.ledger = None

    def live(self, program, at=0, when="before"):
        """What a program comes to; None if it was killed."""
        self.ledger = Mortal(self.open(), at, when)
        try:
            return live(program, Life(self.ledger, self.outside))
        except Killed:
            return None

    def told(self, node, message="go", *, answer=None, at=0, when="before", **options):
        """A node is told something, the same in each life: what it said, and how it stands."""

        async def program(life):
            node.life = life
            async with life.runtime(node, **options) as runtime:
                await runtime.tell(node, Message(message, intent="request", id="m"))
                await life.settle(runtime, answer)
                return await outcome(runtime)

        return self.live(program, at, when)

    def found(self, id_="m"):
        """The conversation of a message, as it is stored."""
        (found,) = MemoryLedger(self.store).find(id_)
        return found


async def outcome(runtime, id_="m"):
    """What a conversation has said to the outside, and how it stands."""
    said = [one.content for one in await runtime.replies(id_)]
    (found,) = runtime.journal.ledger.find(id_)
    ending = found.ending
    if ending is None:
        return said, found.stand.status
    error = ending.error and f"{ending.error['kind']}: {ending.error['text']}"
    return said, error or ending.reason
