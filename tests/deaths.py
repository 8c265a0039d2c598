"""Programs for a journal, as `crash_points` kills them; the programs are in `mortals.py`."""

import asyncio

from llambdao import Message


class Case:
    """A program, what it is told, and who helps it on."""

    def nodes(self, life):
        raise NotImplementedError

    def messages(self, nodes):
        return [(nodes[0], Message("go", intent="request"))]

    def state(self, nodes):
        return [
            {k: str(v) for k, v in sorted(vars(n).items()) if k not in ("life",)} for n in nodes
        ]

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
