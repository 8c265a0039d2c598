"""`MemoryLedger`: a journal that lasts as long as the process; for tests."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from llambdao.journal.errors import CorruptRow, Fenced, Owned
from llambdao.journal.ledger import (
    Answer,
    Batch,
    Effect,
    Found,
    Knock,
    Letter,
    Line,
    Question,
    Stand,
    Status,
    Step,
)

__all__ = ["MemoryLedger", "Store"]


class Store:
    """What several ledgers share, as several processes share a file."""

    def __init__(self) -> None:
        self.epoch = 0
        self.owner: Any = None
        self.commits = 0
        self.changes = 0
        self.last = 0
        self.meta: dict[str, str] = {}
        self.found: dict[int, Found] = {}
        self.steps: dict[int, list[Step]] = {}
        self.effects: dict[tuple[int, int], Effect] = {}
        self.questions: dict[str, Question] = {}
        self.answers: dict[str, Answer] = {}
        self.states: dict[str, str] = {}
        self.values: dict[str, bytes] = {}
        self.born: dict[str, int] = {}  # the epochs in which they were written
        self.lines: list[Line] = []
        self.letters: list[Letter] = []
        self.knocks: list[Knock] = []
        self.numbers = 0


class MemoryLedger:
    """A ledger in memory: another one of the same `store` finds what this one has written.

    >>> ledger = MemoryLedger()
    >>> ledger.claim()
    1
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.epoch = 0
        self._seen = 0

    def claim(self, *, by_force: bool = False) -> int:
        """Own it from now on."""
        if self.store.owner not in (None, self) and not by_force:
            raise Owned("another runtime of this program runs this journal")
        self.store.owner = self
        self.store.epoch += 1
        self.epoch = self.store.epoch
        return self.epoch

    def close(self) -> None:
        """Let go of it."""
        if self.store.owner is self:
            self.store.owner = None

    def commit(self, batch: Batch) -> None:
        """Write all of this."""
        s = self.store
        if s.owner is not self or s.epoch != self.epoch:
            raise Fenced("another runtime has taken this journal over")
        s.commits += 1
        s.changes += 1
        for opening in batch.opened:
            s.found[opening.key] = Found(
                msgspec.structs.replace(opening), Stand(opening.key, "ready")
            )
            s.last = max(s.last, opening.key)
        for step in batch.steps:
            s.steps.setdefault(step.key, []).append(replace(step))
        for stand in batch.stands:
            s.found[stand.key].stand = stand
        s.effects.update({(e.key, e.number): e for e in batch.effects})
        for key in batch.settled:
            s.effects.pop(key, None)
        s.questions.update({q.id: q for q in batch.questions})
        for answer in batch.answers:
            s.questions.pop(answer.id, None)
            s.answers[answer.id] = answer
        s.states.update(batch.states)
        self._write_values(batch)
        for line in batch.lines:
            seq = len(s.lines) + 1
            before = s.lines[-1].chain if s.lines else b""
            chain = self._chain(before, line.key, line.at, line.said)
            said = msgspec.json.decode(msgspec.json.encode(line.said))
            s.lines.append(Line(line.key, line.at, said, seq, chain))
        for letter in batch.letters:
            s.numbers += 1
            s.letters.append(replace(letter, seq=s.numbers))
        s.letters = [one for one in s.letters if one.seq not in batch.buried]
        s.knocks = [one for one in s.knocks if one.seq not in batch.taken]
        s.meta.update(batch.meta)
        for ending in batch.endings:
            found = s.found[ending.key]
            found.ending = msgspec.json.decode(msgspec.json.encode(ending), type=type(ending))
            found.stand = Stand(ending.key, "over")
            found.opening = replace(found.opening, message=b"")
            s.steps.pop(ending.key, None)
            for key in [one for one in s.effects if one[0] == ending.key]:
                del s.effects[key]
            for one in [q for q in s.questions.values() if q.key == ending.key]:
                del s.questions[one.id]

    def _write_values(self, batch: Batch) -> None:
        s = self.store
        s.values.update(batch.values)
        s.born.update({name: self.epoch for name in batch.values if name not in s.born})
        for name in batch.dropped:
            if s.born.get(name) == self.epoch:
                del s.values[name], s.born[name]

    @staticmethod
    def _chain(before: bytes, *what: Any) -> bytes:
        return blake2b(before + msgspec.json.encode(what), digest_size=16).digest()

    def meta(self) -> dict[str, str]:
        """What is known of the journal as a whole."""
        return dict(self.store.meta)

    def last_key(self) -> int:
        """The greatest key."""
        return self.store.last

    def states(self) -> dict[str, str]:
        """The hash of the state of every node that has one."""
        return dict(self.store.states)

    def values(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """What has these hashes."""
        try:
            return {key: self.store.values[key] for key in hashes}
        except KeyError as error:
            raise CorruptRow(f"the value {error} is missing") from error

    def ready(self) -> list[int]:
        """Those that can go on, or have effects under way."""
        under_way = {key for key, _ in self.store.effects}
        return [
            k for k, f in self.store.found.items() if f.stand.status == "ready" or k in under_way
        ]

    def dues(self) -> list[tuple[int, int]]:
        """When timers are due."""
        found = self.store.found.items()
        return sorted((f.stand.due, k) for k, f in found if f.stand.due is not None)

    def conversation(self, key: int) -> Found | None:
        """What is known of a conversation."""
        return self.store.found.get(key)

    def steps(self, key: int) -> list[Step]:
        """What an open conversation has done."""
        return [*self.store.steps.get(key, ())]

    def effects(self, key: int | None = None) -> list[Effect]:
        """What was about to be done."""
        return [e for e in self.store.effects.values() if key in (None, e.key)]

    def expecting(self, word: str) -> list[int]:
        """Who waits for news under this key."""
        return [k for k, f in self.store.found.items() if word in f.stand.expects]

    def find(self, id: str) -> list[Found]:  # noqa: A002  # that is what it is
        """The conversations that a message of this id has opened."""
        return [f for f in self.store.found.values() if f.opening.id == id]

    def conversations(self, status: Status | None = None, most: int = 1000) -> list[Found]:
        """The youngest conversations."""
        some = [f for f in self.store.found.values() if status in (None, f.stand.status)]
        return some[::-1][:most]

    def questions(self, id: str | None = None) -> list[Question]:  # noqa: A002
        """The open questions."""
        return [q for q in self.store.questions.values() if id in (None, q.id)]

    def answer(self, id: str) -> Answer | None:  # noqa: A002
        """How a question was closed."""
        return self.store.answers.get(id)

    def lines(self, key: int | None = None, after: int = 0, most: int | None = None) -> list[Line]:
        """History in order."""
        some = [one for one in self.store.lines if one.seq > after and key in (None, one.key)]
        return some[:most]

    def letters(self, after: int = 0, most: int = 1000) -> list[Letter]:
        """The dead letters."""
        return [one for one in self.store.letters if one.seq > after][:most]

    def knock(self, kind: str, body: dict[str, Any], at: int) -> int:
        """Lay something at the door."""
        self.store.numbers += 1
        self.store.changes += 1
        self.store.knocks.append(Knock(self.store.numbers, kind, body, at))
        return self.store.numbers

    def has_changed(self) -> bool:
        """Could somebody else have written?"""
        seen, self._seen = self._seen, self.store.changes
        return seen != self._seen

    def knocks(self) -> list[Knock]:
        """What lies at the door."""
        return [*self.store.knocks]

    def compact(self, before: int | None = None, seen: int | None = None) -> dict[str, int]:
        """Nothing is forgotten: it lasts as long as the process."""
        return {}

    def verify(self) -> int | None:
        """The first line that is not as it was written."""
        before = b""
        for line in self.store.lines:
            if self._chain(before, line.key, line.at, line.said) != line.chain:
                return line.seq
            before = line.chain
        return None
