"""The door: what other processes have laid there is taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llambdao.journal import stuck
from llambdao.journal.conversation import Recorded
from llambdao.journal.ledger import Knock, Letter
from llambdao.kernel.errors import Misused, Unreachable
from llambdao.kernel.events import Reason
from llambdao.kernel.message import Message

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Door"]

POLL = 0.05
"""Every so many seconds somebody looks whether another process has knocked."""


class Door:
    """Where other processes tell, answer and cancel; its owner takes it in.

    A knock lies there until the commit that writes what came of it: if the process dies before
    that, the next one finds it again.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._poll: Any = None
        self._in_hand: dict[int, Recorded] = {}

    def close(self) -> None:
        """Nobody looks any longer."""
        if self._poll is not None:
            self._poll.cancel()

    def open(self) -> None:
        """Look again and again whether somebody has knocked."""
        self.close()
        self._poll = self.journal.runtime._loop.call_later(POLL, self._look_again)

    def _look_again(self) -> None:
        try:
            if self.journal.error is None and self.journal.ledger.has_changed():
                self.look()
        finally:
            self.open()

    def look(self) -> None:
        """Take in what other processes have laid at the door."""
        self._in_hand = {seq: c for seq, c in self._in_hand.items() if _is_at_it(c, seq)}
        for knock in self.journal.ledger.knocks():
            if knock.seq in self._in_hand:
                continue
            try:
                conversation = self.take_in(knock)
            except Exception as error:  # noqa: BLE001  # what comes from outside harms nobody here
                self._refused(knock, error)
                continue
            if conversation is None or conversation._is_over:
                self.journal.batch.taken.append(knock.seq)
            else:
                conversation._errands = (*conversation._errands, ("taken", knock.seq))
                self._in_hand[knock.seq] = conversation
        self.journal.commit()

    def _refused(self, knock: Knock, error: Exception) -> None:
        """It cannot be taken in: it is kept as a dead letter."""
        body, now = msgspec.json.encode(knock.body), self.journal.runtime.clock.now()
        why, node = f"{knock.kind} refused", str(knock.body.get("node", ""))
        self.journal.batch.letters.append(Letter(body, why, node, repr(error), now))
        self.journal.batch.taken.append(knock.seq)

    def take_in(self, knock: Knock) -> Any:
        """Do it; the conversation with whose next step it is done, None if it is done."""
        journal, body = self.journal, knock.body
        if knock.kind == "answer":
            words = Message.parse(body["message"]) if "message" in body else body["content"]
            return journal.inquiries.take(body["id"], words, body.get("by"))
        if knock.kind == "tell":
            return self.tell(body["node"], Message.parse(body["message"]))
        if knock.kind == "cancel":
            return self._cancel(body["id"], body.get("detail") or "from another process")
        if knock.kind in ("retry", "restart"):
            return getattr(stuck, knock.kind)(journal, body["id"])
        if knock.kind == "again":
            return stuck.again(journal, body["seq"])
        if knock.kind == "compact":
            journal.commit()
            journal.ledger.compact(body.get("before"), body.get("seen"))
            return None
        raise Misused(f"nobody can {knock.kind!r:.80} at the door")

    def tell(self, address: str, message: Message) -> Any:
        """Tell a node something: the conversation that begins, or the one that did before."""
        journal = self.journal
        node = journal.addresses.node(address)
        if node is None:
            raise Unreachable(f"there is no node {address!r:.80} in this program")
        if (known := journal.accept(node, message)) is not None:
            return known if isinstance(known, Recorded) and known._is_new else None
        conversation = journal.runtime._conversation(node, message, None, None)
        journal.runtime._open(conversation)
        if not journal.suspects.is_on:
            return conversation
        journal.suspects.opened(conversation)  # it may have killed the process where it lay
        return None

    @staticmethod
    def holds(ledger: Any, number: str) -> bool:
        """Does a message of this id lie there?"""
        knocks = ledger.knocks()
        return any(one.kind == "tell" and one.body.get("id") == number for one in knocks)

    def _cancel(self, number: str, detail: str) -> None:
        for conversation in [*self.journal.live.values()]:
            if conversation._opening.id == number:
                conversation.end(Reason.CANCELLED, detail)
        for found in self.journal.ledger.find(number):
            if found.ending is None:
                stuck.cancel(self.journal, found, detail)


def _is_at_it(conversation: Recorded, seq: int) -> bool:
    """Is this knock yet to be written off by the next step of that conversation?"""
    return not conversation._is_over and ("taken", seq) in conversation._errands
