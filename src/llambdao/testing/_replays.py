"""`replay_always`: a journal that takes every step again at once, and compares."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from llambdao.journal import Journal
from llambdao.journal.conversation import Recorded
from llambdao.journal.errors import Differs
from llambdao.journal.ledger import Found, Opening, Stand, Step
from llambdao.journal.memory import MemoryLedger
from llambdao.journal.replaying import begin_again
from llambdao.journal.writing import Writing

__all__ = ["replay_always"]


def replay_always(journal: Any = None) -> Journal:
    """A journal for tests: after each step the whole conversation is replayed, and compared.

    `Runtime(*nodes, journal=replay_always())`. What a handler says, calls and writes into the
    fields of nodes must be the same again. If it is not (it has asked the time or chance otherwise
    than by `self.now()` and `self.random()`, has done I/O outside of `call`, counts in a closure or
    a global, or keeps a list of `self` over a `yield`), the runtime ends with `Differs`, which
    shows what it was and what it is. `journal` is the URL of a store; in memory unless given.

    >>> import asyncio, random
    >>> from llambdao import Message, Node, Runtime, sleep
    >>> class Gambler(Node):
    ...     def request(self, message):
    ...         yield sleep(0)
    ...         yield str(random.random())
    >>> async def main():
    ...     gambler = Gambler(name="gambler")
    ...     async with Runtime(gambler, journal=replay_always()) as runtime:
    ...         await runtime.ask(gambler, Message("a number", intent="request"))
    >>> asyncio.run(main())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    llambdao.journal.errors.Differs: gambler does something else now than it did in step 1 of ...
    - gambler to all: inform '0...
    + gambler to all: inform '0...
    """
    return AlwaysReplaying(MemoryLedger() if journal is None else journal)


class Taken(msgspec.Struct):
    """A step, and the states in which it left the nodes it touched."""

    step: Step
    ends: bool
    after: dict[str, str]


class Noting(Writing):
    """Keeps what a journal writes of each step."""

    journal: Any

    def step(self, c: Recorded, inputs: Any, status: str, begun: list[Any]) -> Step:
        """Put the step into the batch, and keep it."""
        journal = self.journal
        of, states = journal.addresses.of, journal.states
        nodes = [node for node, _ in c._touched.values()]
        after = {of(node): states.hash(node) for node in nodes if of(node) is not None}
        if c._opening.key not in journal.openings:
            unsaid = c._message.but(id=c._opening.id if c._opening.is_given else None)
            data = journal.codec.encode(unsaid, "the message")
            journal.openings[c._opening.key] = replace(c._opening, message=data)
        step = super().step(c, inputs, status, begun)
        journal.taken.setdefault(c._opening.key, []).append(Taken(step, status == "over", after))
        return step


class AlwaysReplaying(Journal):
    """Takes every step again, as soon as it is written."""

    def __init__(self, url: Any) -> None:
        super().__init__(url)
        self.writing = Noting(self)
        self.openings: dict[int, Opening] = {}
        self.taken: dict[int, list[Taken]] = {}
        self.replays = 0

    def _put(self, key: str, data: bytes) -> None:
        super()._put(key, data)
        self.states._decoded[key] = data  # also what no step needs any longer that is stored

    def _show(self, c: Recorded, status: str, said: list[Any], begun: list[Any]) -> None:
        key = c._opening.key
        if key in self.taken and not c._is_left:
            try:
                self._again(key)
            except Exception as error:  # whatever it is, the test is to fail
                self.runtime._crash(error)
                return
        if status == "over":
            self.taken.pop(key, None)
            self.openings.pop(key, None)
        super()._show(c, status, said, begun)

    def _again(self, key: int) -> None:
        """Take all its steps again, into a conversation that nobody sees."""
        opening = self.openings[key]
        again = begin_again(self, Found(opening, Stand(key, "ready")))
        self.replays += 1
        with again:
            for taken in self.taken[key]:
                again.take(taken.step, ends=taken.ends)
                for address, then in taken.after.items():
                    now = self.states.look(self.addresses.node(address))
                    if now != then:
                        raise Differs(self._state_differs(address, then, taken.step.number))
            again.close()

    def _state_differs(self, address: str, then: str, number: int) -> str:
        node = self.addresses.node(address)
        now = self.states.shown(node)
        was = self.states.shown(node, then)
        text = [f"{address} is in another state now than it was after step {number}:"]
        for name in sorted(now.keys() | was.keys()):
            before, after = was.get(name, "(as at first)"), now.get(name, "(as at first)")
            if before != after:
                text += [f"- {name}: {before:.200}", f"+ {name}: {after:.200}"]
        return "\n".join(text)
