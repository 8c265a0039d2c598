"""Who takes the process with it again and again is parked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from llambdao.journal.ledger import Batch, Found, Letter, Stand
from llambdao.runtime.queue import is_at_work

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Suspects"]

MOST = 3
"""How often the process may die with a conversation."""


class Suspects:
    """The conversations with which the process may have died, after it was killed.

    `attempts` of each says how often that will have been if the process dies now with it, and is
    written before it goes on; a step that is recorded clears it. At first all that can go on do so
    together; those with which the process has died twice are tried one by one, before the others
    and before anything comes from outside, so that whoever it was alone is parked.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.is_on = False
        self._tried: set[int] = set()  # whose attempts are written
        self._next: list[int] = []
        self._trial: Any = None  # whose calls are under way

    def try_all(self, keys: list[int]) -> None:
        """The process was killed, perhaps by one of these: those that can go on, or are due."""
        self._tried, self._next, self._trial = set(), [], None
        stands, together = [], []
        for key in keys:
            found = self.journal.ledger.conversation(key)
            if found is None or found.ending is not None:
                continue
            if found.stand.attempts:
                self._next.append(key)
            else:
                stands.append(replace(found.stand, attempts=2))
                together.append(key)
        if stands:
            self.journal.ledger.commit(Batch(stands=stands))
        self._tried = {*together}
        self._one_by_one()
        for key in together:
            if (conversation := self.journal.rouse(key)) is not None:
                conversation.tick_if_due()
                self._is_at_work(conversation)

    def _one_by_one(self) -> None:
        """Try the next ones, until one has calls under way that must come to something first."""
        journal = self.journal
        queue = journal.runtime._queue
        while self._next and journal.error is None:
            conversation = journal.rouse(self._next.pop(0))
            if conversation is None:
                continue
            conversation.tick_if_due()
            if conversation._is_queued:
                queue.ready.remove(conversation)
                conversation.advance()
                journal.commit()
            if self._is_at_work(conversation):
                self._trial = conversation
                return

    def _is_at_work(self, conversation: Any) -> bool:
        """Does it do anything? Who only waits for a person kills nobody."""
        if conversation._is_over:
            return False
        if is_at_work(conversation):
            return True
        if not conversation._is_queued:
            stand = self.journal.ledger.conversation(conversation._opening.key).stand
            self.journal.batch.stands.append(replace(stand, attempts=0))
        return False

    def opened(self, conversation: Any) -> None:
        """It came from another process: before it is tried it is written that it was accepted."""
        key = conversation._opening.key
        self.journal.writing.opening(conversation)
        self.journal.batch.stands.append(Stand(key, "ready", attempts=2))
        self._tried.add(key)

    def stepped(self, conversation: Any) -> None:
        """A step is recorded: if that was who is on trial the next one is."""
        if conversation is self._trial:
            self._trial = None
            self._one_by_one()

    def may_try(self, found: Found) -> bool:
        """May this be tried, if it has killed the process before? That it is tried is written."""
        attempts, key = found.stand.attempts, found.opening.key
        if not self.is_on or key in self._tried:
            return True
        if attempts >= MOST:
            self._park(found)
            return False
        self._tried.add(key)
        self.journal.ledger.commit(Batch(stands=[replace(found.stand, attempts=attempts + 1)]))
        return True

    def _park(self, found: Found) -> None:
        """Nobody tries it any longer: it is a dead letter."""
        opening, journal = found.opening, self.journal
        why = f"the process has died {found.stand.attempts} times while this was under way"
        parked = replace(found.stand, status="parked", why=why, due=None)
        journal.batch.stands.append(parked)
        now = journal.runtime.clock.now()
        journal.batch.letters.append(Letter(opening.message, why, opening.node, "", now))
        journal.commit()
