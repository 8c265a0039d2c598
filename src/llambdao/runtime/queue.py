"""The run queue of a runtime: which conversation goes on next, and when nobody can."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llambdao.kernel.tasks import Talk
    from llambdao.runtime.conversation import Conversation

__all__ = ["RunQueue"]

BATCH = 64
"""How many conversations have their turn before the event loop has its own."""

IN_A_ROW = 256
"""How many questions are answered at once before other tasks have their turn."""


class RunQueue:
    """The open conversations of a runtime, and those of them that can go on, first in first out.

    It is worked off by one callback of the event loop, some conversations at a time; who asks while
    the queue is empty is answered at once, on the caller's stack.
    """

    def __init__(self) -> None:
        self.loop: Any = None
        self._open: dict[int, Conversation] = {}  # in the order of their opening, as all here
        self.ready: deque[Conversation] = deque()
        self.cleaning: set[asyncio.Task[None]] = set()
        self.choose: Callable[[int], int] | None = None  # who is next; None: the first
        self.is_running = False  # is a handler having its turn?
        self.rounds = 0
        self.batch = BATCH
        self.is_due: Callable[[], bool] = bool  # is it time for somebody to be woken?
        self.after_round: Callable[[], None] | None = None  # a journal writes down what happened
        self._settling: list[asyncio.Future[None]] = []
        self._is_scheduled = False
        self._in_a_row = 0
        self._patient: deque[list[tuple[Talk, int]]] = deque()  # by turns of the loop from now

    @property
    def conversations(self) -> list[Conversation]:
        """Those that are open."""
        return [*self._open.values()]

    def opened(self, conversation: Conversation) -> None:
        """It is open."""
        self._open[id(conversation)] = conversation

    def add(self, conversation: Conversation) -> None:
        """It can go on, after those before it."""
        self.ready.append(conversation)
        if not self._is_scheduled:
            self._schedule()

    def may_go_on(self, conversation: Conversation) -> bool:
        """May it go on at once, on its caller's stack? Not before those who were there first."""
        ready = self.ready
        if ready and (len(ready) > 1 or ready[0] is not conversation):
            return False
        return not (self.is_running or self.choose)

    def went_on(self) -> bool:
        """Somebody was answered at once: should other tasks have their turn now?"""
        self._in_a_row += 1
        if self._in_a_row <= IN_A_ROW:
            return False
        self._in_a_row = 0
        return True

    def after(self, turns: int, talk: Talk, turn: int) -> None:
        """Ask a task for patience for so many turns of the loop, or two more.

        One callback serves all. It may come before what the task has just started: in this turn
        of the loop already, and first in those that follow.
        """
        if self._patient:
            turns += 2
        else:
            self.loop.call_soon(self._patience)
        while len(self._patient) < turns:
            self._patient.append([])
        self._patient[turns - 1].append((talk, turn))

    def _patience(self) -> None:
        due = self._patient.popleft()
        if self._patient:
            self.loop.call_soon(self._patience)
        for talk, turn in due:
            talk.patience(turn)

    def ended(self, conversation: Conversation) -> None:
        """It is over."""
        self._open.pop(id(conversation), None)
        if self._settling:
            self._schedule()

    def clean(self, cleaning: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The handlers of a conversation that has ended clean up."""
        task: asyncio.Task[None] = self.loop.create_task(cleaning)
        self.cleaning.add(task)
        task.add_done_callback(self._cleaned)
        return task

    async def cleaned(self) -> None:
        """Wait until all that ended has cleaned up."""
        while self.cleaning:
            await asyncio.wait([*self.cleaning])

    async def settle(self) -> None:
        """Wait until everything that can run has run."""
        while not self.is_settled():
            future = self.loop.create_future()
            self._settling.append(future)
            self._schedule()
            await future

    def is_settled(self) -> bool:
        """Has everything run that can?"""
        if self.ready or self.cleaning or self.is_due():
            return False
        return not any(
            is_at_work(c) or (s := c._scheduler).settling or s.calls or (s.perhaps and not s.timers)
            for c in self.conversations
        )

    def is_idle(self) -> bool:
        """Can nobody go on before time passes?"""
        return not (self.ready or self._is_scheduled or self.cleaning) and not any(
            is_at_work(c) or (s := c._scheduler).settling or s.calls for c in self.conversations
        )

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._run)

    def _run(self) -> None:
        """Let those who can go on do so, in turn."""
        self._is_scheduled = False
        self._in_a_row = 0
        self.rounds += 1
        ready, choose = self.ready, self.choose
        try:
            for _ in range(min(len(ready), self.batch)):
                if choose is not None and len(ready) > 1:
                    ready.rotate(-choose(len(ready)))
                ready.popleft().advance()
        finally:
            if ready:
                self._schedule()
        if self.after_round is not None:
            self.after_round()
        if self._settling and self.is_settled():
            settling, self._settling = self._settling, []
            for future in settling:
                if not future.done():
                    future.set_result(None)

    def _cleaned(self, task: asyncio.Task[None]) -> None:
        self.cleaning.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            warnings.warn(f"a cancelled handler failed to clean up: {error!r}", RuntimeWarning, 2)
        if self._settling:
            self._schedule()


def is_at_work(conversation: Any) -> bool:
    """Are calls or tasks of it under way? Not those that wait for a person to say what became."""
    under_way = conversation._scheduler.under_way
    return bool(under_way and under_way > conversation._in_doubt)
