"""Time in a runtime: timers of many conversations on one clock, which may jump."""

from __future__ import annotations

import asyncio
import time
from heapq import heapify, heappop, heappush
from typing import Any

from llambdao.kernel.run import Clock
from llambdao.runtime.queue import RunQueue

__all__ = ["Timers"]

QUIET = 16
"""How many turns of the loop nothing must happen before a virtual clock goes on."""

JUMP = 500_000_000
"""A difference between the wall clock and the steady clock that is a jump, in ns."""

LONGEST = 30.0
"""The longest sleep in seconds: no jump of the wall clock goes unnoticed for longer."""


class Timers:
    """Wakes whoever has something due: by the wall clock, or by a virtual one that need not wait.

    What was to last some seconds lasts them whatever the wall clock does meanwhile; what was to
    happen at a date happens by the wall clock.
    """

    def __init__(self, clock: Clock, queue: RunQueue) -> None:
        self.clock, self.queue = clock, queue
        self.is_real = clock.sleep is time.sleep
        self.loop: Any = None
        self.heap: list[tuple[int, int, Any]] = []
        self.count = self.over = 0
        self.handle: asyncio.Handle | None = None
        self.armed = 0
        self.base = self._drift()
        queue.is_due = self.is_due

    def is_due(self) -> bool:
        """Is it time for somebody to be woken?"""
        self.mind_jumps()
        return bool(self.heap) and self.heap[0][0] <= self.clock.now()

    def at(self, due: int, sleeper: Any) -> None:
        """Call `sleeper.tick(now)` when it is that late, in ns since 1970."""
        self.count += 1
        heappush(self.heap, (due, self.count, sleeper))
        if self.handle is None or (self.is_real and due < self.armed):
            self._arm()

    def later(self, seconds: float, sleeper: Any) -> None:
        """Call `sleeper.tick(now)` after so many seconds."""
        self.at(self.clock.now() + round(seconds * 1e9), sleeper)

    def forget(self) -> None:
        """A sleeper is over; once those who are over are most of them they are swept out."""
        self.over += 1
        if self.over > 64 and self.over > len(self.heap) // 2:
            self.heap = [entry for entry in self.heap if not entry[2].is_over]
            heapify(self.heap)
            self.over = 0
        self._drop_over()

    def _drop_over(self) -> None:
        """Nobody is to be woken for who is over."""
        while self.heap and self.heap[0][2].is_over:
            heappop(self.heap)

    def stop(self) -> None:
        """Wake nobody any longer."""
        self.heap.clear()
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None

    def _arm(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        if not self.heap:
            return
        if self.is_real:
            self.armed = self.heap[0][0]
            seconds = (self.armed - self.clock.now()) / 1e9
            self.handle = self.loop.call_later(min(max(0.0, seconds), LONGEST), self._ring)
        else:
            self.handle = self.loop.call_soon(self._when_quiet, self.queue.rounds, QUIET)

    def _ring(self) -> None:
        """Somebody's time may have come."""
        self.handle = None
        self.mind_jumps()
        now = self.clock.now()
        while self.heap and self.heap[0][0] <= now:
            heappop(self.heap)[2].tick(now)
        self._arm()

    def _when_quiet(self, rounds: int, left: int) -> None:
        """Let virtual time pass once nobody can go on without."""
        if rounds != self.queue.rounds:
            rounds, left = self.queue.rounds, QUIET
        if left:
            self.handle = self.loop.call_soon(self._when_quiet, rounds, left - 1)
        elif not self.queue.is_idle():  # a call or a task is under way, by real time
            self.handle = self.loop.call_later(0.001, self._when_quiet, rounds, 1)
        else:
            self._drop_over()
            wait = self.heap[0][0] - self.clock.now() if self.heap else 0
            if wait > 0:
                self.clock.sleep(wait / 1e9)
            self._ring()

    def _drift(self) -> int:
        return self.clock.now() - time.monotonic_ns()

    def mind_jumps(self) -> None:
        """If the wall clock has jumped, move what was to last some seconds along with it."""
        if not self.is_real or abs(jump := self._drift() - self.base) < JUMP:
            return
        self.base += jump
        sleepers = {id(sleeper): sleeper for _, _, sleeper in self.heap}
        self.heap = []
        for number, sleeper in enumerate(sleepers.values()):
            if (due := sleeper.jumped(jump)) is not None:
                self.heap.append((due, number, sleeper))
        self.count = len(self.heap)
        heapify(self.heap)
        self._arm()
