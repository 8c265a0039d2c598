"""`Past`: a conversation as it is written, whether it goes on or not; `Replies`: what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from llambdao.journal.history import id_of
from llambdao.journal.ledger import Found, Line, Opening
from llambdao.journal.recording import error_in
from llambdao.kernel.events import Reason
from llambdao.kernel.message import KINDS, Address, Message, Ref
from llambdao.runtime.questions import moment

__all__ = ["Past", "Replies", "Said", "message_of"]

LOOK = 0.05
"""Every so many seconds who follows looks whether more was said."""


class Said(Struct, frozen=True, eq=False):
    """One message of a journal's history: when it was said, in which conversation, to the outside?

    `n` is its number in the conversation, `re` that of the message it was said in answer to.
    """

    message: Message
    at: datetime
    conversation: str
    n: int
    re: int | None = None
    is_out: bool = False
    seq: int = 0

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "conversation": self.conversation,
            "out": self.is_out,
            **self.message.dict(),
        }

    def __str__(self) -> str:
        said = self.message
        to = "" if said.to is None else f" to {said.to}"
        return f"{said.sender or 'outside'}{to}: {said.content}"


class Past:
    """A conversation as it is written: `open`, `reason`, `detail`, `error`, `replies()`."""

    def __init__(self, journal: Any, found: Found) -> None:
        self._journal, self.found = journal, found

    @property
    def id(self) -> str:
        """The id of the message that opened it."""
        return self.found.opening.id

    @property
    def open(self) -> bool:
        """Does it go on?"""
        return self.found.ending is None

    @property
    def is_over(self) -> bool:
        """Has it ended?"""
        return self.found.ending is not None

    @property
    def reason(self) -> Reason | None:
        """Why it ended; None while it goes on."""
        return None if self.found.ending is None else Reason(self.found.ending.reason)

    @property
    def detail(self) -> str:
        """What there is to say about the reason."""
        return "" if self.found.ending is None else self.found.ending.detail

    @property
    def error(self) -> BaseException | None:
        """What it failed with."""
        ending = self.found.ending
        if ending is None or ending.error is None:
            return None
        return error_in(self._journal.codec, ending.error)

    @property
    def status(self) -> str:
        """Where it stands: ready, waits, stuck, parked or over."""
        return self.found.stand.status

    @property
    def why(self) -> str:
        """What there is to say about stuck or parked."""
        return self.found.stand.why

    @property
    def node(self) -> str:
        """The address of the node that it was opened with."""
        return self.found.opening.node

    @property
    def since(self) -> datetime:
        """When it was opened."""
        return moment(self.found.opening.at)

    def said(self) -> list[Said]:
        """All that was said in it, in order."""
        opening = self.found.opening
        hearing = Hearing(opening, self._journal)
        return [one for line in self._journal.ledger.lines(opening.key) for one in hearing(line)]

    def replies(self) -> list[Message]:
        """What it has said to the outside so far."""
        return [one.message for one in self.said() if one.is_out]

    def dict(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "id": self.id,
            "node": self.node,
            "since": self.since.isoformat().replace("+00:00", "Z"),
            "status": self.status,
            "why": self.why,
            "reason": self.reason,
            "detail": self.detail,
        }


class Replies(list[Message]):
    """All that the conversations of one message have said to the outside so far.

    `open`: may more come? `reason`, `detail`, `error`: how the last of them has ended. `for reply
    in replies.follow()` and `async for reply in replies` give these and then, as they are said,
    all others, until nothing is open any longer.

    It is a list of what was said up to now: `update()` takes in what was said since.
    """

    def __init__(self, journal: Any, number: str) -> None:
        super().__init__()
        self.id, self._journal = number, journal
        self._hearing: dict[int, Hearing] = {}
        self.conversations: list[Past] = []
        self.update()

    def update(self) -> list[Message]:
        """Take in what was said meanwhile; that is given back."""
        ledger = self._journal.ledger
        found = ledger.find(self.id)
        fresh: list[Message] = []
        for one in found:
            opening = one.opening
            hearing = self._hearing.setdefault(opening.key, Hearing(opening, self._journal))
            for line in ledger.lines(opening.key, after=hearing.seq):
                fresh += [said.message for said in hearing(line) if said.is_out]
        self.conversations = [Past(self._journal, one) for one in found]
        self += fresh
        return fresh

    @property
    def open(self) -> bool:
        """May more come?"""
        if any(one.open for one in self.conversations):
            return True
        return not self.conversations and self._journal.lies_at_the_door(self.id)

    @property
    def reason(self) -> Reason | None:
        """Why it ended; None while it goes on."""
        return self.conversations[-1].reason if self.conversations and not self.open else None

    @property
    def detail(self) -> str:
        """What there is to say about the reason."""
        return self.conversations[-1].detail if self.conversations else ""

    @property
    def error(self) -> BaseException | None:
        """What it failed with."""
        return next((e for one in self.conversations[::-1] if (e := one.error)), None)

    def follow(self, timeout: float | None = None) -> Iterator[Message]:
        """These replies and then all others as they come; TimeoutError after so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        yield from [*self]
        while self.open:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"the conversation {self.id} goes on, but time is up")
            time.sleep(LOOK)
            yield from self.update()

    async def __aiter__(self) -> AsyncIterator[Message]:
        for reply in [*self]:
            yield reply
        while self.open:
            await asyncio.sleep(LOOK)
            for reply in self.update():
                yield reply


