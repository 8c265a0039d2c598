"""`simulate`: a program on a `Runtime`, under virtual time, in many orders, with faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llambdao.kernel.errors import Misused
from llambdao.testing._explore import Interleaving, smaller
from llambdao.testing._faults import KINDS, Faults
from llambdao.testing._report import Progress, Report
from llambdao.testing._world import Program, Replay, World, run

__all__ = ["simulate"]

TRIALS = 200
"""How many runs it may take to find the least that goes wrong."""


def simulate(
    program: Program,
    seeds: Iterable[int] = range(100),
    *,
    seed: int | None = None,
    faults: Faults | None = None,
    replay: Replay | None = None,
    progress: Callable[[Report], Any] | None = None,
    turns: int = 1_000_000,
) -> Report:
    """Run a program on a runtime in many orders of events; raise the least in which it goes wrong.

    `async def program(simulation)` builds its nodes anew, has `simulation.runtime(*nodes)` run
    them, and raises (an `assert` will do) when something is wrong. It runs on an event loop of its
    own: `asyncio.sleep(3600)` passes at once, functions called in threads are called here, there
    are no sockets, and who goes next is drawn from the seed. So are the `faults`.

    Each seed is run twice, and must come to the same. What goes wrong is shrunk to fewer faults and
    fewer unusual choices, and raised as `Interleaving`; `simulate(program, replay=error.replay)`
    runs it again and raises the error itself. A program that uses up the `turns` of its loop, or
    in which nobody can go on, ends with `Deadlock`.

    `progress` is called with the `Report` every few seconds, by the clock on the wall.

    >>> from llambdao import Node
    >>> class Patient(Node):
    ...     def request(self, message):
    ...         yield sleep(3600)
    ...         yield "here you are"
    >>> from llambdao import Message, sleep
    >>> async def program(simulation):
    ...     patient = Patient()
    ...     async with simulation.runtime(patient) as runtime:
    ...         said = await runtime.ask(patient, Message("Please!", intent="request"))
    ...     assert said.content == "here you are"
    >>> print(simulate(program))
    100 seeds, 1 orders, 360,000 virtual seconds
    >>> simulate(program, faults=Faults(lost=0.1))
    Traceback (most recent call last):
    ...
    llambdao.testing.Interleaving: with seed ... and the fault "lost: you > Patient: Please! ...
    to run it again: simulate(program, seed=..., faults=...), or this alone: ...
    """
    if replay is not None:
        world = run(program, World(replay.seed, faults, replay, turns))
        if world.error is not None:
            raise world.error
        return _counted(Report(), world, set())
    report, orders, shown = Report(), set[Any](), Progress(progress)
    try:
        for one in seeds if seed is None else [seed]:
            if type(one) is not int:
                raise Misused(f"a seed is a number, not {one!r:.80}")
            world = run(program, World(one, faults, None, turns))
            _compare(world, run(program, World(one, faults, None, turns)))
            _counted(report, world, orders)
            if world.error is not None:
                raise _least(program, faults, world, turns)
            shown.at(report)
    finally:
        shown.end()
    return report


def _counted(report: Report, world: World, orders: set[Any]) -> Report:
    """One more run."""
    orders.add(hash(tuple(world.choices)))
    report.seeds += 1
    report.orders = len(orders)
    report.seconds += world.seconds
    for fault in world.faults:
        report.faults[fault.kind] = report.faults.get(fault.kind, 0) + 1
    report.faults = {kind: report.faults[kind] for kind in KINDS if kind in report.faults}
    return report


def _compare(one: World, other: World) -> None:
    """The same seed must come to the same."""
    if one.outcome == other.outcome:
        return
    events = zip([*one.lines, "the end"], [*other.lines, "the end"], strict=False)
    pairs = [(f"event {place}", *pair) for place, pair in enumerate(events)]
    pairs += zip(("the end", "time", "choices", "faults"), one.outcome, other.outcome, strict=False)
    for what, first, second in pairs:
        if first != second:
            raise Interleaving(
                f"seed {one.seed} went two ways: {what} was {first!r:.300} and then"
                f" {second!r:.300}; is something in it random?",
                tuple(one.choices),
                one.replay,
            )


def _least(program: Program, faults: Faults | None, found: World, turns: int) -> Interleaving:
    """The error of a run that went wrong, with the fewest faults and unusual choices."""
    trials = TRIALS
    kind, best = type(found.error), found

    def fails(replay: Replay) -> bool:
        nonlocal trials, best
        if trials == 0:
            return False
        trials -= 1
        world = run(program, World(replay.seed, faults, replay, turns))
        if type(world.error) is not kind:
            return False
        best = world
        return True

    least = found.replay
    fewer = smaller(least.faults, lambda _: (), lambda some: fails(_but(least, faults=some)))
    least = _but(least, faults=fewer)
    choices = smaller(
        least.choices, lambda some: (0,) * len(some), lambda some: fails(_but(least, choices=some))
    )
    while choices and choices[-1] == 0:
        choices = choices[:-1]
    least = _but(least, choices=choices)
    text = f"with seed {found.seed}"
    if choices:
        text += f" and the choices {choices!s:.300}"
    for place, fault in enumerate(fewer):
        text += f', "{fault}"' if place else f' and the fault{"s" * (len(fewer) > 1)} "{fault}"'
    given = ", faults=..." if faults is not None else ""
    error = Interleaving(
        f"{text}: {best.error!r}\nto run it again: simulate(program, seed={found.seed}{given}),"
        " or this alone: simulate(program, replay=error.replay)",
        choices,
        least,
    )
    error.__cause__ = best.error
    return error


def _but(replay: Replay, **changes: Any) -> Replay:
    return Replay(
        **{"seed": replay.seed, "choices": replay.choices, "faults": replay.faults, **changes}
    )
