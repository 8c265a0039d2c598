"""`Garbage`: the states that nobody will read again, so that a journal does not keep them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from llambdao.journal.ledger import Batch
from llambdao.journal.rows import names_in

__all__ = ["Garbage"]


class Garbage:
    """Counts who needs the states that were written since the journal was opened.

    A state is needed while a node is in it, and while a conversation is open that has seen it; a
    part of states, while one of them is needed. What is older is left to `compact`: it may be
    needed by conversations that sleep.
    """

    def __init__(self) -> None:
        self._now: dict[str, str] = {}  # address of a node -> its state
        self._in: Counter[str] = Counter()  # how many nodes are in a state
        self._saw: dict[int, list[str]] = {}  # by conversation
        self._seen: Counter[str] = Counter()  # how many steps have seen a state
        self._parts: dict[str, set[str]] = {}  # of every state written and needed
        self._held: Counter[str] = Counter()  # how many states have a part

    def sort_out(self, batch: Batch) -> None:
        """Have the batch drop what nobody needs any longer once it is written."""
        states = batch.states
        suspects: list[str] = []
        for step in batch.steps:
            if step.saw:
                self._saw.setdefault(step.key, []).extend(step.saw.values())
                self._seen.update(step.saw.values())
                self._know(step.saw.values(), batch)
        if states:
            self._know(states.values(), batch)
        for address, state in states.items():
            before, self._now[address] = self._now.get(address), state
            self._in[state] += 1
            if before is not None:
                self._in[before] -= 1
                suspects.append(before)
        for ending in batch.endings:
            for state in self._saw.pop(ending.key, ()):
                self._seen[state] -= 1
                suspects.append(state)
        if suspects:
            self._drop(suspects, batch)

    def _know(self, states: Iterable[str], batch: Batch) -> None:
        for state in states:
            body = batch.values.get(state)
            if body is not None and state not in self._parts:
                named = names_in(msgspec.json.decode(body)) if b'"#"' in body else ()
                self._parts[state] = parts = {*named}
                self._held.update(parts)

    def _drop(self, suspects: list[str], batch: Batch) -> None:
        dropped: list[str] = []
        for state in suspects:
            if self._in[state] or self._seen[state]:
                continue
            del self._in[state], self._seen[state]
            parts = self._parts.pop(state, None)
            if parts is None:  # older than this, or dropped already
                continue
            dropped.append(state)
            for part in parts:
                self._held[part] -= 1
                if not self._held[part]:
                    del self._held[part]
                    dropped.append(part)
        batch.dropped = [
            name for name in dropped if name not in self._parts and not self._held[name]
        ]
