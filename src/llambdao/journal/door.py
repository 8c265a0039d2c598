"""The door: what other processes have laid there is taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal.ledger import Knock, Letter
from llambdao.kernel.errors import Misused
from llambdao.kernel.events import Reason
from llambdao.kernel.message import Message

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Door"]

POLL = 0.05
"""Every so many seconds somebody looks whether another process has knocked."""


class Door:
    """Where other processes tell, answer and cancel; its owner takes it in."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._poll: Any = None

    def close(self) -> None:
        """Nobody looks any longer."""
        if self._poll is not None:
            self._poll.cancel()

    def open(self) -> None:
        """Look again and again whether somebody has knocked."""
        self._poll = self.journal.runtime._loop.call_later(POLL, self._look_again)

    def _look_again(self) -> None:
        try:
            if self.journal.ledger.has_changed():
                self.look()
        finally:
            self.open()

    def look(self) -> None:
        """Take in what other processes have laid at the door."""
        for knock in self.journal.ledger.knocks():
            self.journal.batch.taken.append(knock.seq)
            try:
                self._take_in(knock.kind, knock.body)
            except Exception as error:  # noqa: BLE001  # what comes from outside harms nobody here
                self._refused(knock, error)
        self.journal.commit()

    def _refused(self, knock: Knock, error: Exception) -> None:
        """It cannot be taken in: it is kept as a dead letter."""
        body, now = msgspec.json.encode(knock.body), self.journal.runtime.clock.now()
        why, node = f"{knock.kind} refused", str(knock.body.get("node", ""))
        self.journal.batch.letters.append(Letter(body, why, node, repr(error), now))

    def _take_in(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "answer":
            self.journal.inquiries.take(body["id"], body["content"], body.get("by"))
        elif kind == "cancel":
            for found in self.journal.ledger.find(body["id"]):
                if (conversation := self.journal.rouse(found.opening.key)) is not None:
                    conversation.end(Reason.CANCELLED, body.get("detail", "by another process"))
        elif kind == "tell":
            node = self.journal.addresses.node(body["node"])
            if node is None:
                raise Misused(f"there is no node {body['node']!r:.80} in this program")
            message = Message.parse(body["message"])
            if self.journal.accept(node, message) is None:
                self.journal.runtime._open(
                    self.journal.runtime._conversation(node, message, None, None)
                )
        else:
            raise Misused(f"nobody can {kind!r:.80} at the door")
