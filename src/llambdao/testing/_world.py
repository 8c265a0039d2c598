"""`World`: one run of a program, with a clock, an event loop and a chance of its own."""

from __future__ import annotations

import asyncio
import gc
import random
import re
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from typing import Any

from msgspec import Struct

from llambdao.kernel.errors import Misused
from llambdao.kernel.events import Event
from llambdao.kernel.node import Node
from llambdao.runtime import Runtime
from llambdao.testing._clock import VirtualClock
from llambdao.testing._explore import replaying
from llambdao.testing._faults import Chance, Fault, Faults
from llambdao.testing._loop import LoopTimers, SimulatedLoop
from llambdao.testing._mailboxes import FaultyMailboxes

__all__ = ["Program", "Replay", "World", "run"]

CLEANING = 10_000
"""How many turns of the loop a program that has ended has to clean up."""

EAGER = (1.0, 0.5, 0.1)
"""How often a seed chooses at all; else the one whose turn it is goes on."""


class Replay(Struct, frozen=True):
    """What happened in a run, so that it happens again: its choices, and its faults."""

    seed: int
    choices: tuple[int, ...] = ()
    faults: tuple[Fault, ...] = ()


class World:
    """One run of a program under `simulate`.

    * `runtime(*nodes, ...)`: a `Runtime` in this world;
    * `clock`: its time, `random`: chance that is the same in each run of the `seed`;
    * `faults`: what has gone wrong so far, `choices`: who went on, where several could.
    """

    def __init__(
        self, seed: int, faults: Faults | None, replay: Replay | None, turns: int = 1_000_000
    ) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise Misused(
                "simulate runs an event loop of its own, and one runs here already; call it from a"
                " plain function, or `await asyncio.to_thread(simulate, program)`"
            )
        self.seed = seed
        self.random = random.Random(f"{seed}/program")
        self.clock = VirtualClock()
        self.choices: list[int] = []
        self.error: BaseException | None = None
        self.runtimes: list[Runtime] = []
        self.course: list[tuple[str, ...]] = []
        self._chance = Chance(faults, seed, None if replay is None else replay.faults)
        self._draw = _drawing(seed) if replay is None else replaying(replay.choices)
        self._begin = self.clock.time
        self._is_over = False
        self._loop = SimulatedLoop(self.clock, self.choose, self.who_waits, turns)
        self._loop.set_exception_handler(self._caught)

    def runtime(self, *nodes: Node, **options: Any) -> Runtime:
        """A `Runtime` of these nodes: `async with simulation.runtime(*nodes) as runtime:`.

        It takes what `Runtime` takes, but for the clock.
        """
        if "clock" in options:
            raise Misused("a simulation has its own clock: simulation.clock")
        given = options.pop("observe", ())
        observers = [self._note, *([given] if callable(given) else given)]
        options = {"watchdog": None, **options}
        runtime = Runtime(*nodes, clock=self.clock, observe=observers, **options)
        runtime._queue.choose = self.choose
        runtime._timers = LoopTimers(self.clock, runtime._queue)
        if self._chance.strikes():
            runtime._mailboxes = FaultyMailboxes(runtime._room, self._chance, self._loop)
        self.runtimes.append(runtime)
        return runtime

    def choose(self, most: int) -> int:
        """Who goes on next, of so many."""
        if most < 2:
            return 0
        choice = self._draw(most)
        self.choices.append(choice)
        return choice

    @property
    def faults(self) -> list[Fault]:
        """What has gone wrong so far."""
        return self._chance.injected

    @property
    def seconds(self) -> float:
        """How much time has passed."""
        return (self.clock.time - self._begin) / 1e9

    @property
    def replay(self) -> Replay:
        """What it takes to have all this happen again."""
        return Replay(self.seed, tuple(self.choices), tuple(self.faults))

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What it came to; the same for the same seed."""
        return plain(self.error), self.seconds, self.choices, self.faults, self.course

    @property
    def lines(self) -> list[str]:
        """All that happened, a line each: what, where, with which message, and the details."""
        return [" | ".join(one) for one in self.course]

    def who_waits(self) -> list[str]:
        """Which handlers wait, and for what."""
        return sorted(
            f"{act} waits for {wait}"
            for runtime in self.runtimes
            for conversation in runtime.conversations
            for act in conversation._scheduler.everybody()
            for wait in act.waits()
        )

    # -- its life ------------------------------------------------------------------------------

    def live(self, program: Program) -> None:
        """Run the program; what it raises is `error`."""
        with closing(self._loop) as loop:
            work = program(self)
            if not asyncio.iscoroutine(work):
                raise Misused(
                    "a program for simulate is a coroutine function, `async def"
                    f" program(simulation)`; {program!r:.80} gave {work!r:.80}"
                )
            try:
                loop.run_until_complete(work)
            except (Exception, asyncio.CancelledError) as error:
                self.error = self.error or error
            finally:
                self._is_over = True
                self._clean()

    def _clean(self) -> None:
        """Cancel what the program has left, and let it clean up."""
        self._loop.turns = CLEANING
        end = self._loop.create_task(self._end())
        interrupt: BaseException | None = None
        for _ in range(10):  # whoever waits for one that was interrupted is interrupted, too
            try:
                self._loop.run_until_complete(end)
            except (KeyboardInterrupt, SystemExit) as error:
                interrupt = error
            except (Exception, asyncio.CancelledError):
                break
            if end.done():
                break
        if interrupt is not None:
            raise interrupt

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for runtime in self.runtimes:
            await runtime.stop(deadline=0.0)
        await self._loop.shutdown_asyncgens()

    def _caught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop has come upon an error that nobody waits for."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self.error = self.error or error

    def _note(self, event: Event) -> None:
        if self._is_over:  # what happens while it is cleaned up is not compared
            return
        said = event.message
        detail = "" if event.detail is None else plain(event.detail)
        words = "" if said is None else f"{said.content} ({getattr(said, 'intent', '')})"
        self.course.append(
            (event.kind, str(event.node or ""), words, getattr(said, "id", "") or "", detail)
        )


Program = Callable[[World], Coroutine[Any, Any, Any]]


def run(program: Program, world: World) -> World:
    """Run a program in a world, in which nobody is in the way of anybody.

    The garbage collector does not come when it likes: what it cleans up could differ.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        world.live(program)
    finally:
        if collects:
            gc.enable()
    return world


def plain(detail: Any) -> str:
    """What there is to say about an event or an error, but for what differs in each run."""
    text = repr(detail) if isinstance(detail, BaseException) else str(detail)
    return re.sub(r"\b(?:0x[0-9a-f]+|[0-9a-f]{32}|Task-\d+)\b", "...", text)


def _drawing(seed: int) -> Callable[[int], int]:
    """The choices of a seed: some choose all the time, some now and then."""
    chance = random.Random(seed)
    eager = chance.choice(EAGER)
    return lambda most: chance.randrange(most) if chance.random() < eager else 0
