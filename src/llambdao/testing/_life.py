"""`Life`: one life of a program with a journal, which may be killed at a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from llambdao.journal import Journal, effect_key
from llambdao.journal.door import Door
from llambdao.journal.ledger import Batch
from llambdao.kernel.errors import Misused
from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.runtime import Runtime
from llambdao.runtime.questions import Question
from llambdao.testing._clock import VirtualClock
from llambdao.testing._loop import LoopTimers, SimulatedLoop

__all__ = ["Killed", "Life", "Mortal", "Outside", "live"]

TURNS = 200_000
"""How many turns its loop has; who needs more hangs."""


class Killed(KeyboardInterrupt):
    """The process is gone."""


class Mortal:
    """A store whose process dies at a commit: just before it is written, or just after."""

    def __init__(self, ledger: Any, at: int = 0, when: str = "before") -> None:
        self.ledger, self.at, self.when = ledger, at, when
        self.count, self.is_dead = 0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)

    def commit(self, batch: Batch) -> None:
        """Write it, unless the process dies before."""
        if self.is_dead:
            raise Killed
        self.count += 1
        if self.count == self.at and self.when == "before":
            self.is_dead = True
            raise Killed
        self.ledger.commit(batch)
        if self.count == self.at:
            self.is_dead = True
            raise Killed

    def close(self) -> None:
        """Let go of it."""
        self.is_dead = True
        self.ledger.close()


class Outside:
    """What outlives a program: the time, and what was done to the world."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.done: list[tuple[Any, str]] = []


class Shut(Door):
    """A door at which nobody looks again and again: time would pass meanwhile."""

    def open(self) -> None:
        """It is looked at when the runtime settles."""


class Life:
    """One life of a program under `crash_points`: from its first line until it ends or is killed.

    * `runtime(*nodes, ...)`: a `Runtime` that writes into the journal of this program;
    * `settle(runtime, answer=...)`: wait until nothing is left to do, whatever time that takes;
    * `did(what)`: an effect, for `call(life.did, "paid")`; `effects`: what was done so far, in all
      lives, each as often as it was;
    * `clock`: the time, which goes on where the life before has ended.
    """

    def __init__(self, ledger: Any, outside: Outside, *, batch: int = 64) -> None:
        self.ledger, self._outside, self._batch = ledger, outside, batch
        self.clock = outside.clock
        self.runtimes: list[Runtime] = []

    def runtime(self, *nodes: Node, **options: Any) -> Runtime:
        """A `Runtime` of these nodes: `async with life.runtime(*nodes) as runtime:`.

        It takes what `Runtime` takes, but for the clock; `journal` may be a `Journal` with options
        of its own, whose store is the one of this life.
        """
        if self.runtimes:
            raise Misused("a journal has one owner: one life, one runtime")
        journal = options.pop("journal", None) or Journal(self.ledger)
        journal.url = self.ledger
        journal.door = Shut(journal)
        runtime = Runtime(
            *nodes, clock=self.clock, journal=journal, **{"watchdog": None, **options}
        )
        runtime._queue.batch = self._batch
        runtime._timers = LoopTimers(self.clock, runtime._queue)
        self.runtimes.append(runtime)
        return runtime

    async def settle(
        self, runtime: Runtime, answer: Callable[[Question], Message | str | None] | None = None
    ) -> None:
        """Wait until nothing is left to do: timers ring, and open questions are answered.

        `answer(question)` gives the words of whoever is asked, or None: that one stays open.
        """
        while True:
            await runtime.settle()
            if answer is not None and await self._answered(runtime, answer):
                continue
            if not runtime._timers.heap:
                return
            await asyncio.sleep(max(0, runtime._timers.heap[0][0] - self.clock.now()) / 1e9)

    async def _answered(self, runtime: Runtime, answer: Any) -> bool:
        for question in await runtime.pending():
            words = answer(question)
            if words is not None:
                await runtime.answer(question.id, words, by=question.who)
                return True
        return False

    def did(self, what: Any) -> str:
        """Something is done outside, and noted with its `effect_key()`; gives `"<what> done"`."""
        if self.ledger.is_dead:
            raise Killed
        self._outside.done.append((what, effect_key()))
        return f"{what} done"

    @property
    def effects(self) -> list[tuple[Any, str]]:
        """What was done outside, each with its key, in order."""
        return [*self._outside.done]


def first(most: int) -> int:  # noqa: ARG001  # whatever there is
    """Who goes on next: whoever was there first."""
    return 0


Program = Callable[[Life], Coroutine[Any, Any, Any]]


def live(program: Program, life: Life) -> Any:
    """Live to the end, and give what the program gives; raises `Killed`, and whatever it raises."""
    loop = SimulatedLoop(life.clock, first, lambda: who_waits(life), TURNS)
    work = program(life)
    if not asyncio.iscoroutine(work):
        raise Misused(f"a program is a coroutine function, but {program!r:.80} gave {work!r:.80}")
    try:
        return loop.run_until_complete(work)
    finally:
        bury(loop, life)


def who_waits(life: Life) -> list[str]:
    """Which handlers wait, and for what."""
    return sorted(
        f"{act} waits for {wait}"
        for runtime in life.runtimes
        for conversation in runtime.conversations
        for act in conversation._scheduler.everybody()
        for wait in act.waits()
    )


def bury(loop: Any, life: Life) -> None:
    """Nothing of what was under way goes on: neither tasks, nor what they would clean up."""
    life.ledger.is_dead = True
    loop._ready.clear()  # it has no other way to forget
    loop._scheduled.clear()
    task: Any
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False
        with suppress(BaseException):
            task.get_coro().close()
    for runtime in life.runtimes:
        runtime.residents.release()
    life.ledger.close()
    loop._ready.clear()
    loop.close()