class Hearing:
    """Reads the lines of one conversation in order: it remembers which message has which id."""

    def __init__(self, opening: Opening, journal: Any = None) -> None:
        self.opening, self.journal, self.seq = opening, journal, 0
        self.ids: dict[int, str] = {}

    def __call__(self, line: Line) -> list[Said]:
        """What was said in a line."""
        self.seq = line.seq
        return [self._said(line, entry) for entry in line.said]

    def _said(self, line: Line, entry: dict[str, Any]) -> Said:
        n, opening, at = entry.get("n", 0), self.opening, line.at
        if "id" in entry:
            number = entry["id"]
        elif not self.ids and not opening.is_given:
            number = opening.id
        else:
            number = id_of(at, opening.salt, n)
        if not self.ids and number == opening.id:
            at = opening.at  # it was said as the conversation was opened, before this step
        self.ids[n] = number
        answered = entry.get("re")
        if isinstance(answered, int):
            known = self.ids.get(answered)
            entry = {
                **entry,
                "re": id_of(line.at, opening.salt, answered) if known is None else known,
            }
        return Said(
            message_of({**entry, "id": number}, at, self.journal),
            moment(at),
            opening.id,
            n,
            answered if isinstance(answered, int) else None,
            bool(entry.get("out")),
            line.seq,
        )


def message_of(entry: dict[str, Any], at: int, journal: Any = None) -> Message:
    """A message as it was said, from its piece of history; `id` and `re` are ids."""

    def who(address: str | None) -> Any:
        if address is None:
            return None
        node = None if journal is None else journal.addresses.node(address)
        return node or Address(address, address.rpartition("/")[2])

    own = entry.get("own") or {}
    cls: Any = KINDS.get(entry.get("kind", "Message"), Message)
    answered = entry.get("re")
    fields = {
        "content": entry.get("content", ""),
        "intent": entry.get("intent"),
        "sender": who(entry.get("from")),
        "to": who(entry.get("to")),
        "reply_to": Ref(answered) if isinstance(answered, str) else None,
        "metadata": entry.get("meta") or {},
        "id": entry.get("id"),
        "timestamp": moment(at),
    }
    if own:
        try:
            types = {f.name: f.type for f in msgspec.structs.fields(cls)}
            own = {name: msgspec.convert(one, types[name]) for name, one in own.items()}
        except Exception:  # noqa: BLE001  # its class has changed: its words are what is left
            cls, own = Message, {}
    message: Message = cls(**fields, **own)
    return message
