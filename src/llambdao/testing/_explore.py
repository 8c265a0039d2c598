"""`explore`: one program in many orders of events, on the plain driver."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, Unpack

from llambdao.kernel.message import Message
from llambdao.kernel.node import Node
from llambdao.kernel.run import Conversation, Options, ask, tell, watch
from llambdao.testing._clock import VirtualClock

__all__ = ["Interleaving", "Simulation", "explore", "replaying", "smaller"]

TRIALS = 300
"""How many runs it may take to find the simplest order that goes wrong."""


class Interleaving(AssertionError):
    """An order of events, perhaps with faults, in which a program goes wrong.

    `explore(program, choices=error.choices)` takes the same turns again;
    `simulate(program, replay=error.replay)` also has the same faults.
    """

    __module__ = "llambdao.testing"

    def __init__(self, text: str, choices: tuple[int, ...], replay: Any = None) -> None:
        super().__init__(text)
        self.choices = choices
        self.replay = replay


class Simulation:
    """One run of a program in an order of its own, under a virtual clock.

    The program uses its `receive`, `ask`, `tell` and `watch` in place of the usual ones.
    """

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.clock = VirtualClock()
        self.choices: list[int] = []
        self._draw = draw

    def choose(self, most: int) -> int:
        """Who goes on next, of so many."""
        choice = self._draw(most) if most > 1 else 0
        if most > 1:
            self.choices.append(choice)
        return choice

    def options(self, given: Options) -> Options:
        """The options of every conversation in this run."""
        return Options(**{"clock": self.clock, "choose": self.choose, **given})

    def receive(
        self, node: Node, message: Message | str, **options: Unpack[Options]
    ) -> Conversation:
        """As `node.receive`."""
        return node.receive(message, **self.options(options))

    def ask(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Any:
        """As `llambdao.ask`."""
        return ask(node, message, **self.options(options))

    def tell(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Conversation:
        """As `llambdao.tell`."""
        return tell(node, message, **self.options(options))

    def watch(self, node: Node, message: Message | str, **options: Unpack[Options]) -> Conversation:
        """As `llambdao.watch`."""
        return watch(node, message, **self.options(options))


Program = Callable[[Simulation], Any]


def explore(
    program: Program, seeds: Iterable[int] = range(100), choices: Iterable[int] | None = None
) -> int:
    """Run a program in many orders of events; raise the simplest one in which it goes wrong.

    `program(simulation)` builds its nodes anew, talks to them through the simulation, and raises
    (an `assert` will do) when something is wrong. Each seed is run twice: a program whose choices
    differ the second time is not deterministic, and that too is raised. Returns the number of
    different orders seen.

    >>> from llambdao import all_of
    >>> class Slow(Node):
    ...     def query(self, message):
    ...         order.append(self.name)
    ...         return self.name
    >>> class Both(Node):
    ...     def chat(self, message):
    ...         yield all_of(*(Slow(name=n).ask("?", "query") for n in "ab"))
    >>> def program(simulation):
    ...     order.clear()
    ...     list(simulation.receive(Both(), "Go"))
    ...     assert order == ["a", "b"]  # true of one order only
    >>> order = []
    >>> explore(program)
    Traceback (most recent call last):
    ...
    llambdao.testing.Interleaving: with seed ... and the choices (1,): AssertionError()
    """
    if choices is not None:
        simulation, error = _run(program, replaying(tuple(choices)))
        if error is not None:
            raise error
        return 1
    orders = set()
    for seed in seeds:
        simulation, error = _run(program, random.Random(seed).randrange)
        again, error_again = _run(program, random.Random(seed).randrange)
        if simulation.choices != again.choices or type(error) is not type(error_again):
            raise Interleaving(
                f"seed {seed} went two ways: {simulation.choices} and {again.choices},"
                f" {error!r} and {error_again!r}; is something in it random?",
                tuple(simulation.choices),
            )
        orders.add(tuple(simulation.choices))
        if error is not None:
            simplest = _shrunk(program, tuple(simulation.choices))
            _, error = _run(program, replaying(simplest))
            raise Interleaving(
                f"with seed {seed} and the choices {simplest}: {error!r}", simplest
            ) from error
    return len(orders)


def _run(program: Program, draw: Callable[[int], int]) -> tuple[Simulation, Exception | None]:
    simulation = Simulation(draw)
    try:
        program(simulation)
    except Exception as error:
        return simulation, error
    return simulation, None


def replaying(choices: tuple[int, ...]) -> Callable[[int], int]:
    """Chooses as before; the usual way where nothing is left."""
    left: Iterator[int] = iter(choices)
    return lambda most: min(next(left, 0), most - 1)


def _shrunk(program: Program, choices: tuple[int, ...]) -> tuple[int, ...]:
    """The same failure with as many usual choices, and as few at all, as possible."""
    trials = iter(range(TRIALS))

    def fails(fewer: tuple[int, ...]) -> bool:
        return next(trials, None) is not None and _run(program, replaying(fewer))[1] is not None

    choices = smaller(choices, lambda some: (0,) * len(some), fails)
    while choices and choices[-1] == 0:
        choices = choices[:-1]
    return choices


T = TypeVar("T")


def smaller(
    items: tuple[T, ...],
    less: Callable[[tuple[T, ...]], tuple[T, ...]],
    fails: Callable[[tuple[T, ...]], bool],
) -> tuple[T, ...]:
    """Puts less in place of as many items as can be, so that it still fails: first all of them."""
    width = len(items)
    while width:
        place = 0
        while place < len(items):
            some = items[place : place + width]
            fewer = items[:place] + less(some) + items[place + width :]
            if fewer != items and fails(fewer):
                items, some = fewer, less(some)
            place += len(some)
        width //= 2
    return items
