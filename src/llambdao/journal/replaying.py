"""How a conversation is brought back: all its steps are taken again, and compared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from llambdao.journal.anew import prepare_again
from llambdao.journal.conversation import Recorded
from llambdao.journal.doubts import go_on
from llambdao.journal.errors import CorruptRow, Differs, MissingNode
from llambdao.journal.ledger import Found, Step
from llambdao.journal.recording import print_of
from llambdao.journal.scheduler import RECORDED
from llambdao.journal.writing import calls_of, prints_with
from llambdao.kernel.activation import OUTSIDE
from llambdao.kernel.waits import BEGUN

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Replaying", "begin_again", "go_live", "replay"]

AT_ONCE = 200
"""Of so many steps the states that they saw are read together."""


def replay(journal: Journal, found: Found) -> Recorded:
    """Take all its steps again."""
    replaying = begin_again(journal, found)
    steps = journal.ledger.steps(found.opening.key)
    with replaying:
        for place, step in enumerate(steps):
            if place % AT_ONCE == 0:
                some = steps[place : place + AT_ONCE]
                journal.states.fetch(key for one in some for key in one.saw.values())
            replaying.take(step)
    return replaying.conversation


def begin_again(journal: Journal, found: Found) -> Replaying:
    """A conversation that has taken none of its steps yet."""
    opening, runtime = found.opening, journal.runtime
    address = journal.renamed.get(opening.node, opening.node)
    node = journal.addresses.node(address)
    if node is None:
        raise MissingNode(f"the node {opening.node!r} of this conversation is gone")
    message = journal.codec.decode(opening.message)
    hearer = None if opening.way == "tell" else OUTSIDE
    c = journal.kind(node, message, {}, hearer, _runtime=runtime, _takes=opening.way == "send")
    c._journal, c._opening, c._is_live, c._is_new, c._closed = journal, opening, False, False, True
    c._at, c._is_mute = opening.at, True
    options = opening.options
    if "deadline" in options:
        c._deadline = options["deadline"]
    scheduler = c._scheduler = prepare_again(journal, c)
    scheduler.open(node, message, hearer)
    return Replaying(journal, c)


def go_live(journal: Journal, c: Recorded, found: Found) -> None:
    """It has caught up: from now on it is as if nothing had happened."""
    c._is_live = True
    for ticket in c._tickets:
        ticket.book()
    c._scheduler.observers = journal.runtime._observers or RECORDED
    c._scheduler.mailboxes.go_live(c._scheduler)
    for word, waiting in (c._scheduler.expected or {}).items():
        if waiting:
            journal.runtime._expecting.setdefault(word, {})[id(c)] = c
    c._context = None
    c.lives_on()
    c.rest()
    c._is_answered = c._scheduler.root.closed
    go_on(c, journal.ledger.effects(found.opening.key))
    if c._parked:
        c.came("take")
    if found.stand.status == "ready" or c._number == 0:
        c.wake()


class Replaying:
    """The replay of one conversation: nodes are put back into the states it saw."""

    def __init__(self, journal: Journal, conversation: Recorded) -> None:
        self.journal, self.conversation = journal, conversation
        self._saw: dict[str, str] = {}
        self._backs: dict[int, Callable[[], None]] = {}
        self._lines = 0  # pieces of history that the steps so far have left

    def __enter__(self) -> Self:
        self.journal.replaying = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.close()
        self.journal.replaying = None
        self.back()

    def close(self) -> None:
        """It is of no use: its handlers end here, where nobody else sees what they change."""
        with suppress(Exception):
            self.conversation._shut()

    def touched(self, node: Any) -> None:
        """A node has its first turn in a step: it is put into the state it was in."""
        states, address = self.journal.states, self.journal.addresses.of(node)
        if address is None:
            return
        if id(node) not in self._backs:
            self._backs[id(node)] = states.swap([node])
        states.restore(node, self._saw.get(address, ""))

    def back(self) -> None:
        """All nodes are as they were before."""
        for back in self._backs.values():
            back()

    def take(self, step: Step, *, ends: bool = False) -> None:
        """Take a step again, and compare what is said; does it end the conversation?"""
        c = self.conversation
        renamed = self.journal.renamed
        self._saw = {renamed.get(a, a): key for a, key in step.saw.items()} if renamed else step.saw
        c._read = msgspec.json.decode(step.notes) if step.notes else []
        if step.number != c._number:
            raise CorruptRow(f"step {c._number} of this conversation is missing")
        status, _ = c.take_step(step.at, read_inputs(step.inputs))
        begun = c.collect_calls()
        _, _, entries, _, prints = c.step_is_over()
        calls = calls_of(self.journal.codec, begun)
        said = {prints_with(prints, calls)}
        if renamed:  # what was said before that was said under other names
            said.add(prints_with(print_of(under_old_names(entries, renamed)), calls))
        if (status == "over") != ends or step.prints not in said:
            raise Differs(self._difference(step, status, entries, calls))
        self._lines += _has_said(step)
        for number, (asked, _, _) in [*c._asked.items()]:
            if asked.state == BEGUN:
                c._asked[number] = (asked, False, None)
            else:
                del c._asked[number]
        c._number += 1

    def _difference(self, step: Step, status: str, entries: list[Any], calls: list[Any]) -> str:
        """What was said then, and what is said now."""
        c = self.conversation
        lines = self.journal.ledger.lines(c._opening.key)[self._lines :]
        then = lines[0].said if lines and _has_said(step) else []
        what = f"in step {step.number} of {c._opening.id}"
        text = [f"{c._opening.node} does something else now than it did {what}:"]
        for place in range(max(len(then), len(entries))):
            was = _shown(then[place]) if place < len(then) else "(nothing)"
            now = _shown(entries[place]) if place < len(entries) else "(nothing)"
            text += [f"  {was}"] if was == now else [f"- {was}", f"+ {now}"]
        text += [f"+ calls {name}" for _, name, _ in calls]
        if status == "over":
            text.append(f"+ it ends{f': {c.error!r}' if c.error else ''}")
        return "\n".join(text)


def under_old_names(entries: list[Any], renamed: dict[str, str]) -> list[Any]:
    """What was said, as it would have been before nodes were renamed."""
    old = {new: before for before, new in renamed.items()}
    return [
        {name: old.get(one, one) if name in ("from", "to") else one for name, one in entry.items()}
        for entry in entries
    ]


def _has_said(step: Step) -> bool:
    """Was anything said in it?"""
    return not step.prints.startswith("/") and bool(step.prints)


def _shown(entry: dict[str, Any]) -> str:
    who = f"{entry.get('from', 'outside')} to {entry.get('to', 'all')}"
    return f"{who}: {entry.get('intent')} {entry.get('content', '')!r:.100}"


def read_inputs(data: bytes) -> list[Any]:
    """The inputs of a step; values stay JSON until they are needed."""
    inputs: list[Any] = []
    for one in msgspec.json.decode(data, type=list[list[msgspec.Raw]]):
        kind = msgspec.json.decode(one[0])
        rest = [
            raw if kind in ("done", "news") and place == 1 else msgspec.json.decode(raw)
            for place, raw in enumerate(one[1:])
        ]
        inputs.append([kind, *rest])
    return inputs
