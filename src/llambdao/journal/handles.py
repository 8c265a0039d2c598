"""`Past`: a conversation as it is written, whether it goes on or not."""

from __future__ import annotations

from typing import Any

import msgspec

from llambdao.journal.ledger import Found
from llambdao.journal.recording import error_in
from llambdao.kernel.events import Reason
from llambdao.kernel.message import KINDS, Address, Message, Ref

__all__ = ["Past"]


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

    def replies(self) -> list[Message]:
        """What it has said to the outside so far."""
        opening, said = self.found.opening, []
        for line in self._journal.ledger.lines(opening.key):
            said += [
                message_of(entry, line.at, opening, self._journal)
                for entry in line.said
                if entry.get("out")
            ]
        return said


def message_of(entry: dict[str, Any], at: int, opening: Any, journal: Any = None) -> Message:
    """A message as it was said, from its piece of history."""

    def who(address: str | None) -> Any:
        if address is None:
            return None
        node = None if journal is None else journal.addresses.node(address)
        return node or Address(address, address.rpartition("/")[2])

    def number(n: int) -> str:
        return f"{at:016x}{opening.salt:08x}{n:08x}"

    known = ("n", "from", "to", "intent", "content", "re", "kind", "meta", "id", "out")
    own = {name: value for name, value in entry.items() if name not in known}
    cls: Any = KINDS.get(entry.get("kind", "Message"), Message)
    answered = entry.get("re")
    fields = {
        "content": entry.get("content", ""),
        "intent": entry.get("intent"),
        "sender": who(entry.get("from")),
        "to": who(entry.get("to")),
        "reply_to": Ref(opening.id if answered == 1 else number(answered))
        if isinstance(answered, int)
        else None
        if answered is None
        else Ref(answered),
        "metadata": entry.get("meta") or {},
        "id": entry.get("id") or number(entry["n"]),
    }
    if own:
        try:
            types = {f.name: f.type for f in msgspec.structs.fields(cls)}
            own = {name: msgspec.convert(one, types[name]) for name, one in own.items()}
        except Exception:  # noqa: BLE001  # its class has changed: its words are what is left
            cls, own = Message, {}
    message: Message = cls(**fields, **own)
    return message
