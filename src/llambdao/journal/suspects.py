"""Who takes the process with it again and again is parked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from llambdao.journal.ledger import Batch, Found, Letter

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Suspects"]

MOST = 3
"""How often a conversation may take the process with it."""


class Suspects:
    """The conversations with which the process may have died, after it was killed.

    Those that were under way have one life less each time, together at first, then one by one.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.is_on = False
        self._marked: set[int] = set()

    def all_of(self, keys: list[int]) -> None:
        """The process was killed, perhaps by one of these: they have one life less."""
        stands = []
        for key in keys:
            found = self.journal.ledger.conversation(key)
            if found is not None and not found.stand.attempts and found.ending is None:
                stands.append(replace(found.stand, attempts=1))
                self._marked.add(key)
        if stands:
            self.journal.ledger.commit(Batch(stands=stands))

    def may_try(self, found: Found) -> bool:
        """May this be tried, if it has killed the process before? That it is tried is written."""
        attempts = found.stand.attempts
        key = found.opening.key
        if not self.is_on or key in self._marked:
            self._marked.discard(key)
            return True
        if attempts >= MOST:
            why = f"the process has died {attempts} times while this was under way"
            self.journal.batch.stands.append(
                replace(found.stand, status="parked", why=why, due=None)
            )
            self.journal.batch.letters.append(
                Letter(
                    found.opening.message,
                    why,
                    found.opening.node,
                    "",
                    self.journal.runtime.clock.now(),
                )
            )
            self.journal.commit()
            return False
        self.journal.ledger.commit(Batch(stands=[replace(found.stand, attempts=attempts + 1)]))
        return True
