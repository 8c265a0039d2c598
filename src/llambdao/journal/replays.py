"""`replay`: what a conversation has done, step by step, and whether a program would do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from llambdao.journal.effects import digest_of, name_of
from llambdao.journal.errors import JournalError
from llambdao.journal.handles import Hearing, Said
from llambdao.journal.journal import Journal
from llambdao.journal.ledger import Found, Step
from llambdao.journal.replaying import begin_again, read_inputs
from llambdao.kernel.node import Node
from llambdao.runtime.questions import moment
from llambdao.runtime.runtime import Runtime

__all__ = ["Replayed", "Taken", "Watched", "replayed"]


class Taken(Struct, frozen=True):
    """A step of a conversation: what came in, what was said then, which calls were begun."""

    number: int
    at: datetime
    inputs: list[str]
    said: list[Said]
    calls: list[str]

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "number": self.number,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "inputs": self.inputs,
            "said": [one.dict() for one in self.said],
            "calls": self.calls,
        }


class Replayed(Struct, frozen=True):
    """The steps of a conversation that a program takes again, and where it does something else.

    `difference` is empty if it does all of it again; else the last of `steps` is where they part.
    """

    id: str
    steps: list[Taken]
    difference: str = ""

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        steps = [step.dict() for step in self.steps]
        return {"id": self.id, "steps": steps, "difference": self.difference}


class Looking:
    """A ledger that is only looked at: it belongs to somebody else, and nothing is written."""

    def __init__(self, ledger: Any) -> None:
        self.ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    def claim(self) -> int:
        """It is not owned."""
        return 0

    def commit(self, batch: Any) -> None:
        """It is not written."""

    def close(self) -> None:
        """It stays open for whoever it belongs to."""


class Watched:
    """A replay, and all that can be learned from it: the calls, the questions, the steps."""

    def __init__(self, ledger: Any, found: Found, nodes: tuple[Node, ...], renamed: Any) -> None:
        self.found, self.ledger = found, ledger
        self.calls: dict[int, tuple[str, str]] = {}  # number -> name and arguments
        self.asked: dict[str, tuple[str, str]] = {}  # question -> who, and what
        self.steps: list[Step] = []
        self.begun: list[list[str]] = []  # the calls of each step
        self.saw: list[dict[str, str]] = []  # what state each node was in that had a turn in it
        self.error: Exception | None = None
        self._step: Any = None
        self.journal = Journal(Looking(ledger), renamed=renamed)
        self.journal.open(Runtime(*nodes, journal=self.journal, watchdog=None))

    def run(self) -> None:
        """Take all steps again, up to the first that is different."""
        try:
            replaying = begin_again(self.journal, self.found)
            replaying.touched = partial(self._touched, replaying.touched)  # type: ignore[method-assign]
            with replaying:
                for step in self.ledger.steps(self.found.opening.key):
                    self._step = step
                    self.saw.append({})
                    replaying.take(step)
                    self._taken(step, replaying.conversation)
                replaying.close()
        except Exception as error:  # noqa: BLE001  # what stands in the way is what one wants to see
            self.error = error

    def leave(self) -> None:
        """The nodes are as the program has made them."""
        for node in self.journal.addresses.known():
            self.journal.states.restore(node, "")

    def _touched(self, touch: Callable[[Any], None], node: Any) -> None:
        touch(node)
        if self.saw and (address := self.journal.addresses.of(node)) is not None:
            self.saw[-1][address] = self._step.saw.get(address, "")

    def _taken(self, step: Step, c: Any) -> None:
        self.steps.append(step)
        fresh = {number: wait for number, wait in c._calls.items() if number not in self.calls}
        for number, wait in fresh.items():
            self.calls[number] = name_of(wait), digest_of(self.journal.codec, wait)
        self.begun.append([name_of(wait) for wait in fresh.values()])
        for number, (asked, _, _) in c._asked.items():
            who = self.journal.addresses.of(asked.who) or str(asked.who)
            self.asked[number] = who, asked.message.content

    def said(self) -> list[list[Said]]:
        """What was said in each step that is in the ledger."""
        hearing = Hearing(self.found.opening, self.journal)
        lines = iter(self.ledger.lines(self.found.opening.key))
        return [
            hearing(next(lines)) if step.prints.partition("/")[0] else []
            for step in self.ledger.steps(self.found.opening.key)
        ]


def replayed(
    ledger: Any, found: Found, nodes: tuple[Node, ...], renamed: Mapping[str, str] | None = None
) -> Replayed:
    """Take all steps of an open conversation again, with these nodes; nothing is done outside."""
    if found.ending is not None:
        raise JournalError(
            f"{found.opening.id} is over ({found.ending.reason}), and its steps are gone; what was"
            f" said in it: llambdao trace {found.opening.id}"
        )
    watched = Watched(ledger, found, nodes, renamed)
    watched.run()
    watched.leave()
    said, steps = watched.said(), ledger.steps(found.opening.key)
    shown = len(watched.steps) + (watched.error is not None)
    return Replayed(
        found.opening.id,
        [
            Taken(
                step.number,
                moment(step.at),
                [shown_input(watched, one) for one in read_inputs(step.inputs)],
                said[place],
                watched.begun[place] if place < len(watched.begun) else [],
            )
            for place, step in enumerate(steps[:shown])
        ],
        "" if watched.error is None else str(watched.error),
    )


def shown_input(watched: Watched, given: list[Any]) -> str:
    """What came in, in words."""
    kind, *what = given
    if kind in ("done", "broke"):
        name, _ = watched.calls.get(what[0], (f"call {what[0]}", ""))
        result = _short(what[1]) if kind == "done" else what[1].get("text", "")
        return f"{name} {'came to' if kind == 'done' else 'failed:'} {result}"
    if kind == "news":
        if what[0] in watched.asked:
            return f"{watched.asked[what[0]][0]} answered {_short(what[1])}"
        return f"news for {what[0]!r}: {_short(what[1])}"
    return WORDS.get(kind, str(kind))


WORDS = {
    "tick": "it was time",
    "resume": "it was its turn",
    "granted": "there was room in a mailbox",
    "take": "its replies were taken",
    "drop": "somebody was stopped",
}
"""What other inputs are called."""


def _short(raw: Any) -> str:
    text = bytes(raw).decode()
    data = msgspec.json.decode(text)
    if isinstance(data, dict) and isinstance(data.get("v"), dict) and "content" in data["v"]:
        text = repr(data["v"]["content"])
    return text if len(text) <= 60 else f"{text[:59]}…"
