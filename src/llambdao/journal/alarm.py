"""`Alarm`: wakes the conversations that sleep in the journal when they are due."""

from __future__ import annotations

from heapq import heappop
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llambdao.journal.journal import Journal

__all__ = ["Alarm"]


class Alarm:
    """Wakes the conversations that sleep in the journal when they are due."""

    is_over = False

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.heap: list[tuple[int, int]] = []

    def load(self, dues: list[tuple[int, int]]) -> None:
        """These are due some time."""
        self.heap = sorted(dues)

    def arm(self) -> None:
        """Have the runtime wake it."""
        if self.heap:
            self.journal.runtime._timers.at(self.heap[0][0], self)

    def tick(self, now: int) -> None:
        """It is later now."""
        while self.heap and self.heap[0][0] <= now:
            _, key = heappop(self.heap)
            self.journal.due(key, now)
        self.arm()

    def jumped(self, jump: int) -> int | None:
        """The wall clock has jumped: what is in the journal goes by the wall clock."""
        return self.heap[0][0] if self.heap else None
