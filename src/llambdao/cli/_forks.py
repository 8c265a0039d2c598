"""`llambdao replay`, `fork`, `resume`: a journal, and the program that goes with it."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

from llambdao.cli._load import names_in, roots
from llambdao.cli._rooms import journal_of, line, picked
from llambdao.console._screen import seen
from llambdao.journal.handles import Hearing
from llambdao.journal.room import Room
from llambdao.runtime.runtime import Runtime

__all__ = ["fork", "replay", "resume"]

LOOK = 0.05
"""Every so many seconds `resume --forever` looks whether something was said."""


def replay(given: Any) -> int:
    """Take the steps of a conversation again, and show them; 1 if something is different."""
    names = names_in(given.file)
    with Room(journal_of(given, names)) as room:
        number = picked(given.id, [one.id for one in room.conversations()])
        found = room.replay(number, *roots(names, given.file))
    if given.json:
        print(json.dumps(found.dict(), ensure_ascii=False, default=str))
        return int(bool(found.difference))
    for step in found.steps:
        at = step.at.replace(tzinfo=None).isoformat(" ", "seconds")
        print(f"step {step.number}, {at}: {seen(', '.join(step.inputs)) or 'it began'}")
        for said in step.said:
            print(f"  {' '.join(seen(str(said)).split())}")
        for call in step.calls:
            print(f"  calls {call}")
    print()
    if found.difference:
        print(seen(found.difference))
    else:
        print(f"{given.file} does all of it again")
    return int(bool(found.difference))


def fork(given: Any) -> int:
    """Have something else said in a conversation, and show how it goes on."""
    names = names_in(given.file)
    with Room(journal_of(given, names)) as room:
        number = picked(given.id, [one.id for one in room.conversations()])
        at = given.at and picked(given.at, [one.message.id or "" for one in room.log(number)])
        nodes = roots(names, given.file)
        forked = room.fork(number, *nodes, says=given.say, at=at, effects=given.effects)
    conversation = forked.conversation(forked.id)
    if given.json:
        for said in forked.log():
            data = {"edited": said.n == forked.edited, **said.dict()}
            print(json.dumps(data, ensure_ascii=False, default=str))
        return int(conversation.error is not None)
    for said in forked.log():
        mark = " " if said.n < forked.edited else "*" if said.n == forked.edited else "+"
        print(f"{mark} {' '.join(seen(str(said)).split())}")
    for question in forked.pending():
        print(f"? waits for {seen(question.who.id)}: {seen(question.content)}")
    if conversation.error is not None:
        sys.stderr.write(
            f"llambdao: {type(conversation.error).__name__}: {seen(str(conversation.error))}\n"
        )
    return int(conversation.error is not None)


def resume(given: Any) -> int:
    """Run a program on its journal."""
    names = names_in(given.file)
    url = journal_of(given, names)
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(given, roots(names, given.file), url))
    return 0


async def _run(given: Any, nodes: list[Any], url: str) -> None:
    async with Runtime(*nodes, journal=url) as runtime:
        said = _Said(runtime.journal, as_json=given.json)
        if given.forever:
            telling = asyncio.ensure_future(said.go_on())
            await runtime.forever()
            telling.cancel()
        await runtime.settle()
        said.tell()
        waiting = [] if given.json else await runtime.pending()
        for question in waiting:
            print(f"waits for {seen(str(question.who))}: {seen(question.content)}")
        stuck = [] if given.json else runtime.journal.ledger.conversations("stuck")
        for found in stuck:
            print(f"{found.opening.id} is stuck: llambdao stuck")


class _Said:
    """Prints what is said from now on, once it is written."""

    def __init__(self, journal: Any, *, as_json: bool) -> None:
        self.journal, self.as_json = journal, as_json
        self.hearings: dict[int, Hearing] = {}
        self.after = 0
        while lines := journal.ledger.lines(None, self.after, 1000):
            self.after = lines[-1].seq

    def tell(self) -> None:
        """Print what was said since the last time."""
        ledger = self.journal.ledger
        for one in ledger.lines(None, self.after):
            self.after = one.seq
            if one.key not in self.hearings:
                hearing = self.hearings[one.key] = Hearing(
                    ledger.conversation(one.key).opening, self.journal
                )
                for earlier in ledger.lines(one.key):
                    if earlier.seq < one.seq:
                        hearing(earlier)
            for said in self.hearings[one.key](one):
                if self.as_json:
                    print(json.dumps(said.dict(), ensure_ascii=False), flush=True)
                else:
                    print(line(said), flush=True)

    async def go_on(self) -> None:
        """Print it again and again."""
        while True:
            self.tell()
            await asyncio.sleep(LOOK)
